"""The words of an iptables rule in its text: in a restore file and behind a command of a shell script."""

from __future__ import annotations

import enum
import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from notrack.packets.address import Family
from notrack.ruleset.xtables import tree as x
from notrack.ruleset.xtables.catalogue import Kind
from notrack.ruleset.xtables.checks import Checks
from notrack.ruleset.xtables.rule_reader import LineReader
from notrack.ruleset.xtables.scope import Scope
from notrack.ruleset.xtables.words import Words, places, split
from notrack.text.record import dataclass
from notrack.text.source import Source, Span

if TYPE_CHECKING:
    from notrack.ruleset.shell.tree import Simple

_IPTABLES = re.compile(r"(?:ip6?|ip46)tables?(?:-(?:legacy|nft))?", re.ASCII)
_PROTOCOL = ("-p", "--protocol")
_TRIED = ("udp", "tcp")  # what `-p $proto` is taken for, so that its ports are known as ports


class Flavour(enum.Enum):
    """How a text is cut into words."""

    RESTORE = "a line for iptables-restore"
    SHELL = "a command of a shell script"


@dataclass(frozen=True, slots=True)
class Argument:
    """One word: where it stands in the text, how it is written there, and what it says (with `$` where only
    the script knows)."""

    start: int
    end: int
    raw: str
    value: str
    known: bool = True

    @property
    def plain(self) -> bool:
        """Whether it is written just as it says, without quotes and variables."""
        return self.known and self.raw == self.value


@dataclass(frozen=True, slots=True)
class Arguments:
    """The words of a rule behind the name of the command, and the rule that they make. Places in the rule
    (`Option.at`) count these words."""

    words: tuple[Argument, ...]
    rule: x.Rule
    command: int  # where the words begin; in a script the command's name ends before


@lru_cache(maxsize=256)
def arguments(text: str, flavour: Flavour, family: Family | None) -> Arguments | None:
    """The arguments of a text that holds one rule; None where they make no rule for certain."""
    if flavour is Flavour.RESTORE:
        return _read(_line_words(text), family)
    words = _shell_words(text)
    if words is None:
        return None
    for first in _commands(words):
        found = _read(words[first:], family)
        if found is not None:
            return found
    return None


def words_of(text: str, flavour: Flavour) -> tuple[Argument, ...]:
    """The words of a line behind its counters, or of a command behind its name, whatever they make; none
    where there is no such command."""
    if flavour is Flavour.RESTORE:
        words = _line_words(text)
        return words[1:] if words and words[0].value.startswith("[") else words
    found = _shell_words(text) or ()
    first = next(iter(_commands(found)), None)
    return found[first:] if first is not None else ()


def _line_words(line: str) -> tuple[Argument, ...]:
    cut = split(line)
    return tuple(
        Argument(start, end, line[start:end], value)
        for (start, end), value in zip(places(line), cut.texts, strict=True)
    )


def _shell_words(text: str) -> tuple[Argument, ...] | None:
    command = simple_command(text)
    if command is None:
        return None
    made: list[Argument] = []
    for word in command.words:
        raw = word.span.text
        literal = word.literal
        value = raw.replace('"', "") if literal is None else literal
        made.append(Argument(word.span.start, word.span.end, raw, value, literal is not None))
    return tuple(made)


def simple_command(text: str) -> Simple | None:
    """The one simple command that a text holds."""
    from notrack.ruleset.shell.parser import parse
    from notrack.ruleset.shell.tree import Simple

    sequence, faults = parse(Source("", text))
    if faults or len(sequence.items) != 1 or sequence.items[0].rest:
        return None
    commands = sequence.items[0].first.commands
    return commands[0] if len(commands) == 1 and isinstance(commands[0], Simple) else None


def _commands(words: tuple[Argument, ...]) -> list[int]:
    """Where arguments may begin: behind a word that names iptables, or behind any before an option."""
    named = [at + 1 for at, word in enumerate(words) if _IPTABLES.fullmatch(word.value.rpartition("/")[2])]
    others = [at for at, word in enumerate(words) if at and word.value.startswith("-")]
    return [*named, *others]


def _read(words: tuple[Argument, ...], family: Family | None) -> Arguments | None:
    values = [word.value for word in words]
    for protocol in _TRIED:
        shown = [
            protocol if before in _PROTOCOL and "$" in value else value
            for before, value in zip(["", *values], values, strict=False)
        ]
        reader = LineReader(Words(shown), scope(family), scope, lenient())
        span = Span(Source("", ""), 0, 0)
        rule = reader.result(span)
        if isinstance(rule, x.Rule):
            return Arguments(words, rule, words[0].start if words else 0)
        if shown == values:
            break
    return None


@cache
def scope(family: Family | None) -> Scope:
    """The beginning of a rule. Kept, since it remembers what options mean."""
    return Scope(family)


@cache
def lenient() -> Lenient:
    """The checks that let pass what only a script knows. Kept, since they remember values."""
    return Lenient()


class Lenient(Checks):
    """Has nothing to say against a value that only the script knows."""

    __slots__ = ()

    def complaint(self, kind: Kind, value: str, family: Family | None) -> str | None:
        return None if "$" in value or "`" in value else super().complaint(kind, value, family)
