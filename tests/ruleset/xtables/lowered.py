"""What the tests of lowering share: rules as text in, guards, branches and answers about packets out."""

from __future__ import annotations

from dataclasses import replace

from notrack.netfilter.guards import holds
from notrack.packets.address import Family
from notrack.packets.fields import State
from notrack.packets.packet import Packet
from notrack.packets.packet_text import parse_packet
from notrack.ruleset import core
from notrack.ruleset.xtables.backend import Backend
from notrack.ruleset.xtables.lower import lower
from notrack.ruleset.xtables.reader import read
from notrack.text.source import Source

V4, V6 = Family.IPV4, Family.IPV6


def lowered(text: str, family: Family = V4, *, noflush: bool = False) -> core.Ruleset:
    """As legacy iptables has it; tests/ruleset/test_fragments.py shows what the other does with fragments."""
    tree, _ = read(Source("rules", text), family)
    return lower(replace(tree, backend=Backend.LEGACY), family, noflush=noflush)[0]


def told(text: str, family: Family = V4) -> list[str]:
    """The messages of the lowering alone."""
    tree, _ = read(Source("rules", text), family)
    return [one.message for one in lower(tree, family)[1]]


def rules(
    line: str, family: Family = V4, table: str = "filter", chain: str = "INPUT"
) -> tuple[core.Rule, ...]:
    """The rules of the core that one line becomes."""
    made = lowered(f"*{table}\n-A {chain} {line}\nCOMMIT\n", family)
    found = next(one for one in made.tables if one.name == table).chain(chain)
    assert found is not None
    return found.rules


def guard(match: str, family: Family = V4) -> core.Guard:
    (only,) = rules(match, family)
    return only.guard


def actions(
    target: str, family: Family = V4, table: str = "filter", chain: str = "INPUT"
) -> tuple[core.Action, ...]:
    (only,) = rules(f"-j {target}", family, table, chain)
    assert only.guard == ()
    return only.actions


def packet(text: str, state: State | None = None) -> Packet:
    return replace(parse_packet(text), state=state)


def holds_for(match: str, text: str | Packet, **facts: bool) -> bool:
    """Whether a match holds for a packet. Facts are named by a word of their names; one that is asked for and
    not given is an error."""
    one = packet(text) if isinstance(text, str) else text

    def truth(name: str) -> bool:
        found = [value for word, value in facts.items() if word in name]
        assert len(found) == 1, name
        return found[0]

    return holds(guard(match, one.family), one.values(), one.family, truth)


def facts_of(guard: core.Guard) -> list[core.Fact]:
    found = []
    for literal in guard:
        if isinstance(literal, core.Fact):
            found.append(literal)
        elif isinstance(literal, core.OneOf):
            found += [fact for inner in literal.guards for fact in facts_of(inner)]
    return found
