"""A packet under way: what it looks like by now, what was done to it, and what rules do with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from notrack.netfilter import ways
from notrack.netfilter.algebra import End
from notrack.netfilter.effects import NONE, Change, Effects, Track, Unsure, UnsureBit, changed
from notrack.netfilter.fragments import misread
from notrack.netfilter.guards import holds
from notrack.netfilter.host import Host
from notrack.netfilter.rule_effects import (
    base_effects,
    field_effects,
    mark_effects,
    template_effects,
    unknown_facts,
)
from notrack.netfilter.start import Undetermined
from notrack.netfilter.translation import (
    LEAVES,
    LOOPBACK_NETWORK,
    nat_choices,
    nat_effects,
    strays,
    unchanging,
    without_status,
)
from notrack.netfilter.ways import Mounted, Way
from notrack.packets.address import Family
from notrack.packets.fields import NO_DIRECTION, Field, Fragment, State, interface_name
from notrack.ruleset.core import (
    Action,
    Among,
    Base,
    Chain,
    ChainType,
    Fact,
    Hook,
    Jump,
    Literal,
    Nat,
    Notrack,
    Rule,
    Ruleset,
    SetField,
    SetMark,
    ShiftField,
    Table,
    Template,
    Unknown,
    Verdict,
)
from notrack.text.record import dataclass

NO_WAY_OUT = "no way out for what comes from loopback"


@dataclass(frozen=True, slots=True)
class Step:
    """A rule that the packet matched, or the end of a base chain (`rule` None), and what came of it."""

    hook: Hook
    table: Table
    chain: Chain
    rule: Rule | None
    result: str


@dataclass(slots=True)
class Course:
    """One packet on its way through a ruleset."""

    ruleset: Ruleset
    host: Host
    family: Family
    tracks: bool
    way: Way
    values: dict[Field, int]
    facts: Mapping[str, bool]
    default: bool
    whole: bool = False  # fragments are put together
    effects: Effects = NONE
    steps: list[Step] = field(default_factory=list)
    assumed: dict[str, bool] = field(default_factory=dict)
    numbers: set[str] = field(default_factory=set)
    lost: bool = False  # nobody knows which way it leaves
    early: bool = False
    inside: list[str] = field(default_factory=list)  # the chains of one table that wait for each other

    def truth(self, name: str) -> bool:
        if name in self.facts:
            return self.facts[name]
        return self.assumed.setdefault(name, self.default)

    def number(self, name: str) -> None:
        """A number of which nothing is known has come into play."""
        self.assumed.setdefault(name, False)
        self.numbers.add(name)

    def value(self, change: Change) -> int:
        """What a field gets: a number of which nothing is known gets its least."""
        if isinstance(change, int):
            return change
        assert isinstance(change, Unsure)
        self.number(change.name)
        return change.among.least() if change.among else 0

    def add(self, effects: Effects) -> None:
        self.effects = self.effects.then(effects)
        self.values = changed(self.values, effects)
        for _, change in effects.fields:
            if isinstance(change, Unsure):
                self.number(change.name)
        for _, bits in effects.marks:
            for bit in bits:
                if isinstance(bit, UnsureBit):
                    self.number(bit.name)

    def base(self, item: Mounted, hook: Hook) -> End:
        """What a base chain does with the packet: ON, or the end of its way."""
        base = item.chain.base
        assert base is not None
        before, self.effects = self.effects, NONE
        end = self.chain(item.table, item.chain, hook)
        if end in (End.ON, End.RETURN):
            self.steps.append(Step(hook, item.table, item.chain, None, f"policy {base.policy.value}"))
            end = End.ON if base.policy is Verdict.ACCEPT else End.DROP
        if end in (End.ON, End.ACCEPT):
            end = self.sent_on(item, hook, base)
        self.effects = before.then(self.effects)
        return end

    def sent_on(self, item: Mounted, hook: Hook, base: Base) -> End:
        """What the type of a base chain adds to what its rules did."""
        made = base_effects(self.effects, base, self.host, self.family)
        astray = base.kind is ChainType.ROUTE and hook is Hook.OUTPUT and strays(made, self.family)
        if astray and self.values[Field.SOURCE] in LOOPBACK_NETWORK and not self.truth(LEAVES):
            self.effects = NONE
            self.steps.append(Step(hook, item.table, item.chain, None, NO_WAY_OUT))
            return End.DROP
        for name, change in made.fields:
            if (name, change) not in self.effects.fields:  # the kind of a new destination
                self.values[name] = self.value(change)
        self.effects = made
        return End.ON

    def passes(self, item: Mounted) -> bool:
        """Whether the packet comes to a chain that hangs on one device."""
        if item.device is None:
            return True
        side, device, fact = item.device
        if device is not None and self.values[side] == device:
            return True
        lo = ways.LOOPBACK_INTERFACE
        return not (device == lo or (device is not None and self.values[side] == lo)) and self.truth(fact)

    def chain(self, table: Table, chain: Chain, hook: Hook) -> End:
        if chain.name in self.inside:
            raise Undetermined(f"chain {chain.name} of table {table.name} jumps to itself, in a circle")
        self.inside.append(chain.name)
        try:
            for rule in chain.rules:
                if self.matches(table, rule, hook):
                    end = self.rule(table, chain, rule, hook)
                    if end is not End.ON:
                        return end
            return End.ON
        finally:
            self.inside.pop()

    def matches(self, table: Table, rule: Rule, hook: Hook) -> bool:
        later = table.misreads_fragments and self.values[Field.FRAGMENT] == Fragment.LATER
        guard = (misread(rule.guard) if later else None) or rule.guard
        if self.lost and hook in (Hook.POSTROUTING, Hook.EGRESS):
            guard = tuple(_by_guess(literal) for literal in guard)
        return holds(guard, self.values, self.family, self.truth)

    def rule(self, table: Table, chain: Chain, rule: Rule, hook: Hook) -> End:
        at = len(self.steps)
        results: list[str] = []
        end = End.ON
        for action in rule.actions:
            text, end = self.action(table, action, hook)
            results.append(text)
            if end is not End.ON:
                break
        self.steps.insert(at, Step(hook, table, chain, rule, ", ".join(results) or "counted"))
        return end

    def action(self, table: Table, action: Action, hook: Hook) -> tuple[str, End]:
        """A word for what an action did, and whether the packet goes on in the chain."""
        if isinstance(action, Verdict):
            return action.value, End(action.value)
        if isinstance(action, Jump):
            return self.jump(table, action, hook)
        if isinstance(action, Notrack):
            if self.values[Field.STATE] != State.INVALID:
                return "notrack without effect", End.ON
            self.add(Effects(Track.UNTRACKED))
            return "untracked", End.ON
        if isinstance(action, Template):
            return self.template(action), End.ON
        if isinstance(action, SetMark):
            self.add(mark_effects(action))
            return f"{action.field.value} {self.values[action.field]:#x}", End.ON
        if isinstance(action, SetField | ShiftField):
            self.add(field_effects(action, hook, self.host, self.family))
            return f"{action.field.value} {self.values[action.field]}", End.ON
        if isinstance(action, Nat):
            return self.translated(action, hook)
        if isinstance(action, Unknown):
            ends, accepts = unknown_facts(action)
            if not self.truth(ends):
                return f"{action.text}: not known", End.ON
            return f"{action.text}: not known", End.ACCEPT if self.truth(accepts) else End.DROP
        return action.text if hasattr(action, "text") else action.what, End.ON

    def jump(self, table: Table, action: Jump, hook: Hook) -> tuple[str, End]:
        target = table.chain(action.chain)
        word = "goto" if action.goto else "jump"
        if target is None:
            return f"{word} {action.chain}, which is not there", End.RETURN if action.goto else End.ON
        end = self.chain(table, target, hook)
        if end in (End.ON, End.RETURN):
            end = End.RETURN if action.goto else End.ON
        return f"{word} {action.chain}", end

    def translated(self, nat: Nat, hook: Hook) -> tuple[str, End]:
        text = nat.text or nat.kind.value
        if self.values[Field.CT_DIRECTION] == NO_DIRECTION:
            return f"{text} without effect", End.ACCEPT
        effects = self.chosen(nat, hook)
        same = unchanging(effects)
        if same is not None and all(self.values[field] == value for field, value in same.items()):
            effects = without_status(effects)
        loop = self.values[Field.SOURCE] in LOOPBACK_NETWORK
        if strays(effects, self.family) and loop and not self.truth(LEAVES):
            return f"{text}: {NO_WAY_OUT}", End.DROP
        self.add(effects)
        return text, End.ACCEPT

    def chosen(self, nat: Nat, hook: Hook) -> Effects:
        for side, interface, effects in nat_choices(nat, self.host, self.family, hook):
            if self.values[side] == interface:
                return effects
        return nat_effects(nat, self.host, self.family, hook)

    def template(self, action: Template) -> str:
        states = (State.INVALID, State.UNTRACKED) if action.overrides else (State.INVALID,)
        if self.values[Field.STATE] not in states:
            return f"{action.what} without effect"
        self.add(template_effects(action))
        return action.what


def _by_guess(literal: Literal) -> Literal:
    """A match of the way out of a packet of which it is not known."""
    if not isinstance(literal, Among) or literal.field is not Field.OUT:
        return literal
    names = [f"{interface_name(low) or ''}{'*' * (low != high)}" for low, high in literal.values]
    return Fact(f"the packet leaves by {' or '.join(names)}", literal.negated)
