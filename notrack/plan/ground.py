"""What a family of a site looks like from above: which ports are served, which are the host's own."""

from __future__ import annotations

from dataclasses import replace

from notrack.packets.address import AddressSet, Family
from notrack.packets.intervals import EMPTY, IntervalSet
from notrack.plan.box import SCTP, TCP, UDP
from notrack.site.model import (
    Block,
    Client,
    Declaration,
    Icmp,
    Peer,
    Publish,
    Redirect,
    Route,
    Service,
    Site,
    SourceTranslation,
    Trust,
)
from notrack.site.tables.helper_names import HELPERS
from notrack.text.record import dataclass

_GROUPS = {
    Family.IPV4: IntervalSet(((0xE0000000, 0xEFFFFFFF),)),  # 224.0.0.0/4
    Family.IPV6: IntervalSet(((0xFF << 120, (1 << 128) - 1),)),  # ff00::/8
}
_LOOPBACK = {
    Family.IPV4: IntervalSet(((0x7F000000, 0x7FFFFFFF),)),
    Family.IPV6: IntervalSet.single(1),
}
_LOCAL_GROUPS = {  # never leave the link, so no router or switch has to hear of members
    Family.IPV4: IntervalSet(((0xE0000000, 0xE00000FF),)),
    Family.IPV6: IntervalSet(((0xFF02 << 112, (0xFF03 << 112) - 1),)),
}


def groups(family: Family) -> IntervalSet:
    """Every multicast address."""
    return _GROUPS[family]


def local_groups(family: Family) -> IntervalSet:
    """Multicast addresses of the link alone."""
    return _LOCAL_GROUPS[family]


def loopback(family: Family) -> IntervalSet:
    return _LOOPBACK[family]


@dataclass(frozen=True, slots=True)
class Ground:
    """One family of a site: its declarations that live there, and the ports by protocol."""

    site: Site
    family: Family
    declarations: tuple[Declaration, ...]
    served: dict[int, IntervalSet]

    def own_ports(self, protocol: int, wanted: IntervalSet | None) -> IntervalSet:
        """The ports from which the host itself asks: E of the table of legs.

        `wanted` is a `from port` clause. Served ports are taken out; where a program asks from the very
        port that the host serves (NTP from 123), that port is what is left.
        """
        ports = self.site.ephemeral if wanted is None else wanted
        rest = ports - self.served.get(protocol, EMPTY)
        return rest or (ports if wanted is not None else EMPTY)


def ground(site: Site, family: Family) -> Ground:
    """The view of one family. A declaration lives there if its clause and its addresses allow it."""
    declarations = tuple(_with_helper_of(d, family) for d in site.declarations if lives_in(d, family))
    served: dict[int, IntervalSet] = {}
    for declaration in declarations:
        for protocol, ports in _serves(declaration):
            served[protocol] = served.get(protocol, EMPTY) | ports
    return Ground(site, family, declarations, served)


def _with_helper_of(declaration: Declaration, family: Family) -> Declaration:
    """The declaration as it is in a family: some helpers (irc, pptp, ...) exist in IPv4 alone."""
    known = {helper.name: helper.families for helper in HELPERS.values()}
    if declaration.helper is None or family in known.get(declaration.helper, frozenset(Family)):
        return declaration
    return replace(declaration, helper=None)


def _serves(declaration: Declaration) -> list[tuple[int, IntervalSet]]:
    if not isinstance(declaration, Service | Peer | Publish | Redirect):
        return []
    found = [(t.protocol, t.ports) for t in declaration.traffic if t.has_ports]
    if isinstance(declaration, Redirect):
        found += [
            (t.protocol, IntervalSet.single(declaration.port)) for t in declaration.traffic if t.has_ports
        ]
    return found


def lives_in(declaration: Declaration, family: Family) -> bool:
    """Whether a declaration has a flow in a family: every address set that it names has members there."""
    if family not in declaration.families:
        return False
    return all(addresses.family(family) for addresses in _named(declaration))


def _named(declaration: Declaration) -> list[AddressSet]:
    match declaration:
        case Peer(peers=peers, own=own, groups=found, broadcast=broadcast):
            at = (own or AddressSet()) | found
            if broadcast:  # there is none in IPv6
                at |= AddressSet(v4=Family.IPV4.whole)
            return [peers, at] if at else [peers]
        case Service(peers=peers, own=own) | Redirect(peers=peers, own=own):
            return [peers] if own is None else [peers, own]
        case Publish(peers=peers, own=own, target=target):
            return [peers, target] if own is None else [peers, own, target]
        case Client(peers=peers) | Trust(peers=peers) | Block(peers=peers):
            return [peers]
        case Icmp(peers=peers):
            return [peers]
        case Route(sources=sources, destinations=destinations):
            return [sources, destinations]
        case SourceTranslation(sources=sources, destinations=destinations, address=address):
            return [sources, destinations] if address is None else [sources, destinations, address]
    return []


def own_addresses(ground: Ground) -> IntervalSet:
    """The addresses that the site says are the host's own: those of interfaces, and those behind `at`."""
    found = EMPTY
    for interface in ground.site.interfaces:
        found |= interface.addresses.family(ground.family)
    for declaration in ground.declarations:
        if isinstance(declaration, Service | Peer | Publish | Redirect) and declaration.own is not None:
            found |= declaration.own.family(ground.family)
    return found


def label(protocol: int) -> str:
    """A protocol as the site language writes it."""
    return {TCP: "tcp", UDP: "udp", SCTP: "sctp"}.get(protocol, f"proto {protocol}")
