"""One namespace, seen from the test: run programs, serve, ask, send and catch packets.

Every probe that sends something ends with `settle()`, which returns when nothing is under way any
more in the whole lab. So a negative answer costs as little time as a positive one, and no probe
waits for a clock.
"""

from __future__ import annotations

import contextlib
import ipaddress
import pickle
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kernel.background import Background
from tests.kernel.packet import Packet, parse
from tests.kernel.probe import Answer, Connection, Peer, Run, answer_of, connection_of

AGENT = Path(__file__).with_name("agent.py")


class LabError(RuntimeError):
    """The lab itself failed: a tool refused its input, or an agent died."""


@dataclass(frozen=True, slots=True)
class Link:
    """One end of a veth pair: own device, and the other end's link address."""

    device: str
    far_mac: str


class Node:
    """A namespace with its agent. Made by `Lab`; usable until the lab is closed."""

    def __init__(self, name: str, namespace: str, cpu: str, environment: dict[str, str]) -> None:
        self.name = name
        self.namespace = namespace
        self.environment = environment
        self.links: list[Link] = []
        self.settle: Callable[[], None] = lambda: None
        self._changed: dict[str, str] = {}
        mine, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-I", "-S", str(AGENT), namespace, cpu]
            self._process = subprocess.Popen(command, stdin=theirs.fileno())
        self._control = mine

    # --- calls ----------------------------------------------------------------------------------

    def post(self, method: str, *args: Any) -> None:
        """Send a call without waiting for its answer (`fetch` reads it)."""
        body = pickle.dumps((method, args))
        try:
            self._control.sendall(struct.pack("!I", len(body)) + body)
        except OSError as problem:
            raise LabError(f"the agent of {self.name} is gone: {problem}") from None

    def fetch(self) -> Any:
        head = self._exactly(4)
        done, value = pickle.loads(self._exactly(struct.unpack("!I", head)[0]))
        if not done:
            raise LabError(f"{self.name}: {value}")
        return value

    def call(self, method: str, *args: Any) -> Any:
        self.post(method, *args)
        return self.fetch()

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._control.recv(size - len(data))
            if not piece:
                raise LabError(f"the agent of {self.name} is gone")
            data += piece
        return data

    def close(self) -> None:
        self._control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
            return
        self._process.kill()
        self._process.wait()

    # --- programs and settings ------------------------------------------------------------------

    def run(self, *argv: str, text: str = "", check: bool = True) -> Run:
        """Run a program inside the namespace. Raises `LabError` with its message if it fails and `check`."""
        code, out, err = self.call("run", list(argv), text, self.environment)
        if check and code != 0:
            raise LabError(f"{' '.join(argv)}: exit {code}\n{err or out}")
        return Run(code, out, err)

    def sysctl(self, name: str, value: object = None) -> str:
        """Read (and set, until the next `Lab.reset`) a setting; `net.ipv4.ip_forward` or with slashes."""
        path = name.replace(".", "/") if "/" not in name else name
        old = str(self.call("sysctl", path, None if value is None else str(value)))
        if value is not None:
            self._changed.setdefault(path, old)
        return old

    def reset(self) -> None:
        """Close all sockets and put back every setting that `sysctl` changed."""
        self.call("close_all")
        for path, old in self._changed.items():
            self.call("sysctl", path, old)
        self._changed.clear()

    # --- servers --------------------------------------------------------------------------------

    def listen(
        self, proto: str, port: int, *, address: str = "", reply: bytes | None = None, device: str = ""
    ) -> Service:
        """A server on `tcp` or `udp`, on one address or on all of both families.

        It answers with a line that names who asked (as seen here) and whom, then the question; or
        with `reply`, word for word.
        """
        addresses = [address] if address else ["0.0.0.0", "::"]
        return Service(self, [self.call("listen", proto, one, port, reply, device) for one in addresses])

    # --- clients --------------------------------------------------------------------------------

    def open(self, dst: str, port: int, *, src: str = "", sport: int = 0) -> Conversation:
        """Open a TCP connection and keep it."""
        handle = self.call("tcp_open", dst, port, src, sport)
        self.settle()
        return Conversation(self, handle)

    def tcp(self, dst: str, port: int, *, src: str = "", sport: int = 0, data: bytes = b"ping") -> Connection:
        """Connect, say `data`, hear the answer, close with a reset. See `Connection.outcome`."""
        conversation = self.open(dst, port, src=src, sport=sport)
        try:
            state = conversation.state  # once: reading an error takes it away
            return conversation.ask(data) if state.outcome == "open" else state
        finally:
            conversation.close()

    def udp(
        self, dst: str, port: int, *, src: str = "", sport: int = 0, size: int = 5, connected: bool = True
    ) -> Answer:
        """Ask a UDP server with `size` bytes. Unconnected sockets hear answers from anybody."""
        handle = self.call("udp_open", dst, port, src, sport, connected)
        try:
            own = self.call("own_port", handle)
            data = bytes(65 + at % 26 for at in range(size))
            failed = self.call("send_to", handle, data, dst, port, "")
            self.settle()
            pieces, how = self.call("heard", handle)
            return answer_of(pieces, failed or how, own, bool(failed))
        finally:
            self.call("close", handle)

    def udp_send(
        self, dst: str, port: int, *, src: str = "", sport: int = 0, size: int = 5, device: str = ""
    ) -> str:
        """Send one datagram and do not listen; the error's name, or nothing. Groups and broadcast too."""
        handle = self.call("udp_open", dst, port, src, sport, False)
        try:
            failed = str(self.call("send_to", handle, b"x" * size, dst, port, device))
            self.settle()
            return failed
        finally:
            self.call("close", handle)

    def ping(self, dst: str, *, src: str = "", size: int = 8) -> bool:
        """True when an echo request of `size` bytes is answered."""
        handle = self.call("ping_open", dst, src)
        if handle is None:
            return False
        try:
            kind = 128 if ":" in dst else 8
            if self.call("send", handle, bytes((kind, 0, 0, 0, 0, 0, 0, 1)) + b"x" * size):
                return False
            self.settle()
            return bool(self.call("heard", handle)[0])
        finally:
            self.call("close", handle)

    def background(self, mode: str, dst: str, port: int, *, interval: float = 0.01) -> Background:
        """A client that goes on asking while the test does other things: see `Background`."""
        return Background(self.namespace, mode, dst, port, interval)

    # --- raw packets ----------------------------------------------------------------------------

    def send(self, packets: bytes | Iterable[bytes], *, device: str = "", settle: bool = True) -> None:
        """Put packets on the wire as they are, forged or not: no rule of this namespace sees them."""
        batch = [packets] if isinstance(packets, bytes) else list(packets)
        link = next((link for link in self.links if link.device == device), self.links[0])
        for packet in batch:
            self.call("send_link", [packet], link.device, link_address(parse(packet).dst, link.far_mac))
        if settle:
            self.settle()

    def send_stack(self, packets: bytes | Sequence[bytes], *, settle: bool = True) -> None:
        """Send packets through this namespace's own OUTPUT hook and routing."""
        batch = [packets] if isinstance(packets, bytes) else list(packets)
        self.call("send_stack", batch, parse(batch[0]).dst)
        if settle:
            self.settle()

    def sniff(self, device: str = "") -> Catcher:
        """Catch all that comes in on a link, before any rule. On the host itself it is harmless but
        tells nothing about rules: catch on the far side instead."""
        handle = self.call("sniff", device or self.links[0].device)
        return Catcher(self, handle, raw=False, family=0, proto=0)

    def catch(self, proto: int, family: int = 4) -> Catcher:
        """Catch what is delivered locally as protocol `proto`, after the INPUT hook."""
        return Catcher(self, self.call("raw_socket", family, proto), raw=True, family=family, proto=proto)


