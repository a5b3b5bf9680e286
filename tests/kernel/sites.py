"""What the tests of compiled sites share: a lab with three sides, loading a site, and probes that report.

The lab (`TOWN`) is a host between the world, an office and a zone with servers:

    world -- out0  host  in0 -- office
                    |
                   dmz0 -- dmz

`Trial` compiles a site for one backend, loads it and keeps a list of what went otherwise than expected;
leaving it fails the test with all of them at once, so that one load serves many probes.
"""

from __future__ import annotations

import functools
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from notrack.layout.output import emit
from notrack.plan.planner import plan
from notrack.site import load, load_text
from notrack.text.diagnostic import Rejected
from notrack.text.render import render_all
from tests.kernel import packet
from tests.kernel.conftest import demand_lab
from tests.kernel.lab import Lab, Side
from tests.kernel.node import Node, Service
from tests.kernel.probe import Answer, Connection
from tests.kernel.rules import Entry, tool

EXAMPLES = Path(__file__).parents[2] / "examples"

OWN = {4: "198.18.0.2", 6: "2001:db8:a::2"}  # on out0
OWN2 = {4: "198.18.0.3", 6: "2001:db8:a::3"}  # on out0 as well
OWN_IN = {4: "172.16.5.1", 6: "2001:db8:b::1"}
OWN_DMZ = {4: "172.16.9.1", 6: "2001:db8:c::1"}
NEAR = {4: "198.18.0.99", 6: "2001:db8:a::99"}  # in the world, on the link itself
STRANGER = {4: "203.0.113.77", 6: "2001:db8:77::7"}
FRIEND = {4: "203.0.113.88", 6: "2001:db8:88::8"}
RESOLVER = {4: "9.9.9.10", 6: "2001:db8:53::10"}
OFFICE = {4: "172.16.5.20", 6: "2001:db8:b::20"}
OFFICE2 = {4: "172.16.5.21", 6: "2001:db8:b::21"}
DMZ = {4: "172.16.9.10", 6: "2001:db8:c::10"}
DMZ2 = {4: "172.16.9.11", 6: "2001:db8:c::11"}
FAMILIES = (4, 6)

TOWN = {
    "world": Side(
        "out0",
        host=("198.18.0.2/24", "198.18.0.3", "2001:db8:a::2/64", "2001:db8:a::3"),
        peer=(
            "198.18.0.1/24", NEAR[4], STRANGER[4], FRIEND[4], RESOLVER[4],
            "2001:db8:a::1/64", NEAR[6], STRANGER[6], FRIEND[6], RESOLVER[6],
        ),
    ),
    "office": Side(
        "in0",
        host=("172.16.5.1/24", "2001:db8:b::1/64"),
        peer=("172.16.5.20/24", "172.16.5.21", "2001:db8:b::20/64", "2001:db8:b::21"),
    ),
    "dmz": Side(
        "dmz0",
        host=("172.16.9.1/24", "2001:db8:c::1/64"),
        peer=("172.16.9.10/24", "172.16.9.11", "2001:db8:c::10/64", "2001:db8:c::11"),
    ),
}  # fmt: skip

HEAD = """
site town
interface world  = out0 address 198.18.0.2/24, 198.18.0.3/24, 2001:db8:a::2/64, 2001:db8:a::3/64
interface office = in0  address 172.16.5.1/24, 2001:db8:b::1/64
interface zone   = dmz0
network staff  = 172.16.5.0/24, 2001:db8:b::/64
network friend = 203.0.113.88, 2001:db8:88::/48
network asked  = 9.9.9.10, 2001:db8:53::10
"""

IGMP_GROUP = "224.0.0.22"
BATCH = 50  # connections opened at once: below the backlog of a server


def a_town() -> Iterator[Lab]:
    """The lab of three sides, for a fixture."""
    demand_lab()
    with Lab(world=TOWN["world"], office=TOWN["office"], dmz=TOWN["dmz"]) as lab:
        yield lab


class Texts(dict[str, str]):
    """What the compiler wrote, by target."""


@functools.lru_cache(maxsize=64)
def compiled(text: str, base: str = ".", coexist: bool = False) -> Texts:
    """All rule targets of a site text, or of the file `base` when the text is empty."""
    try:
        site, _ = load_text(text, base_dir=base) if text else load(base)
        planned = plan(site, coexist=coexist)
    except Rejected as faults:
        raise AssertionError(render_all(faults.diagnostics)) from None
    return Texts(
        {target: emit(planned, target, coexist=coexist).text for target in ("iptables", "ip6tables", "nft")}
    )


def beside_others(text: str) -> bool:
    """Whether a restore text says that it goes beside the rules of others (own chains, `--noflush`)."""
    return "--noflush" in text


Traits = tuple[str, int, int, str]


