"""An nft ruleset as chains of the core: what is in force once its commands have run.

Tables of arp and bridge see no IP hook and are left out; netdev chains hang before all IP hooks and are
kept. A statement that is not understood is an `Unknown` action, one that only may match a `Fact`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from notrack.packets.address import Family
from notrack.packets.fields import TCP_FLAGS, Field, bits_set
from notrack.ruleset import core
from notrack.ruleset.collection import uncollected
from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.action_lowering import action, ends, verdict_action
from notrack.ruleset.nft.catalogue import priority_number
from notrack.ruleset.nft.expression_writer import expression_text
from notrack.ruleset.nft.implied import covers, implied
from notrack.ruleset.nft.match_lowering import (
    Context,
    Sets,
    fact,
    is_fixed,
    key_literals,
    match_literals,
    uses,
)
from notrack.ruleset.nft.state import TableState, in_force
from notrack.ruleset.nft.statement_writer import rule_text, statement_text
from notrack.ruleset.nft.translation_lowering import chosen, mapping_of, translation
from notrack.ruleset.nft.variables import expanded, spliced
from notrack.text.diagnostic import Diagnostic

_FAMILIES = {
    "ip": frozenset({Family.IPV4}),
    "ip6": frozenset({Family.IPV6}),
    "inet": frozenset(Family),
    "netdev": frozenset(Family),
}
_MAY_FAIL = (t.Limit, t.Quota, t.ConnectionLimit, t.Meter)
TRANSLATIONS_MAXIMUM = 256  # values of one map that become rules of their own
_SYN, _ACK = TCP_FLAGS["syn"], TCP_FLAGS["ack"]
_KEEPS = ("ct timeout", "ct expectation", "synproxy")


def lowered(ruleset: t.Ruleset) -> tuple[core.Ruleset, tuple[Diagnostic, ...]]:
    """The core of a ruleset, variables and includes put in; errors for variables that nothing defines."""
    with uncollected():
        whole, diagnostics = expanded(ruleset)
        tables = [_table(state) for state in in_force(whole) if state.family in _FAMILIES]
    return core.Ruleset(tuple(tables)), diagnostics


def _table(state: TableState) -> core.Table:
    chains: list[core.Chain] = []
    for chain in state.chains.values():
        rules = _rules(state, chain.name)
        origin = core.Origin(chain.span, f"chain {chain.name}")
        for base in _bases(state.family, chain) or (None,):
            name = f"{chain.name} on {base.device}" if base and base.device else chain.name
            chains.append(core.Chain(name, rules, base, origin))
    place = core.Origin(state.table.span if state.table else None, f"table {state.family} {state.name}")
    families = _FAMILIES[state.family]
    name = f"{state.family} {state.name}"
    return core.Table(name, families, tuple(chains), _keepers(state), place, misreads_fragments=True)


def _keepers(state: TableState) -> tuple[core.Keeper, ...]:
    found: list[core.Keeper] = []
    for item in state.objects:
        if isinstance(item, t.CtHelper):
            found.append(core.Keeper(f"ct helper {item.name}", core.Origin(item.span)))
        elif isinstance(item, t.Object) and item.kind in _KEEPS:
            found.append(core.Keeper(f"{item.kind} {item.name}", core.Origin(item.span)))
    for named in state.sets.values():
        if any(isinstance(part, t.ConnectionLimit) for part in named.statements):
            found.append(core.Keeper(f"ct count in set {named.name}", core.Origin(named.span)))
    return tuple(found)


def _bases(family: str, chain: t.Chain) -> tuple[core.Base, ...]:
    """One base for each device of an ingress chain, one otherwise; none for a chain that is none."""
    if chain.base is None:
        return ()
    number = priority_number(family, chain.base.priority.name, chain.base.priority.offset)
    hook, kind = core.Hook(chain.base.hook), core.ChainType(chain.base.type)
    dropping = isinstance(chain.policy, t.Value) and chain.policy.text == "drop"
    policy = core.Verdict.DROP if dropping else core.Verdict.ACCEPT
    return tuple(
        core.Base(hook, number or 0, kind, policy, device) for device in _devices(chain.base.devices)
    )


def _devices(devices: t.Expression | None) -> tuple[str | None, ...]:
    match devices:
        case t.Value(text=text):
            return (text,)
        case t.SetLiteral(elements=elements):
            keys = [element.key for element in spliced(elements)]
            return tuple(key.text for key in keys if isinstance(key, t.Value)) or (None,)
    return (None,)


def _rules(state: TableState, chain: str) -> tuple[core.Rule, ...]:
    where = f"{state.family} {state.name} {chain}"
    return tuple(
        made
        for number, rule in enumerate(state.rules.get(chain, ()), 1)
        for made in rule_lowered(rule, state.sets, f"{where}, rule {number}")
    )


def rule_lowered(rule: t.Rule, sets: Sets, place: str) -> tuple[core.Rule, ...]:
    """The rules of the core, one or several of the same origin, that do what the rule does. `place` names the
    rule among all others."""
    making = _Making(sets, core.Origin(rule.span, rule_text(rule)), place, _protocols(rule))
    for statement in rule.statements:
        if making.ended:
            break
        making.take(statement)
    if not making.ended and (making.actions or not making.rules):
        making.emit()
    return tuple(making.rules)


def _protocols(rule: t.Rule) -> core.Guard:
    """The protocol that a rule names behind its ports: all matches before the first action hold together."""
    found: core.Guard = ()
    for statement in rule.statements:
        if not isinstance(statement, t.Match):
            break
        if statement.left == t.Meta("l4proto"):
            found += match_literals(statement, Context({}))
    return found


@dataclass(slots=True)
class _Making:
    """A rule of nft on its way: what it has asked for, and what it does then."""

    sets: Sets
    origin: core.Origin
    place: str
    protocols: core.Guard = ()
    guard: core.Guard = ()
    actions: list[core.Action] = field(default_factory=list)
    rules: list[core.Rule] = field(default_factory=list)
    ended: bool = False
    extensions: int = 0

    def take(self, statement: t.Node) -> None:
        context = Context(self.sets, (*self.guard, *self.protocols))
        match statement:
            case t.Match():
                self.ask(_asked(statement, context))
            case t.Vmap():
                self.branch(statement, context)
            case t.Assign(target=target, value=t.Mapping() as mapping) if self.spread(
                statement, target, mapping, context
            ):
                pass
            case t.Nat() if self.translate(statement, context):
                self.ended = True
            case t.Synproxy() | t.ObjectReference(kind="synproxy") | t.Xt(kind="target", name="SYNPROXY"):
                self.proxy()
            case t.Verdict():
                made = verdict_action(statement)
                self.do(made if made is not None else core.Log("continue"))
            case t.ObjectReference(kind="limit" | "quota"):
                self.ask((_may_fail(statement),))
            case t.Update(statements=inner) if inner:
                self.ask((*implied(statement, context), _may_fail(statement)))
            case t.Xt(kind="match"):
                self.ask((core.Fact(self.named(statement), tracking=True, own=True),))
            case _ if isinstance(statement, _MAY_FAIL):
                self.ask((_may_fail(statement),))
            case _:
                self.ask(implied(statement, context))
                made = action(statement, self.sets)
                if isinstance(statement, t.Xt) and isinstance(made, core.Unknown):
                    made = replace(made, text=self.named(statement))
                self.do(made)

    def named(self, statement: t.Xt) -> str:
        """An extension of iptables by its place: nft does not list what two of one name are asked for."""
        self.extensions += 1
        within = f", no. {self.extensions}" if self.extensions > 1 else ""
        return f"{statement_text(statement)} ({self.place}{within})"

    def ask(self, literals: core.Guard) -> None:
        if self.actions and literals:
            self.emit()
        self.guard += literals

    def do(self, made: core.Action) -> None:
        self.actions.append(made)
        if ends(made):
            self.emit()
            self.ended = True

    def emit(self) -> None:
        self.rules.append(core.Rule(self.guard, tuple(self.actions), self.origin))
        self.actions.clear()

    def spread(self, statement: t.Assign, target: t.Expression, mapping: t.Mapping, context: Context) -> bool:
        """`meta mark set KEY map { .. }`: one rule for each value, if all are known and the key stays."""
        elements = _verdicts(mapping.table, context)
        if elements is None or expression_text(target) in expression_text(mapping.key):
            return False
        groups = _groups(elements)
        if groups is None:
            return False
        if self.actions:
            self.emit()
        every: list[core.Guard] = []
        for data, keys in groups.items():
            for guard in _key_guards(mapping.key, tuple(keys), elements, context):
                every.append(guard)
                made = action(replace(statement, value=data), self.sets)
                self.rules.append(core.Rule(self.guard + guard, (made,), self.origin))
        self.guard += every[0] if len(every) == 1 else (core.OneOf(tuple(every)),)
        return True

    def translate(self, statement: t.Nat, context: Context) -> bool:
        """`dnat to KEY map { .. }`: one rule for each value, if all are known and the key is exact."""
        mapping = mapping_of(statement)
        elements = _verdicts(mapping.table, context) if mapping else None
        groups = _groups(elements) if elements else None
        if not mapping or not elements or not groups or len(groups) > TRANSLATIONS_MAXIMUM:
            return False
        needs = implied(replace(statement, address=None, port=None), context)
        context = replace(context, guard=context.guard + needs)
        found = [
            (guard, data)
            for data, keys in groups.items()
            for guard in _key_guards(mapping.key, tuple(keys), elements, context)
        ]
        if any(isinstance(literal, core.Fact) for guard, _ in found for literal in guard):
            return False
        if self.actions:
            self.emit()
        for guard, data in found:
            made = translation(chosen(statement, mapping, data), self.sets)
            self.rules.append(core.Rule(self.guard + needs + guard, (made,), self.origin))
        return True

    def proxy(self) -> None:
        """SYNPROXY answers a SYN itself, takes the ACK of a good cookie and drops a bad one; what has neither
        flag goes on (`nft_synproxy_eval_v4`)."""
        if self.actions:
            self.emit()
        syn, ack, rest = (
            core.Among(Field.FLAGS, bits_set(mask, value))
            for mask, value in ((_SYN, _SYN), (_SYN | _ACK, _ACK), (_SYN | _ACK, 0))
        )
        cookie = core.Fact("the ACK carries a cookie of SYNPROXY", tracking=True)
        for guard, verdict in (
            ((syn,), core.Verdict.STOLEN),
            ((ack, cookie), core.Verdict.STOLEN),
            ((ack,), core.Verdict.DROP),
        ):
            self.rules.append(core.Rule(self.guard + guard, (verdict,), self.origin))
        self.guard += (rest,)

    def branch(self, statement: t.Vmap, context: Context) -> None:
        """One rule for each verdict; behind the map a rule goes on for `continue` alone."""
        if self.actions:
            self.emit()
        elements = _verdicts(statement.table, context)
        if elements is None:
            unknown = core.Unknown(statement_text(statement), tracking=uses(statement, t.Ct))
            there = fact(statement, context)
            self.rules.append(core.Rule((*self.guard, there), (unknown,), self.origin))
            self.guard += (there,)
            return
        groups: dict[t.Expression | None, list[t.Expression]] = {}
        for element in elements:
            groups.setdefault(element.data, []).append(element.key)
        goes_on: list[core.Guard] = []
        drawn = _drawn(statement.key, tuple(groups.values()), context)
        for number, (data, keys) in enumerate(groups.items()):
            made = verdict_action(data) if isinstance(data, t.Verdict) else None
            found = [drawn[number]] if drawn else _key_guards(statement.key, tuple(keys), elements, context)
            for guard in found:
                if made is None:
                    goes_on.append(guard)
                else:
                    self.rules.append(core.Rule(self.guard + guard, (made,), self.origin))
        if goes_on:
            self.guard += goes_on[0] if len(goes_on) == 1 else (core.OneOf(tuple(goes_on)),)
        else:
            self.ended = True


def _drawn(
    key: t.Expression, groups: tuple[list[t.Expression], ...], context: Context
) -> list[core.Guard] | None:
    """The guards of a map to which `numgen` or a hash gives one of all its keys: one of them holds, which one
    is not known. None for any other map."""
    if not covers(key, tuple(part for keys in groups for part in keys)):
        return None
    guards: list[core.Guard] = []
    others: core.Guard = ()
    for keys in groups[:-1]:
        literal = t.SetLiteral(tuple(t.Element(part) for part in keys))
        one = fact(t.Match(key, literal), context)
        guards.append((*others, one))
        others += (replace(one, negated=True),)
    return [*guards, others]


def _groups(elements: tuple[t.Element, ...]) -> dict[t.Expression, list[t.Expression]] | None:
    """The keys of a map by their value; None where one has no value."""
    groups: dict[t.Expression, list[t.Expression]] = {}
    for element in elements:
        if element.data is None:
            return None
        groups.setdefault(element.data, []).append(element.key)
    return groups


def _asked(statement: t.Match, context: Context) -> core.Guard:
    """A match whose value is not known still sees no packet without its fields."""
    literals = match_literals(statement, context)
    if not any(isinstance(literal, core.Fact) for literal in literals):
        return literals
    needs = (literal for literal in implied(statement, context) if not isinstance(literal, core.Fact))
    return tuple(dict.fromkeys((*needs, *literals)))


def _may_fail(statement: t.Node) -> core.Fact:
    tracking = uses(statement, t.Ct) or uses(statement, t.ConnectionLimit)
    return core.Fact(statement_text(statement), tracking=tracking, own=True)


def _verdicts(table: t.Expression, context: Context) -> tuple[t.Element, ...] | None:
    match table:
        case t.SetLiteral(elements=elements):
            return elements
        case t.SetReference(name=name):
            named = context.sets.get(name)
            return named.elements if named is not None and is_fixed(named) else None
    return None


def _key_guards(
    key: t.Expression, keys: tuple[t.Expression, ...], elements: tuple[t.Element, ...], context: Context
) -> list[core.Guard]:
    """The guards under which one of the keys is found; `*` is found where no other key is."""
    plain = tuple(part for part in keys if not isinstance(part, t.Wildcard))
    others = tuple(element.key for element in elements if not isinstance(element.key, t.Wildcard))
    guards: list[core.Guard] = []
    if plain:
        guards.append(_one_of(key, plain, context, False))
    if len(plain) < len(keys):
        guards.append(_one_of(key, others, context, True) if others else ())
    return guards


def _one_of(key: t.Expression, keys: tuple[t.Expression, ...], context: Context, negated: bool) -> core.Guard:
    made = key_literals(key, keys, context, negated)
    if made is not None:
        return made
    literal = t.SetLiteral(tuple(t.Element(part) for part in keys))
    return (fact(t.Match(key, literal), context, negated),)
