"""Runs rules over a subject and brings their findings in order: one cause, one finding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from notrack.lint.finding import Finding
from notrack.lint.rule import Rule
from notrack.lint.subject import Subject
from notrack.packets.budget import TooHard
from notrack.text.source import Span


@dataclass(frozen=True, slots=True)
class Result:
    """Findings in the order of the files, and the rules that could not decide within their bounds."""

    findings: tuple[Finding, ...]
    undecided: tuple[Rule, ...] = ()


def lint(subject: Subject, rules: Sequence[Rule]) -> Result:
    """All findings of some rules."""
    found: dict[tuple[str, Span], Finding] = {}
    undecided: list[Rule] = []
    for rule in rules:
        try:
            for fault in rule.check(subject):
                found.setdefault((rule.code, fault.span), Finding(rule, fault))
        except TooHard:
            undecided.append(rule)
    places = _places(found.values())
    kept = [finding for finding in found.values() if not _said_elsewhere(finding, places)]
    order = {document.source.name: i for i, document in enumerate(subject.reading.documents)}
    kept.sort(key=lambda one: (order.get(one.span.source.name, len(order)), one.span.start, one.code))
    return Result(tuple(kept), tuple(undecided))


def _places(findings: Iterable[Finding]) -> set[tuple[str, Span]]:
    return {(finding.code, finding.span) for finding in findings}


def _said_elsewhere(finding: Finding, places: set[tuple[str, Span]]) -> bool:
    here = (finding.span, *finding.fault.causes)
    return any((code, place) in places for code in finding.rule.yields_to for place in here)
