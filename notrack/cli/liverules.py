"""The rules of this host as sources, with its facts."""

from __future__ import annotations

from notrack.cli.messages import note
from notrack.netfilter.host import Host
from notrack.text.source import Source


def in_force() -> tuple[list[Source], Host] | None:
    """The rules in force here (there may be none), and what is known about the host; None after it was told
    why they cannot be had."""
    from notrack.host.facts import facts
    from notrack.host.live import live_rules
    from notrack.host.system import LiveSystem

    system = LiveSystem()
    found = live_rules(system)
    for problem in found.problems:
        note(problem)
    if not found.texts and found.problems:
        return None
    return list(found.sources()), facts(system)


def live() -> tuple[list[Source], Host] | None:
    """The same for who has nothing to do without rules: None, after it was told, where there are none."""
    found = in_force()
    if found is None or found[0]:
        return found
    note("no rules are in force on this host")
    return None
