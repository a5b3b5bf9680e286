"""Sets of integers against Python's own sets."""

from __future__ import annotations

import random

from notrack.packets.intervals import IntervalSet


def some(rng: random.Random, spans: int) -> tuple[IntervalSet, set[int]]:
    found = [(low, low + rng.randrange(4)) for low in (rng.randrange(400) for _ in range(spans))]
    return IntervalSet.of(found), {n for low, high in found for n in range(low, high + 1)}


def members(values: IntervalSet) -> set[int]:
    return {n for low, high in values for n in range(low, high + 1)}


def test_union_intersection_and_difference_are_those_of_sets() -> None:
    rng = random.Random(5)
    for _ in range(600):
        (a, left), (b, right) = some(rng, rng.choice([0, 1, 2, 60])), some(rng, rng.choice([0, 1, 3, 60]))
        assert members(a | b) == left | right
        assert members(a & b) == left & right == members(b & a)
        assert members(a - b) == left - right
        assert (a <= b) == (left <= right) and a.isdisjoint(b) == left.isdisjoint(right)
        assert a.size() == len(left) and all(n in a for n in left)


def test_equal_sets_are_equal_however_they_were_made() -> None:
    assert (
        IntervalSet.of([(1, 2), (3, 4)])
        == IntervalSet.of([(1, 4)])
        == IntervalSet.of([(2, 4), (1, 1), (1, 3)])
    )


def test_the_widest_span_is_the_lowest_of_equals() -> None:
    assert IntervalSet.of([(0, 2), (10, 12), (20, 21)]).widest() == (0, 2)
