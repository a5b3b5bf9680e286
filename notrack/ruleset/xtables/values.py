"""What the values of options mean, and what is wrong with those that mean nothing."""

from __future__ import annotations

from notrack.packets.address import Family
from notrack.ruleset.xtables.catalogue import Kind


class Checks:
    """Complaints about values."""

    def complaint(self, kind: Kind, value: str, family: Family | None) -> str | None:
        """What iptables would say against a value; None if nothing, or if only a resolver could tell."""
        return None
