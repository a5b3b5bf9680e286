"""From which hooks packets come to a chain, and what the rules that stand before connection tracking are."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from notrack.ruleset.core import CONNTRACK_PRIORITY, Base, Chain, ChainType, Hook, Jump, Rule, Table

TRACKING_HOOKS = (Hook.PREROUTING, Hook.OUTPUT)
_DEVICE_HOOKS = (Hook.INGRESS, Hook.EGRESS)


def entrances(table: Table) -> dict[str, tuple[Base, ...]]:
    """For each chain the bases from which jumps lead to it; none for a chain that nothing jumps to."""
    leads = {chain.name: frozenset(_targets(chain)) for chain in table.chains}
    found: dict[str, list[Base]] = {chain.name: [] for chain in table.chains}
    for chain in table.chains:
        if chain.base is None:
            continue
        seen: set[str] = set()
        waiting = [chain.name]
        while waiting:
            name = waiting.pop()
            if name in seen or name not in leads:
                continue
            seen.add(name)
            found[name].append(chain.base)
            waiting.extend(leads[name])
    return {name: tuple(bases) for name, bases in found.items()}


def _targets(chain: Chain) -> Iterator[str]:
    for rule in chain.rules:
        for action in rule.actions:
            if isinstance(action, Jump):
                yield action.chain


def is_early(base: Base) -> bool:
    """Whether the rules of a base chain run before connection tracking.

    A chain of type nat runs inside the kernel's own translation, whatever its priority says.
    """
    before = base.priority < CONNTRACK_PRIORITY and base.kind is not ChainType.NAT
    return base.hook in TRACKING_HOOKS and before


def is_late(base: Base) -> bool:
    """Whether they run behind it. Chains of one device (ingress, egress) are neither."""
    return base.hook not in _DEVICE_HOOKS and not is_early(base)


def early_rules(table: Table) -> Iterator[tuple[Chain, Rule, tuple[Base, ...]]]:
    """The rules that run before connection tracking and nowhere else, with what leads to their chain."""
    return _rules(table, is_early)


def late_rules(table: Table) -> Iterator[tuple[Chain, Rule, tuple[Base, ...]]]:
    """The rules that run behind connection tracking and nowhere else, with what leads to their chain."""
    return _rules(table, is_late)


def _rules(table: Table, wanted: Callable[[Base], bool]) -> Iterator[tuple[Chain, Rule, tuple[Base, ...]]]:
    found = entrances(table)
    for chain in table.chains:
        bases = found[chain.name]
        if bases and all(wanted(base) for base in bases):
            for rule in chain.rules:
                yield chain, rule, bases


def is_nft(table: Table) -> bool:
    """Whether the table is one of nft (`inet filter`), and none of iptables (`filter`)."""
    return " " in table.name


def place_of(base: Base) -> str:
    """A base in words: `the prerouting hook at priority -150`."""
    return f"the {base.hook.value} hook at priority {base.priority}"
