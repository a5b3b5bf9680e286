"""From a site to its plan: flows, decisions, port ranges, legs, for each address family apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from notrack.packets.address import Family
from notrack.packets.intervals import EMPTY, Interval, IntervalSet
from notrack.plan.box import REACH_LOCAL, SCTP, TCP, UDP, Box, witness
from notrack.plan.decisions import UNDECLARED, by_port, claims_of, decide
from notrack.plan.flow import Decision, Flow, Paths
from notrack.plan.frame import Frame
from notrack.plan.ground import ground, groups, label, own_addresses
from notrack.plan.leg import Leg
from notrack.plan.legs import (
    forward_legs,
    fragment_legs,
    input_legs,
    keeps_tracking_on,
    last_legs,
    output_legs,
    witness_legs,
)
from notrack.plan.nat import nat_legs
from notrack.plan.paths import flows
from notrack.plan.raw import helper_legs, raw_legs
from notrack.plan.translation import SMALLEST_RANGE, Translation, apart, port_range, translations
from notrack.site.model import Client, Default, Site, SourceTranslation, Tracking
from notrack.text.diagnostic import Diagnostic, Rejected, Related, Severity
from notrack.text.record import dataclass


@dataclass(frozen=True, slots=True)
class FamilyPlan:
    """The plan of one family. `tracking` is `none`, `partial` or `all`; `ranges` by protocol number.

    `own`: the addresses that the site says are the host's, so that no rule need ask whether they are local.
    """

    family: Family
    tracking: str
    decisions: tuple[Decision, ...]
    ranges: dict[int, Interval]
    legs: tuple[Leg, ...]
    own: IntervalSet = EMPTY


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of every flow of a site, and the legs that make it so."""

    site: Site
    families: dict[Family, FamilyPlan]
    warnings: tuple[Diagnostic, ...] = ()
    beside_others: bool = False


def plan(site: Site, *, coexist: bool = False) -> Plan:
    """Decide every flow of `site`.

    `coexist`: rules of others stay, and may turn tracking on, so NOTRACK is emitted even where nothing of
    this site needs tracking; a `default ... leave` says the same. Raises `Rejected` with every conflict.
    """
    others = coexist or leaves_to_others(site)
    faults: list[Diagnostic] = []
    found = {family: _family(site, family, others, faults) for family in Family}
    if faults:
        raise Rejected(tuple(_one_for_each_cause(faults)))
    return Plan(site, found, tuple(_warnings(site)), others)


def _one_for_each_cause(faults: list[Diagnostic]) -> list[Diagnostic]:
    """The first fault of each pair of places: other protocols and the other family say the same again."""
    found: dict[object, Diagnostic] = {}
    for fault in faults:
        found.setdefault((fault.span, tuple(related.span for related in fault.related)), fault)
    return list(found.values())


def leaves_to_others(site: Site) -> bool:
    """Whether the rules of others stay in force beside the site's own."""
    defaults = site.defaults
    return Default.LEAVE in (defaults.input, defaults.forward, defaults.output)


def _family(site: Site, family: Family, others: bool, faults: list[Diagnostic]) -> FamilyPlan:
    land = ground(site, family)
    lines = translations(land)
    decisions, conflicts = decide(land, flows(land), lines)
    faults += conflicts
    claims = tuple(claims_of(decisions, lines))
    decisions += [_translated(line, family) for line in lines]
    tracking = any(d.needs for d in decisions)
    if not tracking:
        decisions = [_of_its_own(d, family, others) for d in decisions]
    elif site.tracking.off is not None:
        faults += [_tracking_off(site, d) for d in decisions if d.needs]
    frame = Frame(land, tuple(decisions), claims if tracking else (), len(lines), tracking, others)
    ranges = _ranges(frame, lines, faults)
    if lines:
        frame = replace(frame, decisions=tuple(_apart(d, lines, ranges) for d in decisions))
    legs = tuple(_legs(frame, ranges))
    return FamilyPlan(
        family, _extent(decisions, tracking), tuple(decisions), ranges, legs, own_addresses(land)
    )


def _apart(decision: Decision, lines: list[Translation], ranges: dict[int, Interval]) -> Decision:
    flow = decision.flow
    if decision.tracked or all(by_port(box) for box in flow.paths.raw_in):
        return decision
    return replace(decision, flow=replace(flow, paths=apart(flow.paths, lines, ranges)))


def _legs(frame: Frame, ranges: dict[int, Interval]) -> Iterator[Leg]:
    filter_legs = [*input_legs(frame), *forward_legs(frame), *output_legs(frame)]
    others = [*helper_legs(frame), *nat_legs(frame, ranges)]
    yield from raw_legs(frame)
    yield from others
    yield from filter_legs
    if frame.tracking and not any(keeps_tracking_on(leg) for leg in (*others, *filter_legs)):
        yield from witness_legs(frame)
    yield from fragment_legs(filter_legs, frame)
    yield from last_legs(frame)


