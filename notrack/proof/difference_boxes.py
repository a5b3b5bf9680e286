"""A set of packets as few products of field values: what a person would say of it.

Each box is grown from one packet, field by field, to all values with which it still lies in the set. Packets
outside `domain` cannot be, so a box may hold them: that keeps it plain. Boxes may overlap.
"""

from __future__ import annotations

import time

from notrack.packets import questions
from notrack.packets.diagram import EMPTY
from notrack.packets.fields import BITWISE, Field
from notrack.packets.intervals import EMPTY as NONE
from notrack.packets.intervals import IntervalSet
from notrack.packets.space import Space
from notrack.packets.witness import witness
from notrack.text.record import dataclass

_PATIENCE = 4.0  # seconds of work, for the boxes of one set; a busy machine says no less
# The order of growth: what people rarely speak of first, so that it is seldom left in a box.
_LAST = (
    Field.PACKET_TYPE, Field.MAC, Field.LENGTH, Field.TTL, Field.TOS, Field.FRAGMENT, Field.FLAGS,
    Field.ICMP_CODE, Field.SOURCE_TYPE, Field.DESTINATION_TYPE, Field.IN, Field.OUT, Field.SOURCE_PORT,
    Field.DESTINATION, Field.SOURCE, Field.ICMP_TYPE, Field.DESTINATION_PORT, Field.PROTOCOL,
)  # fmt: skip
_GROWTH = (*(field for field in Field if field not in (*_LAST, *BITWISE, Field.FAMILY)), *_LAST)
_SUMMED = (
    Field.IN, Field.OUT, Field.SOURCE_PORT, Field.DESTINATION, Field.SOURCE, Field.ICMP_TYPE,
    Field.DESTINATION_PORT, Field.PROTOCOL,
)  # fmt: skip
_PORTS = (Field.SOURCE_PORT, Field.DESTINATION_PORT)


@dataclass(frozen=True, slots=True)
class Bound:
    """The values of a field that a box allows, and those that it leaves out of what could be."""

    values: IntervalSet
    others: IntervalSet = NONE


@dataclass(frozen=True, slots=True)
class Box:
    """The fields that are not free; `marked`: only packets with certain marks are meant.

    `loose`: the fields were taken one by one: not every combination of their values is meant.
    """

    fields: tuple[tuple[Field, Bound], ...]
    marked: bool = False
    loose: bool = False

    def get(self, field: Field) -> Bound | None:
        return dict(self.fields).get(field)


@dataclass(frozen=True, slots=True)
class Cover:
    """Boxes, each with its packets, and what none of them holds (EMPTY: all is covered)."""

    boxes: tuple[tuple[Box, int], ...]
    rest: int


def cover(space: Space, diagram: int, domain: int, most: int) -> Cover:
    """At most `most` boxes of a set of packets inside a domain. May raise `TooHard`."""
    inside = space.meet(space.may(diagram), space.well_formed)
    domain = space.join(space.meet(domain, space.well_formed), inside)
    inside, domain, marked = _without_idle(space, inside, domain)
    outside = space.minus(domain, inside)
    found: list[tuple[Box, int]] = []
    rest = inside
    until = time.process_time() + _PATIENCE
    while rest != EMPTY and len(found) < most and (not found or time.process_time() < until):
        cube = _grown(space, rest, inside, outside, domain)
        whole = space.cube(cube)
        found.append((Box(_shown(space, cube, domain), marked), space.meet(whole, inside)))
        rest = space.minus(rest, whole)
    return Cover(tuple(found), rest)


def _without_idle(space: Space, inside: int, domain: int) -> tuple[int, int, bool]:
    """Set and domain without the fields on which the set does not rest; marks are never kept.

    Packets come without marks, but for those that somebody marked before the rules: told only where no other
    packet is in the set.
    """
    inside, domain = _unmarked(space, inside), _unmarked(space, domain)
    asked = questions.support(space, inside) | questions.support(space, domain)
    marked = False
    for field in reversed(list(Field)):
        if not asked.intersection(space.levels[field]):
            continue
        wide = space.exists(inside, (field,))
        free = space.meet(wide, domain) == inside
        if free or field in BITWISE:
            marked |= not free
            inside, domain = wide, space.exists(domain, (field,))
    return inside, domain, marked


def _unmarked(space: Space, diagram: int) -> int:
    """What the set is for packets without marks, if it has any."""
    plain = questions.assign(space, diagram, {level: 0 for field in BITWISE for level in space.levels[field]})
    return plain if plain != EMPTY else diagram


def _grown(space: Space, rest: int, inside: int, outside: int, domain: int) -> dict[Field, IntervalSet]:
    """The fields that stay bound of a box around some packet of `rest`."""
    member = witness(space, rest)
    assert member is not None
    values = member.packet.values()
    asked = questions.support(space, inside) | questions.support(space, domain)
    cube = {
        field: IntervalSet.single(values[field])
        for field in _GROWTH
        if asked.intersection(space.levels[field])
    }
    for field in _GROWTH:
        if field not in cube:
            continue
        del cube[field]
        around = space.cube(cube)
        wrong = space.meet(around, outside)
        if wrong == EMPTY:
            continue
        bad = questions.project(space, wrong, space.levels[field][0])
        here = questions.project(space, space.meet(around, inside), space.levels[field][0])
        cube[field] = here - bad
    return cube


def _shown(space: Space, cube: dict[Field, IntervalSet], domain: int) -> tuple[tuple[Field, Bound], ...]:
    """The bound fields with what they leave out, each beside the others as they are bound."""
    bound: list[tuple[Field, Bound]] = []
    for field, values in cube.items():
        around = space.cube({other: kept for other, kept in cube.items() if other is not field})
        could = questions.project(space, space.meet(around, domain), space.levels[field][0])
        if could - values:
            bound.append((field, Bound(values, could - values)))
    return tuple(bound)


def summary(space: Space, diagram: int) -> Box:
    """The one box around a whole set, by the values that its fields take: larger than the set.

    Of what could be nearly everything it says nothing.
    """
    inside = space.meet(space.may(diagram), space.well_formed)
    bound: list[tuple[Field, Bound]] = []
    for field in _SUMMED:
        values = questions.project(space, inside, space.levels[field][0])
        if field in _PORTS:
            values = values - IntervalSet.single(0)
        top = space.tops[space.levels[field][0]]
        if values and 2 * values.size() < top:
            bound.append((field, Bound(values, IntervalSet(((0, top),)) - values)))
    return Box(tuple(bound), loose=True)
