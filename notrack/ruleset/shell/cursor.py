"""A place in the text of a script, and what every reader asks of it."""

from __future__ import annotations

import re
from typing import Final

from notrack.text.diagnostic import Diagnostic, Severity
from notrack.text.source import Source, Span

DEEPEST: Final = 30  # commands and substitutions in one another; people need five
_BLANK: Final = re.compile(r"(?:[ \t]|\\\r?\n|\r(?=\n|\Z))+")
_COMMENT: Final = re.compile(r"#[^\n]*")
_BROKEN_GOING_ON: Final = re.compile(r"\\[ \t]+\r?(?=\n|\Z)")


class Fault(Exception):
    """Inside this room only: a text that is no shell. The nearest list of commands records it and goes on."""

    def __init__(self, message: str, span: Span, help: str | None = None) -> None:
        super().__init__(message)
        self.diagnostic = Diagnostic(Severity.ERROR, message, span, help)
        self.span = span


class Cursor:
    """A place in a script, up to `end`; mutable, and never seen outside the reader.

    `jumps` says where to go on behind a line end that a here-document follows.
    """

    def __init__(self, source: Source, start: int = 0, end: int | None = None, depth: int = 0) -> None:
        self.source = source
        self.text = source.text
        self.position = start
        self.end = len(source.text) if end is None else end
        self.depth = depth
        self.substitutions = 0
        self.jumps: dict[int, int] = {}
        self.diagnostics: list[Diagnostic] = []

    def span(self, start: int, end: int | None = None) -> Span:
        return Span(self.source, start, self.position if end is None else end)

    def here(self, length: int = 1) -> Span:
        return self.span(self.position, min(self.position + length, self.end))

    @property
    def char(self) -> str:
        return self.text[self.position] if self.position < self.end else ""

    def at(self, text: str) -> bool:
        return self.text.startswith(text, self.position, self.end)

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        return pattern.match(self.text, self.position, self.end)

    def warn(self, message: str, span: Span, help: str | None = None) -> None:
        self.diagnostics.append(Diagnostic(Severity.WARNING, message, span, help))

    def enter(self) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise Fault(f"nested more than {DEEPEST} deep", self.here())

    def skip_blank(self) -> None:
        """Over blanks, continued lines and a comment, up to the next word, operator or line end."""
        while found := self.match(_BLANK):
            self.position = found.end()
        if broken := self.match(_BROKEN_GOING_ON):
            place = self.span(broken.start(), broken.end())
            self.warn("the line does not go on: a blank follows the backslash", place, "remove the blank")
            self.position = broken.end()
        if self.char == "#" and (comment := self.match(_COMMENT)):
            self.position = comment.end()

    def take_line_end(self) -> bool:
        """Over one line end, and the here-documents behind it."""
        if self.char != "\n":
            return False
        self.position = self.jumps.pop(self.position, self.position + 1)
        return True
