"""What the values of options mean: addresses, ports, states, marks, types. Each function takes the word of a
rule and raises `Meaningless` with a sentence about it, where iptables would refuse it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence

from notrack.packets.address import Family
from notrack.packets.fields import TCP_FLAGS, AddressType
from notrack.packets.intervals import IntervalSet
from notrack.ruleset.xtables.names import DSCP_CLASSES, ICMP_TYPES, PROTOCOLS, SERVICES, TOS_NAMES

STATES = ("INVALID", "NEW", "ESTABLISHED", "RELATED", "UNTRACKED", "SNAT", "DNAT")
STATUSES = ("EXPECTED", "SEEN_REPLY", "ASSURED", "CONFIRMED", "NONE")
PORTS_MAXIMUM = 15  # of one multiport option; a range counts twice
# Intervals of an address with a mask that has holes. A mask like 255.0.0.255 would need 65,536, which takes
# the model half a second for each rule that has one.
SCATTER_MAXIMUM = 4096
_NAME = re.compile(r"[A-Za-z0-9_](?:[\w.+*-]*[A-Za-z0-9_+*])?\.?", re.ASCII)
_NUMERIC = re.compile(r"[\d.]+")
_MAC = re.compile(r"[0-9A-Fa-f]{1,2}(?::[0-9A-Fa-f]{1,2}){5}")
_FLAG_NAMES = {**{name.upper(): bit for name, bit in TCP_FLAGS.items() if bit < 64}, "ALL": 63, "NONE": 0}


class Meaningless(ValueError):
    """A value that means nothing; the message says why."""


def number(word: str, maximum: int = 2**32 - 1) -> int:
    """A number as C reads it: decimal, 0x for hexadecimal, a leading 0 for octal."""
    text = word.lower()
    base = 16 if text.startswith("0x") else 8 if text.startswith("0") and len(text) > 1 else 10
    digits = text.removeprefix("0x") if base == 16 else text
    if not digits or len(digits) > 64 or not all(digit in "0123456789abcdef"[:base] for digit in digits):
        raise Meaningless(f"{word!r} is not a number")
    value = int(digits, base)
    if value > maximum:
        raise Meaningless(f"{word} is more than {maximum}")
    return value


def numbers(word: str, maximum: int = 2**32 - 1) -> IntervalSet:
    """A number or a range `low:high`; a missing end is the least or the greatest."""
    low, colon, high = word.partition(":")
    first = number(low, maximum) if low or not colon else 0
    last = first if not colon else number(high, maximum) if high else maximum
    return _ordered(first, last, word)


def port(word: str) -> int | None:
    """A port by number or name; None for a name that this table does not hold."""
    if word.isascii() and word.isdecimal():
        if len(word) > 9 or int(word) > 65535:
            raise Meaningless(f"{word} is no port: the greatest is 65535")
        return int(word)
    if word.lower() in SERVICES:
        return SERVICES[word.lower()]
    if not _NAME.fullmatch(word) or not any(char.isalpha() for char in word):
        raise Meaningless(f"{word!r} is neither a port nor a service")
    return None


def ports(word: str) -> IntervalSet | None:
    """A port or a range `low:high` with either end left out; None if it names an unknown service."""
    low, colon, high = word.partition(":")
    first = port(low) if low or not colon else 0
    last = first if not colon else port(high) if high else 65535
    if first is None or last is None:
        return None
    return _ordered(first, last, word)


def port_list(word: str) -> IntervalSet | None:
    """The ports of a multiport option."""
    items = word.split(",")
    if sum(2 if ":" in item else 1 for item in items) > PORTS_MAXIMUM:
        raise Meaningless(f"more than {PORTS_MAXIMUM} ports (a range counts twice)")
    found = [ports(item) for item in items]
    if any(item is None for item in found):
        return None
    return IntervalSet.of(span for item in found if item is not None for span in item)


def protocol(word: str) -> int | None:
    """A protocol number, 0 for all of them; None for a name that this table does not hold."""
    if word.isascii() and word.isdecimal():
        if len(word) > 9 or int(word) > 255:
            raise Meaningless(f"{word} is no protocol: the greatest is 255")
        return int(word)
    known = PROTOCOLS.get(word.lower())
    if known is None and not _NAME.fullmatch(word):
        raise Meaningless(f"{word!r} is no protocol")
    return known


def addresses(word: str, family: Family) -> IntervalSet | None:
    """An address, prefix, address with a mask, or several with commas; None where only a resolver could
    tell, or if a mask has so many holes that listing its addresses is unwise."""
    found = [_network(item, family) for item in word.split(",")]
    if any(item is None for item in found):
        return None
    return IntervalSet.of(span for item in found if item is not None for span in item)


def enclosing(word: str, family: Family) -> IntervalSet:
    """The network in which all addresses of a word lie, as far as it tells: all there are for a name."""
    text, slash, length = word.partition("/")
    base = _literal(text, family)
    if base is None or not slash or "," in word:
        return family.whole
    mask = _mask(length, family)
    every = (1 << family.bits) - 1
    leading = family.bits - (mask ^ every).bit_length()  # bits before the first hole
    tail = (1 << family.bits - leading) - 1
    low = base & every & ~tail
    return IntervalSet(((low, low | tail),))


def address_range(word: str, family: Family) -> IntervalSet:
    """`first-last`, or one address. A range that ends before it begins is accepted, and holds for nothing."""
    first, dash, last = word.partition("-")
    low = _literal(first, family)
    high = _literal(last, family) if dash else low
    if low is None or high is None:
        raise Meaningless(f"{word!r} is no range of {family.label} addresses")
    return IntervalSet(((low, high),)) if low <= high else IntervalSet()


def states(word: str) -> frozenset[str]:
    """Names of `STATES`; any beginning of a name stands for the first that has it, as in iptables."""
    return frozenset(_begun(item, STATES, "a state") for item in word.split(","))


def statuses(word: str) -> frozenset[str]:
    """Names of `STATUSES`, or beginnings of them."""
    return frozenset(_begun(item, STATUSES, "a status") for item in word.split(","))


def flags(word: str) -> int:
    """TCP flags with commas as bits of the header's octet."""
    bits = 0
    for item in word.split(","):
        if item.upper() not in _FLAG_NAMES:
            raise Meaningless(f"{item!r} is no TCP flag")
        bits |= _FLAG_NAMES[item.upper()]
    return bits


