"""The legs before tracking: what is blocked, what stays tracked, what is untracked, and helpers."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.plan.box import REACH_LOCAL, REACH_NOT_LOCAL, Box, shared
from notrack.plan.flow import Flow
from notrack.plan.frame import Frame
from notrack.plan.leg import DROP, KEEP, UNTRACK, Action, Hook, Leg, Stage, Verb
from notrack.plan.paths import narrowed
from notrack.site.model import Block


def raw_legs(frame: Frame) -> Iterator[Leg]:
    """RAW_IN and RAW_OUT: blocks, what stays tracked, loopback, what is untracked."""
    family = frame.family
    blocks = [d for d in frame.ground.declarations if isinstance(d, Block)]
    if any(not block.devices for block in blocks):
        lo = Box(family, devices=("lo",))
        yield Leg(Hook.RAW_IN, Stage.LOOPBACK_FIRST, lo, KEEP, frame.essential("loopback"))
    for block in blocks:
        box = Box(family, source=narrowed(block.peers, family), devices=block.devices)
        yield Leg(Hook.RAW_IN, Stage.BLOCK, box, DROP, (block.origin,))
    if not (frame.tracking or frame.others) or not frame.untracked:
        return
    untrack = [*_loopback(frame), *_untracking(frame)]
    yield from _keeping(frame, untrack)
    yield from untrack


def _loopback(frame: Frame) -> Iterator[Leg]:
    """Loopback, whole; a packet untracked in OUTPUT stays so when it comes in.

    Where others have rules they may translate what this host sends to its own addresses (Docker, kube-proxy),
    and an untracked packet is never translated: there only what the site untracks is untracked on loopback.
    """
    lo = ("lo",)
    if not frame.others:
        whole = Box(frame.family, out_devices=lo)
        yield Leg(Hook.RAW_OUT, Stage.LOOPBACK, whole, UNTRACK, frame.essential("loopback"))
        return
    for decision in frame.untracked:
        for box in decision.flow.paths.raw_in:
            if box.reach == REACH_LOCAL:
                origin = (decision.flow.origin,)
                # Behind what stays tracked: it may share these packets, whose answers it keeps.
                yield Leg(Hook.RAW_OUT, Stage.UNTRACK, box.but(out_devices=lo), UNTRACK, origin)


def _untracking(frame: Frame) -> Iterator[Leg]:
    for decision in frame.untracked:
        flow = decision.flow
        for hook, boxes in ((Hook.RAW_IN, flow.paths.raw_in), (Hook.RAW_OUT, flow.paths.raw_out)):
            for box in boxes:
                yield Leg(hook, Stage.UNTRACK, box, UNTRACK, (flow.origin,))


def _keeping(frame: Frame, untrack: list[Leg]) -> Iterator[Leg]:
    """Claims, where something that is untracked would take their packets."""
    for index, claim in enumerate(frame.claims):
        stage = Stage.KEEP_TRANSLATED if index < frame.translated else Stage.KEEP_TRACKED
        before_out = claim.before_out
        if frame.others and stage is Stage.KEEP_TRACKED:
            before_out += tuple(b.but(out_devices=("lo",)) for b in claim.before_in if b.reach == REACH_LOCAL)
        for hook, boxes in ((Hook.RAW_IN, claim.before_in), (Hook.RAW_OUT, before_out)):
            later = [leg.box for leg in untrack if leg.hook is hook and leg.stage > stage]
            for box in boxes:
                if any(shared(box, other) for other in later):
                    yield Leg(hook, stage, box, KEEP, (claim.origin,))


def helper_legs(frame: Frame) -> Iterator[Leg]:
    """Helpers, assigned before the first packet of a connection is confirmed."""
    for decision in frame.decisions:
        flow = decision.flow
        if flow.declaration is None or not flow.declaration.helper:
            continue
        action = Action(Verb.HELPER, helper=flow.declaration.helper)
        came, went = _first_packets(flow)
        yield from (Leg(Hook.HELPER_IN, Stage.HELPER, box, action, (flow.origin,)) for box in came)
        yield from (Leg(Hook.HELPER_OUT, Stage.HELPER_OUT, box, action, (flow.origin,)) for box in went)


def _first_packets(flow: Flow) -> tuple[tuple[Box, ...], tuple[Box, ...]]:
    """Where connections of a flow begin: in PREROUTING, in OUTPUT, or (a peer) in both."""
    paths = flow.paths
    if flow.kind == "route":  # PREROUTING does not know the way out
        return tuple(box.but(out_devices=(), reach=REACH_NOT_LOCAL) for box in paths.passing), ()
    if flow.kind == "peer":
        return paths.raw_in[:1], paths.asking_narrow or paths.leaving[:1]
    # From other ports what looks like a question may be the answer of an untracked service.
    return (paths.raw_in[:1], ()) if paths.arriving else ((), paths.asking_narrow)
