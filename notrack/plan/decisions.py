"""Tracked or not: the rules of the site language, applied flow by flow in one family."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from notrack.plan.box import PORTS, WITH_PORTS, Box, covered, shared, witness
from notrack.plan.exposure import exposure
from notrack.plan.flow import Decision, Flow
from notrack.plan.ground import Ground
from notrack.plan.translation import WIDEST_RANGES, Translation, answers, apart
from notrack.plan.words import box_words
from notrack.site.model import Origin, Tracking
from notrack.text.diagnostic import Diagnostic, Related, Severity
from notrack.text.record import dataclass

UNDECLARED = frozenset({"input", "output", "forward"})


@dataclass(frozen=True, slots=True)
class Claim:
    """Packets that must stay tracked, and for whose sake; `what` says it to a person."""

    origin: Origin
    what: str
    before_in: tuple[Box, ...]
    before_out: tuple[Box, ...]
    translates: bool = False


def decide(
    ground: Ground, flows: list[Flow], lines: list[Translation]
) -> tuple[list[Decision], list[Diagnostic]]:
    """A decision for every flow, and the conflicts between what the site says and what can be.

    Rule by rule as the site language has them: translation and helpers first, then replies by source port;
    what is left is untracked. Flows that share packets with a tracked one follow until nothing changes.
    """
    decisions = [_alone(flow, flows) for flow in flows]
    decisions = [_against_answers(decision, lines) for decision in decisions]
    changed = True
    while changed:
        claims = claims_of(decisions, lines)
        updated = [_against_claims(decision, claims) for decision in decisions]
        changed = any(a.tracked != b.tracked for a, b in zip(decisions, updated, strict=True))
        decisions = [
            old if changed and not new.tracked else new for old, new in zip(decisions, updated, strict=True)
        ]
    claims = claims_of(decisions, lines)
    conflicts = [conflict for d in decisions for conflict in _conflicts(d, claims, lines)]
    return [replace(d, exposes=exposure(d, ground)) for d in decisions], conflicts


def claims_of(decisions: Iterable[Decision], lines: Iterable[Translation]) -> list[Claim]:
    """Everything that must stay tracked: what translation touches, then every declared tracked flow."""
    found: list[Claim] = []
    for line in lines:
        origin = line.declaration.origin
        what = f"{origin.keyword} {origin.name} translates"
        found.append(Claim(origin, what, line.before_in, line.before_out, translates=True))
    for decision in decisions:
        flow = decision.flow
        if decision.tracked and flow.kind not in UNDECLARED:
            what = f"{flow.kind} {flow.name} keeps tracked"
            found.append(Claim(flow.origin, what, flow.paths.raw_in, flow.paths.raw_out))
    return found


def says(flow: Flow) -> Tracking:
    return Tracking.AUTO if flow.declaration is None else flow.declaration.tracking


def _alone(flow: Flow, flows: list[Flow]) -> Decision:
    """What the flow itself asks for, whatever stands beside it."""
    said = says(flow)
    declaration = flow.declaration
    if declaration is not None and declaration.helper:
        return Decision(
            flow, True, f"the {declaration.helper} helper needs the connection in the table", needs=True
        )
    if declaration is not None and declaration.connections:
        return Decision(flow, True, "connections can only be counted in the table", needs=True)
    if said is Tracking.TRACKED:
        return Decision(flow, True, "the site says so", needs=True)
    if flow.kind in ("client", "output", "route", "forward"):
        return _by_replies(flow, flows, said)
    if flow.kind == "input" and not any(other.kind == "output" for other in flows):
        return Decision(flow, True, "its answers may leave only as answers", needs=True)
    if said is Tracking.UNTRACKED:
        return Decision(flow, False, "the site says so")
    return Decision(flow, False, _who_may_open(flow))


def _who_may_open(flow: Flow) -> str:
    if flow.kind == "icmp":
        return "each request is judged by itself"
    return "who may open it may send any packet of it"


def _by_replies(flow: Flow, flows: list[Flow], said: Tracking) -> Decision:
    """Rule 3: replies that only their source port would let in need the table, unless they pass anyway."""
    if flow.kind == "output" and not flow.paths.answering:
        return Decision(flow, True, "nothing answers it, so it is left as it is")
    if _replies_pass_anyway(flow, flows):
        return Decision(flow, False, "its replies pass by other declarations anyway", by_itself=True)
    if said is Tracking.UNTRACKED:
        return Decision(flow, False, "the site says so")
    where = "the hosts behind this one" if flow.kind == "route" else "this host"
    return Decision(
        flow, True, f"untracked, its replies would let anyone reach {where} by source port", needs=True
    )


def _replies_pass_anyway(flow: Flow, flows: list[Flow]) -> bool:
    if flow.kind in ("route", "forward"):
        let_in = [box for other in flows for box in other.paths.passing if _unlimited(other)]
        return all(covered(box, let_in) for box in flow.paths.returning)
    let_in = [
        box for other in flows if other is not flow and _unlimited(other) for box in other.paths.arriving
    ]
    return all(covered(box, let_in) for box in flow.paths.answering)


def _unlimited(flow: Flow) -> bool:
    return flow.declaration is None or (
        flow.declaration.rate is None and flow.declaration.connections is None
    )


def by_port(box: Box) -> bool:
    """Whether a box is told apart from translated answers by its port."""
    return box.protocol <= WITH_PORTS and box.destination_ports != PORTS


def _meets_answers(flow: Flow, lines: Iterable[Translation]) -> tuple[Translation, Box] | None:
    for line in lines:
        if line.returning is None:
            continue
        for answer in answers(line.returning, {}):
            for box in flow.paths.raw_in:
                if not by_port(box) and (both := shared(box, answer)) is not None:
                    return line, both
    return None


def _against_answers(decision: Decision, lines: list[Translation]) -> Decision:
    """Rule 1, the way back: what translated answers look like stays tracked; all of a flow without ports."""
    flow = decision.flow
    if decision.tracked or (found := _meets_answers(flow, lines)) is None:
        return decision
    origin = found[0].declaration.origin
    what = f"answers that {origin.keyword} {origin.name} translates"
    if flow.kind in UNDECLARED or not any(apart(flow.paths, lines, WIDEST_RANGES).raw_in):
        needs = flow.kind in UNDECLARED
        return replace(decision, tracked=True, reason=f"{what} come back among its packets", needs=needs)
    return replace(decision, notes=(f"except what may be {what}",))


def _against_claims(decision: Decision, claims: list[Claim]) -> Decision:
    """A flow whose packets must all stay tracked for another's sake is tracked; a part of them is a note."""
    flow = decision.flow
    if decision.tracked or flow.kind in UNDECLARED:
        return decision
    meeting = [c for c in claims if _packet_of_both(flow, c) is not None]
    if not meeting:
        return decision
    if all(covered(box, [b for c in meeting for b in c.before_in]) for box in flow.paths.raw_in) or (
        flow.paths.raw_out
        and all(covered(box, [b for c in meeting for b in c.before_out]) for box in flow.paths.raw_out)
    ):
        return replace(decision, tracked=True, reason=f"its packets are what {_and(meeting)}", notes=())
    note = f"except what {_and(meeting)}"
    return replace(decision, notes=tuple(dict.fromkeys((*decision.notes, note))))


