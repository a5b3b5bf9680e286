"""The rules of this host as sources, with its facts."""

from __future__ import annotations

from notrack.cli.messages import note
from notrack.netfilter.host import Host
from notrack.text.source import Source


def live() -> tuple[list[Source], Host] | None:
    """The rules in force here, and what is known about the host; None after it was told why they cannot be
    had."""
    from notrack.host.facts import facts
    from notrack.host.live import live_rules
    from notrack.host.system import LiveSystem

    system = LiveSystem()
    found = live_rules(system)
    for problem in found.problems:
        note(problem)
    if not found.texts:
        if not found.problems:
            note("no rules are in force on this host")
        return None
    return list(found.sources()), facts(system)
