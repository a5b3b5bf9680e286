"""Both sides of one ruleset and its packets, and where they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from notrack.ruleset.core import Hook
from tests.kernel.differential.bench import Bench, Connection, Observation, Outcome
from tests.kernel.differential.expected import Expectation, Oracle, header, lowered
from tests.kernel.differential.flows import Tuple, answer_of, tuple_of
from tests.kernel.differential.probes import Probe
from tests.kernel.differential.shape import Loadable


@dataclass(frozen=True, slots=True)
class Difference:
    """Where kernel and model differ: about one probe, or (number 0) about an entry."""

    number: int
    what: str
    expectation: Expectation | None = None
    observation: Observation | None = None


@dataclass(slots=True)
class Verdict:
    """What came of one ruleset: how much was compared, and the differences."""

    differences: list[Difference] = field(default_factory=list)
    tally: Counter[str] = field(default_factory=Counter)


def judge(bench: Bench, case: Loadable, backend: str, probes: Sequence[Probe]) -> Verdict:
    """Ask both. Raises `Refused` where the kernel does not take the ruleset, `Unreadable` for the reader."""
    outcome = bench.run(case, backend, probes)
    oracle = Oracle(lowered(case, backend), outcome.connections)
    return compared(case, outcome, oracle)


def compared(case: Loadable, outcome: Outcome, oracle: Oracle) -> Verdict:
    """The kernel's answers against the model's."""
    verdict = Verdict()
    tally = verdict.tally
    for seen in sorted(outcome.observations, key=lambda one: one.order):
        if not seen.sent:
            tally["not sent"] += 1
            oracle.expect(seen)
            continue
        said = oracle.expect(seen)
        tally["sent"] += 1
        if said.verdict == "unsure":
            tally["unsure"] += 1
            tally[f"unsure: {said.why[:40]}"] += 1
            continue
        tally["compared"] += 1
        tally[f"kernel: {'rejected' if seen.refused else 'arrived' if seen.arrivals else 'dropped'}"] += 1
        what = difference(said, seen)
        if seen.state:
            tally[f"state {seen.state}"] += 1
        if seen.probe.after is not None:
            tally["follow-ups"] += 1
        if said.verdict == "arrive" and said.header != tuple_of(seen.probe):
            tally["translated"] += 1
        if what:
            verdict.differences.append(Difference(seen.probe.number, what, said, seen))
    for what in entry_differences(outcome, oracle):
        verdict.differences.append(Difference(0, what))
    tally["entries"] += len(outcome.connections)
    return verdict


def difference(said: Expectation, seen: Observation) -> str:
    """In what they differ about a probe; nothing if they agree."""
    if seen.state and said.state and seen.state != said.state and not _late_notrack(said, seen):
        return f"the state is {seen.state}, not {said.state}"
    if said.later is not None:
        return _difference_of_pieces(said, seen)
    if said.verdict == "arrive":
        return _arrival_difference(said, seen)
    if seen.arrivals:
        return f"it arrived at the {seen.arrivals[0].where}, not {said.verdict}"
    if said.verdict == "drop" and seen.refused:
        return "it is rejected, not dropped"
    if said.verdict == "reject" and not seen.refused and _answered(said, seen.probe):
        return "it is dropped, not rejected"
    return ""


def _difference_of_pieces(said: Expectation, seen: Observation) -> str:
    first = [one for one in seen.arrivals if one.packet.offset == 0]
    if bool(first) != (said.verdict == "arrive"):
        return f"its first piece {'arrived' if first else 'is lost'}, not {said.verdict}"
    if any(one.where != said.where for one in first):
        return f"its first piece came to the {first[0].where}, not to the {said.where}"
    rest = len(seen.arrivals) > len(first)
    if rest not in (said.later or ()):
        return f"its later pieces {'arrived' if rest else 'are lost'}"
    return ""


def _late_notrack(said: Expectation, seen: Observation) -> bool:
    """A NOTRACK or a zone behind connection tracking changes what was INVALID when it was watched."""
    results = [step.result for step in said.trace.steps] if said.trace else []
    late = {"untracked": "untracked", "new": "zone"}.get(said.state, "?")
    return seen.state in ("invalid", "untracked") and any(late in result for result in results)


def _arrival_difference(said: Expectation, seen: Observation) -> str:
    if not seen.arrivals:
        return f"it is {'rejected' if seen.refused else 'dropped'}, and should come to the {said.where}"
    if seen.arrivals[0].where != said.where:
        return f"it came to the {seen.arrivals[0].where}, not to the {said.where}"
    if said.header is None:
        return said.why
    if seen.probe.fragments:
        pieces = [one for one in seen.arrivals if one.packet.offset == 0]
        if len(pieces) != 1:
            return "it did not arrive once"
    elif len(seen.arrivals) != 1:
        return "it arrived more than once"
    arrived = next(one for one in seen.arrivals if one.packet.offset == 0).packet
    header: Tuple = (arrived.src, arrived.dst, arrived.sport, arrived.dport)
    if seen.probe.icmp is not None:
        header = (arrived.src, arrived.dst, seen.probe.sport, seen.probe.icmp[0])
    if header != said.header:
        return f"it arrived as {header}, not as {said.header}"
    if said.mark is not None and seen.mark is not None and seen.mark != said.mark:
        return f"its mark is {seen.mark:#x}, not {said.mark:#x}"
    if said.ttl is not None and arrived.ttl != said.ttl:
        return f"its TTL is {arrived.ttl}, not {said.ttl}"
    return ""


def _answered(said: Expectation, probe: Probe) -> bool:
    """Whether the answer to a rejected packet can be seen: one to a translated source may have no way."""
    untouched = said.trace is None or header(said.trace, probe) == tuple_of(probe)
    return untouched and answerable(probe) and not _from_device(said)


def _from_device(said: Expectation) -> bool:
    """Whether a table of devices rejects: the answer passes no hook where it could be seen."""
    trace = said.trace
    ended = trace is not None and trace.hook is Hook.INGRESS
    return ended and trace is not None and trace.steps[-1].table.name.startswith("netdev")


def answerable(probe: Probe) -> bool:
    """Whether the kernel says anything to the sender of a rejected packet."""
    group = probe.dst.startswith(("224.", "ff")) or probe.dst.endswith(".255")
    summed = probe.proto in (1, 6, 17, 58)  # of others it computes a checksum that they have not
    grouped = group or probe.frame in ("broadcast", "multicast")
    return summed and not (probe.is_error or grouped or probe.fragments or "R" in probe.flags)


def entry_differences(outcome: Outcome, oracle: Oracle) -> list[str]:
    """Entries that only one side has, those of probes that were not judged left out."""
    flows = oracle.flows.all
    kernel = set(outcome.connections)
    model = {flow.connection() for flow in flows if flow.certain}
    excused = {flow.connection() for flow in flows if not flow.certain}
    doubtful = {
        (seen.probe.family, seen.probe.proto, one)
        for seen in outcome.observations
        # a refusal that is refused in turn may leave the entry of the packet that began it
        if seen.sent and (seen.probe.number in oracle.unsure or seen.refused)
        for one in (tuple_of(seen.probe), answer_of(tuple_of(seen.probe), seen.probe))
    }

    def doubted(entry: Connection) -> bool:
        return any((entry.family, entry.proto, one) in doubtful for one in (entry.original, entry.reply))

    found = [f"the kernel has an entry that the model has not: {one}" for one in kernel - model - excused]
    found += [f"the model has an entry that the kernel has not: {one}" for one in model - kernel]
    missing = {*(kernel - model - excused), *(model - kernel)}
    return found if any(not doubted(one) for one in missing) else []
