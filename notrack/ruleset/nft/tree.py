"""A native nft ruleset as a tree: commands in their order, tables, chains, sets, rules.

Every node is frozen and compared by value; spans and `#` comments beside other text never count. Reading
what the writer printed gives an equal tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field

from notrack.ruleset.nft.expression import (
    Binary,
    Concat,
    Ct,
    Element,
    Expression,
    Extension,
    Fib,
    Hash,
    Ipsec,
    Listing,
    Mapping,
    Masked,
    Meta,
    Node,
    Numgen,
    Option,
    Osf,
    Payload,
    Prefix,
    Range,
    RawPayload,
    Route,
    SetLiteral,
    SetReference,
    Socket,
    UnknownExpression,
    Value,
    Variable,
    Verdict,
    Wildcard,
)
from notrack.ruleset.nft.statement import (
    Assign,
    ConnectionLimit,
    Counter,
    Duplicate,
    Forward,
    Last,
    Limit,
    Log,
    Match,
    Meter,
    Nat,
    Notrack,
    ObjectReference,
    Offload,
    Queue,
    Quota,
    Reject,
    Reset,
    RuleStatement,
    Statement,
    Synproxy,
    Tproxy,
    Unknown,
    Update,
    Vmap,
    Xt,
)
from notrack.text.record import dataclass

__all__ = [
    "FAMILIES",
    "IP_FAMILIES",
    "Assign",
    "Base",
    "Binary",
    "Chain",
    "Concat",
    "ConnectionLimit",
    "Counter",
    "Ct",
    "CtHelper",
    "Declare",
    "Define",
    "Duplicate",
    "Element",
    "Elements",
    "Expression",
    "Extension",
    "Fib",
    "Flowtable",
    "Forward",
    "Hash",
    "Include",
    "Ipsec",
    "Last",
    "Limit",
    "Listing",
    "Log",
    "Map",
    "Mapping",
    "Masked",
    "Match",
    "Meta",
    "Meter",
    "Nat",
    "Node",
    "Notrack",
    "Numgen",
    "Object",
    "ObjectReference",
    "Offload",
    "Option",
    "Osf",
    "Payload",
    "Place",
    "Prefix",
    "Priority",
    "Queue",
    "Quota",
    "Range",
    "RawPayload",
    "Reject",
    "Remark",
    "Remove",
    "Rename",
    "Reset",
    "Route",
    "Rule",
    "RuleStatement",
    "Ruleset",
    "Set",
    "SetLiteral",
    "SetReference",
    "Socket",
    "Statement",
    "Synproxy",
    "Table",
    "Tproxy",
    "Type",
    "Typeof",
    "Undefine",
    "Unknown",
    "UnknownExpression",
    "UnknownItem",
    "Update",
    "Value",
    "Variable",
    "Verdict",
    "Vmap",
    "Wildcard",
    "Xt",
    "flattened",
]

FAMILIES = ("ip", "ip6", "inet", "arp", "bridge", "netdev")
IP_FAMILIES = ("ip", "ip6", "inet")  # the others see frames, or packets before the IP hooks


@dataclass(frozen=True, slots=True)
class Rule(Node):
    """Statements in their order. `comment` is the rule's own (`comment "..."`, at most 128 characters)."""

    statements: tuple[RuleStatement, ...]
    comment: str | None = None
    handle: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Remark(Node):
    """A line of its own that starts with `#`; the text without the `#` and the blank after it."""

    text: str


@dataclass(frozen=True, slots=True)
class UnknownItem(Node):
    """A line or block that was not understood, as text."""

    text: str


@dataclass(frozen=True, slots=True)
class Define(Node):
    """`define NAME = VALUE`, or `redefine`. It holds for what follows in its file or block."""

    name: str
    value: Expression
    verb: str = "define"


@dataclass(frozen=True, slots=True)
class Undefine(Node):
    name: str


