"""How the plan speaks of addresses, ports and protocols to a person."""

from __future__ import annotations

from notrack.packets.address import Family, prefix_text, prefixes
from notrack.packets.intervals import IntervalSet
from notrack.plan.box import PORTS, PROTOCOLS, Box, icmp_protocol
from notrack.plan.ground import label

_FEW = 4


def port_items(ports: IntervalSet, dash: str = "-") -> list[str]:
    """Ports as `80` and `8000-8010`; all ports give an empty list."""
    if ports == PORTS:
        return []
    return [str(low) if low == high else f"{low}{dash}{high}" for low, high in ports]


def port_words(ports: IntervalSet) -> str:
    items = port_items(ports)
    return _few(items) if items else "any port"


def address_words(addresses: IntervalSet | None, family: Family) -> str:
    """Addresses in a few words: `any`, up to four prefixes, or all but a few."""
    if addresses is None or addresses == family.whole:
        return "anywhere"
    listed = [prefix_text(value, length, family) for value, length in prefixes(addresses, family)]
    rest = family.whole - addresses
    if len(listed) > _FEW and len(list(prefixes(rest, family))) < len(listed):
        return f"anywhere except {address_words(rest, family)}"
    return _few(listed)


def _few(items: list[str]) -> str:
    if len(items) <= _FEW:
        return ", ".join(items)
    return ", ".join(items[: _FEW - 1]) + f" and {len(items) - _FEW + 1} more"


def protocol_words(protocol: IntervalSet, family: Family) -> str:
    if protocol == PROTOCOLS:
        return "any protocol"
    names = []
    for low, high in protocol:
        if low == high:
            names.append("icmp" if low == icmp_protocol(family) else label(low))
        else:
            names.append(f"protocols {low}-{high}")
    return ", ".join(names)


def box_words(box: Box) -> str:
    """A box in one phrase: `tcp from anywhere to port 80`."""
    text = protocol_words(box.protocol, box.family)
    text += f" from {address_words(box.source, box.family)}"
    if box.source_ports != PORTS:
        text += f" port {port_words(box.source_ports)}"
    if box.destination is not None:
        text += f" to {address_words(box.destination, box.family)}"
    if box.destination_ports != PORTS:
        text += (
            f" to port {port_words(box.destination_ports)}"
            if box.destination is None
            else f" port {port_words(box.destination_ports)}"
        )
    return text
