"""Addresses that stand for all others, so that large rulesets can be asked about small sets of packets.

A rule for one address cuts one value out of a set. Thousands of them make sets that cost too much, and what
is asked here is coarse: does it come from anywhere? So in large rulesets packets have one of a few addresses:
strangers from all over the Internet, inner ones, and those that the rules in question name. Every answer is
about real packets; only what concerns no address of the sample can be missed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

from notrack.lint.bounds import bound, rules_of
from notrack.lint.view import View
from notrack.packets.address import AddressSet, Family
from notrack.packets.fields import Field
from notrack.packets.intervals import IntervalSet
from notrack.ruleset.core import Rule

LARGE = 1000  # rules of a family
CLOSE = 24  # rules whose addresses are looked at together
_CROWD = 15
_SPECIAL = ("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
            "192.168.0.0/16", "224.0.0.0/3")  # fmt: skip
_KNOWN = {
    Family.IPV4: ("203.0.113.9", "198.51.100.1", "10.0.0.9", "192.168.1.9"),
    Family.IPV6: ("2001:db8:9::9", "2001:db8:1::1", "fd00::9", "fe80::9"),
}
_STRIDE = 2654435761  # odd and far from any power of two: neighbours lie far apart


@cache
def public(family: Family) -> IntervalSet:
    """The addresses of the Internet, from which a stranger may come."""
    if family is Family.IPV6:
        return IntervalSet(((0x2000 << 112, (0x4000 << 112) - 1),))
    return family.whole - AddressSet.of(map(ipaddress.ip_network, _SPECIAL)).v4


@cache
def crowd(family: Family) -> IntervalSet:
    """Public addresses from all over the Internet, always the same."""
    spans = public(family)
    size = spans.size()
    return singles(_nth(spans, (i + 1) * _STRIDE % 2**32 * size >> 32) for i in range(_CROWD))


def _nth(spans: IntervalSet, number: int) -> int:
    for low, high in spans:
        if number <= high - low:
            return low + number
        number -= high - low + 1
    return spans.least()


def addresses(view: View) -> IntervalSet | None:
    """The sample of a view; None where its rules are few enough to be asked about every address."""
    if sum(1 for _ in rules_of(view.ruleset, view.family)) <= LARGE:
        return None
    known = singles(int(ipaddress.ip_address(text)) for text in _KNOWN[view.family])
    own = view.host.addresses(view.family)
    mine = singles(low for low, _ in list(own or ())[:8])
    return crowd(view.family) | known | mine


def named(rules: Sequence[Rule], family: Family) -> IntervalSet:
    """An address of each network that some rules name; of many rules some that lie apart."""
    step = max(-(-len(rules) // CLOSE), 1)
    return singles(_firsts(rules[::step], family))


def _firsts(rules: Iterable[Rule], family: Family) -> Iterator[int]:
    for rule in rules:
        for field in (Field.SOURCE, Field.DESTINATION):
            values = bound(rule.guard, field, family)
            if values and values != family.whole:
                yield values.least()


def singles(values: Iterable[int]) -> IntervalSet:
    return IntervalSet.of((value, value) for value in values)
