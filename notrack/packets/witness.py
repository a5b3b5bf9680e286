"""A member of a set of packets that reads well: ordinary values wherever the set leaves a choice."""

from __future__ import annotations

import ipaddress
from bisect import bisect_left
from collections.abc import Iterable

from notrack.packets.address import Family
from notrack.packets.diagram import EMPTY, Diagrams
from notrack.packets.fields import (
    BITWISE,
    NO_ICMP_TYPE,
    NO_INTERFACE,
    NO_MAC,
    AddressType,
    Field,
    Fragment,
    PacketType,
    State,
    interface_prefix,
    interface_value,
    presence,
)
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet import PLAIN_LENGTH, Packet, packet_of
from notrack.packets.questions import edge_values
from notrack.packets.space import Space
from notrack.text.record import dataclass

_EPHEMERAL = IntervalSet(((32768, 60999),))
_LETTERS = IntervalSet.of((ord(c) << 112, ((ord(c) + 1) << 112) - 1) for c in "abcdefghijklmnopqrstuvwxyz")


def _networks(*texts: str) -> list[IntervalSet]:
    """For each network first its usual host, then the rest of it."""
    out: list[IntervalSet] = []
    for text in texts:
        host, _, length = text.partition("/")
        network = ipaddress.ip_network(f"{host}/{length}", strict=False)
        low, high = int(network.network_address), int(network.broadcast_address)
        out += [IntervalSet.single(int(ipaddress.ip_address(host))), IntervalSet(((low + 1, high - 1),))]
    return out


def _values(*values: int | tuple[int, int]) -> list[IntervalSet]:
    return [IntervalSet(((v, v),) if isinstance(v, int) else (v,)) for v in values]


_INTERFACES = [
    *[IntervalSet.single(interface_value(name)) for name in ("eth0", "eth1", "eth2", "wan", "lan")],
    *[interface_prefix(prefix) for prefix in ("eth", "en", "wg")],
    _LETTERS,
]
_LIKED: dict[Field, list[IntervalSet]] = {
    Field.STATE: _values(State.NEW, State.UNTRACKED, State.ESTABLISHED, State.INVALID),
    Field.IN: [IntervalSet.single(NO_INTERFACE), *_INTERFACES],
    Field.OUT: [IntervalSet.single(NO_INTERFACE), *_INTERFACES],
    Field.BRIDGE_IN: [IntervalSet.single(NO_INTERFACE), *_INTERFACES],
    Field.BRIDGE_OUT: [IntervalSet.single(NO_INTERFACE), *_INTERFACES],
    Field.DESTINATION_TYPE: _values(AddressType.LOCAL, AddressType.UNICAST, AddressType.MULTICAST),
    Field.SOURCE_TYPE: _values(AddressType.UNICAST, AddressType.LOCAL),
    Field.PROTOCOL: _values(6, 17, 1, 58, 132, 47, 50),
    Field.FRAGMENT: _values(Fragment.WHOLE),
    Field.ICMP_TYPE: _values(8, 128, 3, 2, 0, 129, (0, NO_ICMP_TYPE - 1)),
    Field.ICMP_CODE: _values(0),
    Field.DESTINATION_PORT: _values(80, 443, 22, 53, 8080, 40000, (1024, 65535), (1, 1023)),
    Field.SOURCE_PORT: _values(40000, (32768, 60999), (1024, 65535), 80, 443, 53, (1, 1023)),
    Field.FLAGS: _values(2, 16, 18, 24, 17, 4, 20),
    Field.MAC: _values(NO_MAC, 0x02_00_00_00_00_01, (0x02_00_00_00_00_00, 0x02_FF_FF_FF_FF_FF)),
    Field.PACKET_TYPE: _values(PacketType.HOST),
    Field.LENGTH: _values(PLAIN_LENGTH, (PLAIN_LENGTH, 1500)),
    Field.TTL: _values(64, (1, 255)),
    Field.TOS: _values(0),
}
_ABSENT: dict[Field, list[IntervalSet]] = {
    Field.ICMP_TYPE: _values(NO_ICMP_TYPE),
    Field.ICMP_CODE: _values(0),
    Field.SOURCE_PORT: _values(0),
    Field.DESTINATION_PORT: _values(0),
    Field.FLAGS: _values(0),
}
_ADDRESSES = {
    (Field.SOURCE, Family.IPV4): _networks("203.0.113.9/24", "192.0.2.9/24", "10.0.0.9/8", "192.168.1.9/16"),
    (Field.DESTINATION, Family.IPV4): _networks(
        "198.51.100.1/24", "192.0.2.1/24", "10.0.0.1/8", "192.168.1.1/16"
    ),
    (Field.SOURCE, Family.IPV6): _networks("2001:db8:9::9/48", "2001:db8::9/32", "fd00::9/8", "fe80::9/64"),
    (Field.DESTINATION, Family.IPV6): _networks(
        "2001:db8:1::1/48", "2001:db8::1/32", "fd00::1/8", "fe80::1/64"
    ),
}
_UNICAST = {
    Family.IPV4: _values((0x01000001, 0x7EFFFFFE), (0x80000001, 0xDFFFFFFE)),
    Family.IPV6: _values((0x2000 << 112, (0x4000 << 112) - 1)),
}


