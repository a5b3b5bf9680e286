"""Replacing stretches of a text without touching the rest."""

from __future__ import annotations

from collections.abc import Iterable

Stretch = tuple[int, int, str]  # from, up to: the text that comes in their place


def spliced(text: str, stretches: Iterable[Stretch]) -> str | None:
    """The text with every stretch replaced; None where two of them overlap."""
    pieces: list[str] = []
    at = 0
    for start, end, new in sorted(stretches):
        if start < at:
            return None
        pieces += [text[at:start], new]
        at = end
    return "".join((*pieces, text[at:]))


def difference(old: str, new: str) -> Stretch | None:
    """The one stretch of `old` to replace so that it becomes `new`; None where they are equal."""
    if old == new:
        return None
    start = _common(old, new)
    end = _common(old[start:][::-1], new[start:][::-1])
    return start, len(old) - end, new[start : len(new) - end]


def _common(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
