"""What is known about a host beside its rules. Each fact is known, or None."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from notrack.netfilter.routes import Route
from notrack.packets.address import AddressSet, Family, address_text
from notrack.packets.intervals import IntervalSet
from notrack.text.diagnostic import Diagnostic, Rejected, Severity
from notrack.text.nearest import nearest
from notrack.text.record import dataclass
from notrack.text.source import Source

SCHEMA_VERSION = 1
Configured = ipaddress.IPv4Interface | ipaddress.IPv6Interface


@dataclass(frozen=True, slots=True)
class HostInterface:
    """An interface and its addresses, each with the length of its on-link prefix."""

    name: str
    addresses: tuple[Configured, ...] = ()


@dataclass(frozen=True, slots=True)
class Host:
    """Facts about a host that its rules do not hold.

    - `interfaces`: all of them, with their addresses;
    - `routes`: all by which packets leave, where addresses alone decide that (no routing by policy);
    - `forwards_ipv4`, `forwards_ipv6`: whether packets for others are forwarded;
    - `ephemeral`: the ports that the host's own connections start from (`ip_local_port_range`);
    - `tcp_loose`: whether the first packet seen of a TCP flow may be an ACK (`nf_conntrack_tcp_loose`);
    - `translators`: who else translates addresses here: docker, kube-proxy, ipvs, ...;
    - `tracking_elsewhere`: whether something outside the rules keeps tracking on
      (`nf_conntrack.enable_hooks=1`, an IPVS or openvswitch user).
    """

    interfaces: tuple[HostInterface, ...] | None = None
    routes: tuple[Route, ...] | None = None
    forwards_ipv4: bool | None = None
    forwards_ipv6: bool | None = None
    ephemeral: IntervalSet | None = None
    tcp_loose: bool | None = None
    translators: tuple[str, ...] | None = None
    tracking_elsewhere: bool | None = None

    def forwards(self, family: Family) -> bool | None:
        return self.forwards_ipv4 if family is Family.IPV4 else self.forwards_ipv6

    def addresses(self, family: Family) -> IntervalSet | None:
        """The host's own addresses without loopback; None where they are not known."""
        return self._spans(family, lambda at: (int(at.ip), int(at.ip)))

    def broadcasts(self, family: Family) -> IntervalSet | None:
        """The broadcast addresses of the on-link networks; IPv6 has none."""
        if family is Family.IPV6:
            return IntervalSet()
        return self._spans(family, _broadcast)

    def networks(self) -> AddressSet | None:
        """The on-link networks."""
        if self.interfaces is None:
            return None
        return AddressSet.of(at.network for interface in self.interfaces for at in interface.addresses)

    def _spans(
        self, family: Family, span: Callable[[Configured], tuple[int, int] | None]
    ) -> IntervalSet | None:
        if self.interfaces is None:
            return None
        version = 4 if family is Family.IPV4 else 6
        every = [at for interface in self.interfaces for at in interface.addresses if at.version == version]
        return IntervalSet.of(found for at in every if not at.ip.is_loopback and (found := span(at)))


UNKNOWN_HOST = Host()


def _broadcast(at: Configured) -> tuple[int, int] | None:
    if at.network.prefixlen > 30:
        return None
    last = int(at.network.broadcast_address)
    return last, last


def host_json(host: Host) -> str:
    """The facts as JSON text; unknown ones are null."""
    import json

    interfaces = host.interfaces
    listed = [{"name": i.name, "addresses": [str(at) for at in i.addresses]} for i in interfaces or ()]
    ports = None if host.ephemeral is None else [list(span) for span in host.ephemeral]
    facts = {
        "schema_version": SCHEMA_VERSION,
        "interfaces": None if interfaces is None else listed,
        "routes": None if host.routes is None else [[str(at.network), at.interface] for at in host.routes],
        "forwards_ipv4": host.forwards_ipv4,
        "forwards_ipv6": host.forwards_ipv6,
        "ephemeral": ports,
        "tcp_loose": host.tcp_loose,
        "translators": None if host.translators is None else list(host.translators),
        "tracking_elsewhere": host.tracking_elsewhere,
    }
    return json.dumps(facts, indent=2) + "\n"