@dataclass(frozen=True, slots=True)
class Witness:
    """A packet of a set, and the free facts that must hold (or not) for it to be there."""

    packet: Packet
    facts: tuple[tuple[str, bool], ...] = ()

    def __str__(self) -> str:
        notes = [name if holds else f"not {name}" for name, holds in self.facts]
        return f"{self.packet}" + (f" (if {', '.join(notes)})" if notes else "")


def witness(space: Space, diagram: int) -> Witness | None:
    """A member of the set, or None if it is empty. The same set always gives the same member."""
    if diagram == EMPTY:
        return None
    chosen: dict[int, int] = {}
    values: dict[Field, int] = {}
    for field, levels in space.levels.items():
        if field in BITWISE:
            number = 0
            for level in levels:
                bit, diagram = _step(space, diagram, level, [])
                number = 2 * number + bit
            values[field] = number
        elif levels:
            liked = _liked(field, space, diagram) if _has(field, values, space.family) else _ABSENT[field]
            values[field], diagram = _step(space, diagram, levels[0], liked)
    if values[Field.LENGTH] == PLAIN_LENGTH:
        del values[Field.LENGTH]
    facts: list[tuple[str, bool]] = []
    for name, level in space.names.items():
        asked = space.level(diagram) == level
        chosen[level], diagram = _step(space, diagram, level, [])
        if asked:
            facts.append((name, bool(chosen[level])))
    return Witness(packet_of(values, space.family), tuple(facts))


def _has(field: Field, values: dict[Field, int], family: Family) -> bool:
    """Whether a packet with the values that are chosen so far has a field."""
    needed = presence(field, family)
    return all(other is field or values[other] in allowed for other, allowed in needed.items())


def _liked(field: Field, space: Space, diagram: int) -> list[IntervalSet]:
    if field in (Field.SOURCE, Field.DESTINATION):
        return _ADDRESSES[field, space.family] + _UNICAST[space.family]
    if field is Field.DESTINATION_PORT and space.project(diagram, Field.SOURCE_PORT).isdisjoint(_EPHEMERAL):
        return _LIKED[Field.SOURCE_PORT]  # an answer: from a port of a service to an ephemeral one
    return _LIKED.get(field, [])


def _step(store: Diagrams, diagram: int, level: int, liked: Iterable[IntervalSet]) -> tuple[int, int]:
    """A value for one level, and what the diagram is behind it."""
    if store.level(diagram) > level:
        allowed = IntervalSet(((0, store.tops[level]),))
    else:
        allowed = IntervalSet.of(edge_values(store, diagram))
    best = next((both for wish in liked if (both := wish & allowed)), allowed)
    value = best.least()
    if store.level(diagram) == level:
        _, cuts, kids = store.nodes[diagram]
        diagram = kids[bisect_left(cuts, value)]
    return value, diagram


def member(space: Space, diagram: int, packet: Packet, facts: dict[str, bool] | None = None) -> bool:
    """Whether a packet lies in a set; a free fact that is not named does not hold."""
    return leaf(space, diagram, packet, facts) != EMPTY


def leaf(space: Space, diagram: int, packet: Packet, facts: dict[str, bool] | None = None) -> int:
    """The leaf that a packet reaches; a free fact that is not named does not hold."""
    found = packet.values()
    values = [0] * len(space.tops)
    for field, levels in space.levels.items():
        if field in BITWISE:
            for bit, level in enumerate(reversed(levels)):
                values[level] = found[field] >> bit & 1
        elif levels:
            values[levels[0]] = found[field]
    for name, holds in (facts or {}).items():
        if name in space.names:
            values[space.names[name]] = int(holds)
    return space.follow(diagram, values)