def _and(claims: list[Claim]) -> str:
    return _listed(list(dict.fromkeys(claim.what for claim in claims)))


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _packet_of_both(flow: Flow, claim: Claim) -> Box | None:
    pairs = [(flow.paths.raw_in, claim.before_in)]
    if not claim.translates:  # the host's own packets to what it publishes are nobody's answers
        pairs.append((flow.paths.raw_out, claim.before_out))
    for mine, theirs in pairs:
        for a in mine:
            for b in theirs:
                if not _meets_by_chance(a, b) and (both := shared(a, b)) is not None:
                    return both
    return None


def _meets_by_chance(a: Box, b: Box) -> bool:
    """Questions of one flow and answers of another meet only where a client asks from a served port.

    Such packets stay tracked like all that is shared, but they are no reason to complain.
    """
    return (_by_one_side(a), _by_one_side(b)) in {("source", "destination"), ("destination", "source")}


def _by_one_side(box: Box) -> str | None:
    """The side whose ports a box names, if it is one side alone."""
    if (box.source_ports == PORTS) == (box.destination_ports == PORTS):
        return None
    return "destination" if box.source_ports == PORTS else "source"


def _conflicts(decision: Decision, claims: list[Claim], lines: list[Translation]) -> list[Diagnostic]:
    """`untracked` in writing against a flow that must be tracked: an error that shows the packet."""
    flow = decision.flow
    if says(flow) is not Tracking.UNTRACKED:
        return []
    if (found := _meets_answers(flow, lines)) is not None:
        line, both = found
        return [_conflict(flow, line.declaration.origin, "its answers are translated by", both)]
    for claim in claims:
        if claim.origin is flow.origin:
            continue
        both_ways = _packet_of_both(flow, claim)
        if both_ways is not None:
            return [_conflict(flow, claim.origin, "it shares packets with", both_ways)]
    return []


def _conflict(flow: Flow, other: Origin, why: str, both: Box) -> Diagnostic:
    translated = other.keyword in ("masquerade", "snat", "publish", "redirect")
    verb = "translates these packets" if translated else "must track these packets"
    mend = (
        f"say nothing about tracking in {flow.kind} {flow.name} (what is shared stays tracked by itself), "
        f"or narrow one of the two so that they share no packet"
    )
    return Diagnostic(
        Severity.ERROR,
        f"{flow.kind} {flow.name} cannot be untracked in {flow.family.label}: "
        f"{why} {other.keyword} {other.name}",
        flow.origin.clauses.get("untracked", flow.origin.span),
        help=mend,
        related=(Related(other.span, f"{other.keyword} {other.name} {verb}"),),
        notes=(f"packet: {witness(both)}", f"shared: {box_words(both)}"),
    )
