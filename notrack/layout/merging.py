"""Legs that do the same, brought together: fewer rules, and each knows all its declarations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from notrack.packets.intervals import IntervalSet
from notrack.plan.box import Box, within
from notrack.plan.leg import Action, Hook, Leg, Stage, State
from notrack.site.model import ConnectionLimit, Origin, Rate

_MANY = 300  # above this many boxes, finding the ones inside others costs more than it saves
_ORDERED = frozenset({Stage.TRANSLATE})  # the first match wins, in the order of the text


@dataclass(frozen=True, slots=True)
class Part:
    """One box and the declarations that it comes from."""

    box: Box
    origins: tuple[Origin, ...]


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
    parts = merged(Part(leg.box, leg.origins) for leg in legs)
    return Group(
        hook, stage, first.action, first.states, first.rate, first.connections, first.helper, tuple(parts)
    )


def merged(parts: Iterable[Part]) -> list[Part]:
    """The same packets in as few boxes as joining one field at a time, and dropping inner ones, can reach."""
    boxes: dict[Box, tuple[Origin, ...]] = {}
    for part in parts:
        boxes[part.box] = _joined(boxes.get(part.box, ()), part.origins)
    before = -1
    while len(boxes) != before:
        before = len(boxes)
        if before <= _MANY:
            boxes = _absorbed(boxes)
        for field in ("destination_ports", "source_ports", "icmp", "source", "destination"):
            boxes = _united(boxes, field)
    return [Part(box, origins) for box, origins in boxes.items()]


def _united(boxes: dict[Box, tuple[Origin, ...]], field: str) -> dict[Box, tuple[Origin, ...]]:
    """Boxes that differ in `field` alone become one."""
    families: dict[Box, list[Box]] = {}
    for box in boxes:
        blank = box.but(**{field: None if field in ("source", "destination") else _EMPTY})
        families.setdefault(blank, []).append(box)
    found: dict[Box, tuple[Origin, ...]] = {}
    for members in families.values():
        joined = members[0] if len(members) == 1 else _union(members, field)
        origins: tuple[Origin, ...] = ()
        for member in members:
            origins = _joined(origins, boxes[member])
        found[joined] = _joined(found.get(joined, ()), origins)
    return found


_EMPTY = IntervalSet()


def _union(members: list[Box], field: str) -> Box:
    values = [getattr(member, field) for member in members]
    if any(value is None for value in values):
        return members[0].but(**{field: None})
    return members[0].but(**{field: IntervalSet.of(span for value in values for span in value.spans)})


def _absorbed(boxes: dict[Box, tuple[Origin, ...]]) -> dict[Box, tuple[Origin, ...]]:
    kept: dict[Box, tuple[Origin, ...]] = {}
    for box, origins in boxes.items():
        outer = next((other for other in kept if within(box, other)), None)
        if outer is not None:
            kept[outer] = _joined(kept[outer], origins)
            continue
        for inner in [other for other in kept if within(other, box)]:
            origins = _joined(kept.pop(inner), origins)
        kept[box] = origins
    return kept


def _joined(a: tuple[Origin, ...], b: tuple[Origin, ...]) -> tuple[Origin, ...]:
    return tuple(dict.fromkeys(a + b)) if a else b
