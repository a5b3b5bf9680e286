"""Packets in an operator's words: `tcp port 80`, `udp ports 53, 123 of 192.0.2.1`."""

from __future__ import annotations

from notrack.lint.shapes import Asks, Shape, asking, shape
from notrack.packets.address import Family, prefix_text, prefixes
from notrack.packets.fields import ICMP_PROTOCOL, PORT_PROTOCOLS
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet import PROTOCOL_NAMES, icmp_name
from notrack.packets.packet_set import PacketSet

_SHOWN = 4
_PORTS = IntervalSet(((0, 65535),))


def traffic(packets: PacketSet) -> str:
    """What the packets are, by protocol and by the port of whoever serves; by addresses where nothing else
    tells."""
    one, family = shape(packets), packets.space.family
    words = [word for word in (_protocols(one, family), _port(one, asking(packets))) if word]
    if words:
        return " ".join(words)
    ends = _ends(one, family)
    return f"traffic {ends}" if ends else "all traffic"


def peers(packets: PacketSet) -> str:
    """The addresses that a set is limited to, as ` from 10.0.0.0/8`; empty where it is not."""
    ends = _ends(shape(packets), packets.space.family)
    return f" {ends}" if ends else ""


def _protocols(one: Shape, family: Family) -> str:
    if one.protocols.size() > _SHOWN:
        return ""
    if one.protocols == IntervalSet.single(ICMP_PROTOCOL[family]):
        return f"{PROTOCOL_NAMES[ICMP_PROTOCOL[family]]}{_kinds(one.icmp, family)}"
    numbers = [number for low, high in one.protocols for number in range(low, high + 1)]
    return " and ".join(PROTOCOL_NAMES.get(number, f"protocol {number}") for number in numbers)


def _kinds(kinds: IntervalSet, family: Family) -> str:
    if not kinds or kinds.size() > _SHOWN:
        return ""
    names = [icmp_name(kind, family) for low, high in kinds for kind in range(low, high + 1)]
    return f" {', '.join(names)}"


def _port(one: Shape, asks: Asks) -> str:
    if one.protocols.isdisjoint(PORT_PROTOCOLS):
        return ""
    side = one.source_port if asks is Asks.ANSWER else one.destination_port
    if side == _PORTS or side.size() > 32768:
        return "" if side == _PORTS else "ports"
    return f"port{'s' if side.size() > 1 else ''} {_listed(side)}"


def _listed(ports: IntervalSet) -> str:
    texts = [str(low) if low == high else f"{low}-{high}" for low, high in ports]
    more = len(texts) - _SHOWN
    return ", ".join(texts[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _ends(one: Shape, family: Family) -> str:
    words = [("from", one.source), ("to", one.destination)]
    made: list[str] = []
    for word, addresses in words:
        found = list(prefixes(addresses, family)) if len(addresses.spans) <= _SHOWN else []
        if len(found) == 1 and found[0][1] > 0:
            made.append(f"{word} {prefix_text(*found[0], family)}")
    return " ".join(made)
