"""Runs rules over a subject and brings their findings in order: one cause, one finding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from notrack.lint.finding import Finding
from notrack.lint.rule import Rule
from notrack.lint.selection import needed
from notrack.lint.subject import Subject
from notrack.lint.suppression import Suppression, sift
from notrack.packets.budget import TooHard
from notrack.text.record import dataclass
from notrack.text.source import Span

UNUSED = "NT001"
Progress = Callable[[int, int], None]
"""Told before each rule how many have run, of how many."""


@dataclass(frozen=True, slots=True)
class Result:
    """Findings in the order of the files; those that suppressions hid; and the rules that could not decide
    within their bounds."""

    findings: tuple[Finding, ...]
    undecided: tuple[Rule, ...] = ()
    hidden: tuple[tuple[Finding, Suppression], ...] = ()


def lint(subject: Subject, rules: Sequence[Rule], progress: Progress | None = None) -> Result:
    """All findings of some rules, less those that suppressions in the files hide.

    Rules that may say better what a chosen one says run as well, and are not shown.
    """
    running = needed(rules)
    found: dict[tuple[str, Span], Finding] = {}
    undecided: list[Rule] = []
    for number, rule in enumerate(running):
        if progress is not None:
            progress(number, len(running))
        try:
            for fault in rule.check(subject):
                found.setdefault((rule.code, fault.span), Finding(rule, fault))
        except TooHard:
            undecided.append(rule)
    places = _places(found.values())
    codes = {rule.code for rule in rules}
    kept = [
        finding
        for finding in found.values()
        if finding.code in codes and not _said_elsewhere(finding, places)
    ]
    sifted = sift(kept, [document.source for document in subject.documents])
    left = [*sifted.kept, *_unused(sifted.unused, rules)]
    order = {document.source.name: i for i, document in enumerate(subject.documents)}
    left.sort(key=lambda one: (order.get(one.span.source.name, len(order)), one.span.start, one.code))
    missed = tuple(rule for rule in undecided if rule.code in codes)
    return Result(tuple(left), missed, sifted.hidden)


def _places(findings: Iterable[Finding]) -> set[tuple[str, Span]]:
    return {(finding.code, finding.span) for finding in findings}


def _said_elsewhere(finding: Finding, places: set[tuple[str, Span]]) -> bool:
    here = (finding.span, *finding.fault.causes)
    return any((code, place) in places for code in finding.rule.yields_to for place in here)


def _unused(unused: Sequence[Suppression], rules: Sequence[Rule]) -> list[Finding]:
    """Findings for suppressions that hid nothing, unless a code of theirs was not looked for."""
    rule = next((rule for rule in rules if rule.code == UNUSED), None)
    if rule is None or not unused:
        return []
    from notrack.lint.collection import collected
    from notrack.lint.rules.nt001_unused_suppression import fault

    chosen = {rule.code for rule in rules}
    asleep = [other.code for other in collected() if other.code not in chosen]
    return [
        Finding(rule, fault(one))
        for one in unused
        if not one.codes or not any(c.startswith(one.codes) for c in asleep)
    ]
