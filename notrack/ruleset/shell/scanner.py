"""The characters of a script as words: quotes, escapes, parameters, substitutions."""

from __future__ import annotations

import re
from typing import Final

from notrack.ruleset.shell.cursor import Cursor, Fault
from notrack.ruleset.shell.tree import Literal, Parameter, Part, Sequence, Substitution, Unreadable, Word

_PLAIN: Final = re.compile(r"""[^ \t\n\r;&|<>()'"\\$`]+""")
_IN_QUOTES: Final = re.compile(r"""[^"\\$`]+""")
_IN_BRACES: Final = re.compile(r"""[^}"'\\$`]+""")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]|[@*#?$!-]", re.ASCII)
_BRACED_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*#?$!-]", re.ASCII)
_OPERATION: Final = re.compile(r":?[-=+?]|##?|%%?|//?")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "0": "\0"}


class Scanner(Cursor):
    """Reads words."""

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
