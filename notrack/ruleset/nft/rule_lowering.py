"""One rule of nft as rules of the core: what it asks for and what it does then, statement by statement."""

from __future__ import annotations

from dataclasses import field, replace

from notrack.packets.fields import TCP_FLAGS, Field, bits_set
from notrack.ruleset import core
from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.action_lowering import action, ends, verdict_action
from notrack.ruleset.nft.expression_writer import expression_text
from notrack.ruleset.nft.implied import implied
from notrack.ruleset.nft.map_lowering import drawn, elements_of, groups_of, key_guards
from notrack.ruleset.nft.match_lowering import Context, Sets, fact, match_literals, uses
from notrack.ruleset.nft.statement_writer import rule_text, statement_text
from notrack.ruleset.nft.translation_lowering import chosen, mapping_of, translation
from notrack.text.record import dataclass

_MAY_FAIL = (t.Limit, t.Quota, t.ConnectionLimit, t.Meter)
TRANSLATIONS_MAXIMUM = 256  # values of one map that become rules of their own
_SYN, _ACK = TCP_FLAGS["syn"], TCP_FLAGS["ack"]


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
        elements = elements_of(mapping.table, context)
        if elements is None or expression_text(target) in expression_text(mapping.key):
            return False
        groups = groups_of(elements)
        if groups is None:
            return False
        if self.actions:
            self.emit()
        every: list[core.Guard] = []
        for data, keys in groups.items():
            for guard in key_guards(mapping.key, tuple(keys), elements, context):
                every.append(guard)
                made = action(replace(statement, value=data), self.sets)
                self.rules.append(core.Rule(self.guard + guard, (made,), self.origin))
        self.guard += every[0] if len(every) == 1 else (core.OneOf(tuple(every)),)
        return True

    def translate(self, statement: t.Nat, context: Context) -> bool:
        """`dnat to KEY map { .. }`: one rule for each value, if all are known and the key is exact."""
        mapping = mapping_of(statement)
        elements = elements_of(mapping.table, context) if mapping else None
        groups = groups_of(elements) if elements else None
        if not mapping or not elements or not groups or len(groups) > TRANSLATIONS_MAXIMUM:
            return False
        needs = implied(replace(statement, address=None, port=None), context)
        context = replace(context, guard=context.guard + needs)
        found = [
            (guard, data)
            for data, keys in groups.items()
            for guard in key_guards(mapping.key, tuple(keys), elements, context)
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
        elements = elements_of(statement.table, context)
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
        lots = drawn(statement.key, tuple(groups.values()), context)
        for number, (data, keys) in enumerate(groups.items()):
            made = verdict_action(data) if isinstance(data, t.Verdict) else None
            found = [lots[number]] if lots else key_guards(statement.key, tuple(keys), elements, context)
            for guard in found:
                if made is None:
                    goes_on.append(guard)
                else:
                    self.rules.append(core.Rule(self.guard + guard, (made,), self.origin))
        if goes_on:
            self.guard += goes_on[0] if len(goes_on) == 1 else (core.OneOf(tuple(goes_on)),)
        else:
            self.ended = True


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
