"""The parser of the site language: an LALR automaton that runs on tables, one token at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from notrack.text.record import dataclass

END = "$END"
Actions = Mapping[str, int]  # by terminal or rule: a state to go to, or -1 - the rule that is complete
Build = Callable[[list[Any]], Any]


class Token(Protocol):
    @property
    def type(self) -> str: ...


class Unexpected(Exception):
    """A token that nothing in the grammar allows here. The parser is as it was before."""


class Inlined(list[Any]):
    """The children of a rule that has no node of its own."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the grammar: how many symbols it takes, and what becomes of them.

    `kept`: of each symbol that is kept its index, whether its children take its place, and how many None
    stand before it; `nones`: how many stand at the end. `alone`: a single child stands for the whole.
    `inlined`: the children are left to the rule above.
    """

    origin: str
    name: str
    size: int
    kept: tuple[tuple[int, bool, int], ...]
    nones: int
    alone: bool
    inlined: bool

    def children(self, symbols: list[Any]) -> list[Any]:
        found: list[Any] = []
        for index, spread, nones in self.kept:
            found += [None] * nones
            if spread:
                found += symbols[index]
            else:
                found.append(symbols[index])
        return found + [None] * self.nones


@dataclass(frozen=True, slots=True)
class Automaton:
    states: tuple[Actions, ...]
    rules: tuple[Rule, ...]
    first: int
    last: int


class Parser:
    """One run of an automaton. `build` makes a node of a rule's name and its children."""

    __slots__ = ("_automaton", "_build", "_states", "_values")

    def __init__(self, automaton: Automaton, build: Callable[[str, list[Any]], Any]) -> None:
        self._automaton = automaton
        self._build = build
        self._states = [automaton.first]
        self._values: list[Any] = []

    def feed_token(self, token: Token) -> None:
        """Take the next token. Raises `Unexpected`."""
        self._run(token.type)
        self._values.append(token)

    def feed_eof(self) -> Any:
        """What the tokens so far are. Raises `Unexpected` if something is missing."""
        self._run(END)
        return self._values[-1]

    def accepts(self) -> set[str]:
        """Every terminal that may come next, the end among them."""
        named = self._automaton.states[self._states[-1]]
        return {name for name in named if name.isupper() and self._would_take(name)}

    def _would_take(self, name: str) -> bool:
        states = self._states.copy()
        return _after(self._automaton, states, name, None)

    def _run(self, name: str) -> None:
        states = self._states.copy()
        if not _after(self._automaton, states, name, None):
            raise Unexpected(name)
        _after(self._automaton, self._states, name, self._reduce)

    def _reduce(self, rule: Rule) -> None:
        at = len(self._values) - rule.size
        children = rule.children(self._values[at:])
        del self._values[at:]
        if rule.inlined:
            self._values.append(Inlined(children))
        elif rule.alone and len(children) == 1:
            self._values.append(children[0])
        else:
            self._values.append(self._build(rule.name, children))


def _after(
    automaton: Automaton, states: list[int], name: str, reduced: Callable[[Rule], None] | None
) -> bool:
    """Moves the stack of states over a terminal; False if it does not fit."""
    while True:
        action = automaton.states[states[-1]].get(name)
        if action is None:
            return False
        if action >= 0:
            states.append(action)
            return True
        rule = automaton.rules[-1 - action]
        if rule.size:
            del states[-rule.size :]
        if reduced is not None:
            reduced(rule)
        states.append(automaton.states[states[-1]][rule.origin])
        if name == END and states[-1] == automaton.last:
            return True
