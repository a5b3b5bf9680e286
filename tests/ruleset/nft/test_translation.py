"""Translations of nft: to what is written, to what a map says, and to what nobody knows."""

from __future__ import annotations

import ipaddress

import pytest

from notrack.netfilter.effects import Unsure
from notrack.netfilter.model import Model
from notrack.netfilter.walk import walk
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.packets.fields import Field, State
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.packets.packet_text import parse_packet
from notrack.ruleset import core
from notrack.ruleset.nft.lower import lowered
from notrack.ruleset.nft.reader import read

PORT = Field.DESTINATION_PORT
MAPS = """
map web { type ipv4_addr : ipv4_addr; elements = { 192.0.2.1 : 10.0.0.1, 192.0.2.2 : 10.0.0.2 }; }
map grown { type ipv4_addr : ipv4_addr; flags dynamic; }
map ends { type inet_service : ipv4_addr . inet_service; elements = { 80 : 10.0.0.1 . 8080 }; }
"""


def ruleset(statement: str) -> core.Ruleset:
    nat = f"chain nat {{ type nat hook prerouting priority -100; {statement} }}"
    passing = "chain fwd { type filter hook forward priority 0; policy drop; ip daddr 10.0.0.5 accept; }"
    text = f"table ip t {{ {MAPS} {nat}\n {passing}\n }}\n"
    tree, found = read(text.replace("; ", ";\n").replace(" }", "\n}"))
    assert found == ()
    return lowered(tree)[0]


def translations(statement: str) -> list[core.Nat]:
    rules = ruleset(statement).tables[0].chains[0].rules
    return [action for rule in rules for action in rule.actions if isinstance(action, core.Nat)]


def facts(statement: str) -> list[core.Fact]:
    rules = ruleset(statement).tables[0].chains[0].rules
    return [literal for rule in rules for literal in rule.guard if isinstance(literal, core.Fact)]


def one(*texts: str) -> IntervalSet:
    numbers = [int(ipaddress.ip_address(text)) for text in texts]
    return IntervalSet.of((number, number) for number in numbers)


def ports(*numbers: int) -> IntervalSet:
    return IntervalSet.of((number, number) for number in numbers)


def test_an_address_that_is_written_is_known_and_one_that_is_not_is_kept() -> None:
    (nat,) = translations("tcp dport 80 dnat to 10.0.0.9:8080")
    assert (nat.addresses, nat.ports) == (one("10.0.0.9"), ports(8080))
    (nat,) = translations("tcp dport 80 dnat to :8080")
    assert (nat.addresses, nat.ports) == (None, ports(8080))


@pytest.mark.parametrize(
    "statement",
    [
        "dnat to ip daddr map @grown",
        "dnat to ip daddr map @nowhere",
        "dnat to jhash ip saddr mod 4 seed 0x5 offset 10",
        "dnat to gate.example.net",
    ],
)
def test_an_address_that_nobody_knows_is_somewhere(statement: str) -> None:
    (nat,) = translations(statement)
    assert nat.addresses == core.SOMEWHERE and nat.ports is None


def test_a_map_is_one_translation_for_each_value() -> None:
    for statement in (
        "dnat to ip daddr map @web",
        "dnat to ip daddr map { 192.0.2.1 : 10.0.0.1, 192.0.2.2 : 10.0.0.2 }",
    ):
        first, second = ruleset(statement).tables[0].chains[0].rules
        assert core.Among(Field.DESTINATION, one("192.0.2.1")) in first.guard
        assert core.Among(Field.DESTINATION, one("192.0.2.2")) in second.guard
        assert [rule.actions[0].addresses for rule in (first, second)] == [one("10.0.0.1"), one("10.0.0.2")]
        assert first.origin == second.origin


def test_a_map_gives_ports_too() -> None:
    (nat,) = translations("dnat ip addr . port to tcp dport map @ends")
    assert (nat.addresses, nat.ports) == (one("10.0.0.1"), ports(8080))
    first, second = translations("redirect to :tcp dport map { 22 : 8000, 23 : 8001 }")
    assert (first.ports, second.ports) == (ports(8000), ports(8001))


def test_of_a_map_whose_key_has_no_exact_form_any_value_may_come_out() -> None:
    statement = "dnat to numgen inc mod 2 map { 0 : 10.0.0.1, 1 : 10.0.0.2 }"
    (nat,) = translations(statement)
    assert nat.addresses == one("10.0.0.1", "10.0.0.2")
    assert facts(statement) == []  # every number has an element: the rule never ends at the map
    (fact,) = facts("dnat to numgen inc mod 3 map { 0 : 10.0.0.1, 1 : 10.0.0.2 }")
    assert fact.own


def test_the_sets_let_an_unknown_address_be_any() -> None:
    rules = ruleset("tcp dport 80 dnat to jhash ip saddr mod 4 seed 0x5 offset 10")
    model = Model(rules, Family.IPV4)
    passage = model.passage(Way.FORWARD)
    ((effects, packets),) = passage.translated()
    assert effects.destination_nat is not None
    change = dict(effects.fields)[Field.DESTINATION]
    assert isinstance(change, Unsure) and change.among == Family.IPV4.whole
    web = PacketSet.where(model.space, PORT, 80) & PacketSet.where(model.space, Field.PROTOCOL, 6)
    new = web & PacketSet.where(model.space, Field.STATE, State.NEW) & passage.packets
    assert packets.may() <= new.may()
    accepted = passage.accepted(new)
    assert accepted.may() and not accepted.must()


def test_the_walk_says_that_it_guesses_the_address() -> None:
    rules = ruleset("tcp dport 80 dnat to jhash ip saddr mod 4 seed 0x5 offset 10")
    trace = walk(rules, parse_packet("tcp 198.51.100.1:40000 > 192.0.2.7:80 in eth0 out eth1"))
    assert trace.effects.destination_nat is not None
    assert any(name.startswith("address of dnat") for name, _ in trace.assumed)
    assert trace.values[Field.DESTINATION] != int(ipaddress.ip_address("192.0.2.7"))
    assert trace.verdict == "drop"