def icmp(word: str, family: Family) -> tuple[IntervalSet, IntervalSet]:
    """Types and codes. `any` is every type (IPv4, where 255 means the same)."""
    every = IntervalSet(((0, 255),))
    text = word.lower()
    if text == "any" and family is Family.IPV4:
        return every, every
    if text[:1].isdigit():
        kind, slash, code = text.partition("/")
        value = number(kind, 255)
        if family is Family.IPV4 and value == 255 and not slash:
            return every, every
        return IntervalSet.single(value), IntervalSet.single(number(code, 255)) if slash else every
    kind_number, code_number = _named_icmp(word, ICMP_TYPES[family])
    return IntervalSet.single(kind_number), every if code_number is None else IntervalSet.single(code_number)


def mark(word: str) -> tuple[int, int]:
    """Value and mask; without a mask all 32 bits count."""
    value, slash, mask = word.partition("/")
    return number(value), number(mask) if slash else 2**32 - 1


def mac(word: str) -> int:
    """A link-layer address as a number of 48 bits."""
    if not _MAC.fullmatch(word):
        raise Meaningless(f"{word!r} is no link-layer address")
    return int("".join(part.zfill(2) for part in word.split(":")), 16)


def interface(word: str) -> tuple[str, bool]:
    """The name, and whether it is only the beginning of one (`eth+`)."""
    if not word or len(word.encode()) > 15:
        raise Meaningless("an interface has 1 to 15 bytes in its name")
    return (word[:-1], True) if word.endswith("+") else (word, False)


def address_types(word: str) -> frozenset[AddressType]:
    """Types of the addrtype match."""
    found = set()
    for item in word.split(","):
        if item.upper() not in AddressType.__members__:
            raise Meaningless(f"{item!r} is no address type")
        found.add(AddressType[item.upper()])
    return frozenset(found)


def set_fields(word: str) -> tuple[str, ...]:
    """`src` and `dst`, one for each part of a set's key, at most six."""
    items = tuple(word.split(","))
    if len(items) > 6 or any(item not in ("src", "dst") for item in items):
        raise Meaningless(f"{word!r} is not made of src and dst")
    return items


