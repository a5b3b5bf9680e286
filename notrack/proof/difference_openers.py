"""Answers and later packets, cut down to those whose flows are opened: both rulesets let the opening packet
pass and translate it alike. Where they do not, the opening packet is itself a difference.
"""

from __future__ import annotations

from collections.abc import Iterator

from notrack.netfilter.effects import Change as Value
from notrack.netfilter.effects import Effects, Unsure
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.packets.budget import TooHard
from notrack.packets.diagram import EMPTY
from notrack.packets.fields import AddressType, Field
from notrack.packets.intervals import IntervalSet
from notrack.packets.space import Space
from notrack.proof.difference_labels import Fate, Translation
from notrack.proof.difference_roles import UNMOVED, Role, Status
from notrack.proof.difference_sides import BACK
from notrack.proof.difference_slices import Slices
from notrack.text.record import dataclass

_MOST = 64  # translations of sources that are told apart
# What two packets of one flow need not share. The state is none of a packet here.
_OF_ONE_PACKET = (
    Field.FLAGS, Field.FRAGMENT, Field.ICMP_CODE, Field.MAC, Field.PACKET_TYPE, Field.LENGTH, Field.TTL,
    Field.TOS, Field.MARK, Field.CT_MARK, Field.CT_DIRECTION, Field.CT_SNAT, Field.CT_DNAT, Field.STATE,
    *(field for field in Field if field.value.startswith("bridge")),
)  # fmt: skip
_TARGET = (Field.DESTINATION, Field.DESTINATION_PORT)
Pair = tuple[Fate, Fate, int]
Sources = tuple[tuple[Field, IntervalSet | None], ...]
Kind = tuple[Sources, Status]


@dataclass(frozen=True, slots=True)
class Opened:
    """The flows that both rulesets open alike, by their first packets behind the translation of destinations.

    `parts`: the same, translation by translation, each beside its packets as they come in. All are sets
    without what packets of one flow need not share.
    """

    packets: int
    parts: tuple[tuple[int, int], ...]


class Openers:
    """Which flows are opened, and what becomes of their other packets."""

    def __init__(self, slices: Slices) -> None:
        self.slices = slices
        self.space = slices.space
        self._opened: dict[Way, dict[Kind, Opened]] = {}

    def pairs(self, role: Role, view: Way) -> Iterator[Pair]:
        """Every two different fates of answers or later packets of flows that are opened."""
        if role is Role.ANSWER:
            yield from self._answers(view)
        else:
            yield from self._laters(view)

    def _answers(self, view: Way) -> Iterator[Pair]:
        for source, status in self.kinds(BACK[view]):
            if not status[0]:
                found = self.slices.pairs(Role.ANSWER, view, status)
            else:
                functions = self.slices.answers_on_wire(view, wire_effects(source), status)
                found = [pair for pair in self.slices.apart(*functions) if not _elsewhere(pair)]
            if found and (source, status) in self.opened(BACK[view]):
                flows = self.opened(BACK[view])[source, status].packets
                for old, new, packets in found:
                    yield old, new, self._answering(packets, flows, view)

    def _laters(self, view: Way) -> Iterator[Pair]:
        for source, status in self.kinds(view):
            if status[1]:
                yield from self._laters_translated((source, status), view)
                continue
            found = self.slices.pairs(Role.LATER, view, status)
            if found and (source, status) in self.opened(view):
                flows = self.opened(view)[source, status].packets
                for old, new, packets in found:
                    inside = self.space.meet(packets, flows)
                    yield old, new, inside if status[0] else self._answered(inside, view, status)
            if status[0]:
                yield from self._laters_untracked((source, status), view)

    def _laters_untracked(self, kind: Kind, view: Way) -> Iterator[Pair]:
        """Later packets of flows with translated sources that one ruleset alone untracks."""
        before, after = (side.untracked(view) for side in self.slices.sides)
        if before == after or kind not in self.opened(view):
            return
        came = self.space.meet(self.opened(view)[kind].packets, self.slices.cast.laters)
        yield (
            Fate("accept"),
            Fate("accept", tracked=False),
            self.space.meet(came, self.space.minus(after, before)),
        )
        yield (
            Fate("accept", tracked=False),
            Fate("accept"),
            self.space.meet(came, self.space.minus(before, after)),
        )

    def _laters_translated(self, kind: Kind, view: Way) -> Iterator[Pair]:
        """Later packets of flows to translated destinations. Those that a ruleset untracks as they come in
        are not translated; where it does so with some packets of a flow alone, all count as if it did not.
        """
        slices, space = self.slices, self.space
        functions = slices.laters_behind_translation(view, kind[1])
        untracked = [side.untracked(view) for side in slices.sides]
        if functions[0] == functions[1] and untracked[0] == untracked[1]:
            return
        if kind not in self.opened(view):
            return
        groups: dict[tuple[bool, bool], list[int]] = {}
        headers = [side.headers(view) for side in slices.sides]
        coming = space.all_of([slices.cast.laters, *headers, space.well_formed])
        for flows, wire in self.opened(view)[kind].parts:
            came = space.meet(wire, coming)
            lost = [space.minus(came, bare) == EMPTY for bare in untracked]
            groups.setdefault((lost[0], lost[1]), []).append(flows)
        for lost_by, parts in groups.items():
            flows = space.first(parts)
            both = [
                slices.lost_where(flows, function) if lost else function
                for function, lost in zip(functions, lost_by, strict=True)
            ]
            yield from slices.apart(space.meet(flows, both[0]), space.meet(flows, both[1]))

    def kinds(self, view: Way) -> list[Kind]:
        """What may become of sources, and whether either end is translated, of flows that both let pass."""
        (before, after), *_ = self.slices.fates(Role.OPENING, view)
        known = [self.slices.passing(function) for function in (before, after)]
        found = list(dict.fromkeys((sources(one), status_of(one)) for one in known[0] if one in known[1]))
        if len(found) > _MOST:
            raise TooHard(f"more than {_MOST} source translations")
        return found

    def opened(self, view: Way) -> dict[Kind, Opened]:
        """The flows whose first packets go this way, by how both rulesets translate them.

        One item for each translation of sources: what answers look like rests on no more than that.
        """
        if view not in self._opened:
            slices, space = self.slices, self.space
            (before, after), *_ = slices.fates(Role.OPENING, view)
            regions = [slices.passing_regions(function) for function in (before, after)]
            parts: dict[Kind, list[tuple[int, int]]] = {}
            for moved in (one for one in regions[0] if one in regions[1]):
                packets = space.meet(regions[0][moved], regions[1][moved])
                if packets != EMPTY:
                    kind = sources(moved), status_of(moved)
                    parts.setdefault(kind, []).append(self._opening(moved, packets))
            self._opened[view] = {
                kind: Opened(space.first([flows for flows, _ in found]), tuple(found))
                for kind, found in parts.items()
            }
        return self._opened[view]

    def _opening(self, moved: Translation | None, packets: int) -> tuple[int, int]:
        """Flows of one translation, as they are behind that of their destination, and as they come in."""
        space = self.space
        wire = flow(space, packets)
        answered = answerable(space)
        if moved is None or not moved.of_destination:
            wire = space.meet(wire, answered)
            return wire, wire
        image = space.exists(wire, (*_TARGET, Field.DESTINATION_TYPE))
        for field in _TARGET:
            values = moved.get(field)
            if values is not None:
                image = space.meet(space.among(field, values), image)
        return space.meet(image, answered), wire

    def _answering(self, packets: int, flows: int, view: Way) -> int:
        """The packets that answer packets of some flows."""
        asking = self.space.meet(mirrored(self.space, flow(self.space, packets), view), flows)
        return self.space.meet(packets, mirrored(self.space, asking, view))

    def _answered(self, packets: int, view: Way, status: Status) -> int:
        """The packets whose answers pass under both rulesets."""
        space, slices = self.space, self.slices
        back = mirrored(self.space, flow(self.space, packets), view)
        for functions in slices.fates(Role.ANSWER, BACK[view], status):
            for function in functions:
                back = space.meet(back, flow(self.space, slices.passing_all(function)))
        return space.meet(packets, mirrored(self.space, back, view))


