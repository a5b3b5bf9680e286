"""What a NOTRACK rule names: protocols, both ends, interfaces; who asks in it and who answers."""

from __future__ import annotations

import enum

from notrack.packets.address import Family
from notrack.packets.fields import ICMP_PROTOCOL, PORT_PROTOCOLS, Field, icmp_answer
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.text.record import dataclass

_PORTS = IntervalSet(((0, 65535),))
QUESTIONS = {
    Family.IPV4: IntervalSet.of((kind, kind) for kind in (8, 13, 15, 17, 42)),
    Family.IPV6: IntervalSet.of((kind, kind) for kind in (128, 139, 144, 146, 160)),
}


class Asks(enum.Enum):
    """Who sends packets of a set: whoever begins, or whoever answers. EITHER: nothing tells."""

    QUESTION = "question"
    ANSWER = "answer"
    EITHER = "either"


@dataclass(frozen=True, slots=True)
class Shape:
    """The values that packets of a set have, each field for itself."""

    protocols: IntervalSet
    source: IntervalSet
    destination: IntervalSet
    source_port: IntervalSet
    destination_port: IntervalSet
    into: IntervalSet
    out: IntervalSet
    icmp: IntervalSet

    def mirrored(self) -> Shape:
        return Shape(
            self.protocols,
            self.destination,
            self.source,
            self.destination_port,
            self.source_port,
            self.out,
            self.into,
            self.icmp,
        )


def shape(packets: PacketSet) -> Shape:
    sides = (Field.SOURCE, Field.DESTINATION, Field.SOURCE_PORT, Field.DESTINATION_PORT, Field.IN, Field.OUT)
    with_ports = _with_ports(packets)
    source, destination, *_, into, out = (packets.project(side) for side in sides)
    here, there = ((with_ports or packets).project(side) for side in sides[2:4])
    kinds = _of_icmp(packets).project(Field.ICMP_TYPE)
    return Shape(packets.project(Field.PROTOCOL), source, destination, here, there, into, out, kinds)


def asking(packets: PacketSet) -> Asks:
    """The side of far fewer ports is the service; of ICMP the type tells."""
    ports = _with_ports(packets)
    if ports:
        service, peer = (ports.project(side).size() for side in (Field.DESTINATION_PORT, Field.SOURCE_PORT))
        if 2 * min(service, peer) > max(service, peer):
            return Asks.EITHER  # e.g. all ports but one
        return Asks.QUESTION if service < peer else Asks.ANSWER
    icmp = _of_icmp(packets)
    if icmp and icmp == packets:
        kinds, asked = icmp.project(Field.ICMP_TYPE), QUESTIONS[packets.space.family]
        if kinds <= asked:
            return Asks.QUESTION
        if kinds <= _answers(asked, packets.space.family):
            return Asks.ANSWER
    return Asks.EITHER


def _answers(kinds: IntervalSet, family: Family) -> IntervalSet:
    spans = [(icmp_answer(kind, family),) * 2 for low, high in kinds for kind in range(low, high + 1)]
    return IntervalSet.of((low, high) for low, high in spans)


def _with_ports(packets: PacketSet) -> PacketSet:
    return packets & PacketSet(packets.space, packets.space.among(Field.PROTOCOL, PORT_PROTOCOLS))


def _of_icmp(packets: PacketSet) -> PacketSet:
    number = ICMP_PROTOCOL[packets.space.family]
    return packets & PacketSet(packets.space, packets.space.among(Field.PROTOCOL, number))


def repeats(asked: Shape, answering: Shape) -> bool:
    """Whether a rule for answers names something on the side on which the questions have it: `-s X` or
    `--dport N` in both, all else being the same or mirrored.
    """
    if asked.protocols != answering.protocols:
        return False
    pairs = (
        ((asked.source, asked.destination), (answering.source, answering.destination)),
        ((asked.source_port, asked.destination_port), (answering.source_port, answering.destination_port)),
    )
    same = [first == second and first[0] != first[1] for first, second in pairs]
    mirrored = [first == second[::-1] for first, second in pairs]
    return any(same) and all(one or other for one, other in zip(same, mirrored, strict=True))


def differences(asked: Shape, answering: Shape) -> int:
    """In how many things a rule for answers differs from the mirror of the rule for the questions."""
    wished = asked.mirrored()
    pairs = [
        (wished.protocols, answering.protocols),
        (wished.source, answering.source),
        (wished.destination, answering.destination),
        (wished.source_port, answering.source_port),
        (wished.destination_port, answering.destination_port),
        (wished.icmp, answering.icmp),
    ]
    if 0 not in answering.out:  # it names an interface
        pairs.append((wished.out, answering.out))
    return sum(first != second for first, second in pairs)


def names_ports(one: Shape) -> bool:
    """Whether a port is named on either side."""
    return one.source_port != _PORTS or one.destination_port != _PORTS
