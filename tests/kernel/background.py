"""A client that asks without a pause, in a process of its own, and tells how long it went unanswered.

Run as a script it is that client: it enters the namespace, asks an echo server every `interval`
seconds until its standard input ends, and prints one line of JSON.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass

CLONE_NEWNET = 0x40000000
MODES = ("tcp", "connects", "udp")


@dataclass(frozen=True, slots=True)
class Service:
    """What the client got: questions, answers, the longest time between two answers (seconds), and how
    many connections it needed."""

    asked: int
    answered: int
    longest_gap: float
    connections: int


class Background:
    """The running client. `tcp` keeps one connection, `connects` makes a new one for each question,
    `udp` asks from one port. `stop()` ends it and tells."""

    def __init__(self, namespace: str, mode: str, dst: str, port: int, interval: float) -> None:
        if mode not in MODES:
            raise ValueError(f"mode is one of {', '.join(MODES)}")
        command = [sys.executable, "-I", "-S", __file__, namespace, mode, dst, str(port), str(interval)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self._process.stdout.readline()  # the first answer has come, or the first try has failed

    def stop(self) -> Service:
        out, _ = self._process.communicate(timeout=10)
        return Service(**json.loads(out))


class Client:
    """The loop itself."""

    def __init__(self, mode: str, dst: str, port: int, interval: float) -> None:
        self.mode = mode
        self.peer = (dst, port)
        self.interval = interval
        self.sock: socket.socket | None = None
        self.asked = self.answered = self.connections = 0
        self.longest = 0.0
        self.last = time.monotonic()

    def run(self) -> None:
        while not select.select([sys.stdin], [], [], self.interval)[0]:
            try:
                self.ask()
            except OSError:
                self.drop()
            if self.asked == 1:
                print("started", flush=True)
        self.longest = max(self.longest, time.monotonic() - self.last)
        told = Service(self.asked, self.answered, self.longest, self.connections)
        print(json.dumps({name: getattr(told, name) for name in Service.__slots__}))

    def ask(self) -> None:
        self.asked += 1
        if self.sock is None:
            self.connect()
        assert self.sock
        self.sock.send(b"%d" % self.asked)
        if self.sock.recv(4096):
            now = time.monotonic()
            self.longest = max(self.longest, now - self.last)
            self.last = now
            self.answered += 1
        if self.mode == "connects":
            self.drop()

    def connect(self) -> None:
        kind = socket.SOCK_DGRAM if self.mode == "udp" else socket.SOCK_STREAM
        self.sock = socket.socket(socket.AF_INET6 if ":" in self.peer[0] else socket.AF_INET, kind)
        # A kept connection waits for its retransmissions; a lost question is asked anew.
        self.sock.settimeout(5 if self.mode == "tcp" else 0.1)
        self.sock.connect(self.peer)
        self.connections += 1

    def drop(self) -> None:
        if self.sock is not None and self.mode != "udp":
            self.sock.close()
            self.sock = None


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    descriptor = os.open(f"/run/netns/{sys.argv[1]}", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), f"cannot enter {sys.argv[1]}")
    Client(sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5])).run()


if __name__ == "__main__":
    main()
