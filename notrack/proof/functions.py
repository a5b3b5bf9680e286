"""What the chains of each hook do to every packet, as diagrams: the same behaviour is the same integer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from notrack.netfilter import ways
from notrack.netfilter.chains import Algebra, Chains, End, Function
from notrack.netfilter.effects import NONE, Effects, Track
from notrack.netfilter.host import UNKNOWN_HOST
from notrack.netfilter.tracking import first_packets
from notrack.netfilter.ways import Mounted, Stage
from notrack.packets import questions
from notrack.packets.address import Family
from notrack.packets.diagram import EMPTY
from notrack.packets.fields import Field, State
from notrack.packets.space import Space
from notrack.proof.blocks import UNTRACK, Actions, Block, blocks, facing, first_match, in_state
from notrack.proof.boxes import Known, Opaque, Sets
from notrack.ruleset.core import ConnectionSet, Hook, Notrack, Ruleset, Template, Unknown, Verdict
from notrack.text.record import dataclass

RAW_IN, RAW_OUT = Stage(Hook.PREROUTING, early=True), Stage(Hook.OUTPUT, early=True)
PLACES = (
    RAW_IN, Stage(Hook.PREROUTING), Stage(Hook.INPUT), Stage(Hook.FORWARD),
    RAW_OUT, Stage(Hook.OUTPUT), Stage(Hook.POSTROUTING),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where chains act: a stage of the kernel's way; `nat`: its translation, `after`: behind that."""

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


def mounted(ruleset: Ruleset, place: Place, family: Family) -> list[Mounted]:
    """The base chains of a place, in the order in which they run. The kernel's translation has one priority
    at each hook, whatever those of its chains are."""
    found = ways.mounted(ruleset, place.stage, family)
    if place.nat:
        return [item for item in found if item.translates]
    at = ways.NAT_PRIORITY.get(place.stage.hook)
    plain = [item for item in found if not item.translates]
    if place.stage.early or at is None:
        return [] if place.after else plain
    return [item for item in plain if (item.priority >= at) is place.after]


