"""The kernel's side: load a ruleset, send packets, say what became of each.

All sockets live in this process, made inside the namespaces: a packet that is sent has been through every
hook of the host when the call returns, so a batch needs no waiting and keeps its order.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType

from tests.kernel import packet
from tests.kernel.differential import world
from tests.kernel.differential.nflog import SO_RCVBUFFORCE, WATCH, Logged, Reader, inside, state_watch
from tests.kernel.differential.probes import Probe, number_in, octets, renumbered
from tests.kernel.differential.shape import Loadable
from tests.kernel.node import LabError, Node, link_address
from tests.kernel.packet import Packet
from tests.kernel.rules import restore
from tests.kernel.ruletext import xt

ETH_P_ALL, OUTGOING = 3, 4
FRAMES = {"broadcast": b"\xff" * 6, "multicast": b"\x01\x00\x5e\x00\x00\x01"}
QUIET = """table inet quiet {
  chain c {
    type filter hook prerouting priority -500; policy drop;
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
  }
}
"""
CANARIES = {4: ("192.0.2.1", "10.8.0.5"), 6: ("2001:db8:80::9", "2001:db8:8::5")}


class Refused(Exception):
    """The kernel or the tool did not take the ruleset."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Where a packet came to: the host, the client or the server, and how it looked there."""

    where: str
    data: bytes

    @property
    def packet(self) -> Packet:
        return packet.parse(self.data)


@dataclass(slots=True)
class Observation:
    """What became of one probe. `sent` is False for a follow-up of something that never arrived."""

    probe: Probe
    sent: bool = True
    arrivals: list[Arrival] = field(default_factory=list)
    refused: bool = False  # the host began to send an error or a reset about it
    state: str = ""  # behind connection tracking, where it could be watched
    mark: int | None = None  # at the end of its way
    order: int = 0  # in which it was sent


