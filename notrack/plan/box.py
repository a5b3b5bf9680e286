"""Packets as the plan speaks of them: one box, the product of a set for each header field.

Unions are plain lists of boxes; the few exact questions that planning asks (do two share a packet, does a
list cover a box, which packet shows it) are answered by cutting boxes into smaller ones.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import replace

from notrack.packets.address import Family, address_text
from notrack.packets.intervals import IntervalSet
from notrack.text.record import dataclass

TCP, UDP, SCTP = 6, 17, 132
WITH_PORTS = IntervalSet.of([(TCP, TCP), (UDP, UDP), (SCTP, SCTP)])
PROTOCOLS = IntervalSet(((0, 255),))
PORTS = IntervalSet(((0, 65535),))
ICMP_TYPES = IntervalSet(((0, 255),))


class Reach(enum.Enum):
    """What a destination address is to the host: `fib daddr type`, `addrtype --dst-type`."""

    LOCAL = "local"
    BROADCAST = "broadcast"
    MULTICAST = "multicast"
    ELSEWHERE = "elsewhere"


REACH_ANY = frozenset(Reach)
REACH_LOCAL = frozenset({Reach.LOCAL})
REACH_BROADCAST = frozenset({Reach.BROADCAST})
REACH_NOT_LOCAL = REACH_ANY - REACH_LOCAL


class Flags(enum.Enum):
    """TCP flags that a leg asks for; tells nothing about other protocols."""

    ANY = "any"
    NO_BARE_SYN = "no bare syn"  # of FIN, SYN, RST, ACK not SYN alone
    ANSWER = "answer"  # ACK or RST
    BARE_SYN = "bare syn"
    SYN = "syn"  # SYN without RST: both packets that carry options, for the MSS


@dataclass(frozen=True, slots=True)
class Box:
    """A product of field sets of one family. Ports hold for tcp, udp, sctp; ICMP types for ICMP alone.

    `devices` and `out_devices` are device patterns (`wg*`); empty means every device.
    """

    family: Family
    protocol: IntervalSet = PROTOCOLS
    source: IntervalSet | None = None  # None: every address
    destination: IntervalSet | None = None
    source_ports: IntervalSet = PORTS
    destination_ports: IntervalSet = PORTS
    icmp: IntervalSet = ICMP_TYPES
    reach: frozenset[Reach] = REACH_ANY
    flags: Flags = Flags.ANY
    devices: tuple[str, ...] = ()
    out_devices: tuple[str, ...] = ()
    later_fragment: bool = False  # only fragments after the first, which have no ports

    def sources(self) -> IntervalSet:
        return self.family.whole if self.source is None else self.source

    def destinations(self) -> IntervalSet:
        return self.family.whole if self.destination is None else self.destination

    def but(self, **changes: object) -> Box:
        """The same box with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def is_empty(self) -> bool:
        return not (
            self.protocol
            and self.sources()
            and self.destinations()
            and self.source_ports
            and self.destination_ports
            and self.icmp
            and self.reach
        )


def icmp_protocol(family: Family) -> int:
    return 1 if family is Family.IPV4 else 58


def shared(a: Box, b: Box) -> Box | None:
    """The packets of both; None when there are none. Flags are compared coarsely: they always may meet."""
    if _apart(a, b):
        return None
    return replace(
        a,
        protocol=a.protocol & b.protocol,
        source=_meet(a.source, b.source),
        destination=_meet(a.destination, b.destination),
        source_ports=a.source_ports & b.source_ports,
        destination_ports=a.destination_ports & b.destination_ports,
        icmp=a.icmp & b.icmp,
        reach=a.reach & b.reach,
        devices=_devices_meet(a.devices, b.devices),
        out_devices=_devices_meet(a.out_devices, b.out_devices),
    )


def _apart(a: Box, b: Box) -> bool:
    """Whether two boxes share no packet; the fields that differ most often first."""
    return (
        not a.destination_ports & b.destination_ports
        or not a.source_ports & b.source_ports
        or not a.protocol & b.protocol
        or not a.reach & b.reach
        or (a.source is not None and b.source is not None and not a.source & b.source)
        or (a.destination is not None and b.destination is not None and not a.destination & b.destination)
        or not a.icmp & b.icmp
        or not (_meeting(a.devices, b.devices) and _meeting(a.out_devices, b.out_devices))
        or a.is_empty()
        or b.is_empty()
    )


def within(a: Box, b: Box) -> bool:
    """Whether every packet of `a` is one of `b`."""
    return (
        a.protocol <= b.protocol
        and (b.source is None or a.sources() <= b.source)
        and (b.destination is None or a.destinations() <= b.destination)
        and a.source_ports <= b.source_ports
        and a.destination_ports <= b.destination_ports
        and a.icmp <= b.icmp
        and a.reach <= b.reach
        and (b.flags is Flags.ANY or a.flags is b.flags or _stricter(a.flags, b.flags))
        and _devices_within(a.devices, b.devices)
        and _devices_within(a.out_devices, b.out_devices)
        and a.later_fragment == b.later_fragment
    )


def covered(box: Box, cover: Iterable[Box]) -> bool:
    """Whether the boxes of `cover` together hold every packet of `box`."""
    cover = list(cover)
    if not box.is_empty() and not any(_may_hold(other, _corner(box)) for other in cover):
        return False
    return not uncovered(box, cover)


def _corner(box: Box) -> dict[str, int]:
    """The greatest value of every number: of a wide box a packet that hardly any other box holds."""
    return {name: _values(box, name).spans[-1][1] for name in _NUMERIC}


