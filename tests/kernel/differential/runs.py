"""Many sessions in a row, tallied; the first disagreements made small."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.kernel.differential.agreement import Difference, judge
from tests.kernel.differential.bench import Bench, Refused
from tests.kernel.differential.reports import report
from tests.kernel.differential.sessions import Session, session, shrunk

PER_RULESET = 50
STEP = 1_000_003  # from one seed of a run to the next


@dataclass(slots=True)
class Result:
    """What a run did. `reports` holds each disagreement as text."""

    seed: int
    rulesets: int = 0
    seconds: float = 0.0
    tally: Counter[str] = field(default_factory=Counter)
    backends: Counter[str] = field(default_factory=Counter)
    reports: list[str] = field(default_factory=list)
    refused: int = 0


def differences(bench: Bench, one: Session) -> list[Difference]:
    """Where both sides differ about a session; nothing for a ruleset that does not load."""
    try:
        return judge(bench, one.case, one.backend, one.probes).differences
    except Refused:
        return []


def run(
    bench: Bench,
    seed: int,
    rulesets: int,
    packets: int,
    *,
    most_reports: int = 3,
    first: int = 0,
    progress: Callable[[Result], None] | None = None,
) -> Result:
    """At least so many rulesets and compared packets, from a seed. Stops at so many disagreements.

    `first` is the number of the first ruleset: parts of one run begin far from each other.
    """
    result = Result(seed)
    start = time.monotonic()
    number = first
    while result.rulesets < rulesets or result.tally["compared"] < packets:
        one = session(seed * STEP + number, PER_RULESET)
        number += 1
        try:
            verdict = judge(bench, one.case, one.backend, one.probes)
        except Refused:
            result.refused += 1
            continue
        result.rulesets += 1
        result.backends[one.backend] += 1
        result.tally += verdict.tally
        if verdict.differences:
            result.reports.append(explained(bench, one, verdict.differences))
            if len(result.reports) >= most_reports:
                break
        result.seconds = time.monotonic() - start
        if progress is not None:
            progress(result)
    result.seconds = time.monotonic() - start
    return result


def explained(bench: Bench, one: Session, found: list[Difference]) -> str:
    """The disagreement of a session, made small."""
    kinds = {_kind(difference) for difference in found}

    def differs(less: Session) -> bool:
        return any(_kind(difference) in kinds for difference in differences(bench, less))

    small = shrunk(one, differs)
    return report(one, small, differences(bench, small) or found)


def _kind(difference: Difference) -> str:
    return " ".join(difference.what.split()[:4])
