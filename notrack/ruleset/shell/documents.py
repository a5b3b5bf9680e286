"""Here-documents: text that stands behind the line whose command reads it."""

from __future__ import annotations

import re
from typing import Final

from notrack.ruleset.shell.scanner import Scanner
from notrack.ruleset.shell.tree import Literal, Part, Word
from notrack.text.source import Span

_IN_HERE: Final = re.compile(r"""[^\\$`\n]+\n?|\n""")


class DocumentScanner(Scanner):
    """Reads here-documents too."""

    def here_document(self, delimiter: str, quoted: bool, stripped: bool, place: Span) -> Word:
        """The text behind the end of this line; the scanner stays where it is, and jumps over it later."""
        line_end = self._line_end()
        start = self.jumps.get(line_end, line_end + 1)
        end, resume = self._extent(start, delimiter, stripped, place)
        self.jumps[line_end] = resume
        saved = self.position, self.end
        self.position, self.end = min(start, end), end
        try:
            parts = self._here_parts(quoted, stripped)
        finally:
            self.position, self.end = saved
        return Word(tuple(parts), self.span(min(start, end), end))

    def _line_end(self) -> int:
        """The end of the line of commands: not one inside quotes."""
        at = self.position
        while at < self.end and self.text[at] != "\n":
            char = self.text[at]
            if char == "\\":
                at += 1
            elif char == "#" and self.text[at - 1] in " \t;":
                found = self.text.find("\n", at, self.end)
                return self.end if found < 0 else found
            elif char in "'\"":
                close = self.text.find(char, at + 1, self.end)
                at = close if close > 0 else at
            at += 1
        return min(at, self.end)

    def _extent(self, start: int, delimiter: str, stripped: bool, place: Span) -> tuple[int, int]:
        """Where the text ends, and where to go on behind its delimiter."""
        at = min(start, self.end)
        while at < self.end:
            found = self.text.find("\n", at, self.end)
            stop = self.end if found < 0 else found
            line = self.text[at:stop].rstrip("\r")
            if (line.lstrip("\t") if stripped else line) == delimiter:
                return at, min(stop + 1, self.end)
            at = stop + 1
        self.warn(f"this here-document is never ended by a line {delimiter!r}", place)
        return self.end, self.end

    def _here_parts(self, quoted: bool, stripped: bool) -> list[Part]:
        parts: list[Part] = []
        while self.position < self.end:
            if stripped:
                while self.char == "\t":
                    self.position += 1
            begin, end = self.position, self.end
            found = self.text.find("\n", begin, end)
            stop = end if found < 0 else found + 1
            if quoted:
                self.position = stop
                parts.append(Literal(self.text[begin:stop], self.span(begin), True))
            else:
                parts.extend(self._here_line(stop))
        return parts

    def _here_line(self, stop: int) -> list[Part]:
        """Parts up to the end of the line; a substitution may lead over it."""
        parts: list[Part] = []
        while self.position < min(stop, self.end):
            begin = self.position
            if self.char == "$":
                parts.append(self._dollar(True))
            elif self.char == "`":
                parts.append(self._backquotes(True))
            elif self.char == "\\" and begin + 1 < self.end:
                parts.extend(self._escape_in_quotes("$`\\"))
            else:
                found = self.match(_IN_HERE)
                self.position = found.end() if found else begin + 1
                parts.append(Literal(self.text[begin : self.position], self.span(begin), True))
        return parts
