"""Decision diagrams with one level a field and intervals for edges, each kept once only.

A diagram is an integer. 0 is nothing (`EMPTY`), 1 is everything (`FULL`), integers below 0 are outcomes,
those above 1 are nodes. A *set* ends in 0 and 1 alone; a *partial function* ends in 0 (no outcome) and
outcomes. The three operations work on both:

- `meet(set, f)`: f where the set is, nothing elsewhere; for two sets the intersection;
- `join(f, g)`: f where it has an outcome, otherwise g; for two sets the union;
- `minus(f, g)`: f where g has no outcome; for two sets the difference.

`join` over the rules of a chain, each (guard meets outcome), is first-match semantics. It is associative, so
`first` folds a long chain as a balanced tree, which keeps n rules at n log n work.

Equal sets are equal integers. A node is `(level, cuts, kids)`: kid i holds for the values above cut i-1, up
to and including cut i; the last cut is the level's greatest value; neighbours differ and there are two kids
at least, so that every diagram but `EMPTY` has a member.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Sequence

from notrack.packets.budget import Budget, Meter
from notrack.packets.intervals import IntervalSet

EMPTY = 0
FULL = 1
LEAF = 1 << 30  # the level of what is no node: below all levels
Node = tuple[int, tuple[int, ...], tuple[int, ...]]
Operation = Callable[[int, int], int]
_OTHER = -(1 << 40)  # the answer "whatever the other side is"


def allow_frames(count: int) -> None:
    """Let pure Python functions call each other this deep and more; they need no stack of the machine's."""
    if count > 500 and sys.getrecursionlimit() < count + 1000:
        sys.setrecursionlimit(2 * count + 1000)


class Diagrams:
    """A store of diagrams over levels that are added one by one, the first decided first."""

    def __init__(self, budget: Budget | None = None) -> None:
        self.meter = Meter(budget or Budget())
        self.nodes: list[Node] = [(LEAF, (), ()), (LEAF, (), ())]
        self.tops: list[int] = []
        self.outcomes: dict[Hashable, int] = {}
        self._unique: dict[Node, int] = {}
        self._answers: list[dict[int, int]] = []
        self.meet: Operation = self._operation(_meet_left, _meet_right, keep=True)
        self.join: Operation = self._operation(_join_left, _join_right, keep=True)
        self.minus: Operation = self._operation(_minus_left, _minus_right, keep=False)

    def add_level(self, top: int) -> int:
        """A new lowest level with the values 0 to `top`; returns its number."""
        self.tops.append(top)
        allow_frames(3 * len(self.tops))  # operations recurse once a level
        return len(self.tops) - 1

    def outcome(self, value: Hashable) -> int:
        """The leaf that stands for an outcome; equal values give one leaf."""
        return self.outcomes.setdefault(value, -1 - len(self.outcomes))

    def value(self, leaf: int) -> Hashable:
        """The outcome of a leaf below 0."""
        return next(value for value, known in self.outcomes.items() if known == leaf)

    def level(self, diagram: int) -> int:
        return self.nodes[diagram][0] if diagram > 1 else LEAF

    def make(self, level: int, cuts: Sequence[int], kids: Sequence[int]) -> int:
        """The node with these edges, whose neighbours must differ; one edge is no node but its kid."""
        if len(kids) == 1:
            return kids[0]
        node = (level, tuple(cuts), tuple(kids))
        found = self._unique.get(node)
        if found is None:
            found = len(self.nodes)
            self.nodes.append(node)
            self._unique[node] = found
            self.meter.edges += len(kids)
            if not found & 1023:
                self.check()
        return found

    def check(self) -> None:
        """Raise `TooHard` if the budget is spent; forget remembered answers where there are too many."""
        self.meter.check(len(self.nodes))
        for answers in self._answers:
            if len(answers) > self.meter.budget.answers:
                answers.clear()

    def literal(self, level: int, values: IntervalSet, kid: int = FULL, other: int = EMPTY) -> int:
        """`kid` where the level has one of the values, `other` elsewhere; both must lie below the level."""
        top = self.tops[level]
        cuts: list[int] = []
        kids: list[int] = []
        at = 0
        if kid == other:
            return kid
        for low, high in values:
            low, high = max(low, 0), min(high, top)
            if low > high:
                continue
            if low > at:
                cuts.append(low - 1)
                kids.append(other)
            cuts.append(high)
            kids.append(kid)
            at = high + 1
        if at <= top:
            cuts.append(top)
            kids.append(other)
        return self.make(level, cuts, kids)

    def complement(self, diagram: int) -> int:
        """Everything that is not in the set."""
        return self.minus(FULL, diagram)

    def first(self, parts: Sequence[int]) -> int:
        """`join` of many, earlier ones first, folded as a balanced tree."""
        row = list(parts) or [EMPTY]
        while len(row) > 1:
            pairs = zip(row[::2], row[1::2], strict=False)
            row = [self.join(a, b) for a, b in pairs] + (row[-1:] if len(row) % 2 else [])
        return row[0]

    def all_of(self, parts: Iterable[int]) -> int:
        """`meet` of many."""
        result = FULL
        for part in parts:
            result = self.meet(result, part)
        return result

    def follow(self, diagram: int, values: Sequence[int]) -> int:
        """The leaf that one assignment reaches; `values` holds a value for each level, in their order."""
        while diagram > 1:
            level, cuts, kids = self.nodes[diagram]
            diagram = kids[bisect_left(cuts, values[level])]
        return diagram

    def _operation(
        self, left: Callable[[int], int | None], right: Callable[[int], int | None], *, keep: bool
    ) -> Operation:
        """A binary operation from what it makes of a leaf on its left or right (None: ask the other side)."""
        answers: dict[int, int] = {}
        self._answers.append(answers)
        nodes, tops, make = self.nodes, self.tops, self.make
        leaf: Node = (LEAF, (), ())

        def operation(a: int, b: int) -> int:
            if a == b:
                return a if keep else EMPTY
            if a < 2 and (short := left(a)) is not None:
                return b if short == _OTHER else short
            if b < 2 and (short := right(b)) is not None:
                return a if short == _OTHER else short
            key = (a << 32) + b
            known = answers.get(key)
            if known is not None:
                return known
            level_a, cuts_a, kids_a = nodes[a] if a > 1 else leaf
            level_b, cuts_b, kids_b = nodes[b] if b > 1 else leaf
            level = level_a if level_a < level_b else level_b
            if level_a > level:
                cuts_a, kids_a = (tops[level],), (a,)
            elif level_b > level:
                cuts_b, kids_b = (tops[level],), (b,)
            result = make(level, *_zipped(cuts_a, kids_a, cuts_b, kids_b, operation, left, right))
            answers[key] = result
            if not len(answers) & 4095:
                self.check()
            return result

        return operation


