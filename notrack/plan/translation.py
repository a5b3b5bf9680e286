"""What translation touches, and which ports it may use.

Two kinds of packets are translated: the ones that a translation line names, and their answers, which come
back to the host's own addresses. The first are kept tracked by legs of their own; the second cannot be told
apart from other traffic to the host, except by port. So translation is given one range of ports in which no
untracked service lives and from which the host itself asks nothing untracked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from notrack.packets.address import AddressSet, Family
from notrack.packets.intervals import EMPTY, Interval, IntervalSet
from notrack.plan.box import (
    ICMP_TYPES,
    PORTS,
    PROTOCOLS,
    REACH_ANY,
    REACH_LOCAL,
    REACH_NOT_LOCAL,
    SCTP,
    TCP,
    UDP,
    Box,
    icmp_protocol,
    uncovered,
)
from notrack.plan.flow import Paths
from notrack.plan.ground import Ground, loopback
from notrack.plan.paths import mirrored, narrowed, of_traffic, to_own
from notrack.site.model import Declaration, Interface, Publish, Redirect, Site, SourceTranslation, Traffic
from notrack.text.record import dataclass

# What a range may be cut from. Without a range translation keeps the port it finds, whatever it is, below
# 1024 too: a name server behind the gateway that asks from port 53 comes out at port 53.
TRANSLATED_PORTS = IntervalSet(((1024, 65535),))
WIDEST_RANGES: dict[int, Interval] = dict.fromkeys((TCP, UDP, SCTP), (1024, 65535))
SMALLEST_RANGE = 1000  # ports for each protocol; below this a busy LAN runs out at once
_REQUESTS = {
    Family.IPV4: IntervalSet.of((n, n) for n in (8, 13, 15, 17)),
    Family.IPV6: IntervalSet.of([(128, 128), (139, 139)]),
}
_REPLIES = {
    Family.IPV4: IntervalSet.of((n, n) for n in (0, 14, 16, 18)),
    Family.IPV6: IntervalSet.of([(129, 129), (140, 140)]),
}


@dataclass(frozen=True, slots=True)
class Translation:
    """One translation line in one family.

    `before_in` and `before_out` are what must stay tracked in raw PREROUTING and OUTPUT. `returning`
    are its answers to the host's own addresses, of whatever port; None where there are none.
    """

    declaration: Declaration
    before_in: tuple[Box, ...]
    before_out: tuple[Box, ...]
    returning: Box | None = None


def translations(ground: Ground) -> list[Translation]:
    """Every translation line of a family, in the order of the text."""
    found: list[Translation] = []
    for declaration in ground.declarations:
        match declaration:
            case SourceTranslation():
                found.append(_source(declaration, ground))
            case Publish():
                found.append(_publish(declaration, ground))
            case Redirect():
                found.append(_redirect(declaration, ground))
    return found


def _source(line: SourceTranslation, ground: Ground) -> Translation:
    family = ground.family
    sources = narrowed(line.sources, family)
    beyond = _beyond(line, ground.site, family)
    there = Box(family, source=sources, destination=beyond, reach=REACH_NOT_LOCAL)
    back = mirrored(there).but(reach=REACH_NOT_LOCAL)
    boxes = [there, back]
    if line.address is not None:
        alias = narrowed(line.address, family)
        # An alias that is nobody's address passes through here; at an own one ports keep answers apart.
        boxes += [Box(family, destination=alias, reach=REACH_NOT_LOCAL)]
        boxes += [Box(family, source=alias, reach=REACH_NOT_LOCAL)]
    returning = Box(family, source=beyond, destination=narrowed(line.address, family), reach=REACH_LOCAL)
    return Translation(line, tuple(boxes), (), returning)


def answers(returning: Box, ranges: dict[int, Interval]) -> Iterator[Box]:
    """What translation brings back to the host's own addresses, given the ports that it may use."""
    for protocol in (TCP, UDP, SCTP):
        ports = IntervalSet((ranges[protocol],)) if protocol in ranges else PORTS
        yield returning.but(protocol=IntervalSet.single(protocol), destination_ports=ports)
    icmp = icmp_protocol(returning.family)
    yield returning.but(protocol=IntervalSet.single(icmp), icmp=ICMP_TYPES - _REQUESTS[returning.family])
    yield returning.but(protocol=PROTOCOLS - IntervalSet.of((p, p) for p in (TCP, UDP, SCTP, icmp)))


def _questions(returning: Box, ranges: dict[int, Interval]) -> Iterator[Box]:
    """The host's own packets to which `answers` would be answers."""
    for answer in answers(returning, ranges):
        box = mirrored(answer)
        if box.icmp != ICMP_TYPES:
            box = box.but(icmp=ICMP_TYPES - _REPLIES[returning.family])
        yield box


