"""Which packets an `expect` line means: what it leaves open is filled in as an ordinary packet has it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from notrack.packets.address import AddressSet, Family
from notrack.packets.fields import TCP_FLAGS
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet import Packet
from notrack.site.model import Expectation, Interface, Site
from notrack.site.tables.protocol_names import PORT_PROTOCOLS
from notrack.text.record import dataclass

_PORT = 40000  # of a program that asks, where it is one of the site's ephemeral ports
_MOST = 4  # packets for the addresses of one end, and devices that are tried
_ECHO = {Family.IPV4: 8, Family.IPV6: 128}
_USUAL = {
    Family.IPV4: [int(ipaddress.ip_address(text)) for text in ("203.0.113.9", "198.51.100.9", "10.0.0.9")],
    Family.IPV6: [int(ipaddress.ip_address(text)) for text in ("2001:db8:9::9", "2001:db8::9", "fd00::9")],
}
_OWN = {
    Family.IPV4: int(ipaddress.ip_address("192.0.2.1")),
    Family.IPV6: int(ipaddress.ip_address("2001:db8::1")),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One packet of an expectation. `outs`: devices by which it may leave where translation sends it on."""

    expectation: Expectation
    packet: Packet
    outs: tuple[str, ...] = ()


def cases(site: Site, expectation: Expectation) -> list[Case]:
    """The packets of an expectation, of each family that its ends have. Never empty."""
    return [case for family in _families(expectation) for case in _Meant(site, expectation, family).cases()]


def _families(expectation: Expectation) -> list[Family]:
    ends = [end for end in (expectation.source, expectation.destination) if end is not None]
    kind, number = expectation.icmp_type, expectation.protocol
    found = [
        family
        for family in Family
        if all(end.family(family) for end in ends) and (kind is None or kind.number(family) is not None)
    ]
    if number == 58:
        return [Family.IPV6]
    return found


@dataclass(frozen=True, slots=True)
class _Meant:
    site: Site
    expectation: Expectation
    family: Family

    def cases(self) -> Iterator[Case]:
        asked = self.expectation
        for source in self.addresses(asked.source):
            for destination in self.addresses(asked.destination):
                yield from islice(self.between(source, destination), _MOST)

    def between(self, source: int | None, destination: int | None) -> Iterator[Case]:
        """The packets from one address to another; None is the host itself."""
        asked = self.expectation
        if source is None and destination is None:
            own = self.own(None)
            yield Case(asked, replace(self.packet(own, own), out_interface="lo"))
        elif source is None:
            assert destination is not None
            for out in self.devices(asked.out_device, destination):
                yield Case(asked, replace(self.packet(self.own(out), destination), out_interface=out))
        elif destination is None or self.is_own(destination):
            for into in self.devices(asked.device, source):
                end = destination if destination is not None else self.own(into)
                arriving = replace(self.packet(source, end), in_interface=into, local=True)
                yield Case(asked, arriving, self.others(into))
        else:
            for into in self.devices(asked.device, source):
                for out in self.devices(asked.out_device, destination, but=into):
                    through = replace(self.packet(source, destination), in_interface=into, out_interface=out)
                    yield Case(asked, through)

    def packet(self, source: int, destination: int) -> Packet:
        asked = self.expectation
        icmp = asked.protocol in (1, 58)
        number = {Family.IPV4: 1, Family.IPV6: 58}[self.family] if icmp else asked.protocol
        made = Packet(self.family, number, source, destination)
        if icmp:
            kind = asked.icmp_type.number(self.family) if asked.icmp_type is not None else None
            return replace(made, icmp_type=kind if kind is not None else _ECHO[self.family])
        if number not in PORT_PROTOCOLS.values():
            return made
        port = _PORT if _PORT in self.site.ephemeral else self.site.ephemeral.least()
        made = replace(
            made,
            source_port=asked.source_port if asked.source_port is not None else port,
            destination_port=asked.destination_port if asked.destination_port is not None else port,
        )
        flags = sum(TCP_FLAGS[name] for name in asked.flags) if asked.flags else TCP_FLAGS["syn"]
        return replace(made, flags=flags) if number == 6 else made

    def addresses(self, end: AddressSet | None) -> list[int | None]:
        if end is None:
            return [None]
        found: list[int | None] = []
        found += some(end.family(self.family), self.family)
        return found

    def own(self, device: str | None) -> int:
        """An own address, of a device if it has one; where the site says none, one that stands for it."""
        sides = [one for one in self.site.interfaces if device is None or fits(one, device)]
        for interface in (*sides, *self.site.interfaces):
            known = interface.addresses.family(self.family)
            if known:
                return known.least()
        return _OWN[self.family]

    def is_own(self, address: int) -> bool:
        return any(address in one.addresses.family(self.family) for one in self.site.interfaces)

    def devices(self, said: str | None, address: int, but: str | None = None) -> list[str]:
        """The device that is said, else the one on whose link the address is, else every one it could be."""
        if said is not None:
            return [said]
        named = [(one, _device(one)) for one in self.site.interfaces if _device(one) != but]
        linked = [name for one, name in named if address in one.networks.family(self.family)]
        return linked or [name for _, name in named][:_MOST] or ["eth1" if but == "eth0" else "eth0"]

    def others(self, device: str) -> tuple[str, ...]:
        return tuple(_device(one) for one in self.site.interfaces if not fits(one, device)) or ("eth1",)


def some(addresses: IntervalSet, family: Family) -> list[int]:
    """A few addresses of a set that stand for all: usual ones, else those inside its first and last spans."""
    usual = [address for address in _USUAL[family] if address in addresses]
    if usual:
        return usual[:1]
    picked = [addresses.spans[0], addresses.spans[-1]] if len(addresses.spans) > 1 else [addresses.spans[0]]
    # the first address of a network is seldom a host's
    return list(dict.fromkeys(low + 1 if high - low > 1 else low for low, high in picked))


def fits(interface: Interface, device: str) -> bool:
    return any(
        device.startswith(one[:-1]) if one.endswith("*") else device == one for one in interface.devices
    )


def _device(interface: Interface) -> str:
    """The first device of an interface, as one packet passes it."""
    first = interface.devices[0]
    return f"{first[:-1]}0" if first.endswith("*") else first
