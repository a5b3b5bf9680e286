"""The small core to which xtables and nft rulesets are both lowered: chains of guard, actions, origin.

Written beside the kernel model, which is its first reader. A guard is a conjunction of literals. What no
literal can say exactly is a `Fact`, true or not as the packet goes; nothing that was read is left out.

Conventions for whoever lowers rules:

- A literal on ports, flags or ICMP fields matches only packets that have the field, negated or not: that is
  what both kernels' matches do. The protocol is a literal of its own.
- A rule that does something between two matches (nft: `notrack tcp dport 80 accept`) becomes two rules of
  one origin; so does a verdict map, one rule for each verdict, and anything else that is several things.
- Literals that can never hold (an IPv6 address in an IPv4 table) are `Never`.
"""

from __future__ import annotations

import enum
from dataclasses import field

from notrack.packets.address import Family
from notrack.packets.fields import Field
from notrack.packets.intervals import IntervalSet
from notrack.text.record import dataclass
from notrack.text.source import Span


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a part of a ruleset comes from: its place, if it was read, and the rule as people know it."""

    span: Span | None = field(default=None, repr=False)
    text: str = ""


NOWHERE = Origin()


@dataclass(frozen=True, slots=True)
class Among:
    """The field has one of the values (or, negated, has the field but none of them)."""

    field: Field
    values: IntervalSet
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Masked:
    """The mark (packet or connection) equals `value` under `mask`."""

    field: Field
    mask: int
    value: int
    negated: bool = False


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of several conjunctions holds: an ipset or a concatenation of several fields.

    Negated: the packet has every field that they name, and none of them holds.
    """

    guards: tuple[Guard, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that the packet alone does not decide; equal names are equal facts.

    `tracking`: the match looks connections up (connbytes, connlimit, ...), so it keeps tracking on.
    `reassembles`: it makes the kernel reassemble fragments before all rules (socket, TPROXY).
    `own`: each rule evaluates it for itself, and may get another answer for the same packet (limit, quota,
    statistic, and whatever nobody knows). Equal names then say what is alike, not that one rule hides
    another: `evaluation.apart` gives each rule's a name of its own.
    """

    name: str
    negated: bool = False
    tracking: bool = False
    reassembles: bool = False
    own: bool = False


@dataclass(frozen=True, slots=True)
class Never:
    """Holds for no packet of the family."""


Literal = Among | Masked | OneOf | Fact | Never
Guard = tuple[Literal, ...]


class Verdict(enum.Enum):
    """What ends a chain of rules. `STOLEN`: the target answers for itself (SYNPROXY), nothing goes on."""

    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"
    STOLEN = "stolen"
    RETURN = "return"


@dataclass(frozen=True, slots=True)
class Jump:
    """Go on in another chain of the table; `goto`: without coming back to this one."""

    chain: str
    goto: bool = False


@dataclass(frozen=True, slots=True)
class Notrack:
    """`CT --notrack`, `NOTRACK`, `notrack`: no effect on a packet that has an entry or a template."""


@dataclass(frozen=True, slots=True)
class Template:
    """`CT --zone/--helper/--timeout`, `ct zone set`: what is tracked later, and so no NOTRACK after it.

    `overrides`: it also takes an untracked mark back, as `ct zone set` does (nft) and CT does not. `zones`:
    of the flow's original and of its reply direction; None where they are not known.
    """

    what: str
    overrides: bool = False
    zones: tuple[int, int] | None = (0, 0)


@dataclass(frozen=True, slots=True)
class ConnectionSet:
    """`ct helper set`, `ct label set`, CONNSECMARK and their kind: keeps tracking on, decides nothing."""

    what: str


@dataclass(frozen=True, slots=True)
class SetMark:
    """mark = (mark & ~mask) ^ value. `value` None: not known, e.g. restored from the connection's mark.

    `what` names an unknown value: equal names are equal values. `tracking`: it comes from the connection, so
    the rule keeps tracking on.
    """

    field: Field
    mask: int
    value: int | None
    what: str = ""
    tracking: bool = False


@dataclass(frozen=True, slots=True)
class SetField:
    """A header field gets a value that later rules see: TTL, TOS, DSCP. None: not known, named by `what`."""

    field: Field
    value: int | None
    what: str = ""


@dataclass(frozen=True, slots=True)
class ShiftField:
    """A header field goes up by a number (down, if negative) and stops at `low` and `high`: `--ttl-dec`."""

    field: Field
    by: int
    low: int = 0
    high: int = 255


class NatKind(enum.Enum):
    SNAT = "snat"
    DNAT = "dnat"
    MASQUERADE = "masquerade"
    REDIRECT = "redirect"


SOMEWHERE = IntervalSet(((0, (1 << 128) - 1),))
ANY_PORT = IntervalSet(((0, 65535),))
"""In a translation: an address, a port is given, but which one is not known."""


@dataclass(frozen=True, slots=True)
class Nat:
    """A translation to one of `addresses` and one of `ports`. None: not said (kept, or chosen by the kernel).

    `SOMEWHERE`, or all addresses of a family, is an address that is said and not known.
    """

    kind: NatKind
    addresses: IntervalSet | None = None
    ports: IntervalSet | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Log:
    """Anything that neither ends the rule nor changes what later rules see: LOG, counters, TRACE, TCPMSS."""

    text: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """What was not understood: it may accept, drop or go on.

    `tracking`: it is known to keep tracking on all the same (SYNPROXY by another name, NAT of a kind).
    """

    text: str
    tracking: bool = False
    reassembles: bool = False


Changing = SetMark | SetField | ShiftField
Action = Verdict | Jump | Notrack | Template | ConnectionSet | Changing | Nat | Log | Unknown


@dataclass(frozen=True, slots=True)
class Rule:
    """If all literals hold, all actions happen in order; at most the last one is a verdict, jump or NAT."""

    guard: Guard = ()
    actions: tuple[Action, ...] = ()
    origin: Origin = NOWHERE


class Hook(enum.Enum):
    PREROUTING = "prerouting"
    INPUT = "input"
    FORWARD = "forward"
    OUTPUT = "output"
    POSTROUTING = "postrouting"
    INGRESS = "ingress"  # of one device, before everything else
    EGRESS = "egress"


class ChainType(enum.Enum):
    FILTER = "filter"
    NAT = "nat"  # sees only the first packet of a tracked flow
    ROUTE = "route"


@dataclass(frozen=True, slots=True)
class Base:
    """Where a base chain hangs. `policy` is ACCEPT or DROP."""

    hook: Hook
    priority: int
    kind: ChainType = ChainType.FILTER
    policy: Verdict = Verdict.ACCEPT
    device: str | None = None  # for ingress and egress


@dataclass(frozen=True, slots=True)
class Chain:
    """Rules under a name; without `base` only jumps lead here."""

    name: str
    rules: tuple[Rule, ...] = ()
    base: Base | None = None
    origin: Origin = NOWHERE


@dataclass(frozen=True, slots=True)
class Keeper:
    """Something outside rules that keeps tracking on: an unused `ct helper` object, an active ct set."""

    what: str
    origin: Origin = NOWHERE


@dataclass(frozen=True, slots=True)
class Table:
    """A table of one family or (nft `inet`) of both. Chain names are unique within it.

    `misreads_fragments`: what its rules ask of ports, TCP flags or ICMP types may hold for a later fragment
    too, since nft reads them from whatever stands in their place (tests/kernel/test_facts_fragments.py shows
    it of Linux 6.18). A literal that names the fragment says that a match is none of those.
    """

    name: str
    families: frozenset[Family]
    chains: tuple[Chain, ...] = ()
    keepers: tuple[Keeper, ...] = ()
    origin: Origin = NOWHERE
    misreads_fragments: bool = False

    def chain(self, name: str) -> Chain | None:
        return next((chain for chain in self.chains if chain.name == name), None)


@dataclass(frozen=True, slots=True)
class Ruleset:
    """All tables of a host that are known, in the order in which they were made.

    Base chains of one hook and one priority run the other way round: the last that was made runs first.
    """

    tables: tuple[Table, ...] = ()

    def __add__(self, other: Ruleset) -> Ruleset:
        return Ruleset(self.tables + other.tables)


XTABLES_PRIORITY = {
    ("raw", Hook.PREROUTING): -300,
    ("raw", Hook.OUTPUT): -300,
    **{("mangle", hook): -150 for hook in list(Hook)[:5]},
    ("nat", Hook.PREROUTING): -100,
    ("nat", Hook.OUTPUT): -100,
    ("nat", Hook.INPUT): 100,
    ("nat", Hook.POSTROUTING): 100,
    **{("filter", hook): 0 for hook in (Hook.INPUT, Hook.FORWARD, Hook.OUTPUT)},
    **{("security", hook): 50 for hook in (Hook.INPUT, Hook.FORWARD, Hook.OUTPUT)},
}
"""The priorities of the built-in chains of iptables and ip6tables, both backends."""

CONNTRACK_PRIORITY = -200
DEFRAGMENTATION_PRIORITY = -400
