"""One line of arguments to a rule or a command about a chain.

The reader does what iptables does with its arguments, word by word: `-m`, `-j` and `-p` change what the
words after them mean (`scope`). It differs in three places, for the sake of rules that people keep: it takes
the old negation `-s ! x`, a `-t` inside the line, and options that nothing known explains.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from notrack.packets.address import Family
from notrack.ruleset.xtables.build import ORDER
from notrack.ruleset.xtables.catalogue import VERDICTS, OptionForm
from notrack.ruleset.xtables.checks import Checks
from notrack.ruleset.xtables.cursor import Cursor, Part, owner, position
from notrack.ruleset.xtables.scope import Meaning, Role, Scope
from notrack.ruleset.xtables.tree import Command, Counters, Match, Option, Place, Rule, Target
from notrack.ruleset.xtables.words import Words
from notrack.text.diagnostic import Severity
from notrack.text.source import Span

_RULE_COMMANDS: Final = frozenset(("-A", "-I", "-D", "-R", "-C"))
_NUMBERED: Final = frozenset(("-I", "-D", "-R"))
_MANY_WORDS: Final = frozenset(("-P", "-E", "-F", "-X", "-Z", "-L", "-S"))
_REPEATABLE: Final = frozenset(("policy", "rateest"))
WORDS_MAXIMUM: Final = 251  # what iptables-restore takes, test_a_line_holds_so_many_words shows it
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_COUNT: Final = re.compile(r"[0-9]{1,20}")
_DASHES: Final = "\u2013\u2014\u2212\u2010\u2011"


class LineReader(Cursor):
    """Reads the words of one line. `problems` says what is wrong with it."""

    __slots__ = (
        "base",
        "checks",
        "command",
        "counters",
        "family",
        "matches",
        "scope",
        "strangers",
        "table",
        "target",
    )

    def __init__(self, words: Words, scope: Scope, scopes: Callable[[Family], Scope], checks: Checks) -> None:
        super().__init__(words)
        self.scope = scope
        self.checks = checks
        self.base: list[Option] = []
        self.matches: list[Part] = []
        self.strangers: list[Option] = []
        self.target: Part | None = None
        self.command: tuple[str, tuple[str, ...], int | None] | None = None
        self.counters: Counters | None = None
        self.family: Family | None = None
        self.table: str | None = None
        if len(self.texts) > WORDS_MAXIMUM:
            self._error(f"a line has at most {WORDS_MAXIMUM} words, this one {len(self.texts)}", None)
        else:
            self._walk(scopes)

    def _walk(self, scopes: Callable[[Family], Scope]) -> None:
        texts = self.texts
        count = len(texts)
        if count > 1 and texts[0] == "-A":
            self.command = ("-A", (texts[1],), None)
            self.index = 2
        while self.index < count:
            word = texts[self.index]
            meaning = self.scope.meanings.get(word) or self.scope.meaning(word)
            role = meaning.role
            if role is Role.MATCH_OPTION or role is Role.TARGET_OPTION:
                self._extension_option(meaning)
            elif role is Role.BASE:
                self._base_option(meaning)
            elif role is Role.MATCH:
                self._match(meaning)
            elif role is Role.JUMP:
                self._jump(meaning)
            elif role is Role.NEGATION and not self.negated:
                self.negated = True
                self.index += 1
            elif role is Role.FAMILY:
                self._family(meaning, scopes)
            else:
                self._rare(meaning)
        if self.strangers:
            self._settle()
        if self.negated:
            self._error("nothing follows this `!`", (count - 1, count))

    # Words that every rule has.

    def _base_option(self, meaning: Meaning) -> None:
        option = self._option(meaning)
        if option is None:
            return
        for other in self.base:
            if other.name == option.name:
                self._error(f"{option.name} is given twice", option.at)
                return
        self.base.append(option)
        if option.name == "-p":
            self.scope = self.scope.after_protocol(option.values[0])

    def _match(self, meaning: Meaning) -> None:
        start = self.index
        name = self._name(meaning)
        if name is not None:
            self._load(name, start, self.index)

    def _load(self, name: str, start: int, end: int) -> None:
        self.scope = self.scope.after_match(name)
        found = self.scope.matches[-1]
        self.matches.append(Part(found.name if found else name, found is not None, start, end))
        if found is None:
            self._warn(f"unknown match {name!r}", (start, end), "its rule is treated as one that may match")

    def _jump(self, meaning: Meaning) -> None:
        start = self.index
        goto = meaning.form is not None and meaning.form.name == "-g"
        name = self._name(meaning)
        if name is None:
            return
        if self.target is not None:
            self._error("a rule has one target; this is the second", (start, self.index))
            return
        known = name in VERDICTS
        if not goto and not known:
            before = self.scope
            self.scope = before.after_target(name)
            known = self.scope is not before
        self.target = Part(name, known, start, self.index, goto)

    def _name(self, meaning: Meaning) -> str | None:
        """The one value of -m, -j or -g, none of which can be negated."""
        index = self.index
        if self.negated:
            self._error(f"{self.texts[index]} cannot be negated", (index - 1, index + 1))
            self.negated = False
        if meaning.attached is None and index + 1 < len(self.texts):
            self.index = index + 2
            return self.texts[index + 1]
        values = self._values(meaning)
        return values[0] if values else None

    def _family(self, meaning: Meaning, scopes: Callable[[Family], Scope]) -> None:
        self.index += 1
        self.family = Family.IPV4 if meaning.form and meaning.form.name == "-4" else Family.IPV6
        if not self.matches and self.target is None and not self.base:
            self.scope = scopes(self.family)

    # Options of matches and targets.

    def _extension_option(self, meaning: Meaning) -> None:
        first = self.index - 1 if self.negated else self.index
        if meaning.implied is not None:
            self._load(meaning.implied.name, first, first)
        option = self._option(meaning)
        part = self.target if meaning.slot < 0 else self.matches[meaning.slot]
        if option is None or part is None:
            return
        for other in part.options:
            if other.name == option.name and part.name not in _REPEATABLE:
                self._error(f"{option.name} is given twice", option.at)
                return
        part.add(option, first, self.index)

    def _option(self, meaning: Meaning) -> Option | None:
        form = meaning.form
        assert form is not None
        index = self.index
        start = index
        negated = self.negated
        if negated:
            start = index - 1
            self.negated = False
            if not form.negatable:
                self._error(f"{form.name} cannot be negated", (start, index + 1))
        kinds = form.kinds
        if meaning.attached is None:
            if not kinds:
                self.index = index + 1
                if form.optional is not None and self._next_is_value():
                    self.index = index + 2
                return Option(
                    form.name, tuple(self.texts[index + 1 : self.index]), negated, (start, self.index)
                )
            if len(kinds) == 1 and index + 1 < len(self.texts):
                value = self.texts[index + 1]
                if value != "!":
                    self.index = index + 2
                    wrong = self.checks.complaint(kinds[0], value, self.scope.family)
                    if wrong is not None:
                        self._error(wrong, (index + 1, index + 2))
                    return Option(form.name, (value,), negated, (start, index + 2))
        return self._long_option(meaning, form, start, negated)

    def _long_option(self, meaning: Meaning, form: OptionForm, start: int, negated: bool) -> Option | None:
        """Options with several values, with attached ones, or with the old negation."""
        if form.kinds and meaning.attached is None and self._old_negation(form.negatable):
            negated = True
        values = self._values(meaning)
        if values is None:
            return None
        for kind, value in zip(form.kinds, values, strict=False):
            wrong = self.checks.complaint(kind, value, self.scope.family)
            if wrong is not None:
                self._error(wrong, (start, self.index))
        return Option(form.name, values, negated, (start, self.index))

    def _old_negation(self, negatable: bool) -> bool:
        """Steps over the `!` in `-s ! 10.0.0.1`: iptables took it long ago, and refuses it today."""
        after = self.index + 1
        if not negatable or after + 1 >= len(self.texts) or self.texts[after] != "!" or after in self.quoted:
            return False
        message = "the `!` stands before the value"
        self._warn(message, (after, after + 1), "today's iptables wants it before the option")
        self.index += 1
        return True

    # What is rare, unknown or wrong.

    def _rare(self, meaning: Meaning) -> None:
        index = self.index
        word = self.texts[index]
        match meaning.role:
            case Role.COMMAND:
                self._command(meaning)
            case Role.COUNTERS:
                self._set_counters(meaning)
            case Role.TABLE:
                values = self._values(meaning)
                self.table = values[0] if values else None
                self._warn("-t stands inside the line", (index, self.index), "iptables-restore wants *table")
            case Role.IGNORED:
                self._skip(meaning)
            case Role.UNKNOWN:
                self._unknown(word)
            case Role.AMBIGUOUS:
                self.index += 1
                message = f"{word} may be {' or '.join(meaning.candidates)}"
                self._error(message, (index, index + 1), "write it in full")
            case _:
                self.index += 1
                self._stray(word, (index, index + 1))

    def _command(self, meaning: Meaning) -> None:
        start = self.index
        if self.negated:
            self._error("a command cannot be negated", (start - 1, start + 1))
            self.negated = False
        name = meaning.form.name if meaning.form else ""
        values = self._values(meaning)
        if values is None:
            return
        if self.command is not None:
            self._error("a line has one command; this is the second", (start, self.index))
            return
        number = None
        if name in _NUMBERED and self._next_is_value() and _NUMBER.fullmatch(self.texts[self.index]):
            number = int(self.texts[self.index])
            self.index += 1
        while name in _MANY_WORDS and self._next_is_value():
            values = (*values, self.texts[self.index])
            self.index += 1
        self.command = (name, values, number)

    def _stray(self, word: str, place: Place) -> None:
        plain = word.lstrip(_DASHES)
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
        if _COUNT.fullmatch(packets) and _COUNT.fullmatch(octets):
            self.counters = (int(packets), int(octets))
        else:
            self._error("counters are two numbers", (first, self.index))

    def _skip(self, meaning: Meaning) -> None:
        """Options about the command itself: -v, -n, -w. They say nothing about the rule."""
        self.negated = False
        self._values(meaning)
        if meaning.form is not None and meaning.form.name in ("-w", "-W") and self._next_is_value():
            self.index += 1

    def _unknown(self, word: str) -> None:
        """Keeps an unknown option with the words up to the next option."""
        first = self.index
        start = first - 1 if self.negated else first
        negated, self.negated = self.negated, False
        self.index += 1
        while self._next_is_value():
            self.index += 1
        name, equals, attached = word.partition("=")
        values = tuple(self.texts[first + 1 : self.index])
        values = (attached, *values) if equals else values
        self.strangers.append(Option(name, values, negated, (start, self.index)))

    def _settle(self) -> None:
        """Gives each unknown option to the unknown match or target before it, else to the one after it, else
        to whatever was loaded before it."""
        parts = [*self.matches, *([self.target] if self.target else [])]
        parts.sort(key=lambda part: part.start)
        for option in self.strangers:
            start, end = option.at or (0, 0)
            if self.scope.meaning(option.name).role is not Role.UNKNOWN:
                message = f"{option.name} stands before what brings it"
                self._error(message, (start, end), "put it behind the -p or -m to which it belongs")
                continue
            part = owner(parts, start)
            if part is None:
                self._error(f"unknown option {option.name!r}", (start, end), self._near(option.name))
                continue
            part.add(option, start, end)
            part.options.sort(key=position)
            if part.known:
                message = f"{part.name!r} has no option {option.name!r}"
                self._warn(message, (start, end), self._near(option.name))

    def _near(self, name: str) -> str | None:
        owner = self.scope.owner(name)
        return f"write -m {owner} before it" if owner else self.checks.suggestion(name, self.scope.names())

    # What came out.

    def result(self, span: Span, counters: Counters | None = None) -> Rule | Command | None:
        """The rule or command of the line, which stands at `span`; None if the line holds an error."""
        if self.problems and any(problem.severity is Severity.ERROR for problem in self.problems):
            return None
        if self.command is None:
            self._error("no command in this line", None, "a rule begins with -A and the name of a chain")
            return None
        name, values, number = self.command
        if name not in _RULE_COMMANDS:
            return Command(name, values, self.family, self.table, span)
        if len(self.base) > 1:
            self.base.sort(key=_rank)
        matches = [Match(part.name, tuple(part.options), (part.start, part.end)) for part in self.matches]
        part = self.target
        return Rule(
            values[0],
            tuple(self.base),
            tuple(matches),
            Target(part.name, tuple(part.options), part.goto, (part.start, part.end)) if part else None,
            name,
            number,
            counters or self.counters,
            self.family,
            self.table,
            span,
        )


def _rank(option: Option) -> int:
    return ORDER[option.name]
