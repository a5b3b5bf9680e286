"""Facts that each rule evaluates for itself, told apart.

Of two rules with `limit 5/second` each counts its own packets, so that the second may match what the first
let pass. Where equal names are equal facts, the second looks hidden by the first. A question that depends on
this (is a rule ever reached?) is asked of a ruleset whose facts of that kind have one name for each rule.
"""

from __future__ import annotations

from dataclasses import replace

from notrack.ruleset import core


def apart(ruleset: core.Ruleset) -> core.Ruleset:
    """The same ruleset, every fact that is a rule's own under a name that no other rule has.

    Rules of one origin share it: they are one rule of the text, which asks once. Without such facts the
    ruleset comes back as it is; so does every rule without one.
    """
    tables = tuple(_table(table) for table in ruleset.tables)
    same = all(new is old for new, old in zip(tables, ruleset.tables, strict=True))
    return ruleset if same else core.Ruleset(tables)


def _table(table: core.Table) -> core.Table:
    chains = tuple(_chain(table, chain) for chain in table.chains)
    same = all(new is old for new, old in zip(chains, table.chains, strict=True))
    return table if same else replace(table, chains=chains)


def _chain(table: core.Table, chain: core.Chain) -> core.Chain:
    families = "/".join(sorted(family.name.lower() for family in table.families))
    rules: list[core.Rule] = []
    number = 0
    for at, rule in enumerate(chain.rules):
        before = chain.rules[at - 1] if at else None
        if before is None or rule.origin is core.NOWHERE or rule.origin != before.origin:
            number += 1
        place = f" (rule {number} of {chain.name} in {table.name}, {families})"
        rules.append(_rule(rule, place))
    same = all(new is old for new, old in zip(rules, chain.rules, strict=True))
    return chain if same else replace(chain, rules=tuple(rules))


def _rule(rule: core.Rule, place: str) -> core.Rule:
    if not has_own(rule.guard):
        return rule
    return replace(rule, guard=_guard(rule.guard, place))


def has_own(guard: core.Guard) -> bool:
    """Whether a guard asks for anything that each rule evaluates for itself."""
    return any(
        literal.own
        if isinstance(literal, core.Fact)
        else isinstance(literal, core.OneOf) and any(has_own(inner) for inner in literal.guards)
        for literal in guard
    )


def _guard(guard: core.Guard, place: str) -> core.Guard:
    return tuple(_literal(literal, place) for literal in guard)


def _literal(literal: core.Literal, place: str) -> core.Literal:
    match literal:
        case core.Fact(own=True):
            return replace(literal, name=literal.name + place)
        case core.OneOf():
            return replace(literal, guards=tuple(_guard(inner, place) for inner in literal.guards))
    return literal
