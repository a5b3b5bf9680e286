"""What the kernel logs to user space, read without switching anything on.

The host under test gets a table of its own that logs each packet at the very end of INPUT (where it is then
dropped, so that no socket answers), at the very beginning of OUTPUT and at the very end of POSTROUTING. It is
loaded before any other rule: the kernel puts what it confirms entries with, of the same priority, in front
of it. Plain logging needs no connection tracking.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tests.kernel.packet import Packet, parse

GROUP = 5
WATCH = """
table inet watch {
  chain end { type filter hook input priority 2147483647; log group 5 queue-threshold 1 prefix "input"
    drop
  }
  chain out { type filter hook output priority -2147483648; log group 5 queue-threshold 1 prefix "output"; }
  chain left { type filter hook postrouting priority 2147483647
    log group 5 queue-threshold 1 prefix "left"
  }
}
"""
STATES = ("new", "established", "related", "invalid", "untracked")
NFNETLINK, CONFIG, PACKET = 12, (4 << 8) | 1, 4 << 8
SO_RCVBUFFORCE = 33
T = TypeVar("T")


def state_watch(family: int) -> str:
    """Rules that log the state behind connection tracking. They switch it on: only where it is on anyway."""
    word = "ip" if family == 4 else "ip6"
    rules = "\n".join(
        f'    ct state {state} log group 5 queue-threshold 1 prefix "state {state}"' for state in STATES
    )
    chains = "\n".join(
        f"  chain {hook} {{\n    type filter hook {hook} priority -198;\n{rules}\n  }}"
        for hook in ("prerouting", "output")
    )
    return f"table {word} watchstate {{\n{chains}\n}}\n"


def inside(namespace: str, make: Callable[[], T]) -> T:
    """Do something in a named network namespace: a socket made there stays there."""
    made: list[T] = []

    def enter() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
        try:
            if libc.setns(descriptor, 0x40000000) != 0:
                raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
        finally:
            os.close(descriptor)
        made.append(make())

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    return made[0]


@dataclass(frozen=True, slots=True)
class Logged:
    """One packet at one place: `input`, `output`, `left` or `state ...`."""

    where: str
    mark: int
    data: bytes

    @property
    def packet(self) -> Packet:
        return parse(self.data)


class Reader:
    """The logging group of one namespace."""

    def __init__(self, namespace: str) -> None:
        self._socket = inside(namespace, lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NFNETLINK))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self._socket.bind((0, 0))
        bind, copy = _attribute(1, b"\x01"), _attribute(2, struct.pack("!IBx", 0xFFFF, 2))
        for number, part in enumerate((bind, copy)):
            self._socket.send(_configure(number, part))
            code = struct.unpack("=i", self._socket.recv(4096)[16:20])[0]
            if code:
                raise OSError(-code, "the kernel refuses to log")
        self._socket.setblocking(False)

    def read(self) -> list[Logged]:
        """All that was logged since the last look, in order."""
        found: list[Logged] = []
        while True:
            try:
                data = self._socket.recv(1 << 17)
            except BlockingIOError:
                return found
            at = 0
            while at + 16 <= len(data):
                size, kind = struct.unpack("=IH", data[at : at + 6])
                if kind == PACKET:
                    found.append(_logged(data[at + 20 : at + size]))
                at += (size + 3) & ~3

    def close(self) -> None:
        self._socket.close()


def _attribute(kind: int, data: bytes) -> bytes:
    size = 4 + len(data)
    return struct.pack("=HH", size, kind) + data + bytes(-size % 4)


def _configure(number: int, attributes: bytes) -> bytes:
    body = struct.pack("!BBH", 0, 0, GROUP) + attributes
    return struct.pack("=IHHII", 16 + len(body), CONFIG, 1 | 4, number, 0) + body


def _logged(body: bytes) -> Logged:
    parts: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(body):
        size, kind = struct.unpack("=HH", body[at : at + 4])
        parts[kind & 0x3FFF] = body[at + 4 : at + size]
        at += (size + 3) & ~3
    mark = struct.unpack("!I", parts[2])[0] if 2 in parts else 0
    return Logged(parts.get(10, b"").rstrip(b"\0").decode(), mark, parts.get(9, b""))
