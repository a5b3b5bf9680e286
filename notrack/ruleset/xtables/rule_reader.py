"""One line of arguments to a rule or a command about a chain.

The reader does what iptables does with its arguments, word by word: `-m`, `-j` and `-p` change what the
words after them mean (`scope`). It differs in three places, for the sake of rules that people keep: it takes
the old negation `-s ! x`, a `-t` inside the line, and options that nothing known explains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from notrack.packets.address import Family
from notrack.ruleset.xtables.build import ORDER
from notrack.ruleset.xtables.catalogue import VERDICTS, Kind
from notrack.ruleset.xtables.scope import Meaning, Role, Scope
from notrack.ruleset.xtables.tree import Command, Counters, Match, Option, Place, Rule, Target
from notrack.ruleset.xtables.values import complaint
from notrack.ruleset.xtables.words import split
from notrack.text.diagnostic import Severity
from notrack.text.source import Span

_RULE_COMMANDS: Final = frozenset(("-A", "-I", "-D", "-R", "-C"))
_NUMBERED: Final = frozenset(("-I", "-D", "-R"))
_MANY_WORDS: Final = frozenset(("-P", "-E", "-F", "-X", "-Z", "-L", "-S"))
_REPEATABLE: Final = frozenset(("policy", "rateest", "HMARK"))
_DASHES: Final = ("\u2013", "\u2014", "\u2212", "\u2010", "\u2011")


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault in one line; `place` is counted from the start of the line."""

    severity: Severity
    message: str
    place: Place
    help: str | None = None


@dataclass(slots=True, eq=False)
class _Part:
    """A match or a target while its options are still being read."""

    name: str
    known: bool
    start: int
    end: int
    options: list[Option]
    goto: bool = False


