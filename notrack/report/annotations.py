"""Findings as GitHub's workflow commands, which become annotations of a change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from notrack.lint.finding import Finding
from notrack.text.diagnostic import Severity

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def github(findings: Sequence[Finding]) -> Iterator[str]:
    """One line a finding."""
    for finding in findings:
        span = finding.span
        places = {
            "file": span.source.name,
            "line": span.line,
            "endLine": span.end_line,
            "col": span.column,
            "endColumn": span.end_column,
            "title": f"{finding.code} {finding.rule.name}",
        }
        words = ",".join(f"{name}={_property(str(value))}" for name, value in places.items())
        text = f"{finding.fault.message}\n{finding.fault.help}"
        if finding.fault.witness:
            text += f"\nsuch a packet: {finding.fault.witness.packet}"
        yield f"::{_LEVELS[finding.rule.severity]} {words}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
