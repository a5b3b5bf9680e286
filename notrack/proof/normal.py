"""A ruleset that was read back, in a form that can be laid beside the plan's.

Only names are changed: counters, helpers and translations are called what the plan calls them. Joining runs
of rules changes no behaviour either (docs/proof.md says why).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from notrack.packets.address import Family
from notrack.proof.asked import CLAMPED, helper_note, named_nat
from notrack.proof.counters import Numbers, counter_of, helper_text
from notrack.ruleset import core

_CT_HELPER = re.compile(r"-j CT --helper (\S+)")
_SET_HELPER = re.compile(r'ct helper set "(\S+)"')
_OBJECT = re.compile(r'type "([^"]+)" protocol (\w+)')
_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132, "dccp": 33, "udplite": 136}
_CLAMPS = frozenset(("-j TCPMSS --clamp-mss-to-pmtu", "tcp option maxseg size set rt mtu"))
_NAT_OPTIONS = frozenset(("--to-source", "--to-destination", "--to-ports"))
_NAT_FLAGS = frozenset(("random", "fully-random", "persistent"))


def named(ruleset: core.Ruleset, family: Family) -> core.Ruleset:
    """The tables of one family with the plan's names for counters, helpers and translations."""
    tables = [table for table in ruleset.tables if family in table.families]
    return core.Ruleset(tuple(_Naming(table, family).table() for table in tables))


class _Naming:
    """The names of one table."""

    def __init__(self, table: core.Table, family: Family) -> None:
        self.source = table
        self.family = family
        self.numbers = Numbers()
        self.chains = {chain.name: chain for chain in table.chains}
        self.done: dict[str, core.Chain] = {}
        self.helpers = dict(_helper_objects(table))

    def table(self) -> core.Table:
        for chain in self.source.chains:
            if chain.base is not None:
                self.chain(chain.name, chain.base.hook)
        chains = tuple(self.done.get(chain.name, chain) for chain in self.source.chains)
        return replace(self.source, chains=chains)

    def chain(self, name: str, hook: core.Hook) -> None:
        """Name what is in a chain, then in those that it calls, in the order in which it calls them."""
        if name in self.done or name not in self.chains:
            return
        chain = self.chains[name]
        self.done[name] = chain
        rules: list[core.Rule] = []
        for rule in chain.rules:
            rules.append(self.rule(rule, hook))
            for action in rule.actions:
                if isinstance(action, core.Jump):
                    self.chain(action.chain, hook)
        self.done[name] = replace(chain, rules=tuple(rules))

    def rule(self, rule: core.Rule, hook: core.Hook) -> core.Rule:
        plain = not any(isinstance(part, core.Fact | core.OneOf) for part in rule.guard)
        if plain and all(
            isinstance(action, core.Verdict | core.Jump | core.Notrack) for action in rule.actions
        ):
            return rule
        actions = tuple(self.action(action) for action in rule.actions)
        if plain or all(isinstance(action, core.Log) and action.text != CLAMPED for action in actions):
            return core.Rule(rule.guard, actions, rule.origin)
        guard = tuple(self.literal(part, rule, at, hook) for at, part in enumerate(rule.guard))
        return core.Rule(guard, actions, rule.origin)

    def literal(self, literal: core.Literal, rule: core.Rule, at: int, hook: core.Hook) -> core.Literal:
        if not isinstance(literal, core.Fact):
            return literal
        helper = helper_text(literal.name)
        if helper is not None:
            return core.Fact(helper, literal.negated, tracking=literal.tracking)
        counter = counter_of(literal.name, self.family)
        if counter is None:
            return literal
        key = counter.shared or (rule.origin.span, rule.origin.text, at)
        name = self.numbers.name(hook.value, key, counter.text)
        return core.Fact(name, literal.negated != counter.negated, literal.tracking)

    def action(self, action: core.Action) -> core.Action:
        match action:
            case core.Nat():
                return named_nat(action, _unsaid(action.text))
            case core.Template(what=what) if (found := _CT_HELPER.fullmatch(what)) is not None:
                return core.Template(helper_note(found[1]))
            case core.ConnectionSet(what=what):
                return core.ConnectionSet(self.helper(what))
            case core.Log(text=text) if text in _CLAMPS:
                return core.Log(CLAMPED)
        return action

    def helper(self, what: str) -> str:
        found = _SET_HELPER.fullmatch(what)
        return self.helpers.get(found[1], what) if found is not None else what


