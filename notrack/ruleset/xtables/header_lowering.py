"""The options of every rule (-s -d -i -o -p -f) as literals: what `ip_packet_match` and its IPv6 twin do."""

from __future__ import annotations

import re
from collections.abc import Callable

from notrack.packets.address import Family
from notrack.packets.fields import Field, Fragment, interface_prefix, interface_value
from notrack.packets.intervals import IntervalSet
from notrack.ruleset import core
from notrack.ruleset.xtables import values
from notrack.ruleset.xtables.literals import NEVER, among, single
from notrack.ruleset.xtables.tree import Option
from notrack.ruleset.xtables.words import bare

# Headers that IPv6 steps over on its way to the protocol, so that `-p` never names them (ipv6_find_hdr).
STEPPED_OVER = IntervalSet.of(((0, 0), (43, 44), (60, 60)))
_AUTHENTICATION = 51
_OCTET = r"(0|[1-9]\d{0,2})"
_SAVED = re.compile(rf"{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}(?:/([1-9]\d?))?", re.ASCII).fullmatch


def header_literals(option: Option, family: Family) -> core.Guard:
    """The literals of a base option. `Meaningless` values, e.g. addresses of the other family, never hold."""
    try:
        return _OPTIONS[option.name](option, family)
    except (ValueError, IndexError):
        return NEVER


def _address(field: Field) -> Callable[[Option, Family], core.Guard]:
    def literals(option: Option, family: Family) -> core.Guard:
        word = option.values[0]
        found = saved_address(word) if family is Family.IPV4 else None
        if found is None:
            found = values.addresses(word, family)
        if found is None:
            fact = core.Fact(f"{option.name} {bare(option.values[0])}", option.negated)
            return _within(field, values.enclosing(word, family), fact, family)
        return among(field, found, option.negated, family)

    return literals


def _within(field: Field, around: IntervalSet, fact: core.Fact, family: Family) -> core.Guard:
    """A fact that can hold only for addresses of a network."""
    outside = among(field, around, True, family)
    if not fact.negated:
        return (*among(field, around, False, family), fact)
    return (fact,) if outside == NEVER else (core.OneOf((outside, (fact,))),)


def saved_address(word: str) -> IntervalSet | None:
    """An IPv4 address as iptables-save spells it, at once: large rulesets hold many thousands."""
    found = _SAVED(word)
    if found is None:
        return None
    a, b, c, d = (int(part) for part in found.groups()[:4])
    length = int(found[5] or 32)
    if max(a, b, c, d) > 255 or not 0 < length <= 32:
        return None
    tail = (1 << 32 - length) - 1
    base = (a << 24 | b << 16 | c << 8 | d) & ~tail
    return IntervalSet(((base, base | tail),))


def _interface(field: Field) -> Callable[[Option, Family], core.Guard]:
    def literals(option: Option, family: Family) -> core.Guard:
        name, open_ended = values.interface(option.values[0])
        found = interface_prefix(name) if open_ended else IntervalSet.single(interface_value(name))
        return among(field, found, option.negated, family)

    return literals


def _protocol(option: Option, family: Family) -> core.Guard:
    number = values.protocol(option.values[0])
    if number is None:
        return (core.Fact(f"-p {bare(option.values[0])}", option.negated),)
    if number == 0:  # all of them
        return NEVER if option.negated else ()
    if family is Family.IPV6 and number in STEPPED_OVER:
        return () if option.negated else NEVER
    literal = single(Field.PROTOCOL, number, option.negated)
    if family is Family.IPV6 and number == _AUTHENTICATION:
        return _authentication(literal, option.negated)
    return (literal,)


def _authentication(literal: core.Among, negated: bool) -> core.Guard:
    """`-p ah` in IPv6: the nft backend stops at the header, the legacy one steps over it."""
    seen = core.Fact("-p ah stops at the header (iptables-nft does, iptables-legacy does not)")
    return (core.OneOf(((single(Field.PROTOCOL, _AUTHENTICATION), seen),), negated),)


def _fragment(option: Option, family: Family) -> core.Guard:
    """`-f`: second and further fragments; without it both kinds match."""
    return (single(Field.FRAGMENT, Fragment.LATER, option.negated),)


_OPTIONS: dict[str, Callable[[Option, Family], core.Guard]] = {
    "-s": _address(Field.SOURCE),
    "-d": _address(Field.DESTINATION),
    "-i": _interface(Field.IN),
    "-o": _interface(Field.OUT),
    "-p": _protocol,
    "-f": _fragment,
}
