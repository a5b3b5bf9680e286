"""What the entries of a set ask of a packet: each part of a key as literals, by the type of the set.

Facts of the kernel (Linux 6.18; tests/kernel/test_ipset_matches.py): `bitmap:port` sees ports of TCP and UDP
alone, hashes also those of SCTP and UDPLITE, and ICMP types in their place; any other protocol stands with
port 0. A later fragment has no port, but in IPv4 another protocol than these is found all the same. Of
overlapping networks the narrowest decides, which matters where some are marked `nomatch`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from notrack.packets.address import Family
from notrack.packets.fields import ICMP_PROTOCOL, Field, interface_prefix, interface_value
from notrack.packets.intervals import IntervalSet
from notrack.ruleset import core
from notrack.ruleset.ipset.tree import Member, Set
from notrack.ruleset.xtables import values
from notrack.ruleset.xtables.header_lowering import saved_address
from notrack.ruleset.xtables.literals import HEADED, single
from notrack.text.record import dataclass

PORTED: Final = IntervalSet.of(((6, 6), (17, 17), (132, 132), (136, 136)))
PORTED_BITMAP: Final = IntervalSet.of(((6, 6), (17, 17)))
_MASK: Final = (1 << 32) - 1
_EVERY_PORT: Final = IntervalSet(((0, 65535),))


class Unsayable(ValueError):
    """A part of a key that has no exact form."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One member: the networks of its first part (if that is an address), and what its other parts ask."""

    networks: tuple[tuple[int, int], ...] | None  # first and last address of each
    rest: core.Guard
    negated: bool = False  # nomatch
    timed: bool = False  # it may be gone


@dataclass(frozen=True, slots=True)
class Reading:
    """How the keys of one set are read at a rule: the sides are `src` or `dst`, one for each part."""

    found: Set
    sides: tuple[str, ...]
    family: Family

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.found.type.partition(":")[2].split(","))

    @property
    def first(self) -> Field:
        """The field of the first part, where that is an address."""
        return Field.SOURCE if self.sides[0] == "src" else Field.DESTINATION

    def entries(self) -> Iterable[Entry]:
        """All members. Raises `Unsayable`."""
        for member in self.found.members:
            yield self._entry(member)

    def _entry(self, member: Member) -> Entry:
        words = member.key.split(",")
        if len(words) > len(self.parts):
            raise Unsayable(member.key)
        networks: tuple[tuple[int, int], ...] | None = None
        rest: core.Guard = ()
        for at, (part, side) in enumerate(zip(self.parts, self.sides, strict=False)):
            word = words[at] if at < len(words) else ""
            if at == 0 and part in ("ip", "net"):
                networks = self._networks(word)
            else:
                rest += self._part(part, word, side, member)
        timeout = member.setting("timeout") or self.found.setting("timeout") or "0"
        strange = any(not value and name not in _KNOWN_FLAGS for name, value in member.settings)
        return Entry(networks, rest, member.setting("nomatch") is not None, timeout != "0" or strange)

    # Parts.

    def _part(self, part: str, word: str, side: str, member: Member) -> core.Guard:
        match part:
            case "ip" | "net":
                field = Field.SOURCE if side == "src" else Field.DESTINATION
                return (core.Among(field, IntervalSet.of(self._networks(word))),)
            case "port":
                return self._port(word, side)
            case "mac":
                return self._mac(word, side)
            case "iface":
                return self._interface(word, side, member)
            case "mark":
                mask = values.number(self.found.setting("markmask") or hex(_MASK))
                return (core.Masked(Field.MARK, mask, values.number(word) & mask),)
        raise Unsayable(part)

    def _networks(self, word: str) -> tuple[tuple[int, int], ...]:
        found = saved_address(word) if self.family is Family.IPV4 else None
        if found is None and "-" in word and not word.startswith("["):
            found = values.address_range(word, self.family)
        elif found is None:
            found = values.addresses(word, self.family)
        if found is None:
            raise Unsayable(word)
        mask = self._mask()
        return found.spans if mask is None else _masked(found, mask, self.family)

    def _mask(self) -> int | None:
        """What a set of single addresses leaves of an address before it looks."""
        length, mask = self.found.setting("netmask"), self.found.setting("bitmask")
        if length is not None:
            bits = values.number(length, self.family.bits)
            return (1 << self.family.bits) - (1 << self.family.bits - bits)
        return int(ipaddress.ip_address(mask)) if mask is not None else None

    def _port(self, word: str, side: str) -> core.Guard:
        ported = PORTED_BITMAP if self.found.type == "bitmap:port" else PORTED
        field = Field.SOURCE_PORT if side == "src" else Field.DESTINATION_PORT
        name, colon, text = word.partition(":")
        if self.found.type == "bitmap:port":
            ports = _ports(text if colon else name)
            return (core.Among(Field.PROTOCOL, ported), HEADED, core.Among(field, ports))
        if not colon:
            name, text = "tcp", name
        protocol = values.protocol(name)
        if protocol is None:
            raise Unsayable(word)
        if protocol in ported:
            return (single(Field.PROTOCOL, protocol), HEADED, core.Among(field, _ports(text)))
        if protocol in ICMP_PROTOCOL.values():
            return self._icmp(protocol, text)
        if text != "0":
            raise Unsayable(word)
        whole = (HEADED,) if self.family is Family.IPV6 else ()
        return (single(Field.PROTOCOL, protocol), *whole)

    def _icmp(self, protocol: int, text: str) -> core.Guard:
        if protocol != ICMP_PROTOCOL[self.family]:
            raise Unsayable(text)
        kinds, codes = values.icmp(text.lower().replace("ping", "echo-request"), self.family)
        if "/" not in text and text[:1].isdigit():  # one number: type and code in two octets
            number = values.number(text, 65535)
            kinds, codes = IntervalSet.single(number >> 8), IntervalSet.single(number & 255)
        elif codes.size() > 1:
            codes = IntervalSet.single(0)
        kind, code = core.Among(Field.ICMP_TYPE, kinds), core.Among(Field.ICMP_CODE, codes)
        return (single(Field.PROTOCOL, protocol), HEADED, kind, code)

    def _mac(self, word: str, side: str) -> core.Guard:
        text = f"of {self.found.name}: {word or 'a link-layer address that it learns'}, {side}"
        if side == "dst" or not word:
            return (core.Fact(text),)
        return (single(Field.MAC, values.mac(word)),)

    def _interface(self, word: str, side: str, member: Member) -> core.Guard:
        fields = (Field.IN, Field.OUT)
        if word.startswith("physdev:"):
            word, fields = word.removeprefix("physdev:"), (Field.BRIDGE_IN, Field.BRIDGE_OUT)
        field = fields[0] if side == "src" else fields[1]
        if member.setting("wildcard") is not None:
            return (core.Among(field, interface_prefix(word)),)
        return (single(field, interface_value(word)),)


