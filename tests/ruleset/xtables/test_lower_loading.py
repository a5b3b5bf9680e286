"""What is in force once a text is loaded: tables, chains, policies, and the commands that change them."""

from __future__ import annotations

import pytest

from notrack.packets.address import Family
from notrack.ruleset import core
from notrack.ruleset.xtables.lower import lower
from notrack.ruleset.xtables.reader import read
from notrack.text.source import Source
from tests.ruleset.xtables.lowered import V4, V6, lowered, rules, told


def texts(body: str, chain: str = "INPUT", table: str = "filter") -> list[str]:
    """The rules of a chain after some lines of a table, as text."""
    made = next(one for one in lowered(f"*{table}\n{body}COMMIT\n").tables if one.name == table)
    found = made.chain(chain)
    assert found is not None
    return [rule.origin.text.partition(" -s ")[2] for rule in found.rules]


def chain_of(made: core.Ruleset, table: str, chain: str) -> core.Chain:
    found = next(one for one in made.tables if one.name == table).chain(chain)
    assert found is not None
    return found


def test_built_in_chains_of_a_table_that_is_named_are_there() -> None:
    (made,) = lowered("*raw\nCOMMIT\n").tables
    assert [(chain.name, chain.base) for chain in made.chains] == [
        ("PREROUTING", core.Base(core.Hook.PREROUTING, -300)),
        ("OUTPUT", core.Base(core.Hook.OUTPUT, -300)),
    ]
    assert made.families == frozenset({V4})
    assert lowered("").tables == ()


@pytest.mark.parametrize(
    ("table", "chain", "priority", "kind"),
    [
        ("raw", "OUTPUT", -300, "filter"),
        ("mangle", "FORWARD", -150, "filter"),
        ("mangle", "OUTPUT", -150, "route"),
        ("nat", "PREROUTING", -100, "nat"),
        ("nat", "INPUT", 100, "nat"),
        ("nat", "OUTPUT", -100, "nat"),
        ("nat", "POSTROUTING", 100, "nat"),
        ("filter", "INPUT", 0, "filter"),
        ("security", "FORWARD", 50, "filter"),
    ],
)
def test_hooks(table: str, chain: str, priority: int, kind: str) -> None:
    base = chain_of(lowered(f"*{table}\nCOMMIT\n"), table, chain).base
    assert base == core.Base(core.Hook[chain], priority, core.ChainType(kind))


def test_policies() -> None:
    made = lowered("*filter\n:INPUT DROP [0:0]\n:FORWARD - [0:0]\n-P OUTPUT DROP\nCOMMIT\n")
    policies = {chain.name: chain.base.policy.value for chain in made.tables[0].chains if chain.base}
    assert policies == {"INPUT": "drop", "FORWARD": "accept", "OUTPUT": "drop"}


def test_chains_of_ones_own() -> None:
    made = lowered("*filter\n:web - [0:0]\n-N dns\n-A INPUT -j web\n-A INPUT -g dns\nCOMMIT\n")
    assert chain_of(made, "filter", "web").base is None
    jumps = [rule.actions for rule in chain_of(made, "filter", "INPUT").rules]
    assert jumps == [(core.Jump("web"),), (core.Jump("dns", goto=True),)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("-A INPUT -s 1.1.1.1\n-A INPUT -s 2.2.2.2\n", ["1.1.1.1", "2.2.2.2"]),
        ("-A INPUT -s 1.1.1.1\n-I INPUT -s 2.2.2.2\n", ["2.2.2.2", "1.1.1.1"]),
        ("-A INPUT -s 1.1.1.1\n-I INPUT 2 -s 2.2.2.2\n", ["1.1.1.1", "2.2.2.2"]),
        ("-A INPUT -s 1.1.1.1\n-R INPUT 1 -s 2.2.2.2\n", ["2.2.2.2"]),
        ("-A INPUT -s 1.1.1.1\n-A INPUT -s 2.2.2.2\n-D INPUT 1\n", ["2.2.2.2"]),
        ("-A INPUT -s 1.1.1.1\n-D INPUT -s 1.1.1.1/32\n", []),
        ("-A INPUT -s 1.1.1.1\n-A INPUT -s 1.1.1.1\n-D INPUT -s 1.1.1.1\n", ["1.1.1.1"]),
        ("-A INPUT -s 1.1.1.1\n-F\n-A INPUT -s 2.2.2.2\n", ["2.2.2.2"]),
        ("-A INPUT -s 1.1.1.1\n-F OUTPUT\n-Z INPUT\n-C INPUT -s 1.1.1.1\n", ["1.1.1.1"]),
        ("[5:300] -A INPUT -s 1.1.1.1\n", ["1.1.1.1"]),
    ],
)
def test_commands_run_in_their_order(body: str, expected: list[str]) -> None:
    assert texts(body) == expected


def test_a_rule_with_another_target_is_not_the_one_to_delete() -> None:
    body = "*filter\n-A INPUT -s 1.1.1.1 -j DROP\n-D INPUT -s 1.1.1.1 -j ACCEPT\nCOMMIT\n"
    assert len(chain_of(lowered(body), "filter", "INPUT").rules) == 1
    assert told(body) == ["INPUT has no such rule"]


def test_deletion_does_not_mind_how_a_rule_is_spelled() -> None:
    body = "-A INPUT -s 1.1.1.1 -p tcp --syn --dport http -j ACCEPT\n"
    body += "-D INPUT -p 6 -s 1.1.1.1/32 -m tcp --dport 80 --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT\n"
    assert len(texts(body)) == 1  # another order of literals is another rule to the kernel too


