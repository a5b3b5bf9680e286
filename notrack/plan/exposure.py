"""What a forger can still reach through an untracked flow, in words."""

from __future__ import annotations

from notrack.packets.address import Family
from notrack.packets.intervals import IntervalSet
from notrack.plan.box import PORTS, REACH_BROADCAST, TCP, WITH_PORTS, Box
from notrack.plan.flow import Decision
from notrack.plan.ground import Ground
from notrack.plan.words import address_words, port_words, protocol_words
from notrack.site.model import Default


def exposure(decision: Decision, ground: Ground) -> str | None:
    """A sentence, or None when an untracked flow lets nothing in that its declaration does not name."""
    flow = decision.flow
    if decision.tracked or decision.by_itself:
        return None
    if flow.kind == "client" or (flow.kind == "peer" and flow.paths.answering):
        return _replies(flow.paths.answering, flow.family, "this host")
    if flow.kind == "route":
        return _replies(flow.paths.returning, flow.family, "the hosts behind it")
    if flow.kind in ("service", "peer", "trust") and ground.site.defaults.output in (
        Default.DROP,
        Default.REJECT,
    ):
        return _local_programs(flow.paths.leaving, flow.family)
    return None


def _replies(boxes: tuple[Box, ...], family: Family, whose: str) -> str | None:
    parts = []
    for box in boxes:
        what = protocol_words(box.protocol, family)
        if box.protocol <= WITH_PORTS:
            what += f" from {_ports(box.source_ports)} to {_ports(box.destination_ports)}"
        what += f" of {whose}"
        flags = ", but no opening SYN" if TCP in box.protocol and len(box.protocol.spans) == 1 else ""
        parts.append(f"{what}{flags}")
    if not parts:
        return None
    whom = boxes[0].source
    forger = "anyone" if whom is None else f"who forges {address_words(whom, family)}"
    return f"{forger} can send {'; '.join(parts)}"


def _ports(ports: IntervalSet) -> str:
    return "any port" if ports == PORTS else f"port {port_words(ports)}"


def _local_programs(boxes: tuple[Box, ...], family: Family) -> str | None:
    for box in boxes:
        if TCP in box.protocol or not box.protocol <= WITH_PORTS or box.source_ports == PORTS:
            continue
        where = "to its broadcast address" if box.reach == REACH_BROADCAST else f"to {_where(box, family)}"
        port = f"{protocol_words(box.protocol, family)} port {port_words(box.source_ports)}"
        return f"a local program that binds {port} can send {where}"
    return None


def _where(box: Box, family: Family) -> str:
    return "anyone" if box.destination is None else address_words(box.destination, family)
