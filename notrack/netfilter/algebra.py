"""Functions from packets to outcomes, and how they follow one another.

A function is a diagram whose leaves are outcomes. The leaf 0 is the commonest outcome, "goes on unchanged".
Two functions in a row are `compose`d: where the first goes on with changes, the second is asked about the
changed packet.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence

from notrack.netfilter.effects import NONE, Effects, behind
from notrack.packets import questions
from notrack.packets.diagram import EMPTY, FULL
from notrack.packets.space import Space
from notrack.ruleset.core import Hook
from notrack.text.record import dataclass


class End(enum.Enum):
    """Why a packet leaves a stretch of its way."""

    ON = "on"  # it goes on
    RETURN = "return"
    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"
    STOLEN = "stolen"
    ELSEWHERE = "elsewhere"  # it does not take this way at all


@dataclass(frozen=True, slots=True)
class Outcome:
    end: End
    effects: Effects = NONE
    hook: Hook | None = None  # where it ended, if it did


@dataclass(frozen=True, slots=True)
class Function:
    """A diagram of outcomes. `changing` holds every leaf of it that goes on with changes (or more)."""

    diagram: int = EMPTY
    changing: frozenset[int] = frozenset()


NOTHING = Function()


class Algebra:
    """Outcome functions over one space."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._values: dict[int, Outcome] = {}

    def leaf(self, outcome: Outcome) -> int:
        if outcome == Outcome(End.ON):
            return EMPTY
        made = self.space.outcome(outcome)
        self._values[made] = outcome
        return made

    def outcome(self, leaf: int) -> Outcome:
        """The outcome of a leaf, 0 included."""
        if leaf == EMPTY:
            return Outcome(End.ON)
        if leaf not in self._values:
            value = self.space.value(leaf)
            assert isinstance(value, Outcome)
            self._values[leaf] = value
        return self._values[leaf]

    def constant(self, outcome: Outcome, where: int = FULL) -> Function:
        """The outcome for the packets of a set; others go on unchanged."""
        made = self.leaf(outcome)
        if made == EMPTY:
            return NOTHING
        return Function(
            self.space.meet(where, made), frozenset((made,)) if outcome.end is End.ON else frozenset()
        )

    def within(self, where: int, function: Function) -> Function:
        """The function for the packets of a set; others go on unchanged."""
        return Function(self.space.meet(where, function.diagram), function.changing)

    def compose(self, first: Function, second: Function) -> Function:
        """The first function, and the second for what goes on."""
        space = self.space
        if first.diagram == EMPTY:
            return second
        if second.diagram == EMPTY:
            return first
        if not first.changing:
            return Function(space.join(first.diagram, second.diagram), second.changing)
        parts: list[int] = []
        changing = set(second.changing)
        regions = questions.regions(space, first.diagram, first.changing)
        for leaf, region in sorted(regions.items(), reverse=True):
            after = self.after(self.outcome(leaf).effects, second)
            parts.append(space.meet(region, space.join(after.diagram, leaf)))
            changing |= after.changing | {leaf}
        done = questions.outcomes(space, first.diagram, lambda at: EMPTY if at in first.changing else at)
        # regions of `parts` and of `done` are apart; what neither names goes on unchanged
        region = self.where(first.diagram, first.changing)
        rest = space.minus(space.join(done, second.diagram), region)
        return Function(space.first([*parts, rest]), frozenset(changing))

    def where(self, diagram: int, leaves: frozenset[int]) -> int:
        """The set of packets whose outcome is one of these leaves, none of which is 0."""
        return questions.outcomes(self.space, diagram, lambda at: int(at in leaves))

    def after(self, effects: Effects, function: Function) -> Function:
        """A function of the changed packet as one of the packet before, the changes added to its outcomes."""
        moved = behind(self.space, function.diagram, effects)
        changing: set[int] = set()

        def added(leaf: int) -> int:
            old = self.outcome(leaf)
            made = self.leaf(Outcome(old.end, effects.then(old.effects), old.hook))
            if old.end is End.ON and made != EMPTY:
                changing.add(made)
            return made

        return Function(questions.outcomes(self.space, moved, added), frozenset(changing))

    def compose_all(self, functions: Sequence[Function]) -> Function:
        """Many in a row, as a balanced tree."""
        row = list(functions) or [NOTHING]
        while len(row) > 1:
            pairs = zip(row[::2], row[1::2], strict=False)
            row = [self.compose(a, b) for a, b in pairs] + (row[-1:] if len(row) % 2 else [])
        return row[0]

    def ended(self, function: Function, change: Callable[[Outcome], Outcome]) -> Function:
        """The function with each outcome replaced, "goes on unchanged" among them."""
        changing: set[int] = set()

        def replaced(leaf: int) -> int:
            new = change(self.outcome(leaf))
            made = self.leaf(new)
            if new.end is End.ON and made != EMPTY:
                changing.add(made)
            return made

        diagram = questions.relabelled(self.space, function.diagram, replaced)
        return Function(diagram, frozenset(changing))
