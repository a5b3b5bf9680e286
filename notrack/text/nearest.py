"""The known word that somebody who wrote an unknown one probably meant."""

from __future__ import annotations

from collections.abc import Iterable


def distance(a: str, b: str, limit: int = 99) -> int:
    """Edits between two words: a letter added, left out, replaced, or two neighbours swapped.

    Counting stops at `limit + 1`: a larger distance is reported as just that.
    """
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        older, before, row = before, row, [i]
        for j, y in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
    return row[-1]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The member of `known` nearest to `word`, or None where nothing is near enough to be meant.

    A third of the letters may be wrong; of equally near words one with the same first letter is taken.
    """
    plain = word.lower().replace("_", "-")[:64]
    limit = max(1, min(3, (len(plain) + 1) // 3))
    best: tuple[int, bool, str] | None = None
    for candidate in known:
        if candidate == plain and candidate != word:
            return candidate
        if candidate == word:
            continue
        steps = distance(plain, candidate, limit)
        if steps > limit or steps >= len(candidate):
            continue
        rank = (steps, candidate[:1] != plain[:1], candidate)
        best = rank if best is None else min(best, rank)
    return best[2] if best else _begun(plain, known)


def _begun(word: str, known: Iterable[str]) -> str | None:
    """The one known word that begins with `word` (or that it begins with), if there is exactly one."""
    if len(word) < 3:
        return None
    found = sorted(
        {k for k in known if k != word and (k.startswith(word) or (len(k) > 3 and word.startswith(k)))}
    )
    return found[0] if len(found) == 1 else None
