"""The answer to a packet that was traced: what it looks like, and what its way holds beside the rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from notrack.netfilter.effects import UNKNOWN_ZONES, Track
from notrack.netfilter.host import UNKNOWN_HOST, Host
from notrack.netfilter.walk import Trace, Undetermined, walk
from notrack.netfilter.ways import Way
from notrack.packets.fields import TCP_FLAGS, AddressType, Field, State, icmp_answer, interface_name
from notrack.packets.packet import Packet
from notrack.ruleset.core import Base, Chain, ChainType, Hook, Origin, Rule, Ruleset, SetField, Table

_BACK = {
    Way.LOCAL_IN: Way.LOCAL_OUT,
    Way.LOCAL_OUT: Way.LOCAL_IN,
    Way.FORWARD: Way.FORWARD,
    Way.LOOPBACK: Way.LOOPBACK,
}
REVERSAL = "translation back"
"""The name of the table that stands for the kernel's translation of answers."""


def answer(
    packet: Packet,
    trace: Trace,
    ruleset: Ruleset,
    host: Host = UNKNOWN_HOST,
    *,
    facts: Mapping[str, bool] | None = None,
    default: bool = False,
) -> tuple[Packet, Trace] | None:
    """The answer to a packet and its way; None where none comes: the packet ended on its way, or it asks
    nothing (an ICMP error). The answer to a tracked packet belongs to its flow, and is translated back; that
    to an untracked one is a stranger, as is one that rules put into another zone. Raises `Undetermined` as
    `walk` does.
    """
    if trace.verdict != "accept":
        return None
    followed = trace.state in (State.NEW, State.ESTABLISHED) and trace.effects.track is Track.PLAIN
    for tracked in (True, False) if followed else (False,):
        back = _answer(packet, trace, tracked=tracked)
        if back is None:
            return None
        whole = ruleset + _reversal(packet, trace) if tracked else ruleset
        # A translated address is the host's own, wherever the packet goes when it is translated back.
        own = trace.effects.source_nat is not None
        arriving = replace(back, local=True) if own else back
        found = walk(whole, arriving, host, way=_BACK[trace.way], facts=facts, default=default)
        if not tracked or not _strange(trace, found):
            return back, found
    return None


def _strange(trace: Trace, back: Trace) -> bool:
    """Whether the answer is looked for in a zone where its flow is not."""
    there, here = trace.effects.zones, back.effects.zones
    return UNKNOWN_ZONES not in (there, here) and there[1] != here[1]


def _answer(packet: Packet, trace: Trace, *, tracked: bool) -> Packet | None:
    """The packet that the other end sends, as it comes to the host or leaves its application."""
    kind = packet.icmp_type
    if packet.is_icmp and kind is not None:
        kind = icmp_answer(kind, packet.family)
        if kind == packet.icmp_type:
            return None
    seen = trace.values
    syn = packet.flags & (TCP_FLAGS["syn"] | TCP_FLAGS["ack"]) == TCP_FLAGS["syn"]
    flags = TCP_FLAGS["ack"] | (TCP_FLAGS["syn"] if syn else 0)
    return replace(
        packet,
        source=seen[Field.DESTINATION],
        destination=seen[Field.SOURCE],
        source_port=seen[Field.DESTINATION_PORT] if packet.has_ports else None,
        destination_port=seen[Field.SOURCE_PORT] if packet.has_ports else None,
        flags=flags if packet.flags else 0,
        icmp_type=kind,
        icmp_code=0,
        in_interface=_way_out(packet, trace),
        out_interface=packet.in_interface,
        local=True if _BACK[trace.way] is Way.LOCAL_IN else None,
        mac=None,
        packet_type=None,
        mark=0,
        ct_mark=seen[Field.CT_MARK] if tracked else 0,
        state=State.ESTABLISHED if tracked else None,
        reply=tracked,
    )


def _way_out(packet: Packet, trace: Trace) -> str | None:
    """By which interface the packet left, for there the answer comes in."""
    changed = dict(trace.effects.fields).get(Field.OUT)
    if changed is None:
        return packet.out_interface or interface_name(trace.values[Field.OUT])
    if isinstance(changed, int):
        return interface_name(changed)
    raise Undetermined(
        "which way the packet leaves after its translation is not known, and so not where its answer comes in"
    )


def _reversal(packet: Packet, trace: Trace) -> Ruleset:
    """What the kernel does to answers of a translated flow, as chains at its places: the destination before
    routing, where the flow's source was translated; the source behind it, where the destination was."""
    chains: list[Chain] = []
    if trace.effects.source_nat is not None:
        kind = AddressType.LOCAL if trace.way in (Way.LOCAL_OUT, Way.LOOPBACK) else AddressType.UNICAST
        fields = (Field.DESTINATION, Field.DESTINATION_PORT, Field.DESTINATION_TYPE)
        chains += _chains(
            (Hook.PREROUTING, Hook.OUTPUT), -100, fields, packet.source, packet.source_port, kind
        )
    if trace.effects.destination_nat is not None:
        kind = AddressType.UNICAST
        fields = (Field.SOURCE, Field.SOURCE_PORT, Field.SOURCE_TYPE)
        end = (packet.destination, packet.destination_port)
        chains += _chains((Hook.INPUT, Hook.POSTROUTING), 100, fields, *end, kind)
    return Ruleset((Table(REVERSAL, frozenset((packet.family,)), tuple(chains)),))


def _chains(
    hooks: tuple[Hook, ...],
    priority: int,
    fields: tuple[Field, Field, Field],
    address: int,
    port: int | None,
    kind: AddressType,
) -> list[Chain]:
    actions = [SetField(fields[0], address), SetField(fields[2], kind)]
    if port is not None:
        actions.append(SetField(fields[1], port))
    rule = Rule((), tuple(actions), Origin(text="an answer is translated back"))
    kinds = {Hook.OUTPUT: ChainType.ROUTE}  # which gets another way out for another destination
    return [
        Chain(hook.name, (rule,), Base(hook, priority, kinds.get(hook, ChainType.FILTER))) for hook in hooks
    ]