def _zipped(
    cuts_a: tuple[int, ...],
    kids_a: tuple[int, ...],
    cuts_b: tuple[int, ...],
    kids_b: tuple[int, ...],
    operation: Operation,
    left: Callable[[int], int | None],
    right: Callable[[int], int | None],
) -> tuple[list[int], list[int]]:
    """The edges of an operation on two nodes of one level. Runs beside a leaf are copied, not walked."""
    cuts: list[int] = []
    kids: list[int] = []
    i = j = 0
    top = cuts_a[-1]
    end = -1
    while end < top:
        x, y = kids_a[i], kids_b[j]
        if x < 2 and (short := left(x)) is not None:
            end = cuts_a[i]
            j = _run(cuts, kids, short, cuts_b, kids_b, j, end)
            i += 1
        elif y < 2 and (short := right(y)) is not None:
            end = cuts_b[j]
            i = _run(cuts, kids, short, cuts_a, kids_a, i, end)
            j += 1
        else:
            cut_a, cut_b = cuts_a[i], cuts_b[j]
            if cut_a <= cut_b:
                end = cut_a
                i += 1
                if cut_a == cut_b:
                    j += 1
            else:
                end = cut_b
                j += 1
            kid = operation(x, y)
            if kids and kids[-1] == kid:
                cuts[-1] = end
            else:
                cuts.append(end)
                kids.append(kid)
    return cuts, kids


def _run(
    cuts: list[int],
    kids: list[int],
    short: int,
    other_cuts: tuple[int, ...],
    other_kids: tuple[int, ...],
    at: int,
    end: int,
) -> int:
    """Append the other side's edges from `at` up to `end`, or `short` for them; returns the edge behind."""
    last = at if other_cuts[at] >= end else bisect_left(other_cuts, end, at)
    first = other_kids[at] if short == _OTHER else short
    if kids and kids[-1] == first:
        cuts.pop()
        kids.pop()
    if short == _OTHER:
        if last > at:
            cuts += other_cuts[at:last]
            kids += other_kids[at : last + 1]
        else:
            kids.append(first)
    else:
        kids.append(short)
    cuts.append(end)
    return last if other_cuts[last] > end else last + 1


def _meet_left(leaf: int) -> int | None:
    return EMPTY if leaf == EMPTY else _OTHER if leaf == FULL else None


_meet_right = _meet_left


def _join_left(leaf: int) -> int | None:
    return _OTHER if leaf == EMPTY else leaf


def _join_right(leaf: int) -> int | None:
    return _OTHER if leaf == EMPTY else FULL if leaf == FULL else None


def _minus_left(leaf: int) -> int | None:
    return EMPTY if leaf == EMPTY else None


def _minus_right(leaf: int) -> int | None:
    return _OTHER if leaf == EMPTY else EMPTY
