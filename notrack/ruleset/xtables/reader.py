"""iptables-save output and hand-written restore files to a `Ruleset`, with every fault in one run."""

from __future__ import annotations

import dataclasses
import re
from typing import TypeGuard

from notrack.packets.address import Family
from notrack.ruleset.collection import uncollected
from notrack.ruleset.xtables.backend import told
from notrack.ruleset.xtables.chains import unknown_chains
from notrack.ruleset.xtables.checks import Checks
from notrack.ruleset.xtables.cursor import Problem
from notrack.ruleset.xtables.family import guessed, parts
from notrack.ruleset.xtables.rule_reader import LineReader
from notrack.ruleset.xtables.scope import Scope
from notrack.ruleset.xtables.template import TEMPLATES, Shape, Template, shape, template
from notrack.ruleset.xtables.tree import (
    Broken,
    Chain,
    Command,
    Counters,
    Line,
    Rule,
    Ruleset,
    Table,
    Trivia,
    words_span,
)
from notrack.ruleset.xtables.words import split
from notrack.text.diagnostic import Diagnostic, Severity
from notrack.text.source import Source, Span

BUILTIN = {
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "raw": ("PREROUTING", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}

_BUILTIN = {frozenset(chains): name for name, chains in reversed(BUILTIN.items())}
_CHAIN = re.compile(r":[ \t]*(\S+)[ \t]+(\S+)(?:[ \t]+\[(\d{1,20}):(\d{1,20})\])?$", re.ASCII)
_BLANKS = (" ", "\t")
_COUNTERS = re.compile(r"\[(\d{1,20}):(\d{1,20})\][ \t]*", re.ASCII)
_TOOL = re.compile(
    r"(?:#\s*)?(?:warning\b|ip6?tables[\w-]*:|ip6?tables[\w-]* v?\d|.*iptables-legacy tables)", re.I
)
_SHELL = re.compile(r"(?:sudo\s+)?(?:/\S+/)?ip(?:6|46)?tables(?:-legacy|-nft)?\s+-")


def read(source: Source, family: Family | None = None) -> tuple[Ruleset, tuple[Diagnostic, ...]]:
    """The ruleset in a text, and what is wrong or unknown in it, in the order of the text.

    An ERROR is a line that the loader refuses (kept as `Broken`), a WARNING something that is kept as it is:
    unknown matches, targets and options, a missing COMMIT, old spellings. Without a family the header and
    the addresses decide it; if they do not, or speak of both, the ruleset has none. A text that holds what
    was saved of both families has none either, but each of its tables has one. Never raises.
    """
    with uncollected():
        reader = _Reader(source, family)
        reader.read()
        return reader.ruleset(), tuple(sorted(reader.diagnostics, key=_place))


def _place(diagnostic: Diagnostic) -> int:
    return diagnostic.span.start if diagnostic.span else -1


class _Section:
    """A table while its lines are still being read."""

    __slots__ = ("header", "lines", "name", "policed")

    def __init__(self, name: str, header: Span | None) -> None:
        self.name = name
        self.header = header
        self.lines: list[Line] = []
        self.policed: list[str] = []

    def is_over(self, chain: str) -> bool:
        """Whether the policy of a chain begins the listing of another table: of one that has begun already,
        or behind the rules of one all of whose built-in chains are there."""
        whole = isinstance(self.lines[-1], Rule) and frozenset(self.policed) in _BUILTIN
        return chain in self.policed or whole

    def listed(self) -> str | None:
        """The table whose built-in chains these are; None if that is not told."""
        return _BUILTIN.get(frozenset(self.policed))


class _Reader:
    """Reads a source line by line; one instance, one read."""

    def __init__(self, source: Source, family: Family | None) -> None:
        self.source = source
        self.parts = [] if family is not None else list(parts(source.text))
        self.part: Family | None = None  # of the lines that are read now, where a text holds both
        self.family = family = family or (None if self.parts else guessed(source.text))
        self.diagnostics: list[Diagnostic] = []
        self.sections: list[Table | Trivia | Broken] = []
        self.open: _Section | None = None
        self.scopes: dict[Family | None, Scope] = {}
        self.scope = self._scope(family)
        self.said: set[str] = set()
        self.templates: dict[Shape, Template] = {}
        self.checks = Checks()

    def _scope(self, family: Family | None) -> Scope:
        return self.scopes.setdefault(family, Scope(family))

    def read(self) -> None:
        offset = 0
        for raw in self.source.text.split("\n"):
            line = raw.rstrip(" \t\r")
            start = offset + len(line) - len(line.lstrip(" \t"))
            if self.parts:
                self._begin_part(offset)
            if line or offset < len(self.source.text):
                self._line(line.lstrip(" \t"), start)
                if raw[:1] in _BLANKS or raw[-1:] in _BLANKS:
                    self._blanks(raw, Span(self.source, offset, offset + len(raw)))
                if raw.endswith("\r"):
                    self._carriage_return(Span(self.source, offset + len(raw) - 1, offset + len(raw)))
            offset += len(raw) + 1
        self._closed()
        tables = [section for section in self.sections if isinstance(section, Table)]
        self.diagnostics += unknown_chains(tables, BUILTIN, self.family, self.checks)

    def _closed(self) -> None:
        if self.open is not None and self.open.header is not None:
            self._close(None)
        elif self.open is not None:
            self._end(self.open, True, None)

    def _line(self, line: str, start: int) -> None:
        span = Span(self.source, start, start + len(line))
        first = line[:1]
        if first == "-":
            self._rule(line, span, None, 0)
        elif first == "[":
            self._counted(line, span)
        elif first == ":":
            self._chain(line, span)
        elif not first or first == "#":
            self._trivia(line, span)
        elif first == "*":
            self._table(line, span)
        elif line == "COMMIT":
            self._commit(span)
        else:
            self._other(line, span)

    def _add(self, line: Line) -> None:
        section = self.open
        bare = section is not None and section.header is None
        if section and bare and _sets_policy(line) and section.is_over(line.arguments[0]):
            self._end(section, True, None)
        if self.open is not None:
            self.open.lines.append(line)
        elif isinstance(line, Trivia | Broken):
            self.sections.append(line)
        else:
            self.open = _Section("filter", None)
            self.open.lines.append(line)
        if isinstance(line, Command) and line.name == "-P" and self.open is not None:
            self.open.policed += line.arguments[:1]

    # Lines about rules.

    def _counted(self, line: str, span: Span) -> None:
        found = _COUNTERS.match(line)
        if found is None:
            self._broken(line, span, "counters are written [packets:bytes]")
            return
        self._rule(line[found.end() :], span, (int(found[1]), int(found[2])), found.end())

    def _rule(self, line: str, span: Span, counters: Counters | None, shift: int) -> None:
        place = Span(self.source, span.start + shift, span.end) if shift else span
        words = split(line)
        kind = shape(words)
        known = self.templates.get(kind)
        if known is not None:
            rule = known.filled(words.texts, self.checks, self.scope.family, counters, place)
            if rule is not None:
                self._add(rule)
                return
        reader = LineReader(words, self.scope, self._scope, self.checks)
        result = reader.result(place, counters)
        if kind and isinstance(result, Rule) and not reader.problems and len(self.templates) < TEMPLATES:
            self._keep(kind, result, words.texts, counters)
        for problem in reader.problems:
            self._problem(problem, place)
        self._add(Broken(span.text, span) if result is None else result)

    def _keep(self, kind: Shape, rule: Rule, texts: list[str], counters: Counters | None) -> None:
        bare = dataclasses.replace(rule, counters=None) if counters is not None else rule
        made = template(bare, texts, self.scope.family)
        if made is not None:
            self.templates[kind] = made

    def _problem(self, problem: Problem, line: Span) -> None:
        place = words_span(line, problem.place)
        self.diagnostics.append(Diagnostic(problem.severity, problem.message, place, problem.help))

    # Lines about tables and chains.

    def _chain(self, line: str, span: Span) -> None:
        found = _CHAIN.match(line)
        if found is None:
            self._broken(line, span, "a chain is written `:NAME POLICY [packets:bytes]`")
            return
        name, policy, packets, octets = found.groups()
        if policy not in ("-", "ACCEPT", "DROP", "QUEUE", "RETURN"):
            place = Span(self.source, span.start + found.start(2), span.start + found.end(2))
            self._say(
                Severity.ERROR,
                f"{policy!r} is no policy",
                place,
                "ACCEPT, DROP, or - for a chain of your own",
            )
        counters = (int(packets), int(octets)) if packets else None
        self._add(Chain(name, None if policy == "-" else policy, counters, span))

    def _table(self, line: str, span: Span) -> None:
        if self.open is not None and self.open.header is None:
            self._end(self.open, True, None)
        elif self.open is not None:
            self._close(span)
        name = line[1:].strip()
        if name not in BUILTIN:
            near = self.checks.suggestion(name, BUILTIN)
            self._say(
                Severity.ERROR, f"no table {name!r}", span, f"did you mean {near[0]}?" if near else None
            )
        self.open = _Section(name, span)

    def _commit(self, span: Span) -> None:
        if self.open is None:
            self._broken("COMMIT", span, "COMMIT without a table")
            return
        self._end(self.open, True, span)

    def _close(self, place: Span | None) -> None:
        """Ends a table that has no COMMIT."""
        section = self.open
        assert section is not None
        self._say(
            Severity.WARNING,
            f"the table {section.name} has no COMMIT",
            section.header or place,
            "iptables-restore loads nothing of it; end it with COMMIT",
        )
        self._end(section, False, None)

    def _end(self, section: _Section, committed: bool, footer: Span | None) -> None:
        if section.header is None:
            self._bare(section)
        lines = tuple(section.lines)
        self.sections.append(Table(section.name, lines, committed, section.header, footer, self.part))
        self.open = None

    def _bare(self, section: _Section) -> None:
        """Names the table of lines that stand in none."""
        first = next((line.span for line in section.lines if not isinstance(line, Trivia)), None)
        listed = section.listed()
        if listed is not None:
            section.name = listed
            message = f"read as what `iptables -S` prints of the table {listed}"
            self.diagnostics.append(Diagnostic(Severity.INFO, message, first))
            return
        if section.policed and "FORWARD" not in section.policed:
            section.name = "nat" if "POSTROUTING" in section.policed else section.name
        self._once("this line stands in no table", first, f"it is read as part of the table {section.name}")

    # Everything else.

    def _trivia(self, line: str, span: Span) -> None:
        self._add(Trivia(line, span))

    def _begin_part(self, offset: int) -> None:
        """From here on the rules are those of another family, if that begins here."""
        while self.parts and self.parts[0][0] <= offset:
            if self.open is not None:
                self._closed()
            self.part = self.parts.pop(0)[1]
            self.scope = self._scope(self.part)
            self.templates.clear()

    def _other(self, line: str, span: Span) -> None:
        if _SHELL.match(line):
            self._broken(line, span, "this is a shell command", "in a restore file the line begins with -A")
        elif _TOOL.match(line):
            self._say(
                Severity.WARNING, "a tool's message stands in the text", span, "iptables-restore refuses it"
            )
            self._trivia(line, span)
        elif re.match(r"COMMIT\s", line):
            self._broken(line, span, "nothing may follow COMMIT")
        else:
            self._broken(line, span, "this is neither a rule nor a chain nor a table")

    def _broken(self, line: str, span: Span, message: str, help: str | None = None) -> None:
        self._say(Severity.ERROR, message, span, help)
        self._add(Broken(line, span))

    def _say(self, severity: Severity, message: str, span: Span | None, help: str | None = None) -> None:
        self.diagnostics.append(Diagnostic(severity, message, span, help))

    def _once(self, message: str, span: Span | None, help: str) -> None:
        if message not in self.said:
            self.said.add(message)
            self._say(Severity.WARNING, message, span, help)

    def _blanks(self, raw: str, span: Span) -> None:
        """Blanks around a line: the loader steps over those before a rule, and behind all but COMMIT."""
        line = raw.strip(" \t\r")
        before = raw[:1] in _BLANKS and line[:1] != "-"
        if before or (line == "COMMIT" and raw[-1:] in _BLANKS):
            what = "before" if before else "behind"
            self._once(f"blanks stand {what} this line", span, "iptables-restore refuses it")

    def _carriage_return(self, span: Span) -> None:
        self._once(
            "the line ends with a carriage return", span, "iptables-restore takes it for part of a word"
        )

    def ruleset(self) -> Ruleset:
        return Ruleset(self.family, tuple(self.sections), self.source, told(self.source.text))


def _sets_policy(line: Line) -> TypeGuard[Command]:
    return isinstance(line, Command) and line.name == "-P" and bool(line.arguments)
