"""Which packets belong to which flow: the little of a connection table that a test of the model needs.

The model says of a first packet whether it is tracked and how it is translated; of a later one it has to be
told the state. Here are the entries that the model's own answers make, and the state that follows from them.
Where the kernel's TCP automaton would decide more than that, the packet is not judged.
"""

from __future__ import annotations

from dataclasses import dataclass

from notrack.packets.fields import State
from tests.kernel.differential.bench import Connection
from tests.kernel.differential.probes import Probe

Tuple = tuple[str, str, int, int]
Place = tuple[int, int, bool, int, Tuple]  # family, protocol, whether of the answers, zone, tuple


@dataclass(slots=True)
class Flow:
    """One entry. `stage` of TCP: `opened` by a SYN, `answered`, `open` or `odd` (not followed any more)."""

    family: int
    proto: int
    original: Tuple
    reply: Tuple
    zones: tuple[int, int] = (0, 0)
    replied: bool = False
    stage: str = ""
    certain: bool = True

    @property
    def translated(self) -> bool:
        return self.reply[:2] != reversed_tuple(self.original)[:2] or (
            self.proto in (6, 17) and self.reply != reversed_tuple(self.original)
        )

    def connection(self) -> Connection:
        return Connection(self.family, self.proto, self.original, self.reply, self.zones)


@dataclass(frozen=True, slots=True)
class Membership:
    """A packet of a known flow: in which direction, and what `ctstate` says. None: cannot be said."""

    flow: Flow
    reply: bool
    state: State | None


def reversed_tuple(tuple_: Tuple) -> Tuple:
    src, dst, sport, dport = tuple_
    return dst, src, dport, sport


def tuple_of(probe: Probe) -> Tuple:
    """The tuple of a packet; ICMP has its identifier and its type instead of ports."""
    if probe.icmp is not None:
        return probe.src, probe.dst, probe.sport, probe.icmp[0]
    if probe.ported:
        return probe.src, probe.dst, probe.sport, probe.dport
    return probe.src, probe.dst, 0, 0


def answer_of(tuple_: Tuple, probe: Probe) -> Tuple:
    """The tuple of the answer to what has this tuple."""
    if probe.icmp is not None:
        kinds = {8: 0, 0: 8, 13: 14, 128: 129, 129: 128}
        return tuple_[1], tuple_[0], tuple_[2], kinds.get(tuple_[3], tuple_[3])
    return reversed_tuple(tuple_)


class Flows:
    """The table."""

    def __init__(self) -> None:
        self.all: list[Flow] = []
        self._by_tuple: dict[Place, tuple[Flow, bool]] = {}

    def find(
        self, probe: Probe, tuple_: Tuple, zones: tuple[int, int], proto: int
    ) -> tuple[Flow, bool] | None:
        """The flow of a packet that rules put into these zones: each direction is looked for in its own."""
        places = ((probe.family, proto, reply, zones[reply], tuple_) for reply in (False, True))
        return next((self._by_tuple[place] for place in places if place in self._by_tuple), None)

    def member(self, probe: Probe, zones: tuple[int, int]) -> Membership | None:
        """What a packet is to the flows there are; None for the first of its own."""
        if probe.is_error:
            return None
        found = self.find(probe, tuple_of(probe), zones, probe.proto)
        if found is None:
            return None
        flow, reply = found
        if probe.proto == 6:
            return Membership(flow, reply, _tcp_state(flow, reply, probe.flags))
        known = State.ESTABLISHED if reply or flow.replied else State.NEW
        return Membership(flow, reply, known)

    def passed(self, member: Membership, flags: str) -> None:
        """A packet of a flow has been seen by connection tracking."""
        flow = member.flow
        flow.replied |= member.reply
        if flow.proto == 6:
            flow.stage = _next_stage(flow.stage, member.reply, flags)

    def add(self, flow: Flow) -> None:
        """A new flow; one that collides with another is not certain, nor is the other."""
        keys = _keys(flow)
        for key in keys:
            if flow.original == flow.reply:  # the kernel cannot tell its directions, nor can we
                flow.certain = False
            if key in self._by_tuple:
                flow.certain = self._by_tuple[key][0].certain = False
        for key, reply in zip(keys, (False, True), strict=True):
            self._by_tuple.setdefault(key, (flow, reply))
        self.all.append(flow)

    def collides(self, flow: Flow) -> bool:
        crossed = [(family, proto, not way, zone, one) for family, proto, way, zone, one in _keys(flow)]
        return any(key in self._by_tuple for key in (*_keys(flow), *crossed))


def _keys(flow: Flow) -> list[Place]:
    """The entry's two places in the table."""
    both = zip((False, True), flow.zones, (flow.original, flow.reply), strict=True)
    return [(flow.family, flow.proto, *place) for place in both]


def first_stage(flags: str) -> str:
    return "opened" if "S" in flags else "open"


def _tcp_state(flow: Flow, reply: bool, flags: str) -> State | None:
    if flow.stage == "opened":
        if reply and flags == "SA":
            return State.ESTABLISHED
        if not reply and flags == "PA":
            return State.INVALID
        return None
    if flow.stage in ("answered", "open") and flags in ("PA", "A"):
        return State.ESTABLISHED if reply or flow.replied else State.NEW
    return None


def _next_stage(stage: str, reply: bool, flags: str) -> str:
    if stage == "opened" and reply and flags == "SA":
        return "answered"
    if stage == "opened" and not reply and flags == "PA":
        return stage
    if stage in ("answered", "open") and flags in ("PA", "A"):
        return "open"
    return "odd"
