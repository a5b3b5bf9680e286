"""Questions to decision diagrams: quantifiers, projections, counts, outcomes, another order of levels."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping

from notrack.packets.diagram import EMPTY, FULL, Diagrams
from notrack.packets.intervals import Interval, IntervalSet


def exists(store: Diagrams, diagram: int, levels: Collection[int]) -> int:
    """The set of what lies in `diagram` for some value of each of `levels`."""
    return _quantified(store, diagram, levels, store.first)


def for_all(store: Diagrams, diagram: int, levels: Collection[int]) -> int:
    """The set of what lies in `diagram` for every value of each of `levels`."""
    return _quantified(store, diagram, levels, store.all_of)


def _quantified(
    store: Diagrams, diagram: int, levels: Collection[int], merge: Callable[[list[int]], int]
) -> int:
    chosen = frozenset(levels)
    lowest = max(chosen, default=-1)
    done: dict[int, int] = {}

    def walk(at: int) -> int:
        if store.level(at) > lowest:
            return at
        if at not in done:
            level, cuts, kids = store.nodes[at]
            fresh = _each(kids, walk)
            done[at] = (
                merge(list(dict.fromkeys(fresh))) if level in chosen else _node(store, level, cuts, fresh)
            )
        return done[at]

    return walk(diagram)


def _each(kids: tuple[int, ...], walk: Callable[[int], int]) -> list[int]:
    made = {kid: walk(kid) for kid in dict.fromkeys(kids)}
    return [made[kid] for kid in kids]


def _node(store: Diagrams, level: int, cuts: tuple[int, ...], kids: list[int]) -> int:
    """The node with these edges, equal neighbours made one."""
    ends: list[int] = []
    ways: list[int] = []
    for cut, kid in zip(cuts, kids, strict=True):
        if ways and ways[-1] == kid:
            ends[-1] = cut
        else:
            ends.append(cut)
            ways.append(kid)
    return store.make(level, ends, ways)


def assign(store: Diagrams, diagram: int, values: Mapping[int, int]) -> int:
    """What is left of `diagram` when some levels have a known value."""
    if not values:
        return diagram
    lowest = max(values)
    done: dict[int, int] = {}

    def walk(at: int) -> int:
        if store.level(at) > lowest:
            return at
        if at not in done:
            level, cuts, kids = store.nodes[at]
            if level in values:
                done[at] = walk(kids[bisect_left(cuts, values[level])])
            else:
                done[at] = _node(store, level, cuts, _each(kids, walk))
        return done[at]

    return walk(diagram)


def shifted(store: Diagrams, diagram: int, level: int, by: int, low: int, high: int) -> int:
    """The diagram asked about a level's value plus `by`, but no less than `low` and no more than `high`."""
    if level not in support(store, diagram):
        return diagram
    top = store.tops[level]
    done: dict[int, int] = {}

    def walk(at: int) -> int:
        if store.level(at) > level:
            return at
        if at not in done:
            here, cuts, kids = store.nodes[at]
            if here == level:
                done[at] = _node(store, level, *_before([*zip(cuts, kids, strict=True)]))
            else:
                done[at] = _node(store, here, cuts, _each(kids, walk))
        return done[at]

    def _before(edges: list[tuple[int, int]]) -> tuple[tuple[int, ...], list[int]]:
        """The edges by what the value was: `low` is what all below it became, `high` all above."""
        ends: list[int] = []
        ways: list[int] = []
        for cut, kid in edges:
            end = top if cut >= high else -1 if cut < low else min(cut - by, top)
            if end > (ends[-1] if ends else -1):
                ends.append(end)
                ways.append(kid)
        return tuple(ends), ways

    return walk(diagram)


def outcomes(store: Diagrams, diagram: int, change: Callable[[int], int]) -> int:
    """The diagram with every leaf but 0 replaced by `change(leaf)`; with 0 and 1 the result is a set."""
    return relabelled(store, diagram, lambda leaf: EMPTY if leaf == EMPTY else change(leaf))


def regions(store: Diagrams, diagram: int, chosen: Collection[int]) -> dict[int, int]:
    """For each of some leaves the set that leads to it, those with none left out; in one walk for all."""
    done: dict[int, dict[int, int]] = {}

    def walk(at: int) -> dict[int, int]:
        if at < 2:
            return {at: FULL} if at in chosen else {}
        if at not in done:
            level, cuts, kids = store.nodes[at]
            parts = {kid: walk(kid) for kid in dict.fromkeys(kids)}
            found = dict.fromkeys(leaf for part in parts.values() for leaf in part)
            done[at] = {
                leaf: _node(store, level, cuts, [parts[kid].get(leaf, EMPTY) for kid in kids])
                for leaf in found
            }
        return done[at]

    return walk(diagram)


