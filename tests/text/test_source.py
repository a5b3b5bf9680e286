"""Places in a source."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from notrack.text.source import Source


def test_positions_count_from_one() -> None:
    source = Source("s", "ab\ncd\n")
    assert [source.position(i) for i in range(7)] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (3, 1)]
    assert str(source.span(3, 5)) == "s:2:1"
    assert source.span(3, 5).text == "cd"


def test_a_line_has_no_ending() -> None:
    source = Source("s", "ab\r\ncd")
    assert (source.line(1), source.line(2)) == ("ab", "cd")


@given(st.text("a\r\n", max_size=30))
def test_lines_put_together_are_the_text(text: str) -> None:
    source = Source("s", text)
    count = source.position(len(text))[0]
    assert [source.line(n) for n in range(1, count + 1)] == [line.rstrip("\r") for line in text.split("\n")]
