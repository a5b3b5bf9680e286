"""Chains as lists of blocks: what is done, and to which boxes of packets. Equal lists do the same.

A jump is replaced by the rules to which it leads, and neighbours that do the same become one block, a union
of boxes in which no order is left. That is exact wherever it is done; a place where it cannot be is compared
as diagrams instead. docs/proof.md gives the reasons one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from notrack.netfilter.ways import Mounted
from notrack.packets.address import Family
from notrack.packets.diagram import EMPTY, FULL
from notrack.packets.fields import MIRROR, Field, State, domain, icmp_answer, presence
from notrack.packets.intervals import Interval, IntervalSet
from notrack.packets.space import Space
from notrack.ruleset import core

Spans = tuple[Interval, ...]
Box = tuple[tuple[tuple[int, Spans], ...], frozenset[core.Fact]]
"""The allowed values of each field that is bounded, by the field's number, and the facts that must hold."""
Actions = tuple[core.Action, ...]

_FIELDS = tuple(Field)
_NUMBER = {field: at for at, field in enumerate(_FIELDS)}
_STATE = _NUMBER[Field.STATE]
_UNION_ORDER = tuple(
    _NUMBER[field]
    for field in (
        Field.DESTINATION_PORT, Field.SOURCE_PORT, Field.ICMP_TYPE, Field.SOURCE, Field.DESTINATION,
        Field.IN, Field.OUT, Field.PROTOCOL,
    )
)  # fmt: skip
_NUMBERS = {field.value: at for at, field in enumerate(_FIELDS)}  # enum members are slow keys
_FAMILY = _NUMBER[Field.FAMILY]
_ENTRY = frozenset(_NUMBER[field] for field in (Field.CT_DIRECTION, Field.CT_MARK, Field.MARK))
_TRANSLATED = (_NUMBER[Field.CT_SNAT], _NUMBER[Field.CT_DNAT])
_KINDS = (
    (_NUMBER[Field.DESTINATION], _NUMBER[Field.DESTINATION_TYPE]),
    (_NUMBER[Field.SOURCE], _NUMBER[Field.SOURCE_TYPE]),
)
_ONE = IntervalSet.single(1)
_WITH_ENTRY = IntervalSet(((State.NEW, State.RELATED),))
_FEW = 300  # up to so many boxes those inside others are looked for
UNTRACK: Actions = (core.Notrack(), core.Verdict.ACCEPT)
_MANY = 64  # from so many tuples on, a set is taken together before it is looked at
_MOST = 50_000  # boxes that one rule may stand for


_KNOWN = (
    core.Verdict, core.Notrack, core.Template, core.ConnectionSet, core.Nat, core.Unknown,
)  # fmt: skip


class Opaque(Exception):
    """The chains are no list of blocks."""


@dataclass(frozen=True, slots=True)
class Block:
    """All packets of the boxes get the actions, whatever their order."""

    actions: Actions
    boxes: frozenset[Box]


Item = tuple[Box, Actions]


def blocks(mounted: Iterable[Mounted], known: Known, *, early: bool) -> tuple[Block, ...]:
    """The base chains of a place as one list. Raises `Opaque`."""
    rows: list[list[Item]] = []
    for one in mounted:
        assert one.chain.base is not None
        policy = one.chain.base.policy
        items = _Flat(one.table, known).chain(one.chain, (), policy)
        if policy is not core.Verdict.ACCEPT:
            items.append((_EVERYTHING, (policy,)))
        if items:
            rows.append(items)
    if len(rows) > 1:
        raise Opaque  # an ACCEPT ends its own chain, not those behind it
    items = rows[0] if rows else []
    return tuple(_gathered(list(_ending(items)) if early else items))


@dataclass(frozen=True, slots=True)
class Known:
    """What a box need not say: addresses of which the kind is known, by the number of the kind."""

    family: Family
    kinds: tuple[tuple[int, IntervalSet], ...] = ()


_EVERYTHING: Box = ((), frozenset())


