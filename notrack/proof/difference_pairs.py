"""Two functions of packets as one: where they differ, with what each says there."""

from __future__ import annotations

from notrack.packets.diagram import EMPTY, LEAF, Diagrams


def paired(store: Diagrams, before: int, after: int) -> int:
    """The partial function whose outcome is `(before, after)`, as leaves, where those differ.

    Both are diagrams that end in leaves of any kind; nothing where they end in the same leaf. Equal parts
    are not walked, so that two large rulesets with small differences cost little.
    """
    done: dict[tuple[int, int], int] = {}
    nodes, tops = store.nodes, store.tops

    def walk(a: int, b: int) -> int:
        if a == b:
            return EMPTY
        level_a, level_b = store.level(a), store.level(b)
        if level_a == LEAF and level_b == LEAF:
            return store.outcome((a, b))
        key = (a, b)
        found = done.get(key)
        if found is not None:
            return found
        level = min(level_a, level_b)
        _, cuts_a, kids_a = nodes[a] if level_a == level else (level, (tops[level],), (a,))
        _, cuts_b, kids_b = nodes[b] if level_b == level else (level, (tops[level],), (b,))
        cuts: list[int] = []
        kids: list[int] = []
        i = j = 0
        while i < len(cuts_a):
            kid = walk(kids_a[i], kids_b[j])
            end = min(cuts_a[i], cuts_b[j])
            if kids and kids[-1] == kid:
                cuts[-1] = end
            else:
                cuts.append(end)
                kids.append(kid)
            i, j = i + (cuts_a[i] == end), j + (cuts_b[j] == end)
        done[key] = store.make(level, cuts, kids)
        return done[key]

    return walk(before, after)
