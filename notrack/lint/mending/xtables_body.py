"""Rules of iptables as text that can be changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Self

from notrack.lint.mending.arguments import Argument, Arguments, Flavour, arguments
from notrack.lint.mending.body import Body
from notrack.lint.mending.splice import Stretch, spliced
from notrack.lint.mending.wording import Wording
from notrack.lint.mending.xtables_mirror import mirror_stretches
from notrack.packets.address import Family
from notrack.ruleset.core import Hook
from notrack.ruleset.xtables import tree as x
from notrack.text.record import dataclass

_COMMANDS = {"-A": "-A", "--append": "-A", "-I": "-I", "--insert": "-I"}
_TABLE = ("-t", "--table")


@dataclass(frozen=True, slots=True)
class XtablesBody(Body):
    """A line from `-A` or `-I` on, or a whole command of a script."""

    flavour: Flavour = Flavour.RESTORE
    family: Family | None = None

    @property
    def arguments(self) -> Arguments | None:
        return arguments(self.text, self.flavour, self.family)

    @property
    def rule(self) -> x.Rule | None:
        """The rule as the reader understands it; None where the text is none."""
        found = self.arguments
        return found.rule if found else None

    def mirrored(self, hook: Hook, chain: str | None = None) -> Self | None:
        found = self.arguments
        if found is None or found.rule.number is not None:
            return None
        stretches = mirror_stretches(found, hook)
        named = self._chain(found)
        if stretches is None or named is None:
            return None
        return self._with([*stretches, (named.start, named.end, chain or hook.name)])

    def acting(self, target: Wording) -> Self | None:
        found = self.arguments
        if found is None or target.xtables is None:
            return None
        old = found.rule.target
        if old is None or old.at is None:
            return self._inserted(len(found.words), target.xtables)
        if any(_overlap(part.at, old.at) for part in _asked(found.rule)):
            return None
        return self._with([(*self._bounds(found, old.at), target.xtables)])

    def instead(self, rule: Wording) -> Self | None:
        found = self.arguments
        named = self._chain(found) if found else None
        if found is None or named is None or rule.xtables is None or found.rule.number is not None:
            return None
        if any(_TABLE[0] == word.value for word in found.words[found.words.index(named) :]):
            return None  # the table is named behind the chain
        return self._with([(named.end, len(self.text), f" {rule.xtables}")])

    def narrowed(self, match: Wording) -> Self | None:
        found = self.arguments
        if found is None or match.xtables is None:
            return None
        ends = [part.at[1] for part in _asked(found.rule) if part.at]
        named = self._chain(found)
        if named is None:
            return None
        behind_chain = found.words.index(named) + 1 + (found.rule.number is not None)
        return self._inserted(max([behind_chain, *ends]), match.xtables)

    def without(self, match: Wording) -> Self | None:
        found = self.arguments
        if found is None or match.xtables is None:
            return None
        for option, owner in _options(found.rule):
            if option.name == match.xtables and option.at is not None:
                alone = owner is not None and len(owner.options) == 1
                at = owner.at if owner is not None and alone and owner.at is not None else option.at
                start, end = self._bounds(found, at)
                while start and self.text[start - 1] in " \t":
                    start -= 1
                return self._with([(start, end, "")])
        return None

    def asking(self, match: Wording, value: Wording) -> Self | None:
        found = self.arguments
        if found is None or match.xtables is None or value.xtables is None:
            return None
        for option, _ in _options(found.rule):
            if option.name == match.xtables and option.at is not None and len(option.values) == 1:
                word = found.words[option.at[1] - 1]
                head, equals, _ = word.value.partition("=")
                kept = f"{head}=" if equals and head.startswith("--") and word.plain else ""
                if option.at[1] - option.at[0] == 1 and not kept:
                    return None  # `-s10.0.0.1`
                return self._with([(word.start, word.end, kept + value.xtables)])
        return None

    def renamed(self, match: str, new: str, options: Mapping[str, str]) -> Self | None:
        """Every match of a name by another name, its options as `options` maps them; values and negations
        stay. None where there is none, or where it is not written in full."""
        found = self.arguments
        old = [one for one in found.rule.matches if one.name == match] if found else []
        places = [one.at for one in old if one.at]
        if (
            found is None
            or not places
            or any(one.name not in options for each in old for one in each.options)
        ):
            return None
        stretches: list[Stretch] = []
        named = {match: new, **options}
        for at in places:
            for word in found.words[at[0] : at[1]]:
                name, _, _ = word.value.partition("=")
                if name in named and word.raw.startswith(name):
                    stretches.append((word.start, word.start + len(name), named[name]))
                elif word.value.startswith("--"):
                    return None  # an abbreviation
        text = spliced(self.text, stretches) if stretches else None
        return None if text is None else replace(self, text=text)  # names alone: it reads as before

    def moved(self, table: str, chain: str) -> Self | None:
        found = self.arguments
        named = self._chain(found) if found else None
        if found is None or named is None:
            return None
        stretches: list[Stretch] = [(named.start, named.end, chain)]
        if self.flavour is Flavour.SHELL:
            told = self._table(found)
            if told is not None:
                stretches.append((*told, f"-t {table}"))
            elif table != "filter":
                stretches.append((found.command, found.command, f"-t {table} "))
        elif found.rule.table not in (None, table):
            return None
        return self._with(stretches)

    def fresh(self) -> Self:
        return self  # the counters of a line stand before it

    # Places in the text.

    def _chain(self, found: Arguments) -> Argument | None:
        """The word that names the chain."""
        for word, following in zip(found.words, found.words[1:], strict=False):
            if _COMMANDS.get(word.value) == found.rule.command and following.value == found.rule.chain:
                return following
        return None

    def _table(self, found: Arguments) -> tuple[int, int] | None:
        """Where `-t name` stands."""
        for word, following in zip(found.words, found.words[1:], strict=False):
            if word.value in _TABLE:
                return word.start, following.end
            if word.value.startswith("--table="):
                return word.start, word.end
        return None

    def _bounds(self, found: Arguments, at: x.Place) -> tuple[int, int]:
        return found.words[at[0]].start, found.words[at[1] - 1].end

    def _inserted(self, index: int, text: str) -> Self | None:
        """The text behind the word before `index`."""
        found = self.arguments
        if found is None or index < 1:
            return None
        end = found.words[index - 1].end
        return self._with([(end, end, f" {text}")])

    def _with(self, stretches: list[Stretch]) -> Self | None:
        text = spliced(self.text, stretches)
        if text is None:
            return None
        made = replace(self, text=text)
        return made if made.rule is not None else None


def _asked(rule: x.Rule) -> list[x.Option | x.Match]:
    return [*rule.options, *rule.matches]


def _options(rule: x.Rule) -> list[tuple[x.Option, x.Match | None]]:
    """Every option of the header and the matches, with the match that it belongs to."""
    own: list[tuple[x.Option, x.Match | None]] = [(option, None) for option in rule.options]
    return own + [(option, match) for match in rule.matches for option in match.options]


def _overlap(one: x.Place | None, other: x.Place) -> bool:
    return one is not None and one[0] < other[1] and other[0] < one[1]
