"""The characters of a script as words: quotes, escapes, parameters, substitutions, here-documents."""

from __future__ import annotations

import re
from typing import Final

from notrack.ruleset.shell.tree import Literal, Parameter, Part, Sequence, Substitution, Unreadable, Word
from notrack.text.diagnostic import Diagnostic, Severity
from notrack.text.source import Source, Span

DEEPEST: Final = 30  # commands and substitutions in one another; people need five
_PLAIN: Final = re.compile(r"""[^ \t\n\r;&|<>()'"\\$`]+""")
_IN_QUOTES: Final = re.compile(r"""[^"\\$`]+""")
_IN_HERE: Final = re.compile(r"""[^\\$`\n]+\n?|\n""")
_IN_BRACES: Final = re.compile(r"""[^}"'\\$`]+""")
_BLANK: Final = re.compile(r"(?:[ \t]|\\\r?\n|\r(?=\n|\Z))+")
_COMMENT: Final = re.compile(r"#[^\n]*")
_BROKEN_GOING_ON: Final = re.compile(r"\\[ \t]+\r?(?=\n|\Z)")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]|[@*#?$!-]", re.ASCII)
_BRACED_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*#?$!-]", re.ASCII)
_OPERATION: Final = re.compile(r":?[-=+?]")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "0": "\0"}


class Fault(Exception):
    """Inside this room only: a text that is no shell. The nearest list of commands records it and goes on."""

    def __init__(self, message: str, span: Span, help: str | None = None) -> None:
        super().__init__(message)
        self.diagnostic = Diagnostic(Severity.ERROR, message, span, help)
        self.span = span