def apart(paths: Paths, lines: Iterable[Translation], ranges: dict[int, Interval]) -> Paths:
    """The paths of an untracked flow without what translated answers would look like, in both directions.

    For a flow of all ports (a trust): the ports that translation uses, and protocols without ports, stay
    tracked. A flow that names its ports is apart already, since `ranges` leaves them out.
    """
    returning = [line.returning for line in lines if line.returning is not None]
    came = [box for base in returning for box in answers(base, ranges)]
    went = [box for base in returning for box in _questions(base, ranges)]
    return replace(
        paths,
        raw_in=tuple(piece for box in paths.raw_in for piece in uncovered(box, came)),
        raw_out=tuple(piece for box in paths.raw_out for piece in uncovered(box, went)),
    )


def _beyond(line: SourceTranslation, site: Site, family: Family) -> IntervalSet | None:
    """Who is reached through the translated way out: not who is on link at another interface of the site."""
    reached = line.destinations.family(family)
    out = [i for i in site.interfaces if set(i.devices) & set(line.out_devices)]
    if not out:
        return narrowed(line.destinations, family)
    outside = _on_link(out, family)
    inside = _on_link([i for i in site.interfaces if i not in out], family)
    sources = line.sources.family(family)
    if sources != family.whole and sources.isdisjoint(outside):
        inside |= sources
    reached -= inside - outside
    return None if reached == family.whole else reached


def _on_link(interfaces: Iterable[Interface], family: Family) -> IntervalSet:
    found = EMPTY
    for interface in interfaces:
        found |= interface.networks.family(family)
    return found


def _publish(line: Publish, ground: Ground) -> Translation:
    family = ground.family
    own = to_own(line.own, family)
    target = narrowed(line.target, family)
    before_in: list[Box] = []
    before_out: list[Box] = []
    for traffic in line.traffic:
        asked = of_traffic(traffic, own.but(source=narrowed(line.peers, family)))
        before_in.append(asked.but(devices=line.devices))
        before_out.append(from_host(asked, line, ground))
        inner = of_traffic(translated_traffic(traffic, line.port), Box(family, destination=target))
        if is_own(line.target, ground):
            before_in += [inner, mirrored(inner)]
            before_out += [inner, mirrored(inner)]
            continue
        # Behind this host the answer goes to whoever asked; to the host itself, where it asks from.
        asks = inner.but(source_ports=ground.site.ephemeral) if traffic.has_ports else inner
        before_in += [inner.but(reach=REACH_NOT_LOCAL), mirrored(inner).but(reach=REACH_NOT_LOCAL)]
        before_in.append(mirrored(asks).but(reach=REACH_LOCAL))
        before_out.append(asks)
    return Translation(line, tuple(before_in), tuple(before_out))


def is_own(addresses: AddressSet, ground: Ground) -> bool:
    """Whether the site says that an address is the host's own, or it is loopback's."""
    own = loopback(ground.family)
    for interface in ground.site.interfaces:
        own |= interface.addresses.family(ground.family)
    return addresses.family(ground.family) <= own


def _redirect(line: Redirect, ground: Ground) -> Translation:
    family = ground.family
    before_in: list[Box] = []
    before_out: list[Box] = []
    for traffic in line.traffic:
        asked = of_traffic(traffic, redirected(line, family))
        before_in.append(asked)
        if line.own is None:  # what is forwarded may be the answer to it, or look like it
            passing = asked.but(devices=(), reach=REACH_NOT_LOCAL)
            before_in += [passing, mirrored(passing).but(reach=REACH_NOT_LOCAL)]
        before_out.append(from_host(of_traffic(traffic, to_own(line.own, family)), line, ground))
        inner = of_traffic(translated_traffic(traffic, line.port), to_own(None, family))
        before_in.append(inner)
        before_out += [inner, mirrored(inner)]
    return Translation(line, tuple(before_in), tuple(before_out))


def redirected(line: Redirect, family: Family) -> Box:
    """What a redirect takes from the wire: to whatever address, unless `at` narrows."""
    return Box(
        family,
        source=narrowed(line.peers, family),
        destination=narrowed(line.own, family),
        reach=REACH_ANY if line.own is None else REACH_LOCAL,
        devices=line.devices,
    )


def from_host(asked: Box, line: Publish | Redirect, ground: Ground) -> Box:
    """The host's own packets to what it publishes.

    OUTPUT knows no way in: the addresses of the interfaces of `on` stand for it, where the site gives them;
    else any own address but loopback's.
    """
    box = asked.but(source=None, devices=())
    if line.own is not None:
        return box
    there = EMPTY
    for interface in ground.site.interfaces:
        if set(interface.devices) & set(line.devices):
            there |= interface.addresses.family(ground.family)
    return box.but(destination=there or ground.family.whole - loopback(ground.family))


def translated_traffic(traffic: Traffic, port: int | None) -> Traffic:
    """What is asked of the target: the same ports, or the one that the line names."""
    if port is None or not traffic.has_ports:
        return traffic
    return Traffic(traffic.protocol, IntervalSet.single(port))


def port_range(taken: IntervalSet) -> Interval | None:
    """The widest gap that translation may use, or None when there is none. `taken` empty: all ports."""
    left = TRANSLATED_PORTS - taken
    return left.widest() if left else None
