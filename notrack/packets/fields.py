"""The header fields that rules ask about, their domains, and the order in which diagrams decide them.

Every field is a small integer to the diagrams. Names of interfaces become integers in dictionary order, so
that a prefix pattern is one interval; a mark becomes 32 single bits, so that a mask is cheap.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from notrack.packets.address import Family
from notrack.packets.intervals import IntervalSet
from notrack.text.record import dataclass

_NAME_BYTES = 15  # IFNAMSIZ - 1


class Field(enum.Enum):
    """A header field. The order of the members is the order of decision; it keeps diagrams small."""

    __hash__ = object.__hash__  # each is one object, and asked for its hash very often

    FAMILY = "family"
    STATE = "state"
    CT_DIRECTION = "ct direction"  # 0 original, 1 reply, 2 none: there is no entry
    CT_SNAT = "ct snat"  # 1: the flow's source is translated
    CT_DNAT = "ct dnat"
    IN = "in"
    OUT = "out"
    BRIDGE_IN = "bridge port in"  # the port by which a frame came to a bridge, which then is the way in
    BRIDGE_OUT = "bridge port out"  # of what a bridge passes on to another port
    DESTINATION_TYPE = "destination type"
    DESTINATION = "destination"
    PROTOCOL = "protocol"
    FRAGMENT = "fragment"
    ICMP_TYPE = "icmp type"
    ICMP_CODE = "icmp code"
    DESTINATION_PORT = "destination port"
    SOURCE_PORT = "source port"
    FLAGS = (
        "flags"  # the TCP flags as on the wire: fin 1, syn 2, rst 4, psh 8, ack 16, urg 32, ece 64, cwr 128
    )
    SOURCE_TYPE = "source type"
    SOURCE = "source"
    MAC = "mac"
    PACKET_TYPE = "packet type"  # of the link layer: host, broadcast, multicast, other host
    LENGTH = "length"  # of the IP packet, octets
    TTL = "ttl"
    TOS = "tos"  # the whole octet; a DSCP d is the interval 4d..4d+3
    MARK = "mark"
    CT_MARK = "ct mark"


class State(enum.IntEnum):
    """What `ctstate` says about a packet, as values of `Field.STATE`."""

    NEW = 0
    ESTABLISHED = 1
    RELATED = 2
    INVALID = 3
    UNTRACKED = 4


class Fragment(enum.IntEnum):
    """Values of `Field.FRAGMENT`. Only later fragments have no ports."""

    WHOLE = 0
    FIRST = 1
    LATER = 2


class AddressType(enum.IntEnum):
    """What the routing table says about an address; values of the two type fields (RTN_ of the kernel)."""

    UNSPEC = 0
    UNICAST = 1
    LOCAL = 2
    BROADCAST = 3
    ANYCAST = 4
    MULTICAST = 5
    BLACKHOLE = 6
    UNREACHABLE = 7
    PROHIBIT = 8
    THROW = 9
    NAT = 10
    XRESOLVE = 11


class PacketType(enum.IntEnum):
    """Values of `Field.PACKET_TYPE` (the kernel's PACKET_ constants)."""

    HOST = 0
    BROADCAST = 1
    MULTICAST = 2
    OTHER_HOST = 3


TCP_FLAGS = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ece": 64, "cwr": 128}
PORT_PROTOCOLS = IntervalSet.of(((6, 6), (17, 17), (33, 33), (132, 132), (136, 136)))
ICMP_PROTOCOL = {Family.IPV4: 1, Family.IPV6: 58}
NO_ICMP_TYPE = 256  # the packet is not ICMP, or a later fragment
NO_INTERFACE = 0  # e.g. the way in of what the host itself sends
NO_MAC = 1 << 48  # e.g. what the host itself sends
NO_DIRECTION = 2  # of a packet that looks NEW to rules and has no entry
MARK_BITS = 32

_FIXED: dict[Field, int] = {
    Field.STATE: len(State) - 1,
    Field.CT_DIRECTION: NO_DIRECTION,
    Field.CT_SNAT: 1,
    Field.CT_DNAT: 1,
    Field.IN: (1 << 8 * _NAME_BYTES) - 1,
    Field.OUT: (1 << 8 * _NAME_BYTES) - 1,
    Field.BRIDGE_IN: (1 << 8 * _NAME_BYTES) - 1,
    Field.BRIDGE_OUT: (1 << 8 * _NAME_BYTES) - 1,
    Field.DESTINATION_TYPE: len(AddressType) - 1,
    Field.PROTOCOL: 255,
    Field.FRAGMENT: len(Fragment) - 1,
    Field.ICMP_TYPE: NO_ICMP_TYPE,
    Field.ICMP_CODE: 255,
    Field.DESTINATION_PORT: 65535,
    Field.SOURCE_PORT: 65535,
    Field.FLAGS: 255,
    Field.SOURCE_TYPE: len(AddressType) - 1,
    Field.MAC: NO_MAC,
    Field.PACKET_TYPE: len(PacketType) - 1,
    Field.LENGTH: 65535 + 40,  # the payload length of IPv6 does not count its header
    Field.TTL: 255,
    Field.TOS: 255,
    Field.MARK: (1 << MARK_BITS) - 1,
    Field.CT_MARK: (1 << MARK_BITS) - 1,
}
BITWISE = frozenset((Field.MARK, Field.CT_MARK))
MIRROR = {
    Field.IN: Field.OUT,
    Field.OUT: Field.IN,
    Field.BRIDGE_IN: Field.BRIDGE_OUT,
    Field.BRIDGE_OUT: Field.BRIDGE_IN,
    Field.SOURCE: Field.DESTINATION,
    Field.DESTINATION: Field.SOURCE,
    Field.SOURCE_PORT: Field.DESTINATION_PORT,
    Field.DESTINATION_PORT: Field.SOURCE_PORT,
    Field.SOURCE_TYPE: Field.DESTINATION_TYPE,
    Field.DESTINATION_TYPE: Field.SOURCE_TYPE,
}
"""The field that takes a field's place in the answer; those not named keep theirs."""

_ICMP_ANSWERS = {
    Family.IPV4: {8: 0, 13: 14, 15: 16, 17: 18, 42: 43},
    Family.IPV6: {128: 129, 139: 140, 144: 145, 146: 147, 160: 161},
}

_ICMP_PAIRS = {
    family: {**{answer: question for question, answer in pairs.items()}, **pairs}
    for family, pairs in _ICMP_ANSWERS.items()
}


def icmp_answer(value: int, family: Family) -> int:
    """The ICMP type that answers a type, and the one that a type answers; any other stays as it is."""
    return _ICMP_PAIRS[family].get(value, value)


def icmp_pairs(family: Family) -> Iterable[tuple[int, int]]:
    """Every ICMP type that has an answer or is one, with the other of its pair."""
    return _ICMP_PAIRS[family].items()


@dataclass(frozen=True, slots=True)
class Domain:
    """The values of a field, `low` to `high`, both included."""

    low: int
    high: int

    @property
    def whole(self) -> IntervalSet:
        return IntervalSet(((self.low, self.high),))


def domain(field: Field, family: Family) -> Domain:
    """All values of a field in packets of one family. `FAMILY` has one alone: 4 or 6."""
    if field is Field.FAMILY:
        number = family_number(family)
        return Domain(number, number)
    if field in (Field.SOURCE, Field.DESTINATION):
        return Domain(0, (1 << family.bits) - 1)
    return Domain(0, _FIXED[field])


def family_number(family: Family) -> int:
    """The value of `Field.FAMILY`."""
    return 4 if family is Family.IPV4 else 6


def interface_value(name: str) -> int:
    """The integer that stands for an interface; names longer than the kernel allows are cut.

    Order is dictionary order of the bytes, and no name has the value of another.
    """
    octets = name.encode("utf-8", "surrogateescape")[:_NAME_BYTES]
    return int.from_bytes(octets.ljust(_NAME_BYTES, b"\0"), "big")


def interface_prefix(prefix: str) -> IntervalSet:
    """Every interface whose name begins with `prefix`: the pattern `eth+` or `eth*` without its last sign.

    The empty prefix is every packet, those without an interface too, as `-i +` is.
    """
    octets = prefix.encode("utf-8", "surrogateescape")[:_NAME_BYTES]
    low = int.from_bytes(octets.ljust(_NAME_BYTES, b"\0"), "big")
    return IntervalSet(((low, int.from_bytes(octets.ljust(_NAME_BYTES, b"\xff"), "big")),))


def interface_name(value: int) -> str | None:
    """The name that an integer stands for; None for `NO_INTERFACE`."""
    octets = value.to_bytes(_NAME_BYTES, "big").rstrip(b"\0")
    return octets.decode("utf-8", "surrogateescape") if octets else None


def bits_set(mask: int, value: int, width: int = 8) -> IntervalSet:
    """The integers of `width` bits that equal `value` under `mask`: `--tcp-flags MASK VALUE` for one.

    A value with a bit outside the mask is equalled by none.
    """
    if value & ~mask:
        return IntervalSet()
    free = [1 << i for i in range(width) if not mask >> i & 1]
    low = 1
    while low in free:
        low <<= 1
    members = [value]
    for bit in free:
        if bit >= low:
            members += [member | bit for member in members]
    return IntervalSet.of((member, member | (low - 1)) for member in members)


_HEADED = IntervalSet(((Fragment.WHOLE, Fragment.FIRST),))
_TCP = IntervalSet.single(6)


def presence(field: Field, family: Family) -> dict[Field, IntervalSet]:
    """What a packet must be for the field to be there at all; a match on an absent field never holds.

    So no rule tells packets apart by the values of fields that they do not have.
    """
    if field in (Field.SOURCE_PORT, Field.DESTINATION_PORT):
        return {Field.PROTOCOL: PORT_PROTOCOLS, Field.FRAGMENT: _HEADED}
    if field is Field.FLAGS:
        return {Field.PROTOCOL: _TCP, Field.FRAGMENT: _HEADED}
    if field in (Field.ICMP_TYPE, Field.ICMP_CODE):
        return {Field.PROTOCOL: IntervalSet.single(ICMP_PROTOCOL[family]), Field.FRAGMENT: _HEADED}
    if field is Field.MAC:
        return {Field.MAC: IntervalSet(((0, NO_MAC - 1),))}
    return {}
