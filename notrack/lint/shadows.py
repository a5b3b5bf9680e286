"""Rules that nothing comes to, with the rules in front that see to it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import field
from typing import TYPE_CHECKING

from notrack.lint.coverage import Arrival, Coverage
from notrack.lint.entries import Entry
from notrack.lint.owners import is_generated
from notrack.netfilter.guards import guard_set
from notrack.packets.address import Family
from notrack.packets.budget import Budget, TooHard
from notrack.packets.diagram import EMPTY
from notrack.packets.fields import Field, State
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Action, Jump, Nat, NatKind, Notrack, Ruleset, Table, Template, Verdict
from notrack.text.record import dataclass
from notrack.text.source import Span

if TYPE_CHECKING:
    from notrack.lint.subject import Subject

_SECONDS = 8.0  # for all tables together


@dataclass(slots=True)
class Shadow:
    """A rule that nothing comes to. `front` takes its packets: rules of its own chain or of those that call
    it; without any, no jump to its chain brings such a packet (`callers`)."""

    table: Table
    entry: Entry
    packets: PacketSet
    front: tuple[Entry, ...] = ()
    callers: tuple[Entry, ...] = ()
    behind: list[Entry] = field(default_factory=list)  # rules behind it, as dead for the same reason
    more: list[Entry] = field(default_factory=list)  # others that the same rule in front takes


@dataclass(slots=True)
class Shadows:
    """What was found, and whether some table was too hard to decide."""

    found: list[Shadow] = field(default_factory=list)
    undecided: bool = False


def shadows(ruleset: Ruleset, twice: Iterable[Entry]) -> Shadows:
    """All rules that nothing comes to, in no family that they are written for, wherever a loop of a script
    puts them. Duplicates, the rules of `twice`, are left out: they are another fault."""
    result = Shadows()
    known = {id(again.origin) for again in twice}
    end = time.monotonic() + _SECONDS
    alive: set[Span] = set()
    dead: dict[Span, Shadow] = {}
    for table in ruleset.tables:
        if sum(len(chain.rules) for chain in table.chains) < 2:
            continue
        for family in Family:
            if family in table.families:
                seconds = max(end - time.monotonic(), 0.5)
                whole = _look(table, family, Budget(seconds=seconds), known, alive, dead)
                result.undecided |= not whole
    result.found = [shadow for span, shadow in dead.items() if span not in alive]
    return result


def _look(
    table: Table, family: Family, budget: Budget, twice: set[int], alive: set[Span], dead: dict[Span, Shadow]
) -> bool:
    """One table for one family: which rules are reached, and why others are not. False where it could not be
    decided of all rules: then those that were not come to count as reached."""
    missed: list[Arrival] = []
    judged: set[int] = set()
    whole = True
    try:
        coverage = Coverage(table, family, budget)
        for arrival in coverage.arrivals():
            judged.add(id(arrival.entry.origin))
            span = arrival.entry.span
            if span is not None and arrival.wanted and arrival.reached:
                alive.add(span)
            elif span is not None and arrival.wanted and id(arrival.entry.origin) not in twice:
                missed.append(arrival)
    except TooHard:
        alive |= _spans(table, judged)
        whole = False
    if missed:
        coverage.space.meter.restart()
        whole &= _explain(coverage, missed, alive, dead)
    return whole


def _explain(coverage: Coverage, missed: list[Arrival], alive: set[Span], dead: dict[Span, Shadow]) -> bool:
    """Why nothing comes to some rules; what is no fault is left out. False where there are too many."""
    for arrival in missed:
        span = arrival.entry.span
        generated = is_generated(coverage.table, arrival.entry.chain)
        if span is None or span in alive or span in dead or generated:
            continue
        try:
            shadow = _explained(coverage, arrival)
        except TooHard:
            return False
        if shadow is not None:
            dead[span] = shadow
    return True


def _spans(table: Table, judged: set[int]) -> set[Span]:
    """The places of the rules that were not judged."""
    return {
        rule.origin.span
        for chain in table.chains
        for rule in chain.rules
        if rule.origin.span is not None and id(rule.origin) not in judged
    }


def _explained(coverage: Coverage, arrival: Arrival) -> Shadow | None:
    """Why nothing comes to a rule; None where that is no fault."""
    entry, wanted = arrival.entry, arrival.wanted
    if not entry.actions and not any(_tells(action) for rule in entry.rules for action in rule.actions):
        return None
    entering = coverage.entering(entry, wanted)
    if entering:
        front = coverage.takers(entry, entering)
        if not front or _closes(entry, front):
            return None
        return Shadow(coverage.table, entry, entering, front)
    return _kept_out(coverage, entry, wanted)


def _kept_out(coverage: Coverage, entry: Entry, wanted: PacketSet) -> Shadow | None:
    """A rule to whose chain none of its packets comes: rules in front of the jumps take them, or no jump
    brings them."""
    front: list[Entry] = []
    calls = coverage.calls(entry)
    for caller, brought in calls:
        here = coverage.entering(caller, wanted & brought)
        front += [one for one in coverage.takers(caller, here) if one not in front] if here else []
    callers = tuple(dict.fromkeys(caller for caller, _ in calls))
    if not front and not _opens(entry.final):
        return None
    return Shadow(coverage.table, entry, wanted, tuple(front), callers)


def _tells(action: Action) -> bool:
    """Whether a log says something, where a counter only counts."""
    text = getattr(action, "text", "")
    return not text.startswith(("counter", "last"))


def _closes(entry: Entry, front: tuple[Entry, ...]) -> bool:
    """Whether it is the last rule of a chain that says once more what becomes of the rest: a habit."""
    if entry.final is Verdict.RETURN and entry.is_unguarded:
        return True
    last = entry.rules[-1] is entry.chain.rules[-1]
    closing = entry.final in (Verdict.DROP, Verdict.REJECT)
    return last and closing and entry.is_unguarded and not any(one.is_unguarded for one in front)


def _opens(action: Action | None) -> bool:
    """Whether the rule is there to let something through, to untrack or to translate it."""
    if isinstance(action, Nat):
        return action.kind in NatKind
    return action is Verdict.ACCEPT or isinstance(action, Notrack | Template | Jump)


def of(subject: Subject) -> Shadows:
    """The shadows among a subject's rules, as they are told: one for each cause."""
    result = shadows(subject.ruleset, (again for _, _, again in subject.duplicates))
    return Shadows(list(grouped(result.found)), result.undecided)


