"""Diagnostics as people see them."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notrack.text.diagnostic import Diagnostic, Related, Severity
from notrack.text.render import concise, render, render_all
from notrack.text.source import Source


def diagnostic(source: Source, start: int, end: int, **more: object) -> Diagnostic:
    return Diagnostic(Severity.ERROR, "wrong", source.span(start, end), **more)  # type: ignore[arg-type]


def test_the_whole() -> None:
    text = "site edge\nnetwork office = 10.8.0.0/24\nservice web tcp 80 from offce\n"
    source = Source("site.spec", text)
    start = text.index("offce")
    found = Diagnostic(
        Severity.ERROR,
        "unknown network `offce`",
        source.span(start, start + 5),
        help="did you mean `office`?",
        related=(Related(source.span(18, 24), "declared here"),),
        notes=("one", "two\nlines"),
    )
    assert render(found) == (
        "error: unknown network `offce`\n"
        " --> site.spec:3:25\n"
        "  |\n"
        "2 | network office = 10.8.0.0/24\n"
        "  |         ------ declared here\n"
        "3 | service web tcp 80 from offce\n"
        "  |                         ^^^^^\n"
        "  |\n"
        "  = note: one\n"
        "  = note: two\n"
        "          lines\n"
        "  = help: did you mean `office`?"
    )


def test_lines_far_apart_have_dots_between() -> None:
    source = Source("s", "first\n" * 11 + "last\n")
    found = diagnostic(source, 66, 70, related=(Related(source.span(0, 5), "here"),))
    assert render(found).split("\n")[2:] == [
        "   |",
        " 1 | first",
        "   | ----- here",
        "...",
        "12 | last",
        "   | ^^^^",
        "   |",
    ]


def test_another_file_has_its_own_snippet() -> None:
    other = Source("other.spec", "network office = 10.8.0.0/24\n")
    found = diagnostic(Source("s", "x\n"), 0, 1, related=(Related(other.span(8, 14), "the first one"),))
    assert " ::: other.spec:1:9\n" in render(found)
    assert "        ------ the first one" in render(found)


def test_marks_on_one_line() -> None:
    source = Source("s", "service a tracked untracked\n")
    found = diagnostic(source, 18, 27, related=(Related(source.span(10, 17), "the other"),))
    lines = render(found).split("\n")
    assert lines[4:6] == ["  |                   ^^^^^^^^^", "  |           ------- the other"]


def test_without_a_place() -> None:
    assert render(Diagnostic(Severity.WARNING, "careful", None)) == "warning: careful"
    assert concise(Diagnostic(Severity.WARNING, "careful", None)) == "warning: careful"


def test_concise() -> None:
    assert concise(diagnostic(Source("a/b.spec", "x\nyy"), 2, 4)) == "a/b.spec:2:1: error: wrong"


def test_several() -> None:
    found = diagnostic(Source("s", "x\n"), 0, 1)
    assert render_all([found, found]) == f"{render(found)}\n\n{render(found)}\n\n"


@pytest.mark.parametrize(
    ("text", "word", "blanks"),
    [
        ("\tservice\tweb", "web", 12),  # tabs stop at every fourth column
        ("a\tb", "b", 4),
        ("# 会社 web", "web", 7),  # wide characters take two columns
        ("# cafe\u0301 web", "web", 7),  # a combining accent takes none
        ("\x01 web", "web", 2),  # a control character is shown as one
    ],
)
def test_marks_stand_under_what_they_mark(text: str, word: str, blanks: int) -> None:
    start = text.index(word)
    lines = render(diagnostic(Source("s", text), start, start + len(word))).split("\n")
    assert lines[4] == "  | " + " " * blanks + "^" * len(word)


def test_the_end_of_a_line_can_be_marked() -> None:
    assert render(diagnostic(Source("s", "abc\n"), 3, 3)).split("\n")[4] == "  |    ^"


def test_an_empty_source_can_be_marked() -> None:
    assert render(diagnostic(Source("s", ""), 0, 0)).split("\n")[3:5] == ["1 |", "  | ^"]


def test_a_mark_over_several_lines_ends_with_the_first() -> None:
    assert render(diagnostic(Source("s", "abc\ndef\n"), 1, 6)).split("\n")[4] == "  |  ^^"


def test_a_very_long_line_is_shown_in_part() -> None:
    text = "a" * 5000 + "HERE" + "b" * 5000
    lines = render(diagnostic(Source("s", text), 5000, 5004)).split("\n")
    assert max(len(line) for line in lines) < 200
    shown, signs = lines[3], lines[4]
    assert shown[signs.index("^") : signs.rindex("^") + 1] == "HERE"
    assert shown.startswith("1 | ...")
    assert shown.endswith("...")


def test_colour_only_when_asked() -> None:
    found = diagnostic(Source("s", "abc\n"), 0, 3, help="so")
    assert "\x1b" not in render(found)
    coloured = render(found, colour=True)
    assert "\x1b[1;31merror\x1b[0m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render(found)


def test_colour_codes_in_the_source_do_not_reach_the_screen() -> None:
    assert "\x1b" not in render(diagnostic(Source("s", "\x1b[31mred"), 0, 1))


@given(st.text(max_size=200), st.data())
def test_any_place_in_any_text_can_be_shown(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    shown = render(diagnostic(Source("s", text), start, end))
    assert "^" in shown
    assert not any(unicodedata.category(char) == "Cc" for char in shown.replace("\n", ""))
