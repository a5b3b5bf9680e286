"""A host under test in network namespaces, with a peer behind each of its links.

    with Lab() as lab:
        lab.load("iptables-nft", v4="*filter\\n...COMMIT\\n")
        lab.host.listen("tcp", 80)
        assert lab.client.tcp("192.0.2.80", 80).ok

The default lab is `client -- eth0 host eth1 -- server`: the client is the world, the host's default
route leads to it; the server is the network behind the host. Addresses, devices and the number of
sides are the caller's choice, so that any site's interfaces can be matched.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import os
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.kernel.node import LabError, Link, Node
from tests.kernel.rules import (
    BACKENDS,
    XTABLES,
    Counter,
    Entry,
    clear,
    conntrack_count,
    counters,
    entries,
    restore,
)

__all__ = ["BACKENDS", "LAN", "WAN", "XTABLES", "Lab", "LabError", "Node", "Side", "missing"]

TOOLS = (
    "ip",
    "nft",
    "conntrack",
    *(
        f"{command}-{variant}-restore"
        for command in ("iptables", "ip6tables")
        for variant in ("legacy", "nft")
    ),
)
NAMESPACES = Path("/run/netns")
QUIET_ROUNDS = 2  # rounds in which no server was served, before the lab counts as settled
MOST_ROUNDS = 60
MARK_LIMIT = LINKS_READY = 10.0  # seconds: past them the lab is broken, not slow
PREFIX = "nl"
_numbers = itertools.count()

DEFAULTS = {  # before any device exists: no waiting for addresses, no chatter, no rate limits
    "net/ipv6/conf/default/accept_dad": 0,
    "net/ipv6/conf/all/accept_dad": 0,
    "net/ipv6/conf/default/dad_transmits": 0,
    "net/ipv6/conf/default/accept_ra": 0,
    "net/ipv6/conf/default/router_solicitations": 0,
    "net/ipv4/conf/default/rp_filter": 0,
    "net/ipv4/conf/all/rp_filter": 0,
    "net/ipv4/icmp_ratelimit": 0,
    "net/ipv4/icmp_msgs_per_sec": 1000000,
    "net/ipv4/icmp_echo_ignore_broadcasts": 0,
    "net/ipv4/tcp_invalid_ratelimit": 0,
    "net/ipv4/ping_group_range": "0 2147483647",
    "net/ipv4/conf/default/accept_redirects": 0,
    "net/ipv4/conf/default/send_redirects": 0,
    "net/ipv4/conf/all/send_redirects": 0,
    "net/ipv6/icmp/ratelimit": 0,
}


@dataclass(frozen=True, slots=True)
class Side:
    """A link of the host: its device there, the host's addresses on it, and the peer's.

    The first address of each family needs its prefix; the peer's others may be any addresses at all
    (each is routed to it).
    """

    device: str
    host: tuple[str, ...]
    peer: tuple[str, ...]

    def peer_address(self, family: int = 4) -> str:
        return next(bare(address) for address in self.peer if family_of(address) == family)

    def host_address(self, family: int = 4) -> str:
        return next(bare(address) for address in self.host if family_of(address) == family)


WAN = Side(
    "eth0",
    host=("192.0.2.80/24", "2001:db8:80::1/64"),
    peer=(
        "192.0.2.1/24", "198.51.100.7", "203.0.113.9", "9.9.9.9",
        "2001:db8:80::9/64", "2001:db8:51::7", "2001:db8:99::9", "2620:fe::fe",
    ),
)  # fmt: skip
LAN = Side("eth1", host=("10.8.0.1/24", "2001:db8:8::1/64"), peer=("10.8.0.5/24", "2001:db8:8::5/64"))


def bare(address: str) -> str:
    return address.partition("/")[0]


def family_of(address: str) -> int:
    return 6 if ":" in address else 4


def missing() -> str:
    """Why no lab can be built here, or nothing."""
    if os.geteuid() != 0:
        return "needs root to make network namespaces"
    absent = [tool for tool in TOOLS if not shutil.which(tool)]
    return f"needs {', '.join(absent)}" if absent else ""


class Lab:
    """The namespaces and their agents. Use as a context manager: it always removes what it made."""

    def __init__(self, *, forwarding: bool = True, cpu: int | None = None, **sides: Side) -> None:
        self.sides: dict[str, Side] = sides or {"wan": WAN, "lan": LAN}
        self.peers: dict[str, Node] = {}
        self._stem = f"{PREFIX}{os.getpid()}x{next(_numbers)}"
        self._forwarding = forwarding
        cpus = sorted(os.sched_getaffinity(0))
        # All agents of a lab share one CPU: what was sent first is then handled first.
        self._cpu = str(cpus[os.getpid() % len(cpus)] if cpu is None else cpu)
        self._round = 0
        self._directory: str | None = None

    # --- building and removing ------------------------------------------------------------------

    def __enter__(self) -> Lab:
        remove_leftovers()
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for node in self.nodes:
            with contextlib.suppress(OSError):
                node.close()
        for path in NAMESPACES.glob(f"{self._stem}-*"):
            subprocess.run(["ip", "netns", "del", path.name], check=False, capture_output=True)
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def nodes(self) -> list[Node]:
        return ([self.host] if hasattr(self, "host") else []) + list(self.peers.values())

    def _build(self) -> None:
        self._directory = tempfile.mkdtemp(prefix=f"{self._stem}-")
        names = {name: f"{self._stem}-{name}" for name in ("host", *self.sides)}
        _ip_batch([f"netns add {namespace}" for namespace in names.values()])
        environment = {"XTABLES_LOCKFILE": f"{self._directory}/xtables.lock"}
        self.host = Node("host", names["host"], self._cpu, environment)
        for name in self.sides:
            self.peers[name] = Node(name, names[name], self._cpu, environment)
        for node in self.nodes:
            self._prepare(node)
        _ip_batch([line for index, name in enumerate(self.sides) for line in self._veth(index, name)])
        self._address_host()
        for name, side in self.sides.items():
            self._address_peer(self.peers[name], side)
        for node in self.nodes:
            node.call("attach", [link.device for link in node.links])
            node.settle = self.settle
        self._await_links()

    def _await_links(self) -> None:
        """Wait until every address answers: a new veth end may get its IPv6 routes a moment late."""
        end = time.monotonic() + LINKS_READY
        pairs = [(self.peers[name], bare(near)) for name, side in self.sides.items() for near in side.host]
        pairs += [(self.host, bare(far)) for side in self.sides.values() for far in side.peer]
        for node, address in pairs:
            while not node.ping(address):
                if time.monotonic() > end:
                    raise LabError(f"{address} is not reached from {node.name}")
                time.sleep(0.005)

    def _prepare(self, node: Node) -> None:
        for path, value in DEFAULTS.items():
            with contextlib.suppress(LabError):  # older kernels lack some, or keep them machine-wide
                node.call("sysctl", path, str(value))
        if node is self.host:
            self.forwarding(self._forwarding)

    def _veth(self, index: int, name: str) -> list[str]:
        near, far = (f"02:00:00:00:{index:02x}:0{end}" for end in (1, 2))
        device = self.sides[name].device
        # Both ends with one and the same index would be taken for a plain device, whose carrier the
        # kernel reports up to a second late.
        self.host.links.append(Link(device, far))
        self.peers[name].links.append(Link("eth0", near))
        return [
            f"link add name {device} index {index + 11} address {near} netns {self.host.namespace} type veth "
            f"peer name eth0 address {far} netns {self.peers[name].namespace}"
        ]

    def _address_host(self) -> None:
        lines = ["link set lo up"]
        for side in self.sides.values():
            lines += _addresses(side.device, side.host)
            lines += [
                f"route add {bare(address)} dev {side.device}"
                for address in side.peer
                if not _connected(address, side.host) and not address.startswith("fe80")
            ]
        first = next(iter(self.sides.values()))
        lines += _defaults(first.peer, first.host)
        self.host.run("ip", "-batch", "-", text="\n".join(lines))

    @staticmethod
    def _address_peer(node: Node, side: Side) -> None:
        lines = ["link set lo up", *_addresses("eth0", side.peer), *_defaults(side.host, side.peer)]
        node.run("ip", "-batch", "-", text="\n".join(lines))

    # --- the usual names ------------------------------------------------------------------------

    @property
    def client(self) -> Node:
        """The peer of the first side."""
        return next(iter(self.peers.values()))

    @property
    def server(self) -> Node:
        """The peer of the second side."""
        return list(self.peers.values())[1]

    def forwarding(self, on: bool) -> None:
        for path in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
            self.host.call("sysctl", path, str(int(on)))

    def forget_neighbours(self) -> None:
        """Empty the neighbour caches of all namespaces: the next packet resolves anew."""
        for node in self.nodes:
            node.run("ip", "neigh", "flush", "all", check=False)

    # --- rules ----------------------------------------------------------------------------------

    def load(self, backend: str, v4: str = "", v6: str = "", *, noflush: bool = False) -> None:
        """Load restore texts. Raises `LabError` with the tool's message when it refuses."""
        for family, text in ((4, v4), (6, v6)):
            if text:
                restore(self.host, backend, family, text, *(["--noflush"] if noflush else []))

    def load_nft(self, text: str) -> None:
        """Load an nft file."""
        self.host.run("nft", "-f", "-", text=text)

    def load_any(self, backend: str, *, v4: str = "", v6: str = "", nft: str = "") -> None:
        """Load the text that is for this backend."""
        if backend == "nft":
            self.load_nft(nft)
        else:
            self.load(backend, v4, v6)

    def clear(self) -> None:
        """Remove all rules and all entries."""
        clear(self.host)

    def reset(self) -> None:
        """Back to the state after building: no rules, no entries, no sockets, settings as they were."""
        for node in self.nodes:
            node.reset()
        self.settle()
        self.clear()
        for family in ("-4", "-6"):  # path MTUs that were learnt
            self.host.run("ip", family, "route", "flush", "cache")

    # --- witnesses ------------------------------------------------------------------------------

    def settle(self) -> None:
        """Return when nothing is under way: all frames delivered, all servers idle.

        Each round sends a frame on every link, behind whatever was sent before, and waits for it;
        the servers of each namespace are served meanwhile. Timers (a second SYN) are not waited for.
        """
        quiet = 0
        for _ in range(MOST_ROUNDS):
            self._round += 1
            for node in self.nodes:
                node.post("settle", self._round, MARK_LIMIT)
            quiet = 0 if sum([node.fetch() for node in self.nodes]) else quiet + 1
            if quiet >= QUIET_ROUNDS:
                return
        raise LabError("the lab does not come to rest")

    def conntrack_count(self) -> int:
        """The number of entries on the host."""
        return conntrack_count(self.host)

    def entries(self) -> list[Entry]:
        """The host's connection table."""
        return entries(self.host)

    def counters(self, backend: str) -> list[Counter]:
        """The host's counting rules, both families."""
        return counters(self.host, backend)

    def hits(self, backend: str, comment: str) -> int:
        """Packets counted by the rules with this comment; `LabError` when there is no such rule."""
        found = [one.packets for one in self.counters(backend) if one.comment == comment]
        if not found:
            raise LabError(f"no counting rule has the comment {comment!r}")
        return sum(found)