@dataclass(frozen=True, slots=True)
class Include(Node):
    """`include "PATTERN"`, with what was read from there (not written back, not compared)."""

    pattern: str
    items: tuple[Node, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Priority(Node):
    """A number, or a name with an offset: `raw - 5` is `Priority(-5, "raw")`, `-300` is `Priority(-300)`.

    With a variable (`priority $prio`) that is `variable`, and the rest is nothing.
    """

    offset: int = 0
    name: str | None = None
    variable: str | None = None


@dataclass(frozen=True, slots=True)
class Base(Node):
    """What makes a chain a base chain: type (filter, nat, route), hook, priority, and devices (netdev)."""

    type: str
    hook: str
    priority: Priority
    devices: Expression | None = None


@dataclass(frozen=True, slots=True)
class Chain(Node):
    """A chain; with `base` it is called by the kernel. `items` are rules, remarks, includes, defines."""

    name: str
    items: tuple[Node, ...] = ()
    base: Base | None = None
    policy: Expression | None = None  # Value("accept"), Value("drop") or a variable; None: not written
    comment: str | None = None
    flags: tuple[str, ...] = ()
    handle: int | None = field(default=None, compare=False)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules in their order, those of included files among them."""
        return tuple(item for item in flattened(self.items) if isinstance(item, Rule))


@dataclass(frozen=True, slots=True)
class Type(Node):
    """`type ipv4_addr . inet_service`: the names of types, one for each part of the key."""

    names: tuple[str, ...]
    interval: bool = False  # of a map's data: `: interval ipv4_addr`


@dataclass(frozen=True, slots=True)
class Typeof(Node):
    """`typeof ip saddr . tcp dport`: the type is that of an expression."""

    expression: Expression
    interval: bool = False


@dataclass(frozen=True, slots=True)
class Set(Node):
    """A named set. Elements may be added by commands that follow, and by packets (flag dynamic)."""

    name: str
    key: Type | Typeof | None
    elements: tuple[Element, ...] = ()
    flags: tuple[str, ...] = ()  # constant, dynamic, interval, timeout
    timeout: str | None = None
    gc_interval: str | None = None
    size: int | None = None
    policy: str | None = None  # performance, memory
    auto_merge: bool = False
    statements: tuple[Node, ...] = ()  # counter, limit, ... that every element gets
    comment: str | None = None
    handle: int | None = field(default=None, compare=False)
    extra: tuple[Node, ...] = ()  # remarks, defines and lines not understood, in their order


@dataclass(frozen=True, slots=True)
class Map(Set):
    """A named map; `data` is the type of its values, `Type(("verdict",))` for a verdict map.

    A map of objects has `objects` (counter, quota, limit, ct helper, ...) instead.
    """

    data: Type | Typeof | None = None
    objects: str | None = None


@dataclass(frozen=True, slots=True)
class Object(Node):
    """A named counter, quota, limit, synproxy, secmark, ct timeout or ct expectation.

    `settings` are its lines as text with single blanks between words.
    """

    kind: str
    name: str
    settings: tuple[str, ...] = ()
    comment: str | None = None
    handle: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class CtHelper(Node):
    """`ct helper NAME { type "ftp" protocol tcp; l3proto ip }`. Its presence alone switches tracking on."""

    name: str
    type: str
    protocol: str
    l3proto: str | None = None
    comment: str | None = None
    handle: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Flowtable(Node):
    """`flowtable NAME { hook ingress priority P; devices = { ... }; flags offload; counter }`."""

    name: str
    priority: Priority | None = None
    devices: Expression | None = None
    hook: str = "ingress"
    flags: tuple[str, ...] = ()
    counter: bool = False
    handle: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Table(Node):
    """`table FAMILY NAME { ... }`. A block adds to what is there already; it replaces nothing.

    `owner` is `iptables-nft` where nft says so in a warning above it, or a rule has an xtables extension:
    read such a table through the save format, since nft does not show all that its rules do.
    """

    family: str
    name: str
    items: tuple[Node, ...] = ()
    flags: tuple[str, ...] = ()
    comment: str | None = None
    handle: int | None = field(default=None, compare=False)
    owner: str | None = None
    brief: bool = False  # `table ip x` without a block

    @property
    def chains(self) -> tuple[Chain, ...]:
        return tuple(item for item in flattened(self.items) if isinstance(item, Chain))

    @property
    def sets(self) -> tuple[Set, ...]:
        """Sets and maps."""
        return tuple(item for item in flattened(self.items) if isinstance(item, Set))


# Commands other than blocks.


@dataclass(frozen=True, slots=True)
class Declare(Node):
    """`add|create table ip x`, `add chain ip x y { ... }`: the item, and the table that it goes into."""

    item: Table | Chain | Set | Object | CtHelper | Flowtable
    verb: str = "add"
    family: str | None = None  # None: not written, which means ip; of a table the item knows it
    table: str | None = None


@dataclass(frozen=True, slots=True)
class Place(Node):
    """`add|insert|replace|create rule [FAMILY] TABLE CHAIN [handle N|index N|position N] RULE`."""

    table: str
    chain: str
    rule: Rule
    verb: str = "add"
    family: str | None = None
    where: str | None = None  # handle, index, position
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Elements(Node):
    """`add|create|delete|destroy|get|reset element [FAMILY] TABLE SET { ... }`."""

    table: str
    set: str
    elements: Expression  # a SetLiteral or a variable
    verb: str = "add"
    family: str | None = None


@dataclass(frozen=True, slots=True)
class Remove(Node):
    """`delete|destroy|flush|list|reset KIND [FAMILY] [TABLE] [NAME] [handle N]`: a thing named, not made.

    `flush ruleset` is `Remove("ruleset", verb="flush")`. By handle alone, `name` is None.
    """

    kind: str  # ruleset, table, chain, rule, set, map, element, counter, counters, ct helper, ...
    family: str | None = None
    table: str | None = None
    name: str | None = None
    handle: int | None = None
    verb: str = "delete"


@dataclass(frozen=True, slots=True)
class Rename(Node):
    """`rename chain [FAMILY] TABLE OLD NEW`."""

    table: str
    old: str
    new: str
    family: str | None = None


@dataclass(frozen=True, slots=True)
class Ruleset(Node):
    """Commands in the order in which nft runs them: tables, other commands, defines, includes, remarks.

    `comments` are the places of every `#` comment, those beside other text too.
    """

    commands: tuple[Node, ...] = ()
    comments: tuple[Remark, ...] = field(default=(), compare=False, repr=False)

    @property
    def tables(self) -> tuple[Table, ...]:
        """The table blocks (not those that `add table` commands make), in included files too."""
        return tuple(item for item in flattened(self.commands) if isinstance(item, Table))


def flattened(items: tuple[Node, ...]) -> Iterator[Node]:
    """The items with those of included files in the place of the `include`."""
    for item in items:
        if isinstance(item, Include):
            yield from flattened(item.items)
        else:
            yield item