def test_lists_of_addresses_are_several_rules() -> None:
    made = rules("-s 1.1.1.1,2.2.2.2 -d 3.3.3.3,4.4.4.4 -j ACCEPT")
    assert len(made) == 4 and len({rule.guard for rule in made}) == 4
    assert len({rule.origin for rule in made}) == 1


def test_a_list_takes_several_places() -> None:
    body = "-A INPUT -s 1.1.1.1,2.2.2.2\n-A INPUT -s 3.3.3.3\n-D INPUT 3\n"
    assert texts(body) == ["1.1.1.1,2.2.2.2", "1.1.1.1,2.2.2.2"]


def test_a_renamed_chain_keeps_its_callers() -> None:
    made = lowered("*filter\n:a - [0:0]\n-A INPUT -j a\n-E a b\n-A b -j DROP\nCOMMIT\n")
    assert chain_of(made, "filter", "INPUT").rules[0].actions == (core.Jump("b"),)
    assert len(chain_of(made, "filter", "b").rules) == 1


def test_deleted_chains_are_gone_and_jumps_there_may_do_anything() -> None:
    body = "*filter\n:a - [0:0]\n-A INPUT -j a\n-X a\nCOMMIT\n"
    (action,) = chain_of(lowered(body), "filter", "INPUT").rules[0].actions
    assert action == core.Unknown("-j a")
    assert told(body) == ["no chain a when this table is loaded"]


def test_a_jump_to_a_built_in_chain_is_told() -> None:
    body = "*filter\n-A INPUT -j OUTPUT\nCOMMIT\n"
    assert isinstance(chain_of(lowered(body), "filter", "INPUT").rules[0].actions[0], core.Unknown)
    assert len(told(body)) == 1


def test_a_jump_to_a_chain_that_never_was_may_do_anything() -> None:
    for word in ("-j", "-g"):
        made = chain_of(lowered(f"*filter\n-A INPUT {word} nowhere\nCOMMIT\n"), "filter", "INPUT")
        assert made.rules[0].actions == (core.Unknown(f"{word} nowhere"),)


def test_a_second_section_empties_the_table() -> None:
    body = "*filter\n:INPUT DROP\n:x -\n-A INPUT -s 1.1.1.1\nCOMMIT\n*filter\n-A INPUT -s 2.2.2.2\nCOMMIT\n"
    made = chain_of(lowered(body), "filter", "INPUT")
    assert [rule.origin.text for rule in made.rules] == ["-A INPUT -s 2.2.2.2"]
    assert lowered(body).tables[0].chain("x") is None
    assert told(body) == ["this section empties the table filter that stands above"]


def test_without_flush_sections_add_to_each_other() -> None:
    body = "*filter\n:INPUT DROP\n:x -\n-A x -s 1.1.1.1\n-A INPUT -j x\nCOMMIT\n"
    body += "*filter\n:INPUT ACCEPT\n:x -\n-A x -s 2.2.2.2\nCOMMIT\n"
    made = lowered(body, noflush=True)
    assert [rule.origin.text for rule in chain_of(made, "filter", "x").rules] == ["-A x -s 2.2.2.2"]
    assert [rule.actions for rule in chain_of(made, "filter", "INPUT").rules] == [(core.Jump("x"),)]
    base = chain_of(made, "filter", "INPUT").base
    assert base is not None and base.policy is core.Verdict.ACCEPT


def test_fragments_speak_of_chains_that_others_made() -> None:
    first, _ = read(Source("a", "*filter\n:web -\n-A INPUT -j web\nCOMMIT\n"), V4)
    second, _ = read(Source("b", "*filter\n-A web -j DROP\nCOMMIT\n"), V4)
    made, diagnostics = lower((first, second), V4)
    assert diagnostics == ()
    assert [rule.actions for rule in chain_of(made, "filter", "web").rules] == [(core.Verdict.DROP,)]
    assert len(chain_of(made, "filter", "INPUT").rules) == 1


def test_a_table_without_commit_is_not_loaded() -> None:
    assert lowered("*filter\n:INPUT DROP\n-A INPUT -j ACCEPT\n").tables == ()


def test_a_listing_of_rules_is_the_filter_table() -> None:
    made = lowered("-P INPUT DROP\n-N web\n-A INPUT -j web\n")
    base = chain_of(made, "filter", "INPUT").base
    assert base is not None and base.policy is core.Verdict.DROP


def test_lines_of_one_family_alone() -> None:
    body = "*filter\n-4 -A INPUT -s 1.1.1.1 -j DROP\n-6 -A INPUT -s ::1 -j DROP\nCOMMIT\n"
    tree, _ = read(Source("rules", body))
    for family, word in ((Family.IPV4, "-4"), (V6, "-6")):
        (rule,) = chain_of(lower(tree, family)[0], "filter", "INPUT").rules
        assert rule.origin.text.startswith(word)


def test_a_line_that_nobody_understands_may_do_anything_in_its_chain() -> None:
    body = "*filter\n-A INPUT -j ACCEPT\n-A INPUT --nonsense -s 999.1.1.1 -j ACCEPT\nCOMMIT\n"
    made = chain_of(lowered(body), "filter", "INPUT").rules
    assert isinstance(made[1].actions[0], core.Unknown) and "--nonsense" in made[1].origin.text


def test_what_the_loader_refuses_is_told_and_left_out() -> None:
    body = "*filter\n-I INPUT 9 -s 1.1.1.1\n-D INPUT 5\n-R INPUT 7 -j DROP\n-X nowhere\n-P web DROP\nCOMMIT\n"
    assert len(told(body)) == 5
    assert len(chain_of(lowered(body), "filter", "INPUT").rules) == 1


def test_the_nat_table_is_asked_for_first_packets() -> None:
    made = lowered("*nat\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n")
    base = chain_of(made, "nat", "POSTROUTING").base
    assert base is not None and base.kind is core.ChainType.NAT