class _Flat:
    """The rules of one table without jumps."""

    def __init__(self, table: core.Table, known: Known) -> None:
        self.chains = {chain.name: chain for chain in table.chains}
        self.known = known

    def chain(self, chain: core.Chain, inside: tuple[str, ...], end: core.Verdict | None) -> list[Item]:
        """The items of a chain. `end`: what becomes of a packet that leaves it, None if more rules follow."""
        items: list[Item] = []
        for number, rule in enumerate(chain.rules):
            actions = tuple(action for action in rule.actions if not isinstance(action, core.Log))
            if not actions:
                continue
            after = end if number == len(chain.rules) - 1 else None
            found = boxes(rule.guard, self.known)
            if isinstance(actions[-1], core.Jump):
                items += self.jump(found, actions, (*inside, chain.name), after)
            else:
                done = tuple(_returned(action, end) for action in actions)
                items += [(box, done) for box in found]
        return items

    def jump(
        self, found: list[Box], actions: Actions, inside: tuple[str, ...], end: core.Verdict | None
    ) -> list[Item]:
        jump = actions[-1]
        assert isinstance(jump, core.Jump)
        target = self.chains.get(jump.chain)
        if len(actions) > 1 or jump.goto or target is None or target.name in inside:
            raise Opaque
        inner = self.chain(target, inside, end)
        if len(inner) > 1 and any(_asks_state(box) for box in found) and not _only_verdicts(inner):
            raise Opaque  # the chain may change what the jump asked for
        return [
            (box, done)
            for outer in found
            for within, done in inner
            if (box := both(outer, within)) is not None
        ]


def _returned(action: core.Action, end: core.Verdict | None) -> core.Action:
    if action is not core.Verdict.RETURN:
        if not isinstance(action, _KNOWN):
            raise Opaque
        return action
    if end is None:
        raise Opaque
    return end


def _asks_state(box: Box) -> bool:
    return any(number == _STATE for number, _ in box[0])


def _only_verdicts(items: list[Item]) -> bool:
    return all(isinstance(action, core.Verdict) for _, actions in items for action in actions)


def _ending(items: list[Item]) -> Iterator[Item]:
    """Before tracking: NOTRACK ends the walk where nothing behind it does anything to an untracked packet."""
    harmless = (core.Notrack, core.Template)
    tail = len(items)
    while tail and all(
        action is core.Verdict.ACCEPT or (isinstance(action, harmless) and not _overrides(action))
        for action in items[tail - 1][1]
    ):
        tail -= 1
    for number, (box, actions) in enumerate(items):
        notrack = actions in ((core.Notrack(),), UNTRACK)
        yield (box, UNTRACK) if notrack and number >= tail else (box, actions)


def _overrides(action: core.Action) -> bool:
    return isinstance(action, core.Template) and action.overrides


def _gathered(items: list[Item]) -> Iterator[Block]:
    """Neighbours that do the same as one block."""
    waiting: list[Box] = []
    does: Actions = ()
    for box, actions in items:
        if waiting and actions != does:
            yield Block(does, united(waiting))
            waiting = []
        does = actions
        waiting.append(box)
    if waiting:
        yield Block(does, united(waiting))


# Guards as boxes.


def boxes(guard: core.Guard, known: Known) -> list[Box]:
    """The packets of a guard as a union of boxes. Raises `Opaque`."""
    bounds: dict[int, IntervalSet] = {}
    facts: list[core.Fact] = []
    choices: list[core.OneOf] = []
    for literal in guard:
        if isinstance(literal, core.Among):
            _narrow(bounds, literal, known.family)
        elif isinstance(literal, core.Fact):
            facts.append(literal)
        elif isinstance(literal, core.OneOf) and not literal.negated:
            choices.append(literal)
        elif isinstance(literal, core.Never):
            return []
        else:
            raise Opaque
    base = _box(bounds, facts, known)
    found = [] if base is None else [base]
    for choice in choices:
        inner = [box for one in _alike(choice.guards) for box in boxes(one, known)]
        if len(found) * len(inner) > _MOST:
            raise Opaque
        found = [box for one in found for two in inner if (box := both(one, two)) is not None]
    return found


def _alike(guards: Sequence[core.Guard]) -> Iterable[core.Guard]:
    """The same choice in fewer guards: those that differ in the values of their last field become one. A
    large set of tuples becomes as many guards as it has tuples without their last part."""
    if len(guards) < _MANY:
        return guards
    groups: dict[tuple[object, ...], list[core.Among]] = {}
    for guard in guards:
        key: list[object] = []
        for literal in guard:
            if not isinstance(literal, core.Among) or literal.negated:
                return guards
            key.append(literal.field.value)
            key.append(literal.values.spans)
        if not key:
            return guards
        key.pop()
        groups.setdefault(tuple(key), []).append(guard[-1])  # type: ignore[arg-type]
    first = guards[0]
    if any(len(guard) != len(first) for guard in guards):
        return guards
    return _merged(guards, groups)


def _merged(
    guards: Sequence[core.Guard], groups: Mapping[tuple[object, ...], list[core.Among]]
) -> Iterator[core.Guard]:
    last = {id(guard[-1]): guard for guard in guards}
    for alike in groups.values():
        guard = last[id(alike[0])]
        spans = IntervalSet.of(span for one in alike for span in one.values.spans)
        yield (*guard[:-1], core.Among(alike[0].field, spans))


