"""The facts about a live host that its rules do not hold. What cannot be learnt stays unknown."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from itertools import pairwise

from notrack.host.system import System
from notrack.netfilter.host import Configured, Host, HostInterface
from notrack.netfilter.routes import Route
from notrack.packets.intervals import IntervalSet

_SYSCTL = "/proc/sys/net"
_LINK = re.compile(r"^\d+: ([^:@\s]+)")
_PLAIN_RULE = re.compile(r"\d+:\s+from all lookup (local|main|default)")
_DROPPING = ("blackhole", "unreachable", "prohibit", "throw")
_ADDRESS = re.compile(r"^\d+: (\S+)\s+inet6? (\S+)")  # before a `peer` it stands without a prefix

# Who translates addresses beside the rules of the host's owner, by what it leaves behind.
_BY_INTERFACE = {
    "docker": re.compile(r"docker\d+"),
    "kubernetes": re.compile(r"cni\d+|flannel.*|cali.*|kube-ipvs\d+|kube-bridge|cilium_.*"),
    "libvirt": re.compile(r"virbr\d+"),
    "podman": re.compile(r"podman\d+|cni-podman\d+"),
    "lxc": re.compile(r"lxcbr\d+|lxdbr\d+|incusbr\d+"),
}
_BY_PROCESS = {
    "dockerd": "docker",
    "kube-proxy": "kubernetes",
    "kubelet": "kubernetes",
    "k3s-server": "kubernetes",
}


def facts(system: System) -> Host:
    """The facts of a host. Never raises."""
    interfaces = _interfaces(system)
    return Host(
        interfaces=interfaces,
        routes=_routes(system),
        forwards_ipv4=_forwards(system, "ipv4"),
        forwards_ipv6=_forwards(system, "ipv6"),
        ephemeral=_ephemeral(system),
        tcp_loose=_flag(system.read(f"{_SYSCTL}/netfilter/nf_conntrack_tcp_loose")),
        translators=_translators(system, interfaces),
        tracking_elsewhere=_tracking_elsewhere(system, interfaces),
    )


def unknown(host: Host) -> tuple[str, ...]:
    """The names of the facts that are not known."""
    return tuple(name for name in Host.__dataclass_fields__ if getattr(host, name) is None)


def _interfaces(system: System) -> tuple[HostInterface, ...] | None:
    """From `ip -o`, whose lines every iproute2 writes alike."""
    links = system.run(("ip", "-o", "link", "show"))
    listed = system.run(("ip", "-o", "address", "show"))
    if links.status or listed.status:
        return None
    names = [found[1] for line in links.out.splitlines() if (found := _LINK.match(line))]
    addresses: dict[str, list[Configured]] = {name: [] for name in names}
    for name, address in _addresses(listed.out):
        addresses.setdefault(name, []).append(address)
    return tuple(HostInterface(name, tuple(held)) for name, held in addresses.items())


def _addresses(text: str) -> Iterator[tuple[str, Configured]]:
    for line in text.splitlines():
        found = _ADDRESS.match(line)
        if found is None:
            continue
        name, address = found.groups()
        try:
            # Of a point-to-point address the prefix is the peer's: the own one stands alone.
            yield name.partition("@")[0], ipaddress.ip_interface(address)
        except ValueError:
            continue


def _routes(system: System) -> tuple[Route, ...] | None:
    """The main table, where no rule of policy routing stands beside the kernel's own."""
    found: list[Route] = []
    for family, everywhere in (("-4", "0.0.0.0/0"), ("-6", "::/0")):
        rules = system.run(("ip", family, "rule", "show"))
        table = system.run(("ip", "-o", family, "route", "show"))
        plain = all(_PLAIN_RULE.fullmatch(line.strip()) for line in rules.out.splitlines())
        if rules.status or table.status or not plain:
            return None
        for line in table.out.splitlines():
            read = _read_route(line, everywhere)
            if read is None:
                return None
            found += read
    return tuple(found)


def _read_route(line: str, everywhere: str) -> list[Route] | None:
    """A route, once for each device of it; one that drops what takes it has no device."""
    words = line.split()
    dropping = bool(words) and words[0] in _DROPPING
    target = words[dropping] if len(words) > dropping else ""
    try:
        network = ipaddress.ip_network(everywhere if target == "default" else target)
    except ValueError:
        return None
    devices = [] if dropping else [after for word, after in pairwise(words) if word == "dev"]
    return [Route(network, name) for name in dict.fromkeys(devices)] or [Route(network, "")]


def _forwards(system: System, family: str) -> bool | None:
    """Whether any interface forwards: a setting of its own may differ from that of all."""
    folder = f"{_SYSCTL}/{family}/conf"
    read = [
        _flag(system.read(f"{folder}/{name}/forwarding"))
        for name in system.names(folder)
        if name not in ("default", "lo")
    ]
    if family == "ipv4":
        read.append(_flag(system.read(f"{_SYSCTL}/ipv4/ip_forward")))
    known = [value for value in read if value is not None]
    return any(known) if known else None


def _flag(text: str | None) -> bool | None:
    word = (text or "").strip()
    return {"0": False, "N": False, "1": True, "Y": True, "2": True}.get(word)


def _ephemeral(system: System) -> IntervalSet | None:
    words = (system.read(f"{_SYSCTL}/ipv4/ip_local_port_range") or "").split()
    if len(words) != 2 or not all(word.isdecimal() and int(word) < 65536 for word in words):
        return None
    low, high = (int(word) for word in words)
    return IntervalSet(((low, high),)) if low <= high else None


def _translators(system: System, interfaces: tuple[HostInterface, ...] | None) -> tuple[str, ...]:
    found = {
        who
        for interface in interfaces or ()
        for who, shape in _BY_INTERFACE.items()
        if shape.fullmatch(interface.name)
    }
    for pid in system.names("/proc"):
        if pid.isdecimal():
            who = _BY_PROCESS.get((system.read(f"/proc/{pid}/comm") or "").strip())
            found |= {who} if who else set()
    if _has_virtual_servers(system):
        found.add("ipvs")
    return tuple(sorted(found))


def _has_virtual_servers(system: System) -> bool:
    """Whether /proc/net/ip_vs lists a service behind its three lines of heading."""
    lines = (system.read("/proc/net/ip_vs") or "").splitlines()
    return any(line.startswith(("TCP ", "UDP ", "SCTP ", "FWM ")) for line in lines)


def _tracking_elsewhere(system: System, interfaces: tuple[HostInterface, ...] | None) -> bool | None:
    """Whether something beside rules keeps tracking on. Of ipvs and openvswitch nobody can tell from here."""
    if _flag(system.read("/sys/module/nf_conntrack/parameters/enable_hooks")):
        return True
    switched = any(interface.name == "ovs-system" for interface in interfaces or ())
    return None if switched or _has_virtual_servers(system) else False
