"""Scripts to trees, by recursive descent. Every fault is recorded; reading goes on with the next line."""

from __future__ import annotations

import re
from typing import Final

from notrack.ruleset.shell.compound_parser import COMPOUND, CompoundParser
from notrack.ruleset.shell.cursor import Fault
from notrack.ruleset.shell.tree import AndOr, Command, Joint, Pipeline, Sequence
from notrack.text.diagnostic import Diagnostic
from notrack.text.source import Source

_CLOSERS: Final = frozenset(("then", "elif", "else", "fi", "do", "done", "esac", "}"))
_FUNCTION: Final = re.compile(r"([A-Za-z_][\w.+-]*)[ \t]*\([ \t]*\)")


def parse(source: Source) -> tuple[Sequence, tuple[Diagnostic, ...]]:
    """The commands of a script and every syntax fault, in the order in which they were found. Never raises.

    What could not be read is kept as `Opaque`, up to the end of its line.
    """
    parser = Parser(source)
    items: list[AndOr] = []
    while True:
        items.extend(parser.sequence().items)
        if parser.position >= parser.end:
            return Sequence(tuple(items)), tuple(parser.diagnostics)
        items.append(parser.stray())


class Parser(CompoundParser):
    """One instance, one source (or a stretch of it)."""

    def sequence(self) -> Sequence:
        """Commands up to a word or symbol that closes something, which is left in place."""
        items: list[AndOr] = []
        while True:
            self.separators()
            if self.position >= self.end or self.char == ")" or self.at(";;") or self.at(";&"):
                return Sequence(tuple(items))
            if self.keyword() in _CLOSERS:
                return Sequence(tuple(items))
            items.append(self._recovering())

    def inner_sequence(self, start: int, end: int) -> Sequence | None:
        inner = Parser(self.source, start, end, self.depth + 1)
        try:
            inner.enter()
            inner.substitutions = 1
            body = inner.sequence()
        except Fault:
            return None
        return body if inner.position >= end else None

    def stray(self) -> AndOr:
        """A closing word or symbol that closes nothing."""
        start = self.position
        closer = self.keyword() or (";;" if self.at(";;") else self.char)
        fault = Fault(f"`{closer}` closes nothing", self.here(len(closer)))
        self.diagnostics.append(fault.diagnostic)
        self.position += max(1, len(closer))
        return self._opaque(start)

    def _recovering(self) -> AndOr:
        start = self.position
        depth = self.depth
        try:
            return self._and_or()
        except Fault as fault:
            if self.substitutions:
                raise
            self.depth = depth
            self.diagnostics.append(fault.diagnostic)
            self.position = max(start, min(fault.span.start, self.end))
            while self.position < self.end and self.char != "\n":
                self.position += 1
            return self._opaque(start)

    def _and_or(self) -> AndOr:
        start = self.position
        first = self._pipeline()
        rest: list[tuple[Joint, Pipeline]] = []
        while True:
            stop = self.position
            self.skip_blank()
            joint = Joint.AND if self.at("&&") else Joint.OR if self.at("||") else None
            if joint is None:
                break
            place = self.here(2)
            self.position += 2
            self._line_ends()
            if self.position >= self.end:
                raise Fault(f"nothing follows this `{joint.value}`", place)
            rest.append((joint, self._pipeline()))
        span = self.span(start, stop)
        background = self.char == "&"
        if background:
            self.position += 1
        self._separated(background)
        return AndOr(first, span, tuple(rest), background)

    def _separated(self, background: bool) -> None:
        """A list of commands ends with its line, `;`, `&` or what closes the whole."""
        self.skip_blank()
        if self.position >= self.end or self.char in "\n)" or self.at(";"):
            return
        if not background or self.char in "&|":
            found = self.keyword()[:40] or self.char
            raise Fault(f"`{found}` cannot stand here", self.here(len(found)))

    def _pipeline(self) -> Pipeline:
        start = self.position
        negated = False
        while self.keyword() == "!":
            self.position += 1
            negated = not negated
            self.skip_blank()
        commands = [self._command()]
        while True:
            stop = self.position
            self.skip_blank()
            if self.char != "|" or self.at("||"):
                self.position = stop
                return Pipeline(tuple(commands), self.span(start), negated)
            self.position += 2 if self.at("|&") else 1
            self._line_ends()
            commands.append(self._command())

    def _command(self) -> Command:
        start = self.position
        word = self.keyword()
        reader = COMPOUND.get(word)
        if reader is None and self.char != "(":
            if word in _CLOSERS:
                raise Fault(f"`{word}` cannot stand here", self.here(len(word)))
            function = self.match(_FUNCTION)
            if function is not None:
                self.position = function.end()
                return self._function(start, function.group(1))
            return self._simple()
        self.enter()
        try:
            return self._subshell(start) if reader is None else reader(self, start)
        finally:
            self.depth -= 1
