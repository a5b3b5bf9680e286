"""ICMP errors about untracked flows: which of them rules stop.

Connection tracking knows no flow to which such an error belongs. It is INVALID, never RELATED, and comes
through only where a rule lets it in by its type.
"""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.bounds import asks, bound, rules_of
from notrack.lint.exposure import EPHEMERAL, ordinary
from notrack.lint.flows import Leg
from notrack.lint.halves import ordinary as usual
from notrack.lint.shapes import Asks, asking
from notrack.lint.view import View
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.packets.fields import ICMP_PROTOCOL, PORT_PROTOCOLS, AddressType, Field, Fragment, State
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet import Packet
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Hook, Rule, Verdict
from notrack.text.record import dataclass

TOO_BIG = {Family.IPV4: (3, 4), Family.IPV6: (2, 0)}
"""Type and code of the error that path-MTU discovery lives on: fragmentation needed, packet too big."""
NAMES = {Family.IPV4: "fragmentation-needed", Family.IPV6: "packet-too-big"}
_SMALL = IntervalSet.of((port, port) for port in (67, 68, 123, 546, 547))
_RANGE = 1000  # so many ports in a rule are those that connections start from
_STREAMS = IntervalSet.of(((6, 6), (132, 132)))
_ENDS = frozenset(
    (Field.IN, Field.OUT, Field.SOURCE, Field.DESTINATION, Field.SOURCE_TYPE, Field.DESTINATION_TYPE)
)
_OTHERS = tuple(field for field in Field if field not in _ENDS)


@dataclass(frozen=True, slots=True)
class Loss:
    """Errors that do not get through on a way, and what is untracked there. `legs` untrack it; none where
    nothing is tracked at all."""

    way: Way
    errors: PacketSet
    flows: PacketSet
    legs: tuple[Leg, ...]

    def leg(self, packet: Packet) -> Leg | None:
        """The first rule that untracks the flows which one of the errors is about."""
        for one in self.legs:
            if one.on(self.way).exists(_OTHERS).may().has(packet):
                return one
        return None


def losses(view: View) -> Iterator[Loss]:
    """Lost errors, one loss for each way and each part of the world that asks."""
    for way, flows, legs in _flows(view):
        lost = _lost(view, way, flows)
        if lost:
            yield Loss(way, lost, flows, legs)


def _flows(view: View) -> Iterator[tuple[Way, PacketSet, tuple[Leg, ...]]]:
    """Untracked packets that come in and are let through, of flows in which answers may be large."""
    if not view.model.tracks:
        yield from _stateless(view)
        return
    verdicts, space = view.flows.verdicts, view.model.space
    for way, side, legs in _groups(view):
        taken = PacketSet(space, space.first([leg.on(way).diagram for leg in legs]))
        packets = _large(view, way, view.flows.paired(taken, way), side) if taken else taken
        packets = usual(packets) if packets else packets
        packets = verdicts.accepted(way, packets, State.UNTRACKED) if packets else packets
        if packets:
            yield way, packets, legs


def _groups(view: View) -> Iterator[tuple[Way, Asks, tuple[Leg, ...]]]:
    """The rules that untrack what comes in, by who may send it."""
    groups: dict[tuple[bool, IntervalSet], list[Leg]] = {}
    for leg in view.flows.at(Hook.PREROUTING):
        answers = asking(leg.written) is Asks.ANSWER
        groups.setdefault((answers, bound(leg.rule.guard, Field.SOURCE, view.family)), []).append(leg)
    for (answers, _), legs in groups.items():
        for way in (Way.LOCAL_IN, Way.FORWARD):
            yield way, Asks.ANSWER if answers else Asks.QUESTION, tuple(legs)


def _stateless(view: View) -> Iterator[tuple[Way, PacketSet, tuple[Leg, ...]]]:
    """The same where nothing is tracked: connections to the host, if its rules judge what comes in."""
    if not view.is_whole or view.may_track or not view.flows.verdicts.filters(Hook.INPUT):
        return
    if not view.untracks and not _lets_answers_in(view):
        return
    space = view.model.space
    packets = PacketSet(space, space.cube(_segment(2)))
    packets = ordinary(view.passage(Way.LOCAL_IN).accepted(packets))
    if packets:
        yield Way.LOCAL_IN, packets, ()


def _lets_answers_in(view: View) -> bool:
    """Whether the rules are made to work without states: answers to own connections come in by their ports or
    flags."""
    return any(
        rule.actions[-1:] == (Verdict.ACCEPT,)
        and (asks(rule.guard, Field.SOURCE_PORT, Field.FLAGS) or _is_for_answers(rule, view.family))
        for rule in rules_of(view.ruleset, view.family)
    )


def _is_for_answers(rule: Rule, family: Family) -> bool:
    """Whether a rule names a range of ports that connections start from."""
    named = asks(rule.guard, Field.DESTINATION_PORT)
    ports = bound(rule.guard, Field.DESTINATION_PORT, family) & EPHEMERAL
    return named and ports.size() >= _RANGE


def _segment(flags: int) -> dict[Field, IntervalSet]:
    """Whole TCP packets with these flags."""
    return {
        Field.PROTOCOL: IntervalSet.single(6),
        Field.FRAGMENT: IntervalSet.single(Fragment.WHOLE),
        Field.FLAGS: IntervalSet.single(flags),
    }


def _large(view: View, way: Way, packets: PacketSet, asks: Asks) -> PacketSet:
    """Those for which the other side may send more than a path carries: not what answers the host's own
    datagrams, not protocols whose packets are always small."""
    space = view.model.space
    kinds = _STREAMS if asks is Asks.ANSWER and way is Way.LOCAL_IN else PORT_PROTOCOLS
    wanted = {
        Field.PROTOCOL: kinds,
        Field.FRAGMENT: IntervalSet.single(Fragment.WHOLE),
        Field.DESTINATION_TYPE: IntervalSet(((AddressType.UNICAST, AddressType.LOCAL),)),
    }
    small = space.join(
        space.among(Field.DESTINATION_PORT, _SMALL),
        space.cube({Field.PROTOCOL: IntervalSet.single(6), Field.FLAGS: IntervalSet.single(2)}),
    )
    return packets & PacketSet(space, space.minus(space.cube(wanted), small))


def _lost(view: View, way: Way, flows: PacketSet) -> PacketSet:
    """The errors from where the flows come that are stopped; nothing if most of them get through."""
    space = view.model.space
    kind, code = TOO_BIG[view.family]
    error = {
        Field.PROTOCOL: IntervalSet.single(ICMP_PROTOCOL[view.family]),
        Field.ICMP_TYPE: IntervalSet.single(kind),
        Field.ICMP_CODE: IntervalSet.single(code),
        Field.FRAGMENT: IntervalSet.single(Fragment.WHOLE),
        Field.STATE: IntervalSet(((State.INVALID, State.UNTRACKED),)),
    }
    passage = view.passage(way)
    asked = flows.exists(_OTHERS).may() & PacketSet(space, space.cube(error)) & passage.packets
    lost = asked - passage.accepted(asked).may()
    whole, gone = (one.project(Field.SOURCE).size() for one in (asked, lost)) if lost else (1, 0)
    return lost if 2 * gone > whole else PacketSet.nothing(space)