def causes(subject: Subject, packets: PacketSet, state: State = State.UNTRACKED) -> tuple[Span, ...]:
    """The places of shadowed rules that would let all of some packets through, came they there in a state."""
    space = packets.space
    asked = space.meet(space.among(Field.STATE, state), packets.exists((Field.STATE,)).diagram)
    return tuple(
        shadow.entry.span
        for shadow in subject.shadows.found
        if shadow.entry.span is not None
        and any(
            one.final is Verdict.ACCEPT and space.minus(asked, guard_set(space, rule.guard)) == EMPTY
            for one in (shadow.entry, *shadow.behind, *shadow.more)
            for rule in one.rules
        )
    )


def grouped(found: list[Shadow], most: int = 8) -> Iterator[Shadow]:
    """One shadow for each cause: what stands behind a rule that takes everything is one, and so are more than
    `most` rules of a chain that one single rule takes."""
    closed: dict[int, Shadow] = {}
    taken: dict[int, list[Shadow]] = {}
    for shadow in found:
        one = shadow.front[0] if len(shadow.front) == 1 else None
        same_chain = one is not None and one.chain is shadow.entry.chain
        if one is None or not same_chain:
            yield shadow
        elif one.is_unguarded:
            first = closed.setdefault(id(one), shadow)
            if first is not shadow:
                first.behind.append(shadow.entry)
        else:
            taken.setdefault(id(one), []).append(shadow)
    yield from closed.values()
    for group in taken.values():
        if len(group) <= most:
            yield from group
        else:
            group[0].more = [shadow.entry for shadow in group[1:]]
            yield group[0]
