"""The arguments of one iptables command to a rule or a command of the xtables tree.

What is not known in them is kept in the rule as a match `shell`, which no packet decides: the rule may match
or not. The rest of the rule stays exact.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Final

from notrack.packets.address import Family
from notrack.ruleset.shell.derived import Derived, Field, Piece, derived, relocated
from notrack.ruleset.shell.typography import faults, repaired
from notrack.ruleset.xtables.catalogue import Kind
from notrack.ruleset.xtables.checks import Checks
from notrack.ruleset.xtables.cursor import Problem
from notrack.ruleset.xtables.rule_reader import LineReader
from notrack.ruleset.xtables.scope import Scope
from notrack.ruleset.xtables.tree import Broken, Command, Match, Option, Rule, Target, words_span
from notrack.ruleset.xtables.words import Words, bare, quoted
from notrack.text.diagnostic import Diagnostic, Severity
from notrack.text.record import dataclass
from notrack.text.source import Span

MARK: Final = "shell"  # the match that stands for what only a running script knows
_PROSE: Final = frozenset(
    ("--comment", "--log-prefix", "--string", "--hex-string", "--nflog-prefix", "--ulog-prefix")
)
_FLAGS: Final = "nvxfh46"
_LOCK: Final = re.compile(r"-[wW]\d*|--wait(?:-interval)?(?:=\d+)?", re.ASCII)
_RULE_COMMANDS: Final = {
    **dict.fromkeys(("-A", "--append"), "-A"),
    **dict.fromkeys(("-I", "--insert"), "-I"),
    **dict.fromkeys(("-D", "--delete"), "-D"),
    **dict.fromkeys(("-R", "--replace"), "-R"),
    **dict.fromkeys(("-C", "--check"), "-C"),
}


@dataclass(frozen=True, slots=True)
class Arguments:
    """What the arguments say. `line` None: not even which rule or chain they are about."""

    table: str | None
    line: Rule | Command | Broken | None
    meant: Rule | Command | None = None
    diagnostics: tuple[Diagnostic, ...] = ()


class _Lenient(Checks):
    """Has nothing to say against a value that is not known."""

    __slots__ = ()

    def complaint(self, kind: Kind, value: str, family: Family | None) -> str | None:
        return None if "$" in value else super().complaint(kind, value, family)


class ArgumentReader:
    """Reads arguments; one instance for one script, which remembers what options mean."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.scopes: dict[Family, Scope] = {}
        self.checks = _Lenient()

    def read(self, fields: list[Field], family: Family) -> Arguments:
        """The arguments of iptables (behind its name) or of ip6tables. Never raises."""
        table, rest = _without_table(_unbundled(fields))
        if table is not None and table.literal is None:
            return Arguments(None, None)
        name = table.text if table is not None else "filter"
        wrong = tuple(faults(fields))
        line, problems = self._line(rest, family)
        mended = repaired(fields) if wrong else None
        meant: Rule | Command | None = None
        if mended is not None:
            meant_table, meant_rest = _without_table(_unbundled(mended))
            found, _ = self._line(meant_rest, family)
            meant = None if isinstance(found, Broken) else found
            name = meant_table.text if meant_table is not None and isinstance(line, Broken) else name
        if wrong and isinstance(line, Broken):
            problems = ()
        return Arguments(name, line, meant, wrong + problems)

    def line(self, pieces: list[Field], family: Family) -> Rule | Command | Broken | None:
        """The same without diagnostics, for a line of a restore text."""
        return self._line(pieces, family)[0]

    def scope(self, family: Family) -> Scope:
        return self.scopes.setdefault(family, Scope(family))

    def _line(
        self, fields: list[Field], family: Family
    ) -> tuple[Rule | Command | Broken | None, tuple[Diagnostic, ...]]:
        kept, veiled = fields, list[Field]()
        while True:
            source = _source(self.name, kept)
            words = Words([field.text for field in kept])
            reader = LineReader(words, self.scope(family), self.scope, self.checks)
            result = reader.result(Span(source, 0, len(source.text)))
            if result is not None and not _places_unknown(reader.problems, kept):
                break
            open_words = _places_unknown(reader.problems, kept)
            if not open_words:
                break
            veiled += [kept[index] for index in open_words]
            kept = [field for index, field in enumerate(kept) if index not in open_words]
        problems = _diagnostics(reader.problems, source)
        if result is None:
            if all(field.known for field in fields):
                whole = Span(source, 0, len(source.text))
                return Broken(source.text, whole), problems
            return _outline(fields, _source(self.name, fields)), ()
        if isinstance(result, Command):
            known = all(field.known for field in fields)
            return (result, problems) if known else (None, ())
        return _veiled(result, kept, veiled), problems


def veil(places: list[Piece]) -> tuple[str, ...]:
    """Words that name what is not known: equal only for what has the same text and the same origin."""
    return tuple(f"{piece.text}@{piece.place.line}:{piece.place.column}" for piece in places)


def marked(rule: Rule, options: tuple[Option, ...]) -> Rule:
    """The rule with more that only the script knows: a match for each, so that each is a fact of its own."""
    marks = tuple(Match(MARK, (option,)) for option in options)
    return dataclasses.replace(rule, matches=rule.matches + marks)