@dataclass(frozen=True, slots=True)
class Forgery:
    """A packet on the wire, with or without TCP flags, and whether it must come to a local socket."""

    comes: bool
    src: str
    sport: int
    dst: str
    dport: int
    flags: str = ""

    @property
    def proto(self) -> int:
        return packet.TCP if self.flags else packet.UDP

    def packet(self) -> bytes:
        if self.flags:
            return packet.tcp(self.src, self.sport, self.dst, self.dport, self.flags)
        return packet.udp(self.src, self.sport, self.dst, self.dport)

    def traits(self) -> Traits:
        return self.src, self.sport, self.dport, "".join(sorted(self.flags))


def _traits(caught: packet.Packet, proto: int) -> Traits:
    """What tells forgeries apart; raw IPv6 sockets hand over the ports and flags unread."""
    sport, dport, flags = caught.sport, caught.dport, caught.flags
    if caught.family == 6:
        sport, dport = struct.unpack("!HH", caught.payload[:4])
        if proto == packet.TCP:
            flags = "".join(letter for letter, bit in packet.FLAGS.items() if caught.payload[13] & bit)
    return caught.src, sport, dport, "".join(sorted(flags))


class Trial:
    """One site on one host: its rules loaded, servers by port, probes that note what went wrong."""

    def __init__(
        self, lab: Lab, backend: str, text: str, *, base: str = ".", coexist: bool = False, fresh: bool = True
    ) -> None:
        self.lab, self.backend = lab, backend
        self.host = lab.host
        self.wrong: list[str] = []
        self.servers: dict[tuple[str, str, int], Service] = {}
        self.texts = compiled(text, base, coexist)
        if fresh:
            lab.reset()
        self.load()

    def load(self) -> None:
        """Load the rules, as the text itself says that they are to be loaded."""
        if self.backend == "nft":
            self.lab.load_nft(self.texts["nft"])
            return
        v4, v6 = self.texts["iptables"], self.texts["ip6tables"]
        self.lab.load(self.backend, v4, v6, noflush=beside_others(v4))

    def __enter__(self) -> Trial:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            assert not self.wrong, f"on {self.backend}:\n  " + "\n  ".join(self.wrong)

    # --- noting -----------------------------------------------------------------------------------

    def note(self, right: bool, what: str) -> None:
        if not right:
            self.wrong.append(what)

    def same(self, what: str, seen: object, expected: object) -> None:
        self.note(seen == expected, f"{what}: {seen!r} instead of {expected!r}")

    # --- servers ----------------------------------------------------------------------------------

    def serve(self, node: Node, proto: str, *ports: int) -> None:
        """Servers on a node, on all its addresses of both families."""
        for port in ports:
            if (node.name, proto, port) not in self.servers:
                self.servers[node.name, proto, port] = node.listen(proto, port)

    def seen(self, node: Node, proto: str, port: int) -> list[tuple[str, int]]:
        """Who came to a server since the last look."""
        return [(peer.address, peer.port) for peer in self.servers[node.name, proto, port].seen()]

    # --- probes -----------------------------------------------------------------------------------

    def ask(
        self, node: Node, proto: str, dst: str, port: int, *, src: str = "", sport: int = 0, size: int = 5
    ) -> Connection | Answer:
        if proto == "tcp":
            return node.tcp(dst, port, src=src, sport=sport)
        return node.udp(dst, port, src=src, sport=sport, size=size)

    def reach(
        self, node: Node, proto: str, dst: str, port: int, *, src: str = "", sport: int = 0, size: int = 5
    ) -> Connection | Answer:
        """A question that must be answered."""
        answer = self.ask(node, proto, dst, port, src=src, sport=sport, size=size)
        words = _words(node, proto, dst, port, src, sport, size)
        self.note(answer.ok, f"{words} {answer.outcome} {answer.how}")
        return answer

    def miss(
        self, node: Node, proto: str, dst: str, port: int, *, src: str = "", sport: int = 0,
        outcome: str = "", at: Node | None = None, size: int = 5,
    ) -> None:  # fmt: skip
        """A question that must not be answered, and must not come to a server on `at` (the host)."""
        key = ((at or self.host).name, proto, port)
        if key in self.servers:
            self.servers[key].seen()
        answer = self.ask(node, proto, dst, port, src=src, sport=sport, size=size)
        words = _words(node, proto, dst, port, src, sport, size)
        expected = outcome or ("dropped" if proto == "tcp" else "silent")
        self.same(words, answer.outcome, expected)
        if key in self.servers:
            came = self.servers[key].seen()
            self.note(not came, f"{words} came to the server: {came}")

    def forge(self, node: Node, forgeries: Sequence[Forgery]) -> None:
        """Put forged packets on the wire of `node`, all at once: each must come to a local socket or not."""
        kinds = {(6 if ":" in one.dst else 4, one.proto) for one in forgeries}
        catchers = {kind: self.host.catch(kind[1], kind[0]) for kind in kinds}
        put(node, [one.packet() for one in forgeries])
        came = {_traits(one, kind[1]) for kind, catcher in catchers.items() for one in catcher.packets()}
        for one in forgeries:
            self.same(f"delivery of forged {one}", one.traits() in came, one.comes)
        for catcher in catchers.values():
            catcher.close()

    def crowd(
        self,
        node: Node,
        proto: str,
        goals: Iterable[tuple[str, int]],
        count: int,
        sources: Sequence[str] = (),
    ) -> None:
        """`count` connections or questions over the goals in turn, all of which must be answered."""
        aims = list(goals)
        outcomes: Counter[tuple[str, int, str]] = Counter()
        for start in range(0, count, BATCH):
            picked = [aims[at % len(aims)] for at in range(start, min(start + BATCH, count))]
            for goal, answered in zip(picked, _batch(node, proto, picked, sources), strict=True):
                outcomes[(*goal, "answered" if answered else "lost")] += 1
        lost = {key: many for key, many in outcomes.items() if key[2] == "lost"}
        self.note(not lost, f"crowd from {node.name} by {proto}: {lost}")

    # --- the connection table -----------------------------------------------------------------------

    def no_entries(self, when: str = "") -> None:
        """The table must be empty, but for the stack's own reports of group membership."""
        if self.lab.conntrack_count():
            lines = [entry.line for entry in self.lab.entries() if entry.dst != IGMP_GROUP]
            if lines:
                self.wrong.append(f"entries {when}: " + "\n    ".join(lines[:6]))

    def entries(self, where: Callable[[Entry], bool] = lambda _: True) -> list[Entry]:
        return [entry for entry in self.lab.entries() if where(entry)]

    def only_entries(self, where: Callable[[Entry], bool], when: str = "") -> None:
        """There must be entries, and all of that kind, but for the stack's own reports of membership."""
        found = self.entries(lambda entry: entry.dst != IGMP_GROUP)
        other = [entry.line for entry in found if not where(entry)]
        self.note(bool(found), f"no entries at all {when}")
        self.note(not other, f"other entries {when}: " + "\n    ".join(other[:6]))

    def forget(self) -> None:
        """Empty the connection table."""
        for name in ("ipv4", "ipv6"):
            self.host.run("conntrack", "-F", "-f", name, check=False)

    def watch(self, *families: int) -> None:
        """Count INVALID packets (only where the site itself tracks: watching switches tracking on)."""
        for family in families:
            chains = "".join(
                f"chain {hook} {{ type filter hook {hook} priority -140; "
                f'ct state invalid meta l4proto {{ tcp, udp }} counter comment "invalid"\n }}\n'
                for hook in ("prerouting", "output")
            )
            table = "ip6" if family == 6 else "ip"
            self.host.run("nft", "-f", "-", text=f"table {table} watch {{ {chains} }}")

    def invalid(self) -> int:
        """INVALID packets since `watch`."""
        return self.lab.hits("nft", "invalid")

    def rules(self, family: int) -> str:
        """The loaded rules as the kernel's tool prints them."""
        if self.backend == "nft":
            return self.host.run("nft", "list", "ruleset").out
        return self.host.run(tool(self.backend, family, "save")).out


