"""Boxes of packets: guards of rules as unions of products, and what can be done with such unions.

Only exact steps: a guard that is no union of boxes is `Opaque`. Sets of packets are made of boxes last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from notrack.packets.address import Family
from notrack.packets.diagram import FULL
from notrack.packets.fields import MIRROR, Field, State, domain, icmp_answer, presence
from notrack.packets.intervals import Interval, IntervalSet
from notrack.packets.space import Space
from notrack.ruleset import core
from notrack.text.record import dataclass

Spans = tuple[Interval, ...]
Box = tuple[tuple[tuple[int, Spans], ...], frozenset[core.Fact]]
"""The allowed values of each field that is bounded, by the field's number, and the facts that must hold."""
_FIELDS = tuple(Field)
NUMBER = {field: at for at, field in enumerate(_FIELDS)}
_STATE = NUMBER[Field.STATE]
_UNION_ORDER = tuple(
    NUMBER[field]
    for field in (
        Field.DESTINATION_PORT, Field.SOURCE_PORT, Field.ICMP_TYPE, Field.SOURCE, Field.DESTINATION,
        Field.IN, Field.OUT, Field.PROTOCOL,
    )
)  # fmt: skip
_NUMBERS = {field.value: at for at, field in enumerate(_FIELDS)}  # enum members are slow keys
_FAMILY = NUMBER[Field.FAMILY]
_ENTRY = frozenset(NUMBER[field] for field in (Field.CT_DIRECTION, Field.CT_MARK, Field.MARK))
_TRANSLATED = (NUMBER[Field.CT_SNAT], NUMBER[Field.CT_DNAT])
_KINDS = (
    (NUMBER[Field.DESTINATION], NUMBER[Field.DESTINATION_TYPE]),
    (NUMBER[Field.SOURCE], NUMBER[Field.SOURCE_TYPE]),
)
OF_TRACKING = frozenset(
    NUMBER[field] for field in (Field.STATE, Field.CT_DIRECTION, Field.CT_SNAT, Field.CT_DNAT)
)
_ONE = IntervalSet.single(1)
_WITH_ENTRY = IntervalSet(((State.NEW, State.RELATED),))
_FEW = 300  # up to so many boxes those inside others are looked for
_MANY = 64  # from so many tuples on, a set is taken together before it is looked at
_MOST = 50_000  # boxes that one rule may stand for


class Opaque(Exception):
    """What rules ask for is no union of boxes, or what they do no list of blocks."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a box need not say: addresses of which the kind is known, by the number of the kind."""

    family: Family
    kinds: tuple[tuple[int, IntervalSet], ...] = ()


EVERYTHING: Box = ((), frozenset())


def boxes(guard: core.Guard, known: Known) -> list[Box]:
    """The packets of a guard as a union of boxes. Raises `Opaque`."""
    bounds: dict[int, IntervalSet] = {}
    facts: list[core.Fact] = []
    choices: list[core.OneOf] = []
    for literal in guard:
        if isinstance(literal, core.Among):
            _narrow(bounds, literal, known.family)
        elif isinstance(literal, core.Fact):
            facts.append(literal)
        elif isinstance(literal, core.OneOf) and not literal.negated:
            choices.append(literal)
        elif isinstance(literal, core.Never):
            return []
        else:
            raise Opaque
    base = _box(bounds, facts, known)
    found = [] if base is None else [base]
    for choice in choices:
        inner = [box for one in _alike(choice.guards) for box in boxes(one, known)]
        if len(found) * len(inner) > _MOST:
            raise Opaque
        found = [box for one in found for two in inner if (box := both(one, two)) is not None]
    return found


