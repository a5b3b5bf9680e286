"""Findings of the linter for people: in full, with marked source lines, or one line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from notrack.lint.finding import Finding, Fix
from notrack.packets.witness import Witness
from notrack.text.diagnostic import Diagnostic, Severity
from notrack.text.render import render

IN_FULL = 10  # findings of one code that are shown with their lines; the rest are named by their places


def as_diagnostic(finding: Finding) -> Diagnostic:
    """A finding as messages are shown."""
    fault = finding.fault
    notes = [f"such a packet: {fault.witness.packet}"] if fault.witness else []
    notes += [_condition(fault.witness)] if fault.witness and fault.witness.facts else []
    notes += [f"assumed: {note}" for note in fault.notes]
    notes += [_offer(fault.fix)] if fault.fix else []
    return Diagnostic(
        finding.rule.severity,
        fault.message,
        fault.span,
        fault.help,
        fault.related,
        tuple(notes),
        finding.code,
    )


def _condition(witness: Witness) -> str:
    facts = [f"`{name}` holds" if holds else f"`{name}` does not hold" for name, holds in witness.facts]
    return f"if {' and '.join(facts)}"


def _offer(fix: Fix) -> str:
    option = "--fix" if fix.safe else "--unsafe-fixes"
    return f"{option} does it: {fix.title}"


def full(findings: Sequence[Finding], *, colour: bool = False, in_full: int = IN_FULL) -> Iterator[str]:
    """Every finding in its order; of a code that is found often, the first ones, and the places of all others
    at the end."""
    shown: Counter[str] = Counter()
    rest: dict[str, list[Finding]] = {}
    for finding in findings:
        shown[finding.code] += 1
        if shown[finding.code] <= in_full:
            yield render(as_diagnostic(finding), colour=colour) + "\n"
        else:
            rest.setdefault(finding.code, []).append(finding)
    for code, others in rest.items():
        yield _others(code, others)


def _others(code: str, findings: list[Finding]) -> str:
    """The places of findings of one code, file by file."""
    lines = [f"{code} {findings[0].rule.name}: {len(findings)} more, shown in full by --show-all"]
    by_file: dict[str, list[int]] = {}
    for finding in findings:
        by_file.setdefault(finding.span.source.name, []).append(finding.span.line)
    lines += [f"  {name}: lines {_numbers(numbers)}" for name, numbers in by_file.items()]
    return "\n".join(lines) + "\n"


def _numbers(numbers: Iterable[int]) -> str:
    """Line numbers, runs of them as `3-9`."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def concise(findings: Sequence[Finding]) -> Iterator[str]:
    """One line a finding."""
    for finding in findings:
        yield f"{finding.span}: {finding.code} {finding.fault.message}"


def summary(findings: Sequence[Finding], files: int, hidden: int) -> str:
    """What was found, in one line."""
    where = f" in {files} file{'s' if files != 1 else ''}"
    counts = Counter(finding.rule.severity for finding in findings)
    names = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "information"}
    parts = [_counted(counts[severity], name) for severity, name in names.items() if counts[severity]]
    text = (", ".join(parts) if parts else "nothing found") + where
    safe = sum(1 for one in findings if one.fault.fix and one.fault.fix.safe)
    unsafe = sum(1 for one in findings if one.fault.fix and not one.fault.fix.safe)
    if safe:
        text += f"; --fix mends {safe}"
    if unsafe:
        text += f"; --unsafe-fixes {'mends' if not safe else 'also'} {unsafe} (behaviour narrows)"
    return text + (f"; {hidden} suppressed" if hidden else "")


def _counted(number: int, name: str) -> str:
    return f"{number} {name}{'s' if number != 1 and name != 'information' else ''}"
