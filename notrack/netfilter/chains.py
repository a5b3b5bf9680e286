"""Chains as functions: for every packet what becomes of it in a chain, computed once for each chain."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from notrack.netfilter.algebra import NOTHING, Algebra, End, Function, Outcome
from notrack.netfilter.effects import Effects, Track
from notrack.netfilter.fragments import misread
from notrack.netfilter.guards import answered, guard_set
from notrack.netfilter.host import Host
from notrack.netfilter.rule_effects import (
    base_effects,
    field_effects,
    mark_effects,
    template_effects,
    unknown_facts,
)
from notrack.netfilter.translation import (
    LEAVES,
    LOOPBACK_NETWORK,
    nat_choices,
    nat_effects,
    strays,
    unchanging,
    without_status,
)
from notrack.packets.diagram import EMPTY, FULL, allow_frames
from notrack.packets.fields import MIRROR, NO_DIRECTION, Field, State
from notrack.packets.intervals import IntervalSet
from notrack.ruleset.core import (
    Action,
    Base,
    Chain,
    ChainType,
    Guard,
    Hook,
    Jump,
    Nat,
    Notrack,
    Rule,
    SetField,
    SetMark,
    ShiftField,
    Table,
    Template,
    Unknown,
    Verdict,
)

__all__ = ["NOTHING", "Algebra", "Chains", "End", "Function", "Outcome"]

_VERDICTS = {
    Verdict.ACCEPT: End.ACCEPT,
    Verdict.DROP: End.DROP,
    Verdict.REJECT: End.REJECT,
    Verdict.STOLEN: End.STOLEN,
    Verdict.RETURN: End.RETURN,
}


class Chains:
    """Compiles the chains of one table, each once, for one hook's circumstances.

    `answers`: as functions of a packet, of what becomes of its answer (every guard with its ends exchanged).
    `fragments`: later ones come here, nothing has put them together. `late_zones`: a packet may look NEW and
    have no entry; nat chains are asked about it, and translate nothing.
    """

    def __init__(
        self,
        algebra: Algebra,
        table: Table,
        hook: Hook,
        host: Host,
        *,
        answers: bool = False,
        fragments: bool = False,
        late_zones: bool = False,
    ) -> None:
        self.answers = answers
        self.fragments = fragments
        self.late_zones = late_zones
        self.algebra = algebra
        self.space = algebra.space
        self.table = table
        self.hook = hook
        self.host = host
        self._chains = {chain.name: chain for chain in table.chains}
        self._made: dict[str, Function] = {}
        self._bases: dict[str, Function] = {}
        self._open: list[str] = []
        allow_frames(8 * len(table.chains))

    def base(self, chain: Chain) -> Function:
        """What a base chain does: accepted packets go on, dropped ones end here."""
        if chain.name not in self._bases:
            self._bases[chain.name] = self._settled(chain)
        return self._bases[chain.name]

    def _settled(self, chain: Chain) -> Function:
        assert chain.base is not None
        base, policy = chain.base, _VERDICTS[chain.base.policy]

        def settled(old: Outcome) -> Outcome:
            end = policy if old.end in (End.ON, End.RETURN) else old.end
            if end is End.ACCEPT:
                return Outcome(End.ON, self.base_effects(old.effects, base))
            return Outcome(end, old.effects, self.hook)

        function = self.algebra.ended(self._rules(chain), settled)
        astray = frozenset(
            leaf for leaf in function.changing if self.strays(self.algebra.outcome(leaf).effects, base)
        )
        if not astray:
            return function
        where = self.space.meet(self.algebra.where(function.diagram, astray), self.lost)
        drop = self.algebra.leaf(Outcome(End.DROP, hook=self.hook))
        lost = self.space.meet(where, drop)
        return Function(self.space.join(lost, function.diagram), function.changing)

    def strays(self, effects: Effects, base: Base) -> bool:
        """Whether a base chain of type route sends what comes from loopback where it cannot go."""
        facing = effects.mirrored() if self.answers else effects
        return base.kind is ChainType.ROUTE and self.hook is Hook.OUTPUT and strays(facing, self.space.family)

    @cached_property
    def lost(self) -> int:
        """The packets that the kernel drops where they would leave: those from 127.0.0.0/8."""
        source = Field.DESTINATION if self.answers else Field.SOURCE
        return self.space.minus(self.space.among(source, LOOPBACK_NETWORK), self.space.free(LEAVES))

    def base_effects(self, effects: Effects, base: Base) -> Effects:
        """The effects behind a base chain, with what its type adds."""
        return base_effects(effects, base, self.host, self.space.family, answers=self.answers)

    def _called(self, name: str) -> Function:
        """What a chain does to those who jump to it; one that is not there or calls itself is left at once.

        The kernel refuses both.
        """
        if name not in self._chains or name in self._open:
            return NOTHING
        if name not in self._made:
            body = self._rules(self._chains[name])
            self._made[name] = self.algebra.ended(
                body, lambda old: Outcome(End.ON, old.effects) if old.end is End.RETURN else old
            )
        return self._made[name]

    def _rules(self, chain: Chain) -> Function:
        self._open.append(chain.name)
        try:
            return self.algebra.compose_all([self._rule(rule) for rule in chain.rules])
        finally:
            self._open.pop()

    def _rule(self, rule: Rule) -> Function:
        does = self.actions(rule.actions)
        if does.diagram == EMPTY:
            return NOTHING
        return self.algebra.within(self.guard(rule), does)

    def actions(self, actions: Sequence[Action]) -> Function:
        """What several actions in a row do."""
        return self.algebra.compose_all([self._action(action) for action in actions])

    def guard(self, rule: Rule) -> int:
        """The packets that a rule matches, all else being as the rule sees it."""
        found = self._guard(rule.guard)
        later = misread(rule.guard) if self.fragments and self.table.misreads_fragments else None
        return found if later is None else self.space.join(found, self._guard(later))

    def _guard(self, guard: Guard) -> int:
        return guard_set(self.space, answered(guard, self.space.family) if self.answers else guard)

    def _action(self, action: Action) -> Function:
        algebra = self.algebra
        if isinstance(action, Verdict):
            return algebra.constant(Outcome(_VERDICTS[action], hook=None))
        if isinstance(action, Jump):
            target = self._called(action.chain)
            return self._gone(target) if action.goto else target
        if isinstance(action, Notrack):
            bare = self.space.among(Field.STATE, State.INVALID)
            return algebra.constant(Outcome(End.ON, Effects(Track.UNTRACKED)), bare)
        if isinstance(action, Template):
            return self._template(action)
        if isinstance(action, SetMark):
            return algebra.constant(Outcome(End.ON, mark_effects(action)))
        if isinstance(action, SetField | ShiftField):
            effects = field_effects(action, self.hook, self.host, self.space.family)
            return algebra.constant(Outcome(End.ON, self._facing(effects)))
        if isinstance(action, Nat):
            return self._translation(action)
        if isinstance(action, Unknown):
            return self._unknown(action)
        return NOTHING

    def _translation(self, nat: Nat) -> Function:
        family, algebra = self.space.family, self.algebra
        parts: list[Function] = []
        if self.late_zones:
            bare = self.space.among(Field.CT_DIRECTION, NO_DIRECTION)
            parts.append(algebra.constant(Outcome(End.ACCEPT), bare))
        for side, interface, effects in nat_choices(nat, self.host, family, self.hook):
            seen = MIRROR[side] if self.answers else side
            parts += self._translated(effects, self.space.among(seen, interface))
        parts += self._translated(nat_effects(nat, self.host, family, self.hook), FULL)
        return algebra.compose_all(parts)

    def _translated(self, effects: Effects, where: int) -> list[Function]:
        """A translation of the packets of a set; those that have the new values already are not marked."""
        algebra, space = self.algebra, self.space
        made = []
        same = unchanging(effects)
        if same is not None:
            facing = {MIRROR.get(field, field) if self.answers else field: same[field] for field in same}
            already = space.cube({field: IntervalSet.single(value) for field, value in facing.items()})
            kept = Outcome(End.ACCEPT, self._facing(without_status(effects)))
            made.append(algebra.constant(kept, space.meet(where, already)))
        if strays(effects, space.family):
            made.append(algebra.constant(Outcome(End.DROP), space.meet(where, self.lost)))
        made.append(algebra.constant(Outcome(End.ACCEPT, self._facing(effects)), where))
        return made

    def _facing(self, effects: Effects) -> Effects:
        return effects.mirrored() if self.answers else effects

    def _gone(self, target: Function) -> Function:
        """A goto: what would come back leaves this chain too."""
        return self.algebra.ended(
            target, lambda old: Outcome(End.RETURN, old.effects) if old.end is End.ON else old
        )

    def _template(self, action: Template) -> Function:
        states = [State.INVALID, State.UNTRACKED] if action.overrides else [State.INVALID]
        bare = self.space.among(Field.STATE, IntervalSet.of((state, state) for state in states))
        return self.algebra.constant(Outcome(End.ON, template_effects(action)), bare)

    def _unknown(self, action: Unknown) -> Function:
        ends, accepts = (self.space.free(name) for name in unknown_facts(action))
        accept = self.algebra.constant(Outcome(End.ACCEPT), self.space.meet(ends, accepts))
        drop = self.algebra.constant(Outcome(End.DROP), self.space.minus(ends, accepts))
        return self.algebra.compose(accept, drop)
