"""Matches that ask where a packet belongs or what surrounds its header: addrtype, fragments, rpfilter."""

from __future__ import annotations

from dataclasses import replace

from notrack.packets.address import Family
from notrack.packets.fields import (
    NO_INTERFACE,
    AddressType,
    Field,
    Fragment,
    domain,
    interface_prefix,
    interface_value,
)
from notrack.packets.intervals import IntervalSet
from notrack.ruleset import core
from notrack.ruleset.xtables import values
from notrack.ruleset.xtables.literals import (
    FRAGMENTED,
    NEVER,
    match_fact,
    named_fact,
    option_fact,
    single,
)
from notrack.ruleset.xtables.tree import Match, Option

_ENDS = {
    "--src-type": (Field.SOURCE, Field.SOURCE_TYPE),
    "--dst-type": (Field.DESTINATION, Field.DESTINATION_TYPE),
}
_PORTS = {
    "--physdev-in": Field.BRIDGE_IN,
    "--physdev-is-in": Field.BRIDGE_IN,
    "--physdev-out": Field.BRIDGE_OUT,
    "--physdev-is-out": Field.BRIDGE_OUT,
    "--physdev-is-bridged": Field.BRIDGE_OUT,
}
_A_PORT = domain(Field.BRIDGE_IN, Family.IPV4).whole - IntervalSet.single(NO_INTERFACE)
_LIMITS = ("--limit-iface-in", "--limit-iface-out")
_GROUPS6 = IntervalSet(((0xFF << 120, (1 << 128) - 1),))
_MAPPED6 = IntervalSet(((0xFFFF << 32, (0x10000 << 32) - 1),))
_NOBODY6 = IntervalSet.single(0)
_LOOPBACK = single(Field.IN, interface_value("lo"))


def addrtype(match: Match, family: Family) -> core.Guard:
    """`-m addrtype`. IPv4 asks the table of local addresses; with a device the answer depends on it."""
    limit = next((option.name for option in match.options if option.name in _LIMITS), None)
    guard: core.Guard = ()
    for option in match.options:
        if option.name in _LIMITS:
            continue
        guard += _typed(match, option, limit, family)
    return guard


def _typed(match: Match, option: Option, limit: str | None, family: Family) -> core.Guard:
    try:
        types = values.address_types(option.values[0])
    except (ValueError, IndexError):
        types = frozenset()
    if option.name not in _ENDS or not types:
        return (option_fact(match, option),)
    if limit is not None:
        text = f"-m addrtype {option.name} {','.join(sorted(kind.name for kind in types))} {limit}"
        return (named_fact("addrtype", text, option.negated),)
    address, kind = _ENDS[option.name]
    if family is Family.IPV4:
        return (core.Among(kind, IntervalSet.of((value, value) for value in types), option.negated),)
    inner = _types6(match, option, types, address, kind, family)
    if not option.negated:
        return inner
    if len(inner) == 1 and isinstance(inner[0], core.Among | core.Fact):
        return (_opposite(inner[0]),)
    return (core.OneOf((inner,), negated=True),)


def _types6(
    match: Match, option: Option, types: frozenset[AddressType], address: Field, kind: Field, family: Family
) -> core.Guard:
    """IPv6 asks one thing after another, and all must hold (`match_type6`). UNICAST is how the address looks,
    so the host's own are unicast too; of LOCAL, ANYCAST and UNREACHABLE any will do."""
    guard: core.Guard = ()
    if AddressType.MULTICAST in types:
        guard += (core.Among(address, _GROUPS6),)
    if AddressType.UNICAST in types:
        guard += (core.Among(address, family.whole - _GROUPS6 - _MAPPED6 - _NOBODY6),)
    if AddressType.UNSPEC in types:
        guard += (core.Among(address, _NOBODY6),)
    routed: list[core.Guard] = []
    if AddressType.LOCAL in types:
        routed.append((single(kind, AddressType.LOCAL),))
    for other in (AddressType.ANYCAST, AddressType.UNREACHABLE):
        if other in types:
            routed.append((core.Fact(f"-m addrtype {option.name} {other.name}"),))
    if len(routed) == 1:
        guard += routed[0]
    elif routed:
        guard += (core.OneOf(tuple(routed)),)
    return guard or NEVER  # the kernel refuses the types that only IPv4 has


def _opposite(literal: core.Among | core.Fact) -> core.Literal:
    if isinstance(literal, core.Fact):
        return replace(literal, negated=not literal.negated)
    return core.Among(literal.field, literal.values, not literal.negated)


def frag(match: Match, family: Family) -> core.Guard:
    """`-m frag` (IPv6): the packet has a fragment header; the options look into it."""
    guard: core.Guard = (FRAGMENTED,)
    more = core.Fact("more fragments follow")
    later = single(Field.FRAGMENT, Fragment.LATER)
    for option in match.options:
        match option.name:
            case "--fragfirst":
                guard += (single(Field.FRAGMENT, Fragment.FIRST),)
            case "--fragmore":
                guard += (core.OneOf(((single(Field.FRAGMENT, Fragment.FIRST),), (later, more))),)
            case "--fraglast":
                guard += (later, core.Fact(more.name, negated=True))
            case _:
                guard += (option_fact(match, option),)
    return guard


def ipv6header(match: Match, family: Family) -> core.Guard:
    """`-m ipv6header`: exact where only the fragment header is asked for, among any others (`--soft`)."""
    option = match.option("--header")
    soft = match.option("--soft") is not None
    if option is None or not option.values or not soft:
        return (match_fact(match),)
    if option.values[0].lower() in ("frag", "ipv6-frag", "44"):
        return (core.Among(FRAGMENTED.field, FRAGMENTED.values, option.negated),)
    text = f"-m ipv6header --soft --header {','.join(sorted(option.values[0].lower().split(',')))}"
    single_header = "," not in option.values[0]
    if option.negated and not single_header:  # each header must be missing: no opposite of the other
        return (core.Fact(f"{text} (none of them)"),)
    return (core.Fact(text, option.negated),)


def physdev(match: Match, family: Family) -> core.Guard:
    """`-m physdev`: the ports of a bridge. What no bridge passes on has none, so it meets negations alone."""
    guard: core.Guard = ()
    for option in match.options:
        guard += (_port(match, option),)
    return guard


def _port(match: Match, option: Option) -> core.Literal:
    field = _PORTS.get(option.name)
    if field is None:
        return option_fact(match, option)
    if not option.name.endswith(("-in", "-out")) or "-is-" in option.name:
        return core.Among(field, _A_PORT, option.negated)
    try:
        name, open_ended = values.interface(option.values[0])
    except (ValueError, IndexError):
        return option_fact(match, option)
    found = interface_prefix(name) & _A_PORT if open_ended else IntervalSet.single(interface_value(name))
    return core.Among(field, found, option.negated)


def rpfilter(match: Match, family: Family) -> core.Guard:
    """`-m rpfilter`: what comes in by loopback always passes, else the routing table decides."""
    inverted = match.option("--invert") is not None
    plain = Match(match.name, tuple(option for option in match.options if option.name != "--invert"))
    passes: tuple[core.Guard, ...] = ((_LOOPBACK,), (match_fact(plain),))
    return (core.OneOf(passes, inverted),)


def recent(match: Match, family: Family) -> core.Guard:
    """`-m recent --set` holds for every packet, its negation for none; the rest depends on the past."""
    option = match.option("--set")
    if option is not None:
        return NEVER if option.negated else ()
    return (match_fact(match),)
