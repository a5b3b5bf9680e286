"""Lines that say the same but for some values: large rulesets repeat a few shapes thousands of times.

Which word of a line is what depends on its option words, and on the values of -p, -m, -j and -g, alone. A
line that was read without any problem is the template of all others that have those words in the same places;
only their other values are looked at again.
"""

from __future__ import annotations

from collections.abc import Iterable

from notrack.packets.address import Family
from notrack.ruleset.xtables.catalogue import BASE_SPELLED, Extension, Kind, match_named, target_named
from notrack.ruleset.xtables.checks import Checks
from notrack.ruleset.xtables.tree import Counters, Match, Option, Rule, Target
from notrack.ruleset.xtables.words import Words
from notrack.text.record import dataclass
from notrack.text.source import Span

TEMPLATES = 4096  # of one text
_TELLING = frozenset(
    ("-p", "--protocol", "-m", "--match", "-j", "--jump", "-g", "--goto", "-t", "--table")
)
_SIGNS = "-!"
Shape = tuple[str | None, ...]


def shape(words: Words) -> Shape:
    """The words of a line that tell what the others are, and None for each of those. Nothing of a line whose
    quotes matter: one without an end, or around what looks like an option."""
    texts = words.texts
    if words.open_quote or (words.quoted and any(texts[at][:1] in _SIGNS for at in words.quoted)):
        return ()
    before = ""
    found: list[str | None] = []
    for word in texts:
        found.append(word if word[:1] in _SIGNS or before in _TELLING else None)
        before = word
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Value:
    """The values of one option: which words they are, and what each must be."""

    option: Option
    start: int
    end: int
    kinds: tuple[Kind, ...]


@dataclass(slots=True)
class Template:
    """A rule that was read, and where the values of its options stand in the line."""

    rule: Rule
    base: tuple[_Value, ...]
    matches: tuple[tuple[Match, tuple[_Value, ...]], ...]
    target: tuple[Target, tuple[_Value, ...]] | None

    def filled(
        self, texts: list[str], checks: Checks, family: Family | None, counters: Counters | None, span: Span
    ) -> Rule | None:
        """The rule of another line of this shape; None where one of its values is wrong."""
        rule = self.rule
        base = _filled(self.base, texts, checks, family)
        if base is None:
            return None
        matches: list[Match] = []
        for match, values in self.matches:
            if values:
                options = _filled(values, texts, checks, family)
                if options is None:
                    return None
                match = Match(match.name, options, match.at)
            matches.append(match)
        target = rule.target
        if self.target is not None:
            options = _filled(self.target[1], texts, checks, family)
            if options is None:
                return None
            target = Target(self.target[0].name, options, self.target[0].goto, self.target[0].at)
        return Rule(
            texts[1], base, tuple(matches), target, "-A", None, counters, rule.family, rule.table, span
        )


def _filled(
    values: tuple[_Value, ...], texts: list[str], checks: Checks, family: Family | None
) -> tuple[Option, ...] | None:
    made: list[Option] = []
    for value in values:
        option = value.option
        if value.kinds:
            words = tuple(texts[value.start : value.end])
            if words != option.values:
                for kind, word in zip(value.kinds, words, strict=True):
                    if checks.complaint(kind, word, family) is not None:
                        return None
                option = Option(option.name, words, option.negated, option.at)
        made.append(option)
    return tuple(made)


def template(rule: Rule, texts: list[str], family: Family | None) -> Template | None:
    """The template that a rule is, if it was read from a plain `-A` line; else None."""
    if rule.command != "-A" or texts[0] != "-A" or texts[1] != rule.chain or rule.counters is not None:
        return None
    family = rule.family or family
    base = _values(rule.options, texts, None)
    matches = [
        (match, _values(match.options, texts, match_named(match.name, family))) for match in rule.matches
    ]
    named = rule.target and target_named(rule.target.name, family)
    options = _values(rule.target.options, texts, named or None) if rule.target else ()
    if base is None or options is None or any(values is None for _, values in matches):
        return None
    target = (rule.target, options) if rule.target and options else None
    return Template(rule, base, tuple((match, values or ()) for match, values in matches), target)


def _values(
    options: Iterable[Option], texts: list[str], extension: Extension | None
) -> tuple[_Value, ...] | None:
    """Where the values stand; None if some stand otherwise than each in a word of its own."""
    made: list[_Value] = []
    for option in options:
        form = extension.option(option.name) if extension else BASE_SPELLED.get(option.name)
        if form is None or option.at is None or form.optional is not None:
            return None
        start, end = option.at[1] - len(option.values), option.at[1]
        if tuple(texts[start:end]) != option.values or len(form.kinds) != len(option.values):
            return None
        made.append(_Value(option, start, end, form.kinds))
    return tuple(made)
