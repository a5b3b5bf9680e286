"""What one family untracks and the other does not, although it lets the same in."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.flows import OF_ONE_PACKET, Flows, Leg
from notrack.lint.shapes import Asks, Shape, asking
from notrack.lint.view import View
from notrack.netfilter.ways import Way
from notrack.packets.fields import ICMP_PROTOCOL, PORT_PROTOCOLS, Field, State
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Hook
from notrack.text.record import dataclass

_WAYS = {Hook.PREROUTING: Way.LOCAL_IN, Hook.OUTPUT: Way.LOCAL_OUT}
_ICMP = IntervalSet.of((number, number) for number in ICMP_PROTOCOL.values())


@dataclass(frozen=True, slots=True)
class Alone:
    """A NOTRACK rule of one view whose traffic the other view tracks. `packets` are of the other view."""

    leg: Leg
    view: View
    twin: View
    packets: PacketSet


def alone(view: View, twin: View) -> Iterator[Alone]:
    """The rules of a view for a service (or the host's own questions) that the twin tracks wholly."""
    if not view.untracks or not twin.model.tracks or not view.may_track:
        return
    flows, others = view.flows, twin.flows
    half = {id(one.leg) for one in view.halves}
    for leg in flows.legs:
        if leg.hook not in _WAYS or id(leg) in half or leg.is_generated:
            continue
        if not leg.on(_WAYS[leg.hook]) or not _has_twin(flows, leg):
            continue
        packets = _tracked(others, leg, leg.shape)
        if packets:
            yield Alone(leg, view, twin, packets)


def _has_twin(flows: Flows, leg: Leg) -> bool:
    """Whether a rule like this can be expected of the other family: it names a protocol, and nobody there."""
    written = leg.shape
    if not written.protocols <= PORT_PROTOCOLS - _ICMP:
        return False
    peer = written.source if leg.hook is Hook.PREROUTING else written.destination
    if peer != flows.view.family.whole:
        return False
    asks = asking(leg.written)
    return asks is Asks.QUESTION or (asks is Asks.EITHER and leg.hook is Hook.PREROUTING)


def _tracked(flows: Flows, leg: Leg, written: Shape) -> PacketSet:
    """What the other family lets begin there, and untracks in neither direction."""
    way, space = _WAYS[leg.hook], flows.space
    named = {Field.PROTOCOL: written.protocols, Field.DESTINATION_PORT: written.destination_port}
    packets = flows.ground(way) & PacketSet(space, space.cube(named)) & flows.returning(way)
    own = written.destination if leg.hook is Hook.PREROUTING else written.source
    judged = flows.verdicts.filters(Hook.INPUT if leg.hook is Hook.PREROUTING else Hook.OUTPUT)
    if own.size() < 1 << 31 and not judged:
        return PacketSet.nothing(space)
    touched = (flows.untracked(way).may() | flows.answered(way)).exists((Field.SOURCE, Field.SOURCE_PORT))
    packets = packets - touched.exists((*OF_ONE_PACKET, Field.DESTINATION, Field.IN, Field.OUT))
    if not packets:
        return packets
    begun = flows.verdicts.accepted(way, packets.exists(OF_ONE_PACKET), State.NEW)
    return packets & begun
