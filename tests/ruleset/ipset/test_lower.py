"""Matches of sets whose contents are known: what they hold for. tests/kernel/test_ipset_matches.py asks the
kernel; here stands what it cannot be asked (types that it may not have, entries that end)."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from notrack.netfilter.guards import holds
from notrack.packets.address import Family
from notrack.packets.packet_text import parse_packet
from notrack.ruleset import core
from notrack.ruleset.formats import Reading, read_all
from notrack.text.source import Source

WEB = "tcp 203.0.113.9:1000 > 192.0.2.80:80 in eth0 to host"
DNS = "udp 203.0.113.9:1000 > 192.0.2.80:53 in eth0 to host"
WEB6 = "tcp [2001:db8::9]:1000 > [2001:db8:80::1]:80 in eth0 to host"


def reading(sets: str, *rules: str, family: Family = Family.IPV4) -> Reading:
    body = "".join(f"-A INPUT {rule}\n" for rule in rules)
    texts = [Source("sets", sets)] if sets else []
    return read_all((Source("rules", f"*filter\n{body}COMMIT\n"), *texts), family)


def guard(sets: str, match: str, family: Family = Family.IPV4) -> core.Guard:
    found = reading(sets, f"-m set {match} -j ACCEPT", family=family)
    assert found.diagnostics == ()
    chain = found.ruleset.tables[0].chain("INPUT")
    assert chain is not None
    return chain.rules[0].guard


def facts(literals: core.Guard) -> list[str]:
    return [
        name
        for literal in literals
        for name in (
            [literal.name]
            if isinstance(literal, core.Fact)
            else [inner for one in literal.guards for inner in facts(one)]
            if isinstance(literal, core.OneOf)
            else []
        )
    ]


def matches(sets: str, match: str, words: str, truth: bool | None = None, mac: int | None = None) -> bool:
    """Whether a match holds for a packet; without a truth no fact may be asked."""
    packet = parse_packet(words)
    packet = replace(packet, mac=mac) if mac is not None else packet

    def said(name: str) -> bool:
        assert truth is not None, name
        return truth

    return holds(guard(sets, match, packet.family), packet.values(), packet.family, said)


def test_without_contents_a_match_is_a_fact() -> None:
    assert guard("", "--match-set bad src") == (core.Fact("-m set --match-set bad src"),)


def test_a_set_that_is_not_among_those_given_is_told_once() -> None:
    rules = ("-m set --match-set bad src -j DROP", "-m set --match-set bad dst -j DROP")
    found = reading("create other hash:ip\n", *rules)
    (problem,) = found.diagnostics
    assert problem.message == "no set bad is among those given"
    assert problem.span is not None and problem.span.text == "-m set --match-set bad src"
    assert reading("", *rules).diagnostics == ()
    assert facts(found.ruleset.tables[0].chains[0].rules[0].guard) == ["-m set --match-set bad src"]


@pytest.mark.parametrize(
    ("sets", "match", "expected"),
    [
        ("create s hash:ip\nadd s 203.0.113.9\n", "src", True),
        ("create s hash:ip\nadd s 203.0.113.9\n", "dst", False),
        ("create s hash:ip\nadd s 203.0.113.0/24\n", "src", True),
        ("create s hash:ip\nadd s 203.0.113.1-203.0.113.8\n", "src", False),
        ("create s hash:ip\n", "src", False),
        ("create s hash:net,net\nadd s 203.0.113.0/24,192.0.2.0/24\n", "src,dst", True),
        ("create s hash:net,net\nadd s 203.0.113.0/24,192.0.2.0/24\n", "dst,src", False),
        ("create s hash:net,port,net\nadd s 203.0.113.0/24,tcp:80,192.0.2.0/24\n", "src,dst,dst", True),
        ("create s hash:net,port,net\nadd s 203.0.113.0/24,udp:80,192.0.2.0/24\n", "src,dst,dst", False),
        ("create s hash:ip,mark\nadd s 203.0.113.9,0x10\n", "src,src", False),
        ("create s hash:ip,mark markmask 0xf\nadd s 203.0.113.9,0x0\n", "src,src", True),
        ("create s hash:ip family inet6\nadd s 2001:db8::9\n", "src", False),
        ("-N s iphash\n-A s 203.0.113.9\n", "src", True),
        ("create s hash:ip bitmask 255.255.255.0\nadd s 203.0.113.0\n", "src", True),
    ],
)
def test_contents_are_exact(sets: str, match: str, expected: bool) -> None:
    assert matches(sets, f"--match-set s {match}", WEB) is expected
    assert matches(sets, f"! --match-set s {match}", WEB) is not expected


def test_link_layer_addresses() -> None:
    sets = "create s hash:mac\nadd s 02:00:00:00:00:09\n"
    assert matches(sets, "--match-set s src", WEB, mac=0x020000000009)
    assert not matches(sets, "--match-set s src", WEB, mac=0x020000000001)
    assert not matches(sets, "! --match-set s src", WEB, truth=False, mac=0x020000000009)
    assert matches(sets, "! --match-set s src", WEB, truth=False, mac=0x020000000001)
    assert facts(guard(sets, "--match-set s dst")) == ["of s: 02:00:00:00:00:09, dst"]
    learns = "create s bitmap:ip,mac range 203.0.113.0/24\nadd s 203.0.113.9\n"
    assert len(facts(guard(learns, "--match-set s src,src"))) == 1


def test_an_entry_that_ends_may_be_gone() -> None:
    sets = "create s hash:ip timeout 300\nadd s 203.0.113.9 timeout 20\nadd s 203.0.113.10 timeout 0\n"
    assert matches(sets, "--match-set s src", WEB, truth=True)
    assert not matches(sets, "--match-set s src", WEB, truth=False)
    assert matches(sets, "! --match-set s src", WEB, truth=False)
    lasting = WEB.replace("113.9", "113.10")
    assert matches(sets, "--match-set s src", lasting, truth=False)
    assert not matches(sets, "--match-set s src", WEB.replace("113.9", "113.11"), truth=True)


def test_an_entry_without_a_time_of_its_own_has_that_of_its_set() -> None:
    assert facts(guard("create s hash:ip timeout 300\nadd s 203.0.113.9\n", "--match-set s src"))
    assert not facts(guard("create s hash:ip timeout 0\nadd s 203.0.113.9\n", "--match-set s src"))


def test_what_nothing_explains_about_an_entry_leaves_it_in_doubt() -> None:
    found = reading("create s hash:ip\nadd s 203.0.113.9 colour red\n", "-m set --match-set s src -j ACCEPT")
    assert [one.message for one in found.diagnostics] == ["no option 'colour'"]
    (rule,) = found.ruleset.tables[0].chains[0].rules
    assert facts(rule.guard)


@pytest.mark.parametrize(
    "match",
    [
        "--match-set s src --packets-gt 5",
        "--match-set s src --bytes-lt 5",
        "--match-set s src --return-nomatch",
    ],
)
def test_what_asks_for_counters_is_a_fact(match: str) -> None:
    assert facts(guard("create s hash:ip counters\nadd s 203.0.113.9\n", match))


def test_counters_that_are_not_asked_for_change_nothing() -> None:
    sets = "create s hash:ip counters\nadd s 203.0.113.9 packets 5 bytes 9\n"
    assert matches(sets, "--match-set s src ! --update-counters", WEB)


def test_a_list_of_sets_is_any_of_them() -> None:
    sets = (
        "create a hash:ip\nadd a 198.51.100.1\ncreate b hash:ip,port\nadd b 203.0.113.9,tcp:80\n"
        "create l list:set\nadd l a\nadd l b\n"
    )
    assert matches(sets, "--match-set l src,dst", WEB)
    assert not matches(sets, "--match-set l src,dst", DNS)
    assert matches(sets, "! --match-set l src,dst", DNS)
    assert not matches(sets, "--match-set l src", WEB)  # one side is not enough for the second set
    circle = "create a list:set\nadd a a\n"
    assert facts(guard(circle, "--match-set a src"))


def test_both_families_have_the_sets_that_hold_no_addresses() -> None:
    sets = "create p bitmap:port range 0-65535\nadd p 80\n"
    assert matches(sets, "--match-set p dst", WEB) and matches(sets, "--match-set p dst", WEB6)
    assert not matches(sets, "--match-set p src", WEB6)


def test_a_set_that_rules_change_is_in_doubt() -> None:
    sets = "create s hash:ip\nadd s 203.0.113.9\n"
    rules = ("-m set --match-set s src -j ACCEPT", "-p tcp --dport 22 -j SET --{}-set s src")
    for verb in ("add", "del"):
        found = reading(sets, *(rule.format(verb) for rule in rules))
        chain = found.ruleset.tables[0].chain("INPUT")
        assert chain is not None
        guard = chain.rules[0].guard
        assert len(facts(guard)) == 1
        values = parse_packet(WEB).values()
        always = holds(guard, values, Family.IPV4, lambda _: False)
        ever = holds(guard, values, Family.IPV4, lambda _: True)
        assert (always, ever) == ((True, True) if verb == "add" else (False, True))


def test_a_large_set_is_one_literal_and_quick() -> None:
    draw = [f"add s {n % 223 + 1}.{n // 223 % 250}.{n % 241}.{n % 239}" for n in range(60_000)]
    sets = "create s hash:ip\n" + "\n".join(draw) + "\n"
    before = time.process_time()
    (literal,) = guard(sets, "--match-set s src")
    assert isinstance(literal, core.Among)
    assert time.process_time() - before < 3


def test_many_ports_of_many_addresses_are_brought_together() -> None:
    pairs = [(n % 50, port) for n in range(50) for port in (22, 80, 443)]
    sets = "create s hash:ip,port\n" + "".join(f"add s 10.0.0.{n},tcp:{port}\n" for n, port in pairs)
    (*_, last) = guard(sets, "--match-set s src,dst")
    assert isinstance(last, core.Among) and last.values.size() == 3


def test_a_script_makes_its_sets_itself() -> None:
    script = """#!/bin/sh