class Service:
    """Servers on one port, and who came to them."""

    def __init__(self, node: Node, handles: list[int]) -> None:
        self.node = node
        self._handles = handles

    def join(self, group: str, device: str) -> Service:
        """Join a multicast group on a device."""
        for handle in self._handles if len(self._handles) == 1 else self._handles[":" in group :][:1]:
            self.node.call("join", handle, group, device)
        return self

    def seen(self) -> list[Peer]:
        """Who came since the last call, one entry a connection or datagram."""
        return [Peer(*came) for handle in self._handles for came in self.node.call("seen", handle)]

    def push(self, data: bytes = b"pushed") -> int:
        """Say something unasked on every open connection; how many there are."""
        count: int = sum(self.node.call("push", handle, data) for handle in self._handles)
        self.node.settle()
        return count

    def close(self) -> None:
        for handle in self._handles:
            self.node.call("close", handle)


class Conversation:
    """A TCP connection that stays open over several questions."""

    def __init__(self, node: Node, handle: int) -> None:
        self.node = node
        self._handle = handle

    @property
    def state(self) -> Connection:
        return connection_of(*self.node.call("tcp_state", self._handle))

    def ask(self, data: bytes = b"ping") -> Connection:
        """Say `data` and hear what comes back; `stalled` when nothing does."""
        failed = self.node.call("send", self._handle, data)
        self.node.settle()
        pieces, how = self.node.call("heard", self._handle)
        outcome, _, port = self.node.call("tcp_state", self._handle)
        return connection_of(outcome, failed or how, port, b"".join(pieces), asked=True)

    def heard(self) -> bytes:
        """What came since the last look."""
        self.node.settle()
        return b"".join(self.node.call("heard", self._handle)[0])

    def close(self) -> None:
        self.node.call("close", self._handle)


class Catcher:
    """Packets that arrived, read off since the last look."""

    def __init__(self, node: Node, handle: int, *, raw: bool, family: int, proto: int) -> None:
        self.node = node
        self._handle = handle
        self._kind = (raw, family, proto)

    def packets(self, where: Callable[[Packet], bool] = lambda _: True) -> list[Packet]:
        return [packet for packet in map(self._read, self.node.call("caught", self._handle)) if where(packet)]

    def _read(self, came: tuple[bytes, str]) -> Packet:
        data, sender = came
        raw, family, proto = self._kind
        if raw and family == 6:  # the kernel hands over IPv6 raw data without its header
            return Packet(6, sender, "", proto, length=len(data), payload=data)
        return parse(data)

    def close(self) -> None:
        self.node.call("close", self._handle)


def link_address(dst: str, unicast: str) -> bytes:
    """The link address for a packet to `dst`: the neighbour's, a group's or everybody's."""
    address = ipaddress.ip_address(dst)
    if address.is_multicast and address.version == 6:
        return b"\x33\x33" + address.packed[12:]
    if address.is_multicast:
        return b"\x01\x00\x5e" + bytes((address.packed[1] & 0x7F,)) + address.packed[2:]
    if dst == "255.255.255.255":
        return b"\xff" * 6
    return bytes.fromhex(unicast.replace(":", ""))