class Functions:
    """The functions of one ruleset in one space. With `questions`, the functions of the same ruleset, they
    are of what becomes of the answer to a packet.

    Where chains are lists of blocks the questions are answered from these, which costs less.
    """

    def __init__(
        self,
        algebra: Algebra,
        ruleset: Ruleset,
        known: Known,
        sets: Sets,
        *,
        questions: Functions | None = None,
    ) -> None:
        self.algebra = algebra
        self.space: Space = algebra.space
        self.ruleset = ruleset
        self.known = known
        self.sets = sets
        self.questions = questions
        self.answers = questions is not None
        self._asked: dict[tuple[str, object, object], int] = {}
        self._chains: dict[tuple[int, Hook], Chains] = {}
        self._made: dict[Place, Function] = {}
        self._mounted: dict[Place, list[Mounted]] = {}
        self._blocks: dict[Place, tuple[Block, ...] | None] = {}

    def mounted(self, place: Place) -> list[Mounted]:
        """The base chains of a place, in the order in which they run."""
        if place not in self._mounted:
            self._mounted[place] = mounted(self.ruleset, place, self.space.family)
        return self._mounted[place]

    def acts(self, place: Place) -> bool:
        """Whether any rule or policy of a place does something."""
        found = self.blocks(place)
        return bool(found) if found is not None else self.at(place).diagram != EMPTY

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

    def blocks(self, place: Place) -> tuple[Block, ...] | None:
        """The chains of a place as a list of blocks; None where they are none."""
        if place not in self._blocks:
            self._blocks[place] = self._as_blocks(place)
        return self._blocks[place]

    def _as_blocks(self, place: Place) -> tuple[Block, ...] | None:
        if self.questions is not None:
            found = self.questions.blocks(place)
            return None if found is None else tuple(facing(found, self.space.family))
        try:
            return blocks(self.mounted(place), self.known, early=place.stage.early)
        except Opaque:
            return None

    def left_alone(self, place: Place) -> int:
        """The packets about which no rule of a place says anything: its policy decides, or nothing."""
        mounted = self.mounted(place)
        drops = any(item.chain.base and item.chain.base.policy is Verdict.DROP for item in mounted)
        wanted = End.DROP if drops else End.ON
        return questions.relabelled(
            self.space, self.at(place).diagram, lambda leaf: int(self._is_bare(leaf, wanted))
        )

    def _is_bare(self, leaf: int, end: End) -> bool:
        outcome = self.algebra.outcome(leaf)
        return outcome.end is end and outcome.effects == NONE

    def untracked(self, stage: Stage) -> int:
        """The packets that the rules before tracking untrack at one of the two hooks that have such rules."""
        key = ("untracked", stage, None)
        if key not in self._asked:
            self._asked[key] = self._untracked(stage)
        return self._asked[key]

    def _untracked(self, stage: Stage) -> int:
        found = self._told(Place(stage), State.INVALID, _UNTRACKS)
        if found is not None:
            return first_match(self.sets, found, _UNTRACKS, otherwise=False)
        diagram = questions.assign(self.space, self.at(Place(stage)).diagram, self._in_state(State.INVALID))
        return questions.outcomes(
            self.space, diagram, lambda leaf: int(self.algebra.outcome(leaf).effects.track is Track.UNTRACKED)
        )

    def surviving(self, stage: Stage) -> int:
        """The packets that the rules before tracking let through."""
        return self._passing(Place(stage), State.INVALID)

    def passing(self, hook: Hook, state: State) -> int:
        """The packets in a state that filter lets through at a hook, told by all else than their state."""
        before, after = (self._passing(Place(Stage(hook), after=after), state) for after in (False, True))
        return self.space.meet(before, after)

    def _passing(self, place: Place, state: State) -> int:
        key = ("passing", place, state)
        if key not in self._asked:
            self._asked[key] = self._let_through(place, state)
        return self._asked[key]

    def _let_through(self, place: Place, state: State) -> int:
        found = self._told(place, state, _PASSES)
        if found is not None:
            return first_match(self.sets, found, _PASSES, otherwise=True)
        diagram = questions.assign(self.space, self.at(place).diagram, self._in_state(state))
        stopped = questions.outcomes(
            self.space, diagram, lambda leaf: int(self.algebra.outcome(leaf).end is not End.ON)
        )
        return self.space.complement(stopped)

    def _told(self, place: Place, state: State, wanted: Mapping[Actions, bool]) -> list[Block] | None:
        """The blocks of a place for packets of one state, if all that they do is known to the question."""
        found = self.blocks(place)
        if found is None:
            return None
        seen = list(in_state(found, state))
        known = all(block.actions in wanted or _is_quiet(block.actions) for block in seen)
        return seen if known else None

    def _in_state(self, state: State) -> dict[int, int]:
        """What rules see of packets in a state; without an entry nothing is translated."""
        seen = {Field.STATE: int(state)}
        if state in (State.INVALID, State.UNTRACKED):
            seen |= {Field.CT_SNAT: 0, Field.CT_DNAT: 0}
        return {self.space.levels[field][0]: value for field, value in seen.items()}

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


_ACCEPT, _DROP, _REJECT = (
    (verdict,) for verdict in (Verdict.ACCEPT, Verdict.DROP, Verdict.REJECT)
)  # fmt: skip
_PASSES: Mapping[Actions, bool] = {_ACCEPT: True, _DROP: False, _REJECT: False, UNTRACK: True}


class _Untracks(dict[Actions, bool]):
    """Whether what ends the walk before tracking untracks. A template keeps a packet from NOTRACK."""

    def __contains__(self, actions: object) -> bool:
        return actions in (_ACCEPT, _DROP, UNTRACK, (Notrack(),)) or _is_template(actions)

    def __missing__(self, actions: Actions) -> bool:
        return actions in (UNTRACK, (Notrack(),))


_UNTRACKS = _Untracks()


def _is_template(actions: object) -> bool:
    return isinstance(actions, tuple) and len(actions) == 1 and isinstance(actions[0], Template)


def _is_quiet(actions: Actions) -> bool:
    """Whether actions neither end the walk nor are asked for by filter."""
    return all(isinstance(action, Notrack | Template | ConnectionSet | Unknown) for action in actions)
