"""A set of packets as a value: the operators of sets on top of a space's diagrams."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from notrack.packets.diagram import EMPTY, FULL
from notrack.packets.fields import Field, presence
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet import Packet
from notrack.packets.space import Space
from notrack.packets.witness import Witness, member, witness
from notrack.text.record import dataclass


@dataclass(frozen=True, slots=True)
class PacketSet:
    """Packets of one family, exact. Equality is equality of the sets; the sets must be of one space.

    A set never tells packets apart by fields that they do not have (the ports of ICMP): it holds such a
    packet with every value of the field or with none. Counts, projections and witnesses know better.
    Every operation may raise `TooHard`.
    """

    space: Space
    diagram: int

    @staticmethod
    def nothing(space: Space) -> PacketSet:
        return PacketSet(space, EMPTY)

    @staticmethod
    def everything(space: Space) -> PacketSet:
        """All packets."""
        return PacketSet(space, FULL)

    @staticmethod
    def where(space: Space, field: Field, values: IntervalSet | int) -> PacketSet:
        """The packets that have the field, with one of these values."""
        return PacketSet(space, space.having(field, values))

    @staticmethod
    def free(space: Space, name: str) -> PacketSet:
        """The packets for which a named fact holds that the packet alone does not decide."""
        return PacketSet(space, space.free(name))

    def __bool__(self) -> bool:
        return self.diagram != EMPTY

    def __and__(self, other: PacketSet) -> PacketSet:
        return PacketSet(self.space, self.space.meet(self.diagram, other.diagram))

    def __or__(self, other: PacketSet) -> PacketSet:
        return PacketSet(self.space, self.space.join(self.diagram, other.diagram))

    def __sub__(self, other: PacketSet) -> PacketSet:
        return PacketSet(self.space, self.space.minus(self.diagram, other.diagram))

    def __invert__(self) -> PacketSet:
        """The packets that are not in the set."""
        return PacketSet(self.space, self.space.complement(self.diagram))

    def __le__(self, other: PacketSet) -> bool:
        """Subset."""
        return self.space.minus(self.diagram, other.diagram) == EMPTY

    def isdisjoint(self, other: PacketSet) -> bool:
        return self.space.meet(self.diagram, other.diagram) == EMPTY

    def mirror(self) -> PacketSet:
        """The answers to the packets of the set."""
        return PacketSet(self.space, self.space.mirror(self.diagram))

    def may(self) -> PacketSet:
        """The packets that are in the set for some truth of the free facts."""
        return PacketSet(self.space, self.space.may(self.diagram))

    def must(self) -> PacketSet:
        """The packets that are in the set whatever the free facts are."""
        return PacketSet(self.space, self.space.must(self.diagram))

    def exists(self, fields: Iterable[Field] = (), names: Iterable[str] = ()) -> PacketSet:
        return PacketSet(self.space, self.space.exists(self.diagram, fields, names))

    def for_all(self, fields: Iterable[Field] = (), names: Iterable[str] = ()) -> PacketSet:
        return PacketSet(self.space, self.space.for_all(self.diagram, fields, names))

    def facts(self) -> tuple[str, ...]:
        """The free facts on which the set rests."""
        return self.space.facts(self.diagram)

    def project(self, field: Field) -> IntervalSet:
        """The values that a field (no mark) has in the set; of packets that lack it, its value for that."""
        return self.space.project(
            self._well_formed() if presence(field, self.space.family) else self.diagram, field
        )

    def count(self, fields: Collection[Field]) -> int:
        """How many combinations of values of the fields have a member in the set."""
        return self.space.count(self._well_formed(), fields)

    def _well_formed(self) -> int:
        return self.space.meet(self.space.well_formed, self.diagram)

    def witness(self) -> Witness | None:
        """A member that reads well; None of an empty set."""
        return witness(self.space, self.diagram)

    def has(self, packet: Packet, facts: dict[str, bool] | None = None) -> bool:
        """Whether a packet is in the set; a free fact that is not named does not hold."""
        return member(self.space, self.diagram, packet, facts)

    @property
    def is_full(self) -> bool:
        """Whether every packet is in the set."""
        return self.diagram == FULL
