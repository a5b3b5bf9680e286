"""What rules let through, in pieces that a declaration can say: products of ports, peers and interfaces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from notrack.packets.address import Family
from notrack.packets.diagram import EMPTY
from notrack.packets.fields import Field, interface_name, interface_prefix, interface_value
from notrack.packets.intervals import IntervalSet
from notrack.packets.space import Space
from notrack.proof.difference_boxes import Box, cover
from notrack.text.record import dataclass

MOST = 400  # pieces of one way; what needs more is said to be left out
PORTED = (6, 17, 132)
_UNSAID = {
    Field.MAC: "MAC addresses",
    Field.LENGTH: "packet lengths",
    Field.TTL: "the TTL",
    Field.TOS: "TOS or DSCP",
    Field.FLAGS: "TCP flags",
    Field.FRAGMENT: "fragments",
    Field.ICMP_CODE: "ICMP codes",
    Field.PACKET_TYPE: "kinds of frames",
}


@dataclass(frozen=True, slots=True)
class Piece:
    """Packets of one family. `protocols` None: every protocol (but ICMP). Addresses None: all of them.

    `devices`, `out_devices`: names or patterns; empty for all.
    """

    family: Family
    protocols: tuple[int, ...] | None
    ports: IntervalSet | None
    sources: IntervalSet | None = None
    destinations: IntervalSet | None = None
    devices: tuple[str, ...] = ()
    out_devices: tuple[str, ...] = ()
    source_ports: IntervalSet | None = None
    icmp_types: IntervalSet | None = None


@dataclass(frozen=True, slots=True)
class Pieces:
    """Pieces that together are a set; `left`: what could not be said, in words."""

    found: tuple[Piece, ...]
    left: tuple[str, ...] = ()


class UnknownDevices(Exception):
    """Interfaces that have no common name or pattern."""


def pieces(space: Space, packets: int, domain: int, known: tuple[str, ...]) -> Pieces:
    """A set of packets inside a domain, in pieces. `known`: the devices that the rules or the host name."""
    found: list[Piece] = []
    left: list[str] = []
    made = cover(space, packets, domain, MOST)
    for box, _ in made.boxes:
        others = [_UNSAID[field] for field, _ in box.fields if field in _UNSAID]
        if box.marked:
            others.append("marks")
        try:
            parts = list(_of_box(space.family, box, known))
        except UnknownDevices:
            parts, others = [], [*others, "interfaces without a common name"]
        if others:
            left.append(" and ".join(dict.fromkeys(others)))
        else:
            found += parts
    if made.rest != EMPTY:
        left.append(f"more than {MOST} kinds of packets")
    return Pieces(tuple(dict.fromkeys(found)), tuple(dict.fromkeys(left)))


def _of_box(family: Family, box: Box, known: tuple[str, ...]) -> Iterator[Piece]:
    """The pieces of a box: ports belong to the protocols that have them."""
    named = box.get(Field.PROTOCOL)
    protocols = (
        None if named is None else tuple(v for low, high in named.values for v in range(low, high + 1))
    )
    bounds = {field: bound.values for field, bound in box.fields}
    ports, source_ports = bounds.get(Field.DESTINATION_PORT), bounds.get(Field.SOURCE_PORT)
    common = Piece(
        family,
        protocols,
        None,
        bounds.get(Field.SOURCE),
        bounds.get(Field.DESTINATION),
        _devices(bounds.get(Field.IN), known),
        _devices(bounds.get(Field.OUT), known),
        icmp_types=bounds.get(Field.ICMP_TYPE),
    )
    if ports is None and source_ports is None:
        yield common
        return
    zero = IntervalSet.single(0)
    chosen = [p for p in (protocols or PORTED) if p in PORTED]
    if chosen:
        yield replace(
            common,
            protocols=tuple(chosen),
            ports=None if ports is None else ports - zero,
            source_ports=None if source_ports is None else source_ports - zero,
        )
    rest = tuple(p for p in protocols or () if p not in PORTED)
    without = all(values is None or 0 in values for values in (ports, source_ports))
    if rest and without:
        yield replace(common, protocols=rest)


def _devices(values: IntervalSet | None, known: tuple[str, ...]) -> tuple[str, ...]:
    """Names or patterns of interfaces. Where all but some are meant: those known that are among them."""
    if values is None:
        return ()
    names: list[str] = []
    for low, high in values:
        if low == high:
            names.append(interface_name(low) or "")
            continue
        name = (interface_name(low) or "").rstrip("\0")
        pattern = next(
            (name[:n] for n in range(len(name), 0, -1) if interface_prefix(name[:n]).spans == ((low, high),)),
            None,
        )
        if pattern is None:
            return _among(values, known)
        names.append(f"{pattern}*")
    return tuple(names)


def _among(values: IntervalSet, known: tuple[str, ...]) -> tuple[str, ...]:
    found = tuple(name for name in known if interface_value(name) in values and name != "lo")
    if not found:
        raise UnknownDevices
    return found
