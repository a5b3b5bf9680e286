"""What came out of a probe, as small frozen records."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Run:
    """A program that ran inside a namespace."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Peer:
    """Who came to a server: source address and port as seen there, and how many bytes (UDP)."""

    address: str
    port: int
    size: int


@dataclass(frozen=True, slots=True)
class Connection:
    """How a TCP connection went.

    outcome: `answered` (connected and the echo came), `open` (connected, nothing said yet),
    `stalled` (connected, no echo), `refused` (a reset or an ICMP error; `how` names it),
    `dropped` (the SYN or its answer was lost).
    `seen` is (address, port) of this side as the server saw it; `asked` is whom the server was asked as.
    """

    outcome: str
    how: str = ""
    port: int = 0
    seen: tuple[str, int] | None = None
    asked: tuple[str, int] | None = None
    data: bytes = b""

    @property
    def ok(self) -> bool:
        return self.outcome == "answered"


@dataclass(frozen=True, slots=True)
class Answer:
    """How a UDP question went: `answered`, `refused` (ICMP error), `prohibited` (not sent), `silent`."""

    outcome: str
    how: str = ""
    port: int = 0
    seen: tuple[str, int] | None = None
    asked: tuple[str, int] | None = None
    data: bytes = b""

    @property
    def ok(self) -> bool:
        return self.outcome == "answered"


Greeting = tuple[tuple[str, int] | None, tuple[str, int] | None, bytes]


def greeting_of(data: bytes) -> Greeting:
    """Take the server's first line apart: who asked, whom, and the rest."""
    line, newline, rest = data.removeprefix(b"@").partition(b"\n")
    words = line.split(b" ")
    if not newline or len(words) != 4:
        return None, None, data
    peer, port, own, at = (word.decode() for word in words)
    return (peer, int(port)), (own, int(at)), rest


def connection_of(outcome: str, how: str, port: int, data: bytes = b"", *, asked: bool = False) -> Connection:
    if outcome == "open" and asked:
        outcome = "answered" if data else "refused" if how else "stalled"
    return Connection(outcome, how, port, *greeting_of(data))


def answer_of(pieces: list[bytes], how: str, port: int, unsent: bool) -> Answer:
    if pieces:
        return Answer("answered", how, port, *greeting_of(pieces[0]))
    if unsent:
        return Answer("refused" if how == "ECONNREFUSED" else "prohibited", how, port)
    return Answer("refused" if how else "silent", how, port)
