"""Which rules of a table nothing can come to, and which rules in front of them take their packets.

The question is asked of the table alone: every packet may come to a base chain. What only some rules of the
kernel or facts of the host exclude (a way out in INPUT, a loopback address from outside) counts as possible.

A chain is a balanced tree of stretches of rules. What comes to a stretch is cut down to what its rules are
written for before the stretch is looked into: the sets stay small however long the chain is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator

from notrack.lint.entries import Entry, changed_fields, entries, facts_of, without
from notrack.netfilter.guards import guard_set
from notrack.packets.address import Family
from notrack.packets.budget import Budget
from notrack.packets.diagram import EMPTY, FULL, Node
from notrack.packets.packet_set import PacketSet
from notrack.packets.space import Space
from notrack.ruleset.core import Jump, Nat, Rule, Table, Verdict
from notrack.ruleset.evaluation import has_own
from notrack.text.record import dataclass


@dataclass(frozen=True, slots=True)
class Arrival:
    """A rule with the packets that it is written for, and whether any of them comes to it."""

    entry: Entry
    wanted: PacketSet
    reached: bool


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Some rules of a chain that follow each other, as sets of packets.

    - `matched`: those that one of them may match;
    - `taken`: those that certainly come to no rule of the chain behind them;
    - `ended`: those that certainly come back to no caller; `left`: those that may go back to one.
    """

    matched: int
    taken: int
    ended: int
    left: int
    parts: tuple[_Stretch, _Stretch] | None = None
    entry: Entry | None = None
    rule: Rule | None = None