def _narrow(bounds: dict[int, IntervalSet], literal: core.Among, family: Family) -> None:
    number = _NUMBERS[literal.field.value]
    if number in _ENTRY:
        raise Opaque
    if number == _FAMILY:
        if (domain(Field.FAMILY, family).low in literal.values) == literal.negated:
            bounds[_STATE] = IntervalSet()
        return
    values = literal.values
    if literal.negated:
        values = IntervalSet(_WHOLE[family][number]) - values
    for other, allowed in _PRESENCE[family][number]:
        before = bounds.get(other)
        bounds[other] = allowed if before is None or before == allowed else before & allowed
    before = bounds.get(number)
    bounds[number] = values if before is None or before == values else before & values


def _box(bounds: dict[int, IntervalSet], facts: Iterable[core.Fact], known: Known) -> Box | None:
    items: list[tuple[int, Spans]] = []
    whole = _WHOLE[known.family]
    if not _settle(bounds, known):
        return None
    for number in sorted(bounds):
        values = bounds[number]
        if values.spans != whole[number]:
            spans, (low, high) = values.spans, whole[number][0]
            if spans and (spans[0][0] < low or spans[-1][1] > high):
                spans = (values & IntervalSet(whole[number])).spans
            if not spans:
                return None
            if spans != whole[number]:
                items.append((number, spans))
    return tuple(items), frozenset(facts)


def _settle(bounds: dict[int, IntervalSet], known: Known) -> bool:
    """Take out what follows from the rest; False if nothing fits."""
    for address, kind in _KINDS:
        if address in bounds and kind in bounds:
            for value, addresses in known.kinds:
                if bounds[address] <= addresses:
                    if value not in bounds.pop(kind):
                        return False
                    break
    for translated in _TRANSLATED:
        if translated in bounds and bounds[translated] == _ONE:  # then there is an entry
            state = bounds.get(_STATE)
            if state is not None and state >= _WITH_ENTRY:
                del bounds[_STATE]
    return True


_WHOLE = {family: tuple(domain(field, family).whole.spans for field in _FIELDS) for family in Family}
_PRESENCE = {
    family: tuple(
        tuple((_NUMBER[other], allowed) for other, allowed in presence(field, family).items())
        for field in _FIELDS
    )
    for family in Family
}


def both(one: Box, other: Box) -> Box | None:
    """The packets of two boxes; None if there are none."""
    if not one[0] and not one[1]:
        return other
    if not other[0] and not other[1]:
        return one
    bounds = dict(one[0])
    for number, spans in other[0]:
        before = bounds.get(number)
        if before is not None and before != spans:
            spans = (IntervalSet(before) & IntervalSet(spans)).spans
            if not spans:
                return None
        bounds[number] = spans
    return tuple(sorted(bounds.items())), one[1] | other[1]


def united(parts: Iterable[Box]) -> frozenset[Box]:
    """The same packets in fewer boxes: those that differ in one field become one."""
    left = set(parts)
    while True:
        before = len(left)
        if before < 2:
            break
        if before <= _FEW:
            left = _absorbed(left)
        bounded = {number for box in left for number, _ in box[0]}
        for number in _UNION_ORDER:
            if number in bounded:
                left = _joined(left, number)
        if len(left) == before:
            break
    return frozenset(left)


def _absorbed(parts: set[Box]) -> set[Box]:
    """The boxes without those that lie in another one."""
    by_fields: dict[frozenset[int], list[Box]] = {}
    for box in parts:
        by_fields.setdefault(frozenset(number for number, _ in box[0]), []).append(box)
    found: set[Box] = set()
    for fields, alike in by_fields.items():
        others = [one for asked, group in by_fields.items() if asked <= fields for one in group]
        found |= {box for box in alike if not _within_one(box, others)}
    return found


def _within_one(box: Box, others: Iterable[Box]) -> bool:
    """Whether a box lies in another, different one; each bounds no field that the box does not."""
    mine = dict(box[0])
    return any(
        other is not box
        and other[1] <= box[1]
        and all(mine[number] == spans or _covered(mine[number], spans) for number, spans in other[0])
        for other in others
    )


def _covered(spans: Spans, by: Spans) -> bool:
    low, high = spans[0][0], spans[-1][1]
    if low < by[0][0] or high > by[-1][1]:
        return False
    return len(by) == 1 or IntervalSet(spans) <= IntervalSet(by)


