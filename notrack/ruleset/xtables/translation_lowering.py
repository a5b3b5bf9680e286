"""SNAT, DNAT, MASQUERADE, REDIRECT and NETMAP as translations of the core."""

from __future__ import annotations

from notrack.packets.address import Family
from notrack.packets.intervals import IntervalSet
from notrack.ruleset import core
from notrack.ruleset.xtables import values
from notrack.ruleset.xtables.tree import Target

_OPTION = {core.NatKind.SNAT: "--to-source", core.NatKind.DNAT: "--to-destination"}
_BEFORE_ROUTING = frozenset((core.Hook.PREROUTING, core.Hook.OUTPUT))
_PORTS = IntervalSet(((0, 65535),))


def translated(kind: core.NatKind, target: Target, text: str, family: Family) -> core.Nat:
    """SNAT or DNAT. Several options of old rulesets name several ranges, of which the kernel takes one; a
    value that says nothing known stands for every address and port."""
    found = [_ends(option.values[0], family) for option in target.options if option.name == _OPTION[kind]]
    addresses = _union([ends[0] for ends in found])
    ports = _union([ends[1] for ends in found])
    return core.Nat(kind, addresses, ports, text)


def _union(sets: list[IntervalSet | None]) -> IntervalSet | None:
    known = [one for one in sets if one is not None]
    return IntervalSet.of(span for one in known for span in one) if known else None


def _ends(word: str, family: Family) -> tuple[IntervalSet | None, IntervalSet | None]:
    """`address[-address][:port[-port]]`; IPv6 addresses stand in brackets if ports follow."""
    if family is Family.IPV6:
        address, _, rest = word.partition("]") if word.startswith("[") else (word, "", "")
        address, ports = address.lstrip("["), rest.lstrip(":")
        if rest.startswith("-["):  # [first]-[last]:port
            last, _, tail = rest[2:].partition("]")
            address, ports = f"{address}-{last}", tail.lstrip(":")
    else:
        address, _, ports = word.partition(":")
    try:
        return (
            values.address_range(address, family) if address else None,
            port_range(ports) if ports else None,
        )
    except values.Meaningless:
        return family.whole, _PORTS


def port_range(word: str) -> IntervalSet:
    """`80`, `80-90` or `http`; `80-90/8080` spreads the range over another, so any of it may come out."""
    word, _, _ = word.partition("/")
    first, dash, last = word.partition("-")
    low = values.port(first)
    high = values.port(last) if dash else low
    if low is None and dash:  # a service may have a dash in its name
        low = high = values.port(word)
    if low is None or high is None or low > high:
        raise values.Meaningless(f"{word!r} is no range of ports")
    return IntervalSet(((low, high),))


def _to_ports(target: Target) -> IntervalSet | None:
    option = target.option("--to-ports")
    if option is None:
        return None
    try:
        return port_range(option.values[0])
    except values.Meaningless:
        return _PORTS


def masquerade(target: Target, text: str) -> core.Nat:
    return core.Nat(core.NatKind.MASQUERADE, None, _to_ports(target), text)


def redirect(target: Target, text: str) -> core.Nat:
    return core.Nat(core.NatKind.REDIRECT, None, _to_ports(target), text)


def netmap(target: Target, text: str, family: Family, hooks: frozenset[core.Hook]) -> core.Action:
    """NETMAP keeps the host's part of the address: of the core any address of the network may come out.

    It translates the destination before routing and the source behind it. A chain that both kinds of hooks
    reach does both, which the core cannot say.
    """
    option = target.option("--to")
    network = values.addresses(option.values[0], family) if option else None
    if network is None:
        network = family.whole
    if hooks <= _BEFORE_ROUTING:
        return core.Nat(core.NatKind.DNAT, network, None, text)
    if hooks.isdisjoint(_BEFORE_ROUTING):
        return core.Nat(core.NatKind.SNAT, network, None, text)
    return core.Unknown(text, tracking=True)
