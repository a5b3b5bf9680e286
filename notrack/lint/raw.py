"""What NOTRACK rules take, rule by rule, for all ways of a hook at once.

Rules before connection tracking are nearly always plain: they match headers, untrack, accept, drop, jump.
For such chains it is enough to go through them once a hook, on all packets that there are; which of these
take a way is asked afterwards. Anything else (marks, unknown targets, chains of one device) is left to
`netfilter.visits`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field

from notrack.netfilter import ways
from notrack.netfilter.chains import Chains
from notrack.netfilter.guards import fields_of
from notrack.netfilter.model import Model
from notrack.netfilter.ways import STAGES, Way
from notrack.packets.diagram import EMPTY, FULL
from notrack.packets.fields import Field
from notrack.packets.space import Space
from notrack.ruleset.core import Chain, Hook, Jump, Log, Notrack, Rule, Table, Template, Verdict
from notrack.text.record import dataclass

HOOK = {
    Way.LOCAL_IN: Hook.PREROUTING,
    Way.FORWARD: Hook.PREROUTING,
    Way.LOCAL_OUT: Hook.OUTPUT,
    Way.LOOPBACK: Hook.OUTPUT,
}
_ENTRIES = frozenset((Field.STATE, Field.CT_DIRECTION, Field.CT_SNAT, Field.CT_DNAT, Field.CT_MARK))
_UNSEEN = {Hook.PREROUTING: Field.OUT, Hook.OUTPUT: Field.IN}


class NotPlain(Exception):
    """The chains of a hook do something that is not followed here."""


@dataclass(frozen=True, slots=True)
class Taking:
    """A rule that untracks packets (of any way) at a hook; `callers` as in `visits.Visit`."""

    hook: Hook
    table: Table
    chain: Chain
    rule: Rule
    callers: tuple[str, ...]
    packets: int


@dataclass
class Raw:
    """The rules of a hook before connection tracking. `untracked`: the packets that go on untracked;
    `passing`: all that go on."""

    takings: tuple[Taking, ...] = ()
    untracked: int = EMPTY
    passing: int = FULL


def raw(model: Model, hook: Hook) -> Raw:
    """Goes through the chains of a hook. Raises `NotPlain` (and `TooHard`)."""
    way = next(way for way in Way if HOOK[way] is hook)
    space, live = model.space, Live(FULL)
    takings: list[Taking] = []
    for stage in STAGES[way]:
        if not stage.early or stage.again:
            break
        for item in ways.in_order(ways.mounted(model.ruleset, stage, model.family))[0]:
            if stage.hook is not hook or item.chain.base is None:
                raise NotPlain
            run = _Run(space, model.chains(item, stage), item.table, hook)
            accepted, back = run.chain(item.chain, (item.chain.name,), live)
            takings += run.takings
            live = accepted.join(space, back) if item.chain.base.policy is Verdict.ACCEPT else accepted
    return Raw(tuple(takings), live.untracked, live.every(space))


@dataclass(frozen=True, slots=True)
class Live:
    """Packets on their way, by what rules made of them: nothing, untracked ones, those of a template."""

    plain: int = EMPTY
    untracked: int = EMPTY
    templated: int = EMPTY

    def join(self, space: Space, other: Live) -> Live:
        return self._each(other, space.join)

    def within(self, space: Space, guard: int) -> Live:
        return self._each(Live(guard, guard, guard), space.meet)

    def without(self, space: Space, guard: int) -> Live:
        return self._each(Live(guard, guard, guard), space.minus)

    def every(self, space: Space) -> int:
        return space.first([self.plain, self.untracked, self.templated])

    def _each(self, other: Live, operation: Callable[[int, int], int]) -> Live:
        return Live(
            operation(self.plain, other.plain),
            operation(self.untracked, other.untracked),
            operation(self.templated, other.templated),
        )


NONE = Live()


@dataclass
class _Run:
    space: Space
    chains: Chains
    table: Table
    hook: Hook
    takings: list[Taking] = field(default_factory=list)

    def chain(self, chain: Chain, callers: tuple[str, ...], live: Live) -> tuple[Live, Live]:
        """What a chain accepts, and what comes back from it."""
        space = self.space
        accepted = back = NONE
        for rule in chain.rules:
            if live == NONE:
                break
            last = self._last(rule)
            guard = self.chains.guard(rule)
            matched = live.within(space, guard)
            if matched == NONE:
                continue
            done = self._done(rule, chain, callers, matched)
            if done != matched or last is not None:
                live = live.without(space, guard)
            if last is None:
                live = live.join(space, done) if done != matched else live
            elif last is Verdict.ACCEPT:
                accepted = accepted.join(space, done)
            elif last is Verdict.RETURN:
                back = back.join(space, done)
            elif isinstance(last, Jump):
                inside, returned = self._called(last, callers, done)
                accepted = accepted.join(space, inside)
                if last.goto:
                    back = back.join(space, returned)
                else:
                    live = live.join(space, returned)
        return accepted, back.join(space, live)

    def _done(self, rule: Rule, chain: Chain, callers: tuple[str, ...], live: Live) -> Live:
        """What the actions of a rule that end nothing make of packets."""
        space = self.space
        for action in rule.actions:
            if isinstance(action, Notrack) and live.plain != EMPTY:
                self.takings.append(Taking(self.hook, self.table, chain, rule, callers, live.plain))
                live = Live(EMPTY, space.join(live.untracked, live.plain), live.templated)
            elif isinstance(action, Template):
                taken = live.every(space) if action.overrides else space.join(live.plain, live.templated)
                live = Live(EMPTY, EMPTY if action.overrides else live.untracked, taken)
        return live

    def _called(self, jump: Jump, callers: tuple[str, ...], live: Live) -> tuple[Live, Live]:
        target = self.table.chain(jump.chain)
        if target is None or target.name in callers:
            return NONE, live
        return self.chain(target, (*callers, target.name), live)

    def _last(self, rule: Rule) -> Verdict | Jump | None:
        """What ends a rule; None: it goes on."""
        asked = fields_of(rule.guard)
        if asked & _ENTRIES or _UNSEEN[self.hook] in asked:
            raise NotPlain
        for action in rule.actions[:-1]:
            if not isinstance(action, Notrack | Log | Template):
                raise NotPlain
        last = rule.actions[-1] if rule.actions else None
        if last is None or isinstance(last, Notrack | Log | Template):
            return None
        if isinstance(last, Jump | Verdict) and last is not Verdict.STOLEN:
            return last
        raise NotPlain
