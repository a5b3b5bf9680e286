"""All packets of one address family as a space of diagrams: literals by field, free facts, the mirror."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property

from notrack.packets import questions
from notrack.packets.address import Family
from notrack.packets.budget import Budget
from notrack.packets.diagram import EMPTY, FULL, Diagrams
from notrack.packets.fields import (
    BITWISE,
    ICMP_PROTOCOL,
    MARK_BITS,
    MIRROR,
    NO_DIRECTION,
    NO_ICMP_TYPE,
    PORT_PROTOCOLS,
    Domain,
    Field,
    Fragment,
    domain,
    icmp_answer,
    icmp_pairs,
    presence,
)
from notrack.packets.intervals import Interval, IntervalSet

_HALF_PROTOCOLS = IntervalSet(((0, 255),)) - PORT_PROTOCOLS


class Space(Diagrams):
    """Diagrams over the packets of one family. Sets of different spaces must not be mixed.

    A field has one level, a mark one level a bit (the highest first); `Field.FAMILY` has none, for it has
    one value. Free facts, asked for by name with `free`, have one level each below all fields: equal names
    are equal facts.
    """

    def __init__(self, family: Family, budget: Budget | None = None) -> None:
        super().__init__(budget)
        self.family = family
        self.domains: dict[Field, Domain] = {field: domain(field, family) for field in Field}
        self.levels: dict[Field, tuple[int, ...]] = {}
        self.names: dict[str, int] = {}
        self.unknowns: dict[tuple[str, int], int] = {}
        self.guards: dict[int, tuple[object, int]] = {}  # of objects by their ids, with the sets they mean
        for field in Field:
            if field in BITWISE:
                self.levels[field] = tuple(self.add_level(1) for _ in range(MARK_BITS))
            else:
                self.levels[field] = (
                    () if field is Field.FAMILY else (self.add_level(self.domains[field].high),)
                )

    def among(self, field: Field, values: IntervalSet | int) -> int:
        """The packets whose field has one of these values; values outside its domain are of no packet."""
        if isinstance(values, int):
            values = IntervalSet.single(values)
        if field is Field.FAMILY:
            return FULL if self.domains[field].low in values else EMPTY
        if field in BITWISE:
            return self._bits(self.levels[field], values & self.domains[field].whole)
        return self.literal(self.levels[field][0], values)

    def having(self, field: Field, values: IntervalSet | int) -> int:
        """The packets that have the field, with one of these values: what a match in a rule means."""
        allowed = IntervalSet.single(values) if isinstance(values, int) else values
        needed = presence(field, self.family)
        inner = needed.pop(field, None)
        present = self.cube(needed) if needed else FULL
        return self.meet(present, self.among(field, allowed if inner is None else allowed & inner))

    def masked(self, field: Field, mask: int, value: int) -> int:
        """The packets whose mark equals `value` under `mask`; `field` must be one of the marks."""
        if value & ~mask:
            return EMPTY
        result = FULL
        for bit, level in enumerate(reversed(self.levels[field])):
            if mask >> bit & 1:
                result = self.literal(level, IntervalSet.single(value >> bit & 1), result)
        return result

    def cube(self, values: Mapping[Field, IntervalSet]) -> int:
        """The packets each of whose named fields has one of its values: one node a field, without `meet`."""
        result = FULL
        for field in sorted(values, key=_ORDER.__getitem__, reverse=True):
            if field in BITWISE or field is Field.FAMILY:
                result = self.meet(self.among(field, values[field]), result)
            else:
                result = self.literal(self.levels[field][0], values[field], result)
        return result

    def free(self, name: str) -> int:
        """The packets for which a fact holds that the packet alone does not decide."""
        if name not in self.names:
            self.names[name] = self.add_level(1)
        return self.literal(self.names[name], IntervalSet.single(1))

    def unknown(self, name: str, top: int) -> int:
        """The level of a number from 0 to `top` that nobody knows, e.g. a mark restored from elsewhere.

        It is a free fact with many values: `may` and `must` quantify it away.
        """
        key = (name, top)
        if key not in self.unknowns:
            self.unknowns[key] = self.add_level(top)
        return self.unknowns[key]

    def _bits(self, levels: tuple[int, ...], values: IntervalSet) -> int:
        if not values or not levels:
            return FULL if values else EMPTY
        half = 1 << (len(levels) - 1)
        if values.spans == ((0, 2 * half - 1),):
            return FULL
        lower = values & IntervalSet(((0, half - 1),))
        upper = IntervalSet(tuple((low - half, high - half) for low, high in values - lower))
        if any(low < 0 for low, _ in upper):
            upper = IntervalSet(tuple((max(low, 0), high) for low, high in upper))
        kids = (self._bits(levels[1:], lower), self._bits(levels[1:], upper))
        return self.literal(levels[0], IntervalSet.single(1), kids[1], kids[0])

    @cached_property
    def well_formed(self) -> int:
        """The packets that can be: only some protocols have ports, only TCP has flags, and so on.

        What a packet has not, has the value 0, the ICMP type `NO_ICMP_TYPE`. Sets that are compared should
        lie in this one.
        """
        icmp, rest = _single(ICMP_PROTOCOL[self.family]), _single(Fragment.LATER)
        parts = _single(Fragment.WHOLE) | _single(Fragment.FIRST)
        bare = {Field.FLAGS: _single(0), Field.ICMP_TYPE: _single(NO_ICMP_TYPE), Field.ICMP_CODE: _single(0)}
        no_ports = {Field.SOURCE_PORT: _single(0), Field.DESTINATION_PORT: _single(0)}
        tcp = bare.copy()
        del tcp[Field.FLAGS]
        others = _HALF_PROTOCOLS - icmp
        types = {Field.FLAGS: _single(0), Field.ICMP_TYPE: IntervalSet(((0, 255),))}
        directed = self.among(Field.CT_DIRECTION, IntervalSet(((0, NO_DIRECTION - 1),)))
        formed = self.first(
            [
                self.cube(tcp | {Field.PROTOCOL: _single(6), Field.FRAGMENT: parts}),
                self.cube(bare | {Field.PROTOCOL: PORT_PROTOCOLS - _single(6), Field.FRAGMENT: parts}),
                self.cube(no_ports | types | {Field.PROTOCOL: icmp, Field.FRAGMENT: parts}),
                self.cube(no_ports | bare | {Field.PROTOCOL: others, Field.FRAGMENT: parts}),
                self.cube(no_ports | bare | {Field.FRAGMENT: rest}),
            ]
        )
        return self.meet(directed, formed)

    def exists(self, diagram: int, fields: Iterable[Field] = (), names: Iterable[str] = ()) -> int:
        """The set of what is in `diagram` for some value of the fields and free facts."""
        return questions.exists(self, diagram, self._chosen(fields, names))

    def for_all(self, diagram: int, fields: Iterable[Field] = (), names: Iterable[str] = ()) -> int:
        """The set of what is in `diagram` for every value of the fields and free facts."""
        return questions.for_all(self, diagram, self._chosen(fields, names))

    def may(self, diagram: int) -> int:
        """What may be in the set, whatever the free facts are."""
        return questions.exists(self, diagram, self._free_levels())

    def must(self, diagram: int) -> int:
        """What is in the set, whatever the free facts are."""
        return questions.for_all(self, diagram, self._free_levels())

    def _free_levels(self) -> set[int]:
        return {*self.names.values(), *self.unknowns.values()}

    def facts(self, diagram: int) -> tuple[str, ...]:
        """The names of the free facts and unknown numbers on which the set rests."""
        asked = questions.support(self, diagram)
        unknown = [name for (name, _), level in self.unknowns.items() if level in asked]
        return (*(name for name, level in self.names.items() if level in asked), *dict.fromkeys(unknown))

    def project(self, diagram: int, field: Field) -> IntervalSet:
        """The values that a field (no mark) has in members of the set."""
        if field is Field.FAMILY:
            return self.domains[field].whole if diagram != EMPTY else IntervalSet()
        return questions.project(self, diagram, self.levels[field][0])

    def count(self, diagram: int, fields: Collection[Field]) -> int:
        """How many combinations of values of the fields have a member in the set."""
        return questions.count(self, diagram, self._chosen(fields, ()))

    def _chosen(self, fields: Iterable[Field], names: Iterable[str]) -> set[int]:
        levels = {level for field in fields for level in self.levels[field]}
        return levels | {self.names[name] for name in names if name in self.names}

    def mirror(self, diagram: int) -> int:
        """The set of the answers: ends and interfaces change places, an ICMP query becomes its
        reply. Everything else, the MAC address among it, stays as it is.
        """
        exchange = {self.levels[field][0]: self.levels[other][0] for field, other in MIRROR.items()}
        icmp = self.levels[Field.ICMP_TYPE][0]
        return questions.renamed(
            self, diagram, exchange, lambda level, span: self._answers_of(span) if level == icmp else [span]
        )

    def _answers_of(self, span: Interval) -> list[Interval]:
        low, high = span
        if all(low <= answer <= high for kind, answer in icmp_pairs(self.family) if low <= kind <= high):
            return [span]
        return [
            (answer, answer)
            for answer in (icmp_answer(value, self.family) for value in range(span[0], span[1] + 1))
        ]


_ORDER = {field: i for i, field in enumerate(Field)}


def _single(value: int) -> IntervalSet:
    return IntervalSet.single(value)
