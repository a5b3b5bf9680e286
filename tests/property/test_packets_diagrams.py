"""Diagrams against brute force on a small space, and against z3 on random formulas."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notrack.packets import questions
from notrack.packets.budget import Budget, TooHard
from notrack.packets.diagram import EMPTY, FULL, Diagrams
from notrack.packets.intervals import IntervalSet

TOPS = (3, 5, 2, 4)
POINTS = list(itertools.product(*(range(top + 1) for top in TOPS)))
Formula = tuple  # ("lit", level, spans) | ("not", f) | ("and" | "or" | "minus", f, g)


def intervals(top: int) -> st.SearchStrategy[IntervalSet]:
    ends = st.tuples(st.integers(0, top), st.integers(0, top)).map(lambda pair: (min(pair), max(pair)))
    return st.lists(ends, max_size=3).map(IntervalSet.of)


LITERALS = st.integers(0, len(TOPS) - 1).flatmap(
    lambda level: st.tuples(st.just("lit"), st.just(level), intervals(TOPS[level]))
)
FORMULAS = st.recursive(
    LITERALS,
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.sampled_from(("and", "or", "minus")), inner, inner),
    ),
    max_leaves=12,
)


def store(budget: Budget | None = None) -> Diagrams:
    made = Diagrams(budget)
    for top in TOPS:
        made.add_level(top)
    return made


def build(made: Diagrams, formula: Formula) -> int:
    if formula[0] == "lit":
        return made.literal(formula[1], formula[2])
    if formula[0] == "not":
        return made.complement(build(made, formula[1]))
    operation = {"and": made.meet, "or": made.join, "minus": made.minus}[formula[0]]
    return operation(build(made, formula[1]), build(made, formula[2]))


def truth(formula: Formula, point: tuple[int, ...]) -> bool:
    if formula[0] == "lit":
        return point[formula[1]] in formula[2]
    if formula[0] == "not":
        return not truth(formula[1], point)
    left, right = truth(formula[1], point), truth(formula[2], point)
    return {"and": left and right, "or": left or right, "minus": left and not right}[formula[0]]


def members(formula: Formula) -> set[tuple[int, ...]]:
    return {point for point in POINTS if truth(formula, point)}


@given(FORMULAS)
def test_a_diagram_holds_exactly_the_points_of_its_formula(formula: Formula) -> None:
    made = store()
    diagram = build(made, formula)
    assert {point for point in POINTS if made.follow(diagram, point) == FULL} == members(formula)


@given(FORMULAS, FORMULAS)
def test_equal_sets_are_the_same_integer(f: Formula, g: Formula) -> None:
    made = store()
    assert (build(made, f) == build(made, g)) == (members(f) == members(g))


@given(FORMULAS, FORMULAS, FORMULAS)
def test_boolean_laws(f: Formula, g: Formula, h: Formula) -> None:
    made = store()
    a, b, c = build(made, f), build(made, g), build(made, h)
    no = made.complement
    assert made.meet(a, b) == made.meet(b, a)
    assert made.join(a, b) == made.join(b, a)
    assert made.meet(a, made.join(b, c)) == made.join(made.meet(a, b), made.meet(a, c))
    assert no(made.meet(a, b)) == made.join(no(a), no(b))
    assert made.minus(a, b) == made.meet(a, no(b))
    assert no(no(a)) == a
    assert made.join(a, no(a)) == FULL
    assert made.meet(a, no(a)) == EMPTY


@given(st.lists(st.tuples(FORMULAS, st.integers(0, 3)), max_size=9))
def test_first_gives_each_point_the_outcome_of_the_first_guard_that_holds(
    rules: list[tuple[Formula, int]],
) -> None:
    made = store()
    whole = made.first([made.meet(build(made, guard), made.outcome(verdict)) for guard, verdict in rules])
    for point in POINTS[::7]:
        expected = next((verdict for guard, verdict in rules if truth(guard, point)), None)
        leaf = made.follow(whole, point)
        assert (made.value(leaf) if leaf != EMPTY else None) == expected


@given(st.lists(st.tuples(FORMULAS, st.integers(0, 2)), max_size=5), FORMULAS)
def test_minus_and_outcomes_work_on_partial_functions(
    rules: list[tuple[Formula, int]], hole: Formula
) -> None:
    made = store()
    whole = made.first([made.meet(build(made, guard), made.outcome(verdict)) for guard, verdict in rules])
    rest = made.minus(whole, build(made, hole))
    chosen = made.outcome(1)
    ones = questions.outcomes(made, rest, lambda leaf: int(leaf == chosen))
    for point in POINTS[::5]:
        expected = next((verdict for guard, verdict in rules if truth(guard, point)), None)
        leaf = made.follow(rest, point)
        assert (made.value(leaf) if leaf != EMPTY else None) == (None if truth(hole, point) else expected)
        assert (made.follow(ones, point) == FULL) == (expected == 1 and not truth(hole, point))


@given(st.lists(FORMULAS, min_size=1, max_size=4))
def test_regions_are_where_each_outcome_is(guards: list[Formula]) -> None:
    made = store()
    leaves = [made.outcome(number) for number in range(len(guards))]
    parts = [made.meet(build(made, guard), leaf) for guard, leaf in zip(guards, leaves, strict=True)]
    function = made.first(parts)
    found = questions.regions(made, function, leaves[1:])
    for leaf in leaves[1:]:
        where = questions.outcomes(made, function, lambda at, leaf=leaf: int(at == leaf))
        assert found.get(leaf, EMPTY) == where
        assert (leaf in found) == (where != EMPTY)
    assert leaves[0] not in found


@given(FORMULAS, st.sets(st.integers(0, len(TOPS) - 1)))
def test_quantifiers_projection_and_counts(formula: Formula, levels: set[int]) -> None:
    made = store()
    diagram = build(made, formula)
    inside = members(formula)
    kept = [level for level in range(len(TOPS)) if level not in levels]
    shadow = {tuple(point[level] for level in kept) for point in inside}
    lacking = {tuple(point[level] for level in kept) for point in set(POINTS) - inside}
    some, every = questions.exists(made, diagram, levels), questions.for_all(made, diagram, levels)
    for point in POINTS[::3]:
        key = tuple(point[level] for level in kept)
        assert (made.follow(some, point) == FULL) == (key in shadow)
        assert (made.follow(every, point) == FULL) == (key not in lacking)
    assert questions.count(made, diagram, kept) == len(shadow)
    assert questions.count(made, diagram, range(len(TOPS))) == len(inside)
    for level in range(len(TOPS)):
        assert questions.project(made, diagram, level) == IntervalSet.of((p[level], p[level]) for p in inside)


@given(FORMULAS, st.dictionaries(st.integers(0, 3), st.integers(0, 2), max_size=3))
def test_assign_fixes_levels(formula: Formula, values: dict[int, int]) -> None:
    made = store()
    left = questions.assign(made, build(made, formula), values)
    assert not questions.support(made, left) & values.keys()
    for point in POINTS[::3]:
        fixed = tuple(values.get(level, value) for level, value in enumerate(point))
        assert (made.follow(left, point) == FULL) == truth(formula, fixed)


@given(FORMULAS)
def test_exchanging_levels_twice_is_nothing(formula: Formula) -> None:
    made = Diagrams()
    for _ in TOPS:
        made.add_level(6)
    diagram = build(made, formula)
    exchange = {0: 2, 2: 0, 1: 3, 3: 1}
    once = questions.renamed(made, diagram, exchange, lambda _, span: [span])
    assert questions.renamed(made, once, exchange, lambda _, span: [span]) == diagram
    for point in POINTS[::11]:
        swapped = (point[2], point[3], point[0], point[1])
        assert made.follow(once, swapped) == made.follow(diagram, point)


def test_a_long_diagram_does_not_overflow_the_stack() -> None:
    made = Diagrams()
    levels = [made.add_level(1) for _ in range(3000)]
    one = IntervalSet.single(1)
    odd = EMPTY
    for level in reversed(levels):
        odd = made.literal(level, one, made.complement(odd) if level % 64 == 0 else odd, odd)
    chain = FULL
    for level in reversed(levels):
        chain = made.literal(level, one, chain)
    assert made.meet(chain, made.complement(chain)) == EMPTY
    assert questions.count(made, chain, levels) == 1
    assert questions.exists(made, chain, levels[:-1]) == made.literal(levels[-1], one)


def parity(made: Diagrams, pairs: int) -> int:
    """A function that needs exponentially many nodes: x1=y1, x2=y2, ... with all x before all y."""
    result = FULL
    for i in range(pairs):
        one = IntervalSet.single(1)
        x, y = made.literal(i, one), made.literal(pairs + i, one)
        same = made.join(made.meet(x, y), made.minus(made.complement(x), y))
        result = made.meet(result, same)
    return result


def wide(pairs: int, budget: Budget) -> Diagrams:
    made = Diagrams(budget)
    for _ in range(2 * pairs):
        made.add_level(1)
    return made


@pytest.mark.parametrize("budget", [Budget(nodes=20_000), Budget(edges=50_000), Budget(seconds=0.2)])
def test_what_costs_too_much_is_undecided(budget: Budget) -> None:
    with pytest.raises(TooHard):
        parity(wide(40, budget), 40)


def test_forgetting_answers_changes_nothing() -> None:
    small, large = wide(10, Budget(answers=50)), wide(10, Budget())
    assert questions.count(small, parity(small, 10), range(20)) == 2**10
    assert questions.count(large, parity(large, 10), range(20)) == 2**10


@settings(max_examples=60, deadline=None)
@given(FORMULAS, FORMULAS)
def test_z3_agrees_on_emptiness_and_equality(f: Formula, g: Formula) -> None:
    z3 = pytest.importorskip("z3")
    variables = [z3.Int(f"v{i}") for i in range(len(TOPS))]
    legal = z3.And([z3.And(v >= 0, v <= top) for v, top in zip(variables, TOPS, strict=True)])

    def encode(formula: Formula):  # type: ignore[no-untyped-def]
        if formula[0] == "lit":
            v = variables[formula[1]]
            return z3.Or([z3.And(v >= low, v <= high) for low, high in formula[2]])
        if formula[0] == "not":
            return z3.Not(encode(formula[1]))
        left, right = encode(formula[1]), encode(formula[2])
        join: dict[str, Callable[[], object]] = {
            "and": lambda: z3.And(left, right),
            "or": lambda: z3.Or(left, right),
            "minus": lambda: z3.And(left, z3.Not(right)),
        }
        return join[formula[0]]()

    made = store()
    a, b = build(made, f), build(made, g)

    def satisfiable(*parts: object) -> bool:
        solver = z3.Solver()
        solver.add(legal, *parts)
        return bool(solver.check() == z3.sat)

    assert satisfiable(encode(f)) == (a != EMPTY)
    assert satisfiable(encode(f) != encode(g)) == (a != b)
