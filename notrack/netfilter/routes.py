"""The routes of a host: by which interfaces packets to some addresses leave."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from notrack.packets.address import Family
from notrack.packets.fields import NO_INTERFACE, interface_value
from notrack.packets.intervals import IntervalSet
from notrack.text.record import dataclass


@dataclass(frozen=True, slots=True)
class Route:
    """Packets to a network leave by an interface; an empty name: they do not, the route drops them.

    Of several routes to one network any may be taken.
    """

    network: ipaddress.IPv4Network | ipaddress.IPv6Network
    interface: str


def ways_out(routes: Iterable[Route] | None, addresses: IntervalSet, family: Family) -> IntervalSet | None:
    """The interfaces (values of `Field.OUT`) by which packets to one of the addresses may leave.

    The longest prefix decides. None: not known, or no packet leaves to some of the addresses.
    """
    if routes is None:
        return None
    found: set[int] = set()
    rest, taken, length = addresses, IntervalSet(), -1
    version = 4 if family is Family.IPV4 else 6
    for route in sorted(
        (one for one in routes if one.network.version == version), key=lambda one: -one.network.prefixlen
    ):
        if route.network.prefixlen != length:
            rest, taken, length = rest - taken, IntervalSet(), route.network.prefixlen
        span = IntervalSet(((int(route.network.network_address), int(route.network.broadcast_address)),))
        if not rest.isdisjoint(span):
            found.add(interface_value(route.interface))
            taken |= span
    if rest - taken or NO_INTERFACE in found:
        return None
    return IntervalSet.of((value, value) for value in found)
