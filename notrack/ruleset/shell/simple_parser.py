"""Simple commands: assignments, words, redirections."""

from __future__ import annotations

import re
from typing import Final

from notrack.ruleset.shell.cursor import Fault
from notrack.ruleset.shell.documents import DocumentScanner
from notrack.ruleset.shell.tree import Assignment, Literal, Redirection, Simple, Word

DECLARATIONS: Final = frozenset(("export", "readonly", "local", "declare", "typeset"))
_BARE: Final = re.compile(r"""[^ \t\n\r;&|<>()'"\\$`]+(?=[ \t\n\r;&|<>()]|\Z)""")
_ASSIGNMENT: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:\[([^\]\n]*)\])?(\+?)=", re.ASCII)
_REDIRECTION: Final = re.compile(r"(\d*)(<<<|<<-|<<|<&|<>|<(?!\()|>>|>&|>\||>(?!\()|&>>|&>)")
_BLANK_ONLY: Final = re.compile(r"[ \t]|\\\r?\n")


class SimpleParser(DocumentScanner):
    """Reads simple commands."""

    def separators(self) -> None:
        while True:
            self.skip_blank()
            if self.char == ";" and not self.at(";;") and not self.at(";&"):
                self.position += 1
            elif not self.take_line_end():
                return

    def keyword(self) -> str:
        """The bare word at this place, without taking it; empty if there is none."""
        found = self.match(_BARE)
        return found.group() if found else ""

    def _line_ends(self) -> None:
        self.skip_blank()
        while self.take_line_end():
            self.skip_blank()

    def _simple(self) -> Simple:
        start = self.position
        words: list[Word] = []
        assignments: list[Assignment] = []
        redirections: list[Redirection] = []
        while True:
            stop = self.position
            self.skip_blank()
            redirection = self._redirection()
            if redirection is not None:
                redirections.append(redirection)
                continue
            declares = bool(words) and words[0].bare in DECLARATIONS
            assignment = self._assignment() if not words or declares else None
            if assignment is not None:
                assignments.append(assignment)
                continue
            word = self.word()
            if word is None:
                break
            words.append(word)
        if not (words or assignments or redirections):
            shown = f"`{self.char}`" if self.position < self.end and self.char != "\n" else "nothing"
            raise Fault(f"expected a command, found {shown}", self.here())
        self.position = stop
        return Simple(tuple(words), self.span(start), tuple(assignments), tuple(redirections))

    def _assignment(self) -> Assignment | None:
        found = self.match(_ASSIGNMENT)
        if found is None:
            return None
        start = self.position
        self.position = found.end()
        name, index, plus = found.groups()
        if self.char == "(" and index is None:
            elements = self._array()
            return Assignment(name, None, self.span(start), elements, bool(plus))
        value = self.word() or Word((), self.span(self.position))
        return Assignment(name, value, self.span(start), None, bool(plus), index)

    def _array(self) -> tuple[Word, ...]:
        start = self.position
        self.position += 1
        words: list[Word] = []
        while True:
            self._line_ends()
            if self.char == ")":
                self.position += 1
                return tuple(words)
            word = self.word()
            if word is None:
                raise Fault("this `(` is never closed", self.span(start, start + 1))
            words.append(word)

    def _redirections(self) -> tuple[Redirection, ...]:
        found: list[Redirection] = []
        while True:
            before = self.position
            self.skip_blank()
            redirection = self._redirection()
            if redirection is None:
                if not found:
                    self.position = before
                return tuple(found)
            found.append(redirection)

    def _redirection(self) -> Redirection | None:
        found = self.match(_REDIRECTION)
        if found is None:
            return None
        start = self.position
        self.position = found.end()
        operator = found.group(2)
        if self.match(_BLANK_ONLY):
            self.skip_blank()
        target = self.word()
        if target is None:
            raise Fault(f"nothing follows this `{operator}`", self.span(start, found.end()))
        descriptor = int(found.group(1)[:4]) if found.group(1) else None
        place = self.span(start)
        body = None
        if operator in ("<<", "<<-"):
            quoted = any(not isinstance(part, Literal) or part.quoted for part in target.parts)
            body = self.here_document(target.literal or target.span.text, quoted, operator == "<<-", place)
        return Redirection(operator, target, descriptor, place, body)
