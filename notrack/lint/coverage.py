"""Which rules of a table nothing can come to, and which rules in front of them take their packets.

The question is asked of the table alone: every packet may come to a base chain. What only some rules of the
kernel or facts of the host exclude (a way out in INPUT, a loopback address from outside) counts as possible.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from notrack.lint.entries import Entry, changed_fields, entries, facts_of, without
from notrack.netfilter.guards import guard_set
from notrack.packets.address import Family
from notrack.packets.budget import Budget
from notrack.packets.diagram import EMPTY, FULL, Node
from notrack.packets.packet_set import PacketSet
from notrack.packets.space import Space
from notrack.ruleset.core import Jump, Nat, Rule, Table, Verdict
from notrack.ruleset.evaluation import has_own


@dataclass(frozen=True, slots=True)
class Arrival:
    """A rule with the packets that it is written for, and whether any of them comes to it."""

    entry: Entry
    wanted: PacketSet
    reached: bool


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
        self._sets: dict[int, tuple[int, int]] = {}
        self._apart: set[tuple[int, int]] = set()
        self._dead: set[int] = set()
        self._ends: dict[str, int] = {}
        self._arrive: dict[str, int] = {}
        self._calls: dict[str, list[tuple[Entry, Rule]]] = {}
        self._order = self._postorder()
        for name in self._order:
            self._ends[name] = self._ended(name)

    def arrivals(self) -> Iterator[Arrival]:
        """Every rule of every chain that packets come to, callers first."""
        space = self.space
        self._arrive = dict.fromkeys(self.chains, EMPTY)
        self._calls = {name: [] for name in self.chains}
        for chain in self.table.chains:
            if chain.base is not None:
                self._arrive[chain.name] = space.well_formed
        for name in reversed(self._order):
            entering, live = self._arrive[name], FULL
            if entering == EMPTY:
                continue
            for entry in self.entries[name]:
                wanted, reached = EMPTY, False
                for rule in entry.rules:
                    matched = self.matched(rule)
                    left = space.meet(live, matched)
                    wanted = space.join(wanted, matched)
                    reached = reached or self._overlap(left, entering)
                    self._call(entry, rule, left, entering)
                    taken = self.taken(rule)
                    if taken != EMPTY:
                        live = space.minus(live, taken)
                if not reached:
                    self._dead.add(id(entry))
                yield Arrival(entry, PacketSet(space, wanted), reached)

    def takers(self, entry: Entry, packets: PacketSet) -> tuple[Entry, ...]:
        """The rules in front of a rule, in its own chain, that take a set of packets before it: those
        needed, one alone if one is enough. Empty where they do not take the whole set. Ask it when all
        `arrivals` were seen."""
        space = self.space
        left = space.meet(packets.diagram, self._arrive[entry.chain.name])
        front = self.entries[entry.chain.name][: entry.number]
        found: list[Entry] = []
        whole = left
        for one in front:
            if id(one) in self._dead:
                continue
            taken = space.first([self.taken(rule) for rule in one.rules])
            if taken == EMPTY or space.meet(taken, whole) == EMPTY:
                continue
            if space.minus(whole, taken) == EMPTY:
                return (one,)
            if space.meet(taken, left) != EMPTY:
                found.append(one)
                left = space.minus(left, taken)
        return tuple(found) if left == EMPTY else ()

    def entering(self, entry: Entry, packets: PacketSet) -> PacketSet:
        """Those of a set of packets that come to the chain of a rule at all."""
        return PacketSet(self.space, self.space.meet(packets.diagram, self._arrive[entry.chain.name]))

    def calls(self, entry: Entry) -> tuple[tuple[Entry, PacketSet], ...]:
        """The rules that jump to the chain of a rule, each with the packets that it is written for."""
        return tuple(
            (caller, PacketSet(self.space, self.matched(rule)))
            for caller, rule in self._calls[entry.chain.name]
        )

    def matched(self, rule: Rule) -> int:
        """The packets that a rule may match."""
        return self._guard(rule)[0]

    def taken(self, rule: Rule) -> int:
        """The packets that a rule ends for certain, for this chain at least."""
        last = rule.actions[-1] if rule.actions else None
        certain = self._guard(rule)[1]
        if isinstance(last, Verdict | Nat):
            return certain
        if isinstance(last, Jump):
            if last.goto and last.chain in self.chains:
                return certain
            return self.space.meet(certain, self._ends.get(last.chain, EMPTY))
        return EMPTY

    def _guard(self, rule: Rule) -> tuple[int, int]:
        """The packets that a rule may match, and those that it matches for certain."""
        if id(rule) not in self._sets:
            loose = without(rule.guard, self._changing, self._single)
            whole = guard_set(self.space, rule.guard if loose is None else loose)
            self._sets[id(rule)] = whole, whole if loose is None else EMPTY
        return self._sets[id(rule)]

    def _call(self, entry: Entry, rule: Rule, left: int, entering: int) -> None:
        """Notes what a jump brings to its target: what is left here of the packets that came to the chain."""
        last = rule.actions[-1] if rule.actions else None
        if isinstance(last, Jump) and last.chain in self.chains:
            packets = self.space.meet(left, entering)
            self._calls[last.chain].append((entry, rule))
            self._arrive[last.chain] = self.space.join(self._arrive[last.chain], packets)

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

    def _ended(self, name: str) -> int:
        """The packets that certainly never come back out of a chain."""
        space = self.space
        ended: list[int] = []
        live = FULL  # those that are certainly still in the chain, or ended
        for rule in self.chains[name].rules:
            stays, leaves = self._endings(rule)
            if stays != EMPTY:
                ended.append(space.meet(live, stays))
            if stays != EMPTY or leaves != EMPTY:
                live = space.minus(space.minus(live, stays), leaves)
            if live == EMPTY:
                break
        return space.first(ended)

    def _endings(self, rule: Rule) -> tuple[int, int]:
        """The packets that a rule ends for certain, for every caller, and those that it may send back."""
        last = rule.actions[-1] if rule.actions else None
        matched, certain = self._guard(rule)
        if last is Verdict.RETURN:
            return EMPTY, matched
        if isinstance(last, Jump):
            ends = self._ends.get(last.chain, EMPTY)
            back = self.space.minus(matched, ends) if last.goto else EMPTY
            return self.space.meet(certain, ends), back
        return (certain, EMPTY) if isinstance(last, Verdict | Nat) else (EMPTY, EMPTY)

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
                    stack += [(target, False) for target in _targets(self.chains[name].rules)]
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


def _targets(rules: tuple[Rule, ...]) -> Iterator[str]:
    for rule in rules:
        for action in rule.actions:
            if isinstance(action, Jump):
                yield action.chain


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
