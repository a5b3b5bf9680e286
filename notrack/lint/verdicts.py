"""What the rules behind connection tracking do with packets, whatever tracking says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from notrack.netfilter import tracking
from notrack.netfilter.chains import End, Outcome
from notrack.netfilter.model import Model, Passage
from notrack.netfilter.ways import Way
from notrack.packets.diagram import FULL
from notrack.packets.fields import Field, State
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import (
    CONNTRACK_PRIORITY,
    Action,
    Base,
    Chain,
    ChainType,
    Hook,
    Ruleset,
    Unknown,
    Verdict,
)

if TYPE_CHECKING:
    from notrack.lint.view import View

OPENING = (State.NEW, State.UNTRACKED)
_EARLY = (Hook.INGRESS, Hook.PREROUTING, Hook.OUTPUT)


class Verdicts:
    """Judges whole packets of a view as if they came behind connection tracking in any state one likes."""

    def __init__(self, view: View) -> None:
        self.view = view
        self._passages: dict[tuple[Way, bool], Passage] = {}

    @cached_property
    def model(self) -> Model:
        """The rules without those that run before connection tracking."""
        view = self.view
        host = replace(view.host, tracking_elsewhere=True)
        return Model(late(view.ruleset), view.family, host, space=view.model.space)

    def passage(self, way: Way, whole: bool = False) -> Passage:
        """The fate of packets by the state of their flow; with all rules, or behind connection tracking."""
        if (way, whole) not in self._passages:
            model = self.view.model if whole else self.model
            self._passages[way, whole] = Passage(way, model.algebra, FULL, model.fate(way))
        return self._passages[way, whole]

    def accepted(self, way: Way, packets: PacketSet, *states: State, whole: bool = False) -> PacketSet:
        """The packets that may come to the end of the way in one of these states (told without a state).

        `whole`: with all rules, those before connection tracking too.
        """
        return self._where(way, packets, states, lambda outcome: outcome.end is End.ON, whole).may()

    def begun(self, way: Way, packets: PacketSet) -> PacketSet:
        """The packets that begin a flow, tracked or not, and reach where they were sent, with the facts for
        which they do."""
        return self.through(way, packets, State.UNTRACKED) | self.untranslated(way, packets, State.NEW)

    def untranslated(self, way: Way, packets: PacketSet, state: State) -> PacketSet:
        """The packets that come to the end of the way in a state, to where they were sent, with the facts."""

        def kept(outcome: Outcome) -> bool:
            return outcome.end is End.ON and outcome.effects.destination_nat is None

        return self._where(way, packets, (state,), kept)

    def through(self, way: Way, packets: PacketSet, *states: State) -> PacketSet:
        """The packets that come to the end of the way in one of these states, with the facts for which they
        do: what a blocklist drops is not let through for those that are on it."""
        return self._where(way, packets, states, lambda outcome: outcome.end is End.ON)

    def surely(self, way: Way, packets: PacketSet, *states: State) -> PacketSet:
        """The packets that come to the end of the way in each of these states whatever the free facts are."""
        return packets - self.refused(way, packets, *states)

    def refused(self, way: Way, packets: PacketSet, *states: State) -> PacketSet:
        """The packets that may be stopped in one of these states."""
        return self._where(way, packets, states, lambda outcome: outcome.end is not End.ON).may()

    def stolen(self, way: Way, packets: PacketSet) -> PacketSet:
        """The untracked packets that a target takes for itself, as SYNPROXY does."""
        if not self._steals:
            return PacketSet.nothing(packets.space)
        return self._where(way, packets, (State.UNTRACKED,), lambda one: one.end is End.STOLEN).may()

    @cached_property
    def _steals(self) -> bool:
        return any(
            action is Verdict.STOLEN
            for table in self.view.ruleset.tables
            for chain in table.chains
            for rule in chain.rules
            for action in rule.actions
        )

    def _where(
        self,
        way: Way,
        packets: PacketSet,
        states: tuple[State, ...],
        wanted: Callable[[Outcome], bool],
        whole: bool = False,
    ) -> PacketSet:
        space = packets.space
        among = space.among(Field.STATE, IntervalSet.of((state, state) for state in states))
        asked = packets & PacketSet(space, space.meet(among, tracking.whole_packets(space)))
        return self.passage(way, whole).where(wanted, asked).exists((Field.STATE,))

    def filters(self, hook: Hook) -> bool:
        """Whether anything at a hook may stop a packet at all."""
        return any(
            base.policy is Verdict.DROP or Verdict.DROP in done or Verdict.REJECT in done
            for base, done in self._at(hook)
        )

    def closed(self, hook: Hook) -> bool:
        """Whether a base chain at a hook stops everything: nothing in it lets a packet through."""
        return any(
            base.policy is Verdict.DROP
            and Verdict.ACCEPT not in done
            and not any(isinstance(one, Unknown) for one in done)
            for base, done in self._at(hook)
        )

    def _at(self, hook: Hook) -> Iterator[tuple[Base, list[Action]]]:
        """The base chains of a hook, with all that their rules do, in chains that they lead to as well."""
        for table in self.view.ruleset.tables:
            if self.view.family not in table.families:
                continue
            for chain in table.chains:
                if chain.base is not None and chain.base.hook is hook:
                    rules = [rule for one in called(chain, table.chains) for rule in one.rules]
                    yield chain.base, [action for rule in rules for action in rule.actions]


def called(chain: Chain, chains: tuple[Chain, ...]) -> list[Chain]:
    """A chain, and all chains that it leads to."""
    names = {one.name: one for one in chains}
    found: dict[str, Chain] = {}
    waiting = [chain]
    while waiting:
        one = waiting.pop()
        if one.name in found:
            continue
        found[one.name] = one
        targets = [getattr(action, "chain", None) for rule in one.rules for action in rule.actions]
        waiting += [names[target] for target in targets if target in names]
    return list(found.values())


def late(ruleset: Ruleset) -> Ruleset:
    """The ruleset without its base chains before connection tracking."""
    return Ruleset(
        tuple(
            replace(table, chains=tuple(chain for chain in table.chains if not _is_early(chain)))
            for table in ruleset.tables
        )
    )


def _is_early(chain: Chain) -> bool:
    base = chain.base
    if base is None or base.hook not in _EARLY or base.kind is ChainType.NAT:
        return False
    return base.hook is Hook.INGRESS or base.priority < CONNTRACK_PRIORITY
