"""Which rules run and which findings are shown: codes, beginnings of codes, names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from notrack.lint.collection import collected
from notrack.lint.rule import Rule
from notrack.text.nearest import nearest


class UnknownCode(Exception):
    """A word that is no code, beginning of a code or name of a rule; `hint` is the nearest that is one."""

    def __init__(self, word: str) -> None:
        self.word = word
        every = {rule.code.lower(): rule.code for rule in collected()} | {r.name: r.name for r in collected()}
        found = nearest(word.lower(), every)
        self.hint = None if found is None else every[found]
        super().__init__(
            f"no rule is called {word!r}" + (f"; did you mean {self.hint}?" if self.hint else "")
        )


def matching(word: str) -> tuple[Rule, ...]:
    """The rules that a word means: NT101, NT1, ALL, one-way-notrack. Raises `UnknownCode`."""
    wanted = word.strip()
    found = tuple(
        rule
        for rule in collected()
        if wanted.upper() == "ALL" or rule.code.startswith(wanted.upper()) or rule.name == wanted.lower()
    )
    if not found or not wanted:
        raise UnknownCode(word)
    return found


def chosen(select: Iterable[str] = (), ignore: Iterable[str] = ()) -> tuple[Rule, ...]:
    """The rules selected (all, if nothing is) less those ignored. Raises `UnknownCode`."""
    wanted = {rule.code for word in select for rule in matching(word)}
    left_out = {rule.code for word in ignore for rule in matching(word)}
    return tuple(
        rule for rule in collected() if rule.code not in left_out and (not wanted or rule.code in wanted)
    )


def needed(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """The rules, and those that may say better what one of them says: they have to run as well."""
    codes = {rule.code for rule in rules}
    while True:
        more = {code for rule in collected() if rule.code in codes for code in rule.yields_to} - codes
        if not more:
            return tuple(rule for rule in collected() if rule.code in codes)
        codes |= more
