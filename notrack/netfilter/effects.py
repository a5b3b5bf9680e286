"""What rules do to a packet on its way, beside judging it: untracking, marks, header fields, translation."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from notrack.packets import questions
from notrack.packets.fields import MARK_BITS, MIRROR, NO_DIRECTION, Field, State
from notrack.packets.intervals import IntervalSet
from notrack.packets.space import Space
from notrack.ruleset.core import Nat, SetMark
from notrack.text.record import dataclass


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
class Shift:
    """The value goes up by a number (down, if negative) and stops at `low` and `high`."""

    by: int
    low: int = 0
    high: int = 255

    def of(self, value: int) -> int:
        return min(max(value + self.by, self.low), self.high)

    def behind(self, before: Change | None) -> Change:
        """The whole change where another came before."""
        if before is None:
            return self
        if isinstance(before, Shift):
            return Shift(before.by + self.by, self.of(before.low), self.of(before.high))
        if isinstance(before, int):
            return self.of(before)
        among = before.among and IntervalSet.of((self.of(low), self.of(high)) for low, high in before.among)
        return Unsure(f"{before.name}, {self.by:+d}", among)


@dataclass(frozen=True, slots=True)
class Flip:
    """The bit turned over."""


@dataclass(frozen=True, slots=True)
class UnsureBit:
    name: str
    turned: bool = False


Bit = int | Flip | UnsureBit | None  # None: as it was
Bits = tuple[Bit, ...]  # the lowest bit first
Change = int | Unsure | Shift
T = TypeVar("T")
KEPT: Bits = (None,) * MARK_BITS


@dataclass(frozen=True, slots=True)
class Effects:
    """All changes to a packet since some point. `fields` and `marks` are in the order of `Field`.

    `zones`: of the flow's original and reply direction; `UNKNOWN_ZONES` where a rule set what nobody knows.
    `rerouted`: the host's own packet has got another destination, for which a way out is looked up anew.
    """

    track: Track = Track.PLAIN
    template: str = ""  # the zone, helper or timeout that a rule gave to the flow
    zones: tuple[int, int] = (0, 0)
    rerouted: bool = False
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
        fields = dict(self.fields)
        for field, change in later.fields:
            fields[field] = change.behind(fields.get(field)) if isinstance(change, Shift) else change
        return Effects(
            track=track,
            template=later.template or self.template,
            zones=later.zones if later.template else self.zones,
            rerouted=self.rerouted or later.rerouted,
            fields=_ordered(fields),
            marks=_ordered(marks),  # also bits that were turned back: it is a change that was made
            source_nat=later.source_nat or self.source_nat,
            destination_nat=later.destination_nat or self.destination_nat,
        )

    def as_entry(self) -> Effects:
        """What is left behind connection tracking: a template has done its work, its name is kept."""
        return replace(self, track=Track.PLAIN) if self.track is Track.TEMPLATE else self

    def tracked_anew(self) -> Effects:
        """What is left of a zone given behind tracking where tracking sees the packet again."""
        if self.track is not Track.TEMPLATE:
            return self
        state = Unsure(f"state in the zone of {self.template}", _TRACKED_STATES)
        return self.as_entry().then(Effects(fields=((Field.STATE, state),)))

    def mirrored(self) -> Effects:
        """The changes in terms of the packet that the changed one answers."""
        return replace(self, fields=_ordered({MIRROR.get(field, field): way for field, way in self.fields}))


_TRACKED_STATES = IntervalSet(((State.NEW, State.INVALID),))
NONE = Effects()
ONE_HOP = Effects(fields=((Field.TTL, Shift(-1)),))
TRACKED_ANEW = "a packet that got its zone behind tracking is dropped on its second passage"
UNKNOWN_ZONES = (-1, -1)


_LOOKS: dict[Track, dict[Field, int]] = {
    Track.PLAIN: {},
    Track.UNTRACKED: {Field.STATE: State.UNTRACKED},
    Track.TEMPLATE: {Field.STATE: State.NEW, Field.CT_DIRECTION: NO_DIRECTION},
}


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

    An untracked packet looks UNTRACKED, one with a template NEW, until connection tracking takes that off;
    but it has no entry, and so no direction.
    """
    if effects == NONE or diagram < 2:
        return diagram
    fixed = {space.levels[field][0]: value for field, value in _LOOKS[effects.track].items()}
    unsure: list[tuple[int, int, IntervalSet | None]] = []
    for field, change in effects.fields:
        level = space.levels[field][0]
        if isinstance(change, Unsure):
            unsure.append((level, space.unknown(change.name, space.tops[level]), change.among))
        elif isinstance(change, Shift):
            diagram = questions.shifted(space, diagram, level, change.by, change.low, change.high)
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
    unsure = list(unsure)
    if not unsure and not turned:
        return diagram
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
    out = {**values, **_LOOKS[effects.track]}
    for field, change in effects.fields:
        if isinstance(change, Unsure):
            out[field] = change.among.least() if change.among else 0
        else:
            out[field] = change.of(out[field]) if isinstance(change, Shift) else change
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
