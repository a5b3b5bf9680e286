"""What a rule leaves of a header field: the values with which a packet may still match it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from notrack.packets.address import Family
from notrack.packets.fields import Field, domain
from notrack.packets.intervals import IntervalSet
from notrack.ruleset.core import Among, Guard, Jump, OneOf, Rule, Ruleset, Table


def bound(guard: Guard, field: Field, family: Family) -> IntervalSet:
    """The values of a field (no mark) that a guard lets pass; all of them where it does not ask."""
    left = domain(field, family).whole
    for literal in guard:
        if isinstance(literal, Among) and literal.field is field:
            left = left - literal.values if literal.negated else left & literal.values
        elif isinstance(literal, OneOf) and not literal.negated:
            left = left & _union(bound(inner, field, family) for inner in literal.guards)
    return left


def _union(parts: Iterable[IntervalSet]) -> IntervalSet:
    return IntervalSet.of(span for part in parts for span in part)


def asks(guard: Guard, *fields: Field) -> bool:
    """Whether a guard asks for one of these fields at all, negated or not."""
    return any(field in fields for field in asked(guard))


def asked(guard: Guard) -> Iterator[Field]:
    """Every field that a guard asks for, some of them several times."""
    for literal in guard:
        if isinstance(literal, OneOf):
            for inner in literal.guards:
                yield from asked(inner)
        elif hasattr(literal, "field"):
            yield literal.field


def rules_of(ruleset: Ruleset, family: Family) -> Iterator[Rule]:
    """Every rule of the tables of a family, in chains that nothing reaches too."""
    for table in ruleset.tables:
        if family in table.families:
            for chain in table.chains:
                yield from chain.rules


class Inherited:
    """What the jumps to a chain leave of a field to the packets that come there."""

    def __init__(self, table: Table, field: Field, family: Family) -> None:
        self.field = field
        self.family = family
        self.whole = domain(field, family).whole
        self.based = {chain.name for chain in table.chains if chain.base is not None}
        self.jumps: dict[str, list[tuple[str, Rule]]] = {}
        for chain in table.chains:
            for rule in chain.rules:
                if rule.actions and isinstance(rule.actions[-1], Jump):
                    self.jumps.setdefault(rule.actions[-1].chain, []).append((chain.name, rule))
        self.made: dict[str, IntervalSet] = {}

    def of(self, chain: str) -> IntervalSet:
        if chain in self.based or chain not in self.jumps:
            return self.whole
        if chain not in self.made:
            self.made[chain] = self.whole  # for chains that jump in a circle
            self.made[chain] = IntervalSet.of(
                span
                for caller, rule in self.jumps[chain]
                for span in self.of(caller) & bound(rule.guard, self.field, self.family)
            )
        return self.made[chain]
