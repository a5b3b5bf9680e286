"""Which declarations one rule of a merged box serves."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from notrack.layout.merging import Part
from notrack.layout.phrase import Match
from notrack.packets.intervals import IntervalSet
from notrack.plan.box import Box, shared
from notrack.site.model import Origin


class Shares:
    """The members of a part by the ports they begin with, so that a rule of a few ports finds its own."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self._all = part.origins
        self._single = len(part.members) == 1
        self._sorted = sorted(part.members, key=lambda member: member[0].destination_ports.least())
        self._lows = [box.destination_ports.least() for box, _ in self._sorted]
        self._widest = max((ports.spans[-1][1] - ports.least() for ports in self._ports()), default=0)

    def _ports(self) -> list[IntervalSet]:
        return [box.destination_ports for box, _ in self.part.members]

    def of(
        self,
        source: IntervalSet | None = None,
        destination: IntervalSet | None = None,
        match: Match | None = None,
    ) -> tuple[Origin, ...]:
        """The declarations that have packets among those of the rule; all of them if none is told apart."""
        if self._single or (source is None and destination is None and match is None):
            return self._all
        match = match or Match("")
        narrow = Box(
            self.part.box.family,
            source=source,
            destination=destination,
            source_ports=match.source_ports,
            destination_ports=match.destination_ports,
            icmp=match.icmp,
        )
        first = bisect_left(self._lows, match.destination_ports.least() - self._widest)
        last = bisect_right(self._lows, match.destination_ports.spans[-1][1])
        found = [origins for box, origins in self._sorted[first:last] if shared(box, narrow) is not None]
        return tuple(dict.fromkeys(origin for origins in found for origin in origins)) or self._all