def put(node: Node, packets: Sequence[bytes]) -> None:
    """Put many unicast packets on a node's wire at once: a socket for each would cost ten milliseconds."""
    link = node.links[0]
    node.call("send_link", list(packets), link.device, bytes.fromhex(link.far_mac.replace(":", "")))
    node.settle()


def _words(node: Node, proto: str, dst: str, port: int, src: str, sport: int, size: int) -> str:
    big = f" of {size} bytes" if size > 5 else ""
    return f"{proto} from {node.name} {src or 'itself'}:{sport or '*'} to {dst}:{port}{big}"


def _batch(
    node: Node, proto: str, goals: Sequence[tuple[str, int]], sources: Sequence[str]
) -> Iterator[bool]:
    """Ask all goals at the same time; for each whether it answered."""
    handles = []
    for at, (dst, port) in enumerate(goals):
        fitting = [one for one in sources if (":" in one) == (":" in dst)]
        src = fitting[at % len(fitting)] if fitting else ""
        if proto == "tcp":
            handles.append(node.call("tcp_open", dst, port, src, 0))
        else:
            # Sockets that share ports may be given one and the same: each gets a port of its own.
            handles.append(node.call("udp_open", dst, port, src, 33000 + at, True))
    node.settle()
    for handle, (dst, port) in zip(handles, goals, strict=True):
        if proto == "tcp":
            node.call("send", handle, b"ping")
        else:
            node.call("send_to", handle, b"ping", dst, port, "")
    node.settle()
    answered = [bool(node.call("heard", handle)[0]) for handle in handles]
    for handle in handles:
        node.call("close", handle)
    node.settle()
    yield from answered
