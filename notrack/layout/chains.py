"""The chains of one table while it is laid out: rules in order, shared chains by what they do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import field, replace

from notrack.layout.comment import comment
from notrack.ruleset.xtables import build
from notrack.ruleset.xtables.tree import Rule
from notrack.site.model import Origin
from notrack.text.record import dataclass

_LONGEST_NAME = 28  # characters; what both backends take


@dataclass(frozen=True, slots=True)
class Line:
    """One rule: its conditions and its target in words. Without a remark the comment is made of origins."""

    chain: str
    conditions: str
    target: str
    origins: tuple[Origin, ...]
    remark: str = ""

    def rule(self) -> Rule:
        """The rule as a node of the xtables tree, its comment last of the matches."""
        return build.rule(
            self.chain, f"{self.conditions} {self.target}", self.remark or comment(self.origins)
        )


@dataclass
class Chains:
    prefix: str = ""
    _rules: dict[str, list[Line]] = field(default_factory=dict)
    _names: dict[object, str] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)
    _numbers: dict[str, int] = field(default_factory=dict)  # the number that each wish has come to

    def open(self, chain: str) -> None:
        self._rules.setdefault(chain, [])

    def add(self, line: Line) -> None:
        self._rules.setdefault(line.chain, []).append(line)

    def add_once(self, line: Line) -> None:
        if not self._rules.get(line.chain):
            self.add(line)

    def named(self, wish: str, key: object) -> str:
        """The name of the shared chain that does `key`; a new one near `wish` if there is none yet."""
        if key in self._names:
            return self._names[key]
        base = (self.prefix + wish)[:_LONGEST_NAME]
        name, number = base, self._numbers.get(base, 1)
        if number > 1:
            name = f"{base[: _LONGEST_NAME - 1 - len(str(number))]}-{number}"
        while name in self._rules or name in self._taken:
            number += 1
            name = f"{base[: _LONGEST_NAME - 1 - len(str(number))]}-{number}"
        self._names[key] = name
        self._taken.add(name)
        self._numbers[base] = number
        return name

    def serve(self, lines: Iterable[Line]) -> None:
        """Fill a shared chain, or note that its rules, which are the same ones, serve more declarations."""
        wanted = list(lines)
        present = self._rules.get(wanted[0].chain)
        if not present:
            self._rules[wanted[0].chain] = wanted
            return
        for index, (old, new) in enumerate(zip(present, wanted, strict=True)):
            if not set(new.origins) <= set(old.origins):
                present[index] = replace(old, origins=tuple(dict.fromkeys(old.origins + new.origins)))

    def own(self, builtin: Iterable[str], heads: Iterable[str]) -> list[str]:
        """The user chains that hold rules, heads first."""
        first = [chain for chain in heads if chain not in set(builtin)]
        return first + [
            c for c, rules in self._rules.items() if rules and c not in first and c not in set(builtin)
        ]

    def lines(self) -> Iterator[Line]:
        for rules in self._rules.values():
            yield from rules
