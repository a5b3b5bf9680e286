"""Tunnels both ends of which send to one port, from ports of their own: which direction is tracked."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.flows import OF_ONE_PACKET, Flows, Leg
from notrack.lint.halves import HASHED
from notrack.lint.verdicts import OPENING
from notrack.lint.view import View
from notrack.netfilter.ways import Way
from notrack.packets.fields import Field
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Hook
from notrack.text.record import dataclass

NAMES = {
    2152: "GTP-U", 3784: "BFD", 3785: "BFD", 4341: "LISP", 4784: "BFD", 4789: "VXLAN", 4790: "VXLAN-GPE",
    6080: "GUE", 6081: "Geneve", 6635: "MPLS over UDP", 6784: "BFD", 8472: "VXLAN",
}  # fmt: skip
_NAMED = 4096  # a rule for more ports than these is none for a tunnel
_UDP = {Field.PROTOCOL: IntervalSet.single(17)}
_PORTS = (Field.SOURCE_PORT, Field.DESTINATION_PORT)
_WAYS = {Hook.PREROUTING: Way.LOCAL_IN, Hook.OUTPUT: Way.LOCAL_OUT}


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A tunnel one direction of which is untracked. `leg` untracks `packets`; `answers` is the rule of the
    other chain that looks for answers from the port, if there is one."""

    port: int
    leg: Leg
    packets: PacketSet
    answers: Leg | None

    @property
    def name(self) -> str:
        return NAMES[self.port]


def half_tunnels(view: View) -> Iterator[Tunnel]:
    """The tunnels of which rules untrack what comes in, and not what the host sends, or the reverse."""
    if not view.untracks or not view.may_track:
        return
    flows = view.flows
    for leg in flows.legs:
        if leg.hook not in _WAYS or leg.is_generated:
            continue
        to = leg.shape.destination_port
        for low, high in to & HASHED if to.size() <= _NAMED else ():
            for port in range(low, high + 1):
                rest = _tracked_back(flows, leg, port)
                if rest:
                    yield Tunnel(port, leg, rest, _answering(flows, leg, port))


def _tracked_back(flows: Flows, leg: Leg, port: int) -> PacketSet:
    """The packets of a leg to a port where what the host sends (or gets) at that port is tracked."""
    way, space = _WAYS[leg.hook], flows.space
    to = PacketSet(space, space.cube(_UDP | {Field.DESTINATION_PORT: IntervalSet.single(port)}))
    packets = leg.on(way) & to & flows.returning(way)
    if not packets:
        return packets
    high = IntervalSet(((49152, 65535),))
    sent = {Field.SOURCE_PORT: IntervalSet.single(port), Field.DESTINATION_PORT: high}
    back = (flows.answered(way) & PacketSet(space, space.cube(_UDP | sent))).exists(_PORTS)
    loose = flows.unsettled(packets, way)
    if loose:
        back = (back & packets.exists((*OF_ONE_PACKET, *_PORTS))).exists(loose)
    rest = packets - back
    return rest & flows.verdicts.accepted(way, rest.exists(OF_ONE_PACKET).may(), *OPENING)


def _answering(flows: Flows, leg: Leg, port: int) -> Leg | None:
    other = Hook.OUTPUT if leg.hook is Hook.PREROUTING else Hook.PREROUTING
    ports = IntervalSet.single(port)
    return next((one for one in flows.at(other) if one.shape.source_port == ports), None)
