"""Chains as lists of blocks: what is done, and to which boxes of packets. Equal lists do the same.

A jump is replaced by the rules to which it leads, and neighbours that do the same become one block, a union
of boxes in which no order is left. That is exact wherever it is done; a place where it cannot be is compared
as diagrams instead. docs/proof.md gives the reasons one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from notrack.netfilter.ways import Mounted
from notrack.packets.address import Family
from notrack.packets.diagram import EMPTY, FULL
from notrack.packets.fields import Field, State
from notrack.packets.intervals import IntervalSet
from notrack.proof.boxes import (
    EVERYTHING,
    NUMBER,
    OF_TRACKING,
    Box,
    Known,
    Opaque,
    Sets,
    Spans,
    answered,
    both,
    boxes,
    rest,
    united,
)
from notrack.ruleset import core
from notrack.text.record import dataclass

Actions = tuple[core.Action, ...]
UNTRACK: Actions = (core.Notrack(), core.Verdict.ACCEPT)
_KNOWN = (
    core.Verdict, core.Notrack, core.Template, core.ConnectionSet, core.Nat, core.Unknown,
)  # fmt: skip
_STATE = NUMBER[Field.STATE]


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
            items.append((EVERYTHING, (policy,)))
        if items:
            rows.append(items)
    if len(rows) > 1:
        raise Opaque  # an ACCEPT ends its own chain, not those behind it
    items = rows[0] if rows else []
    return tuple(_gathered(list(_ending(items)) if early else items))


class _Flat:
    """The rules of one table without jumps."""

    def __init__(self, table: core.Table, known: Known) -> None:
        self.chains = {chain.name: chain for chain in table.chains}
        self.known = known

    def chain(self, chain: core.Chain, inside: tuple[str, ...], end: core.Verdict | None) -> list[Item]:
        """The items of a chain. `end`: what becomes of a packet that leaves it, None if more rules follow."""
        items: list[Item] = []
        spared: dict[int, IntervalSet] = {}  # what has left the chain by now, by the one field that tells it
        for number, rule in enumerate(chain.rules):
            actions = tuple(action for action in rule.actions if not isinstance(action, core.Log))
            if not actions:
                continue
            after = end if number == len(chain.rules) - 1 else None
            found = boxes(rule.guard, self.known)
            if actions == (core.Verdict.RETURN,) and end is None:
                _spare(found, spared)
                continue
            if isinstance(actions[-1], core.Jump):
                new = self.jump(found, actions, (*inside, chain.name), after)
            else:
                done = tuple(_returned(action, end) for action in actions)
                new = [(box, done) for box in found]
            items += self._left(new, spared) if spared else new
        return items

    def _left(self, items: list[Item], spared: dict[int, IntervalSet]) -> Iterator[Item]:
        """The items for packets that have not left the chain."""
        others = rest(spared, self.known.family)
        for box, actions in items:
            kept = both(box, others) if others is not None else None
            if kept is not None:
                yield kept, actions

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


def _spare(found: list[Box], spared: dict[int, IntervalSet]) -> None:
    """Note packets that leave a chain in its middle. Only one field may tell them, and none that rules
    change: then what stays is a box again."""
    for items, facts in found:
        if len(items) != 1 or facts or items[0][0] in OF_TRACKING:
            raise Opaque
        number, spans = items[0]
        spared[number] = spared.get(number, IntervalSet()) | IntervalSet(spans)


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


def facing(parts: Iterable[Block], family: Family) -> Iterator[Block]:
    """The blocks as they treat the answers to packets."""
    for block in parts:
        yield Block(block.actions, frozenset(answered(box, family) for box in block.boxes))


def in_state(parts: Iterable[Block], state: State) -> Iterator[Block]:
    """What the blocks are for packets of one state, which the boxes then do not bound. Without an entry
    nothing is translated."""
    seen = {_STATE: int(state)}
    if state in (State.INVALID, State.UNTRACKED):
        seen |= {NUMBER[Field.CT_SNAT]: 0, NUMBER[Field.CT_DNAT]: 0}
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