class Coverage:
    """The chains of one table as one family's packets go through them. May raise `TooHard`.

    A fact that only one rule asks for, one that each rule evaluates for itself, and a field that rules of the
    table change decide nothing here: such a rule may match, and takes nothing for certain.
    """

    def __init__(self, table: Table, family: Family, budget: Budget | None = None) -> None:
        self.table = table
        self.space = Space(family, budget)
        self.chains = {chain.name: chain for chain in table.chains}
        self.entries = {chain.name: entries(chain) for chain in table.chains}
        self._changing = changed_fields(table)
        self._single = _lonely(table)
        self._dead: set[int] = set()
        self._apart: set[tuple[int, int]] = set()
        self._trees: dict[str, _Stretch | None] = {}
        self._arrive: dict[str, int] = {}
        self._calls: dict[str, list[tuple[Entry, int]]] = {}
        self._order = self._postorder()
        for name in self._order:
            self._trees[name] = self._tree(name)

    def arrivals(self) -> Iterator[Arrival]:
        """Every rule of every chain that packets come to, callers first."""
        self._arrive = dict.fromkeys(self.chains, EMPTY)
        self._calls = {name: [] for name in self.chains}
        for chain in self.table.chains:
            if chain.base is not None:
                self._arrive[chain.name] = self.space.well_formed
        for name in reversed(self._order):
            tree, coming = self._trees[name], self._arrive[name]
            if tree is None or coming == EMPTY:
                continue
            reached: set[int] = set()
            self._pass(tree, FULL, coming, reached)
            for entry in self.entries[name]:
                if entry.number not in reached:
                    self._dead.add(id(entry))
                wanted = self.space.first([self._guard(rule)[0] for rule in entry.rules])
                yield Arrival(entry, PacketSet(self.space, wanted), entry.number in reached)

    def _pass(self, stretch: _Stretch, live: int, coming: int, reached: set[int]) -> None:
        """Takes packets through a stretch, as far as rules in front leave them; notes which rules are matched
        by those that come to the chain at all (often a set of many pieces, so only looked at in the end).
        """
        live = self.space.meet(stretch.matched, live)
        if live == EMPTY:
            return
        if stretch.parts is not None:
            first, second = stretch.parts
            self._pass(first, live, coming, reached)
            self._pass(second, self.space.minus(live, first.taken), coming, reached)
        elif stretch.entry is not None and stretch.rule is not None and self._overlap(live, coming):
            reached.add(stretch.entry.number)
            target = _target(stretch.rule)
            if target in self.chains:
                self._calls[target].append((stretch.entry, stretch.matched))
                packets = self.space.meet(live, coming)
                self._arrive[target] = self.space.join(self._arrive[target], packets)

    def _overlap(self, a: int, b: int) -> bool:
        """Whether two sets have a common member; stops at the first, where `meet` would make all of them."""
        nodes, apart = self.space.nodes, self._apart

        def walk(x: int, y: int) -> bool:
            if x == EMPTY or y == EMPTY:
                return False
            if x in (FULL, y) or y == FULL:
                return True
            if (x, y) in apart:
                return False
            if nodes[x][0] != nodes[y][0]:
                upper, lower = (x, y) if nodes[x][0] < nodes[y][0] else (y, x)
                found = any(walk(kid, lower) for kid in dict.fromkeys(nodes[upper][2]))
            else:
                found = any(walk(one, other) for one, other in _pairs(nodes[x], nodes[y]))
            if not found:
                apart.add((x, y))
            return found

        return walk(a, b)

    def takers(self, entry: Entry, packets: PacketSet) -> tuple[Entry, ...]:
        """The rules in front of a rule, in its own chain, that take a set of packets before it: those that it
        needs, one alone if one is enough. Empty where they do not take the whole set. Ask it when all
        `arrivals` were seen.
        """
        space = self.space
        whole = left = self.entering(entry, packets).diagram
        found: list[Entry] = []
        for one, taken in self._taking(entry, whole):
            if space.minus(whole, taken) == EMPTY:
                return (one,)
            if space.meet(taken, left) != EMPTY:
                found.append(one)
                left = space.minus(left, taken)
        return tuple(found) if left == EMPTY else ()

    def _taking(self, entry: Entry, packets: int) -> Iterator[tuple[Entry, int]]:
        """The living rules in front of a rule that take any of some packets, each with all that it takes."""
        tree = self._trees[entry.chain.name]
        waiting = [tree] if tree is not None else []
        taken: dict[int, int] = {}
        while waiting:
            one = waiting.pop()
            if self.space.meet(one.taken, packets) == EMPTY:
                continue
            if one.parts is not None:
                waiting += one.parts[::-1]
            elif (
                one.entry is not None and one.entry.number < entry.number and id(one.entry) not in self._dead
            ):
                number = one.entry.number
                taken[number] = self.space.join(taken.get(number, EMPTY), one.taken)
        for number in sorted(taken):
            yield self.entries[entry.chain.name][number], taken[number]

    def entering(self, entry: Entry, packets: PacketSet) -> PacketSet:
        """Those of a set of packets that come to the chain of a rule at all."""
        return PacketSet(self.space, self.space.meet(packets.diagram, self._arrive[entry.chain.name]))

    def calls(self, entry: Entry) -> tuple[tuple[Entry, PacketSet], ...]:
        """The rules that jump to the chain of a rule, each with the packets that it is written for."""
        found = self._calls[entry.chain.name]
        return tuple((caller, PacketSet(self.space, matched)) for caller, matched in found)

    def _guard(self, rule: Rule) -> tuple[int, int]:
        """The packets that a rule may match, and those that it matches for certain."""
        loose = without(rule.guard, self._changing, self._single)
        whole = guard_set(self.space, rule.guard if loose is None else loose)
        return whole, whole if loose is None else EMPTY

    def _tree(self, name: str) -> _Stretch | None:
        row = [self._single_rule(entry, rule) for entry in self.entries[name] for rule in entry.rules]
        while len(row) > 1:
            pairs = zip(row[::2], row[1::2], strict=False)
            row = [self._joined(a, b) for a, b in pairs] + (row[-1:] if len(row) % 2 else [])
        return row[0] if row else None

    def _single_rule(self, entry: Entry, rule: Rule) -> _Stretch:
        last = rule.actions[-1] if rule.actions else None
        matched, certain = self._guard(rule)
        taken, ended, left = EMPTY, EMPTY, EMPTY
        if last is Verdict.RETURN:
            taken, left = certain, matched
        elif isinstance(last, Jump):
            called = self._trees.get(last.chain)
            ends = called.ended if called is not None else EMPTY
            ended = self.space.meet(certain, ends)
            taken = certain if last.goto and last.chain in self.chains else ended
            left = self.space.minus(matched, ends) if last.goto else EMPTY
        elif isinstance(last, Verdict | Nat):
            taken = ended = certain
        return _Stretch(matched, taken, ended, left, entry=entry, rule=rule)

    def _joined(self, first: _Stretch, second: _Stretch) -> _Stretch:
        """Two stretches in a row. What may have left before does not certainly end behind."""
        join, minus = self.space.join, self.space.minus
        return _Stretch(
            join(first.matched, second.matched),
            join(first.taken, second.taken),
            join(first.ended, minus(second.ended, first.left)),
            join(first.left, minus(second.left, first.ended)),
            (first, second),
        )

    def _postorder(self) -> list[str]:
        """The names of all chains, each behind those that it calls."""
        order: list[str] = []
        seen: set[str] = set()
        for first in self.chains:
            stack = [(first, False)]
            while stack:
                name, done = stack.pop()
                if done:
                    order.append(name)
                elif name not in seen and name in self.chains:
                    seen.add(name)
                    stack.append((name, True))
                    stack += [(_target(rule), False) for rule in self.chains[name].rules]
        return order


def _pairs(a: Node, b: Node) -> Iterator[tuple[int, int]]:
    """The kids of two nodes of one level that share a value."""
    i = j = 0
    while i < len(a[1]) and j < len(b[1]):
        if a[2][i] == EMPTY:
            i, j = i + 1, bisect_right(b[1], a[1][i], j)
            continue
        if b[2][j] == EMPTY:
            i, j = bisect_right(a[1], b[1][j], i), j + 1
            continue
        yield a[2][i], b[2][j]
        step = a[1][i] - b[1][j]
        i += step <= 0
        j += step >= 0


def _target(rule: Rule) -> str:
    """The chain that a rule jumps to; empty for none."""
    last = rule.actions[-1] if rule.actions else None
    return last.chain if isinstance(last, Jump) else ""


def _lonely(table: Table) -> frozenset[str]:
    """The facts that only one rule asks for, and those that each rule evaluates for itself."""
    counts: Counter[str] = Counter()
    own: set[str] = set()
    for chain in table.chains:
        for entry in entries(chain):
            names: set[str] = set()
            for rule in entry.rules:
                names |= facts_of(rule.guard)
                if has_own(rule.guard):
                    own |= facts_of(rule.guard)
            counts.update(names)
    return frozenset(own | {name for name, count in counts.items() if count == 1})