@dataclass(frozen=True, slots=True)
class Connection:
    """An entry: both tuples as (source, destination, source port, destination port), and the zone of each.

    ICMP has its identifier and its type instead of ports; what has no ports has 0.
    """

    family: int
    proto: int
    original: tuple[str, str, int, int]
    reply: tuple[str, str, int, int]
    zones: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that was seen of one ruleset."""

    observations: tuple[Observation, ...]
    connections: frozenset[Connection]


class Bench:
    """A lab with its watchers. Use as a context manager."""

    def __init__(self) -> None:
        self.lab = world.build()

    def __enter__(self) -> Bench:
        self.lab.__enter__()
        try:
            self._prepare()
        except BaseException:
            self.lab.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sock in (*self._sniffers.values(), *self._senders.values(), *self._stacks.values()):
            sock.close()
        self._log.close()
        self.lab.close()

    def _prepare(self) -> None:
        lab = self.lab
        lab.host.call("sysctl", "net/netfilter/nf_conntrack_tcp_be_liberal", "1")
        self._log = Reader(lab.host.namespace)
        self._sniffers: dict[str, socket.socket] = {}
        self._senders: dict[str, socket.socket] = {}
        for name, node in (("client", lab.client), ("server", lab.server)):
            node.run("nft", "-f", "-", text=QUIET)
            self._sniffers[name] = inside(node.namespace, _sniffer)
            self._senders[name] = inside(
                node.namespace, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
            )
        self._stacks = {
            family: inside(lab.host.namespace, lambda kind=kind: _stack(kind))  # type: ignore[misc]
            for family, kind in ((4, socket.AF_INET), (6, socket.AF_INET6))
        }
        self._fix_neighbours()
        lab.load_nft(WATCH)

    def _fix_neighbours(self) -> None:
        """Link addresses for good: neighbour discovery would pass the rules under test."""
        lines = []
        for index, (name, side) in enumerate(world.SIDES.items()):
            mac = self.lab.host.links[index].far_mac
            addresses = [one for family in (4, 6) for one in world.peers(name, family)]
            lines += [
                f"neigh replace {one} lladdr {mac} dev {side.device} nud permanent" for one in addresses
            ]
        self.lab.host.run("ip", "-batch", "-", text="\n".join(lines))

    # --- rules ----------------------------------------------------------------------------------

    def load(self, case: Loadable, backend: str) -> None:
        """The ruleset and nothing else. Raises `Refused`."""
        self._clear()
        try:
            self.lab.load_any(backend, **case.texts(backend))
        except LabError as problem:
            self._clear()
            raise Refused(str(problem)) from None
        watches = "".join(state_watch(family) for family in case.families() if case.says_state(family))
        if watches:
            self.lab.load_nft(watches)

    def _clear(self) -> None:
        """No rule but our own, no entry, and tracking off.

        What nft deletes goes on tracking until the kernel has got round to it: a canary tells when.
        """
        listed = self.lab.host.run("nft", "list", "tables").out.splitlines()
        gone = [line for line in listed if line and line.split()[-1] != "watch"]
        if gone:
            self.lab.load_nft("".join(f"delete {line}\n" for line in gone))
        for family, names in ((4, "ip_tables_names"), (6, "ip6_tables_names")):
            tables = self.lab.host.run("cat", f"/proc/self/net/{names}").out.split()
            if tables:
                restore(self.lab.host, "iptables-legacy", family, _empty(tables))
        for _ in range(1000):
            self._flush()
            held = self.lab.conntrack_count()  # a packet that waits for its neighbour may hold an entry
            for canary in CANARIES.values():
                self._put("client", packet.udp(canary[0], 7, canary[1], 7, b"canary"))
            if self.lab.conntrack_count() <= held:
                break
        else:
            raise LabError("tracking does not go off")
        self._collect({}, {})

    def _flush(self) -> None:
        for name in ("ipv4", "ipv6"):
            self.lab.host.run("conntrack", "-F", "-f", name, check=False)

    # --- packets --------------------------------------------------------------------------------

    def run(self, case: Loadable, backend: str, probes: Sequence[Probe]) -> Outcome:
        """Load, send, observe. Raises `Refused` for a ruleset that does not load."""
        self.load(case, backend)
        found: dict[int, Observation] = {}
        resets: dict[int, int] = {}
        waiting = list(probes)
        while waiting:
            ready = [one for one in waiting if one.after is None or one.after in found]
            if not ready:  # what they follow is not among the probes any more
                found |= {one.number: Observation(one, sent=False, order=len(probes)) for one in waiting}
                break
            waiting = [one for one in waiting if one not in ready]
            for one in ready:
                probe = resolved(one, found)
                found[one.number] = Observation(probe or one, sent=probe is not None, order=len(found))
                if probe is not None:
                    self._send(probe, resets)
            self.lab.settle()
            self._collect(found, resets)
        ordered = tuple(found[probe.number] for probe in probes)
        return Outcome(ordered, frozenset(self.connections()))

    def _send(self, probe: Probe, resets: dict[int, int]) -> None:
        if probe.proto == 6:
            resets[reset_key(probe)] = probe.number
        for data in octets(probe):
            self._put(probe.sender, data, probe.frame)

    def _put(self, sender: str, data: bytes, frame: str = "") -> None:
        family = data[0] >> 4
        dst = packet.parse(data).dst
        if sender == "host":
            with contextlib.suppress(OSError):  # dropped in OUTPUT: the sender is told so
                self._stacks[family].sendto(data, (dst, 0))
            return
        node: Node = self.lab.client if sender == "client" else self.lab.server
        ethertype = 0x86DD if family == 6 else 0x0800
        far = node.links[0].far_mac
        to = FRAMES.get(frame) or link_address("192.0.2.80" if frame == "host" else dst, far)
        self._senders[sender].sendto(data, ("eth0", ethertype, 0, 0, to))

    # --- what was seen --------------------------------------------------------------------------

    def _collect(self, found: dict[int, Observation], resets: dict[int, int]) -> None:
        for logged in self._log.read():
            self._note(logged, found, resets)
        for name, sniffer in self._sniffers.items():
            while True:
                try:
                    data, sender = sniffer.recvfrom(1 << 16)
                except BlockingIOError:
                    break
                if sender[2] == OUTGOING:
                    continue
                number = number_in(data)
                if number in found and not (_answers(data, found[number].probe) or self._is_redirect(data)):
                    found[number].arrivals.append(Arrival(name, data))

    @staticmethod
    def _is_redirect(data: bytes) -> bool:
        """A hint to use another router: rate limited by the kernel, and of no interest here."""
        return packet.parse(data).icmp in ((5, 0), (5, 1), (137, 0))

    def _note(self, logged: Logged, found: dict[int, Observation], resets: dict[int, int]) -> None:
        number = number_in(logged.data)
        if number is None:
            seen = logged.packet
            if logged.where == "output" and seen.proto == packet.TCP and "R" in seen.flags:
                answered = resets.get(reset_answer(logged.data))
                if answered in found:
                    found[answered].refused = True
            return
        observation = found.get(number)
        if observation is None or self._is_redirect(logged.data) or _about_redirect(logged.data):
            return
        if _answers(logged.data, observation.probe):
            observation.refused |= logged.where == "output"
            return
        if logged.where.startswith("state "):
            observation.state = observation.state or logged.where.partition(" ")[2]
        elif logged.where == "input":
            observation.arrivals.append(Arrival("host", logged.data))
            observation.mark = logged.mark
        elif logged.where == "left":
            observation.mark = logged.mark

    def connections(self) -> list[Connection]:
        """The connection table, without the canaries."""
        found = []
        for family in (4, 6):
            out = self.lab.host.run("conntrack", "-L", "-f", f"ipv{family}").out
            found += [_connection(line, family) for line in out.splitlines()]
        return [one for one in found if one.original[2:] != (7, 7)]


def _sniffer() -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    sock.bind(("eth0", ETH_P_ALL))
    sock.setblocking(False)
    return sock


def _stack(kind: int) -> socket.socket:
    return socket.socket(kind, socket.SOCK_RAW, socket.IPPROTO_RAW)


def _empty(tables: Sequence[str]) -> str:
    return xt(**dict.fromkeys(tables, ()))


def resolved(probe: Probe, found: dict[int, Observation]) -> Probe | None:
    """A follow-up with its addresses, as what it follows arrived; None if that never did."""
    if probe.after is None:
        return probe
    parent = found[probe.after]
    if probe.role == "repeat":
        return replace(parent.probe, number=probe.number, after=probe.after, role=probe.role)
    if not parent.sent or len(parent.arrivals) != 1:
        return None
    arrival = parent.arrivals[0]
    seen = arrival.packet
    back = replace(
        probe,
        sender=arrival.where,
        proto=seen.proto,
        src=seen.dst,
        dst=seen.src,
        sport=seen.dport,
        dport=seen.sport,
    )
    icmp = packet.ICMPV6 if probe.family == 6 else packet.ICMP
    if probe.role == "error":
        kind = (1, 4) if probe.family == 6 else (3, 3)
        return replace(back, proto=icmp, icmp=kind, flags="", inner=renumbered(arrival.data, probe.number))
    if seen.icmp is not None:
        kinds = {8: 0, 0: 8, 128: 129, 129: 128}
        return replace(back, icmp=(kinds[seen.icmp[0]], 0), sport=parent.probe.sport, dport=0, flags="")
    if seen.proto == packet.TCP:
        return _continued(back, parent.probe)
    return replace(back, flags="")


def _continued(back: Probe, parent: Probe) -> Probe:
    """The segment that continues a TCP conversation."""
    length = 24 + ("S" in parent.flags) + ("F" in parent.flags)
    seq = parent.ack if "A" in parent.flags else back.number << 12
    flags = "SA" if parent.flags == "S" else "PA"
    return replace(back, flags=flags, seq=seq, ack=(parent.seq or parent.number << 12) + length)


def reset_key(probe: Probe) -> int:
    """The number by which the kernel's reset of a segment is known."""
    if "A" in probe.flags:
        return probe.ack or probe.number << 12 | 0x555
    return (probe.seq or probe.number << 12) + 24 + ("S" in probe.flags) + ("F" in probe.flags)