ipset create bad hash:ip
for ip in 203.0.113.9 203.0.113.10; do
  ipset -exist add bad $ip
done
iptables -A INPUT -m set --match-set bad src -j DROP
"""
    (rule,) = _input(script)
    assert not facts(rule.guard)
    assert isinstance(rule.guard[0], core.Among) and rule.guard[0].values.size() == 2


@pytest.mark.parametrize(
    "doubt",
    [
        "ipset add bad $1",
        "[ -f /etc/bad ] && ipset add bad 203.0.113.1",
        "ipset restore < /etc/bad.sets",
        "ipset add bad $(cat /etc/bad)",
        "cat /etc/bad | while read ip; do ipset add bad $ip; done",
    ],
)
def test_a_set_of_which_a_script_does_not_tell_all_is_a_fact(doubt: str) -> None:
    rules = "iptables -A INPUT -m set --match-set bad src -j DROP\n"
    (rule,) = _input(f"#!/bin/sh\nipset create bad hash:ip\nipset add bad 203.0.113.9\n{doubt}\n{rules}")
    assert facts(rule.guard) == ["-m set --match-set bad src"]


def test_a_script_restores_sets_from_its_own_text() -> None:
    script = """#!/bin/sh
ipset restore <<EOF
create bad hash:net
add bad 203.0.113.0/24
EOF
iptables -A INPUT -m set --match-set bad src -j DROP
"""
    (rule,) = _input(script)
    assert not facts(rule.guard)


def _input(script: str) -> tuple[core.Rule, ...]:
    ruleset = read_all((Source("fw.sh", script),)).ruleset
    chain = next(table for table in ruleset.tables if table.name == "filter").chain("INPUT")
    assert chain is not None
    return chain.rules
