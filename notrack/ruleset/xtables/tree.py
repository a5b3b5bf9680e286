"""The syntax tree of iptables-save text: what stands in it, in its order, with the place of every part.

A tree that was read keeps its text: each line holds the span of its source, and each part of a rule knows
its words (`Rule.span_of`). Places never count when trees are compared. A tree built by hand has
none. A part that is changed must lose the span of its line, or the writer would print the old text: use
`Rule.changed`.

Names are kept as iptables-save spells them: `-s`, `-p`, `--dport`, `--ctstate`; whatever the catalogue does
not know keeps the spelling of the text. Values are the words of the text, unquoted and uninterpreted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import field
from typing import Any

from notrack.packets.address import Family
from notrack.ruleset.xtables.backend import Backend
from notrack.ruleset.xtables.words import places
from notrack.text.record import dataclass
from notrack.text.source import Source, Span

Place = tuple[int, int]  # from, up to: words of the rule's line, counted from 0; `Rule.span_of` finds them
Counters = tuple[int, int]  # packets, bytes


def words_span(line: Span, place: Place) -> Span:
    """The span of some words of a line; the whole line if it has no such words."""
    found = places(line.text)[place[0] : place[1]]
    if not found:
        return line
    return Span(line.source, line.start + found[0][0], line.start + found[-1][1])


@dataclass(frozen=True, slots=True)
class Option:
    """One option with its values: `! --dport 80` is `Option("--dport", ("80",), negated=True)`."""

    name: str
    values: tuple[str, ...] = ()
    negated: bool = False
    at: Place | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Match:
    """`-m name` and the options that belong to it. `-p tcp --dport 80` holds a match `tcp` as well."""

    name: str
    options: tuple[Option, ...] = ()
    at: Place | None = field(default=None, compare=False, repr=False)

    def option(self, name: str) -> Option | None:
        return next((option for option in self.options if option.name == name), None)


@dataclass(frozen=True, slots=True)
class Target:
    """`-j name` or, with `goto`, `-g name`: a verdict, a chain or an extension, with its options."""

    name: str
    options: tuple[Option, ...] = ()
    goto: bool = False
    at: Place | None = field(default=None, compare=False, repr=False)

    def option(self, name: str) -> Option | None:
        return next((option for option in self.options if option.name == name), None)


@dataclass(frozen=True, slots=True)
class Rule:
    """A line about a rule: -A, -I, -D, -R or -C. `number` is the place given to -I, -D and -R.

    `options` are those of every rule, in the order -s -d -i -o -p -f; `family` is set by a leading -4 or -6,
    `table` by a `-t` inside the line, both else None.
    """

    chain: str
    options: tuple[Option, ...] = ()
    matches: tuple[Match, ...] = ()
    target: Target | None = None
    command: str = "-A"
    number: int | None = None
    counters: Counters | None = None
    family: Family | None = None
    table: str | None = None
    span: Span | None = field(default=None, compare=False, repr=False)

    def option(self, name: str) -> Option | None:
        """A base option by its short name: `-s`, `-d`, `-i`, `-o`, `-p`, `-f`."""
        return next((option for option in self.options if option.name == name), None)

    def match(self, name: str) -> Match | None:
        """The first match of that name."""
        return next((match for match in self.matches if match.name == name), None)

    @property
    def comment(self) -> str | None:
        """The text of the first comment match."""
        match = self.match("comment")
        option = match.option("--comment") if match else None
        return option.values[0] if option and option.values else None

    def span_of(self, part: Option | Match | Target) -> Span | None:
        """Where a part of this rule stands in the source; the whole rule if the part has no place."""
        if self.span is None or part.at is None:
            return self.span
        return words_span(self.span, part.at)

    def changed(self, **fields: Any) -> Rule:
        """A copy with other fields and without a span, so that the writer prints it anew."""
        return dataclasses.replace(self, span=None, **fields)


@dataclass(frozen=True, slots=True)
class Chain:
    """`:name policy [packets:bytes]`; the policy of a user-defined chain is None (written `-`)."""

    name: str
    policy: str | None = None
    counters: Counters | None = (0, 0)
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Command:
    """A line about a chain: -N, -P, -F, -X, -E or -Z; `arguments` are its words, the chain's name first."""

    name: str
    arguments: tuple[str, ...] = ()
    family: Family | None = None
    table: str | None = None
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Trivia:
    """A comment line, an empty line, a warning of the tool that saved the rules: text without effect."""

    text: str = ""
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Broken:
    """A line that could not be read; the diagnostics say why. It is kept and never dropped."""

    text: str
    span: Span | None = field(default=None, compare=False, repr=False)


Line = Chain | Rule | Command | Trivia | Broken


@dataclass(frozen=True, slots=True)
class Table:
    """One section from `*name` to `COMMIT`. A file may hold several sections of one name.

    `committed` is False where COMMIT is missing: the loader then changes nothing. `header` and `footer` are
    the places of the two lines; a listing of `iptables -S` has neither, and its table is the one that has
    these built-in chains. `family` is set where a text holds the rules of both.
    """

    name: str
    lines: tuple[Line, ...] = ()
    committed: bool = True
    header: Span | None = field(default=None, compare=False, repr=False)
    footer: Span | None = field(default=None, compare=False, repr=False)
    family: Family | None = None

    @staticmethod
    def of(name: str, chains: tuple[Chain, ...], rules: tuple[Rule, ...]) -> Table:
        """A table in the order of iptables-save: first the chains, then the rules."""
        return Table(name, chains + rules)

    @property
    def chains(self) -> tuple[Chain, ...]:
        return tuple(line for line in self.lines if isinstance(line, Chain))

    @property
    def rules(self) -> tuple[Rule, ...]:
        return tuple(line for line in self.lines if isinstance(line, Rule))

    @property
    def commands(self) -> tuple[Rule | Command, ...]:
        """Everything that acts, in the order in which it acts."""
        return tuple(line for line in self.lines if isinstance(line, Rule | Command))


@dataclass(frozen=True, slots=True)
class Ruleset:
    """A whole file. `family` and `backend` are None where they are not known; `sections` holds tables and
    what is between."""

    family: Family | None = None
    sections: tuple[Table | Trivia | Broken, ...] = ()
    source: Source | None = field(default=None, compare=False, repr=False)
    backend: Backend | None = field(default=None, compare=False)

    @property
    def tables(self) -> tuple[Table, ...]:
        return tuple(section for section in self.sections if isinstance(section, Table))

    def table(self, name: str) -> Table | None:
        """The first section of that name."""
        return next((table for table in self.tables if table.name == name), None)

    def rules(self) -> Iterator[tuple[Table, Rule]]:
        for table in self.tables:
            for line in table.lines:
                if isinstance(line, Rule):
                    yield table, line

    def map_rules(self, change: Callable[[Table, Rule], Rule]) -> Ruleset:
        """The same ruleset with every rule passed through `change`."""

        def line_of(table: Table, line: Line) -> Line:
            return change(table, line) if isinstance(line, Rule) else line

        sections = tuple(
            dataclasses.replace(section, lines=tuple(line_of(section, line) for line in section.lines))
            if isinstance(section, Table)
            else section
            for section in self.sections
        )
        return dataclasses.replace(self, sections=sections)
