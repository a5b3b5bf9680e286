"""Base chains as formulas of z3, from the meaning of rules alone: no diagrams, no blocks, no joined rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import z3

from notrack.netfilter.host import group_addresses
from notrack.netfilter.ways import LOOPBACK_INTERFACE
from notrack.packets.address import Family
from notrack.packets.fields import ICMP_PROTOCOL, PORT_PROTOCOLS, AddressType, Field, State, domain
from notrack.packets.intervals import IntervalSet
from notrack.proof.functions import Place, mounted, places
from notrack.ruleset.core import (
    Among,
    Chain,
    Fact,
    Guard,
    Hook,
    Jump,
    Literal,
    Log,
    Never,
    Notrack,
    OneOf,
    Ruleset,
    Table,
    Template,
    Unknown,
    Verdict,
)

_ENDS = {Verdict.ACCEPT: 1, Verdict.DROP: 2, Verdict.REJECT: 3}
_PLAIN = [field for field in Field if field not in (Field.MARK, Field.CT_MARK, Field.FAMILY)]


class Encoding:
    """One family's packets, and what rulesets do with them."""

    def __init__(self, family: Family, own: IntervalSet, elsewhere: IntervalSet) -> None:
        self.family = family
        self.fields = {field: z3.Int(field.name) for field in _PLAIN}
        self.facts: dict[str, Any] = {}
        self.valid = z3.And(*self._valid(own, elsewhere))
        self.notes: dict[object, int] = {}

    def _valid(self, own: IntervalSet, elsewhere: IntervalSet) -> Iterator[Any]:
        """Packets that can be: values of the fields, kinds that fit the address, translated with an entry."""
        for field, value in self.fields.items():
            allowed = domain(field, self.family)
            yield z3.And(value >= allowed.low, value <= allowed.high)
        entry = self.fields[Field.STATE] <= State.RELATED
        for translated in (Field.CT_SNAT, Field.CT_DNAT):
            yield z3.Implies(self.fields[translated] == 1, entry)
        groups = group_addresses(self.family)
        for address, kind in (
            (Field.DESTINATION, Field.DESTINATION_TYPE),
            (Field.SOURCE, Field.SOURCE_TYPE),
        ):
            local = self.fields[kind] == AddressType.LOCAL
            yield z3.Implies(self._in(address, own), local)
            yield z3.Implies(self._in(address, elsewhere), z3.Not(local))
            yield self._in(address, groups) == (self.fields[kind] == AddressType.MULTICAST)

    def _in(self, field: Field, values: IntervalSet, at: Any = None) -> Any:
        value = self.fields[field] if at is None else at
        return z3.Or([z3.And(value >= low, value <= high) for low, high in values])

    def fact(self, name: str) -> Any:
        return self.facts.setdefault(name, z3.Bool(name))

    def guard(self, guard: Guard, state: Any) -> Any:
        return z3.And([self.literal(literal, state) for literal in guard])

    def literal(self, literal: Literal, state: Any) -> Any:
        if isinstance(literal, Among):
            if literal.field is Field.FAMILY:
                return z3.BoolVal(
                    (domain(Field.FAMILY, self.family).low in literal.values) != literal.negated
                )
            inside = self._in(literal.field, literal.values, state if literal.field is Field.STATE else None)
            return z3.And(self.there(literal.field), z3.Not(inside) if literal.negated else inside)
        if isinstance(literal, Fact):
            return z3.Not(self.fact(literal.name)) if literal.negated else self.fact(literal.name)
        if isinstance(literal, OneOf):
            assert not literal.negated
            return z3.Or([self.guard(inner, state) for inner in literal.guards])
        assert isinstance(literal, Never), literal
        return z3.BoolVal(False)

    def there(self, field: Field) -> Any:
        """Whether the packet has a field."""
        protocol, headed = self.fields[Field.PROTOCOL], self.fields[Field.FRAGMENT] <= 1
        if field in (Field.SOURCE_PORT, Field.DESTINATION_PORT):
            return z3.And(headed, self._in(Field.PROTOCOL, PORT_PROTOCOLS))
        if field is Field.FLAGS:
            return z3.And(headed, protocol == 6)
        if field in (Field.ICMP_TYPE, Field.ICMP_CODE):
            return z3.And(headed, protocol == ICMP_PROTOCOL[self.family])
        return z3.BoolVal(True)

    def note(self, what: object) -> int:
        return self.notes.setdefault(what, len(self.notes) + 1)


