"""Two rulesets' fates of the packets of one role, side by side."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.netfilter.effects import Effects
from notrack.netfilter.ways import Way
from notrack.packets import questions
from notrack.packets.diagram import EMPTY
from notrack.packets.fields import Field, State
from notrack.packets.space import Space
from notrack.proof.difference_labels import Fate, Translation
from notrack.proof.difference_pairs import paired
from notrack.proof.difference_roles import UNMOVED, Cast, Role, Status
from notrack.proof.difference_sides import OF_ENTRY, Labels, Side, in_view
from notrack.ruleset.core import Hook

LOST = Fate("drop", Hook.PREROUTING, tracked=False)
"""Of a packet that is not translated as the rest of its flow is: it ends at the host, whoever it was for."""


class Slices:
    """What both rulesets do with the packets of a role on a way; each computed once."""

    def __init__(self, space: Space, labels: Labels, cast: Cast, sides: tuple[Side, Side]) -> None:
        self.space = space
        self.labels = labels
        self.cast = cast
        self.sides = sides
        self._fates: dict[tuple[Role, Way, Status], list[tuple[int, int]]] = {}
        self._pairs: dict[tuple[Role, Way, Status], list[tuple[Fate, Fate, int]]] = {}

    def fates(self, role: Role, view: Way, status: Status = UNMOVED) -> list[tuple[int, int]]:
        """Pairs of functions from packets (without state) to fates, before and after, on the same packets."""
        key = (role, view, status)
        if key not in self._fates:
            states = self.cast.pairs(role, view, *self.sides, status)
            self._fates[key] = [self.functions(view, one, other) for one, other in states]
        return self._fates[key]

    def functions(self, view: Way, before: int, after: int) -> tuple[int, int]:
        """Both rulesets' fates of packets whose states each of two sets gives."""
        space = self.space
        common = in_view(space, view)
        for side in self.sides:
            common = space.meet(common, side.headers(view))
        known = [(self.sides[0], before), (self.sides[1], after)]
        values = [self.values(side.fates(view), states) for side, states in known]
        away = [self._elsewhere(one) for one in values]
        if view is Way.FORWARD:
            leaving = [self.of_way(side, view, states) for side, states in known]
            common = space.minus(common, space.meet(*leaving))
        if view is Way.LOCAL_IN:  # what goes elsewhere is looked at there, where there is a way
            blocked = self.sides[0].model.host.forwards(space.family) is False
            common = space.minus(common, space.meet(*away) if blocked else space.join(*away))
        for one in values:
            common = space.meet(common, questions.outcomes(space, one, _every))
        return space.meet(common, values[0]), space.meet(common, values[1])

    def values(self, function: int, states: int) -> int:
        """A function of packets with states as one of packets that each have the one state in a set."""
        return self.space.exists(self.space.meet(states, function), OF_ENTRY)

    def of_way(self, side: Side, view: Way, states: int) -> int:
        """The packets that do not take the way itself, but another one."""
        return self._elsewhere(self.values(side.labelled(view), states))

    def _elsewhere(self, values: int) -> int:
        return questions.outcomes(self.space, values, lambda leaf: int(self.labels.known[leaf].elsewhere))

    def pairs(self, role: Role, view: Way, status: Status = UNMOVED) -> list[tuple[Fate, Fate, int]]:
        """Every two different fates, before and after, with the packets that have them."""
        key = (role, view, status)
        if key not in self._pairs:
            functions = self.fates(role, view, status)
            self._pairs[key] = [found for before, after in functions for found in self.apart(before, after)]
        return self._pairs[key]

    def apart(self, before: int, after: int) -> Iterator[tuple[Fate, Fate, int]]:
        """Where two functions differ."""
        space = self.space
        both = paired(space, before, after)
        if both == EMPTY:
            return
        leaves = questions.leaves(space, both)
        named = {leaf: value for value, leaf in space.outcomes.items() if leaf in leaves}
        for leaf, where in sorted(questions.regions(space, both, leaves).items(), reverse=True):
            value = named[leaf]
            assert isinstance(value, tuple)
            old, new = (self.labels.known[part] for part in value)
            yield old, new, where

    def domain(self, role: Role, view: Way) -> int:
        """All packets that play a role on a way, to such ends as those whose fates are compared."""
        space = self.space
        compared = [questions.outcomes(space, one, _every) for one, _ in self.fates(role, view)]
        others = [field for field in Field if field not in _KINDS]
        states = [one for pair in self.cast.pairs(role, view, *self.sides) for one in pair]
        played = space.exists(space.first(states), OF_ENTRY)
        headers = space.first([side.headers(view) for side in self.sides])
        kinds = space.exists(space.first(compared), others)
        return space.all_of([kinds, in_view(space, view), played, headers])

    def answers_on_wire(self, view: Way, wire: Effects, status: Status) -> tuple[int, int]:
        """Both rulesets' fates of answers to tracked packets of translated sources, told as they are behind
        that. One that a rule untracks is not translated back: it ends at the host, whoever it was for.
        """
        space = self.space
        known = self.cast.established(status)
        common = in_view(space, view)
        for side in self.sides:
            common = space.meet(common, side.headers(view))
        before, after = (
            questions.outcomes(space, self.values(side.labelled(view, wire), known), self._lost)
            for side in self.sides
        )
        return space.meet(common, before), space.meet(common, after)

    def _lost(self, leaf: int) -> int:
        fate = self.labels.known[leaf]
        return leaf if fate.tracked or not fate.passes else self.labels.leaf(LOST)

    def laters_behind_translation(self, view: Way, status: Status) -> tuple[int, int]:
        """Both rulesets' fates of later packets of flows to translated destinations, told as they are behind
        that. One that belongs to no entry, for its flow is tracked on one side alone, is not translated.
        """
        space = self.space
        (states,) = self.cast.pairs(Role.LATER, view, *self.sides, status)
        common = space.all_of([in_view(space, view), *(side.headers(view) for side in self.sides)])
        bare = space.among(Field.STATE, State.INVALID)
        found = []
        for side, known in zip(self.sides, states, strict=True):
            whole = self.values(side.labelled(view, begun=True), known)
            function = space.meet(space.minus(common, self._elsewhere(whole)), whole)
            strangers = space.exists(space.meet(known, bare), OF_ENTRY)
            found.append(self.lost_where(strangers, function))
        return found[0], found[1]

    def lost_where(self, where: int, function: int) -> int:
        """A function of fates with the packets of a set that pass lost instead."""
        lost = self.space.meet(where, self.passing_all(function))
        return self.space.join(self.space.meet(lost, self.labels.leaf(LOST)), function)

    def passing(self, function: int) -> dict[Translation | None, frozenset[int]]:
        """The leaves of a function at which packets pass, by how they are translated."""
        found: dict[Translation | None, set[int]] = {}
        for leaf in sorted(questions.leaves(self.space, function), reverse=True):
            fate = self.labels.known[leaf]
            if fate.passes and not fate.elsewhere:
                found.setdefault(fate.translation, set()).add(leaf)
        return {moved: frozenset(leaves) for moved, leaves in found.items()}

    def passing_regions(self, function: int) -> dict[Translation | None, int]:
        """The packets that pass, by how they are translated."""
        leaves = self.passing(function)
        chosen = frozenset[int]().union(*leaves.values())
        found = questions.regions(self.space, function, chosen)
        return {
            moved: self.space.first([found[leaf] for leaf in sorted(several)])
            for moved, several in leaves.items()
        }

    def passing_all(self, function: int) -> int:
        """The packets that pass, whatever is translated."""
        leaves = self.passing(function).values()
        return self.where(function, frozenset[int]().union(*leaves))

    def where(self, function: int, wanted: frozenset[int]) -> int:
        """The packets whose fate is one of these leaves."""
        return questions.outcomes(self.space, function, lambda leaf: int(leaf in wanted))


_KINDS = (Field.SOURCE_TYPE, Field.DESTINATION_TYPE, Field.FRAGMENT)


def _every(leaf: int) -> int:
    return int(leaf != EMPTY)
