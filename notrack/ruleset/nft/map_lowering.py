"""Maps of rules: their elements, and the guards under which a value of one is taken."""

from __future__ import annotations

from dataclasses import replace

from notrack.ruleset import core
from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.implied import covers
from notrack.ruleset.nft.match_lowering import Context, fact, is_fixed, key_literals


def elements_of(table: t.Expression, context: Context) -> tuple[t.Element, ...] | None:
    """The elements of a map, literal or named; None for one whose content is not known."""
    match table:
        case t.SetLiteral(elements=elements):
            return elements
        case t.SetReference(name=name):
            named = context.sets.get(name)
            return named.elements if named is not None and is_fixed(named) else None
    return None


def key_guards(
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


def groups_of(elements: tuple[t.Element, ...]) -> dict[t.Expression, list[t.Expression]] | None:
    """The keys of a map by their value; None where one has no value."""
    groups: dict[t.Expression, list[t.Expression]] = {}
    for element in elements:
        if element.data is None:
            return None
        groups.setdefault(element.data, []).append(element.key)
    return groups


def drawn(
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