_KNOWN_FLAGS: Final = frozenset(("nomatch", "comment", "wildcard"))


def _ports(text: str) -> IntervalSet:
    low, dash, high = text.partition("-")
    first, last = values.port(low), values.port(high) if dash else None
    if first is None or (dash and last is None):
        raise Unsayable(text)
    return IntervalSet(((first, first if last is None else last),))


def _masked(found: IntervalSet, mask: int, family: Family) -> tuple[tuple[int, int], ...]:
    """The addresses of which the mask leaves as much as of one of those given."""
    free = ((1 << family.bits) - 1) & ~mask
    if free & (free + 1):
        raise Unsayable("a mask with holes")
    return tuple((low & mask, high | free) for low, high in found.spans)


def decided(entries: Iterable[Entry], family: Family) -> IntervalSet:
    """The addresses that entries of one rest take: the narrowest network that holds one decides."""
    entries = tuple(entries)
    if not any(entry.negated for entry in entries):
        return IntervalSet.of(span for entry in entries for span in entry.networks or ())
    prefixes = [
        (low, high, entry.negated)
        for entry in entries
        for span in entry.networks or ()
        for low, high in _prefixes(span, family)
    ]
    result = IntervalSet()
    widths = sorted({high - low for low, high, _ in prefixes}, reverse=True)
    for width in widths:
        of_width = [one for one in prefixes if one[1] - one[0] == width]
        taken = IntervalSet.of((low, high) for low, high, negated in of_width if not negated)
        left = IntervalSet.of((low, high) for low, high, negated in of_width if negated)
        result = (result - left) | taken
    return result


def _prefixes(span: tuple[int, int], family: Family) -> Iterable[tuple[int, int]]:
    """A stretch of addresses as ipset cuts it into networks."""
    low, last = span
    while low <= last:
        size = low & -low or 1 << family.bits
        while size > last - low + 1:
            size >>= 1
        yield low, low + size - 1
        low += size