def remove_leftovers() -> None:
    """Remove the namespaces and directories of runs that were killed."""
    stale = re.compile(rf"{PREFIX}(\d+)x\d+-")
    for root in (NAMESPACES, Path(tempfile.gettempdir())):
        for path in root.glob(f"{PREFIX}*x*-*"):
            named = stale.match(path.name)
            if not named or Path(f"/proc/{named.group(1)}").exists():
                continue
            if root == NAMESPACES:
                subprocess.run(["ip", "netns", "del", path.name], check=False, capture_output=True)
            else:
                shutil.rmtree(path, ignore_errors=True)


def _ip_batch(lines: list[str]) -> None:
    done = subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, capture_output=True)
    if done.returncode:
        raise LabError(done.stderr)


def _addresses(device: str, addresses: tuple[str, ...]) -> list[str]:
    added = [
        f"addr add {address} dev {device}" + (" nodad" if family_of(address) == 6 else "")
        for address in addresses
    ]
    return [*added, f"link set {device} up"]


def _connected(address: str, own: tuple[str, ...]) -> bool:
    return any(
        family_of(one) == family_of(address)
        and ipaddress.ip_address(bare(address)) in ipaddress.ip_interface(one).network
        for one in own
    )


def _defaults(gateways: tuple[str, ...], own: tuple[str, ...]) -> list[str]:
    """A default route of each family, by the first gateway that is reached directly."""
    lines = []
    for family in (4, 6):
        for gateway in gateways:
            if family_of(gateway) == family and "/" in gateway and _connected(gateway, own):
                everywhere = "0.0.0.0/0" if family == 4 else "::/0"
                lines.append(f"route add {everywhere} via {bare(gateway)}")
                break
    return lines