class LineReader:
    """Reads one line. `result` is None where the line holds an error; `problems` says what is wrong."""

    __slots__ = (
        "base",
        "command",
        "counters",
        "ends",
        "family",
        "index",
        "line",
        "matches",
        "negated",
        "problems",
        "quoted",
        "scope",
        "starts",
        "table",
        "target",
        "texts",
    )

    def __init__(self, line: str, scope: Scope, scopes: Callable[[Family], Scope]) -> None:
        self.line = line
        self.scope = scope
        self.problems: list[Problem] = []
        self.base: list[Option] = []
        self.matches: list[_Part] = []
        self.target: _Part | None = None
        self.command: tuple[str, tuple[str, ...], int | None] | None = None
        self.counters: Counters | None = None
        self.family: Family | None = None
        self.table: str | None = None
        self.negated: int | None = None  # where the `!` stands that waits for its option
        self._cut(line)
        self._walk(scopes)

    def _cut(self, line: str) -> None:
        words = split(line)
        self.texts, self.starts, self.ends, self.quoted = words.texts, words.starts, words.ends, words.quoted
        if words.open_quote is not None:
            self._warn("this quote never ends", (words.open_quote, len(line)), 'add a closing `"`')

    def _walk(self, scopes: Callable[[Family], Scope]) -> None:
        self.index = 0
        count = len(self.texts)
        while self.index < count:
            word = self.texts[self.index]
            meaning = self.scope.meanings.get(word) or self.scope.meaning(word)
            role = meaning.role
            if role is Role.MATCH_OPTION or role is Role.TARGET_OPTION:
                self._extension_option(meaning)
            elif role is Role.BASE:
                self._base_option(meaning)
            elif role is Role.MATCH:
                self._match(meaning)
            elif role is Role.JUMP or role is Role.GOTO:
                self._jump(meaning)
            elif role is Role.COMMAND:
                self._command(meaning)
            elif role is Role.FAMILY:
                self._family(meaning, scopes)
            else:
                self._rare(meaning)
        if self.negated is not None:
            self._error("nothing follows this `!`", (self.negated, self.negated + 1))

    # Words that every rule has.

    def _base_option(self, meaning: Meaning) -> None:
        option = self._option(meaning)
        if option is None:
            return
        if any(other.name == option.name for other in self.base):
            self._error(f"{option.name} is given twice", option.at)
            return
        self.base.append(option)
        if option.name == "-p":
            self.scope = self.scope.after_protocol(option.values[0])

    def _match(self, meaning: Meaning) -> None:
        start = self.starts[self.index]
        self._refuse_negation(f"{self.texts[self.index]} cannot be negated")
        values = self._values(meaning)
        if values is None:
            return
        self._load(values[0], start, self.ends[self.index - 1])

    def _load(self, name: str, start: int, end: int) -> None:
        self.scope = self.scope.after_match(name)
        found = self.scope.matches[-1]
        self.matches.append(_Part(found.name if found else name, found is not None, start, end, []))
        if found is None:
            self._warn(f"unknown match {name!r}", (start, end), "its rule is treated as one that may match")

    def _jump(self, meaning: Meaning) -> None:
        start = self.starts[self.index]
        goto = meaning.role is Role.GOTO
        self._refuse_negation(f"{self.texts[self.index]} cannot be negated")
        values = self._values(meaning)
        if values is None:
            return
        place = (start, self.ends[self.index - 1])
        if self.target is not None:
            self._error("a rule has one target; this is the second", place)
            return
        if not goto:
            self.scope = self.scope.after_target(values[0])
        known = self.scope.target is not None or values[0] in VERDICTS
        self.target = _Part(values[0], known, *place, [], goto)

    def _command(self, meaning: Meaning) -> None:
        start = self.starts[self.index]
        self._refuse_negation("a command cannot be negated")
        name = meaning.form.name if meaning.form else ""
        values = self._values(meaning)
        if values is None:
            return
        if self.command is not None:
            self._error("a line has one command; this is the second", (start, self.ends[self.index - 1]))
            return
        number = None
        if name in _NUMBERED and self._next_is_value() and self.texts[self.index].isdecimal():
            number = int(self.texts[self.index][:9])
            self.index += 1
        elif name in _MANY_WORDS:
            while self._next_is_value():
                values = (*values, self.texts[self.index])
                self.index += 1
        self.command = (name, values, number)

    def _family(self, meaning: Meaning, scopes: Callable[[Family], Scope]) -> None:
        self.index += 1
        self.family = Family.IPV4 if meaning.form and meaning.form.name == "-4" else Family.IPV6
        if not self.matches and self.target is None and not self.base:
            self.scope = scopes(self.family)

    # Options of matches and targets.

    def _extension_option(self, meaning: Meaning) -> None:
        first = self.index if self.negated is None else self.index - 1
        if meaning.implied is not None:
            self._load(meaning.implied.name, self.starts[first], self.starts[first])
        option = self._option(meaning)
        part = self.target if meaning.role is Role.TARGET_OPTION else self.matches[meaning.slot]
        if option is None or part is None:
            return
        for other in part.options:
            if other.name == option.name and part.name not in _REPEATABLE:
                self._error(f"{option.name} is given twice", option.at)
                return
        part.options.append(option)
        self._stretch(part, option)

    def _option(self, meaning: Meaning) -> Option | None:
        form = meaning.form
        assert form is not None
        index = self.index
        start = self.starts[index]
        negated = self.negated is not None
        if negated:
            start, self.negated = self.negated or 0, None
            if not form.negatable:
                self._error(f"{form.name} cannot be negated", (start, self.ends[index]))
        kinds = form.kinds
        if len(kinds) == 1 and meaning.attached is None and index + 1 < len(self.texts):
            value = self.texts[index + 1]
            if value != "!":
                self.index = index + 2
                place = (start, self.ends[index + 1])
                self._check(kinds[0], value, index + 1)
                return Option(form.name, (value,), negated, place)
        elif not kinds and meaning.attached is None:
            self.index = index + 1
            return Option(form.name, (), negated, (start, self.ends[index]))
        if kinds and self._old_negation(form.negatable):
            negated = True
        values = self._values(meaning)
        if values is None:
            return None
        for kind, value in zip(kinds, values, strict=False):
            self._check(kind, value, self.index - 1)
        return Option(form.name, values, negated, (start, self.ends[self.index - 1]))

    def _check(self, kind: Kind, value: str, index: int) -> None:
        wrong = complaint(kind, value, self.scope.family)
        if wrong is not None:
            self._error(wrong, (self.starts[index], self.ends[index]))

    def _old_negation(self, negatable: bool) -> bool:
        """`-s ! 10.0.0.1`: iptables took it until 2012 or so, and refuses it today."""
        after = self.index + 1
        if after >= len(self.texts) or self.texts[after] != "!" or after in self.quoted:
            return False
        if not negatable or after + 1 >= len(self.texts):
            return False
        place = (self.starts[after], self.ends[after])
        self._warn("the `!` stands before the value", place, "today's iptables wants it before the option")
        del self.texts[after]
        del self.starts[after]
        del self.ends[after]
        self.quoted = frozenset(index - (index > after) for index in self.quoted)
        return True

    def _values(self, meaning: Meaning) -> tuple[str, ...] | None:
        """The values of the option at `index`; moves on to the word after them."""
        index, arity = self.index, meaning.arity
        name = self.texts[index]
        place = (self.starts[index], self.ends[index])
        values: tuple[str, ...] = () if meaning.attached is None else (meaning.attached,)
        if meaning.attached is not None and arity == 0:
            self._error(f"{meaning.form.name if meaning.form else name} takes no value", place)
        rest = max(arity - len(values), 0)
        self.index = index + 1 + rest
        values += tuple(self.texts[index + 1 : self.index])
        if len(values) < arity:
            self.index = len(self.texts)
            wanted = meaning.form.kinds[len(values)].value if meaning.form else "a value"
            self._error(f"{name} needs {wanted} after it", place)
            return None
        return values

    # What is rare, unknown or wrong.

    def _rare(self, meaning: Meaning) -> None:
        place = (self.starts[self.index], self.ends[self.index])
        word = self.texts[self.index]
        match meaning.role:
            case Role.NEGATION if self.negated is None:
                self.negated = place[0]
                self.index += 1
            case Role.COUNTERS:
                self._set_counters(meaning)
            case Role.TABLE:
                values = self._values(meaning)
                self.table = values[0] if values else None
                self._warn("-t stands inside the line", place, "iptables-restore refuses it; use *table")
            case Role.IGNORED:
                self._skip(meaning)
            case Role.UNKNOWN:
                self._unknown(word, meaning)
            case Role.AMBIGUOUS:
                self.index += 1
                self._error(f"{word} may be {' or '.join(meaning.candidates)}", place, "write it in full")
            case _:
                self.index += 1
                self._stray(word, place)

    def _stray(self, word: str, place: Place) -> None:
        plain = word.lstrip("".join(_DASHES))
        if plain != word:
            self._error(f"{word!r} begins with a typographic dash", place, f"write `--{plain.lstrip('-')}`")
        elif word.startswith("#"):
            self._error("a comment cannot follow a rule", place, "put it on a line of its own")
        elif word.startswith("'") or word.endswith("'"):
            self._error(f"{word!r} belongs to no option", place, 'use double quotes: `"`')
        else:
            self._error(f"{word!r} belongs to no option", place)

    def _set_counters(self, meaning: Meaning) -> None:
        first = self.index
        word = self.texts[first + 1] if first + 1 < len(self.texts) else ""
        packets, comma, octets = (meaning.attached or word).partition(",")
        if comma:
            self.index += 1 if meaning.attached else 2
        else:
            values = self._values(meaning)
            if values is None:
                return
            packets, octets = values
        if packets.isdecimal() and octets.isdecimal() and len(packets + octets) < 64:
            self.counters = (int(packets), int(octets))
        else:
            self._error("counters are two numbers", (self.starts[first], self.ends[self.index - 1]))

    def _skip(self, meaning: Meaning) -> None:
        name = meaning.form.name if meaning.form else ""
        self.negated = None
        self._values(meaning)
        if name in ("-w", "-W") and self._next_is_value():
            self.index += 1

    def _unknown(self, word: str, meaning: Meaning) -> None:
        """Keeps an unknown option with the words up to the next option, at what was loaded last."""
        first = self.index
        start = self.starts[first] if self.negated is None else self.negated
        negated, self.negated = self.negated is not None, None
        self.index += 1
        while self._next_is_value():
            self.index += 1
        name, equals, attached = word.partition("=")
        values = (attached, *self.texts[first + 1 : self.index]) if equals else self._between(first)
        option = Option(name, values, negated, (start, self.ends[self.index - 1]))
        part = self._unknown_part()
        if part is None:
            self._error(f"unknown option {word!r}", option.at, _near(meaning))
            return
        part.options.append(option)
        self._stretch(part, option)
        if part.known:
            self._warn(f"{part.name!r} has no option {word!r}", option.at, _near(meaning))

    def _between(self, first: int) -> tuple[str, ...]:
        return tuple(self.texts[first + 1 : self.index])

    def _unknown_part(self) -> _Part | None:
        """To what an unknown option belongs: to the unknown part loaded last, else to the last part."""
        parts = sorted([*self.matches, *([self.target] if self.target else [])], key=lambda part: part.start)
        strangers = [part for part in parts if not part.known]
        fitting = strangers or parts
        return fitting[-1] if fitting else None

    def _next_is_value(self) -> bool:
        if self.index >= len(self.texts):
            return False
        word = self.texts[self.index]
        return self.index in self.quoted or not (word.startswith("-") or word == "!")

    def _refuse_negation(self, message: str) -> None:
        if self.negated is not None:
            self._error(message, (self.negated, self.ends[self.index]))
            self.negated = None

    @staticmethod
    def _stretch(part: _Part, option: Option) -> None:
        if option.at is not None:
            part.start = min(part.start, option.at[0])
            part.end = max(part.end, option.at[1])

    def _warn(self, message: str, place: Place | None, help: str | None = None) -> None:
        self.problems.append(Problem(Severity.WARNING, message, place or (0, len(self.line)), help))

    def _error(self, message: str, place: Place | None, help: str | None = None) -> None:
        self.problems.append(Problem(Severity.ERROR, message, place or (0, len(self.line)), help))

    # What came out.

    @property
    def failed(self) -> bool:
        return any(problem.severity is Severity.ERROR for problem in self.problems)

    def result(self, span: Span, counters: Counters | None = None) -> Rule | Command | None:
        """The rule or command of the line, which stands at `span`; None if the line holds an error."""
        if self.command is None:
            if not self.failed:
                self._error("no command in this line", None, "a rule begins with -A and the name of a chain")
            return None
        if self.problems and self.failed:
            return None
        name, values, number = self.command
        if name not in _RULE_COMMANDS:
            return Command(name, values, self.family, self.table, span)
        if len(self.base) > 1:
            self.base.sort(key=_rank)
        return Rule(
            values[0],
            tuple(self.base),
            tuple([Match(part.name, tuple(part.options), (part.start, part.end)) for part in self.matches]),
            self._target(),
            name,
            number,
            counters or self.counters,
            self.family,
            self.table,
            span,
        )

    def _target(self) -> Target | None:
        part = self.target
        if part is None:
            return None
        return Target(part.name, tuple(part.options), part.goto, (part.start, part.end))


def _rank(option: Option) -> int:
    return ORDER[option.name]


def _near(meaning: Meaning) -> str | None:
    return f"did you mean {meaning.candidates[0]}?" if meaning.candidates else None
