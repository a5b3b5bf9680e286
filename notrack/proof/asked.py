"""What the plan asks for, as chains of the core: one rule a leg, in the order of stages, and nothing else.

This is the other side of the proof. It knows nothing of sets, trees of chains or merging, so that a mistake
of the layout has no second home here.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator

from notrack.packets.address import Family
from notrack.packets.fields import AddressType, Field, Fragment, bits_set, interface_prefix, interface_value
from notrack.packets.fields import State as Tracked
from notrack.packets.intervals import IntervalSet
from notrack.plan.box import ICMP_TYPES, PORTS, PROTOCOLS, REACH_ANY, TCP, Box, Flags, Reach
from notrack.plan.leg import Action, Hook, Leg, State, Verb
from notrack.plan.planner import FamilyPlan
from notrack.proof.counters import Numbers, cap_text, expected_by, rate_text
from notrack.ruleset import core
from notrack.site.model import Default, Defaults

TABLE = "the plan"
_TCP = IntervalSet.single(TCP)
_SYN, _RST, _ACK, _ALL = 0x02, 0x04, 0x10, 0x17  # FIN, SYN, RST, ACK
_FLAGS = {
    Flags.NO_BARE_SYN: core.Among(Field.FLAGS, bits_set(_ALL, _SYN), negated=True),
    Flags.BARE_SYN: core.Among(Field.FLAGS, bits_set(_ALL, _SYN)),
    Flags.ANSWER: core.Among(Field.FLAGS, bits_set(_RST | _ACK, 0), negated=True),
    Flags.SYN: core.Among(Field.FLAGS, bits_set(_SYN | _RST, _SYN)),
}
_KINDS = {
    Reach.LOCAL: AddressType.LOCAL,
    Reach.BROADCAST: AddressType.BROADCAST,
    Reach.MULTICAST: AddressType.MULTICAST,
}
_STATES = {
    State.ESTABLISHED: Tracked.ESTABLISHED,
    State.RELATED: Tracked.RELATED,
    State.NEW: Tracked.NEW,
    State.INVALID: Tracked.INVALID,
}
_KINDS_OF_NAT = {
    Verb.MASQUERADE: core.NatKind.MASQUERADE,
    Verb.SNAT: core.NatKind.SNAT,
    Verb.DNAT: core.NatKind.DNAT,
    Verb.REDIRECT: core.NatKind.REDIRECT,
}


class Dialect(enum.Enum):
    """Where a format puts helpers: iptables before tracking, as a template; nft behind it."""

    XTABLES = "xtables"
    NFT = "nft"


Places = tuple[tuple[core.Hook, int, core.ChainType, tuple[Hook, ...], str], ...]
_FILTER, _NAT = core.ChainType.FILTER, core.ChainType.NAT
_COMMON: Places = (
    (core.Hook.PREROUTING, -100, _NAT, (Hook.NAT_IN,), ""),
    (core.Hook.OUTPUT, -100, _NAT, (Hook.NAT_OUT,), ""),
    (core.Hook.POSTROUTING, 100, _NAT, (Hook.NAT_POST,), ""),
    (core.Hook.FORWARD, -150, _FILTER, (Hook.MANGLE_FORWARD,), ""),
    (core.Hook.INPUT, 0, _FILTER, (Hook.INPUT,), "input"),
    (core.Hook.FORWARD, 0, _FILTER, (Hook.FORWARD,), "forward"),
    (core.Hook.OUTPUT, 0, _FILTER, (Hook.OUTPUT,), "output"),
)
_PLACES: dict[Dialect, Places] = {
    Dialect.XTABLES: (
        (core.Hook.PREROUTING, -300, _FILTER, (Hook.RAW_IN, Hook.HELPER_IN), ""),
        (core.Hook.OUTPUT, -300, _FILTER, (Hook.RAW_OUT, Hook.HELPER_OUT), ""),
        *_COMMON,
    ),
    Dialect.NFT: (
        (core.Hook.PREROUTING, -300, _FILTER, (Hook.RAW_IN,), ""),
        (core.Hook.OUTPUT, -300, _FILTER, (Hook.RAW_OUT,), ""),
        (core.Hook.PREROUTING, -150, _FILTER, (Hook.HELPER_IN,), ""),
        (core.Hook.OUTPUT, -150, _FILTER, (Hook.HELPER_OUT,), ""),
        *_COMMON,
    ),
}


def asked(plan: FamilyPlan, defaults: Defaults, dialect: Dialect, *, beside: bool = False) -> core.Ruleset:
    """The legs of one family as a ruleset of one table. `beside`: what is kept tracked or untracked goes on
    to the rules of others, which share the chains of iptables."""
    by_hook: dict[Hook, list[Leg]] = {}
    for leg in plan.legs:
        by_hook.setdefault(leg.hook, []).append(leg)
    shared = beside and dialect is Dialect.XTABLES
    chains: list[core.Chain] = []
    for hook, priority, kind, hooks, default in _PLACES[dialect]:
        legs = sorted((leg for one in hooks for leg in by_hook.get(one, ())), key=lambda leg: leg.stage)
        dropped = bool(default) and getattr(defaults, default) in (Default.DROP, Default.REJECT)
        if not legs and not dropped:
            continue
        name = f"{hook.value} {priority}"
        rules = tuple(_rules(legs, dialect, hook, plan.family, shared))
        if shared:
            last = (core.Rule((), (core.Verdict.DROP,)),) if dropped else ()
            chains.append(core.Chain(f"legs of {name}", rules + last))
            rules = (core.Rule((), (core.Jump(f"legs of {name}"),)),)
        policy = core.Verdict.DROP if dropped and not shared else core.Verdict.ACCEPT
        chains.append(core.Chain(name, rules, core.Base(hook, priority, kind, policy)))
    return core.Ruleset((core.Table(TABLE, frozenset((plan.family,)), tuple(chains)),))


def _rules(
    legs: Iterable[Leg], dialect: Dialect, hook: core.Hook, family: Family, beside: bool
) -> Iterator[core.Rule]:
    numbers = Numbers()
    for leg in legs:
        if leg.action.verb is Verb.LOG:  # it changes nothing about the packet
            continue
        counted = _counted(leg, numbers, hook, family)
        actions = _actions(leg, dialect, beside)
        origin = core.Origin(leg.origins[0].span, f"{leg.origins[0].keyword} {leg.origins[0].name}")
        for guard in guards(leg.box):
            yield core.Rule((*_tracked(leg), *guard, *counted), actions, origin)
            if counted and isinstance(actions[0], core.Nat):  # above the rate nothing else translates it
                yield core.Rule((*_tracked(leg), *guard), (core.Verdict.ACCEPT,), origin)


def guards(box: Box) -> Iterator[core.Guard]:
    """The packets of a box, as one guard or as two: TCP flags say nothing of other protocols."""
    if box.flags is Flags.ANY or TCP not in box.protocol:
        yield tuple(_literals(box, box.protocol))
        return
    yield (*_literals(box, _TCP), _FLAGS[box.flags])
    rest = box.protocol - _TCP
    if rest:
        yield tuple(_literals(box, rest))


def _literals(box: Box, protocol: IntervalSet) -> Iterator[core.Literal]:
    if box.devices:
        yield core.Among(Field.IN, device_values(box.devices))
    if box.out_devices:
        yield core.Among(Field.OUT, device_values(box.out_devices))
    if box.reach != REACH_ANY:
        yield core.Among(Field.DESTINATION_TYPE, _kinds(box.reach))
    if box.destination is not None:
        yield core.Among(Field.DESTINATION, box.destination)
    if protocol != PROTOCOLS:
        yield core.Among(Field.PROTOCOL, protocol)
    if box.later_fragment:
        yield core.Among(Field.FRAGMENT, IntervalSet.single(Fragment.LATER))
    if box.icmp != ICMP_TYPES:
        yield core.Among(Field.ICMP_TYPE, box.icmp)
    if box.destination_ports != PORTS:
        yield core.Among(Field.DESTINATION_PORT, box.destination_ports)
    if box.source_ports != PORTS:
        yield core.Among(Field.SOURCE_PORT, box.source_ports)
    if box.source is not None:
        yield core.Among(Field.SOURCE, box.source)


def device_values(names: Iterable[str]) -> IntervalSet:
    """Names of devices; `wg*` is every name that begins with `wg`."""
    found = IntervalSet()
    for name in names:
        one = name.endswith("*")
        found |= interface_prefix(name[:-1]) if one else IntervalSet.single(interface_value(name))
    return found


def _kinds(reach: Iterable[Reach]) -> IntervalSet:
    named = IntervalSet.of((kind, kind) for kind in _KINDS.values())
    found = IntervalSet.of((_KINDS[one], _KINDS[one]) for one in reach if one in _KINDS)
    if Reach.ELSEWHERE in reach:
        found |= IntervalSet(((0, len(AddressType) - 1),)) - named
    return found


def _tracked(leg: Leg) -> Iterator[core.Literal]:
    """What tracking must say about the packet."""
    plain = IntervalSet.of((_STATES[state], _STATES[state]) for state in leg.states if state in _STATES)
    if plain:
        yield core.Among(Field.STATE, plain)
    if State.DNAT in leg.states:
        yield core.Among(Field.CT_DNAT, IntervalSet.single(1))
    if leg.helper is not None:
        yield core.Fact(expected_by(leg.helper), tracking=True)


def _counted(leg: Leg, numbers: Numbers, hook: core.Hook, family: Family) -> Iterator[core.Literal]:
    """The counters of a leg: one for all legs of one declaration that count for the same end. A rate for each
    source is one for the declaration, whatever its legs do."""
    key = (leg.stage, leg.action, leg.states, leg.origins, leg.helper)
    if leg.rate is not None:
        whole = (leg.origins, leg.rate) if leg.rate.per_source else key
        yield core.Fact(numbers.name(hook.value, whole, rate_text(leg.rate, family)))
    if leg.connections is not None:
        text = cap_text(leg.connections, family)
        yield core.Fact(numbers.name(hook.value, key, text), tracking=True)


def _actions(leg: Leg, dialect: Dialect, beside: bool) -> tuple[core.Action, ...]:
    action = leg.action
    match action.verb:
        case Verb.KEEP if beside:
            return (core.Verdict.RETURN,)
        case Verb.UNTRACK if beside:
            return (core.Notrack(),)
        case Verb.ACCEPT | Verb.KEEP:
            return (core.Verdict.ACCEPT,)
        case Verb.DROP:
            return (core.Verdict.DROP,)
        case Verb.REJECT:
            return (core.Verdict.REJECT,)
        case Verb.UNTRACK:
            return (core.Notrack(), core.Verdict.ACCEPT)
        case Verb.HELPER:
            assert action.helper is not None
            if dialect is Dialect.XTABLES:
                return (core.Template(helper_note(action.helper)),)
            return (core.ConnectionSet(helper_note(action.helper, leg.box.protocol.least())),)
        case Verb.CLAMP:
            return (core.Log(CLAMPED),)
    return (_translation(action),)


def helper_note(helper: str, protocol: int | None = None) -> str:
    """What a rule that gives a connection a helper is called; nft names the protocol as well."""
    if protocol is None:
        return f"helper {helper}"
    return f"helper {helper} for protocol {protocol}"


CLAMPED = "MSS to the path's MTU"


def _translation(action: Action) -> core.Nat:
    addresses = None if action.address is None else IntervalSet.single(action.address)
    ports = None if action.ports is None else IntervalSet((action.ports,))
    return named_nat(core.Nat(_KINDS_OF_NAT[action.verb], addresses, ports))


def named_nat(nat: core.Nat, more: str = "") -> core.Nat:
    """A translation under a name that every format shares; `more`: flags that change what it does."""
    addresses = "" if nat.addresses is None else f" addresses {nat.addresses.spans}"
    ports = "" if nat.ports is None else f" ports {nat.ports.spans}"
    return core.Nat(nat.kind, nat.addresses, nat.ports, f"{nat.kind.value}{addresses}{ports}{more}")
