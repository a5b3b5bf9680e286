"""Legs as a native nft ruleset: one table of our own for each family, put in place in one transaction.

The families stand in `table ip` and `table ip6`, never in `inet`: one ct expression in `inet` would switch
tracking on for both (docs/decisions/two-nft-tables.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import field

from notrack.layout.comment import comment
from notrack.layout.merging import Group, Part, groups
from notrack.layout.nftsets import Sets
from notrack.layout.nftwords import conditions, done, group_conditions, skeleton
from notrack.layout.target import TRANSLATES
from notrack.layout.tuples import joint_part, joint_set_fits
from notrack.packets.address import Family
from notrack.packets.intervals import IntervalSet
from notrack.plan.leg import Hook, Verb
from notrack.plan.planner import FamilyPlan
from notrack.ruleset.nft import builder as b
from notrack.ruleset.nft import tree as t
from notrack.site.model import Default, Defaults, Origin
from notrack.text.record import dataclass

TABLE = "notrack_site"
FAMILY_WORD = {Family.IPV4: "ip", Family.IPV6: "ip6"}
_SEPARATE = 4  # up to so many rules of one shape stand one by one; beyond, one set of tuples replaces them

_CHAINS: tuple[tuple[str, str, str, str | int, tuple[Hook, ...]], ...] = (
    ("raw_prerouting", "filter", "prerouting", "raw", (Hook.RAW_IN,)),
    ("raw_output", "filter", "output", "raw", (Hook.RAW_OUT,)),
    ("helpers", "filter", "prerouting", "mangle", (Hook.HELPER_IN,)),
    ("helpers_output", "filter", "output", "mangle", (Hook.HELPER_OUT,)),
    ("nat_prerouting", "nat", "prerouting", "dstnat", (Hook.NAT_IN,)),
    ("nat_output", "nat", "output", -100, (Hook.NAT_OUT,)),
    ("nat_postrouting", "nat", "postrouting", "srcnat", (Hook.NAT_POST,)),
    ("mangle_forward", "filter", "forward", "mangle", (Hook.MANGLE_FORWARD,)),
    ("input", "filter", "input", "filter", (Hook.INPUT,)),
    ("forward", "filter", "forward", "filter", (Hook.FORWARD,)),
    ("output", "filter", "output", "filter", (Hook.OUTPUT,)),
)


@dataclass(frozen=True, slots=True)
class MappedRule:
    """One emitted rule and the declarations it comes from, for `--map`."""

    chain: str
    rule: t.Rule
    origins: tuple[Origin, ...]


@dataclass
class Table:
    """A table in the making: sets by content, chains, and which rule comes from where."""

    family: Family
    sets: Sets
    chains: list[t.Chain] = field(default_factory=list)
    helpers: dict[str, t.CtHelper] = field(default_factory=dict)
    mapped: list[MappedRule] = field(default_factory=list)

    def rule(self, chain: str, statements: Iterable[t.RuleStatement], origins: tuple[Origin, ...]) -> t.Rule:
        made = t.Rule(tuple(statements), comment(origins))
        self.mapped.append(MappedRule(chain, made, origins))
        return made


def layout(
    plan: FamilyPlan, defaults: Defaults, networks: dict[tuple[tuple[int, int], ...], str]
) -> tuple[t.Table, list[MappedRule]]:
    """The table of one family, and its map."""
    table = Table(plan.family, Sets(plan.family, networks, plan.own))
    bases: list[t.Chain] = []
    for name, kind, hook, priority, hooks in _CHAINS:
        found = sorted((g for h in hooks for g in groups(plan.legs, h)), key=lambda g: g.stage)
        rules = [rule for group in found for rule in _group(group, name, table)]
        default = {"input": defaults.input, "forward": defaults.forward, "output": defaults.output}.get(name)
        policy = "drop" if default in (Default.DROP, Default.REJECT) else "accept"
        if rules or policy == "drop":
            bases.append(b.base_chain(name, hook, priority, rules, type=kind, policy=policy))
    items = (*table.helpers.values(), *table.sets.made(), *table.chains, *bases)
    return t.Table(FAMILY_WORD[plan.family], TABLE, items), table.mapped


def _group(group: Group, chain: str, table: Table) -> Iterator[t.Rule]:
    extra, action = group_conditions(group), done(group, table.helpers)
    count = table.sets.counting(group)
    many = len(group.parts) > 1 or group.action.verb in TRANSLATES
    if count and group.action.verb is not Verb.LOG and many:
        inner = table.sets.name(f"limit_{group.origins[0].name}")
        if group.action.verb in TRANSLATES:
            gate = (
                table.rule(inner, (*count, b.returns()), group.origins),
                table.rule(inner, (b.accept(),), group.origins),
            )
            table.chains.append(t.Chain(inner, gate))
            yield from _all(group, extra, (b.jump(inner),), chain, table)
        else:
            table.chains.append(t.Chain(inner, (table.rule(inner, (*count, *action), group.origins),)))
            action = (b.jump(inner),)
        count = ()
    yield from _all(group, (*extra, *count), action, chain, table)


def _all(
    group: Group,
    extra: tuple[t.RuleStatement, ...],
    action: tuple[t.RuleStatement, ...],
    chain: str,
    table: Table,
) -> Iterator[t.Rule]:
    for parts in _by_skeleton(group.parts, table.sets.own):
        yield from _parts(parts, extra, action, chain, table)


def _by_skeleton(parts: tuple[Part, ...], own: IntervalSet) -> list[list[Part]]:
    """Parts that ask about the same fields, in the order of the first of each kind."""
    found: dict[object, list[Part]] = {}
    for part in parts:
        found.setdefault(skeleton(part.box, own), []).append(part)
    return list(found.values())


def _parts(
    parts: list[Part],
    extra: tuple[t.RuleStatement, ...],
    action: tuple[t.RuleStatement, ...],
    chain: str,
    table: Table,
) -> Iterator[t.Rule]:
    if len(parts) > _SEPARATE:
        joint = [part for part in parts if joint_set_fits(part.box)]
        parts = [part for part in parts if not joint_set_fits(part.box)]
        if joint:
            statements, origins = joint_part(joint, table.sets)
            yield table.rule(chain, (*statements, *extra, *action), origins)
    for part in parts:
        yield table.rule(chain, (*conditions(part.box, table.sets), *extra, *action), part.origins)
