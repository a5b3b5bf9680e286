"""What is said to be never reached is never reached, and the other way round: small tables, all packets."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest

from notrack.lint.coverage import Coverage
from notrack.netfilter.guards import holds
from notrack.packets.address import Family
from notrack.packets.fields import Field
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet import Packet
from notrack.ruleset.core import (
    Action,
    Among,
    Base,
    Chain,
    Fact,
    Hook,
    Jump,
    Literal,
    Log,
    Masked,
    OneOf,
    Origin,
    Rule,
    SetMark,
    Table,
    Verdict,
)

NAMES = ("base", "first", "second", "third")
VALUES = range(1, 4)
STABLE = ("stable a", "stable b")


def table(draw: random.Random, *, loose: bool) -> Table:
    """Four chains, each of which calls later ones alone. `loose`: with facts, limits and marks."""
    return Table(
        "filter", frozenset((Family.IPV4,)), tuple(_chain(draw, at, loose) for at in range(len(NAMES)))
    )


def _chain(draw: random.Random, at: int, loose: bool) -> Chain:
    rules = []
    for number in range(draw.randint(1, 6)):
        guard = tuple(_literal(draw, loose) for _ in range(draw.randint(0, 2)))
        origin = Origin(text=f"{NAMES[at]} {number}")
        rules.append(Rule(guard, (_action(draw, at, loose),), origin))
    base = Base(Hook.INPUT, 0) if at == 0 else None
    return Chain(NAMES[at], tuple(rules), base)


def _literal(draw: random.Random, loose: bool) -> Literal:
    kind = draw.randint(0, 6 if loose else 3)
    if kind <= 2:
        field = draw.choice((Field.SOURCE, Field.DESTINATION))
        low = draw.choice(VALUES)
        return Among(field, IntervalSet(((low, draw.randint(low, 3)),)), draw.random() < 0.3)
    if kind == 3:
        inner = tuple((_literal(draw, False),) for _ in range(2))
        return OneOf(inner, draw.random() < 0.3)
    if kind == 4:
        return Fact(draw.choice(STABLE), draw.random() < 0.5)
    if kind == 5:
        return Fact("limit", draw.random() < 0.5, own=True)
    return Masked(Field.MARK, 1, draw.randint(0, 1), draw.random() < 0.3)


def _action(draw: random.Random, at: int, loose: bool) -> Action:
    later = NAMES[at + 1 :]
    choices: list[Action] = [Verdict.ACCEPT, Verdict.DROP, Verdict.RETURN, Log("log")]
    choices += [Jump(draw.choice(later), draw.random() < 0.3)] * 3 if later else []
    choices += [SetMark(Field.MARK, 1, draw.randint(0, 1))] if loose else []
    return draw.choice(choices)


class Explorer:
    """Every rule that some packet comes to, found by following each packet, whatever a limit answers."""

    def __init__(self, made: Table) -> None:
        self.chains = {chain.name: chain for chain in made.chains}
        self.reached: set[str] = set()

    def run(self) -> set[str]:
        answers = list(itertools.product((False, True), repeat=len(STABLE)))
        for source, target, mark, truths in itertools.product(range(5), range(5), range(2), answers):
            packet = Packet(Family.IPV4, 50, source, target, mark=mark)
            facts = dict(zip(STABLE, truths, strict=True))
            for _ in self._chain("base", packet.values(), facts):
                pass
        return self.reached

    def _chain(
        self, name: str, values: dict[Field, int], facts: dict[str, bool], start: int = 0
    ) -> Iterator[dict[Field, int]]:
        """The states in which the packet comes back out of a chain."""
        rules = self.chains[name].rules
        if start == len(rules):
            yield values
            return
        rule = rules[start]
        self.reached |= {rule.origin.text} if self._may(rule, values, facts) else set()
        for limit in (False, True):
            truth = facts | {"limit": limit}
            if not holds(rule.guard, values, Family.IPV4, truth.__getitem__):
                yield from self._chain(name, values, facts, start + 1)
            else:
                yield from self._does(name, start, values, facts)
            if not any(isinstance(part, Fact) and part.own for part in rule.guard):
                return

    def _may(self, rule: Rule, values: dict[Field, int], facts: dict[str, bool]) -> bool:
        return any(
            holds(rule.guard, values, Family.IPV4, (facts | {"limit": limit}).__getitem__)
            for limit in (False, True)
        )

    def _does(
        self, name: str, start: int, values: dict[Field, int], facts: dict[str, bool]
    ) -> Iterator[dict[Field, int]]:
        action = self.chains[name].rules[start].actions[0]
        if action in (Verdict.ACCEPT, Verdict.DROP):
            return
        if action is Verdict.RETURN:
            yield values
        elif isinstance(action, Jump):
            for back in self._chain(action.chain, values, facts):
                if action.goto:
                    yield back
                else:
                    yield from self._chain(name, back, facts, start + 1)
        else:
            if isinstance(action, SetMark):
                values = values | {Field.MARK: action.value or 0}
            yield from self._chain(name, values, facts, start + 1)


def never(made: Table) -> set[str]:
    """The rules of which the coverage says that no packet comes to them, though some would match."""
    arrivals = list(Coverage(made, Family.IPV4).arrivals())
    return {one.entry.origin.text for one in arrivals if one.wanted and not one.reached}


@pytest.mark.parametrize("seed", range(150))
def test_what_is_never_reached_is_reached_by_no_packet(seed: int) -> None:
    made = table(random.Random(seed), loose=True)
    assert never(made).isdisjoint(Explorer(made).run())


@pytest.mark.parametrize("seed", range(150))
def test_without_limits_and_marks_every_such_rule_is_told(seed: int) -> None:
    made = table(random.Random(seed), loose=False)
    coverage = Coverage(made, Family.IPV4)
    arrivals = list(coverage.arrivals())
    told = {one.entry.origin.text for one in arrivals if one.reached}
    assert told == Explorer(made).run()


def test_the_rules_in_front_are_named() -> None:
    """One rule alone where one is enough, else those that are needed and no others."""

    def rule(name: str, low: int, high: int, action: Action = Verdict.DROP) -> Rule:
        return Rule((Among(Field.SOURCE, IntervalSet(((low, high),))),), (action,), Origin(text=name))

    rules = (rule("a", 1, 2), rule("far", 7, 9), rule("b", 3, 4), rule("ab", 1, 4), rule("whole", 2, 4))
    made = Table("filter", frozenset((Family.IPV4,)), (Chain("INPUT", rules, Base(Hook.INPUT, 0)),))
    coverage = Coverage(made, Family.IPV4)
    dead = {one.entry.origin.text: one for one in coverage.arrivals() if not one.reached}
    assert set(dead) == {"ab", "whole"}
    names = {
        name: [entry.origin.text for entry in coverage.takers(one.entry, one.wanted)]
        for name, one in dead.items()
    }
    assert names == {"ab": ["a", "b"], "whole": ["a", "b"]}
