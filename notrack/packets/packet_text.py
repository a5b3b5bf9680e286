"""The command line's way to write a packet: `tcp 203.0.113.9:40000 > 198.51.100.1:80 in eth0 flags syn`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import field, replace

from notrack.packets.address import Family
from notrack.packets.fields import ICMP_PROTOCOL, PORT_PROTOCOLS, TCP_FLAGS, Fragment, State
from notrack.packets.packet import ICMP_TYPES, PROTOCOL_NAMES, Packet
from notrack.text.diagnostic import Diagnostic, Rejected, Severity
from notrack.text.nearest import nearest
from notrack.text.record import dataclass
from notrack.text.source import Source, Span

_USAGE = "write it as `tcp 203.0.113.9:40000 > 198.51.100.1:80 in eth0`"
_ENDS = {
    "tcp": 6, "udp": 17, "sctp": 132, "dccp": 33, "udplite": 136,
}  # fmt: skip
_NAMES = {name: number for number, name in PROTOCOL_NAMES.items()} | {"ipv6-icmp": 58, "ipencap": 4}
_ALIASES = {"ping": "echo-request", "pong": "echo-reply", "fragmentation-needed": "destination-unreachable"}
_MAC = re.compile(r"[0-9a-fA-F]{1,2}(:[0-9a-fA-F]{1,2}){5}")


def parse_packet(text: str, name: str = "packet") -> Packet:
    """The packet that a text describes. Raises `Rejected` with a diagnostic that marks the fault in the text.

    Without a source port it is 40000, without flags a TCP packet is a SYN, without `state` it is the first
    packet that the host sees of its flow.
    """
    return _Reader(Source(name, text)).packet()


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    span: Span


@dataclass(slots=True)
class _Reader:
    source: Source
    words: list[_Word] = field(default_factory=list)

    def packet(self) -> Packet:
        spaced = self.source.text
        self.words = [
            _Word(m.group(), self.source.span(*m.span())) for m in re.finditer(r">|[^\s>]+", spaced)
        ]
        protocol, kind = self._protocol()
        left = self._next("a source address")
        arrow = self._next("`>` and a destination")
        if arrow.text != ">":
            raise _fault(arrow.span, f"expected `>` behind the source, not `{arrow.text}`", _USAGE)
        right = self._next("a destination address")
        source, source_port = _end(left)
        destination, port = _end(right)
        if source.version != destination.version:
            raise _fault(right.span, "the two ends are of different address families", None)
        family = Family.IPV4 if source.version == 4 else Family.IPV6
        packet = Packet(
            family, protocol if protocol >= 0 else ICMP_PROTOCOL[family], int(source), int(destination)
        )
        packet = self._ported(packet, (left, source_port), (right, port))
        if kind is not None:
            packet = _icmp(packet, kind)
        return self._options(packet)

    def _next(self, wanted: str) -> _Word:
        if not self.words:
            end = len(self.source.text)
            raise _fault(self.source.span(end, end), f"expected {wanted} at the end of the packet", _USAGE)
        return self.words.pop(0)

    def _protocol(self) -> tuple[int, _Word | None]:
        """The protocol's number, -1 for the family's ICMP, and the word that names the ICMP type."""
        word = self._next("a protocol")
        if word.text in _ENDS:
            return _ENDS[word.text], None
        if word.text in ("icmp", "icmpv6", "icmp6", "ipv6-icmp"):
            return -1, self._next("an ICMP type")
        if word.text == "proto":
            return _protocol_number(self._next("the name or number of a protocol")), None
        meant = nearest(word.text, [*_ENDS, "icmp", "icmpv6", "proto"])
        hint = f"did you mean `{meant}`?" if meant else f"other protocols are written `proto {word.text}`"
        raise _fault(word.span, f"a packet begins with its protocol, not with `{word.text}`", hint)

    def _ported(
        self, packet: Packet, left: tuple[_Word, int | None], right: tuple[_Word, int | None]
    ) -> Packet:
        name = PROTOCOL_NAMES.get(packet.protocol, str(packet.protocol))
        if packet.protocol not in PORT_PROTOCOLS:
            for word, port in (left, right):
                if port is not None:
                    raise _fault(word.span, f"{name} has no ports", "leave the port out")
            return packet
        word, port = right
        if port is None and not any(w.text == "later" for w in self.words):
            shape = f"[{word.text}]:80" if packet.family is Family.IPV6 else f"{word.text}:80"
            raise _fault(word.span, f"{name} needs a destination port", f"for example `{shape}`")
        source_port = left[1] if left[1] is not None else 40000
        return replace(
            packet, source_port=source_port, destination_port=port, flags=2 if packet.protocol == 6 else 0
        )

    def _options(self, packet: Packet) -> Packet:
        seen: set[str] = set()
        while self.words:
            word = self.words.pop(0)
            known = nearest(word.text, _OPTIONS)
            if word.text not in _OPTIONS:
                hint = f"did you mean `{known}`?" if known else f"known are {', '.join(sorted(_OPTIONS))}"
                raise _fault(word.span, f"`{word.text}` says nothing about a packet", hint)
            if word.text in seen:
                raise _fault(word.span, f"`{word.text}` is said twice", None)
            seen.add(word.text)
            packet = _OPTIONS[word.text](packet, self._next(f"a value for `{word.text}`"))
        if packet.fragment is Fragment.LATER:
            packet = replace(
                packet, source_port=None, destination_port=None, flags=0, icmp_type=None, icmp_code=0
            )
        return packet


def _fault(span: Span, message: str, hint: str | None) -> Rejected:
    return Rejected((Diagnostic(Severity.ERROR, message, span, hint),))


def _protocol_number(word: _Word) -> int:
    if word.text in _NAMES:
        return _NAMES[word.text]
    if word.text.isascii() and word.text.isdigit() and len(word.text) < 4 and int(word.text) < 256:
        return int(word.text)
    meant = nearest(word.text, _NAMES)
    raise _fault(
        word.span,
        f"unknown protocol `{word.text}`",
        f"did you mean `{meant}`?" if meant else "give its number, 0 to 255",
    )


def _end(word: _Word) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int | None]:
    """An address and its port, `192.0.2.1:80`, `[2001:db8::1]:80`, or the bare address."""
    text, port = word.text, ""
    if text.startswith("["):
        text, closed, port = text[1:].partition("]")
        if not closed or (port and not port.startswith(":")):
            raise _fault(word.span, f"`{word.text}` is no address with a port", "write `[2001:db8::1]:443`")
        colon, port = port[:1], port[1:]
    elif text.count(":") == 1:
        text, colon, port = text.partition(":")
    else:
        colon = ""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        hint = (
            "IPv6 with a port is written `[2001:db8::1]:443`"
            if ":" in text
            else "give an address, not a name"
        )
        raise _fault(word.span, f"`{text}` is no address", hint) from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise _fault(word.span, "an address of a packet has no scope", "say the interface with `in` or `out`")
    return address, _number(word, port, 65535, "port") if colon else None


def _number(word: _Word, text: str, top: int, what: str) -> int:
    try:
        value = int(text, 0) if len(text) < 20 and not text.startswith("_") else -1
    except ValueError:
        value = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= value <= top:
        raise _fault(word.span, f"`{text}` is no {what}", f"a number from 0 to {top}")
    return value


def _icmp(packet: Packet, word: _Word) -> Packet:
    name, _, code = word.text.partition("/")
    known = ICMP_TYPES[packet.family]
    plain = _ALIASES.get(name, name).replace("neighbor", "neighbour")
    if packet.family is Family.IPV6 and name == "fragmentation-needed":
        plain = "packet-too-big"
    if plain not in known and not name.isdigit():
        meant = nearest(name, known)
        raise _fault(
            word.span,
            f"unknown ICMP type `{name}`",
            f"did you mean `{meant}`?" if meant else "give its number",
        )
    kind = known[plain] if plain in known else _number(word, name, 255, "ICMP type")
    value = _number(word, code, 255, "ICMP code") if code else 0
    if packet.family is Family.IPV4 and name == "fragmentation-needed":
        value = 4
    return replace(packet, icmp_type=kind, icmp_code=value)


def _flags(packet: Packet, word: _Word) -> Packet:
    if packet.protocol != 6:
        raise _fault(word.span, "only tcp has flags", None)
    flags = 0
    for name in word.text.lower().split(","):
        if name not in TCP_FLAGS and name != "none":
            meant = nearest(name, TCP_FLAGS)
            hint = f"did you mean `{meant}`?" if meant else f"flags are {', '.join(TCP_FLAGS)} and none"
            raise _fault(word.span, f"unknown flag `{name}`", hint)
        flags |= TCP_FLAGS.get(name, 0)
    return replace(packet, flags=flags)


def _interface(word: _Word) -> str:
    if len(word.text.encode()) > 15:
        raise _fault(word.span, f"`{word.text}` is too long for an interface", "at most 15 octets")
    return word.text


def _to(packet: Packet, word: _Word) -> Packet:
    if word.text != "host":
        raise _fault(
            word.span, f"`to {word.text}` is not known", "write `to host` for a packet to the host itself"
        )
    return replace(packet, local=True)


def _fragment(packet: Packet, word: _Word) -> Packet:
    try:
        return replace(packet, fragment=Fragment[word.text.upper()])
    except KeyError:
        raise _fault(word.span, f"`{word.text}` is no fragment", "one of whole, first, later") from None


def _state(packet: Packet, word: _Word) -> Packet:
    names = [state.name.lower() for state in State if state is not State.UNTRACKED]
    if word.text not in names:
        raise _fault(word.span, f"`{word.text}` is no state of a flow", f"one of {', '.join(names)}")
    return replace(packet, state=State[word.text.upper()])


def _mac(packet: Packet, word: _Word) -> Packet:
    if not _MAC.fullmatch(word.text):
        raise _fault(word.span, f"`{word.text}` is no MAC address", "write `02:00:00:00:00:01`")
    return replace(packet, mac=int("".join(octet.zfill(2) for octet in word.text.split(":")), 16))


_OPTIONS: dict[str, Callable[[Packet, _Word], Packet]] = {
    "in": lambda packet, word: replace(packet, in_interface=_interface(word)),
    "out": lambda packet, word: replace(packet, out_interface=_interface(word)),
    "physdev-in": lambda packet, word: replace(packet, bridge_in=_interface(word)),
    "physdev-out": lambda packet, word: replace(packet, bridge_out=_interface(word)),
    "to": _to,
    "flags": _flags,
    "fragment": _fragment,
    "mac": _mac,
    "mark": lambda packet, word: replace(packet, mark=_number(word, word.text, 2**32 - 1, "mark")),
    "ttl": lambda packet, word: replace(packet, ttl=_number(word, word.text, 255, "TTL")),
    "state": lambda packet, word: _state(packet, word),
    "length": lambda packet, word: replace(packet, length=_number(word, word.text, 65535, "length")),
}
