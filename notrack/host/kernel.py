"""Real packets through rules on the real kernel: what `bench.py` is told, and what it says."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from notrack.host.system import System
from notrack.host.wire import octets
from notrack.packets.address import Family, address_text
from notrack.packets.packet import Packet
from notrack.text.record import dataclass

BENCH = Path(__file__).with_name("bench.py")


class KernelRefused(Exception):
    """No packets could be sent: the kernel, a tool or the rules are in the way; the message says which.

    `missing`: a tool is not installed.
    """

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing


@dataclass(frozen=True, slots=True)
class Device:
    """A device of the host on the bench; addresses with the lengths of their prefixes."""

    name: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Load:
    """A command that loads rules, and its standard input."""

    words: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Shot:
    """A packet to send. `goal`, `port`: its destination behind all translation, if that is another.

    `goes_on`: it goes through a host that remembers the flows of the packets before it.
    """

    packet: Packet
    way: str  # local in, forward, local out, loopback
    goal: int | None = None
    port: int | None = None
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of a packet: accept, drop or reject, and how many entries it left (None: not known)."""

    verdict: str
    entries: int | None


def shoot(
    system: System, devices: Sequence[Device], load: Sequence[Load], shots: Sequence[Shot]
) -> list[Seen]:
    """Sends every packet through a fresh host with these rules. Raises `KernelRefused`."""
    request = {
        "devices": [{"name": one.name, "addresses": list(one.addresses)} for one in devices],
        "load": [{"words": list(one.words), "input": one.text} for one in load],
        "probes": [_probe(shot, number) for number, shot in enumerate(shots, 1)],
    }
    ran = system.run((sys.executable, "-I", str(BENCH)), stdin=json.dumps(request))
    try:
        answer: dict[str, Any] = json.loads(ran.out)
    except ValueError:
        said = (ran.err.strip().splitlines() or [f"exit status {ran.status}"])[-1]
        raise KernelRefused(f"the test bench failed: {said}") from None
    if "error" in answer:
        message = f"{_STAGES.get(answer['stage'], '')}{answer['error']}"
        raise KernelRefused(message, missing=answer["stage"] == "tools")
    return [Seen(one["seen"], one["entries"]) for one in answer["probes"]]


_STAGES = {
    "namespaces": "the kernel lets nobody but root make network namespaces, or none at all: ",
    "tools": "a tool is missing: ",
    "devices": "the test bench cannot be built: ",
    "rules": "the kernel refuses the rules: ",
    "routes": "the test bench cannot be built: ",
    "probes": "the test bench failed: ",
}


def _probe(shot: Shot, number: int) -> dict[str, object]:
    packet = shot.packet
    ends = [address_text(value, packet.family) for value in (packet.source, packet.destination)]
    links: list[tuple[str, str]] = []
    own: list[tuple[str, str]] = []
    if packet.in_interface is not None:
        links.append((ends[0], packet.in_interface))
    if shot.way == "local in" and packet.in_interface is not None:
        own.append((ends[1], packet.in_interface))
    if packet.out_interface is not None and packet.out_interface != "lo":
        goal = packet.destination if shot.goal is None else shot.goal
        links.append((address_text(goal, packet.family), packet.out_interface))
        if packet.in_interface is None:
            own.append((ends[0], packet.out_interface))
    length = packet.family.bits
    return {
        "packet": octets(packet, number).hex(),
        "way": shot.way,
        "in": packet.in_interface,
        "out": packet.out_interface,
        "family": 4 if packet.family is Family.IPV4 else 6,
        "protocol": packet.protocol,
        "ports": [packet.source_port or 0, packet.destination_port or 0],
        "destination": ends[1],
        "goes_on": shot.goes_on,
        "served": shot.port or packet.destination_port or 0,
        "links": links,
        "own": [(f"{address}/{length}", device) for address, device in own],
    }
