"""One part of a group in the words of iptables: every condition as a list of alternatives."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.layout.listing import Prefixes, is_named, listing, port_chunks, port_words
from notrack.packets.address import Family
from notrack.packets.intervals import IntervalSet
from notrack.plan.box import (
    ICMP_TYPES,
    PORTS,
    PROTOCOLS,
    REACH_ANY,
    REACH_BROADCAST,
    REACH_LOCAL,
    REACH_NOT_LOCAL,
    TCP,
    Box,
    Flags,
    icmp_protocol,
)
from notrack.text.record import dataclass

_NAMES = {6: "tcp", 17: "udp", 132: "sctp", 1: "icmp", 58: "ipv6-icmp"}
_FLAGS = {
    Flags.NO_BARE_SYN: "! --tcp-flags FIN,SYN,RST,ACK SYN",
    Flags.BARE_SYN: "--tcp-flags FIN,SYN,RST,ACK SYN",
    Flags.ANSWER: "! --tcp-flags RST,ACK NONE",
    Flags.SYN: "--tcp-flags SYN,RST SYN",
}


@dataclass(frozen=True, slots=True)
class Match:
    """Everything behind -p: ports, flags, types, address types; and what of the box it holds for."""

    text: str
    source_ports: IntervalSet = PORTS
    destination_ports: IntervalSet = PORTS
    icmp: IntervalSet = ICMP_TYPES


@dataclass(frozen=True, slots=True)
class Phrase:
    """A box in words. A rule takes one word of each list; the addresses may go to a chain of their own."""

    sources: Prefixes | None
    destinations: Prefixes | None
    devices: tuple[str, ...]
    protocols: tuple[str, ...]
    fragment: str
    matches: tuple[Match, ...]

    def others(self) -> int:
        """How many rules it takes without the addresses."""
        return len(self.devices) * len(self.protocols) * len(self.matches)


def phrase(box: Box, own: IntervalSet = IntervalSet(), *, in_one_rule: bool = False) -> Phrase:  # noqa: B008
    """`own`: the addresses that the site calls the host's. `in_one_rule`: without chains for addresses,
    whatever it costs."""
    family = box.family
    return Phrase(
        None if box.source is None else listing(box.source, family, in_one_rule=in_one_rule),
        None if box.destination is None else listing(box.destination, family, in_one_rule=in_one_rule),
        tuple(_devices(box)),
        tuple(_protocols(box.protocol)),
        "-f" if box.later_fragment and family is Family.IPV4 else "",
        tuple(_matches(box, own)),
    )


def _devices(box: Box) -> Iterator[str]:
    for device in box.devices or ("",):
        for out in box.out_devices or ("",):
            yield _words(f"-i {_pattern(device)}" if device else "", f"-o {_pattern(out)}" if out else "")


def _pattern(device: str) -> str:
    return device[:-1] + "+" if device.endswith("*") else device


def _protocols(protocol: IntervalSet) -> Iterator[str]:
    if protocol == PROTOCOLS:
        yield ""
        return
    rest = PROTOCOLS - protocol
    if rest.size() == 1:
        yield f"! -p {protocol_name(rest.least())}"
        return
    for low, high in protocol:
        yield from (f"-p {protocol_name(number)}" for number in range(low, high + 1))


def protocol_name(number: int) -> str:
    """As iptables-save prints it: a name where the tool has one of its own, else the number."""
    return _NAMES.get(number, str(number))


def _matches(box: Box, own: IntervalSet) -> Iterator[Match]:
    single = box.protocol.least() if box.protocol.size() == 1 else None
    reach = _reach(box, own)
    if single == icmp_protocol(box.family) and box.icmp != ICMP_TYPES:
        match, option = ("icmp", "--icmp-type") if box.family is Family.IPV4 else ("icmp6", "--icmpv6-type")
        for number in (n for low, high in box.icmp for n in range(low, high + 1)):
            yield Match(_words(f"-m {match} {option} {number}", reach), icmp=IntervalSet.single(number))
        return
    for sports in port_chunks(box.source_ports):
        for dports in port_chunks(box.destination_ports):
            words = _port_words(single, port_words(sports), port_words(dports), box)
            yield Match(_words(*words, reach), sports, dports)


def _port_words(
    protocol: int | None, sports: tuple[str, ...], dports: tuple[str, ...], box: Box
) -> Iterator[str]:
    own: list[str] = []
    lists: list[str] = []
    for option, ports in (("sport", sports), ("dport", dports)):
        if len(ports) == 1:
            own.append(f"--{option} {ports[0]}")
        elif ports:
            lists.append(f"-m multiport --{option}s {','.join(ports)}")
    if protocol == TCP and box.flags is not Flags.ANY:
        own.append(_FLAGS[box.flags])
    if own and protocol is not None:
        yield f"-m {protocol_name(protocol)} {' '.join(own)}"
    yield from lists


def _reach(box: Box, own: IntervalSet) -> str:
    named = is_named(box, own)
    if box.reach == REACH_LOCAL and not named:
        return "-m addrtype --dst-type LOCAL"
    if box.reach == REACH_NOT_LOCAL:
        return "-m addrtype ! --dst-type LOCAL"
    if box.reach == REACH_BROADCAST:
        return "-m addrtype --dst-type BROADCAST"
    assert named or box.destination is not None or box.reach == REACH_ANY, box.reach
    return ""


def _words(*parts: str) -> str:
    return " ".join(part for part in parts if part)
