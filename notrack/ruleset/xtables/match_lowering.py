"""Matches as literals of the core. What the packet alone does not decide becomes a free fact.

Every match of a header brings its own protocol, and holds for no later fragment: the kernel's matches refuse
packets whose header is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from notrack.packets.address import Family
from notrack.packets.fields import TCP_FLAGS, Field, PacketType, bits_set
from notrack.packets.intervals import IntervalSet
from notrack.ruleset import core
from notrack.ruleset.xtables import values
from notrack.ruleset.xtables.catalogue import match_named
from notrack.ruleset.xtables.connection_lowering import connlimit, connmark, conntrack, needs_entry, state
from notrack.ruleset.xtables.literals import (
    HEADED,
    LATER,
    among,
    match_fact,
    option_fact,
    single,
    under_mask,
)
from notrack.ruleset.xtables.place_lowering import addrtype, frag, ipv6header, physdev, recent, rpfilter
from notrack.ruleset.xtables.tree import Match, Option

Handler = Callable[[Option, Family], core.Guard | None]

_SYN_MASK, _SYN = 0x17, TCP_FLAGS["syn"]  # --syn: FIN, SYN, RST and ACK looked at, SYN alone set
_PORTED = IntervalSet.of(((6, 6), (17, 17), (33, 33), (132, 132), (136, 136)))
_ANY_ICMP = 255  # in IPv4 this type is a wild card, whatever code stands behind it


def match_literals(match: Match, family: Family) -> core.Guard:
    """The literals that hold exactly when the match does."""
    if match.name in _WHOLE:
        return _WHOLE[match.name](match, family)
    # Some names are aliases (`icmpv6` of `icmp6`): the extension knows the first of them.
    extension = match_named(match.name, family)
    name = extension.name if extension else match.name
    if name not in _OPTIONS:
        return (*needs_entry(name), match_fact(match))
    guard = _HEADERS.get(name, ())
    for option in match.options:
        handler = _OPTIONS[name].get(option.name)
        try:
            made = handler(option, family) if handler else None
        except (ValueError, IndexError):
            made = None
        guard += made if made is not None else (option_fact(match, option),)
    return guard


def without_refusal(match: Match, guard: core.Guard) -> core.Guard:
    """The literals of a match where iptables-nft may run it: it turns `tcp` and `udp` into expressions of
    nft, which refuse no later fragment. Other matches stay extensions of the kernel, in either iptables."""
    if match.name not in _TURNED or HEADED not in guard:
        return guard
    rest = tuple(literal for literal in guard if literal != HEADED)
    if any(isinstance(literal, core.Fact) for literal in rest):  # such an option keeps it an extension
        return guard
    if len(rest) > 1:
        return rest
    turned = (LATER, core.Fact("iptables is iptables-nft"))
    return (*rest, core.OneOf(((HEADED,), turned)))


def _ports(*fields: Field) -> Handler:
    """A port option; with two fields one of them is enough (`--ports`)."""

    def literals(option: Option, family: Family) -> core.Guard | None:
        found = values.port_list(option.values[0])
        if found is None:
            return None
        if len(fields) == 1:
            return (core.Among(fields[0], found, option.negated),)
        return (core.OneOf(tuple((core.Among(field, found),) for field in fields), option.negated),)

    return literals


def _port_range(field: Field) -> Handler:
    def literals(option: Option, family: Family) -> core.Guard | None:
        found = values.ports(option.values[0])
        return None if found is None else (core.Among(field, found, option.negated),)

    return literals


def _flags(option: Option, family: Family) -> core.Guard:
    mask, wanted = (values.flags(word) for word in option.values[:2])
    return (core.Among(Field.FLAGS, bits_set(mask, wanted), option.negated),)


def _syn(option: Option, family: Family) -> core.Guard:
    return (core.Among(Field.FLAGS, bits_set(_SYN_MASK, _SYN), option.negated),)


def _one_flag(name: str) -> Handler:
    bit = TCP_FLAGS[name]
    return lambda option, family: (core.Among(Field.FLAGS, bits_set(bit, bit), option.negated),)


def _icmp(option: Option, family: Family) -> core.Guard:
    kinds, codes = values.icmp(option.values[0], family)
    if family is Family.IPV4 and _ANY_ICMP in kinds:
        kinds = codes = IntervalSet(((0, 255),))
    wanted = core.Among(Field.ICMP_TYPE, kinds)
    if codes.size() == 256:
        return (core.Among(Field.ICMP_TYPE, kinds, option.negated),)
    code = core.Among(Field.ICMP_CODE, codes)
    return (core.OneOf(((wanted, code),), negated=True),) if option.negated else (wanted, code)


def _numbers(field: Field, maximum: int) -> Handler:
    return lambda option, family: among(
        field, values.numbers(option.values[0], maximum), option.negated, family
    )


def _below(option: Option, family: Family) -> core.Guard:
    limit = values.number(option.values[0], 255)
    return among(Field.TTL, IntervalSet(((0, limit - 1),)) if limit else IntervalSet(), False, family)


def _above(option: Option, family: Family) -> core.Guard:
    limit = values.number(option.values[0], 255)
    above = IntervalSet(((limit + 1, 255),)) if limit < 255 else IntervalSet()
    return among(Field.TTL, above, False, family)


def _dscp(option: Option, family: Family) -> core.Guard:
    point = values.dscp(option.values[0])
    return among(Field.TOS, IntervalSet(((4 * point, 4 * point + 3),)), option.negated, family)


def _tos(option: Option, family: Family) -> core.Guard:
    value, mask = values.tos(option.values[0])
    return under_mask(Field.TOS, mask, value, option.negated, family)


def _ect(option: Option, family: Family) -> core.Guard:
    return under_mask(Field.TOS, 3, values.number(option.values[0], 3), option.negated, family)


def _mark(option: Option, family: Family) -> core.Guard:
    value, mask = values.mark(option.values[0])
    return (core.Masked(Field.MARK, mask, value, option.negated),)


def _mac(option: Option, family: Family) -> core.Guard:
    return (single(Field.MAC, values.mac(option.values[0]), option.negated),)


def _range(field: Field) -> Handler:
    return lambda option, family: among(
        field, values.address_range(option.values[0], family), option.negated, family
    )


_FRAMES = {
    "unicast": PacketType.HOST,
    "host": PacketType.HOST,
    "broadcast": PacketType.BROADCAST,
    "multicast": PacketType.MULTICAST,
    "otherhost": PacketType.OTHER_HOST,
}


def _frame(option: Option, family: Family) -> core.Guard | None:
    kind = _FRAMES.get(option.values[0].lower())
    return None if kind is None else (single(Field.PACKET_TYPE, kind, option.negated),)


def _of(protocol: int) -> core.Guard:
    return (single(Field.PROTOCOL, protocol), HEADED)


_TURNED = frozenset(("tcp", "udp"))
_HEADERS: Mapping[str, core.Guard] = {
    "tcp": _of(6),
    "udp": _of(17),
    "dccp": _of(33),
    "sctp": _of(132),
    "icmp": _of(1),
    "icmp6": _of(58),
    "multiport": (core.Among(Field.PROTOCOL, _PORTED), HEADED),
}
_TRANSPORT: Mapping[str, Handler] = {
    "--sport": _port_range(Field.SOURCE_PORT),
    "--dport": _port_range(Field.DESTINATION_PORT),
}
_HOPS: Mapping[str, Handler] = {"eq": _numbers(Field.TTL, 255), "lt": _below, "gt": _above}
_OPTIONS: Mapping[str, Mapping[str, Handler]] = {
    "tcp": {**_TRANSPORT, "--tcp-flags": _flags, "--syn": _syn},
    "udp": _TRANSPORT,
    "sctp": _TRANSPORT,
    "dccp": _TRANSPORT,
    "icmp": {"--icmp-type": _icmp},
    "icmp6": {"--icmpv6-type": _icmp},
    "multiport": {
        "--sports": _ports(Field.SOURCE_PORT),
        "--dports": _ports(Field.DESTINATION_PORT),
        "--ports": _ports(Field.SOURCE_PORT, Field.DESTINATION_PORT),
    },
    "length": {"--length": _numbers(Field.LENGTH, 65535)},
    "ttl": {f"--ttl-{sign}": handler for sign, handler in _HOPS.items()},
    "hl": {f"--hl-{sign}": handler for sign, handler in _HOPS.items()},
    "dscp": {"--dscp": _dscp, "--dscp-class": _dscp},
    "tos": {"--tos": _tos},
    "ecn": {"--ecn-tcp-cwr": _one_flag("cwr"), "--ecn-tcp-ece": _one_flag("ece"), "--ecn-ip-ect": _ect},
    "mark": {"--mark": _mark},
    "mac": {"--mac-source": _mac},
    "iprange": {"--src-range": _range(Field.SOURCE), "--dst-range": _range(Field.DESTINATION)},
    "pkttype": {"--pkt-type": _frame},
}
_WHOLE: Mapping[str, Callable[[Match, Family], core.Guard]] = {
    "comment": lambda match, family: (),
    "state": state,
    "conntrack": conntrack,
    "connmark": connmark,
    "connlimit": connlimit,
    "addrtype": addrtype,
    "frag": frag,
    "ipv6header": ipv6header,
    "rpfilter": rpfilter,
    "physdev": physdev,
    "recent": recent,
}
