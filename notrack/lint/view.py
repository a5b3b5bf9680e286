"""A host's rules as one family of addresses meets them: what is untracked, accepted and translated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from notrack.lint.raw import HOOK, NotPlain, Raw, raw
from notrack.netfilter.effects import NONE, Track
from notrack.netfilter.guards import guard_set
from notrack.netfilter.host import Host
from notrack.netfilter.model import Model, Passage
from notrack.netfilter.visits import Visit, visits
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.packets.diagram import EMPTY
from notrack.packets.fields import Field
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import CONNTRACK_PRIORITY, Hook, Jump, Notrack, Rule, Ruleset, Table
from notrack.text.record import dataclass

if TYPE_CHECKING:
    from notrack.lint.admission import Admission
    from notrack.lint.flows import Flows
    from notrack.lint.halves import Half
    from notrack.lint.translations import Translations

_JUDGING = (Hook.INPUT, Hook.FORWARD)
_WRITTEN = frozenset(
    (Field.IN, Field.OUT, Field.SOURCE, Field.DESTINATION, Field.PROTOCOL, Field.SOURCE_PORT,
     Field.DESTINATION_PORT, Field.ICMP_TYPE)
)  # fmt: skip


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
    _raw: dict[Hook, Raw | None] = field(default_factory=dict, init=False, repr=False)
    _raw_answers: dict[Hook, Raw] = field(default_factory=dict, init=False, repr=False)

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
    def flows(self) -> Flows:
        """The untracked flows, one way or both."""
        from notrack.lint.flows import Flows

        return Flows(self)

    @cached_property
    def halves(self) -> tuple[Half, ...]:
        """Every NOTRACK rule that leaves flows half tracked."""
        from notrack.lint.halves import found

        return found(self)

    @cached_property
    def admission(self) -> Admission:
        """What becomes of flows that are untracked both ways."""
        from notrack.lint.admission import Admission

        return Admission(self)

    @cached_property
    def is_whole(self) -> bool:
        """Whether these are the host's rules, and not only those that untrack: something judges packets."""
        return any(
            chain.base is not None
            and chain.base.hook in _JUDGING
            and (chain.rules or chain.origin.span is not None)
            for table in self.ruleset.tables
            if self.family in table.families
            for chain in table.chains
        )

    @cached_property
    def extents(self) -> dict[int, tuple[Rule, dict[Field, IntervalSet]]]:
        """What rules leave of the fields that they ask for, by their ids: filled by whoever asks."""
        return {}

    @cached_property
    def sample(self) -> IntervalSet | None:
        """Addresses that stand for all others in a large ruleset; None in one of ordinary size."""
        from notrack.lint.sample import addresses

        return addresses(self)

    @cached_property
    def beginnings(self) -> PacketSet:
        """Packets that begin something at a port, of all addresses."""
        from notrack.lint.exposure import beginnings

        return beginnings(self)

    @cached_property
    def translations(self) -> Translations:
        """What nat would do if nothing were untracked."""
        from notrack.lint.translations import Translations

        return Translations(self)

    @property
    def may_track(self) -> bool:
        """Whether connections are tracked, or may be: the rules that would need it are not among these."""
        if self.model.tracks:
            return True
        return self.host.tracking_elsewhere is None and not self.is_whole

    @cached_property
    def untracks(self) -> bool:
        """Whether any rule of the family has a NOTRACK."""
        return any(isinstance(action, Notrack) for action in self._actions())

    @cached_property
    def untrackings(self) -> tuple[Untracking, ...]:
        """Every rule that untracks something, on each way, in the order in which packets meet them."""
        if not self.untracks:
            return ()
        found: list[Untracking] = []
        for way in Way:
            made = self.raw(HOOK[way])
            found += self._visited(way) if made is None else self._plain(way, made)
        return tuple(found)

    def raw(self, hook: Hook) -> Raw | None:
        """What the rules of a hook do before tracking; None where only `visits` can tell."""
        if hook not in self._raw:
            try:
                self._raw[hook] = raw(self.model, hook)
            except NotPlain:
                self._raw[hook] = None
        return self._raw[hook]

    def _plain(self, way: Way, made: Raw) -> Iterator[Untracking]:
        space, domain = self.model.space, self.model.domain(way)
        for one in made.takings:
            if (taken := space.meet(domain, one.packets)) != EMPTY:
                groups = ((NONE, taken),)
                visit = Visit(one.hook, one.table, one.chain, one.rule, one.callers, space, groups, groups)
                yield Untracking(way, visit, PacketSet(space, taken))

    def _visited(self, way: Way) -> Iterator[Untracking]:
        for visit in visits(self.model, way):
            if not _is_early(visit) or visit.hook not in (Hook.INGRESS, HOOK[way]):
                break  # behind connection tracking nothing can be untracked any more
            if any(isinstance(action, Notrack) for action in visit.rule.actions):
                taken = visit.matching(Track.PLAIN)
                if taken:
                    yield Untracking(way, visit, taken)

    def untracked(self, way: Way) -> PacketSet:
        """The packets that rules take out of tracking, of any way that begins at the same hook."""
        made = self.raw(HOOK[way])
        space = self.model.space
        return PacketSet(space, self.model.untracked(way) if made is None else made.untracked)

    def answers_untracked(self, way: Way) -> PacketSet:
        """The packets the answers to which, on a way, rules take out of tracking."""
        space = self.model.space
        if self.raw(HOOK[way]) is None:
            return PacketSet(space, self.answering.untracked(way))
        return PacketSet(space, self._answering(HOOK[way]).untracked)

    def passing(self, way: Way, *, answers: bool = False) -> PacketSet:
        """The packets that rules before tracking let pass on a way (or the answers to which they do); all
        where it is not told."""
        made = self.raw(HOOK[way])
        if made is None:
            return PacketSet.everything(self.model.space)
        return PacketSet(self.model.space, (self._answering(HOOK[way]) if answers else made).passing)

    def _answering(self, hook: Hook) -> Raw:
        if hook not in self._raw_answers:
            self._raw_answers[hook] = raw(self.answering, hook)
        return self._raw_answers[hook]

    def written(self, table: Table, callers: tuple[str, ...], rule: Rule) -> PacketSet:
        """The packets that a rule asks for by ends, protocol and interfaces, the jumps to it included."""
        space = self.model.space
        packets = guard_set(space, rule.guard)
        for caller, called in pairwise(callers):
            chain = table.chain(caller)
            jumps = [one.guard for one in chain.rules if _leads(one, called)] if chain else []
            packets = space.meet(packets, space.first([guard_set(space, guard) for guard in jumps]))
        others = [field for field in Field if field not in _WRITTEN]
        return PacketSet(space, space.exists(packets, others)).may()

    def _actions(self) -> list[object]:
        return [
            action
            for table in self.ruleset.tables
            if self.family in table.families
            for chain in table.chains
            for rule in chain.rules
            for action in rule.actions
        ]


def _leads(rule: Rule, chain: str) -> bool:
    return any(isinstance(action, Jump) and action.chain == chain for action in rule.actions)


def _is_early(visit: Visit) -> bool:
    if visit.hook is Hook.INGRESS:
        return True
    base = next((one.base for one in visit.table.chains if one.name == visit.callers[0]), None)
    tracks = visit.hook in (Hook.PREROUTING, Hook.OUTPUT)
    return tracks and base is not None and base.priority < CONNTRACK_PRIORITY
