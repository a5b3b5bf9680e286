"""Diagnostics as text for people: the line, the place marked in it, and what to do about it."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable

from notrack.text.diagnostic import Diagnostic, Severity
from notrack.text.record import dataclass
from notrack.text.source import Source, Span

_RESET = "\x1b[0m"
_BOLD = "\x1b[1m"
_BLUE = "\x1b[1;34m"
_COLOURS = {Severity.ERROR: "\x1b[1;31m", Severity.WARNING: "\x1b[1;33m", Severity.INFO: "\x1b[1;36m"}
_TAB = 4
_WIDEST = 160  # columns of source that are shown around a mark in a very long line


@dataclass(frozen=True, slots=True)
class _Mark:
    span: Span
    message: str
    sign: str  # "^" for the place of the fault, "-" for a related one


def render(diagnostic: Diagnostic, *, colour: bool = False) -> str:
    """One diagnostic as several lines, without a newline at the end.

    Source lines are shown with tabs widened and control characters made visible, so that the marks
    below them stand under the right characters, wide ones included.
    """
    paint = _painter(colour)
    kind = diagnostic.severity.value + (f"[{diagnostic.code}]" if diagnostic.code else "")
    head = paint(kind, _COLOURS[diagnostic.severity]) + paint(f": {diagnostic.message}", _BOLD)
    marks = _marks(diagnostic)
    width = max((len(str(mark.span.line)) for mark in marks), default=1)
    lines = [head]
    shown: Source | None = None
    for source, group in _by_source(marks):
        arrow = "-->" if shown is None else ":::"
        first = next((mark for mark in group if mark.sign == "^"), group[0])
        lines.append(f"{' ' * width}{paint(arrow, _BLUE)} {first.span}")
        lines.extend(_snippet(group, width, diagnostic.severity, colour))
        shown = source
    gutter = " " * width
    for note in diagnostic.notes:
        lines.append(f"{gutter} {paint('=', _BLUE)} {paint('note', _BOLD)}: {_indented(note, width + 9)}")
    if diagnostic.help is not None:
        lines.append(
            f"{gutter} {paint('=', _BLUE)} {paint('help', _BOLD)}: {_indented(diagnostic.help, width + 9)}"
        )
    return "\n".join(lines)


def render_all(diagnostics: Iterable[Diagnostic], *, colour: bool = False) -> str:
    """Several diagnostics, an empty line behind each."""
    return "".join(render(diagnostic, colour=colour) + "\n\n" for diagnostic in diagnostics)


def concise(diagnostic: Diagnostic) -> str:
    """One diagnostic as `file:line:column: severity: message` on one line."""
    place = f"{diagnostic.span}: " if diagnostic.span is not None else ""
    return f"{place}{diagnostic.severity.value}: {diagnostic.message}"


def _painter(colour: bool) -> Callable[[str, str], str]:
    return (lambda text, code: f"{code}{text}{_RESET}") if colour else (lambda text, code: text)


def _marks(diagnostic: Diagnostic) -> list[_Mark]:
    if diagnostic.span is None:
        first: list[_Mark] = []
    else:
        first = [_Mark(diagnostic.span, "", "^")]
    return first + [_Mark(related.span, related.message, "-") for related in diagnostic.related]


def _by_source(marks: list[_Mark]) -> list[tuple[Source, list[_Mark]]]:
    """Marks grouped by file, the file of the first mark in front."""
    groups: list[tuple[Source, list[_Mark]]] = []
    for mark in marks:
        for source, group in groups:
            if source is mark.span.source:
                group.append(mark)
                break
        else:
            groups.append((mark.span.source, [mark]))
    return groups


def _snippet(marks: list[_Mark], width: int, severity: Severity, colour: bool) -> list[str]:
    paint = _painter(colour)
    bar = paint("|", _BLUE)
    lines = [f"{' ' * width} {bar}"]
    previous: int | None = None
    for number in sorted({mark.span.line for mark in marks}):
        if previous is not None and number > previous + 1:
            lines.append(paint("...", _BLUE))
        previous = number
        here = [mark for mark in marks if mark.span.line == number]
        text, columns = _widened(here[0].span.source.line(number))
        left, right = _window(here, columns)
        shown = _cut(text, left, right)
        lines.append(f"{paint(f'{number:>{width}}', _BLUE)} {bar} {shown}".rstrip())
        for mark in sorted(here, key=lambda mark: mark.sign, reverse=True):
            signs = _signs(mark, columns, left, right)
            painted = paint(signs.lstrip(" "), _COLOURS[severity] if mark.sign == "^" else _BLUE)
            blank = " " * (len(signs) - len(signs.lstrip(" ")))
            lines.append(f"{' ' * width} {bar} {blank}{painted}")
    lines.append(f"{' ' * width} {bar}")
    return lines


def _widened(line: str) -> tuple[str, list[int]]:
    """A line as it is shown, and the screen column at which each of its characters begins (and ends)."""
    out: list[str] = []
    columns = [0]
    for char in line:
        shown, wide = _shown(char, columns[-1])
        out.append(shown)
        columns.append(columns[-1] + wide)
    return "".join(out), columns


def _shown(char: str, column: int) -> tuple[str, int]:
    """A character as it is shown, and how many screen columns that takes."""
    if char == "\t":
        wide = _TAB - column % _TAB
        return " " * wide, wide
    if unicodedata.combining(char):
        return char, 0
    if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"):
        return "\N{REPLACEMENT CHARACTER}", 1
    return char, 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def _window(marks: list[_Mark], columns: list[int]) -> tuple[int, int]:
    """Which screen columns of a line to show: all of them, or those around the first mark."""
    if columns[-1] <= _WIDEST:
        return 0, columns[-1]
    start = columns[min(min(mark.span.column for mark in marks) - 1, len(columns) - 1)]
    left = max(0, start - _WIDEST // 2)
    return left, min(columns[-1], left + _WIDEST)


def _cut(text: str, left: int, right: int) -> str:
    """The screen columns from `left` to `right`; dots stand for what is left out."""
    out: list[str] = []
    column = 0
    for char in text:
        wide = 0 if unicodedata.combining(char) else _shown(char, column)[1]
        if left <= column and column + wide <= right:
            out.append(char)
        elif left < column + wide and column < right:
            out.append(" " * (min(column + wide, right) - max(column, left)))
        column += wide
    return ("..." if left else "") + "".join(out) + ("..." if right < column else "")


def _signs(mark: _Mark, columns: list[int], left: int, right: int) -> str:
    last = len(columns) - 1
    start = columns[min(mark.span.column - 1, last)]
    ends_here = mark.span.end_line == mark.span.line
    end = columns[min(mark.span.end_column - 1, last)] if ends_here else columns[last]
    shift = 3 if left else 0
    start, end = max(start, left), min(max(end, start + 1), max(right, start + 1))
    signs = " " * (start - left + shift) + mark.sign * max(1, end - start)
    return f"{signs} {mark.message}" if mark.message else signs


def _indented(text: str, width: int) -> str:
    return text.replace("\n", "\n" + " " * width)
