"""What the chains of each hook do to every packet, as diagrams: the same behaviour is the same integer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from notrack.netfilter import ways
from notrack.netfilter.chains import Algebra, Chains, End, Function
from notrack.netfilter.effects import Effects, Track
from notrack.netfilter.host import UNKNOWN_HOST
from notrack.netfilter.tracking import first_packets
from notrack.netfilter.ways import Mounted, Stage
from notrack.packets import questions
from notrack.packets.diagram import EMPTY
from notrack.packets.fields import Field, State
from notrack.packets.space import Space
from notrack.ruleset.core import Hook, Ruleset

RAW_IN, RAW_OUT = Stage(Hook.PREROUTING, early=True), Stage(Hook.OUTPUT, early=True)
PLACES = (
    RAW_IN, Stage(Hook.PREROUTING), Stage(Hook.INPUT), Stage(Hook.FORWARD),
    RAW_OUT, Stage(Hook.OUTPUT), Stage(Hook.POSTROUTING),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where chains act: a stage of the kernel's way; `nat`: its chains of translation, `after`: behind them."""

    stage: Stage
    nat: bool = False
    after: bool = False

    def __str__(self) -> str:
        when = " before tracking" if self.stage.early else ""
        return f"{self.stage.hook.value}{when}{', translation' if self.nat else ''}"


def places() -> Iterator[Place]:
    """All of them, in the order in which packets meet them."""
    for stage in PLACES:
        yield Place(stage)
        if not stage.early:
            yield Place(stage, nat=True)
            yield Place(stage, after=True)


class Functions:
    """The functions of one ruleset in one space. `answers`: of what becomes of the answer to a packet."""

    def __init__(self, algebra: Algebra, ruleset: Ruleset, *, answers: bool = False) -> None:
        self.algebra = algebra
        self.space: Space = algebra.space
        self.ruleset = ruleset
        self.answers = answers
        self._chains: dict[tuple[int, Hook], Chains] = {}
        self._made: dict[Place, Function] = {}
        self._mounted: dict[Stage, tuple[list[Mounted], list[Mounted], list[Mounted]]] = {}

    def mounted(self, place: Place) -> list[Mounted]:
        """The base chains of a place, in the order in which they run."""
        if place.stage not in self._mounted:
            found = ways.mounted(self.ruleset, place.stage, self.space.family)
            self._mounted[place.stage] = ways.in_order(found)
        before, nat, after = self._mounted[place.stage]
        return nat if place.nat else after if place.after else before

    def at(self, place: Place) -> Function:
        """What all chains of a place do together."""
        if place not in self._made:
            row = [self._base(item, place.stage) for item in self.mounted(place)]
            self._made[place] = self.algebra.compose_all(row)
        return self._made[place]

    def _base(self, item: Mounted, stage: Stage) -> Function:
        key = (id(item.table), stage.hook)
        if key not in self._chains:
            self._chains[key] = Chains(
                self.algebra, item.table, stage.hook, UNKNOWN_HOST, answers=self.answers
            )
        return self._chains[key].base(item.chain)

    def untracked(self, stage: Stage) -> int:
        """The packets that the rules before tracking untrack at one of the two hooks that have such rules."""
        function = self.at(Place(stage))
        bare = {self.space.levels[Field.STATE][0]: int(State.INVALID)}
        diagram = questions.assign(self.space, function.diagram, bare)
        return questions.outcomes(
            self.space, diagram, lambda leaf: int(self.algebra.outcome(leaf).effects.track is Track.UNTRACKED)
        )

    def translated(self, hook: Hook) -> int:
        """The packets that open flows, if tracked, which a translation at a hook would change."""
        return self.space.first([packets for _, packets in self.translations(hook)])

    def translations(self, hook: Hook) -> Iterator[tuple[Effects, int]]:
        """Each translation of a hook, with the packets that open flows, if tracked, and get it."""
        diagram = self._translating(hook)
        if diagram == EMPTY:
            return
        new = {self.space.levels[Field.STATE][0]: int(State.NEW)}
        opening = questions.assign(self.space, first_packets(self.space, tcp_loose=True), new)
        diagram = self.space.meet(opening, diagram)
        for leaf in sorted(questions.leaves(self.space, diagram), reverse=True):
            if self._translates(leaf):
                yield self.algebra.outcome(leaf).effects, self.algebra.where(diagram, frozenset((leaf,)))

    def named_by_translation(self, hook: Hook) -> int:
        """The packets that a translation at a hook names, whether or not they open a flow or get through."""
        return questions.outcomes(
            self.space,
            self._translating(hook),
            lambda leaf: int(self._translates(leaf) or self.algebra.outcome(leaf).end is not End.ON),
        )

    def _translating(self, hook: Hook) -> int:
        diagram = self.at(Place(Stage(hook), nat=True)).diagram
        return questions.assign(self.space, diagram, {self.space.levels[Field.STATE][0]: int(State.NEW)})

    def _translates(self, leaf: int) -> bool:
        effects = self.algebra.outcome(leaf).effects
        return effects.source_nat is not None or effects.destination_nat is not None

    def surviving(self, stage: Stage) -> int:
        """The packets that the rules before tracking let through."""
        bare = {self.space.levels[Field.STATE][0]: int(State.INVALID)}
        diagram = questions.assign(self.space, self.at(Place(stage)).diagram, bare)
        stopped = questions.outcomes(
            self.space, diagram, lambda leaf: int(self.algebra.outcome(leaf).end is not End.ON)
        )
        return self.space.complement(stopped)

    def _in_state(self, state: State) -> dict[int, int]:
        """What rules see of packets in a state; without an entry nothing is translated."""
        seen = {Field.STATE: int(state)}
        if state in (State.INVALID, State.UNTRACKED):
            seen |= {Field.CT_SNAT: 0, Field.CT_DNAT: 0}
        return {self.space.levels[field][0]: value for field, value in seen.items()}

    def passing(self, hook: Hook, state: State | None = None) -> int:
        """The packets that filter lets through at a hook; with `state` those in it, told by the rest alone."""
        ended = EMPTY
        for place in (Place(Stage(hook)), Place(Stage(hook), after=True)):
            diagram = self.at(place).diagram
            if state is not None:
                diagram = questions.assign(self.space, diagram, self._in_state(state))
            stopped = questions.outcomes(
                self.space, diagram, lambda leaf: int(self.algebra.outcome(leaf).end is not End.ON)
            )
            ended = self.space.join(ended, stopped)
        return self.space.complement(ended)