@dataclass(slots=True)
class Run:
    """What has happened to a packet so far in one place. `end` 0: it goes on."""

    encoding: Encoding
    table: Table
    state: Any
    end: Any
    done: Any  # a number for each translation, template or note, the last that was given

    def chain(self, chain: Chain, alive: Any, depth: int = 0) -> Any:
        """Runs a chain for packets that are `alive`; those for which it comes back are returned."""
        assert depth < 20
        here = alive
        for rule in chain.rules:
            matched = z3.And(here, self.encoding.guard(rule.guard, self.state))
            for action in rule.actions:
                if isinstance(action, Jump):
                    target = self.table.chain(action.chain)
                    assert target is not None and not action.goto
                    back = z3.Or(z3.Not(matched), self.chain(target, matched, depth + 1))
                    here, alive = z3.And(here, back), z3.And(alive, back)
                elif action is Verdict.RETURN:
                    here = z3.And(here, z3.Not(matched))
                elif isinstance(action, Verdict):
                    self.end = z3.If(matched, _ENDS[action], self.end)
                    here, alive = z3.And(here, z3.Not(matched)), z3.And(alive, z3.Not(matched))
                elif isinstance(action, Notrack):
                    bare = z3.And(matched, self.state == State.INVALID)
                    self.state = z3.If(bare, int(State.UNTRACKED), self.state)
                elif isinstance(action, Template):
                    bare = z3.And(matched, self.state == State.INVALID)
                    self.done = z3.If(bare, self.encoding.note(action), self.done)
                    self.state = z3.If(bare, int(State.NEW), self.state)
                elif isinstance(action, Log):
                    continue
                else:
                    ends = 4 if isinstance(action, Unknown) else 1
                    self.done = z3.If(matched, self.encoding.note(action), self.done)
                    if type(action).__name__ == "Nat" or ends == 4:
                        self.end = z3.If(matched, ends, self.end)
                        here, alive = z3.And(here, z3.Not(matched)), z3.And(alive, z3.Not(matched))
        return alive


Row = tuple[Place, ...]
"""Places of one hook that are looked at together, because nothing lies between them."""


def outcome(encoding: Encoding, ruleset: Ruleset, row: Row) -> tuple[Any, Any, Any]:
    """How a packet leaves some places: its end (0 or 1: it goes on), its state, what was done to it."""
    state, end, done = encoding.fields[Field.STATE], z3.IntVal(0), z3.IntVal(0)
    for item in (item for place in row for item in mounted(ruleset, place, encoding.family)):
        assert item.chain.base is not None
        run = Run(encoding, item.table, state, z3.IntVal(0), done)
        going = z3.And(end != 2, end != 3, end != 4)
        run.chain(item.chain, going)
        policy = _ENDS[item.chain.base.policy]
        mine = z3.If(z3.And(going, run.end == 0), policy, run.end)
        end, state, done = z3.If(going, mine, end), run.state, run.done
    return z3.If(end == 1, 0, end), state, done


def seen_at(encoding: Encoding, place: Place) -> Iterator[Any]:
    """What the kernel's way says of every packet at a place: which interfaces it has; that the host sends
    from own addresses (or none yet), what is for itself by lo alone, and before tracking without a state."""
    into, out = encoding.fields[Field.IN], encoding.fields[Field.OUT]
    hook = place.stage.hook
    if hook in (Hook.PREROUTING, Hook.INPUT):
        yield z3.And(into != 0, out == 0)
    elif hook is Hook.FORWARD:
        yield z3.And(into != 0, out != 0)
    elif hook is Hook.OUTPUT:
        yield z3.And(into == 0, out != 0)
    if hook is Hook.OUTPUT and place.stage.early:
        own = encoding.fields[Field.SOURCE_TYPE] == AddressType.LOCAL
        yield z3.Or(own, encoding.fields[Field.SOURCE] == 0)
        yield (out == LOOPBACK_INTERFACE) == (encoding.fields[Field.DESTINATION_TYPE] == AddressType.LOCAL)
        yield encoding.fields[Field.STATE] == State.INVALID


def same_at(encoding: Encoding, one: Ruleset, other: Ruleset, row: Row) -> bool:
    """Whether two rulesets do the same with every packet at some places."""
    pairs = zip(outcome(encoding, one, row), outcome(encoding, other, row), strict=True)
    solver = z3.Solver()
    solver.set("timeout", 60_000)
    solver.add(encoding.valid, *seen_at(encoding, row[0]), z3.Or([a != b for a, b in pairs]))
    answer = solver.check()
    assert answer != z3.unknown
    return bool(answer == z3.unsat)


def unlike_places(encoding: Encoding, one: Ruleset, other: Ruleset) -> list[Place]:
    """The places where two rulesets may do different things."""
    found = []
    for row in _rows(one, other, encoding.family):
        asked = [[_rules(side, place, encoding.family) for place in row] for side in (one, other)]
        if asked[0] != asked[1] and not same_at(encoding, one, other, row):
            found.append(row[0])
    return found


def _rows(one: Ruleset, other: Ruleset, family: Family) -> Iterator[Row]:
    """The places of each stage: together where no translation lies between them, else one by one."""
    for _, stage in groupby(places(), key=lambda place: place.stage):
        row = tuple(stage)
        if any(place.nat and mounted(side, place, family) for place in row for side in (one, other)):
            yield from ((place,) for place in row)
        else:
            yield row


def _rules(ruleset: Ruleset, place: Place, family: Family) -> list[object]:
    """Everything that rules of a place say, without the places of their text."""
    return [
        (
            item.priority,
            item.chain.base,
            [
                (chain.name, [(rule.guard, rule.actions) for rule in chain.rules])
                for chain in item.table.chains
                if chain.base is None or chain is item.chain
            ],
        )
        for item in mounted(ruleset, place, family)
    ]
