"""Boxes and actions in the words of nft."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.layout.listing import is_named
from notrack.layout.merging import Group
from notrack.layout.nftsets import Sets, port_values
from notrack.layout.phrase import protocol_name
from notrack.packets.address import Family, address_text
from notrack.packets.intervals import IntervalSet
from notrack.plan.box import (
    ICMP_TYPES,
    PORTS,
    PROTOCOLS,
    REACH_BROADCAST,
    REACH_LOCAL,
    REACH_NOT_LOCAL,
    Box,
    Flags,
)
from notrack.plan.leg import State, Verb
from notrack.ruleset.nft import builder as b
from notrack.ruleset.nft import tree as t

_STATES = (State.ESTABLISHED, State.RELATED, State.NEW, State.INVALID)


def skeleton(box: Box, own: IntervalSet) -> tuple[object, ...]:
    """What rules of one shape have in common: everything but protocol, ports and addresses themselves."""
    single = box.protocol.size() == 1
    return (
        single,
        None if single else box.protocol,
        box.source is None,
        box.destination is None,
        box.source_ports == PORTS,
        box.destination_ports == PORTS,
        box.icmp,
        box.reach,
        is_named(box, own),
        box.flags,
        box.devices,
        box.out_devices,
        box.later_fragment,
    )


def frame(box: Box) -> Iterator[t.RuleStatement]:
    """The conditions that a skeleton shares: interfaces, fragments."""
    for key, devices in (("iifname", box.devices), ("oifname", box.out_devices)):
        if devices:
            yield b.any_of(key, *(t.Value(device, quoted=True) for device in devices))
    if box.later_fragment:
        yield _later_fragment(box.family)


def tail(box: Box, own: IntervalSet) -> Iterator[t.RuleStatement]:
    """What is dear and asked last: TCP flags and what the address is to the host."""
    yield from _flags(box.flags)
    kind = _reach(box, own)
    if kind is not None:
        yield b.match("fib daddr type", *kind)


def conditions(box: Box, sets: Sets) -> Iterator[t.RuleStatement]:
    """A box as the conditions of one rule."""
    yield from frame(box)
    yield from _protocol(box, sets)
    if box.source is not None:
        yield sets.address_match("saddr", box.source)
    if box.destination is not None:
        yield sets.address_match("daddr", box.destination)
    yield from tail(box, sets.own)


def _protocol(box: Box, sets: Sets) -> Iterator[t.RuleStatement]:
    if box.protocol == PROTOCOLS:
        return
    rest = PROTOCOLS - box.protocol
    if rest.size() == 1:
        yield b.match("meta l4proto", "!=", protocol_name(rest.least()))
        return
    if box.protocol.size() > 1:
        yield b.any_of("meta l4proto", *port_values(box.protocol))
        return
    name = protocol_name(box.protocol.least())
    ports = [(s, p) for s, p in (("dport", box.destination_ports), ("sport", box.source_ports)) if p != PORTS]
    if name in ("icmp", "ipv6-icmp") and box.icmp != ICMP_TYPES:
        yield b.any_of("icmp type" if name == "icmp" else "icmpv6 type", *port_values(box.icmp))
    elif not ports:
        yield b.match("meta l4proto", "", name)
    for side, values in ports:
        yield sets.port_match(name, side, values)


def _later_fragment(family: Family) -> t.Match:
    if family is Family.IPV6:
        return t.Match(t.Extension("frag", "frag-off"), t.Value("0"), ">")
    offset = t.Binary(t.Payload("ip", "frag-off"), "&", t.Value("0x1fff"))
    return t.Match(offset, t.Value("0"), "!=")


_MASKS = {
    Flags.NO_BARE_SYN: (("fin", "syn", "rst", "ack"), "!=", "syn"),
    Flags.BARE_SYN: (("fin", "syn", "rst", "ack"), "==", "syn"),
    Flags.ANSWER: (("rst", "ack"), "!=", "0x0"),
    Flags.SYN: (("syn", "rst"), "==", "syn"),
}


def _flags(flags: Flags) -> Iterator[t.RuleStatement]:
    if flags is Flags.ANY:
        return
    mask, op, wanted = _MASKS[flags]
    bits: t.Expression = t.Value(mask[0])
    for bit in mask[1:]:
        bits = t.Binary(bits, "|", t.Value(bit))
    yield t.Match(t.Binary(b.field("tcp flags"), "&", bits), t.Value(wanted), op)


def _reach(box: Box, own: IntervalSet) -> tuple[str, str] | None:
    if box.reach == REACH_LOCAL and not is_named(box, own):
        return "", "local"
    if box.reach == REACH_NOT_LOCAL:
        return "!=", "local"
    return ("", "broadcast") if box.reach == REACH_BROADCAST else None


def group_conditions(group: Group) -> tuple[t.RuleStatement, ...]:
    """What tracking has to say about the packets of a group."""
    found: list[t.RuleStatement] = []
    states = [t.Value(state.value) for state in _STATES if state in group.states]
    if len(states) == 1:
        found.append(t.Match(t.Ct("state"), states[0]))
    elif states:
        found.append(t.Match(t.Ct("state"), t.Listing(tuple(states))))
    if State.DNAT in group.states:
        found.append(t.Match(t.Ct("status"), t.Value("dnat")))
    if group.helper is not None:
        found.append(t.Match(t.Ct("helper"), t.Value(group.helper, quoted=True)))
    return tuple(found)


def done(group: Group, helpers: dict[str, t.CtHelper]) -> tuple[t.RuleStatement, ...]:
    """What a rule of the group does. NOTRACK also ends the walk through our own chain."""
    action = group.action
    match action.verb:
        case Verb.ACCEPT | Verb.KEEP:
            return (b.accept(),)
        case Verb.DROP:
            return (b.drop(),)
        case Verb.UNTRACK:
            return (t.Notrack(), b.accept())
        case Verb.REJECT:
            protocol = "icmp" if group.parts[0].box.family is Family.IPV4 else "icmpv6"
            return (t.Reject(protocol, t.Value("port-unreachable")),)
        case Verb.LOG:
            return (t.Log(t.Value(f"notrack {group.hook.value}: ", quoted=True)),)
        case Verb.CLAMP:
            return (t.Assign(t.Option("tcp", "maxseg", "size"), t.Route("mtu")),)
        case Verb.HELPER:
            return (t.Assign(t.Ct("helper"), t.Value(_helper(group, helpers), quoted=True)),)
    return (_nat(group),)


def _helper(group: Group, helpers: dict[str, t.CtHelper]) -> str:
    assert group.action.helper is not None
    protocol = protocol_name(group.parts[0].box.protocol.least())
    name = f"{group.action.helper}_{protocol}".replace("-", "_").replace(".", "_")
    helpers.setdefault(name, t.CtHelper(name, group.action.helper, protocol))
    return name


def _nat(group: Group) -> t.Nat:
    action, family = group.action, group.parts[0].box.family
    address = None if action.address is None else t.Value(address_text(action.address, family))
    port: t.Expression | None = None
    if action.ports is not None:
        low, high = action.ports
        port = t.Value(str(low)) if low == high else t.Range(t.Value(str(low)), t.Value(str(high)))
    return t.Nat(action.verb.value, address, port)


def as_expressions(values: IntervalSet) -> list[t.Expression]:
    return [b.value(text) for text in port_values(values)]
