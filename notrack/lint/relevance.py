"""A large ruleset without the rules that cannot matter to a small set of packets."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import replace

from notrack.lint.bounds import asked, bound, rules_of
from notrack.lint.view import View
from notrack.netfilter.model import Model
from notrack.packets.fields import Field, domain
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Keeper, Nat, NatKind, Rule, Ruleset, SetField, Table

_FIELDS = (Field.PROTOCOL, Field.SOURCE, Field.DESTINATION, Field.SOURCE_PORT, Field.DESTINATION_PORT)
_FEW = 8
_TOP = 1 << 130  # above every value of a field
_ENDS = {
    Field.SOURCE: "addresses",
    Field.DESTINATION: "addresses",
    Field.SOURCE_PORT: "ports",
    Field.DESTINATION_PORT: "ports",
}


def relevant(view: View, ruleset: Ruleset, packets: PacketSet) -> Model:
    """The model of a ruleset for packets of a set alone: rules that none of them can match, translated or
    not, are left out. Of a ruleset of ordinary size it is the model of it all."""
    if view.sample is None:
        if ruleset is view.ruleset:
            return view.model
        return Model(ruleset, view.family, view.host, space=view.model.space)
    allowed = _allowed(view, ruleset, packets)
    tables = tuple(_cut(view, table, allowed) for table in ruleset.tables)
    return Model(Ruleset(tables), view.family, view.host, space=view.model.space)


def _allowed(view: View, ruleset: Ruleset, packets: PacketSet) -> dict[Field, IntervalSet]:
    """The values that fields of the packets may have anywhere on their way."""
    found = {field: list(packets.project(field)) for field in _FIELDS}
    for rule in rules_of(ruleset, view.family):
        for action in rule.actions:
            if isinstance(action, Nat):
                for field, part in _ENDS.items():
                    values = getattr(action, part)
                    found[field] += values if values is not None else _chosen(view, field, action)
            elif isinstance(action, SetField) and action.field in found:
                found[action.field] += domain(action.field, view.family).whole
    return {field: IntervalSet.of(set(spans)) for field, spans in found.items()}


def _chosen(view: View, field: Field, nat: Nat) -> IntervalSet:
    """The values that a translation gives without naming them: an own address; ports are kept."""
    own = view.host.addresses(view.family)
    if field is Field.DESTINATION and nat.kind is NatKind.REDIRECT:
        return own if own is not None else view.family.whole
    return own or IntervalSet() if field is Field.SOURCE else IntervalSet()


def _cut(view: View, table: Table, allowed: Mapping[Field, IntervalSet]) -> Table:
    if view.family not in table.families:
        return table
    chains = tuple(
        replace(chain, rules=tuple(rule for rule in chain.rules if _may_match(rule, view, allowed)))
        for chain in table.chains
    )
    kept = (Keeper("a rule that is left out"),) if view.model.tracks else ()
    return replace(table, chains=chains, keepers=(*table.keepers, *kept))


def _may_match(rule: Rule, view: View, allowed: Mapping[Field, IntervalSet]) -> bool:
    return all(_meet(values, allowed[field]) for field, values in _extent(rule, view).items())


def _meet(few: IntervalSet, many: IntervalSet) -> bool:
    """Whether two sets have a member in common; quick where the first has few intervals."""
    if len(few.spans) > _FEW:
        return not few.isdisjoint(many)
    for low, high in few:
        at = bisect_right(many.spans, (high, _TOP)) - 1
        if at >= 0 and many.spans[at][1] >= low:
            return True
    return False


def _extent(rule: Rule, view: View) -> dict[Field, IntervalSet]:
    """What a rule leaves of the fields that it asks for; computed once."""
    known = view.extents.get(id(rule))
    if known is None or known[0] is not rule:
        asked_for = set(asked(rule.guard))
        made = {field: bound(rule.guard, field, view.family) for field in _FIELDS if field in asked_for}
        known = view.extents[id(rule)] = (rule, made)
    return known[1]


def meeting(view: View, rules: Iterable[Rule], packets: PacketSet) -> list[Rule]:
    """The rules that packets of a set may match as they are."""
    allowed = {field: packets.project(field) for field in _FIELDS}
    return [rule for rule in rules if _may_match(rule, view, allowed)]
