"""The expressions of nft: what a rule reads of a packet, and the values it compares that with.

Every node knows the span of text that it was read from; built by hand it has none, and spans never count
when two trees are compared. Values stay as they were written (`http`, `0x50` and `80` are three different
values here): what they mean is a question for whoever lowers the tree.
"""

from __future__ import annotations

from dataclasses import field

from notrack.text.record import dataclass
from notrack.text.source import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Any part of a ruleset. `span` is where it was read, if it was read."""

    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Expression(Node):
    """Anything that has a value."""


# What is read of a packet, or of the kernel.


@dataclass(frozen=True, slots=True)
class Payload(Expression):
    """A header field: `tcp dport`, `th dport`, `ip saddr`; in a tunnel (`vxlan ip saddr`) with `outer`."""

    protocol: str
    field: str
    outer: str | None = None


@dataclass(frozen=True, slots=True)
class RawPayload(Expression):
    """Bits of a header by place, `@th,16,16`: base (ll, nh, th, ih), offset and length in bits."""

    base: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Extension(Expression):
    """An IPv6 extension header field (`frag frag-off`), or the header itself (`exthdr frag`: no field)."""

    header: str
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Option(Expression):
    """A field of a TCP, IP or DCCP option or of an SCTP chunk; without a field the option itself.

    `name` may be a raw place, `@255,8,8`.
    """

    protocol: str  # tcp, ip, sctp (a chunk), dccp
    name: str
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Meta(Expression):
    """`meta KEY`; `iifname`, `mark` and some others are written without `meta`."""

    key: str


@dataclass(frozen=True, slots=True)
class Ct(Expression):
    """`ct [original|reply] [ip|ip6] KEY`."""

    key: str
    direction: str | None = None
    family: str | None = None


@dataclass(frozen=True, slots=True)
class Fib(Expression):
    """`fib daddr . iif type`: selectors (saddr, daddr, mark, iif, oif) and result (type, oif, oifname)."""

    selectors: tuple[str, ...]
    result: str


@dataclass(frozen=True, slots=True)
class Route(Expression):
    """`rt classid`, `rt ip6 nexthop`, `rt mtu`, `rt ipsec`."""

    key: str
    family: str | None = None


@dataclass(frozen=True, slots=True)
class Socket(Expression):
    """`socket transparent`, `socket mark`, `socket wildcard`, `socket cgroupv2 level 2`."""

    key: str
    level: int | None = None


@dataclass(frozen=True, slots=True)
class Osf(Expression):
    """`osf [ttl loose|skip] name|version`."""

    key: str
    ttl: str | None = None


@dataclass(frozen=True, slots=True)
class Ipsec(Expression):
    """`ipsec in|out [spnum N] [ip|ip6] KEY`."""

    direction: str
    key: str
    family: str | None = None
    spnum: int | None = None


@dataclass(frozen=True, slots=True)
class Numgen(Expression):
    """`numgen inc|random mod N [offset N]`."""

    mode: str
    modulus: int
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Hash(Expression):
    """`jhash KEY mod N [seed S] [offset N]`; without a key `symhash mod N [offset N]`."""

    key: Expression | None
    modulus: int
    seed: str | None = None
    offset: int | None = None


# Values.


@dataclass(frozen=True, slots=True)
class Value(Expression):
    """A number, name, address, time or string as it was written, without its quotes.

    Whether it stood in quotes does not count in comparisons: `iifname lo` is `iifname "lo"`.
    """

    text: str
    quoted: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Variable(Expression):
    """`$name`."""

    name: str


@dataclass(frozen=True, slots=True)
class SetReference(Expression):
    """`@name`: a named set or map."""

    name: str


@dataclass(frozen=True, slots=True)
class Prefix(Expression):
    """`10.0.0.0/8`: an address (or a variable, or a number) and the number of leading bits that count."""

    address: Expression
    length: int


@dataclass(frozen=True, slots=True)
class Range(Expression):
    """`low-high`, both ends included."""

    low: Expression
    high: Expression


@dataclass(frozen=True, slots=True)
class Wildcard(Expression):
    """`*`, the element of a set or map that catches all that no other does."""


@dataclass(frozen=True, slots=True)
class Concat(Expression):
    """`a . b . c`, of fields or of values."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Listing(Expression):
    """`new,untracked`: flags of a bit mask, any of them (outside braces)."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Masked(Expression):
    """`syn / fin,syn,rst,ack`: these bits, under this mask."""

    value: Expression
    mask: Expression


@dataclass(frozen=True, slots=True)
class Binary(Expression):
    """`left op right`, where op is one of `&`, `|`, `^`, `<<`, `>>`."""

    left: Expression
    op: str
    right: Expression


@dataclass(frozen=True, slots=True)
class SetLiteral(Expression):
    """An anonymous set or map, `{ 22, 80-90 }` or `{ 22 : accept }`."""

    elements: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class Mapping(Expression):
    """`KEY map { ... }` or `KEY map @name`: the value that belongs to the key."""

    key: Expression
    table: Expression


@dataclass(frozen=True, slots=True)
class Verdict(Expression):
    """A verdict as data or as a statement: accept, drop, continue, return, jump, goto.

    For jump and goto `chain` is a name (`Value`) or a variable.
    """

    kind: str
    chain: Expression | None = None


@dataclass(frozen=True, slots=True)
class Element(Node):
    """An element of a set or map: a key, in a map its data; times as they are written (`1h30m`).

    A literal set inside a set (`{ $web, { 1, 2 } }`) is an element whose key is the inner set or variable.
    """

    key: Expression
    data: Expression | None = None
    comment: str | None = None
    timeout: str | None = None
    expires: str | None = None
    statements: tuple[Node, ...] = ()  # counter, limit, ... of this element alone


@dataclass(frozen=True, slots=True)
class UnknownExpression(Expression):
    """What was not understood, as text."""

    text: str
