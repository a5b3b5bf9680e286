"""Lines of a text: where they begin and end, and how a new one stands among them."""

from __future__ import annotations

from notrack.lint.finding import Edit
from notrack.text.source import Source, Span


def line_start(source: Source, offset: int) -> int:
    return source.text.rfind("\n", 0, offset) + 1


def line_end(source: Source, offset: int) -> int:
    """Where the line's ending begins, or the text ends."""
    found = source.text.find("\n", offset)
    end = len(source.text) if found < 0 else found
    return end - 1 if end > offset and source.text[end - 1] == "\r" else end


def newline(source: Source) -> str:
    return "\r\n" if "\r\n" in source.text else "\n"


def indentation(source: Source, offset: int) -> str:
    line = source.text[line_start(source, offset) : line_end(source, offset)]
    return line[: len(line) - len(line.lstrip(" \t"))]


def is_alone(span: Span, allowed: str = "", comment: str = "#") -> bool:
    """Whether nothing else stands on the lines of a span but the allowed characters and a comment."""
    source = span.source
    before = source.text[line_start(source, span.start) : span.start]
    behind = source.text[span.end : line_end(source, span.end)].strip(f" \t{allowed}")
    return not before.strip() and (not behind or (bool(comment) and behind.startswith(comment)))


def line_after(span: Span, text: str) -> Edit:
    """A new line behind the one in which a span ends."""
    source = span.source
    end = line_end(source, span.end)
    following = source.text.find("\n", end) + 1
    if following:
        return Edit(source.span(following, following), text + newline(source))
    return Edit(source.span(end, end), newline(source) + text)


def line_before(span: Span, text: str) -> Edit:
    """A new line before the one in which a span begins."""
    start = line_start(span.source, span.start)
    return Edit(span.source.span(start, start), text + newline(span.source))


def line_deleted(span: Span) -> Edit:
    """The lines of a span taken out, with the line's ending."""
    source = span.source
    start, end = line_start(source, span.start), line_end(source, span.end)
    following = source.text.find("\n", end) + 1
    if not following and start:
        start -= 2 if source.text[start - 2 : start] == "\r\n" else 1
    return Edit(source.span(start, following or end), "")
