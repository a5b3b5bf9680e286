"""The process that lives inside one namespace and does there what the lab says.

Started as a script with a socket as its standard input; it enters the namespace once and then
answers pickled calls `(method, args)` with `(True, value)` or `(False, message)`. One thread, one
poll loop: sockets of servers are served before every answer, so that "nothing more came" can be
known instead of being waited for. It ends when the socket is closed.

Only the standard library and no import of its neighbours: it starts in a hundredth of a second.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import pickle
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

MARK = 0x88B5  # the ethertype for local experiments: no firewall rule of IP families sees it
ETH_P_ALL, PACKET_OUTGOING = 3, 4
IP_PKTINFO, IP_RECVERR, IPV6_RECVERR, MSG_ERRQUEUE = 8, 11, 25, 0x2000
IPV6_RECVPKTINFO, IPV6_PKTINFO = 49, 50
CLONE_NEWNET = 0x40000000
SO_RCVBUFFORCE, ROOM = 33, 8 << 20
GREETING = b"@"  # begins every answer; a server does not answer an answer
LINGER_NONE = struct.pack("ii", 1, 0)  # close sends RST and leaves nothing behind
Address = tuple[str, int]


def family_of(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Agent:
    """Sockets by handle, and the calls upon them."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.poll = select.poll()
        self.poll.register(control, select.POLLIN)
        self.sockets: dict[int, socket.socket] = {}
        self.serve: dict[int, Callable[[], None]] = {}
        self.seen: dict[int, list[Any]] = {}
        self.replies: dict[int, bytes | None] = {}
        self.accepted: dict[int, list[socket.socket]] = {}
        self.marks: dict[str, socket.socket] = {}
        self.marked: dict[str, int] = {}
        self.served = 0

    # --- the loop -------------------------------------------------------------------------------

    def loop(self) -> None:
        while True:
            if self.round(None):
                call = self.read()
                if call is None:
                    return
                self.round(0)
                self.answer(*call)

    def round(self, timeout: float | None) -> bool:
        """Serve whatever is ready; True when a call waits to be read."""
        called = False
        wait = None if timeout is None else int(timeout * 1000)
        for descriptor, _ in self.poll.poll(wait):
            if descriptor == self.control.fileno():
                called = True
            elif descriptor in self.serve:
                self.serve[descriptor]()
        return called

    def read(self) -> tuple[str, tuple[Any, ...]] | None:
        head = self.exactly(4)
        body = self.exactly(struct.unpack("!I", head)[0]) if head else None
        return pickle.loads(body) if body else None

    def exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.control.recv(size - len(data))
            if not piece:
                return b""
            data += piece
        return data

    def answer(self, method: str, args: tuple[Any, ...]) -> None:
        try:
            value: tuple[bool, Any] = (True, getattr(self, "do_" + method)(*args))
        except Exception as problem:
            value = (False, f"{type(problem).__name__}: {problem}")
        body = pickle.dumps(value)
        self.control.sendall(struct.pack("!I", len(body)) + body)

    def keep(self, sock: socket.socket, serve: Callable[[], None] | None = None) -> int:
        handle = sock.fileno()
        self.sockets[handle] = sock
        self.seen[handle] = []
        if serve:
            self.serve[handle] = serve
            self.poll.register(sock, select.POLLIN)
        return handle

    def do_close(self, handle: int) -> None:
        sock = self.sockets.pop(handle, None)
        if sock is None:
            return
        if self.serve.pop(handle, None):
            self.poll.unregister(handle)
        self.seen.pop(handle, None)
        self.replies.pop(handle, None)
        self.accepted.pop(handle, None)
        sock.close()

    def do_close_all(self) -> None:
        for handle in list(self.sockets):
            self.do_close(handle)

    # --- the system -----------------------------------------------------------------------------

    def do_run(self, argv: list[str], text: str, environment: dict[str, str]) -> tuple[int, str, str]:
        import subprocess

        try:
            done = subprocess.run(
                argv,
                input=text,
                text=True,
                capture_output=True,
                env={**os.environ, **environment},
                timeout=30,
            )
        except FileNotFoundError as problem:
            return 127, "", str(problem)
        return done.returncode, done.stdout, done.stderr

    def do_sysctl(self, name: str, value: str | None) -> str:
        path = "/proc/sys/" + name
        with open(path) as file:
            old = file.read().strip()
        if value is not None:
            with open(path, "w") as file:
                file.write(value)
        return old

    # --- knowing that nothing is under way ------------------------------------------------------

    def do_attach(self, devices: list[str]) -> None:
        for device in devices:
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(MARK))
            sock.bind((device, MARK))
            sock.setblocking(False)
            self.marks[device] = sock
            self.marked[device] = 0
            self.serve[sock.fileno()] = functools.partial(self.note_mark, device)
            self.poll.register(sock, select.POLLIN)

    def note_mark(self, device: str) -> None:
        try:
            while True:
                self.marked[device] = struct.unpack("!I", self.marks[device].recv(64)[:4])[0]
        except BlockingIOError:
            pass

    def do_settle(self, number: int, limit: float) -> int:
        """Send a mark on every link, wait for the marks of the others; how much was served meanwhile."""
        for device, sock in self.marks.items():
            sock.sendto(struct.pack("!I", number), (device, MARK, 0, 0, b"\xff" * 6))
        end = time.monotonic() + limit
        while any(mark < number for mark in self.marked.values()):
            if time.monotonic() > end:
                raise TimeoutError("a link carries no frames")
            self.round(0.05)
        self.round(0)
        served, self.served = self.served, 0
        return served

    @staticmethod
    def sharing(address: str, kind: int) -> socket.socket:
        """A socket that may share its port: a client may ask from the port on which a server listens."""
        sock = socket.socket(family_of(address), kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        return sock

    # --- servers --------------------------------------------------------------------------------

    def do_listen(self, proto: str, address: str, port: int, reply: bytes | None, device: str) -> int:
        kind = socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM
        sock = self.sharing(address, kind)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
        elif proto == "udp":
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        if device:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        sock.bind((address, port))
        sock.setblocking(False)
        if proto == "tcp":
            sock.listen(128)
            handle = self.keep(sock, lambda: self.accept(sock))
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            handle = self.keep(sock, lambda: self.echo(sock))
        self.replies[handle] = reply
        return handle

    def do_join(self, handle: int, group: str, device: str) -> None:
        index = socket.if_nametoindex(device)
        packed = socket.inet_pton(family_of(group), group)
        if ":" in group:
            self.sockets[handle].setsockopt(
                socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, packed + struct.pack("@I", index)
            )
        else:
            self.sockets[handle].setsockopt(
                socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, packed + bytes(4) + struct.pack("@i", index)
            )

    def do_seen(self, handle: int) -> list[Any]:
        """What came to a server since the last call: (address, port, bytes received)."""
        came = self.seen[handle]
        self.seen[handle] = []
        return came

    def do_push(self, handle: int, data: bytes) -> int:
        """Say something unasked on every connection that a server has; how many there are."""
        alive = [sock for sock in self.accepted.get(handle, []) if sock.fileno() >= 0]
        for sock in alive:
            sock.send(data)
        return len(alive)

    def accept(self, listener: socket.socket) -> None:
        try:
            sock, peer = listener.accept()
        except OSError:
            return
        self.served += 1
        self.seen[listener.fileno()].append((peer[0], peer[1], 0))
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.keep(sock, lambda: self.converse(sock, peer))
        self.replies[sock.fileno()] = self.replies.get(listener.fileno())
        self.accepted.setdefault(listener.fileno(), []).append(sock)

    def converse(self, sock: socket.socket, peer: Address) -> None:
        handle = sock.fileno()
        try:
            data = sock.recv(1 << 16)
        except OSError:
            data = b""
        self.served += 1
        if not data:
            self.do_close(handle)
            return
        reply = self.replies.get(handle)
        try:
            sock.send(self.greeting(peer, sock.getsockname()) + data if reply is None else reply)
        except OSError:
            self.do_close(handle)

    @staticmethod
    def greeting(peer: Address, own: Address) -> bytes:
        return GREETING + f"{peer[0]} {peer[1]} {own[0]} {own[1]}\n".encode()

    def echo(self, sock: socket.socket) -> None:
        try:
            data, ancillary, _, peer = sock.recvmsg(1 << 16, 256)
        except OSError:
            return
        self.served += 1
        handle = sock.fileno()
        self.seen[handle].append((peer[0], peer[1], len(data)))
        if data.startswith(GREETING):
            return
        source, own = self.asked_at(ancillary, sock)
        reply = self.replies.get(handle)
        body = self.greeting(peer, (own, sock.getsockname()[1])) + data if reply is None else reply
        try:
            sock.sendmsg([body[:65000]], source, 0, peer)
        except OSError as problem:
            self.seen[handle].append((errno.errorcode.get(problem.errno or 0, "?"), 0, 0))

    @staticmethod
    def asked_at(ancillary: list[Any], sock: socket.socket) -> tuple[list[Any], str]:
        """The ancillary data that answers from the address that was asked, and that address."""
        for level, kind, data in ancillary:
            if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
                own = socket.inet_ntop(socket.AF_INET, data[8:12])
                if not 224 <= data[8] <= 255:
                    return [(level, kind, struct.pack("=I4s4s", 0, data[8:12], bytes(4)))], own
                return [], own
            if (level, kind) == (socket.IPPROTO_IPV6, IPV6_PKTINFO):
                own = socket.inet_ntop(socket.AF_INET6, data[:16])
                return ([] if data[0] == 0xFF else [(level, kind, data)]), own
        return [], str(sock.getsockname()[0])

    # --- clients --------------------------------------------------------------------------------

    def client(self, kind: int, dst: str, src: str, sport: int) -> socket.socket:
        sock = self.sharing(dst, kind)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        if src or sport:
            sock.bind((src or ("::" if ":" in dst else "0.0.0.0"), sport))
        sock.setblocking(False)
        return sock

    def do_tcp_open(self, dst: str, port: int, src: str, sport: int) -> int:
        sock = self.client(socket.SOCK_STREAM, dst, src, sport)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex((dst, port))
        handle = self.keep(sock)
        if code not in (0, errno.EINPROGRESS):
            self.seen[handle].append(code)
        return handle

    def do_tcp_state(self, handle: int) -> tuple[str, str, int]:
        """(open, refused or dropped; how: the error's name or the ICMP type and code; own port)."""
        sock = self.sockets[handle]
        port = sock.getsockname()[1]
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if self.seen[handle]:
            code = self.seen[handle].pop()
        if code:
            return "refused", errno.errorcode.get(code, str(code)), port
        try:
            sock.getpeername()
        except OSError:
            how = self.icmp_error(sock)
            return ("refused" if how else "dropped"), how, port
        return "open", "", port

    @staticmethod
    def icmp_error(sock: socket.socket) -> str:
        """An ICMP error that came for this socket, as `icmp 3/3`."""
        try:
            _, ancillary, _, _ = sock.recvmsg(1 << 16, 512, MSG_ERRQUEUE)
        except OSError:
            return ""
        for _, _, data in ancillary:
            if len(data) >= 16:
                _, origin, kind, code = struct.unpack("=IBBB", data[:7])
                return f"{'icmp6' if origin == 3 else 'icmp'} {kind}/{code}"
        return ""

    def do_send(self, handle: int, data: bytes) -> str:
        try:
            self.sockets[handle].send(data)
        except OSError as problem:
            return errno.errorcode.get(problem.errno or 0, "?")
        return ""

    def do_heard(self, handle: int) -> tuple[list[bytes], str]:
        """All that can be read now, and how it ended: nothing, `EOF`, or the error's name."""
        pieces: list[bytes] = []
        sock = self.sockets[handle]
        while True:
            try:
                piece = sock.recv(1 << 16)
            except BlockingIOError:
                return pieces, ""
            except OSError as problem:
                how = self.icmp_error(sock) or errno.errorcode.get(problem.errno or 0, "?")
                return pieces, how
            if not piece and sock.type == socket.SOCK_STREAM:
                return pieces, "EOF"
            pieces.append(piece)

    def do_udp_open(self, dst: str, port: int, src: str, sport: int, connected: bool) -> int:
        sock = self.client(socket.SOCK_DGRAM, dst, src, sport)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if connected:
            sock.connect((dst, port))
        return self.keep(sock)

    def do_send_to(self, handle: int, data: bytes, dst: str, port: int, device: str) -> str:
        sock = self.sockets[handle]
        if device:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        try:
            sock.sendto(data, (dst, port))
        except OSError as problem:
            return errno.errorcode.get(problem.errno or 0, "?")
        return ""

    def do_own_port(self, handle: int) -> int:
        return int(self.sockets[handle].getsockname()[1])

    def do_ping_open(self, dst: str, src: str) -> int | None:
        proto = 58 if ":" in dst else socket.IPPROTO_ICMP
        sock = socket.socket(family_of(dst), socket.SOCK_DGRAM, proto)
        if src:
            sock.bind((src, 0))
        sock.setblocking(False)
        try:
            sock.connect((dst, 0))
        except OSError:  # no route
            return None
        return self.keep(sock)

    # --- raw packets ----------------------------------------------------------------------------

    def do_send_link(self, packets: list[bytes], device: str, mac: bytes) -> None:
        """Put IP packets on the wire as they are: no rule of this namespace sees them."""
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as sock:
            for packet in packets:
                ethertype = 0x86DD if packet[0] >> 4 == 6 else 0x0800
                sock.sendto(packet, (device, ethertype, 0, 0, mac))

    def do_send_stack(self, packets: list[bytes], dst: str) -> None:
        """Send IP packets through this namespace's own routing and OUTPUT hook."""
        with socket.socket(family_of(dst), socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
            for packet in packets:
                sock.sendto(packet, (dst, 0))

    def do_sniff(self, device: str) -> int:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
        sock.bind((device, ETH_P_ALL))
        sock.setblocking(False)
        return self.keep(sock)

    def do_raw_socket(self, family: int, proto: int) -> int:
        sock = socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, socket.SOCK_RAW, proto)
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
        sock.setblocking(False)
        return self.keep(sock)

    def do_caught(self, handle: int) -> list[tuple[bytes, str]]:
        """Packets that came in since the last call, each with the sender's address where known."""
        sock = self.sockets[handle]
        caught: list[tuple[bytes, str]] = []
        while True:
            try:
                data, sender = sock.recvfrom(1 << 16)
            except BlockingIOError:
                return caught
            if sock.family != socket.AF_PACKET:
                caught.append((data, str(sender[0])))
            elif sender[1] in (0x0800, 0x86DD) and sender[2] != PACKET_OUTGOING:
                caught.append((data, ""))


def enter(namespace: str) -> None:
    """Move this process into the named namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
    os.close(descriptor)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the tests' own Ctrl-C is theirs to handle
    enter(sys.argv[1])
    if sys.argv[2]:
        os.sched_setaffinity(0, {int(sys.argv[2])})
    Agent(socket.socket(fileno=os.dup(0))).loop()


if __name__ == "__main__":
    main()
