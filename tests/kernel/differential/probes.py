"""Random packets for a lab: who sends what, and what follows upon what arrived.

A probe is either a first packet, said in full, or a follow-up of an earlier one (`after`). Each carries its
number in every eight octets of its payload, so that it is known wherever it is seen.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, replace

from tests.kernel import packet
from tests.kernel.differential import world

FLAG_CHOICES = ("S", "S", "S", "S", "SA", "A", "PA", "R", "RA", "F", "FA", "SF", "", "FPU", "SR", "PAU")
ECHO = {4: 8, 6: 128}
ECHO_REPLY = {4: 0, 6: 129}
PAYLOAD = 24
GROUPED = (*world.GROUPS.values(), world.BROADCAST)
MAGIC = b"\xd1\xff\x0a"  # no port, no header begins like this


@dataclass(frozen=True, slots=True)
class Probe:
    """One packet to send. `sender` is client, server or host; `icmp` a type and code; `frame` host, broadcast
    or multicast, or nothing: as the destination asks for.

    `after` is the number of the probe that it follows and `role` how: `answer` goes back from where that one
    arrived, `repeat` comes from its sender again, `error` is an ICMP error about it from where it arrived.
    Addresses, ports and `inner` (what the error quotes) are then filled in from what arrived.
    """

    number: int
    sender: str = "client"
    family: int = 4
    proto: int = 17
    src: str = ""
    dst: str = ""
    sport: int = 0
    dport: int = 0
    flags: str = "S"
    icmp: tuple[int, int] | None = None
    ttl: int = 64
    tos: int = 0
    fragments: bool = False
    frame: str = ""
    after: int | None = None
    role: str = ""
    seq: int = 0
    ack: int = 0
    inner: bytes = b""

    @property
    def ported(self) -> bool:
        return self.proto in (6, 17)

    @property
    def is_error(self) -> bool:
        return self.icmp is not None and self.icmp[0] in ((3, 11) if self.family == 4 else (1, 2, 3))


def marker(number: int) -> bytes:
    return MAGIC + struct.pack("!IB", number, 0xAA)


def number_in(data: bytes) -> int | None:
    """The number of the probe that a packet is, or quotes."""
    at = data.find(MAGIC)
    return struct.unpack("!I", data[at + 3 : at + 7])[0] if 0 <= at <= len(data) - 7 else None


def octets(probe: Probe) -> list[bytes]:
    """The packet on the wire, in fragments if it says so."""
    body = marker(probe.number) * (PAYLOAD // 8 * (3 if probe.fragments else 1))
    if probe.proto == 6:
        seq, ack = probe.seq or probe.number << 12, probe.ack or probe.number << 12 | 0x555
        made = packet.tcp(probe.src, probe.sport, probe.dst, probe.dport, probe.flags, body, seq=seq, ack=ack)
    elif probe.proto == 17:
        made = packet.udp(probe.src, probe.sport, probe.dst, probe.dport, body)
    elif probe.icmp is not None:
        rest = struct.pack("!HH", probe.sport, 1) + body
        if probe.is_error:
            rest = bytes(4) + quoted(probe)
        made = packet.icmp(probe.src, probe.dst, *probe.icmp, rest)
    else:
        made = packet.raw(probe.src, probe.dst, probe.proto, bytes(8) + body)
    pieces = packet.fragments(made, 32, ident=probe.number) if probe.fragments else [made]
    return [shaped(piece, probe) for piece in pieces]


def quoted(probe: Probe) -> bytes:
    """The packet that an ICMP error is about: it went the other way (`sport` and `dport` are its own)."""
    if probe.inner:
        return probe.inner
    return packet.udp(probe.dst, probe.sport, probe.src, probe.dport, marker(probe.number) * 2)


def renumbered(data: bytes, number: int) -> bytes:
    """A packet with another number in it."""
    old = number_in(data)
    return data if old is None else data.replace(marker(old), marker(number))


def shaped(made: bytes, probe: Probe) -> bytes:
    """The packet with its TTL and TOS."""
    data = bytearray(made)
    if probe.family == 4:
        data[1], data[8] = probe.tos, probe.ttl
        data[10:12] = b"\0\0"
        data[10:12] = struct.pack("!H", packet.checksum(bytes(data[:20])))
    else:
        data[0], data[1] = 0x60 | probe.tos >> 4, (probe.tos & 15) << 4
        data[7] = probe.ttl
    return bytes(data)


def random_probes(rng: random.Random, families: tuple[int, ...], count: int) -> list[Probe]:
    """First packets of flows, each of its own, and follow-ups of about a third of them."""
    made: list[Probe] = []
    flows: set[tuple[object, ...]] = set()
    while len(made) < count:
        probe = first(rng, rng.choice(families), len(made) + 1)
        key = (probe.proto, frozenset(((probe.src, probe.sport), (probe.dst, probe.dport))))
        if key in flows:
            continue
        flows.add(key)
        made.append(probe)
        made += follow_ups(rng, probe, len(made) + 1)
    return made[:count]


def first(rng: random.Random, family: int, number: int) -> Probe:
    """The first packet of a flow."""
    sender = rng.choice(("client", "client", "client", "server", "server", "host", "host"))
    src, dst = _ends(rng, sender, family)
    probe = Probe(number, sender, family, src=src, dst=dst)
    if rng.random() < 0.2:
        probe = replace(probe, ttl=rng.choice((1, 2, 10, 11, 65, 128)))
    if sender != "host" and rng.random() < (0.5 if dst in GROUPED else 0.04):
        probe = replace(probe, frame=rng.choice(("host", "broadcast", "multicast")))
    if rng.random() < 0.1:
        probe = replace(probe, tos=rng.choice((0x20, 0xB8)))
    kind = rng.choice(("tcp", "tcp", "tcp", "udp", "udp", "udp", "echo", "icmp", "other", "pieces"))
    if kind in ("tcp", "udp", "pieces"):
        probe = replace(probe, proto=6 if kind == "tcp" else 17, sport=_port(rng, 0.4), dport=_port(rng, 0.9))
        pieces = kind == "pieces" and sender != "host"
        return replace(probe, flags=rng.choice(FLAG_CHOICES) if kind == "tcp" else "", fragments=pieces)
    icmp = 1 if family == 4 else 58
    if kind == "other":
        return replace(probe, proto=rng.choice(world.OTHER_PROTOCOLS), flags="")
    if kind == "echo" or sender == "host":
        return replace(probe, proto=icmp, icmp=(ECHO[family], 0), sport=1000 + number, flags="")
    types = ((0, 0), (3, 3), (3, 4), (11, 0), (13, 0)) if family == 4 else ((129, 0), (1, 4), (2, 0), (3, 0))
    return replace(
        probe, proto=icmp, icmp=rng.choice(types), sport=_port(rng, 0.5), dport=_port(rng, 0.5), flags=""
    )


def _port(rng: random.Random, known: float) -> int:
    return rng.choice(world.PORTS) if rng.random() < known else rng.randint(1024, 65000)


def _ends(rng: random.Random, sender: str, family: int) -> tuple[str, str]:
    if sender == "host":
        if rng.random() < 0.4:
            dst = rng.choice((*world.own(family), world.LOOPBACK[family]))
            own = world.LOOPBACK[family] if dst == world.LOOPBACK[family] else rng.choice(world.own(family))
            return own, dst
        dst = rng.choice(world.peers("client", family) + world.peers("server", family))
        return rng.choice(world.own(family)), dst
    src = rng.choice(world.peers(sender, family))
    if rng.random() < 0.06:
        groups = (world.GROUPS[4], world.BROADCAST) if family == 4 else (world.GROUPS[6],)
        if sender == "client":
            return src, rng.choice(groups)
    other = "server" if sender == "client" else "client"
    targets = world.own(family) * 2 + world.peers(other, family) * 2 + world.peers(sender, family)
    return src, rng.choice([address for address in targets if address != src])


def follow_ups(rng: random.Random, probe: Probe, number: int) -> list[Probe]:
    """What may come after a first packet: a short conversation, or an error about it."""
    opens = probe.proto == 17 or probe.flags == "S" or probe.icmp == (ECHO[probe.family], 0)
    other = probe.proto in world.OTHER_PROTOCOLS
    multi = probe.dst in GROUPED or probe.frame in ("broadcast", "multicast")
    if not (opens or other) or multi or probe.fragments or rng.random() < 0.5:
        return []

    def after(what: int, role: str) -> Probe:
        return Probe(number + len(made), family=probe.family, after=what, role=role)

    made: list[Probe] = []
    if rng.random() < 0.25:
        return [after(probe.number, "error")]
    if probe.proto != 6 and rng.random() < 0.3:
        made.append(after(probe.number, "repeat"))
    last = probe.number
    for _ in range(rng.choice((1, 1, 2, 3))):
        made.append(after(last, "answer"))
        last = made[-1].number
    return made