def flow(space: Space, packets: int) -> int:
    """A set of packets, widened to all packets that those of its flows could be, in their direction."""
    return space.exists(space.may(packets), _OF_ONE_PACKET)


def mirrored(space: Space, flows: int, view: Way) -> int:
    """The other direction of flows that take a way."""
    if view is Way.LOOPBACK:  # an answer leaves by lo as well
        flows = space.exists(flows, (Field.IN, Field.OUT))
    return space.mirror(flows)


def answerable(space: Space) -> int:
    """The packets between two hosts: what goes to a group or to all, or comes from no address, gets no
    answer that belongs to its flow.
    """
    types = IntervalSet.of(((AddressType.UNICAST, AddressType.LOCAL),))
    zero = IntervalSet(((0, 0xFFFFFF if space.family is Family.IPV4 else 0),))
    some = space.family.whole - zero
    return space.cube(
        {
            Field.SOURCE_TYPE: types,
            Field.DESTINATION_TYPE: types,
            Field.SOURCE: some,
            Field.DESTINATION: some,
        }
    )


def _elsewhere(pair: Pair) -> bool:
    return pair[0].elsewhere or pair[1].elsewhere


def sources(moved: Translation | None) -> Sources:
    """What a translation makes of sources."""
    fields = (Field.SOURCE, Field.SOURCE_PORT)
    return tuple(item for item in moved.changes if item[0] in fields) if moved is not None else ()


def status_of(moved: Translation | None) -> Status:
    return (moved.of_source, moved.of_destination) if moved is not None else UNMOVED


def wire_effects(changes: Sources) -> Effects:
    """How answers to source-translated packets look before they are translated back."""
    fields: list[tuple[Field, Value]] = [(Field.DESTINATION_TYPE, AddressType.LOCAL)]
    for field, values in changes:
        end = Field.DESTINATION if field is Field.SOURCE else Field.DESTINATION_PORT
        fields.append((end, _value(f"{end.value} on the wire", values)))
    order = {field: i for i, field in enumerate(Field)}
    return Effects(fields=tuple(sorted(fields, key=lambda item: order[item[0]])))


def _value(name: str, values: IntervalSet | None) -> Value:
    if values is not None and values.size() == 1:
        return values.least()
    return Unsure(name, values)
