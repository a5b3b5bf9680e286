"""What a site says of the host that it is for: the facts on which the meaning of its rules rests."""

from __future__ import annotations

import ipaddress

from notrack.netfilter.host import Configured, Host, HostInterface
from notrack.packets.address import Family, prefixes
from notrack.site.model import Interface, Site


def site_hosts(site: Site) -> dict[Family, Host]:
    """The facts that a site's interfaces tell, for each family: addresses only where each of them says its
    own of that family. A device that is a pattern (`wg*`) stands for devices nobody knows.
    """
    return {family: _host(site, family) for family in Family}


def _host(site: Site, family: Family) -> Host:
    whole = bool(site.interfaces) and not _patterns(site)
    known = whole and all(interface.addresses.family(family) for interface in site.interfaces)
    interfaces = tuple(one for interface in site.interfaces for one in _devices(interface)) if known else None
    return Host(interfaces=interfaces, ephemeral=site.ephemeral)


def device_addresses(site: Site) -> dict[str, tuple[str, ...]]:
    """Every device that the site names, with its own addresses and the prefixes of their links."""
    found: dict[str, tuple[str, ...]] = {}
    for interface in site.interfaces:
        for at, device in enumerate(interface.devices):
            addresses = _configured(interface) if at == 0 else []
            name = f"{device[:-1]}0" if device.endswith("*") else device
            found[name] = tuple(str(address) for address in addresses)
    return found


def _patterns(site: Site) -> bool:
    return any(device.endswith("*") for interface in site.interfaces for device in interface.devices)


def _devices(interface: Interface) -> list[HostInterface]:
    """An interface of several devices: the addresses are at the first of them, for nobody says more."""
    first, *others = interface.devices
    return [HostInterface(first, tuple(_configured(interface))), *map(HostInterface, others)]


def _configured(interface: Interface) -> list[Configured]:
    found: list[Configured] = []
    for family in Family:
        links = list(prefixes(interface.networks.family(family), family))
        for low, high in interface.addresses.family(family):
            for address in range(low, high + 1):
                found.append(_with_prefix(address, family, links))
    return found


def _with_prefix(address: int, family: Family, links: list[tuple[int, int]]) -> Configured:
    make = ipaddress.IPv4Interface if family is Family.IPV4 else ipaddress.IPv6Interface
    lengths = [length for low, length in links if low <= address < low + (1 << family.bits - length)] or [
        family.bits
    ]
    return make((address, max(lengths)))