def relabelled(store: Diagrams, diagram: int, change: Callable[[int], int]) -> int:
    """The diagram with every leaf, 0 too, replaced by `change(leaf)`."""
    done: dict[int, int] = {}

    def walk(at: int) -> int:
        if at not in done:
            if at < 2:
                done[at] = change(at)
            else:
                level, cuts, kids = store.nodes[at]
                done[at] = _node(store, level, cuts, _each(kids, walk))
        return done[at]

    return walk(diagram)


def leaves(store: Diagrams, diagram: int) -> set[int]:
    """Every leaf but 0 that the diagram reaches."""
    return {at for at in reachable(store, diagram) if at < 2 and at != EMPTY}


def reachable(store: Diagrams, diagram: int) -> set[int]:
    """Every diagram inside this one, itself and leaves included."""
    seen = {diagram}
    todo = [diagram]
    while todo:
        at = todo.pop()
        if at > 1:
            for kid in store.nodes[at][2]:
                if kid not in seen:
                    seen.add(kid)
                    todo.append(kid)
    return seen


def support(store: Diagrams, diagram: int) -> set[int]:
    """The levels that the diagram asks for."""
    return {store.level(at) for at in reachable(store, diagram) if at > 1}


def project(store: Diagrams, diagram: int, level: int) -> IntervalSet:
    """The values that a level has in members of the set."""
    spans: list[Interval] = []
    seen: set[int] = set()
    todo = [diagram]
    while todo:
        at = todo.pop()
        if at in seen or at == EMPTY:
            continue
        seen.add(at)
        here = store.level(at)
        if here > level:
            return IntervalSet(((0, store.tops[level]),))
        if here == level:
            spans += edge_values(store, at)
        else:
            todo += store.nodes[at][2]
    return IntervalSet.of(spans)


def edge_values(store: Diagrams, diagram: int) -> list[Interval]:
    """The values at a node that lead anywhere but to `EMPTY`."""
    low = 0
    spans: list[Interval] = []
    _, cuts, kids = store.nodes[diagram]
    for cut, kid in zip(cuts, kids, strict=True):
        if kid != EMPTY:
            spans.append((low, cut))
        low = cut + 1
    return spans


def count(store: Diagrams, diagram: int, levels: Collection[int]) -> int:
    """How many assignments of `levels` lie in the set; other levels that it asks for are quantified away."""
    chosen = sorted(levels)
    rank = {level: i for i, level in enumerate(chosen)}
    diagram = exists(store, diagram, support(store, diagram) - rank.keys())
    behind = [1]  # assignments of the levels from the end up to a rank
    for level in reversed(chosen):
        behind.append(behind[-1] * (store.tops[level] + 1))
    behind.reverse()
    done: dict[int, int] = {}

    def walk(at: int) -> int:
        """Members below `at`, over the levels from its own rank on."""
        if at not in done:
            level, cuts, kids = store.nodes[at]
            total, low = 0, 0
            for cut, kid in zip(cuts, kids, strict=True):
                if kid != EMPTY:
                    total += (cut + 1 - low) * scaled(kid, rank[level] + 1)
                low = cut + 1
            done[at] = total
        return done[at]

    def scaled(at: int, start: int) -> int:
        if at < 2:
            return behind[start] if at != EMPTY else 0
        return walk(at) * (behind[start] // behind[rank[store.level(at)]])

    return scaled(diagram, 0)


def renamed(
    store: Diagrams,
    diagram: int,
    levels: Mapping[int, int],
    values: Callable[[int, Interval], list[Interval]],
) -> int:
    """The diagram with levels exchanged, intervals of a (new) level replaced by `values(level, interval)`.

    Several levels must not become one; intervals of one level must stay apart from each other.
    """
    done: dict[int, int] = {}

    def walk(at: int) -> int:
        if at < 2:
            return at
        if at not in done:
            level, cuts, kids = store.nodes[at]
            target = levels.get(level, level)
            spans: dict[int, list[Interval]] = {}
            low = 0
            for cut, kid in zip(cuts, kids, strict=True):
                spans.setdefault(kid, []).extend(values(target, (low, cut)))
                low = cut + 1
            parts = [
                store.meet(store.literal(target, IntervalSet.of(several)), walk(kid))
                for kid, several in spans.items()
                if kid != EMPTY
            ]
            done[at] = store.first(parts)
        return done[at]

    return walk(diagram)
