"""What the difference of two rulesets says: kinds, roles, states that are paired, groups and their words."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest

from notrack.netfilter.host import UNKNOWN_HOST, Host, HostInterface
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.packets.budget import Budget
from notrack.packets.fields import AddressType
from notrack.packets.packet_text import parse_packet
from notrack.proof.difference import TRACKING, TRANSLATION, VERDICT, Change, Difference, difference
from notrack.proof.difference_groups import groups
from notrack.proof.difference_roles import Role
from notrack.report.difference import Compared, as_json, as_text
from notrack.ruleset.core import Hook, Ruleset
from notrack.ruleset.formats import read_all
from notrack.text.source import Source

STATEFUL = """\
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT DROP [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT
-A INPUT -p udp --dport 53 -m conntrack --ctstate NEW -j ACCEPT
-A OUTPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
"""
IN, OUT = "-A PREROUTING -p udp --dport 53 -j CT --notrack", "-A OUTPUT -p udp --sport 53 -j CT --notrack"
ACCEPTS = ("-A INPUT -p udp --dport 53 -j ACCEPT", "-A OUTPUT -p udp --sport 53 -j ACCEPT")
HOST = Host(
    interfaces=(
        HostInterface("eth0", (ipaddress.ip_interface("192.0.2.80/24"),)),
        HostInterface("eth1", (ipaddress.ip_interface("10.8.0.1/24"),)),
    ),
    forwards_ipv4=True,
)
HOSTS = dict.fromkeys(Family, HOST)
GATEWAY = """\
*nat
-A PREROUTING -i eth0 -p tcp --dport 80 -j DNAT --to-destination 10.8.0.5:8080
-A POSTROUTING -o eth0 -j MASQUERADE
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i eth1 -j ACCEPT
-A FORWARD -d 10.8.0.5 -p tcp --dport 8080 -j ACCEPT
COMMIT
"""


def raw(*rules: str) -> str:
    return "\n".join(["*raw", *rules, "COMMIT", ""])


def more(text: str, *rules: str) -> str:
    """A filter table with more rules at its end."""
    return text.removesuffix("COMMIT\n") + "\n".join([*rules, "COMMIT", ""])


def ruleset(text: str, family: Family = Family.IPV4) -> Ruleset:
    return read_all([Source("rules", text)], family).ruleset


def compared(before: str, after: str, host: Host = UNKNOWN_HOST) -> Difference:
    return difference(ruleset(before), ruleset(after), Family.IPV4, host)


def words(before: str, after: str, host: Host = UNKNOWN_HOST) -> list[str]:
    """The changes as people read them."""
    one, other = ruleset(before), ruleset(after)
    found = difference(one, other, Family.IPV4, host)
    text = as_text(Compared(one, other, dict.fromkeys(Family, host), (found,)), brief=True)
    return [line for line in text.splitlines() if ", was " in line]


def of(found: Difference, kind: str, role: Role, way: Way) -> list[Change]:
    return [c for c in found.changes if (c.kind, c.role, c.way) == (kind, role, way)]


@pytest.mark.parametrize("text", [STATEFUL, GATEWAY, raw(IN, OUT) + STATEFUL, "*filter\nCOMMIT\n"])
def test_a_ruleset_equals_itself(text: str) -> None:
    found = compared(text, text, HOST)
    assert found.equal and not found.changes


def test_another_order_that_changes_nothing_is_equal() -> None:
    lines = STATEFUL.splitlines()
    lines[5], lines[6] = lines[6], lines[5]
    assert compared(STATEFUL, "\n".join(lines) + "\n").equal


def test_a_service_for_fewer_peers() -> None:
    narrow = STATEFUL.replace("--dport 22", "-s 198.51.100.0/24 --dport 22")
    assert words(STATEFUL, narrow, HOST) == [
        "tcp 22 from any but 198.51.100.0/24, to the host: dropped, was accepted"
    ]
    assert words(narrow, STATEFUL, HOST) == [
        "tcp 22 from any but 198.51.100.0/24, to the host: accepted, was dropped"
    ]


def test_a_service_untracked_as_it_should_be_changes_its_tracking_alone() -> None:
    after = raw(IN, OUT) + more(STATEFUL, *ACCEPTS)
    found = compared(STATEFUL, after, HOST)
    assert of(found, TRACKING, Role.OPENING, Way.LOCAL_IN)
    assert of(found, TRACKING, Role.ANSWER, Way.LOCAL_OUT)
    changed = {(c.role, c.way) for c in found.of_kind(VERDICT)}
    # only what no tracked flow would have let through: a program that binds port 53 and asks first
    assert changed <= {
        (Role.OPENING, Way.LOCAL_OUT), (Role.STRAY, Way.LOCAL_OUT), (Role.STRAY, Way.LOCAL_IN),
        (Role.ERROR, Way.LOCAL_IN), (Role.ERROR, Way.LOCAL_OUT),
        (Role.OPENING, Way.LOOPBACK), (Role.STRAY, Way.LOOPBACK), (Role.RELATED, Way.LOOPBACK),
    }  # fmt: skip
    told = words(STATEFUL, after, HOST)
    assert "udp 53, to the host, both directions: untracked, was tracked" in told


def test_untracked_requests_whose_answers_are_tracked_lose_them() -> None:
    """NOTRACK in PREROUTING alone: the answer leaves as NEW, which no state rule lets out."""
    after = raw(IN) + more(STATEFUL, *ACCEPTS[:1])
    (change,) = of(compared(STATEFUL, after, HOST), VERDICT, Role.ANSWER, Way.LOCAL_OUT)
    assert (change.before.verdict, change.after.verdict) == ("accept", "drop")
    assert change.hook is Hook.OUTPUT
    answer = parse_packet("udp 192.0.2.80:53 > 203.0.113.9:4000 out eth0")
    assert change.packets.has(replace(answer, source_type=AddressType.LOCAL))


def test_untracked_answers_of_tracked_requests_need_an_accept() -> None:
    """NOTRACK in OUTPUT alone: the request is NEW, its answer UNTRACKED."""
    after = raw(OUT) + STATEFUL
    (change,) = of(compared(STATEFUL, after, HOST), VERDICT, Role.ANSWER, Way.LOCAL_OUT)
    assert (change.before.verdict, change.after.verdict) == ("accept", "drop")


def test_a_session_goes_on_only_as_long_as_both_sides_are_tracked() -> None:
    """The client's later packets: with answers untracked the connection is never seen to be established."""
    tcp = STATEFUL.replace("udp --dport 53", "tcp --dport 53")
    after = raw("-A OUTPUT -p tcp --sport 53 -j CT --notrack") + more(
        tcp, "-A OUTPUT -p tcp --sport 53 -j ACCEPT"
    )
    (change,) = of(compared(tcp, after, HOST), VERDICT, Role.LATER, Way.LOCAL_IN)
    assert (change.before.verdict, change.after.verdict) == ("accept", "drop")


def test_errors_about_a_flow_that_is_tracked_no_longer() -> None:
    after = raw(IN, OUT) + more(STATEFUL, *ACCEPTS)
    told = words(STATEFUL, after, HOST)
    assert any(line.startswith("errors about flows that are tracked no longer: icmp") for line in told)
    icmp = ("-A INPUT -p icmp -j ACCEPT", "-A OUTPUT -p icmp -j ACCEPT")
    told = words(more(STATEFUL, *icmp), raw(IN, OUT) + more(STATEFUL, *ACCEPTS, *icmp), HOST)
    assert not any(line.startswith("errors") for line in told)


def test_where_the_last_state_rule_goes_everything_is_untracked() -> None:
    stateless = "*filter\n:INPUT DROP [0:0]\n-A INPUT -p tcp --dport 22 -j ACCEPT\nCOMMIT\n"
    stateful = stateless.replace("-j ACCEPT", "-m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT")
    found = compared(stateful, stateless, HOST)
    assert of(found, TRACKING, Role.OPENING, Way.LOCAL_IN)
    told = words(stateful, stateless, HOST)
    assert "tcp 22, to the host and from the host to itself, both directions: untracked, was tracked" in told
    assert any(line.startswith("everything, forwarded") and "untracked" in line for line in told)


def test_later_fragments_are_lost_where_nothing_puts_them_together_any_more() -> None:
    """Without a state rule a router sees fragments, and a match on ports no later one."""
    stateless = (
        "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -p udp --dport 53 -j ACCEPT\n"
        "-A FORWARD -p udp --sport 53 -j ACCEPT\nCOMMIT\n"
    )
    stateful = stateless.replace("*filter\n", "*filter\n-A OUTPUT -m conntrack --ctstate NEW -j ACCEPT\n")
    for pair, change in (
        ((stateful, stateless), "dropped, was accepted"),
        ((stateless, stateful), "accepted, was dropped"),
    ):
        told = [line for line in words(*pair, HOST) if line.startswith("udp (later fragments)")]
        assert len(told) == 1 and f", forwarded: {change}" in told[0]
    kept = stateless.replace("COMMIT", "-A FORWARD -p udp -f -j ACCEPT\nCOMMIT")
    again = stateful.replace("COMMIT", "-A FORWARD -p udp -f -j ACCEPT\nCOMMIT")
    assert not any("fragment" in line for line in words(again, kept, HOST))


def test_another_target_of_a_translation() -> None:
    open_forward = GATEWAY.replace("-d 10.8.0.5 -p tcp", "-d 10.8.0.0/24 -p tcp")
    after = open_forward.replace("10.8.0.5:8080", "10.8.0.6:8080")
    found = compared(open_forward, after, HOST)
    assert {change.kind for change in found.changes} == {TRANSLATION}
    assert {change.hook for change in found.changes} == {Hook.PREROUTING}
    assert (
        "tcp 80 in eth0 out any but eth0, forwarded: its destination becomes 10.8.0.6 port 8080,"
        " was its destination becomes 10.8.0.5 port 8080"
    ) in words(open_forward, after, HOST)


def test_a_translation_that_sends_packets_elsewhere_is_compared_end_to_end() -> None:
    """Without the DNAT the packet is for the host itself, whose INPUT drops it."""
    after = GATEWAY.replace(
        "-A PREROUTING -i eth0 -p tcp --dport 80 -j DNAT --to-destination 10.8.0.5:8080\n", ""
    )
    found = compared(GATEWAY, after, HOST)
    opening = of(found, VERDICT, Role.OPENING, Way.FORWARD)
    assert {(c.before.verdict, c.after.verdict) for c in opening} == {("accept", "drop")}
    assert {c.hook for c in opening} == {Hook.INPUT, Hook.FORWARD}
    assert "tcp 80 in eth0, forwarded: dropped, was accepted" in words(GATEWAY, after, HOST)


def test_answers_that_come_back_to_a_masqueraded_flow_must_not_be_untracked() -> None:
    """A NOTRACK for the host's own answers catches those of the LAN, which then are never translated back."""
    host = "-A PREROUTING -d 192.0.2.80 -p udp --sport 53 -j CT --notrack"
    found = compared(GATEWAY, raw(host) + GATEWAY, HOST)
    (change,) = of(found, VERDICT, Role.ANSWER, Way.FORWARD)
    assert (change.before.tracked, change.after.tracked) == (True, False)
    # translated to other ports than those, they are left alone
    ports = GATEWAY.replace("-j MASQUERADE", "-p udp -j MASQUERADE --to-ports 1024-32767")
    own = host.replace("--sport 53", "--sport 53 --dport 32768:60999")
    assert not of(compared(ports, raw(own) + ports, HOST), VERDICT, Role.ANSWER, Way.FORWARD)


def test_a_rate_that_formats_spell_differently_is_the_same() -> None:
    one = more(STATEFUL, "-A INPUT -p icmp -m limit --limit 20/second --limit-burst 20 -j ACCEPT")
    nft = """
table ip filter {
  chain input {
    type filter hook input priority 0; policy drop;
    ct state established,related accept
    tcp dport 22 ct state new accept
    udp dport 53 ct state new accept
    ip protocol icmp limit rate 20/second burst 20 packets accept
  }
  chain forward { type filter hook forward priority 0; policy drop; }
  chain output {
    type filter hook output priority 0; policy drop;
    ct state established,related accept
  }
}
"""
    assert compared(one, nft, HOST).equal
    faster = compared(one, nft.replace("20/second", "30/second"), HOST)
    assert faster.of_kind(VERDICT) and len(faster.facts) >= 2


def test_what_nobody_knows_is_the_same_where_its_words_are() -> None:
    one = more(STATEFUL, '-A INPUT -p tcp -m string --string "x" --algo bm -j ACCEPT')
    assert compared(one, one).facts
    assert compared(one, one).equal
    assert not compared(one, one.replace('"x"', '"y"')).equal


def test_too_hard_is_undecided_and_not_equal() -> None:
    rules = [f"-A INPUT -p tcp -s 10.{n}.0.0/16 --dport {n + 1} -j ACCEPT" for n in range(200)]
    one, other = ruleset(more(STATEFUL, *rules)), ruleset(more(STATEFUL, *rules[1:]))
    found = difference(one, other, Family.IPV4, HOST, Budget(nodes=1500))
    assert found.undecided and not found.equal


def test_a_thousand_boxes_are_a_handful_of_lines() -> None:
    rules = [f"-A INPUT -p tcp -s 10.0.{n % 250}.{n // 250} --dport 8080 -j ACCEPT" for n in range(1000)]
    told = words(STATEFUL, more(STATEFUL, *rules), HOST)
    assert len(told) == 1 and told[0].startswith("tcp 8080 from ")
    ports = [f"-A INPUT -p tcp --dport {1000 + 2 * n} -j ACCEPT" for n in range(1000)]
    (line,) = words(STATEFUL, more(STATEFUL, *ports), HOST)
    assert line.startswith("tcp 1,000 ports (1000, 1002, 1004, ...)")
    mixed = [f"-A INPUT -p tcp -s 10.0.{n % 250}.0/24 --dport {1000 + 2 * n} -j ACCEPT" for n in range(1000)]
    one, other = ruleset(STATEFUL), ruleset(more(STATEFUL, *mixed))
    found = difference(one, other, Family.IPV4, HOST)
    text = as_text(Compared(one, other, HOSTS, (found,)), brief=True)
    assert "more: accepted, was dropped (--all shows them)" in text
    assert len(text.splitlines()) < 30


def test_every_group_has_its_witness_and_its_count() -> None:
    found = compared(STATEFUL, raw(IN, OUT) + more(STATEFUL, *ACCEPTS), HOST)
    for group in groups(found):
        change = group.witness()
        member = change.witness()
        assert member is not None
        assert change.packets.has(member.packet, dict(member.facts))
        assert change.count() >= 1


def test_json_says_the_same() -> None:
    one, other = ruleset(STATEFUL), ruleset(STATEFUL.replace("--dport 22", "--dport 2222"))
    found = Compared(one, other, HOSTS, (difference(one, other, Family.IPV4, HOST),))
    made = as_json(found)
    assert made["schema_version"] == 1 and made["equal"] is False
    changes = made["changes"]
    assert isinstance(changes, list)
    seen = {(c["hook"], c["from"], c["to"], c["packets"]) for c in changes if c["way"] == "local in"}
    assert seen == {("input", "accept", "drop", "tcp 22"), ("input", "drop", "accept", "tcp 2222")}
    assert all(c["witness"]["family"] == "ipv4" and c["count"] > 0 for c in changes)
