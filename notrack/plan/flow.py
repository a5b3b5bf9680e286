"""Flows and what is decided about each."""

from __future__ import annotations

from notrack.packets.address import Family
from notrack.plan.box import Box
from notrack.site.model import Declaration, IcmpType, Origin, Traffic
from notrack.text.record import dataclass


@dataclass(frozen=True, slots=True)
class Paths:
    """Where the packets of a flow are met, as boxes; what does not apply is empty.

    `raw_in` and `raw_out` are what is untracked (or kept tracked) before tracking: wider than what filter
    accepts, for they name no interface and no TCP flag, so that no packet of a flow is treated by halves.
    """

    arriving: tuple[Box, ...] = ()  # INPUT: requests
    leaving: tuple[Box, ...] = ()  # OUTPUT: answers to them
    asking: tuple[Box, ...] = ()  # OUTPUT: the host's own questions
    asking_narrow: tuple[Box, ...] = ()  # the same, only from the ports whose answers are let in untracked
    answering: tuple[Box, ...] = ()  # INPUT: answers to them
    passing: tuple[Box, ...] = ()  # FORWARD: there
    returning: tuple[Box, ...] = ()  # FORWARD: and back
    raw_in: tuple[Box, ...] = ()
    raw_out: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True)
class Flow:
    """What one declaration lets through, of one protocol in one family, with its replies.

    `kind` is the keyword of the declaration, or `output`, `forward`, `input` for what no declaration names.
    """

    kind: str
    name: str
    family: Family
    origin: Origin
    declaration: Declaration | None
    traffic: Traffic | None  # None: every protocol, or ICMP types
    paths: Paths
    icmp: tuple[IcmpType, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """Tracked or not, why, and what it costs.

    `needs` says that the flow itself is the reason why its family must be tracked at all; a flow that is
    tracked without needing it just stays where tracking finds it.
    """

    flow: Flow
    tracked: bool
    reason: str
    needs: bool = False
    exposes: str | None = None
    notes: tuple[str, ...] = ()
    by_itself: bool = False  # its replies pass by other declarations anyway