def _helper_objects(table: core.Table) -> Iterator[tuple[str, str]]:
    """The helper objects of an nft table, each with what it gives a connection."""
    for keeper in table.keepers:
        text = keeper.origin.span.text if keeper.origin.span is not None else ""
        found = _OBJECT.search(text)
        if keeper.what.startswith("ct helper ") and found is not None and found[2] in _PROTOCOLS:
            yield keeper.what.removeprefix("ct helper "), helper_note(found[1], _PROTOCOLS[found[2]])


def _unsaid(text: str) -> str:
    """What a translation says beside addresses and ports."""
    words = text.split()
    more = [word for word in words if word.startswith("--") and word not in _NAT_OPTIONS]
    more += [word.strip(",") for word in words if word.strip(",") in _NAT_FLAGS]
    return "".join(f" {word}" for word in more)


_SHARED = tuple(
    (hook, priority)
    for (_, hook), priority in core.XTABLES_PRIORITY.items()
    if (hook, priority) in ((core.Hook.PREROUTING, -300), (core.Hook.OUTPUT, -300)) or priority == 0
)


def beside_others(ruleset: core.Ruleset, family: Family) -> core.Ruleset:
    """The ruleset with rules of others, of which nothing is known, behind its own before tracking and in
    filter: in the chains of iptables, which all share, it matters whether a packet is left to them."""
    tables, missing = [], dict.fromkeys(_SHARED)
    for table in ruleset.tables:
        chains = []
        for chain in table.chains:
            at = (chain.base.hook, chain.base.priority) if chain.base is not None else None
            if at in missing and chain.base is not None and chain.base.policy is core.Verdict.ACCEPT:
                del missing[at]
                chain = replace(chain, rules=(*chain.rules, _others(*at)))
            chains.append(chain)
        tables.append(replace(table, chains=tuple(chains)))
    alone = tuple(
        core.Chain(f"others {hook.value} {priority}", (_others(hook, priority),), core.Base(hook, priority))
        for hook, priority in missing
    )
    return core.Ruleset((*tables, core.Table("others", frozenset((family,)), alone)))


def _others(hook: core.Hook, priority: int) -> core.Rule:
    when = " before tracking" if priority < 0 else ""
    return core.Rule((), (core.Unknown(f"the rules of others at {hook.value}{when}"),))


def facts_of(ruleset: core.Ruleset) -> Iterator[str]:
    """What rules ask that no packet decides, each once."""
    found = {
        part.name: None
        for table in ruleset.tables
        for chain in table.chains
        for rule in chain.rules
        for part in rule.guard
        if isinstance(part, core.Fact)
    }
    yield from found


def is_note(action: core.Action) -> bool:
    """Whether an action gives no verdict, but is something that the plan asks for all the same."""
    return isinstance(action, core.ConnectionSet) or (isinstance(action, core.Log) and action.text == CLAMPED)


def notes(ruleset: core.Ruleset) -> core.Ruleset:
    """The base chains that come to notes, every note made a template, so that an outcome shows it.

    Only to be compared chain by chain: what these chains do to packets is not what the kernel does.
    """
    tables = []
    for table in ruleset.tables:
        noting = _reaching_notes(table)
        if noting:
            kept = tuple(
                _noted(chain) for chain in table.chains if chain.base is None or chain.name in noting
            )
            tables.append(replace(table, chains=kept))
    return core.Ruleset(tuple(tables))


def _reaching_notes(table: core.Table) -> set[str]:
    """The chains that hold a note, and those that lead to one of them."""
    found = {chain.name for chain in table.chains if _has_note(chain)}
    grown = bool(found)
    while grown:
        more = {
            chain.name
            for chain in table.chains
            for rule in chain.rules
            for action in rule.actions
            if isinstance(action, core.Jump) and action.chain in found
        }
        grown = not more <= found
        found |= more
    return found


def _has_note(chain: core.Chain) -> bool:
    return any(is_note(action) for rule in chain.rules for action in rule.actions)


def _noted(chain: core.Chain) -> core.Chain:
    rules = tuple(
        replace(rule, actions=tuple(_visible(action) for action in rule.actions)) for rule in chain.rules
    )
    return replace(chain, rules=rules)


def _visible(action: core.Action) -> core.Action:
    if isinstance(action, core.ConnectionSet):
        return core.Template(action.what)
    return core.Template(action.text) if isinstance(action, core.Log) else action
