"""Findings as the JSON that the command line promises (its schema: `schemas/lint.json`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from notrack.lint.engine import Result
from notrack.lint.finding import Finding, Fix
from notrack.ruleset.core import Ruleset
from notrack.ruleset.formats import Reading
from notrack.text.diagnostic import Severity
from notrack.text.source import Span

SCHEMA_VERSION = 1


def as_json(linted: Sequence[tuple[Result, Reading]]) -> dict[str, object]:
    """The results of one host or of several."""
    results = [result for result, _ in linted]
    return {
        "schema_version": SCHEMA_VERSION,
        "findings": [finding_json(finding) for result in results for finding in result.findings],
        "suppressed": [
            finding_json(finding) | {"reason": suppression.reason}
            for result in results
            for finding, suppression in result.hidden
        ],
        "undecided": list(dict.fromkeys(rule.code for result in results for rule in result.undecided)),
        "files": [one for _, reading in linted for one in _files(reading)],
    }


def finding_json(finding: Finding) -> dict[str, object]:
    fault = finding.fault
    return {
        "code": finding.code,
        "name": finding.rule.name,
        "severity": finding.rule.severity.value,
        "message": fault.message,
        "help": fault.help,
        **_place(fault.span),
        "related": [
            {
                "file": one.span.source.name,
                "line": one.span.line,
                "column": one.span.column,
                "message": one.message,
            }
            for one in fault.related
        ],
        "witness": fault.witness.packet.to_json() if fault.witness else None,
        "conditions": [
            {"fact": name, "holds": holds} for name, holds in (fault.witness.facts if fault.witness else ())
        ],
        "assumed": list(fault.notes),
        "fix": _fix(fault.fix) if fault.fix else None,
    }


def _place(span: Span) -> dict[str, object]:
    return {
        "file": span.source.name,
        "line": span.line,
        "column": span.column,
        "end_line": span.end_line,
        "end_column": span.end_column,
    }


def _fix(fix: Fix) -> dict[str, object]:
    edits = [_place(edit.span) | {"text": edit.text} for edit in fix.edits]
    return {"safe": fix.safe, "title": fix.title, "edits": edits}


def _files(reading: Reading) -> Iterator[dict[str, object]]:
    rules = rules_by_file(reading.ruleset)
    for document in reading.documents:
        yield {
            "file": document.source.name,
            "format": document.format.value if document.format else None,
            "rules": rules[document.source.name],
            "unknown": [one.message for one in document.diagnostics if one.severity is Severity.WARNING],
        }


def rules_by_file(ruleset: Ruleset) -> Counter[str]:
    """How many rules of each file are in force."""
    places = {rule.origin.span for table in ruleset.tables for chain in table.chains for rule in chain.rules}
    return Counter(span.source.name for span in places if span is not None)
