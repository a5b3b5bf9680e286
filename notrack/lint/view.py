"""A host's rules as one family of addresses meets them: what is untracked, accepted and translated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from notrack.netfilter.effects import Track
from notrack.netfilter.host import Host
from notrack.netfilter.model import Model, Passage
from notrack.netfilter.visits import Visit, visits
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Hook, Notrack, Ruleset


@dataclass(frozen=True, slots=True)
class Untracking:
    """A rule that takes packets out of tracking, with the packets for which it really does (as they came in,
    on one way)."""

    way: Way
    visit: Visit
    packets: PacketSet


@dataclass
class View:
    """One family's view. `model` speaks of packets, `answering` (same space) of the answers to them."""

    ruleset: Ruleset
    family: Family
    host: Host

    @cached_property
    def model(self) -> Model:
        return Model(self.ruleset, self.family, self.host)

    @cached_property
    def answering(self) -> Model:
        """Each passage is a function of a packet P that tells what becomes of the answer to P."""
        return Model(self.ruleset, self.family, self.host, answers=True, space=self.model.space)

    def passage(self, way: Way) -> Passage:
        return self.model.passage(way)

    @cached_property
    def untrackings(self) -> tuple[Untracking, ...]:
        """Every rule that untracks something, on each way, in the order in which packets meet them."""
        found: list[Untracking] = []
        if not any(isinstance(action, Notrack) for action in self._actions()):
            return ()
        for way in Way:
            for visit in visits(self.model, way):
                if visit.hook not in (Hook.PREROUTING, Hook.OUTPUT):
                    break  # behind connection tracking nothing can be untracked any more
                if any(isinstance(action, Notrack) for action in visit.rule.actions):
                    taken = visit.matching(Track.PLAIN)
                    if taken:
                        found.append(Untracking(way, visit, taken))
        return tuple(found)

    def _actions(self) -> list[object]:
        return [
            action
            for table in self.ruleset.tables
            if self.family in table.families
            for chain in table.chains
            for rule in chain.rules
            for action in rule.actions
        ]
