"""From decisions to legs: what each hook must do so that the decisions come true."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from notrack.packets.address import Family
from notrack.packets.intervals import IntervalSet
from notrack.plan.box import ICMP_TYPES, PORTS, REACH_LOCAL, TCP, Box, Flags, absorb, icmp_protocol, shared
from notrack.plan.decisions import Claim
from notrack.plan.flow import Decision
from notrack.plan.ground import Ground, groups, local_groups
from notrack.plan.leg import ACCEPT, DROP, KEEP, UNTRACK, Action, Hook, Leg, Stage, State, Verb
from notrack.plan.paths import narrowed, site_origin
from notrack.site.model import Block, Default, Origin, Peer

# ICMP errors that every flow needs, and what IPv6 cannot live without (RFC 792, 4443, 4861, 2710, 3810).
_ERRORS = {
    Family.IPV4: IntervalSet.of([(3, 3), (11, 12)]),
    Family.IPV6: IntervalSet.of([(1, 4)]),
}
_NEIGHBOURS = IntervalSet.of([(130, 136), (143, 143)])
_IGMP = 2


@dataclass(frozen=True, slots=True)
class Frame:
    """What the legs of one family are made from. `tracking`: whether anything there needs tracking.

    `others`: whether rules of others stay, which may turn tracking on and translate.
    """

    ground: Ground
    decisions: tuple[Decision, ...]
    claims: tuple[Claim, ...]
    translated: int  # the first so many claims are translation's
    tracking: bool
    others: bool

    @property
    def family(self) -> Family:
        return self.ground.family

    @property
    def untracked(self) -> list[Decision]:
        return [d for d in self.decisions if not d.tracked]

    def essential(self, what: str) -> tuple[Origin, ...]:
        return (Origin("always", what, site_origin(self.ground, what).span),)


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
                yield Leg(Hook.RAW_OUT, Stage.LOOPBACK, box.but(out_devices=lo), UNTRACK, origin)


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
        for hook, boxes in ((Hook.RAW_IN, claim.before_in), (Hook.RAW_OUT, claim.before_out)):
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
        if flow.kind == "client":
            hook, stage, boxes = Hook.HELPER_OUT, Stage.HELPER_OUT, flow.paths.asking
        elif flow.kind == "route":
            hook, stage = Hook.HELPER_IN, Stage.HELPER
            boxes = tuple(b.but(out_devices=()) for b in flow.paths.passing)
        else:
            hook, stage, boxes = Hook.HELPER_IN, Stage.HELPER, flow.paths.raw_in[:1]
        yield from (Leg(hook, stage, box, action, (flow.origin,)) for box in boxes)


def essential_boxes(family: Family) -> list[tuple[str, Box]]:
    """The ICMP that always passes: errors, and for IPv6 neighbour discovery and group membership."""
    icmp = Box(family, protocol=IntervalSet.single(icmp_protocol(family)))
    found = [("icmp errors", icmp.but(icmp=_ERRORS[family]))]
    if family is Family.IPV6:
        found.append(("neighbour discovery", icmp.but(icmp=_NEIGHBOURS)))
    return found


def input_legs(frame: Frame) -> Iterator[Leg]:
    defaults, family = frame.ground.site.defaults, frame.family
    yield from _limits(frame, Hook.INPUT)
    if defaults.input is Default.ACCEPT:
        return
    yield Leg(
        Hook.INPUT, Stage.LOOPBACK_FIRST, Box(family, devices=("lo",)), ACCEPT, frame.essential("loopback")
    )
    for what, box in essential_boxes(family):
        yield Leg(Hook.INPUT, Stage.ESSENTIAL, box, ACCEPT, frame.essential(what))
    yield from _group_membership(frame)
    if frame.tracking:
        yield from _answers_in(frame)
    for decision in frame.decisions:
        flow, paths = decision.flow, decision.flow.paths
        if _is_limited(decision) or flow.kind == "output":
            continue
        stage = Stage.REQUEST if flow.kind == "icmp" else Stage.ACCEPT
        yield from (Leg(Hook.INPUT, stage, b, ACCEPT, (flow.origin,)) for b in paths.arriving)
        if not decision.tracked:
            yield from (Leg(Hook.INPUT, Stage.ACCEPT, b, ACCEPT, (flow.origin,)) for b in paths.answering)


def _answers_in(frame: Frame) -> Iterator[Leg]:
    """Answers of tracked flows; each client's own where the rest of the host's questions gets none."""
    states = frozenset({State.ESTABLISHED, State.RELATED})
    if frame.ground.site.defaults.output_replies:
        yield Leg(Hook.INPUT, Stage.STATE, Box(frame.family), ACCEPT, frame.essential("answers"), states)
        return
    for decision in frame.decisions:
        flow = decision.flow
        if decision.tracked and flow.declaration is not None:
            for box in flow.paths.answering:
                wide = box.but(destination_ports=PORTS, flags=Flags.ANY)
                yield Leg(Hook.INPUT, Stage.STATE, wide, ACCEPT, (flow.origin,), states)
            if flow.declaration.helper:
                yield Leg(
                    Hook.INPUT,
                    Stage.STATE,
                    Box(frame.family),
                    ACCEPT,
                    (flow.origin,),
                    states,
                    helper=flow.declaration.helper,
                )


def _group_membership(frame: Frame) -> Iterator[Leg]:
    """IGMP queries for peers in groups that routers and switches must hear of (MLD always passes)."""
    if frame.family is Family.IPV6:
        return
    for declaration in frame.ground.declarations:
        if isinstance(declaration, Peer) and not declaration.groups.v4 <= local_groups(frame.family):
            box = Box(
                frame.family,
                protocol=IntervalSet.single(_IGMP),
                destination=groups(frame.family),
                devices=declaration.devices,
            )
            yield Leg(Hook.INPUT, Stage.ACCEPT, box, ACCEPT, (declaration.origin,))


def tcp_apart(box: Box) -> Iterator[Box]:
    """A box in two where it holds TCP beside other protocols: only TCP tells an opening packet."""
    tcp = IntervalSet.single(TCP)
    yield from (box.but(protocol=part) for part in (box.protocol & tcp, box.protocol - tcp) if part)


def _is_limited(decision: Decision) -> bool:
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


def _limits(frame: Frame, hook: Hook) -> Iterator[Leg]:
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


def output_legs(frame: Frame) -> Iterator[Leg]:
    defaults, family = frame.ground.site.defaults, frame.family
    if defaults.output is Default.ACCEPT:
        return
    lo = Box(family, out_devices=("lo",))
    yield Leg(Hook.OUTPUT, Stage.LOOPBACK_FIRST, lo, ACCEPT, frame.essential("loopback"))
    for what, box in essential_boxes(family):
        yield Leg(Hook.OUTPUT, Stage.ESSENTIAL, box, ACCEPT, frame.essential(what))
    if frame.tracking:
        states = frozenset({State.ESTABLISHED, State.RELATED})
        yield Leg(Hook.OUTPUT, Stage.STATE, Box(family), ACCEPT, frame.essential("answers"), states)
    for decision in frame.decisions:
        flow = decision.flow
        if flow.kind in UNSAID:
            continue
        asking = flow.paths.asking if decision.tracked else flow.paths.asking_narrow
        yield from (Leg(Hook.OUTPUT, Stage.ACCEPT, b, ACCEPT, (flow.origin,)) for b in asking)
        if not decision.tracked or _asks_from_either_side(decision):
            yield from (Leg(Hook.OUTPUT, Stage.ACCEPT, b, ACCEPT, (flow.origin,)) for b in flow.paths.leaving)


UNSAID = frozenset({"output", "forward"})


def _asks_from_either_side(decision: Decision) -> bool:
    """A peer over UDP or a bare protocol: what leaves is a question as much as an answer."""
    flow = decision.flow
    return flow.kind == "peer" and not flow.paths.asking


def forward_legs(frame: Frame) -> Iterator[Leg]:
    site, family = frame.ground.site, frame.family
    yield from _limits(frame, Hook.FORWARD)
    forwards = [d for d in frame.decisions if d.flow.paths.passing]
    if site.defaults.forward is Default.ACCEPT or not (forwards or frame.translated):
        return
    icmp = Box(family, protocol=IntervalSet.single(icmp_protocol(family)), icmp=_ERRORS[family])
    yield Leg(Hook.FORWARD, Stage.ESSENTIAL, icmp, ACCEPT, frame.essential("icmp errors"))
    if frame.tracking:
        states = frozenset({State.ESTABLISHED, State.RELATED})
        yield Leg(Hook.FORWARD, Stage.STATE, Box(family), ACCEPT, frame.essential("answers"), states)
    for decision in forwards:
        flow = decision.flow
        if not _is_limited(decision):
            yield from (
                Leg(Hook.FORWARD, Stage.ACCEPT, b, ACCEPT, (flow.origin,)) for b in flow.paths.passing
            )
        if not decision.tracked:
            yield from (
                Leg(Hook.FORWARD, Stage.ACCEPT, b, ACCEPT, (flow.origin,)) for b in flow.paths.returning
            )


def fragment_legs(legs: Iterable[Leg], frame: Frame) -> Iterator[Leg]:
    """Later fragments pass to whom the first may go, where nothing puts them together before the rules.

    With tracking on, the kernel reassembles before raw; INPUT sees whole IPv4 datagrams always.
    """
    if frame.tracking:
        return
    for hook in (Hook.INPUT, Hook.FORWARD):
        if hook is Hook.INPUT and frame.family is Family.IPV4:
            continue
        accepted = [
            leg
            for leg in legs
            if leg.hook is hook
            and leg.action.verb is Verb.ACCEPT
            and not leg.states
            and leg.stage in (Stage.REQUEST, Stage.ACCEPT, Stage.LIMITED)
            and _names_what_fragments_lack(leg.box)
        ]
        wide = {_later(leg.box): leg.origins for leg in accepted}
        for box in absorb(wide):
            yield Leg(hook, Stage.FRAGMENT, box, ACCEPT, wide[box])


def _names_what_fragments_lack(box: Box) -> bool:
    return (
        box.source_ports != PORTS
        or box.destination_ports != PORTS
        or box.icmp != ICMP_TYPES
        or box.flags is not Flags.ANY
        or box.family is Family.IPV6
    )


def _later(box: Box) -> Box:
    return box.but(
        source_ports=PORTS, destination_ports=PORTS, icmp=ICMP_TYPES, flags=Flags.ANY, later_fragment=True
    )


def last_legs(frame: Frame) -> Iterator[Leg]:
    """What becomes of the rest: the log, and a refusal where the site wants one."""
    site = frame.ground.site
    for hook, name, default in (
        (Hook.INPUT, "input", site.defaults.input),
        (Hook.FORWARD, "forward", site.defaults.forward),
        (Hook.OUTPUT, "output", site.defaults.output),
    ):
        origin = (site.defaults.origins.get(name) or site_origin(frame.ground, name),)
        everything = Box(frame.family)
        if default in (Default.DROP, Default.REJECT) and site.log is not None:
            yield Leg(hook, Stage.LOG, everything, Action(Verb.LOG), origin, rate=site.log)
        if default is Default.REJECT:
            yield Leg(hook, Stage.LAST, everything, Action(Verb.REJECT), origin)