def dscp(word: str) -> int:
    """A code point, 0 to 63, by number or class."""
    known = DSCP_CLASSES.get(word.lower())
    return number(word, 63) if known is None else known


def tos(word: str) -> tuple[int, int]:
    """Value and mask of the TOS octet; a name leaves the two ECN bits out."""
    if word.lower() in TOS_NAMES:
        return TOS_NAMES[word.lower()], 0x3F
    value, slash, mask = word.partition("/")
    return number(value, 255), number(mask, 255) if slash else 255


def _ordered(low: int, high: int, word: str) -> IntervalSet:
    if low > high:
        raise Meaningless(f"the range {word} ends before it begins")
    return IntervalSet(((low, high),))


def _begun(word: str, names: Sequence[str], what: str) -> str:
    for name in names:
        if word and name.startswith(word.upper()):
            return name
    raise Meaningless(f"{word!r} is not {what}")


def _named_icmp(word: str, names: Mapping[str, tuple[int, int | None]]) -> tuple[int, int | None]:
    text = word.lower()
    found = [text] if text in names else [name for name in names if text and name.startswith(text)]
    if len({names[name] for name in found}) > 1:
        raise Meaningless(f"{word!r} may be {' or '.join(found)}")
    if not found:
        raise Meaningless(f"{word!r} is no ICMP type")
    return names[found[0]]


def _network(word: str, family: Family) -> IntervalSet | None:
    text, slash, length = word.partition("/")
    mask = _mask(length, family) if slash else (1 << family.bits) - 1
    if mask == 0:  # the address does not count then, not even a name nobody knows
        return family.whole
    base = _literal(text, family)
    if base is None:
        if ":" in text or _NUMERIC.fullmatch(text) or not _NAME.fullmatch(text):
            raise Meaningless(_not_an_address(text, family))
        return None
    return masked(base & mask, mask, family.bits)


def _literal(text: str, family: Family) -> int | None:
    if family is Family.IPV4:
        return _dotted(text)
    try:
        return int(ipaddress.IPv6Address(text)) if "%" not in text else None
    except ValueError:
        return None


def _dotted(text: str) -> int | None:
    """An IPv4 address as C reads it: each part in any base, missing parts are zeros (`10.1` is 10.1.0.0)."""
    parts = text.split(".")
    try:
        if len(parts) == 1 and (whole := number(text)) > 255:
            return whole
        octets = [number(part, 255) for part in parts]
    except Meaningless:
        return None
    if len(octets) > 4:
        return None
    return int.from_bytes(bytes(octets).ljust(4, b"\0"), "big")


def _mask(text: str, family: Family) -> int:
    try:
        length = number(text)
    except Meaningless:
        length = -1
    if 0 <= length <= family.bits:
        return (1 << family.bits) - (1 << family.bits - length)
    if length > family.bits:
        raise Meaningless(f"a prefix of {family.label} has at most {family.bits} bits, not {text}")
    mask = _literal(text, family) if "." in text or ":" in text else None
    if mask is None:
        raise Meaningless(f"{text!r} is no mask")
    return mask


def masked(base: int, mask: int, bits: int) -> IntervalSet | None:
    """The numbers of so many bits that equal `base` under the mask; None if they are too scattered."""
    if base & ~mask:
        return IntervalSet()
    tail = ((1 << bits) - 1) ^ mask
    plain = ((tail + 1) & -(tail + 1)).bit_length() - 1  # trailing bits that the mask leaves out
    holes = [bit for bit in range(plain, bits) if tail >> bit & 1]
    if 1 << min(len(holes), 60) > SCATTER_MAXIMUM:
        return None
    starts = [base]
    for bit in holes:
        starts += [start | 1 << bit for start in starts]
    return IntervalSet.of((start, start | (1 << plain) - 1) for start in starts)


def _not_an_address(text: str, family: Family) -> str:
    other = Family.IPV4 if family is Family.IPV6 else Family.IPV6
    if _literal(text, other) is not None:
        return f"{text} is an {other.label} address, the rules are for {family.label}"
    return f"{text!r} is no {family.label} address"