def _extent(decisions: list[Decision], tracking: bool) -> str:
    if not tracking:
        return "none"
    return "partial" if any(not d.tracked for d in decisions) else "all"


def _of_its_own(decision: Decision, family: Family, others: bool) -> Decision:
    """Nothing in the family needs tracking, so nothing there is tracked."""
    why = f"nothing needs tracking in {family.label}"
    if others:
        why += ", but the rules of others may turn it on"
        if decision.tracked:
            return replace(decision, reason=f"{why}: left as it is")
    return replace(decision, tracked=False, reason=why, notes=())


def _translated(line: Translation, family: Family) -> Decision:
    """A translation line as a flow of its own, so that the plan shows it."""
    declaration = line.declaration
    traffic = declaration.traffic[0] if len(declaration.traffic) == 1 else None
    origin = declaration.origin
    flow = Flow(origin.keyword, origin.name, family, origin, declaration, traffic, Paths())
    return Decision(flow, True, "what is translated must be in the table", needs=True)


def _ranges(frame: Frame, lines: list[Translation], faults: list[Diagnostic]) -> dict[int, Interval]:
    """The one range of ports, by protocol, that translation may use; only where it must be narrowed."""
    sources = [line.declaration for line in lines if isinstance(line.declaration, SourceTranslation)]
    if not sources:
        return {}
    ranges: dict[int, Interval] = {}
    for protocol in (TCP, UDP, SCTP):
        taken = _untracked_ports(frame, protocol)
        if not taken:
            continue
        found = port_range(taken)
        if found is None or found[1] - found[0] + 1 < SMALLEST_RANGE:
            faults.append(_tiny(sources[0], frame, protocol, found))
        else:
            ranges[protocol] = found
    return ranges


def _untracked_ports(frame: Frame, protocol: int) -> IntervalSet:
    """The host's own ports at which untracked packets of a protocol arrive."""
    taken = EMPTY
    for _, box in _takers(frame, protocol):
        # Of a flow of all ports at least the host's own questions to it shall need no entry.
        taken |= box.destination_ports if by_port(box) else frame.ground.site.ephemeral
    return taken


def _tiny(line: SourceTranslation, frame: Frame, protocol: int, found: Interval | None) -> Diagnostic:
    what = "no port" if found is None else f"only ports {found[0]}-{found[1]}"
    widest, box = max(_takers(frame, protocol), key=lambda taker: taker[1].destination_ports.size())
    answer = box.but(source=None, source_ports=IntervalSet.single(443))
    origin = widest.flow.origin
    return Diagnostic(
        Severity.ERROR,
        f"untracked flows leave {line.origin.keyword} {line.origin.name} {what} for {label(protocol)}"
        f" in {frame.family.label}",
        line.origin.span,
        help="translated answers must come back to ports at which nothing is untracked: narrow the ports of"
        " untracked services, give untracked clients a smaller `ephemeral` or `from port` range, or say"
        " `tracked`",
        related=(Related(origin.span, f"{origin.keyword} {origin.name} takes the most ports"),),
        notes=(f"packet: {witness(answer)} could be a translated answer or one of {origin.name}",),
    )


def _takers(frame: Frame, protocol: int) -> Iterator[tuple[Decision, Box]]:
    """The untracked flows at whose ports of a protocol packets arrive, with the box of each."""
    for decision in frame.untracked:
        if decision.flow.kind in UNDECLARED:
            continue
        for box in decision.flow.paths.raw_in:
            if protocol in box.protocol and box.reach == REACH_LOCAL:
                yield decision, box.but(protocol=IntervalSet.single(protocol))


def _tracking_off(site: Site, decision: Decision) -> Diagnostic:
    assert site.tracking.off is not None
    flow = decision.flow
    mend = {
        "output": "say `default output accept without replies`, or `output drop` with untracked clients",
        "client": f"say `untracked` in client {flow.name}, if its exposure is acceptable",
        "route": f"say `untracked` in route {flow.name}, if its exposure is acceptable",
    }.get(flow.kind, f"take out {flow.kind} {flow.name} or `tracking off`")
    return Diagnostic(
        Severity.ERROR,
        f"tracking is off, but {flow.kind} {flow.name} needs it in {flow.family.label}: "
        + decision.reason,
        site.tracking.off.span,
        help=mend,
        related=(Related(flow.origin.span, f"{flow.kind} {flow.name}"),) if flow.declaration else (),
    )


def _warnings(site: Site) -> Iterator[Diagnostic]:
    for declaration in site.declarations:
        if not isinstance(declaration, Client) or declaration.tracking is Tracking.UNTRACKED:
            continue
        for family in Family:
            peers = declaration.peers.family(family)
            if peers and peers <= groups(family):
                yield Diagnostic(
                    Severity.WARNING,
                    f"answers to client {declaration.origin.name} will be dropped: it asks a multicast group,"
                    " and tracking knows no answer to a group",
                    declaration.origin.span,
                    help="say `untracked`, or declare a peer at that group",
                )
