"""Rulesets with one spelling for what formats spell differently: counters and the names of translations.

Only names change, and with them what is taken to be the same on both sides of a comparison.
"""

from __future__ import annotations

from dataclasses import replace

from notrack.packets.address import Family, prefix_text, prefixes
from notrack.proof.counters import counter_of, helper_text
from notrack.ruleset.core import Action, Chain, Fact, Guard, Literal, Nat, OneOf, Rule, Ruleset, Table


def spelled(ruleset: Ruleset, family: Family) -> Ruleset:
    """The tables of one family, with counters and translations named by what they are."""
    return Ruleset(tuple(_table(table, family) for table in ruleset.tables if family in table.families))


def _table(table: Table, family: Family) -> Table:
    return replace(table, chains=tuple(_chain(chain, family) for chain in table.chains))


def _chain(chain: Chain, family: Family) -> Chain:
    return replace(chain, rules=tuple(_rule(rule, family) for rule in chain.rules))


def _rule(rule: Rule, family: Family) -> Rule:
    facts = any(isinstance(part, Fact | OneOf) for part in rule.guard)
    moves = any(isinstance(action, Nat) for action in rule.actions)
    if not facts and not moves:
        return rule
    guard = _guard(rule.guard, family) if facts else rule.guard
    return Rule(guard, tuple(_action(action, family) for action in rule.actions), rule.origin)


def _guard(guard: Guard, family: Family) -> Guard:
    return tuple(_literal(part, family) for part in guard)


def _literal(part: Literal, family: Family) -> Literal:
    if isinstance(part, OneOf):
        return OneOf(tuple(_guard(inner, family) for inner in part.guards), part.negated)
    if not isinstance(part, Fact):
        return part
    helper = helper_text(part.name)
    if helper is not None:
        return replace(part, name=helper)
    counter = counter_of(part.name, family)
    if counter is None:
        return part
    return replace(part, name=counter.text, negated=part.negated != counter.negated)


def _action(action: Action, family: Family) -> Action:
    if not isinstance(action, Nat):
        return action
    words = [action.kind.value]
    if action.addresses is not None:
        found = prefixes(action.addresses, family)
        words += ["to", ", ".join(prefix_text(low, length, family) for low, length in found)]
    if action.ports is not None:
        words += ["port", ", ".join(_span(low, high) for low, high in action.ports)]
    return replace(action, text=" ".join(words))


def _span(low: int, high: int) -> str:
    return f"{low}" if low == high else f"{low}-{high}"
