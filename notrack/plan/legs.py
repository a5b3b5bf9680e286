"""The legs of filter: what passes INPUT, FORWARD and OUTPUT, so that the decisions come true."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from notrack.packets.address import Family
from notrack.packets.intervals import IntervalSet
from notrack.plan.box import ICMP_TYPES, PORTS, Box, Flags, absorb, icmp_protocol, within
from notrack.plan.flow import Decision
from notrack.plan.frame import Frame
from notrack.plan.ground import groups, local_groups
from notrack.plan.leg import ACCEPT, Action, Hook, Leg, Stage, State, Verb
from notrack.plan.limits import is_limited, limit_legs
from notrack.plan.paths import site_origin
from notrack.site.model import Default, Peer

# ICMP errors that every flow needs, and what IPv6 cannot live without (RFC 792, 4443, 4861, 2710, 3810).
_ERRORS = {
    Family.IPV4: IntervalSet.of([(3, 3), (11, 12)]),
    Family.IPV6: IntervalSet.of([(1, 4)]),
}
_NEIGHBOURS = IntervalSet.of([(130, 136), (143, 143)])
_IGMP = 2


def essential_boxes(family: Family) -> list[tuple[str, Box]]:
    """The ICMP that always passes: errors, and for IPv6 neighbour discovery and group membership."""
    icmp = Box(family, protocol=IntervalSet.single(icmp_protocol(family)))
    found = [("icmp errors", icmp.but(icmp=_ERRORS[family]))]
    if family is Family.IPV6:
        found.append(("neighbour discovery", icmp.but(icmp=_NEIGHBOURS)))
    return found


def input_legs(frame: Frame) -> Iterator[Leg]:
    defaults, family = frame.ground.site.defaults, frame.family
    yield from limit_legs(frame, Hook.INPUT)
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
        if is_limited(decision) or flow.kind == "output":
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
    for leg in _group_membership(frame):
        yield replace(leg, hook=Hook.OUTPUT, box=leg.box.but(devices=()))
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
    yield from limit_legs(frame, Hook.FORWARD)
    forwards = [d for d in frame.decisions if d.flow.paths.passing]
    if site.defaults.forward is Default.ACCEPT or not (forwards or frame.translated):
        return
    # About a tracked flow errors are RELATED; others would leave a translating host with inner addresses.
    if not frame.tracking or any(not d.tracked for d in forwards):
        icmp = Box(family, protocol=IntervalSet.single(icmp_protocol(family)), icmp=_ERRORS[family])
        yield Leg(Hook.FORWARD, Stage.ESSENTIAL, icmp, ACCEPT, frame.essential("icmp errors"))
    if frame.tracking:
        states = frozenset({State.ESTABLISHED, State.RELATED})
        yield Leg(Hook.FORWARD, Stage.STATE, Box(family), ACCEPT, frame.essential("answers"), states)
    for decision in forwards:
        flow = decision.flow
        if not is_limited(decision):
            yield from (
                Leg(Hook.FORWARD, Stage.ACCEPT, b, ACCEPT, (flow.origin,)) for b in flow.paths.passing
            )
        if not decision.tracked:
            yield from (
                Leg(Hook.FORWARD, Stage.ACCEPT, b, ACCEPT, (flow.origin,)) for b in flow.paths.returning
            )


_TRACKERS = frozenset({Verb.HELPER, Verb.MASQUERADE, Verb.SNAT, Verb.DNAT, Verb.REDIRECT})


def keeps_tracking_on(leg: Leg) -> bool:
    """Whether the kernel tracks a family for the sake of this leg's rule."""
    return bool(leg.states) or leg.connections is not None or leg.action.verb in _TRACKERS


def witness_legs(frame: Frame) -> Iterator[Leg]:
    """A state asked for what the site wants tracked, where no other rule asks: without it nothing is tracked.

    They let nothing through that their flows' own rules do not.
    """
    established = frozenset({State.ESTABLISHED})
    for decision in frame.decisions:
        flow = decision.flow
        if not decision.needs:
            continue
        for hook, boxes in ((Hook.INPUT, flow.paths.arriving), (Hook.FORWARD, flow.paths.passing)):
            yield from (Leg(hook, Stage.STATE, b, ACCEPT, (flow.origin,), established) for b in boxes)
        asking = flow.paths.asking if not flow.paths.arriving else ()
        yield from (Leg(Hook.OUTPUT, Stage.STATE, b, ACCEPT, (flow.origin,), established) for b in asking)


def fragment_legs(legs: Iterable[Leg], frame: Frame) -> Iterator[Leg]:
    """Later fragments pass to whom the first may go, where nothing puts them together before the rules.

    With tracking on, the kernel reassembles before raw; INPUT sees whole IPv4 datagrams always.
    """
    if frame.tracking:
        return
    for hook in (Hook.INPUT, Hook.FORWARD):
        if hook is Hook.INPUT and frame.family is Family.IPV4:
            continue
        accepted = [leg for leg in _stateless(legs, hook) if _names_what_fragments_lack(leg.box)]
        passing = [leg.box for leg in _stateless(legs, hook) if not _names_what_fragments_lack(leg.box)]
        wide = {_later(leg.box): leg.origins for leg in accepted}
        for box in absorb(wide):
            if not any(within(box.but(later_fragment=False), other) for other in passing):
                yield Leg(hook, Stage.FRAGMENT, box, ACCEPT, wide[box])


def _stateless(legs: Iterable[Leg], hook: Hook) -> list[Leg]:
    """What filter lets through at a hook whatever tracking says."""
    stages = (Stage.REQUEST, Stage.ACCEPT, Stage.LIMITED)
    mine = [leg for leg in legs if leg.hook is hook and leg.stage in stages]
    return [leg for leg in mine if leg.action.verb is Verb.ACCEPT and not leg.states]


def _names_what_fragments_lack(box: Box) -> bool:
    return (
        box.source_ports != PORTS
        or box.destination_ports != PORTS
        or box.icmp != ICMP_TYPES
        or box.flags is not Flags.ANY
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
