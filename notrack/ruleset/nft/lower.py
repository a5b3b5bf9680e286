"""An nft ruleset as chains of the core: what is in force once its commands have run.

Tables of arp and bridge see no IP hook and are left out; netdev chains hang before all IP hooks and are
kept. A statement that is not understood is an `Unknown` action, one that only may match a `Fact`.
"""

from __future__ import annotations

from notrack.packets.address import Family
from notrack.ruleset import core
from notrack.ruleset.collection import uncollected
from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.catalogue import priority_number
from notrack.ruleset.nft.rule_lowering import rule_lowered
from notrack.ruleset.nft.state import TableState, in_force
from notrack.ruleset.nft.variables import expanded, spliced
from notrack.text.diagnostic import Diagnostic

_FAMILIES = {
    "ip": frozenset({Family.IPV4}),
    "ip6": frozenset({Family.IPV6}),
    "inet": frozenset(Family),
    "netdev": frozenset(Family),
}
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