def _alike(guards: Sequence[core.Guard]) -> Iterable[core.Guard]:
    """The same choice in fewer guards: those that differ in the values of their last field become one. A
    large set of tuples becomes as many guards as it has tuples without their last part."""
    if len(guards) < _MANY:
        return guards
    groups: dict[tuple[object, ...], list[core.Among]] = {}
    for guard in guards:
        key: list[object] = []
        for literal in guard:
            if not isinstance(literal, core.Among) or literal.negated:
                return guards
            key.append(literal.field.value)
            key.append(literal.values.spans)
        if not key:
            return guards
        key.pop()
        groups.setdefault(tuple(key), []).append(guard[-1])  # type: ignore[arg-type]
    first = guards[0]
    if any(len(guard) != len(first) for guard in guards):
        return guards
    return _merged(guards, groups)


def _merged(
    guards: Sequence[core.Guard], groups: Mapping[tuple[object, ...], list[core.Among]]
) -> Iterator[core.Guard]:
    last = {id(guard[-1]): guard for guard in guards}
    for alike in groups.values():
        guard = last[id(alike[0])]
        spans = IntervalSet.of(span for one in alike for span in one.values.spans)
        yield (*guard[:-1], core.Among(alike[0].field, spans))


def _narrow(bounds: dict[int, IntervalSet], literal: core.Among, family: Family) -> None:
    number = _NUMBERS[literal.field.value]
    if number in _ENTRY:
        raise Opaque
    if number == _FAMILY:
        if (domain(Field.FAMILY, family).low in literal.values) == literal.negated:
            bounds[_STATE] = IntervalSet()
        return
    values = literal.values
    if literal.negated:
        values = IntervalSet(_WHOLE[family][number]) - values
    for other, allowed in _PRESENCE[family][number]:
        before = bounds.get(other)
        bounds[other] = allowed if before is None or before == allowed else before & allowed
    before = bounds.get(number)
    bounds[number] = values if before is None or before == values else before & values


def _box(bounds: dict[int, IntervalSet], facts: Iterable[core.Fact], known: Known) -> Box | None:
    items: list[tuple[int, Spans]] = []
    whole = _WHOLE[known.family]
    if not _settle(bounds, known):
        return None
    for number in sorted(bounds):
        values = bounds[number]
        if values.spans != whole[number]:
            spans, (low, high) = values.spans, whole[number][0]
            if spans and (spans[0][0] < low or spans[-1][1] > high):
                spans = (values & IntervalSet(whole[number])).spans
            if not spans:
                return None
            if spans != whole[number]:
                items.append((number, spans))
    return tuple(items), frozenset(facts)


def _settle(bounds: dict[int, IntervalSet], known: Known) -> bool:
    """Take out what follows from the rest; False if nothing fits."""
    for address, kind in _KINDS:
        if address in bounds and kind in bounds:
            for value, addresses in known.kinds:
                if bounds[address] <= addresses:
                    if value not in bounds.pop(kind):
                        return False
                    break
    for translated in _TRANSLATED:
        if translated in bounds and bounds[translated] == _ONE:  # then there is an entry
            state = bounds.get(_STATE)
            if state is not None and state >= _WITH_ENTRY:
                del bounds[_STATE]
    return True


_WHOLE = {family: tuple(domain(field, family).whole.spans for field in _FIELDS) for family in Family}
_PRESENCE = {
    family: tuple(
        tuple((NUMBER[other], allowed) for other, allowed in presence(field, family).items())
        for field in _FIELDS
    )
    for family in Family
}


def both(one: Box, other: Box) -> Box | None:
    """The packets of two boxes; None if there are none."""
    if not one[0] and not one[1]:
        return other
    if not other[0] and not other[1]:
        return one
    bounds = dict(one[0])
    for number, spans in other[0]:
        before = bounds.get(number)
        if before is not None and before != spans:
            spans = (IntervalSet(before) & IntervalSet(spans)).spans
            if not spans:
                return None
        bounds[number] = spans
    return tuple(sorted(bounds.items())), one[1] | other[1]


def rest(spared: Mapping[int, IntervalSet], family: Family) -> Box | None:
    """The packets that have none of these values of any of these fields; None if there are none."""
    whole = _WHOLE[family]
    items = [(number, (IntervalSet(whole[number]) - values).spans) for number, values in spared.items()]
    return (tuple(sorted(items)), frozenset()) if all(spans for _, spans in items) else None