def _may_hold(box: Box, packet: dict[str, int]) -> bool:
    """Whether the numbers of a packet are in the box, whatever else it asks for."""
    return all(value in _values(box, name) for name, value in packet.items())


def uncovered(box: Box, cover: Iterable[Box]) -> list[Box]:
    """What is left of `box` without the boxes of `cover`, as disjoint boxes."""
    left = [] if box.is_empty() else [box]
    for taken in cover:
        left = [piece for whole in left for piece in _minus(whole, taken)]
        if not left:
            break
    return left


_NUMERIC = ("protocol", "source", "destination", "source_ports", "destination_ports", "icmp")


def _minus(a: Box, b: Box) -> list[Box]:
    """`a` without `b`; device and flag conditions of `b` must hold for all of `a`, or nothing is taken."""
    if not _devices_within(a.devices, b.devices) or not _devices_within(a.out_devices, b.out_devices):
        return [a]
    if not (b.flags is Flags.ANY or a.flags is b.flags or _stricter(a.flags, b.flags)):
        return [a]
    if shared(a, b) is None or a.later_fragment != b.later_fragment:
        return [a]
    pieces: list[Box] = []
    rest = a
    for name in _NUMERIC:
        mine, theirs = _values(rest, name), _values(b, name)
        outside = mine - theirs
        if outside:
            pieces.append(rest.but(**{name: outside}))
            rest = rest.but(**{name: mine & theirs})
    if rest.reach - b.reach:
        pieces.append(rest.but(reach=rest.reach - b.reach))
    return pieces


def _values(box: Box, name: str) -> IntervalSet:
    if name == "source":
        return box.sources()
    if name == "destination":
        return box.destinations()
    value = getattr(box, name)
    assert isinstance(value, IntervalSet)
    return value


def _meet(a: IntervalSet | None, b: IntervalSet | None) -> IntervalSet | None:
    if a is None:
        return b
    return a if b is None else a & b


def _stricter(a: Flags, b: Flags) -> bool:
    """Whether flags `a` imply flags `b`."""
    return (a, b) in {(Flags.ANSWER, Flags.NO_BARE_SYN), (Flags.BARE_SYN, Flags.SYN)}


def device_matches(pattern: str, device: str) -> bool:
    """Whether a device, or every device of a pattern, is matched by `pattern`."""
    if pattern.endswith("*"):
        return device.startswith(pattern[:-1])
    return pattern == device


def _pair_meets(a: str, b: str) -> bool:
    return device_matches(a, b) or device_matches(b, a)


def _meeting(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    return not a or not b or any(_pair_meets(x, y) for x in a for y in b)


def _devices_meet(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    if not a or not b:
        return a or b
    return tuple(dict.fromkeys(x if device_matches(y, x) else y for x in a for y in b if _pair_meets(x, y)))


def _devices_within(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    return not b or (bool(a) and all(any(device_matches(y, x) for y in b) for x in a))


def absorb(boxes: Iterable[Box]) -> list[Box]:
    """The boxes without those that lie wholly in another one; the order stays."""
    kept: list[Box] = []
    for box in boxes:
        if any(within(box, other) for other in kept):
            continue
        kept = [other for other in kept if not within(other, box)]
        kept.append(box)
    return kept


def witness(box: Box) -> str:
    """One packet of the box, in the notation of `notrack trace`; prefers ordinary-looking values."""
    protocol = _ordinary_protocol(box)
    source = _ordinary_address(box.sources(), box.family, 0)
    destination = _ordinary_address(box.destinations(), box.family, 1)
    if protocol in (TCP, UDP, SCTP):
        name = {TCP: "tcp", UDP: "udp", SCTP: "sctp"}[protocol]
        left = _endpoint(source, _ordinary_port(box.source_ports), box.family)
        right = _endpoint(destination, _ordinary_port(box.destination_ports), box.family)
        text = f"{name} {left} > {right}"
    elif protocol == icmp_protocol(box.family):
        name = "icmp" if box.family is Family.IPV4 else "icmpv6"
        text = f"{name} {source} > {destination} type {box.icmp.least()}"
    else:
        text = f"proto {protocol} {source} > {destination}"
    if box.reach == REACH_LOCAL and box.destination is None:
        text += " to host"
    if box.devices:
        text += f" in {box.devices[0].replace('*', '0')}"
    if box.out_devices:
        text += f" out {box.out_devices[0].replace('*', '0')}"
    return text


def _ordinary_protocol(box: Box) -> int:
    narrow = box.source_ports != PORTS or box.destination_ports != PORTS
    for protocol in (TCP, UDP, icmp_protocol(box.family)):
        if protocol in box.protocol and not (narrow and protocol not in WITH_PORTS):
            return protocol
    return box.protocol.least()


_ORDINARY = {
    Family.IPV4: (0xCB007109, 0xC6336401),  # 203.0.113.9, 198.51.100.1
    Family.IPV6: (0x20010DB8_00090000_00000000_00000009, 0x20010DB8_00010000_00000000_00000001),
}


def _ordinary_address(addresses: IntervalSet, family: Family, side: int) -> str:
    wanted = _ORDINARY[family][side]
    if wanted in addresses:
        return address_text(wanted, family)
    low, high = addresses.spans[0]
    return address_text(low + 1 if high > low + 1 else low, family)


def _ordinary_port(ports: IntervalSet) -> int:
    for wanted in (40000, 20000):
        if wanted in ports and len(ports.spans) <= 2:
            return wanted
    return ports.least()


def _endpoint(address: str, port: int, family: Family) -> str:
    return f"{address}:{port}" if family is Family.IPV4 else f"[{address}]:{port}"