def read_host(text: str, name: str = "host.json") -> Host:
    """The facts of a JSON text. Raises `Rejected` for what is no JSON, an unknown key or a wrong value."""
    import json

    source = Source(name, text)
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as error:
        at = min(getattr(error, "pos", 0), len(text))
        raise _fault(source, at, f"this is no JSON: {getattr(error, 'msg', 'too deep')}", None) from None
    if not isinstance(facts, dict):
        raise _fault(source, 0, "host facts are an object", "write them with `notrack facts`")
    if facts.pop("schema_version", SCHEMA_VERSION) != SCHEMA_VERSION:
        raise _fault(source, 0, f"only schema_version {SCHEMA_VERSION} is known", None)
    read: dict[str, Any] = {}
    for key, value in facts.items():
        at = max(text.find(json.dumps(key)), 0)
        if key not in _READERS:
            meant = nearest(key, _READERS)
            raise _fault(source, at, f"unknown fact `{key}`", f"did you mean `{meant}`?" if meant else None)
        try:
            read[key] = None if value is None else _READERS[key](value)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise _fault(source, at, f"`{key}` has a value that means nothing", _SHAPES[key]) from None
    return Host(**read)


def _fault(source: Source, at: int, message: str, hint: str | None) -> Rejected:
    return Rejected((Diagnostic(Severity.ERROR, message, source.span(at, at), hint),))


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _interfaces(value: object) -> tuple[HostInterface, ...]:
    if not isinstance(value, list):
        raise TypeError
    made = []
    for item in value:
        addresses = tuple(ipaddress.ip_interface(_word(text)) for text in item.get("addresses", []))
        made.append(HostInterface(_word(item["name"]), addresses))
    return tuple(made)


def _routes(value: object) -> tuple[Route, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(Route(ipaddress.ip_network(_word(network)), _word(name)) for network, name in value)


def _ports(value: object) -> IntervalSet:
    if not isinstance(value, list):
        raise TypeError
    spans = [(int(low), int(high)) for low, high in value]
    if any(not 0 <= low <= high <= 65535 for low, high in spans):
        raise ValueError
    return IntervalSet.of(spans)


def _words(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(_word(word) for word in value)


_READERS: dict[str, Callable[[Any], Any]] = {
    "interfaces": _interfaces,
    "routes": _routes,
    "forwards_ipv4": _flag,
    "forwards_ipv6": _flag,
    "ephemeral": _ports,
    "tcp_loose": _flag,
    "translators": _words,
    "tracking_elsewhere": _flag,
}
_SHAPES = {
    "interfaces": 'a list like [{"name": "eth0", "addresses": ["198.51.100.1/24"]}]',
    "routes": 'a list of networks with their interfaces like [["0.0.0.0/0", "eth0"]]',
    "ephemeral": "a list of ranges of ports like [[32768, 60999]]",
    "translators": 'a list of names like ["docker"]',
    **dict.fromkeys(
        ("forwards_ipv4", "forwards_ipv6", "tcp_loose", "tracking_elsewhere"), "true, false or null"
    ),
}


def address_types(host: Host, family: Family) -> tuple[IntervalSet, IntervalSet, IntervalSet, IntervalSet]:
    """Addresses that are surely local, may be local, are surely broadcast, may be broadcast.

    The rest is multicast (`group_addresses`) or unicast. Loopback is local and 0.0.0.0/8 broadcast
    whatever the host is (the kernel's `inet_addr_type`).
    """
    fixed = _FIXED_LOCAL[family]
    limited = _LIMITED_BROADCAST if family is Family.IPV4 else IntervalSet()
    open_ = family.whole - fixed - limited - group_addresses(family)
    own, links = host.addresses(family), host.broadcasts(family)
    local = fixed | (own or IntervalSet())
    maybe_local = local if own is not None else local | open_
    sure = limited | (links or IntervalSet())
    maybe_broadcast = (
        sure if links is not None else sure | (open_ if family is Family.IPV4 else IntervalSet())
    )
    return local, maybe_local, sure - local, maybe_broadcast - local


def group_addresses(family: Family) -> IntervalSet:
    """Multicast."""
    return _GROUPS[family]


_GROUPS = {
    Family.IPV4: IntervalSet(((0xE0000000, 0xEFFFFFFF),)),
    Family.IPV6: IntervalSet(((0xFF << 120, (1 << 128) - 1),)),
}
_FIXED_LOCAL = {
    Family.IPV4: IntervalSet(((0x7F000000, 0x7FFFFFFF),)),
    Family.IPV6: IntervalSet.single(1),
}
_LIMITED_BROADCAST = IntervalSet(((0, 0x00FFFFFF), (0xFFFFFFFF, 0xFFFFFFFF)))


def describe(host: Host, family: Family) -> str:
    """The own addresses of a host in a few words, for messages."""
    own = host.addresses(family)
    if own is None:
        return "own addresses not known"
    return ", ".join(address_text(low, family) for low, _ in own) or "no own address"
