"""A site file from the command line: read, resolved and planned, or its faults told."""

from __future__ import annotations

import sys
from pathlib import Path

from notrack.cli.messages import tell
from notrack.plan.planner import Plan, plan
from notrack.site import load, load_text
from notrack.site.faults import Faults
from notrack.site.files import decoded
from notrack.text.diagnostic import Rejected
from notrack.text.source import Source


def _standard_input() -> str:
    faults = Faults()
    source = decoded(sys.stdin.buffer.read(), "-", faults)
    if source is None:
        raise Rejected(faults.errors_in_order())
    return source.text


def planned(spec: str, color: str, *, coexist: bool = False) -> Plan | None:
    """The plan of a site file (`-`: standard input); None after its faults were told on standard error."""
    try:
        if spec == "-":
            site, warnings = load_text(_standard_input(), "-", Path.cwd())
        else:
            site, warnings = load(spec)
        found = plan(site, coexist=coexist)
    except Rejected as rejected:
        tell(rejected.diagnostics, color)
        return None
    tell(warnings + found.warnings, color)
    return found


def planned_text(source: Source, color: str) -> Plan | None:
    """The plan of a site's text that was read already; None after its faults were told."""
    try:
        folder = Path.cwd() if source.name == "-" else Path(source.name).parent
        site, warnings = load_text(source.text, source.name, folder)
        found = plan(site)
    except Rejected as rejected:
        tell(rejected.diagnostics, color)
        return None
    tell(warnings + found.warnings, color)
    return found
