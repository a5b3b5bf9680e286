"""What NOTRACK rules take, rule by rule, for all ways of a hook at once.

Rules before connection tracking are nearly always plain: they match headers, untrack, accept, drop, jump.
For such chains it is enough to go through them once a hook, on all packets that there are; which of these
take a way is asked afterwards. Anything else (marks, zones, unknown targets, chains of one device) is left to
`netfilter.visits`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from notrack.netfilter import ways
from notrack.netfilter.chains import Chains
from notrack.netfilter.guards import fields_of
from notrack.netfilter.model import Model
from notrack.netfilter.ways import STAGES, Way
from notrack.packets.diagram import EMPTY, FULL
from notrack.packets.fields import Field
from notrack.packets.space import Space
from notrack.ruleset.core import Chain, Hook, Jump, Log, Notrack, Rule, Table, Verdict

HOOK = {
    Way.LOCAL_IN: Hook.PREROUTING,
    Way.FORWARD: Hook.PREROUTING,
    Way.LOCAL_OUT: Hook.OUTPUT,
    Way.LOOPBACK: Hook.OUTPUT,
}
_ENTRIES = frozenset((Field.STATE, Field.CT_DIRECTION, Field.CT_SNAT, Field.CT_DNAT, Field.CT_MARK))
_UNSEEN = {Hook.PREROUTING: Field.OUT, Hook.OUTPUT: Field.IN}
_VERDICTS = (Verdict.ACCEPT, Verdict.DROP, Verdict.REJECT, Verdict.RETURN)


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
    """The rules of a hook before connection tracking. `untracked`: the packets that go on untracked."""

    takings: tuple[Taking, ...] = ()
    untracked: int = EMPTY


def raw(model: Model, hook: Hook) -> Raw:
    """Goes through the chains of a hook. Raises `NotPlain` (and `TooHard`)."""
    way = next(way for way in Way if HOOK[way] is hook)
    plain, untracked = FULL, EMPTY
    takings: list[Taking] = []
    for stage in STAGES[way]:
        if not stage.early or stage.again:
            break
        for item in ways.in_order(ways.mounted(model.ruleset, stage, model.family))[0]:
            if stage.hook is not hook or item.chain.base is None:
                raise NotPlain
            run = _Run(model.space, model.chains(item, stage), item.table, hook)
            ends = run.chain(item.chain, (item.chain.name,), plain, untracked)
            takings += run.takings
            kept = item.chain.base.policy is Verdict.ACCEPT
            plain = model.space.join(ends.plain, ends.back_plain if kept else EMPTY)
            untracked = model.space.join(ends.untracked, ends.back_untracked if kept else EMPTY)
    return Raw(tuple(takings), untracked)


@dataclass(frozen=True, slots=True)
class _Ends:
    """What a chain accepts, and what comes back from it: packets that are tracked and untracked."""

    plain: int
    untracked: int
    back_plain: int
    back_untracked: int


@dataclass
class _Run:
    space: Space
    chains: Chains
    table: Table
    hook: Hook
    takings: list[Taking] = field(default_factory=list)

    def chain(self, chain: Chain, callers: tuple[str, ...], plain: int, untracked: int) -> _Ends:
        space = self.space
        accepted, back = [EMPTY, EMPTY], [EMPTY, EMPTY]
        for rule in chain.rules:
            if plain == EMPTY and untracked == EMPTY:
                break
            last = self._last(rule)
            guard = self.chains.guard(rule)
            taken, other = space.meet(guard, plain), space.meet(guard, untracked)
            if Notrack() in rule.actions and taken != EMPTY:
                self.takings.append(Taking(self.hook, self.table, chain, rule, callers, taken))
                untracked = space.join(untracked, taken)
                plain = space.minus(plain, guard)
                taken, other = EMPTY, space.join(other, taken)
            if last is None or (taken == EMPTY and other == EMPTY):
                continue
            plain, untracked = space.minus(plain, guard), space.minus(untracked, guard)
            if last is Verdict.ACCEPT:
                accepted = [space.join(accepted[0], taken), space.join(accepted[1], other)]
            elif last is Verdict.RETURN:
                back = [space.join(back[0], taken), space.join(back[1], other)]
            elif isinstance(last, Jump):
                ends = self._called(last, callers, taken, other)
                accepted = [space.join(accepted[0], ends.plain), space.join(accepted[1], ends.untracked)]
                if last.goto:
                    back = [space.join(back[0], ends.back_plain), space.join(back[1], ends.back_untracked)]
                else:
                    plain = space.join(plain, ends.back_plain)
                    untracked = space.join(untracked, ends.back_untracked)
        return _Ends(accepted[0], accepted[1], space.join(back[0], plain), space.join(back[1], untracked))

    def _called(self, jump: Jump, callers: tuple[str, ...], plain: int, untracked: int) -> _Ends:
        target = self.table.chain(jump.chain)
        if target is None or target.name in callers:
            return _Ends(EMPTY, EMPTY, plain, untracked)
        return self.chain(target, (*callers, target.name), plain, untracked)

    def _last(self, rule: Rule) -> Verdict | Jump | None:
        """What ends a rule; None: it goes on."""
        asked = fields_of(rule.guard)
        if asked & _ENTRIES or _UNSEEN[self.hook] in asked:
            raise NotPlain
        *others, last = (None, *rule.actions)
        for action in others:
            if action is not None and not isinstance(action, Notrack | Log):
                raise NotPlain
        if last is None or isinstance(last, Notrack | Log):
            return None
        if isinstance(last, Jump) or last in _VERDICTS:
            return last if isinstance(last, Jump | Verdict) else None
        raise NotPlain
