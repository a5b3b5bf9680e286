"""The legs of rates and caps."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.packets.intervals import IntervalSet
from notrack.plan.box import TCP, Box, Flags
from notrack.plan.flow import Decision
from notrack.plan.frame import Frame
from notrack.plan.leg import ACCEPT, DROP, Hook, Leg, Stage, State


def limit_legs(frame: Frame, hook: Hook) -> Iterator[Leg]:
    """Rates and caps: accepted up to the limit, the rest of an untracked TCP flow as ever, dropped above."""
    for decision in frame.decisions:
        flow = decision.flow
        if flow.declaration is None:
            continue
        rate, cap = flow.declaration.rate, flow.declaration.connections
        boxes = flow.paths.arriving if hook is Hook.INPUT else flow.paths.passing
        if not decision.tracked:
            boxes = tuple(piece for whole in boxes for piece in tcp_apart(whole))
        for box in boxes:
            counted, states = opening(decision, box)
            origin = (flow.origin,)
            if cap is not None:
                yield Leg(hook, Stage.CAP, counted, DROP, origin, states, connections=cap)
            if rate is None:
                continue
            below, above = (
                (Stage.REQUEST, Stage.REQUEST_OVER) if flow.kind == "icmp" else (Stage.LIMITED, Stage.OVER)
            )
            yield Leg(hook, below, counted, ACCEPT, origin, states, rate=rate)
            yield Leg(hook, above, counted, DROP, origin, states)
            if decision.tracked and flow.kind != "icmp":
                yield Leg(hook, Stage.ACCEPT, box, ACCEPT, origin, frozenset({State.ESTABLISHED}))
            elif counted != box:
                yield Leg(hook, Stage.ACCEPT, box.but(flags=Flags.NO_BARE_SYN), ACCEPT, origin)


def is_limited(decision: Decision) -> bool:
    """Whether its rate decides, and not a plain accept."""
    return decision.flow.declaration is not None and decision.flow.declaration.rate is not None


def opening(decision: Decision, box: Box) -> tuple[Box, frozenset[State]]:
    """The packets that a rate or a cap counts: new connections where they can be told, else each packet."""
    if decision.flow.kind == "icmp":
        return box, frozenset()
    if decision.tracked:
        return box, frozenset({State.NEW})
    if box.protocol == IntervalSet.single(TCP):
        return box.but(flags=Flags.BARE_SYN), frozenset()
    return box, frozenset()


def tcp_apart(box: Box) -> Iterator[Box]:
    """A box in two where it holds TCP beside other protocols: only TCP tells an opening packet."""
    tcp = IntervalSet.single(TCP)
    yield from (box.but(protocol=part) for part in (box.protocol & tcp, box.protocol - tcp) if part)
