"""A place in the words of a line, and the parts of a rule that are being read from them."""

from __future__ import annotations

from notrack.ruleset.xtables.scope import Meaning
from notrack.ruleset.xtables.tree import Option, Place
from notrack.ruleset.xtables.words import Words
from notrack.text.diagnostic import Severity
from notrack.text.record import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault in one line, at some of its words."""

    severity: Severity
    message: str
    place: Place
    help: str | None = None


class Part:
    """A match or a target while its options are still being read."""

    __slots__ = ("end", "goto", "known", "name", "options", "start")

    def __init__(self, name: str, known: bool, start: int, end: int, goto: bool = False) -> None:
        self.name = name
        self.known = known
        self.start = start
        self.end = end
        self.goto = goto
        self.options: list[Option] = []

    def add(self, option: Option, start: int, end: int) -> None:
        self.options.append(option)
        if start < self.start:
            self.start = start
        if end > self.end:
            self.end = end


class Cursor:
    """Walks over words and gathers problems."""

    __slots__ = ("index", "negated", "problems", "quoted", "texts")

    def __init__(self, words: Words) -> None:
        self.texts = words.texts
        self.quoted = words.quoted
        self.problems: list[Problem] = []
        self.negated = False  # a `!` stands right before `index`
        self.index = 0
        if words.open_quote:
            last = len(self.texts) - 1
            self._warn("this quote never ends", (last, last + 1), 'add a closing `"`')

    def _values(self, meaning: Meaning) -> tuple[str, ...] | None:
        """The values of the option at `index`; moves on to the word after them."""
        index = self.index
        kinds = meaning.form.kinds if meaning.form else ()
        values: tuple[str, ...] = () if meaning.attached is None else (meaning.attached,)
        if len(values) > len(kinds):
            self._error(f"{self.texts[index]} holds a value, but the option takes none", (index, index + 1))
        rest = max(len(kinds) - len(values), 0)
        self.index = index + 1 + rest
        values += tuple(self.texts[index + 1 : self.index])
        if len(values) < len(kinds):
            self.index = len(self.texts)
            message = f"{self.texts[index]} needs {kinds[len(values)].value} after it"
            self._error(message, (index, index + 1))
            return None
        return values

    def _next_is_value(self) -> bool:
        if self.index >= len(self.texts):
            return False
        word = self.texts[self.index]
        return self.index in self.quoted or not (word.startswith("-") or word == "!")

    def _warn(self, message: str, place: Place, help: str | None = None) -> None:
        self.problems.append(Problem(Severity.WARNING, message, place, help))

    def _error(self, message: str, place: Place | None, help: str | None = None) -> None:
        self.problems.append(Problem(Severity.ERROR, message, place or (0, len(self.texts)), help))


def position(option: Option) -> int:
    return option.at[0] if option.at else 0


def owner(parts: list[Part], position: int) -> Part | None:
    before = [part for part in parts if part.start < position]
    unknown = [part for part in parts if not part.known]
    unknown_before = [part for part in unknown if part.start < position]
    if unknown_before:
        return unknown_before[-1]
    return unknown[0] if unknown else before[-1] if before else None
