"""Single rules in both languages: what takes a service out of tracking, and what lets it through then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from notrack.draft.service import Asked
from notrack.lint.mending.wording import Wording
from notrack.packets.address import Family, prefix_text, prefixes
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet import PROTOCOL_NAMES
from notrack.site.model import Traffic
from notrack.text.record import dataclass

_MULTIPORT = 15  # ports that one multiport match takes; a range counts as two


@dataclass(frozen=True, slots=True)
class Line:
    """Matches of one rule. `ports` are the service's, at the destination or (`answers`) at the source.

    `local`: the address that is the service's must be the host's own. `device` is where packets come in or,
    at OUTPUT, go out.
    """

    protocol: int
    ports: IntervalSet
    answers: bool = False
    peer: str | None = None
    own: str | None = None
    device: str | None = None
    local: bool = False

    @property
    def mirrored(self) -> Line:
        return replace(self, answers=not self.answers)


def requests(asked: Asked, family: Family, *, local: bool) -> Iterator[Line]:
    """What packets to the service look like. `local`: nothing else tells that they are for the host."""
    peers = _networks(asked.peers.family(family), family)
    own = _networks(asked.own.family(family), family) if asked.own is not None else [None]
    for traffic, peer, address, device in product(asked.traffic, peers, own, asked.devices or (None,)):
        for ports in _portions(traffic):
            yield Line(
                traffic.protocol,
                ports,
                peer=peer,
                own=address,
                device=device,
                local=local and address is None,
            )


def _networks(addresses: IntervalSet, family: Family) -> list[str | None]:
    """Prefixes as text; None for all addresses."""
    if addresses == family.whole:
        return [None]
    return [prefix_text(value, length, family) for value, length in prefixes(addresses, family)]


def _portions(traffic: Traffic) -> Iterator[IntervalSet]:
    """The ports, as many at a time as one rule takes."""
    part: list[tuple[int, int]] = []
    room = _MULTIPORT
    for low, high in traffic.ports:
        cost = 1 if low == high else 2
        if cost > room:
            yield IntervalSet.of(part)
            part, room = [], _MULTIPORT
        part.append((low, high))
        room -= cost
    yield IntervalSet.of(part)


def xtables_matches(line: Line, hook: str, family: Family) -> str:
    """The matches as iptables-save spells them, in its order."""
    source, destination = (line.own, line.peer) if line.answers else (line.peer, line.own)
    bits = family.bits
    words: list[str] = []
    for option, address in (("-s", source), ("-d", destination)):
        if address is not None:
            words += [option, address if "/" in address else f"{address}/{bits}"]
    if line.device is not None:
        words += ["-o" if hook == "OUTPUT" else "-i", line.device.replace("*", "+")]
    name = PROTOCOL_NAMES[line.protocol]
    words += ["-p", name, *_xtables_ports(line, name)]
    if line.local:
        words += ["-m", "addrtype", "--src-type" if line.answers else "--dst-type", "LOCAL"]
    return " ".join(words)


def _xtables_ports(line: Line, name: str) -> list[str]:
    side = "sport" if line.answers else "dport"
    texts = _port_texts(line.ports, ":")
    if len(texts) == 1:
        return ["-m", name, f"--{side}", texts[0]]
    return ["-m", "multiport", f"--{side}s", ",".join(texts)]


def _port_texts(ports: IntervalSet, dash: str) -> list[str]:
    return [str(low) if low == high else f"{low}{dash}{high}" for low, high in ports]


def nft_matches(line: Line, hook: str, family: Family | None) -> str:
    """The matches as nft lists them; `family` None for a rule of both."""
    ip = "ip6" if family is Family.IPV6 else "ip"
    source, destination = (line.own, line.peer) if line.answers else (line.peer, line.own)
    words: list[str] = []
    if line.device is not None:
        words.append(f'{"oifname" if hook == "OUTPUT" else "iifname"} "{line.device}"')
    words += [f"{ip} saddr {source}"] if source else []
    words += [f"{ip} daddr {destination}"] if destination else []
    if line.local:
        words.append(f"fib {'saddr' if line.answers else 'daddr'} type local")
    return " ".join((*words, nft_ports(line)))


def nft_ports(line: Line) -> str:
    texts = _port_texts(line.ports, "-")
    side = "sport" if line.answers else "dport"
    shown = texts[0] if len(texts) == 1 else "{ " + ", ".join(texts) + " }"
    return f"{PROTOCOL_NAMES[line.protocol]} {side} {shown}"


def ports_wording(line: Line, *, protocol_known: bool) -> Wording:
    """The protocol and the ports as one more match of a rule that is there."""
    name = PROTOCOL_NAMES[line.protocol]
    head = [] if protocol_known else ["-p", name]
    return Wording(" ".join([*head, *_xtables_ports(line, name)]), nft_ports(line))