def _joined(parts: set[Box], number: int) -> set[Box]:
    groups: dict[Box, list[Spans | None]] = {}
    for items, facts in parts:
        for at, item in enumerate(items):
            if item[0] == number:
                groups.setdefault((items[:at] + items[at + 1 :], facts), []).append(item[1])
                break
        else:
            groups.setdefault((items, facts), []).append(None)
    found: set[Box] = set()
    for (items, facts), values in groups.items():
        if None in values:  # a box that does not bound the field holds the others
            found.add((items, facts))
            continue
        spans = values[0] if len(values) == 1 else _union(values)
        assert spans is not None
        at = sum(1 for one, _ in items if one < number)
        found.add(((*items[:at], (number, spans), *items[at:]), facts))
    return found


def _union(values: Iterable[Spans | None]) -> Spans:
    return IntervalSet.of(span for spans in values if spans is not None for span in spans).spans


# Blocks as sets.


def answered(box: Box, family: Family) -> Box:
    """The packets whose answers lie in a box."""
    items: list[tuple[int, Spans]] = []
    for number, spans in box[0]:
        field = _FIELDS[number]
        if field is Field.ICMP_TYPE:
            kinds = [icmp_answer(kind, family) for low, high in spans for kind in range(low, high + 1)]
            spans = IntervalSet.of((kind, kind) for kind in kinds).spans
        items.append((_NUMBER[MIRROR.get(field, field)], spans))
    return tuple(sorted(items)), box[1]


def facing(parts: Iterable[Block], family: Family) -> Iterator[Block]:
    """The blocks as they treat the answers to packets."""
    for block in parts:
        yield Block(block.actions, frozenset(answered(box, family) for box in block.boxes))


def in_state(parts: Iterable[Block], state: State) -> Iterator[Block]:
    """What the blocks are for packets of one state, which the boxes then do not bound. Without an entry
    nothing is translated."""
    seen = {_STATE: int(state)}
    if state in (State.INVALID, State.UNTRACKED):
        seen |= {_NUMBER[Field.CT_SNAT]: 0, _NUMBER[Field.CT_DNAT]: 0}
    for block in parts:
        kept = frozenset(
            (tuple(item for item in items if item[0] not in seen), facts)
            for items, facts in block.boxes
            if all(_holds(spans, seen[number]) for number, spans in items if number in seen)
        )
        if kept:
            yield Block(block.actions, kept)


def _holds(spans: Spans, value: int) -> bool:
    return any(low <= value <= high for low, high in spans)


class Sets:
    """Boxes as sets of packets of one space, each made once."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._levels = [space.levels[field][0] if space.levels[field] else -1 for field in _FIELDS]
        self._boxes: dict[Box, int] = {}
        self._unions: dict[frozenset[Box], int] = {}

    def box(self, box: Box) -> int:
        made = self._boxes.get(box)
        if made is None:
            made = FULL
            for number, spans in reversed(box[0]):
                made = self.space.literal(self._levels[number], IntervalSet(spans), made)
            for fact in box[1]:
                free = self.space.free(fact.name)
                made = self.space.meet(self.space.complement(free) if fact.negated else free, made)
            self._boxes[box] = made
        return made

    def union(self, parts: frozenset[Box]) -> int:
        """Those that are alike in their first fields stand together, which keeps unions small."""
        made = self._unions.get(parts)
        if made is None:
            row = sorted(parts, key=lambda box: box[0])
            made = self._unions[parts] = self.space.first([self.box(box) for box in row])
        return made


def same(sets: Sets, one: Sequence[Block], other: Sequence[Block]) -> bool:
    """Whether two lists do the same block by block. False says nothing: later blocks may make up for it."""
    if len(one) != len(other):
        return False
    for mine, theirs in zip(one, other, strict=True):
        if mine.actions != theirs.actions:
            return False
        if mine.boxes == theirs.boxes:
            continue
        only, rest = mine.boxes - theirs.boxes, theirs.boxes - mine.boxes
        if sets.union(only) == sets.union(rest):
            continue
        if sets.union(mine.boxes) != sets.union(theirs.boxes):
            return False
    return True


def first_match(sets: Sets, parts: Iterable[Block], wanted: Mapping[Actions, bool], otherwise: bool) -> int:
    """The packets whose first block has wanted actions; `otherwise`: whether those of no block are wanted.

    Blocks whose actions `wanted` does not name are passed over.
    """
    space = sets.space
    result = FULL if otherwise else EMPTY
    for block in reversed([block for block in parts if block.actions in wanted]):
        here = sets.union(block.boxes)
        result = space.join(here, result) if wanted[block.actions] else space.minus(result, here)
    return result
