"""Runs of rules that do the same to packets which differ in one field, as one rule each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from notrack.packets.fields import Field
from notrack.packets.intervals import IntervalSet
from notrack.ruleset import core


def joined(ruleset: core.Ruleset) -> core.Ruleset:
    """The same ruleset with runs of rules that differ in one set of values made one rule each."""
    return core.Ruleset(tuple(_joined(table) for table in ruleset.tables))


def _joined(table: core.Table) -> core.Table:
    actions = {action for chain in table.chains for rule in chain.rules for action in rule.actions}
    if not all(isinstance(action, _REPEATABLE) for action in actions):
        return table
    return replace(
        table, chains=tuple(replace(chain, rules=tuple(_runs(chain.rules))) for chain in table.chains)
    )


# Doing it twice is doing it once, and none changes a field by which packets are told apart but the state.
_REPEATABLE = (core.Verdict, core.Jump, core.Notrack, core.Template, core.ConnectionSet, core.Log, core.Nat)
_OF_TRACKING = frozenset((Field.STATE, Field.CT_DIRECTION, Field.CT_SNAT, Field.CT_DNAT, Field.CT_MARK))


class _Run:
    """Rules that do the same to packets that differ in one field at most; `at`: the literal that differs."""

    __slots__ = ("at", "rule", "spans")

    def __init__(self, rule: core.Rule) -> None:
        self.rule = rule
        self.at: int | None = None
        self.spans: list[tuple[int, int]] = []

    def takes(self, rule: core.Rule) -> bool:
        """Whether the rule goes on with the run, which it then does."""
        mine, other = self.rule.guard, rule.guard
        if rule.actions != self.rule.actions or len(mine) != len(other):
            return False
        at = self.at if self.at is not None else _one_place(mine, other)
        if at is None or mine[:at] != other[:at] or mine[at + 1 :] != other[at + 1 :]:
            return False
        more = other[at]
        if self.at is None:
            first = mine[at]
            if not _joinable(first, more):
                return False
            assert isinstance(first, core.Among)
            self.at, self.spans = at, list(first.values.spans)
        elif not _joinable(mine[at], more):
            return False
        assert isinstance(more, core.Among)
        self.spans += more.values.spans
        return True

    def whole(self) -> core.Rule:
        if self.at is None:
            return self.rule
        guard = list(self.rule.guard)
        literal = guard[self.at]
        assert isinstance(literal, core.Among)
        guard[self.at] = core.Among(literal.field, IntervalSet.of(self.spans))
        return core.Rule(tuple(guard), self.rule.actions, self.rule.origin)


def _one_place(mine: core.Guard, other: core.Guard) -> int | None:
    places = [at for at, part in enumerate(other) if part != mine[at]]
    return places[0] if len(places) == 1 else None


def _joinable(first: core.Literal, other: core.Literal) -> bool:
    return (
        isinstance(first, core.Among)
        and isinstance(other, core.Among)
        and first.field is other.field
        and first.field not in _OF_TRACKING
        and not first.negated
        and not other.negated
    )


def _runs(rules: Iterable[core.Rule]) -> Iterator[core.Rule]:
    run: _Run | None = None
    for rule in rules:
        if run is not None and run.takes(rule):
            continue
        if run is not None:
            yield run.whole()
        run = _Run(rule)
    if run is not None:
        yield run.whole()
