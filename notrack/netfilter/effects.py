"""What rules do to a packet on its way, beside judging it: untracking, marks, header fields, translation."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from notrack.packets import questions
from notrack.packets.fields import MARK_BITS, MIRROR, Field, State
from notrack.packets.intervals import IntervalSet
from notrack.packets.space import Space
from notrack.ruleset.core import Nat, SetMark


class Track(enum.Enum):
    """What the packet carries to connection tracking."""

    PLAIN = "plain"
    UNTRACKED = "untracked"
    TEMPLATE = "template"


@dataclass(frozen=True, slots=True)
class Unsure:
    """A value that nobody knows; equal names are equal values. `among` bounds it."""

    name: str
    among: IntervalSet | None = None


@dataclass(frozen=True, slots=True)
class Flip:
    """The bit turned over."""


@dataclass(frozen=True, slots=True)
class UnsureBit:
    name: str
    turned: bool = False


Bit = int | Flip | UnsureBit | None  # None: as it was
Bits = tuple[Bit, ...]  # the lowest bit first
Change = int | Unsure
T = TypeVar("T")
KEPT: Bits = (None,) * MARK_BITS


@dataclass(frozen=True, slots=True)
class Effects:
    """All changes to a packet since some point. `fields` and `marks` are in the order of `Field`."""

    track: Track = Track.PLAIN
    template: str = ""  # the zone, helper or timeout that a rule gave to the flow
    fields: tuple[tuple[Field, Change], ...] = ()
    marks: tuple[tuple[Field, Bits], ...] = ()
    source_nat: Nat | None = None
    destination_nat: Nat | None = None

    def then(self, later: Effects) -> Effects:
        """These changes, followed by later ones."""
        if later == NONE:
            return self
        if self == NONE:
            return later
        track = later.track if later.track is not Track.PLAIN else self.track
        marks = dict(self.marks)
        for field, bits in later.marks:
            marks[field] = tuple(map(_bit_then, marks.get(field, KEPT), bits))
        return Effects(
            track,
            later.template or self.template,
            _ordered(dict(self.fields) | dict(later.fields)),
            _ordered({field: bits for field, bits in marks.items() if bits != KEPT}),
            later.source_nat or self.source_nat,
            later.destination_nat or self.destination_nat,
        )

    def as_entry(self) -> Effects:
        """What is left behind connection tracking: a template has done its work, its name is kept."""
        return replace(self, track=Track.PLAIN) if self.track is Track.TEMPLATE else self

    def mirrored(self) -> Effects:
        """The changes in terms of the packet that the changed one answers."""
        return replace(self, fields=_ordered({MIRROR.get(field, field): way for field, way in self.fields}))


NONE = Effects()


def _ordered(changes: dict[Field, T]) -> tuple[tuple[Field, T], ...]:
    return tuple(sorted(changes.items(), key=lambda item: _ORDER[item[0]]))


_ORDER = {field: i for i, field in enumerate(Field)}


def _bit_then(first: Bit, second: Bit) -> Bit:
    if second is None:
        return first
    if not isinstance(second, Flip):
        return second
    if isinstance(first, Flip):
        return None
    if isinstance(first, UnsureBit):
        return UnsureBit(first.name, not first.turned)
    return Flip() if first is None else 1 - first


def mark_bits(action: SetMark) -> Bits:
    """The effect of mark = (mark & ~mask) ^ value on each bit."""
    bits: list[Bit] = []
    for i in range(MARK_BITS):
        masked = action.mask >> i & 1
        if action.value is None:
            bits.append(UnsureBit(f"bit {i} of {action.what}") if masked else None)
        elif masked:
            bits.append(action.value >> i & 1)
        else:
            bits.append(Flip() if action.value >> i & 1 else None)
    return tuple(bits)


def behind(space: Space, diagram: int, effects: Effects) -> int:
    """What a function of the changed packet says of the packet as it was before the changes.

    An untracked packet looks UNTRACKED, one with a template NEW, until connection tracking takes that off.
    """
    if effects == NONE or diagram < 2:
        return diagram
    fixed: dict[int, int] = {}
    state = space.levels[Field.STATE][0]
    if effects.track is Track.UNTRACKED:
        fixed[state] = State.UNTRACKED
    elif effects.track is Track.TEMPLATE:
        fixed[state] = State.NEW
    unsure: list[tuple[int, int, IntervalSet | None]] = []
    for field, change in effects.fields:
        level = space.levels[field][0]
        if isinstance(change, Unsure):
            unsure.append((level, space.unknown(change.name, space.tops[level]), change.among))
        else:
            fixed[level] = change
    turned: set[int] = set()
    for field, bits in effects.marks:
        for level, bit in zip(reversed(space.levels[field]), bits, strict=True):
            if isinstance(bit, UnsureBit):
                target = space.unknown(bit.name, 1)
                unsure.append((level, target, None))
                turned |= {target} if bit.turned else set()
            elif isinstance(bit, Flip):
                turned.add(level)
            elif bit is not None:
                fixed[level] = bit
    diagram = questions.assign(space, diagram, fixed)
    return _replaced(space, diagram, unsure, turned)


def _replaced(
    space: Space, diagram: int, unsure: Iterable[tuple[int, int, IntervalSet | None]], turned: set[int]
) -> int:
    asked = questions.support(space, diagram)
    unsure = [(level, target, among) for level, target, among in unsure if level in asked]
    names = {level: target for level, target, _ in unsure}
    if not names and not turned & asked:
        return diagram
    diagram = questions.renamed(
        space,
        diagram,
        names,
        lambda level, span: [(1 - span[1], 1 - span[0])] if level in turned else [span],
    )
    for _, target, among in unsure:
        if among is not None:
            diagram = _bounded(space, diagram, target, among)
    return diagram


def _bounded(space: Space, diagram: int, level: int, among: IntervalSet) -> int:
    """The diagram with values of a level outside `among` treated as its least member."""
    inside = space.literal(level, among)
    least = questions.assign(space, diagram, {level: among.least()})
    return space.join(space.meet(inside, diagram), space.meet(space.complement(inside), least))


def changed(values: Mapping[Field, int], effects: Effects) -> dict[Field, int]:
    """The values of one packet after the changes; an unknown value becomes its least possible one."""
    out = dict(values)
    if effects.track is Track.UNTRACKED:
        out[Field.STATE] = State.UNTRACKED
    elif effects.track is Track.TEMPLATE:
        out[Field.STATE] = State.NEW
    for field, change in effects.fields:
        out[field] = change if not isinstance(change, Unsure) else change.among.least() if change.among else 0
    for field, bits in effects.marks:
        number = out[field]
        for i, bit in enumerate(bits):
            if bit is None:
                continue
            one = 1 << i
            if isinstance(bit, Flip):
                number ^= one
            else:
                value = int(bit.turned) if isinstance(bit, UnsureBit) else bit
                number = number | one if value else number & ~one
        out[field] = number
    return out
