"""Findings as SARIF 2.1.0 (OASIS), the format of code scanning services."""

from __future__ import annotations

import hashlib
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath
from urllib.parse import quote

from notrack import __version__
from notrack.lint.engine import Result
from notrack.lint.finding import Finding, Fix
from notrack.lint.rule import Rule
from notrack.text.diagnostic import Severity
from notrack.text.source import Span

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_PRECISION = {Severity.ERROR: "very-high", Severity.WARNING: "high", Severity.INFO: "medium"}
Json = dict[str, object]


def as_sarif(linted: Sequence[Result], rules: Sequence[Rule]) -> Json:
    """One run with the rules that were looked for, and their findings, those that suppressions hide too."""
    index = {rule.code: i for i, rule in enumerate(rules)}
    prints = _Fingerprints()
    results = [_result(finding, index, prints) for one in linted for finding in one.findings]
    for finding, suppression in (pair for one in linted for pair in one.hidden):
        hidden: Json = {"kind": "inSource"}
        if suppression.reason:
            hidden["justification"] = suppression.reason
        results.append(_result(finding, index, prints) | {"suppressions": [hidden]})
    return {
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": _driver(rules)},
                "columnKind": "unicodeCodePoints",
                "results": results,
                "invocations": [
                    {
                        "executionSuccessful": True,
                        "toolExecutionNotifications": [
                            _undecided(rule) for one in linted for rule in one.undecided
                        ],
                    }
                ],
            }
        ],
    }


def _undecided(rule: Rule) -> Json:
    text = f"{rule.code} was not decided within its bounds of time and memory"
    return {"level": "warning", "message": {"text": text}, "associatedRule": {"id": rule.code}}


def _driver(rules: Sequence[Rule]) -> Json:
    return {
        "name": "notrack",
        "semanticVersion": __version__,
        "rules": [_descriptor(rule) for rule in rules],
    }


def _descriptor(rule: Rule) -> Json:
    what, why = textwrap.dedent(rule.what).strip(), textwrap.dedent(rule.why).strip()
    return {
        "id": rule.code,
        "name": "".join(word.capitalize() for word in rule.name.split("-")),
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": what},
        "help": {"text": f"{what}\n\n{why}", "markdown": f"{what}\n\n**Why.** {why}"},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"precision": _PRECISION[rule.severity], "tags": ["firewall", "conntrack"]},
    }


def _result(finding: Finding, index: dict[str, int], prints: _Fingerprints) -> Json:
    fault = finding.fault
    text = f"{fault.message}. {fault.help[:1].upper()}{fault.help[1:]}"
    if fault.witness:
        text += f". Such a packet: {fault.witness.packet}"
    made: Json = {
        "ruleId": finding.code,
        "level": _LEVELS[finding.rule.severity],
        "message": {"text": text},
        "locations": [{"physicalLocation": _location(fault.span)}],
        "partialFingerprints": {"notrackFinding/v1": prints.of(finding)},
    }
    if finding.code in index:
        made["ruleIndex"] = index[finding.code]
    if fault.related:
        made["relatedLocations"] = [
            {"id": i, "physicalLocation": _location(one.span), "message": {"text": one.message}}
            for i, one in enumerate(fault.related, 1)
        ]
    if fault.fix:
        made["fixes"] = [_fix(fault.fix)]
    return made


def _location(span: Span) -> Json:
    return {"artifactLocation": {"uri": _uri(span.source.name)}, "region": _region(span)}


def _uri(name: str) -> str:
    """A file's name as a reference: relative ones stay so, for a service looks them up in its repository."""
    path = PurePath(name)
    return f"file://{quote(str(path))}" if path.is_absolute() else quote(path.as_posix())


def _region(span: Span) -> Json:
    return {
        "startLine": span.line,
        "startColumn": span.column,
        "endLine": span.end_line,
        "endColumn": span.end_column,
    }


def _fix(fix: Fix) -> Json:
    changes: dict[str, list[Json]] = {}
    for edit in fix.edits:
        made: Json = {"deletedRegion": _region(edit.span), "insertedContent": {"text": edit.text}}
        changes.setdefault(_uri(edit.span.source.name), []).append(made)
    return {
        "description": {"text": fix.title},
        "artifactChanges": [
            {"artifactLocation": {"uri": uri}, "replacements": edits} for uri, edits in changes.items()
        ],
    }


class _Fingerprints:
    """Names of findings that stay when lines are added above: a service knows a finding again by them."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def of(self, finding: Finding) -> str:
        text = f"{finding.code}\0{finding.span.source.name}\0{' '.join(finding.span.text.split())}"
        self.seen[text] += 1
        return hashlib.sha256(f"{text}\0{self.seen[text]}".encode("utf-8", "replace")).hexdigest()[:32]