def united(parts: Iterable[Box]) -> frozenset[Box]:
    """The same packets in fewer boxes: those that differ in one field become one."""
    left = set(parts)
    while True:
        before = len(left)
        if before < 2:
            break
        if before <= _FEW:
            left = _absorbed(left)
        bounded = {number for box in left for number, _ in box[0]}
        for number in _UNION_ORDER:
            if number in bounded:
                left = _joined(left, number)
        if len(left) == before:
            break
    return frozenset(left)


def _absorbed(parts: set[Box]) -> set[Box]:
    """The boxes without those that lie in another one."""
    by_fields: dict[frozenset[int], list[Box]] = {}
    for box in parts:
        by_fields.setdefault(frozenset(number for number, _ in box[0]), []).append(box)
    found: set[Box] = set()
    for fields, alike in by_fields.items():
        others = [one for asked, group in by_fields.items() if asked <= fields for one in group]
        found |= {box for box in alike if not _within_one(box, others)}
    return found


def _within_one(box: Box, others: Iterable[Box]) -> bool:
    """Whether a box lies in another, different one; each bounds no field that the box does not."""
    mine = dict(box[0])
    return any(
        other is not box
        and other[1] <= box[1]
        and all(mine[number] == spans or _covered(mine[number], spans) for number, spans in other[0])
        for other in others
    )


def _covered(spans: Spans, by: Spans) -> bool:
    low, high = spans[0][0], spans[-1][1]
    if low < by[0][0] or high > by[-1][1]:
        return False
    return len(by) == 1 or IntervalSet(spans) <= IntervalSet(by)


def _joined(parts: set[Box], number: int) -> set[Box]:
    groups: dict[Box, list[Spans | None]] = {}
    for items, facts in parts:
        for at, item in enumerate(items):
            if item[0] == number:
                groups.setdefault((items[:at] + items[at + 1 :], facts), []).append(item[1])
                break
        else:
            groups.setdefault((items, facts), []).append(None)
    found: set[Box] = set()
    for (items, facts), values in groups.items():
        if None in values:  # a box that does not bound the field holds the others
            found.add((items, facts))
            continue
        spans = values[0] if len(values) == 1 else _union(values)
        assert spans is not None
        at = sum(1 for one, _ in items if one < number)
        found.add(((*items[:at], (number, spans), *items[at:]), facts))
    return found


def _union(values: Iterable[Spans | None]) -> Spans:
    return IntervalSet.of(span for spans in values if spans is not None for span in spans).spans


def answered(box: Box, family: Family) -> Box:
    """The packets whose answers lie in a box."""
    items: list[tuple[int, Spans]] = []
    for number, spans in box[0]:
        field = _FIELDS[number]
        if field is Field.ICMP_TYPE:
            kinds = [icmp_answer(kind, family) for low, high in spans for kind in range(low, high + 1)]
            spans = IntervalSet.of((kind, kind) for kind in kinds).spans
        items.append((NUMBER[MIRROR.get(field, field)], spans))
    return tuple(sorted(items)), box[1]


class Sets:
    """Boxes as sets of packets of one space, each made once."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._levels = [space.levels[field][0] if space.levels[field] else -1 for field in _FIELDS]
        self._boxes: dict[Box, int] = {}
        self._unions: dict[frozenset[Box], int] = {}

    def box(self, box: Box) -> int:
        made = self._boxes.get(box)
        if made is None:
            made = FULL
            for number, spans in reversed(box[0]):
                made = self.space.literal(self._levels[number], IntervalSet(spans), made)
            for fact in box[1]:
                free = self.space.free(fact.name)
                made = self.space.meet(self.space.complement(free) if fact.negated else free, made)
            self._boxes[box] = made
        return made

    def union(self, parts: frozenset[Box]) -> int:
        """Those that are alike in their first fields stand together, which keeps unions small."""
        made = self._unions.get(parts)
        if made is None:
            row = sorted(parts, key=lambda box: box[0])
            made = self._unions[parts] = self.space.first([self.box(box) for box in row])
        return made
