"""Legs: what the rules must do with which packets, at which hook. The plan ends here, the layout begins."""

from __future__ import annotations

import enum

from notrack.plan.box import Box
from notrack.site.model import ConnectionLimit, Origin, Rate
from notrack.text.record import dataclass


class Hook(enum.Enum):
    """Where a leg acts; the layout knows the tables and priorities."""

    RAW_IN = "prerouting, before tracking"
    RAW_OUT = "output, before tracking"
    HELPER_IN = "prerouting, helpers"
    HELPER_OUT = "output, helpers"
    MANGLE_FORWARD = "forward, mangling"
    NAT_IN = "prerouting, translation"
    NAT_OUT = "output, translation"
    NAT_POST = "postrouting, translation"
    INPUT = "input"
    FORWARD = "forward"
    OUTPUT = "output"


class Stage(enum.IntEnum):
    """The order of legs at one hook. Legs of one stage may stand in any order, and be merged."""

    LOOPBACK_FIRST = 0  # filter: loopback always passes
    BLOCK = 5  # raw: nothing from them
    HELPER = 7  # raw: before anything ends the walk; the first CT wins
    KEEP_TRANSLATED = 10  # raw: what translation touches stays tracked
    LOOPBACK = 20  # raw: loopback is untracked whole
    HELPER_OUT = 25  # after loopback, which needs no helper
    KEEP_TRACKED = 30  # raw: what a tracked flow shares stays tracked
    UNTRACK = 40
    ESSENTIAL = 50  # ICMP errors, neighbour discovery
    REQUEST = 55  # ICMP requests: a limit holds for each, so before ESTABLISHED
    REQUEST_OVER = 56
    FRAGMENT = 60
    STATE = 65
    INVALID = 70  # packets that translation would have to touch and cannot
    CAP = 75  # too many connections: refused before anything accepts them
    ACCEPT = 80
    LIMITED = 85  # accepted up to a rate
    OVER = 90  # above the rate of all that is limited
    TRANSLATE = 92
    LOG = 95
    LAST = 99


class State(enum.Enum):
    """What tracking says about a packet; DNAT: its connection had its destination translated."""

    ESTABLISHED = "established"
    RELATED = "related"
    NEW = "new"
    INVALID = "invalid"
    DNAT = "dnat"


class Verb(enum.Enum):
    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"
    KEEP = "keep tracked"
    UNTRACK = "untrack"
    LOG = "log"
    HELPER = "helper"
    CLAMP = "clamp"
    MASQUERADE = "masquerade"
    SNAT = "snat"
    DNAT = "dnat"
    REDIRECT = "redirect"


@dataclass(frozen=True, slots=True)
class Action:
    """What a leg does. `ports` is the one range that translation may use, or the new destination port."""

    verb: Verb
    address: int | None = None
    ports: tuple[int, int] | None = None
    helper: str | None = None


ACCEPT = Action(Verb.ACCEPT)
DROP = Action(Verb.DROP)
KEEP = Action(Verb.KEEP)
UNTRACK = Action(Verb.UNTRACK)


@dataclass(frozen=True, slots=True)
class Leg:
    """At `hook`, in `stage`: `action` for the packets of `box` (in one of `states`, below `rate`)."""

    hook: Hook
    stage: Stage
    box: Box
    action: Action
    origins: tuple[Origin, ...]
    states: frozenset[State] = frozenset()
    rate: Rate | None = None
    connections: ConnectionLimit | None = None  # the leg holds for what is above it
    helper: str | None = None  # only connections that this helper expected