def veiled(rule: Rule) -> Rule | None:
    """A rule of derived text with what is not known moved into the match `shell`; None: in which chain?"""
    source = rule.span.source if rule.span is not None else None
    if rule.span is None or not isinstance(source, Derived) or not source.unknown_in(rule.span):
        return rule
    if "$" in rule.chain:
        return None
    moved: list[Option] = []

    def sorted_out(options: tuple[Option, ...]) -> tuple[Option, ...]:
        kept: list[Option] = []
        for option in options:
            span = rule.span_of(option)
            unknown = source.unknown_in(span) if span is not None else []
            if unknown and any("$" in value for value in option.values):
                words = tuple(
                    f"{value}#{name}" for value, name in zip(option.values, _names(unknown), strict=False)
                )
                moved.append(Option(option.name, words or option.values, option.negated, option.at))
            else:
                kept.append(option)
        return tuple(kept)

    base = sorted_out(rule.options)
    matches = tuple(dataclasses.replace(match, options=sorted_out(match.options)) for match in rule.matches)
    target = rule.target
    if target is not None:
        before = len(moved)
        sorted_out(target.options)
        if len(moved) > before:
            del moved[before:]
            target = Target(f"${target.name}", target.options, target.goto, target.at)
    made = dataclasses.replace(rule, options=base, matches=matches, target=target)
    return marked(made, tuple(moved)) if moved else made


def _names(pieces: list[Piece]) -> list[str]:
    return [name.rpartition("@")[2] for name in veil(pieces)] * 8


def _veiled(rule: Rule, kept: list[Field], hidden: list[Field]) -> Rule | None:
    made = veiled(rule)
    if made is None or not hidden:
        return made
    pieces = [piece for field in hidden for piece in field.pieces if not piece.known]
    return marked(made, (Option("--words", veil(pieces)),))


def _outline(fields: list[Field], source: Derived) -> Rule | None:
    """Command, chain and target of a rule of which no more is certain."""
    command = chain = target = None
    for field, following in zip(fields, [*fields[1:], None], strict=True):
        value = following.literal if following is not None else None
        if field.literal in _RULE_COMMANDS and command is None and value is not None:
            command, chain = _RULE_COMMANDS[field.text], value
        elif field.literal in ("-j", "--jump", "-g", "--goto") and following is not None:
            target = Target(following.text, (), field.text in ("-g", "--goto"))
    if command is None or chain is None:
        return None
    words = Option("--words", tuple(field.text for field in fields))
    span = Span(source, 0, len(source.text))
    pieces = [piece for field in fields for piece in field.pieces if not piece.known]
    rule = Rule(chain, (), (), target, command, span=span)
    return marked(rule, (words, Option("--from", veil(pieces))))


def _unbundled(fields: list[Field]) -> list[Field]:
    """`-nL` as `-n -L`: flags without values may share a dash."""
    made: list[Field] = []
    for before, field in zip([None, *fields[:-1]], fields, strict=True):
        rest = field
        if before is None or before.text not in _PROSE:
            while len(rest.text) > 2 and rest.text[0] == "-" and rest.text[1] in _FLAGS:
                made.append(rest.part(0, 2))
                rest = Field(
                    (Piece("-", rest.part(0, 1).pieces[0].use), *rest.part(2, 1 << 30).pieces), rest.span
                )
        made.append(rest)
    return made


def _without_table(fields: list[Field]) -> tuple[Field | None, list[Field]]:
    """The value of `-t`, and the other words but for those about the lock: `-w 5`, `-W 100`."""
    table: Field | None = None
    rest: list[Field] = []
    index = 0
    while index < len(fields):
        field, index = fields[index], index + 1
        following = fields[index] if index < len(fields) else None
        text = field.text
        if index > 1 and fields[index - 2].text in _PROSE:
            rest.append(field)
        elif text in ("-t", "--table") and following is not None:
            table, index = following, index + 1
        elif text.startswith("--table=") or (text.startswith("-t") and len(text) > 2):
            table = field.part(8 if text[1] == "-" else 2, 1 << 30)
        elif _LOCK.fullmatch(text):
            index += following is not None and text[-1].isalpha() and following.text.isdecimal()
        else:
            rest.append(field)
    return table, rest


def _source(name: str, fields: list[Field]) -> Derived:
    """The words as one line that iptables-restore would cut into the same words."""
    pieces: list[Piece] = []
    for field in fields:
        if pieces:
            pieces.append(Piece(" ", field.span))
        text = field.text
        if bare(text) == text:
            pieces.extend(field.pieces)
        elif quoted(text) == f'"{text}"':
            pieces += [Piece('"', field.span), *field.pieces, Piece('"', field.span)]
        else:
            pieces.append(Piece(quoted(text), field.span))
    return derived(name, pieces)


def _places_unknown(problems: list[Problem], fields: list[Field]) -> list[int]:
    """The unknown words at which an error stands."""
    found: set[int] = set()
    for problem in problems:
        if problem.severity is Severity.ERROR and problem.place[1] - problem.place[0] <= 2:
            found.update(i for i in range(*problem.place) if i < len(fields) and not fields[i].known)
    return sorted(found)


def _diagnostics(problems: list[Problem], source: Derived) -> tuple[Diagnostic, ...]:
    line = Span(source, 0, len(source.text))
    return tuple(
        relocated(
            Diagnostic(problem.severity, problem.message, words_span(line, problem.place), problem.help)
        )
        for problem in problems
    )
