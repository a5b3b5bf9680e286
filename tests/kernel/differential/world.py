"""The host under test of the differential tests: few addresses and ports, so that rules are hit."""

from __future__ import annotations

import ipaddress

from notrack.netfilter.host import Host, HostInterface
from notrack.netfilter.routes import Route
from tests.kernel.lab import Lab, Side

WAN = Side(
    "eth0",
    host=("192.0.2.80/24", "2001:db8:80::1/64"),
    peer=(
        "192.0.2.1/24", "198.51.100.7", "203.0.113.9",
        "2001:db8:80::9/64", "2001:db8:51::7", "2001:db8:99::9",
    ),
)  # fmt: skip
LAN = Side(
    "eth1",
    host=("10.8.0.1/24", "2001:db8:8::1/64"),
    peer=("10.8.0.5/24", "10.8.0.6", "2001:db8:8::5/64", "2001:db8:8::6"),
)
SIDES = {"client": WAN, "server": LAN}
LOOPBACK = {4: "127.0.0.1", 6: "::1"}
GROUPS = {4: "224.0.0.1", 6: "ff02::1"}
BROADCAST = "192.0.2.255"
LINK_LOCAL = {"eth0": "fe80::ff:fe00:1/64", "eth1": "fe80::ff:fe00:101/64"}  # of the lab's link addresses
PORTS = (22, 53, 80, 443, 1500, 8080)
OTHER_PROTOCOLS = (112, 253)


def build() -> Lab:
    """The lab of the differential tests."""
    return Lab(wan=WAN, lan=LAN)


def facts() -> Host:
    """What the host under test is, as the model is told."""
    interfaces = [
        HostInterface(side.device, tuple(map(ipaddress.ip_interface, (*side.host, LINK_LOCAL[side.device]))))
        for side in (WAN, LAN)
    ]
    routes = [(everywhere, WAN.device) for everywhere in ("0.0.0.0/0", "::/0")]
    routes += [(str(ipaddress.ip_interface(text).network), LAN.device) for text in LAN.host]
    return Host(
        interfaces=tuple(interfaces),
        routes=tuple(Route(ipaddress.ip_network(network), name) for network, name in routes),
        forwards_ipv4=True,
        forwards_ipv6=True,
        tcp_loose=True,
        translators=(),
        tracking_elsewhere=False,
    )


def of_family(addresses: tuple[str, ...], family: int) -> tuple[str, ...]:
    """The addresses of a family, without their prefixes."""
    return tuple(text.partition("/")[0] for text in addresses if (":" in text) == (family == 6))


def peers(sender: str, family: int) -> tuple[str, ...]:
    """The addresses of the client or the server."""
    return of_family(SIDES[sender].peer, family)


def own(family: int) -> tuple[str, ...]:
    """The host's own addresses, without loopback."""
    return of_family(WAN.host + LAN.host, family)


def everybody(family: int) -> tuple[str, ...]:
    """Every unicast address there is on a link."""
    return peers("client", family) + own(family) + peers("server", family)


def way_out(address: str) -> str:
    """The device through which the host reaches an address that is not its own."""
    at = ipaddress.ip_address(address)
    networks = [ipaddress.ip_interface(text).network for text in LAN.host]
    inside = any(at.version == network.version and at in network for network in networks)
    return LAN.device if inside else WAN.device


def is_own(address: str) -> bool:
    """Whether it is an address of the host itself, loopback included."""
    return address in own(4) + own(6) or ipaddress.ip_address(address).is_loopback