def reset_answer(data: bytes) -> int:
    """The same number in a reset."""
    start = 40 if data[0] >> 4 == 6 else (data[0] & 15) * 4
    seq, ack = (int.from_bytes(data[start + at : start + at + 4], "big") for at in (4, 8))
    return ack if data[start + 13] & 16 else seq


def _about_redirect(data: bytes) -> bool:
    """Whether the host's own rules refused its own hint to use another router."""
    seen = packet.parse(data)
    inner = seen.payload[4:]
    return (
        seen.icmp is not None
        and len(inner) > 60
        and inner[0] >> 4 == 6
        and packet.parse(inner).icmp == (137, 0)
    )


def _answers(data: bytes, probe: Probe) -> bool:
    """Whether a packet is an ICMP error about a probe, and not the probe."""
    seen = packet.parse(data)
    if seen.icmp is None or probe.is_error:
        return False
    return seen.icmp[0] in ((3, 11) if seen.family == 4 else (1, 2, 3))


_NUMBERS = {"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58}


def _connection(line: str, family: int) -> Connection:
    pairs: dict[str, list[str]] = {}
    for key, value in re.findall(r"(\w+)=(\S+)", line):
        pairs.setdefault(key, []).append(value)
    proto = int(line.split()[1])

    def one(index: int) -> tuple[str, str, int, int]:
        ports = [int(pairs[key][index]) if key in pairs else 0 for key in ("sport", "dport")]
        if "id" in pairs:
            ports = [int(pairs["id"][index]), int(pairs["type"][index])]
        return pairs["src"][index], pairs["dst"][index], ports[0], ports[1]

    both = pairs.get("zone", ["0"])[0]
    zones = int(pairs.get("orig", [both])[0]), int(pairs.get("reply", [both])[0])
    return Connection(family, proto, one(0), one(1), zones)