class Scanner:
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

    # What every reader asks.

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

    # Words.

    def word(self) -> Word | None:
        """The word at this very place, or None where none begins."""
        start = self.position
        parts: list[Part] = []
        while self.position < self.end:
            begin = self.position
            char = self.char
            if (plain := self.match(_PLAIN)) is not None:
                self.position = plain.end()
                parts.append(Literal(plain.group(), self.span(begin)))
            elif char == "'":
                parts.append(self._single())
            elif char == '"':
                parts.extend(self._double())
            elif char == "\\":
                parts.extend(self._escape())
            elif char == "$" or char == "`":
                parts.append(self._dollar(False) if char == "$" else self._backquotes(False))
            elif char in "<>" and self.at(f"{char}("):
                parts.append(self._balanced(2, 1, "a process's output as a file"))
            elif char == "\r" and not self.at("\r\n") and self.position + 1 < self.end:
                self.position += 1
                parts.append(Literal(char, self.span(begin)))
            else:
                break
        return Word(tuple(parts), self.span(start)) if self.position > start else None

    def _single(self) -> Literal:
        start = self.position
        close = self.text.find("'", start + 1, self.end)
        if close < 0:
            raise Fault("this quote is never closed", self.here())
        self.position = close + 1
        return Literal(self.text[start + 1 : close], self.span(start + 1, close), True)

    def _double(self) -> list[Part]:
        start = self.position
        self.position += 1
        parts = self._expandable(_IN_QUOTES, '"', '$`"\\')
        if self.char != '"':
            raise Fault("this quote is never closed", self.span(start, start + 1))
        self.position += 1
        return parts or [Literal("", self.span(start + 1, start + 1), True)]

    def _expandable(self, plain: re.Pattern[str], close: str, escapable: str) -> list[Part]:
        """Parts inside double quotes or a here-document, up to `close` or the end."""
        parts: list[Part] = []
        while self.position < self.end and not (close and self.at(close)):
            begin = self.position
            char = self.char
            if char == "$":
                parts.append(self._dollar(True))
            elif char == "`":
                parts.append(self._backquotes(True))
            elif char == "\\" and begin + 1 < self.end:
                parts.extend(self._escape_in_quotes(escapable))
            else:
                found = self.match(plain)
                self.position = found.end() if found else begin + 1
                parts.append(Literal(self.text[begin : self.position], self.span(begin), True))
        return parts

    def _escape(self) -> list[Part]:
        begin = self.position
        if self.at("\\\n") or self.at("\\\r\n"):
            self.position = self.text.index("\n", begin) + 1
            return []
        self.position = min(begin + 2, self.end)
        text = self.text[begin + 1 : self.position] or "\\"
        return [Literal(text, self.span(begin), True)]

    def _escape_in_quotes(self, escapable: str) -> list[Part]:
        begin = self.position
        following = self.text[begin + 1]
        if following == "\n":
            self.position += 2
            return []
        self.position += 2
        text = following if following in escapable else "\\" + following
        return [Literal(text, self.span(begin), True)]

    # Parameters and substitutions.

    def _dollar(self, quoted: bool) -> Part:
        start = self.position
        if self.at("$(("):
            return self._balanced(3, 2, "arithmetic", quoted)
        if self.at("$("):
            return self._substitution(quoted)
        if self.at("${"):
            return self._braces(quoted)
        if not quoted and self.at("$'"):
            return self._ansi()
        self.position += 1
        if not quoted and self.char == '"':
            return Literal("", self.span(start), True)
        found = self.match(_NAME)
        if found is None:
            return Literal("$", self.span(start), quoted)
        self.position = found.end()
        return Parameter(found.group(), self.span(start), quoted)

    def _substitution(self, quoted: bool) -> Substitution:
        start = self.position
        self.position += 2
        self.substitutions += 1
        try:
            self.enter()
            body = self.sequence()
        finally:
            self.substitutions -= 1
            self.depth -= 1
        if self.char != ")":
            raise Fault("this `$(` is never closed", self.span(start, start + 2))
        self.position += 1
        return Substitution(body, self.span(start), quoted)

    def sequence(self) -> Sequence:
        """The commands of a substitution; the parser knows how."""
        raise NotImplementedError

    def inner_sequence(self, start: int, end: int) -> Sequence | None:
        """The commands of a stretch of this source, None where they cannot be read."""
        raise NotImplementedError

    def _backquotes(self, quoted: bool) -> Substitution:
        start = self.position
        close = start + 1
        while close < self.end and self.text[close] != "`":
            close += 2 if self.text[close] == "\\" else 1
        if close >= self.end:
            raise Fault("this backquote is never closed", self.here())
        self.position = close + 1
        inner = self.text[start + 1 : close]
        body = None if "\\" in inner else self.inner_sequence(start + 1, close)
        return Substitution(body, self.span(start), quoted)

    def _balanced(self, opening: int, closing: int, what: str, quoted: bool = False) -> Unreadable:
        """Something in parentheses that is not read: `opening` characters open it."""
        start = self.position
        self.position += opening
        depth = closing
        while self.position < self.end and depth > 0:
            depth += (self.char == "(") - (self.char == ")")
            self.position += 1
        if depth > 0:
            raise Fault("this parenthesis is never closed", self.span(start, start + opening))
        return Unreadable(what, self.span(start), quoted)

    def _ansi(self) -> Part:
        """`$'...'`, with the escapes that stand for one character."""
        start = self.position
        self.position += 2
        made: list[str] = []
        while self.char != "'":
            if self.position >= self.end:
                raise Fault("this quote is never closed", self.span(start, start + 2))
            if self.char == "\\":
                self.position += 1
                if self.char not in _ESCAPES:
                    made = ["\0"]
                    self.position += 1
                    continue
                made.append(_ESCAPES[self.char])
            else:
                made.append(self.char)
            self.position += 1
        self.position += 1
        if "\0" in made:
            return Unreadable("an escape", self.span(start), True)
        return Literal("".join(made), self.span(start), True)

    def _braces(self, quoted: bool) -> Part:
        start = self.position
        self.position += 2
        found = self.match(_BRACED_NAME)
        after = found.end() if found else self.position
        if found is None or (found.group() in "#!" and self.text[after : after + 1] not in "}:-=+?"):
            self._skip_braces(start)
            return Unreadable("an expansion", self.span(start), quoted)
        self.position = after
        index = self._index()
        if self.char == "}":
            self.position += 1
            return Parameter(found.group(), self.span(start), quoted, index=index)
        operation = self.match(_OPERATION)
        if operation is None:
            self._skip_braces(start)
            return Parameter(found.group(), self.span(start), quoted, "other", None, index)
        self.position = operation.end()
        self.enter()
        word = self._word_in_braces(start, quoted)
        self.depth -= 1
        return Parameter(found.group(), self.span(start), quoted, operation.group(), word, index)

    def _index(self) -> str | None:
        if self.char != "[":
            return None
        close = self.text.find("]", self.position, self.end)
        if close < 0:
            return None
        index = self.text[self.position + 1 : close]
        self.position = close + 1
        return index

    def _word_in_braces(self, start: int, quoted: bool) -> Word:
        begin = self.position
        parts: list[Part] = []
        while self.char != "}":
            at = self.position
            if self.position >= self.end:
                raise Fault("this `${` is never closed", self.span(start, start + 2))
            if self.char == "'" and not quoted:
                parts.append(self._single())
            elif self.char == '"':
                parts.extend(self._double())
            elif self.char == "\\":
                parts.extend(self._escape())
            elif self.char == "$":
                parts.append(self._dollar(quoted))
            elif self.char == "`":
                parts.append(self._backquotes(quoted))
            else:
                found = self.match(_IN_BRACES)
                self.position = found.end() if found else at + 1
                parts.append(Literal(self.text[at : self.position], self.span(at), quoted))
        self.position += 1
        return Word(tuple(parts), self.span(begin, self.position - 1))

    def _skip_braces(self, start: int) -> None:
        depth = 1
        while self.position < self.end and depth > 0:
            if self.char == "\\":
                self.position += 1
            depth += (self.char == "{") - (self.char == "}")
            self.position += 1
        if depth > 0:
            raise Fault("this `${` is never closed", self.span(start, start + 2))
        self.position = min(self.position, self.end)

    # Here-documents.

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
