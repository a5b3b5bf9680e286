"""What an expression reads, as a field of the core: its values as intervals, and what it implies."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from notrack.packets.fields import Field, interface_prefix, interface_value
from notrack.packets.intervals import IntervalSet
from notrack.ruleset import core
from notrack.ruleset.nft import names
from notrack.ruleset.nft import tree as t
from notrack.text.record import dataclass

_NUMBERS_4 = core.Among(Field.FAMILY, IntervalSet.single(4))
_NUMBERS_6 = core.Among(Field.FAMILY, IntervalSet.single(6))


@dataclass(frozen=True, slots=True)
class Subject:
    """A field, the literals that reading it implies (`tcp dport`: the protocol is TCP), and its notation.

    `kind` is number, address, interface or mac. A value v of the rule is `v * scale` to `v * scale + scale
    - 1` of the field, plus `shift`. `bits` is the width of the rule's values.
    """

    field: Field
    needs: core.Guard = ()
    kind: str = "number"
    names: Mapping[str, int] | None = None
    bits: int = 32
    scale: int = 1
    shift: int = 0


def _protocol(number: int) -> core.Literal:
    return core.Among(Field.PROTOCOL, IntervalSet.single(number))


def _ports(protocol: str) -> dict[str, Subject]:
    needs = (_protocol(names.PROTOCOLS[protocol]),)
    return {
        "dport": Subject(Field.DESTINATION_PORT, needs, names=names.SERVICES, bits=16),
        "sport": Subject(Field.SOURCE_PORT, needs, names=names.SERVICES, bits=16),
    }


_ICMP = (_NUMBERS_4, _protocol(1))
_ICMP6 = (_NUMBERS_6, _protocol(58))
PAYLOADS: dict[tuple[str, str], Subject] = {
    ("ip", "saddr"): Subject(Field.SOURCE, (_NUMBERS_4,), "address", bits=32),
    ("ip", "daddr"): Subject(Field.DESTINATION, (_NUMBERS_4,), "address", bits=32),
    ("ip", "protocol"): Subject(Field.PROTOCOL, (_NUMBERS_4,), names=names.PROTOCOLS, bits=8),
    ("ip", "length"): Subject(Field.LENGTH, (_NUMBERS_4,), bits=16),
    ("ip", "ttl"): Subject(Field.TTL, (_NUMBERS_4,), bits=8),
    ("ip", "dscp"): Subject(Field.TOS, (_NUMBERS_4,), names=names.DSCP, bits=6, scale=4),
    ("ip6", "saddr"): Subject(Field.SOURCE, (_NUMBERS_6,), "address", bits=128),
    ("ip6", "daddr"): Subject(Field.DESTINATION, (_NUMBERS_6,), "address", bits=128),
    ("ip6", "length"): Subject(Field.LENGTH, (_NUMBERS_6,), bits=16, shift=40),
    ("ip6", "hoplimit"): Subject(Field.TTL, (_NUMBERS_6,), bits=8),
    ("ip6", "dscp"): Subject(Field.TOS, (_NUMBERS_6,), names=names.DSCP, bits=6, scale=4),
    ("icmp", "type"): Subject(Field.ICMP_TYPE, _ICMP, names=names.ICMP_TYPES, bits=8),
    ("icmp", "code"): Subject(Field.ICMP_CODE, _ICMP, names=names.ICMP_CODES, bits=8),
    ("icmpv6", "type"): Subject(Field.ICMP_TYPE, _ICMP6, names=names.ICMPV6_TYPES, bits=8),
    ("icmpv6", "code"): Subject(Field.ICMP_CODE, _ICMP6, names=names.ICMPV6_CODES, bits=8),
    ("ether", "saddr"): Subject(Field.MAC, (), "mac", bits=48),
    ("tcp", "flags"): Subject(Field.FLAGS, (_protocol(6),), names=names.TCP_FLAGS, bits=8),
}
for _name in ("tcp", "udp", "sctp", "dccp", "udplite"):
    PAYLOADS |= {(_name, key): subject for key, subject in _ports(_name).items()}

TRANSPORT = {
    "dport": Subject(Field.DESTINATION_PORT, names=names.SERVICES, bits=16),
    "sport": Subject(Field.SOURCE_PORT, names=names.SERVICES, bits=16),
}
METAS: dict[str, Subject] = {
    "l4proto": Subject(Field.PROTOCOL, names=names.PROTOCOLS, bits=8),
    "nfproto": Subject(Field.FAMILY, names=names.NF_FAMILIES, bits=8),
    "protocol": Subject(Field.FAMILY, names=names.ETHER_FAMILIES, bits=16),
    "mark": Subject(Field.MARK, bits=32),
    "length": Subject(Field.LENGTH, bits=32),
    "pkttype": Subject(Field.PACKET_TYPE, names=names.PACKET_TYPES, bits=8),
    "iifname": Subject(Field.IN, (), "interface"),
    "oifname": Subject(Field.OUT, (), "interface"),
    "iif": Subject(Field.IN, (), "interface"),
    "oif": Subject(Field.OUT, (), "interface"),
}
CTS: dict[str, Subject] = {
    "state": Subject(Field.STATE, names=names.STATES),
    "mark": Subject(Field.CT_MARK, bits=32),
    "direction": Subject(Field.CT_DIRECTION, names=names.DIRECTIONS, bits=8),
}
FIBS: dict[tuple[str, ...], Subject] = {
    ("daddr",): Subject(Field.DESTINATION_TYPE, names=names.ADDRESS_TYPES, bits=8),
    ("saddr",): Subject(Field.SOURCE_TYPE, names=names.ADDRESS_TYPES, bits=8),
}


def subject(node: t.Expression, transport: bool = False) -> Subject | None:
    """The field that the expression reads, if the core has it.

    `transport`: the packet is known to have ports, so that `th dport` is one and no octets of something else.
    """
    match node:
        case t.Payload(protocol="th", field=name, outer=None):
            return TRANSPORT.get(name) if transport else None
        case t.Payload(protocol=protocol, field=name, outer=None):
            return PAYLOADS.get((protocol, name))
        case t.Meta(key=key):
            return METAS.get(key)
        case t.Ct(key=key, direction=None, family=None):
            return CTS.get(key)
        case t.Fib(selectors=selectors, result="type"):
            return FIBS.get(selectors)
    return None


def values(reads: Subject, node: t.Expression) -> IntervalSet | None:
    """The values of the field that a value, range or prefix means; None when a name is not known."""
    if reads.kind == "interface":
        return _interfaces(node)
    interval = _interval(reads, node)
    if interval is None or interval[0] > interval[1]:
        return None
    low, high = (end * reads.scale + reads.shift for end in interval)
    return IntervalSet(((low, high + reads.scale - 1),))


def _interfaces(node: t.Expression) -> IntervalSet | None:
    if not isinstance(node, t.Value) or node.text.isdecimal():
        return None
    if node.text.endswith("*") and not node.text.endswith("\\*"):
        return interface_prefix(node.text[:-1])
    return IntervalSet.single(interface_value(node.text.replace("\\*", "*")))


def _interval(reads: Subject, node: t.Expression) -> tuple[int, int] | None:
    match node:
        case t.Value(text=text):
            number = _number(reads, text)
            return None if number is None else (number, number)
        case t.Range(low=low, high=high):
            ends = _interval(reads, low), _interval(reads, high)
            return (ends[0][0], ends[1][1]) if ends[0] and ends[1] else None
        case t.Prefix(address=address, length=length) if length <= reads.bits:
            found = _interval(reads, address)
            if found is None:
                return None
            rest = (1 << (reads.bits - length)) - 1
            return found[0] & ~rest, found[0] | rest
        case t.Binary(op="|"):
            number = bits(reads, node)
            return None if number is None else (number, number)
    return None


def _number(reads: Subject, text: str) -> int | None:
    if reads.names and text in reads.names:
        return reads.names[text]
    try:
        if reads.kind == "address" and ("." in text or ":" in text):
            address = ipaddress.ip_address(text)
            return int(address) if address.max_prefixlen == reads.bits else None
        if reads.kind == "mac":
            octets = bytes(int(part, 16) for part in text.split(":"))
            return int.from_bytes(octets, "big") if len(octets) == 6 else None
        number = int(text, 0) if text[:2].lower() == "0x" else int(text)
    except ValueError:
        return None
    return number if 0 <= number < 1 << reads.bits else None


def bits(reads: Subject, node: t.Expression) -> int | None:
    """Flags written as `a | b`, as `a,b` or alone, as one number."""
    match node:
        case t.Value(text=text):
            return _number(reads, text)
        case t.Binary(left=left, op="|", right=right):
            parts: tuple[t.Expression, ...] = (left, right)
        case t.Listing(parts=parts):
            pass
        case _:
            return None
    found = [bits(reads, part) for part in parts]
    total = 0
    for number in found:
        if number is None:
            return None
        total |= number
    return total
