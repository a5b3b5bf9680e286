"""What pieces of rules are called in a site: which of them one declaration says, and under which name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from notrack.draft.pieces import PORTED, Piece
from notrack.packets.address import ANY, AddressSet, Family
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet import PROTOCOL_NAMES
from notrack.plan.words import address_words, port_words
from notrack.site import model
from notrack.site.tables.service_names import SERVICE_PORTS
from notrack.text.record import dataclass


@dataclass
class Group:
    """Pieces that differ in the peers of their families alone, and in protocols of one name."""

    pieces: list[Piece]

    def peers(self, side: str) -> AddressSet:
        """The addresses of a side, for all families."""
        spans: dict[Family, IntervalSet] = {}
        for piece in self.pieces:
            values = getattr(piece, side)
            values = piece.family.whole if values is None else values
            spans[piece.family] = spans.get(piece.family, IntervalSet()) | values
        there = AddressSet(spans.get(Family.IPV4, IntervalSet()), spans.get(Family.IPV6, IntervalSet()))
        whole = all(spans[family] == family.whole for family in spans)
        return ANY if whole else there

    def own(self) -> AddressSet | None:
        if all(piece.destinations is None for piece in self.pieces):
            return None
        return self.peers("destinations")

    @property
    def families(self) -> frozenset[Family]:
        """Both, unless the pieces are of one alone."""
        return frozenset(piece.family for piece in self.pieces)

    @property
    def protocols(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(p for piece in self.pieces for p in piece.protocols or ()))


def groups(pieces: Iterable[Piece], peer: str | None = "sources") -> list[Group]:
    """Pieces that one declaration says together: the same but for their family and their peers."""
    found: dict[tuple[object, ...], Group] = {}
    for piece in pieces:
        bound = (piece.sources is None, piece.destinations is None)
        key = (piece.protocols, piece.ports, piece.source_ports, piece.devices, piece.out_devices, bound)
        group = found.setdefault(key, Group([]))
        clash = any(
            one.family is piece.family
            and any(
                getattr(one, side) != getattr(piece, side)
                for side in ("sources", "destinations")
                if side != peer
            )
            for one in group.pieces
        )
        if clash:
            found[(*key, len(found))] = Group([piece])
        else:
            group.pieces.append(piece)
    return list(found.values())


def traffic_of(piece: Piece) -> tuple[model.Traffic, ...]:
    """What a piece asks for; nothing for all protocols."""
    return tuple(
        model.Traffic(
            protocol, piece.ports if piece.ports is not None and protocol in PORTED else model.ALL_PORTS
        )
        for protocol in piece.protocols or ()
    )


def named(piece: Piece, protocols: Sequence[int]) -> Iterator[tuple[str, tuple[model.Traffic, ...]]]:
    """Traffic under the names that people know: well-known ports each by itself, the rest together."""
    if piece.ports is None or not set(protocols) <= set(PORTED):
        names = [PROTOCOL_NAMES.get(p, f"proto-{p}") for p in protocols] or ["anything"]
        yield "-".join(names[:2]), tuple(model.Traffic(p) for p in protocols)
        return
    by_name: dict[str, list[int]] = {}
    rest = piece.ports
    if sum(1 for low, high in piece.ports if low == high) <= 40:
        for low, high in piece.ports:
            if low == high and (name := _WELL_KNOWN.get(low)):
                by_name.setdefault(name, []).append(low)
                rest = rest - IntervalSet.single(low)
    for name, ports in by_name.items():
        values = IntervalSet.of((port, port) for port in ports)
        yield name, tuple(model.Traffic(p, values) for p in protocols)
    if rest:
        label = "-".join(PROTOCOL_NAMES[p] for p in protocols)
        low, high = next(iter(rest))
        yield (
            f"{label}-{low}" + (f"-{high}" if high != low else ""),
            tuple(model.Traffic(p, rest) for p in protocols),
        )


_WELL_KNOWN: dict[int, str] = {}
for _name, _port in SERVICE_PORTS.items():
    _WELL_KNOWN.setdefault(_port, _name)
_WELL_KNOWN |= {53: "dns", 80: "web", 443: "web"}


def words(piece: Piece) -> str:
    """A piece as messages name it."""
    parts = [
        ", ".join(PROTOCOL_NAMES.get(p, f"protocol {p}") for p in (piece.protocols or ())[:4]) or "everything"
    ]
    if piece.ports is not None:
        parts.append(f"port {port_words(piece.ports)}")
    if piece.source_ports is not None:
        parts.append(f"from port {port_words(piece.source_ports)}")
    if piece.sources is not None:
        parts.append(f"from {address_words(piece.sources, piece.family)}")
    if piece.destinations is not None:
        parts.append(f"to {address_words(piece.destinations, piece.family)}")
    if piece.devices:
        parts.append(f"in {', '.join(piece.devices)}")
    return " ".join(parts)
