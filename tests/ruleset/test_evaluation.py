"""Matches that count: each rule asks for itself."""

from __future__ import annotations

import pytest

from notrack.netfilter.model import Model
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.ruleset import core
from notrack.ruleset.evaluation import apart, has_own
from notrack.ruleset.formats import read_any
from notrack.text.source import Source


def saved(*rules: str) -> core.Ruleset:
    text = "*filter\n:INPUT ACCEPT [0:0]\n" + "".join(f"-A INPUT {rule}\n" for rule in rules) + "COMMIT\n"
    return read_any(Source("rules.v4", text), Family.IPV4).ruleset


def native(*rules: str, sets: str = "") -> core.Ruleset:
    body = "\n".join(rules)
    base = "type filter hook input priority 0; policy accept;"
    text = f"table ip t {{\n{sets}\nchain c {{ {base}\n{body}\n}}\n}}\n"
    return read_any(Source("rules.nft", text)).ruleset


def guards(ruleset: core.Ruleset) -> list[core.Guard]:
    chain = next(
        chain for chain in ruleset.tables[0].chains if chain.base and chain.base.hook is core.Hook.INPUT
    )
    return [rule.guard for rule in chain.rules]


@pytest.mark.parametrize(
    "match",
    [
        "-m limit --limit 5/sec",
        "-m hashlimit --hashlimit-upto 5/s --hashlimit-name x",
        "-m statistic --mode random --probability 0.5",
        "-m quota --quota 1000",
        "-m recent --update --seconds 60",
        "-m connlimit --connlimit-above 9",
        "-m nobodyknows --what 5",
    ],
)
def test_what_counts_or_draws_lots_is_a_rules_own(match: str) -> None:
    (guard,) = guards(saved(f"{match} -j ACCEPT"))
    assert has_own(guard)


@pytest.mark.parametrize(
    "match",
    [
        "-m set --match-set bad src",
        "-m owner --uid-owner 0",
        "-m string --algo bm --string x",
        "-m time --timestart 10:00",
        "-m connbytes --connbytes 1 --connbytes-dir both --connbytes-mode bytes",
    ],
)
def test_what_gives_all_rules_one_answer_is_not(match: str) -> None:
    (guard,) = guards(saved(f"{match} -j ACCEPT"))
    assert not has_own(guard) and any(isinstance(literal, core.Fact) for literal in guard)


@pytest.mark.parametrize(
    "match",
    [
        "limit rate 5/second",
        "quota over 5 mbytes",
        "ct count over 5",
        "numgen random mod 2 == 0",
        "meta random <= 1000000",
        "ip saddr @seen",
        'limit name "slow"',
        "add @seen { ip saddr limit rate 5/second }",
        "xt match recent",
    ],
)
def test_so_it_is_in_nft(match: str) -> None:
    sets = "set seen { type ipv4_addr; flags dynamic; }\nlimit slow { rate 5/second; }"
    (guard,) = guards(native(f"{match} accept", sets=sets))
    assert has_own(guard)


def test_a_fixed_set_and_a_helper_give_one_answer() -> None:
    sets = "set names { type inet_service; elements = { my-own } }"
    for match in ('ct helper "ftp"', "tcp dport @names", "meta skuid 5"):
        (guard,) = guards(native(f"{match} accept", sets=sets))
        assert not has_own(guard) and any(isinstance(literal, core.Fact) for literal in guard)


def dropped(ruleset: core.Ruleset) -> bool:
    return bool(Model(ruleset, Family.IPV4).passage(Way.LOCAL_IN).dropped())


def test_the_second_of_two_equal_limits_is_reached_once_they_are_told_apart() -> None:
    ruleset = saved("-m limit --limit 5/sec -j ACCEPT", "-m limit --limit 5/sec -j DROP")
    assert not dropped(ruleset)  # equal text, equal fact
    assert dropped(apart(ruleset))


def test_the_second_of_two_equal_owners_stays_hidden() -> None:
    ruleset = saved("-m string --algo bm --string x -j ACCEPT", "-m string --algo bm --string x -j DROP")
    assert apart(ruleset) is ruleset
    assert not dropped(ruleset)


def test_rules_of_one_line_share_what_is_asked_once() -> None:
    ruleset = native(
        "limit rate 5/second tcp dport vmap { 22 : accept, 23 : drop }", "limit rate 5/second drop"
    )
    names = [
        literal.name
        for guard in guards(apart(ruleset))
        for literal in guard
        if isinstance(literal, core.Fact)
    ]
    assert len(names) == 3
    assert names[0] == names[1] != names[2]


def test_what_stands_inside_a_choice_is_told_apart_too() -> None:
    inner = core.OneOf(((core.Fact("limit", own=True),),))
    rules = (core.Rule((inner,)), core.Rule((inner,)))
    table = core.Table("t", frozenset({Family.IPV4}), (core.Chain("c", rules),))
    first, second = (rule.guard for rule in apart(core.Ruleset((table,))).tables[0].chains[0].rules)
    assert first != second != (inner,)


def test_extensions_of_iptables_that_nft_lists_by_name_alone_are_never_one() -> None:
    ruleset = native(
        "xt match set xt match set drop", "xt match set accept", "xt target NFQUEUE", "xt target NFQUEUE"
    )
    rules = ruleset.tables[0].chains[0].rules
    facts = [literal.name for rule in rules for literal in rule.guard if isinstance(literal, core.Fact)]
    texts = [action.text for rule in rules for action in rule.actions if isinstance(action, core.Unknown)]
    assert len(facts) == len(set(facts)) == 3
    assert len(texts) == len(set(texts)) == 2
