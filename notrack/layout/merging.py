"""Legs that do the same, brought together: fewer rules, and each knows all its declarations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from notrack.packets.intervals import IntervalSet
from notrack.plan.box import Box, within
from notrack.plan.leg import Action, Hook, Leg, Stage, State
from notrack.site.model import ConnectionLimit, Origin, Rate
from notrack.text.record import dataclass

_MANY = 300  # above this many boxes, finding the ones inside others costs more than it saves
_ORDERED = frozenset({Stage.TRANSLATE})  # the first match wins, in the order of the text


@dataclass(frozen=True, slots=True)
class Part:
    """One box and what was merged into it: each declaration with the packets that are its own."""

    box: Box
    members: tuple[tuple[Box, tuple[Origin, ...]], ...]

    @property
    def origins(self) -> tuple[Origin, ...]:
        return tuple(dict.fromkeys(origin for _, origins in self.members for origin in origins))


@dataclass(frozen=True, slots=True)
class Group:
    """Legs of one hook and stage that do one thing; their parts may stand in any order.

    A group with a rate or a cap counts for all its parts together.
    """

    hook: Hook
    stage: Stage
    action: Action
    states: frozenset[State]
    rate: Rate | None
    connections: ConnectionLimit | None
    helper: str | None
    parts: tuple[Part, ...]

    @property
    def origins(self) -> tuple[Origin, ...]:
        return tuple(dict.fromkeys(origin for part in self.parts for origin in part.origins))


def groups(legs: Iterable[Leg], hook: Hook) -> list[Group]:
    """The groups of one hook in the order in which rules must stand."""
    mine = sorted((leg for leg in legs if leg.hook is hook), key=lambda leg: leg.stage)
    found: list[Group] = []
    for stage, members in groupby(mine, key=lambda leg: leg.stage):
        found += _of_stage(hook, stage, list(members))
    return found


def _of_stage(hook: Hook, stage: Stage, legs: list[Leg]) -> Iterator[Group]:
    if stage in _ORDERED:
        for _, run in groupby(legs, key=_key):
            yield _group(hook, stage, list(run))
        return
    together: dict[tuple[object, ...], list[Leg]] = {}
    for leg in legs:
        together.setdefault(_key(leg), []).append(leg)
    for members in together.values():
        yield _group(hook, stage, members)


def _key(leg: Leg) -> tuple[object, ...]:
    counted = leg.rate is not None or leg.connections is not None
    return leg.action, leg.states, leg.rate, leg.connections, leg.helper, leg.origins if counted else ()


def _group(hook: Hook, stage: Stage, legs: list[Leg]) -> Group:
    first = legs[0]
    parts = merged(Part(leg.box, ((leg.box, leg.origins),)) for leg in legs)
    return Group(
        hook, stage, first.action, first.states, first.rate, first.connections, first.helper, tuple(parts)
    )


Members = tuple[tuple[Box, tuple[Origin, ...]], ...]


def merged(parts: Iterable[Part]) -> list[Part]:
    """The same packets in as few boxes as joining one field at a time, and dropping inner ones, can reach."""
    boxes: dict[Box, Members] = {}
    for part in parts:
        boxes[part.box] = boxes.get(part.box, ()) + part.members
    before = -1
    while len(boxes) != before:
        before = len(boxes)
        if before <= _MANY:
            boxes = _absorbed(boxes)
        for field in ("destination_ports", "source_ports", "icmp", "source", "destination"):
            boxes = _united(boxes, field)
    return [Part(box, members) for box, members in boxes.items()]


def _united(boxes: dict[Box, Members], field: str) -> dict[Box, Members]:
    """Boxes that differ in `field` alone become one."""
    families: dict[Box, list[Box]] = {}
    for box in boxes:
        blank = box.but(**{field: None if field in ("source", "destination") else _EMPTY})
        families.setdefault(blank, []).append(box)
    found: dict[Box, Members] = {}
    for alike in families.values():
        joined = alike[0] if len(alike) == 1 else _union(alike, field)
        found[joined] = found.get(joined, ()) + tuple(member for box in alike for member in boxes[box])
    return found


_EMPTY = IntervalSet()


def _union(alike: list[Box], field: str) -> Box:
    values = [getattr(box, field) for box in alike]
    if any(value is None for value in values):
        return alike[0].but(**{field: None})
    return alike[0].but(**{field: IntervalSet.of(span for value in values for span in value.spans)})


def _absorbed(boxes: dict[Box, Members]) -> dict[Box, Members]:
    kept: dict[Box, Members] = {}
    for box, members in boxes.items():
        outer = next((other for other in kept if within(box, other)), None)
        if outer is not None:
            kept[outer] += members
            continue
        for inner in [other for other in kept if within(other, box)]:
            members += kept.pop(inner)
        kept[box] = members
    return kept
