"""Trace and sets about the packets of random rulesets: the same semantics, evaluated twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from notrack.netfilter.chains import End
from notrack.netfilter.effects import TRACKED_ANEW, Track
from notrack.netfilter.host import Host
from notrack.netfilter.model import Model
from notrack.netfilter.tracking import first_state
from notrack.netfilter.walk import Undetermined, resettled, settle_kinds, walk
from notrack.netfilter.ways import Way
from notrack.packets.fields import Field, Fragment, State, interface_name
from notrack.packets.packet import Packet
from notrack.packets.witness import leaf
from tests.kernel.differential.expected import FAMILY, HOST, as_packet, lowered, ways
from tests.kernel.differential.probes import Probe
from tests.kernel.differential.sessions import session
from tests.kernel.differential.shape import Loadable


@dataclass(slots=True)
class Twins:
    """How many packets were asked about, and where the two answers differ."""

    rulesets: int = 0
    packets: int = 0
    differences: list[str] | None = None


def compare(seed: int, packets: int) -> Twins:
    """At least so many packets over the rulesets of a seed."""
    result = Twins(differences=[])
    assert result.differences is not None
    number = 0
    while result.packets < packets:
        one = session(seed + number)
        number += 1
        result.rulesets += 1
        cores = lowered(one.case, one.backend)
        models = {family: Model(cores[family], FAMILY[family], HOST) for family in one.case.families()}
        for probe in one.probes:
            if probe.after is not None:
                continue
            for way, made in _asked(as_packet(probe), ways(probe)):
                said = _difference(models[probe.family], made, way, HOST)
                if said is None:
                    continue
                result.packets += 1
                if said:
                    result.differences.append(f"seed {one.seed}, {one.backend}: {made} ({way.value}): {said}")
    return result


def of_case(case: Loadable, backend: str, probes: Sequence[Probe]) -> list[str]:
    """Where trace and sets differ about first packets under one ruleset."""
    cores = lowered(case, backend)
    models = {family: Model(cores[family], FAMILY[family], HOST) for family in case.families()}
    return [
        f"{made} ({way.value}): {said}"
        for probe in probes
        if probe.after is None
        for way, made in _asked(as_packet(probe), ways(probe))
        if (said := _difference(models[probe.family], made, way, HOST))
    ]


def _asked(packet: Packet, known: Iterator[tuple[Way, str | None]]) -> Iterator[tuple[Way, Packet]]:
    """The packet on its likeliest way, as the first of its flow and as one of a known flow."""
    way, out = next(known)
    first = first_state(packet.values(), packet.family, True)
    states = [first] if first is State.UNTRACKED else [first, State.ESTABLISHED]
    for state in states:
        made = replace(packet, out_interface=out, state=state)
        values = made.values()
        settle_kinds(values, made, HOST, way)
        yield way, resettled(made, values)


def _difference(model: Model, made: Packet, way: Way, host: Host) -> str | None:
    """In what the two differ, an empty text if in nothing; None for a packet that cannot be."""
    space = model.space
    made = replace(made, fragment=Fragment.WHOLE)
    if leaf(space, model.domain(way), made) != 1:
        return None
    try:
        trace = walk(model.ruleset, made, host, way=way)
    except Undetermined:
        inside = leaf(space, model.passage(way).domain, made)
        return "the trace does not tell its way, and it is among the packets of it" if inside == 1 else None
    passage = model.passage(trace.way)
    late = trace.effects.track is Track.TEMPLATE or TRACKED_ANEW in dict(trace.assumed)
    seen = replace(made, state=made.state if late else trace.state)
    if trace.way is Way.FORWARD and seen.out_interface is None:  # the host's routes told it
        seen = replace(seen, out_interface=interface_name(trace.values[Field.OUT]))
    facts = dict(trace.assumed)
    if trace.ended_by_routing:
        inside = leaf(space, passage.domain, seen, facts) == 1
        return "it is among the packets of a way that it does not go" if inside else ""
    outcome = passage.outcome(seen, facts)
    verdict = "accept" if outcome.end is End.ON else outcome.end.value
    if (verdict, outcome.hook) != (trace.verdict, trace.hook):
        return f"the trace says {trace.verdict} at {trace.hook}, the sets {verdict} at {outcome.hook}"
    if outcome.effects != trace.effects:
        return f"the trace does {trace.effects}, the sets {outcome.effects}"
    if passage.untracked().has(seen, facts) != (seen.state is State.UNTRACKED):
        return "they differ about tracking"
    return ""
