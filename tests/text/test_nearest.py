"""The word that was probably meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notrack.text.nearest import distance, nearest

WORDS = ("from", "to", "on", "at", "with", "limit", "helper", "tracked", "untracked")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("form", "from"),
        ("frm", "from"),
        ("From", "from"),
        ("FROM", "from"),
        ("limti", "limit"),
        ("untraked", "untracked"),
        ("trackd", "tracked"),
        ("helpr", "helper"),
        ("wiht", "with"),
    ],
)
def test_is_found(word: str, meant: str) -> None:
    assert nearest(word, WORDS) == meant


@pytest.mark.parametrize("word", ["xyzzy", "", "q", "completely-other", "a" * 10_000])
def test_is_none_when_nothing_is_near(word: str) -> None:
    assert nearest(word, WORDS) is None


def test_prefers_the_same_first_letter() -> None:
    assert nearest("sin", ("fin", "syn")) == "syn"


def test_a_beginning_is_enough_when_it_is_the_only_one() -> None:
    assert nearest("desti", ("destination", "source")) == "destination"
    assert nearest("des", ("destination", "descent")) is None


def _plain(a: str, b: str) -> int:
    """The same count, spelled out without any shortcut."""
    table = {(i, j): i + j for i in range(len(a) + 1) for j in range(len(b) + 1) if not i * j}
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            best = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (a[i - 1] != b[j - 1]))
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                best = min(best, table[i - 2, j - 2] + 1)
            table[i, j] = best
    return table[len(a), len(b)]


@given(st.text("abc", max_size=7), st.text("abc", max_size=7), st.integers(0, 9))
def test_distance_is_exact_up_to_its_limit(a: str, b: str, limit: int) -> None:
    exact = _plain(a, b)
    found = distance(a, b, limit)
    assert found == exact if exact <= limit else found > limit
