"""What -s -d -i -o -p -f mean, unit by unit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from notrack.packets.fields import Field, Fragment
from notrack.packets.intervals import IntervalSet
from notrack.ruleset import core
from tests.ruleset.xtables.lowered import V4, V6, guard, holds_for

WEB = "tcp 203.0.113.9:40000 > 192.0.2.80:80 in eth0"
WEB6 = "tcp [2001:db8:99::9]:40000 > [2001:db8:80::1]:80 in eth0"


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ("-s 203.0.113.9", True),
        ("-s 203.0.113.0/24", True),
        ("-s 203.0.113.200/255.255.255.0", True),
        ("! -s 203.0.113.0/24", False),
        ("-s ! 203.0.113.0/24", False),
        ("-d 192.0.2.81", False),
        ("! -d 192.0.2.81", True),
        ("-s 0/0", True),
        ("! -s 0/0", False),
        ("-i eth0", True),
        ("-i eth", False),
        ("-i eth+", True),
        ("-i +", True),
        ("! -i +", False),
        ("! -i eth1", True),
        ("-i eth0+", True),
        ("-o eth0", False),
        ("! -o eth0", True),
        ("-p tcp", True),
        ("-p 6", True),
        ("-p all", True),
        ("-p 0", True),
        ("! -p tcp", False),
        ("! -p udp", True),
        ("-p udp", False),
        ("-f", False),
        ("! -f", True),
    ],
)
def test_ipv4(match: str, expected: bool) -> None:
    assert holds_for(match, WEB) is expected


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ("-s 2001:db8:99::/48", True),
        ("! -s 2001:db8:99::9", False),
        ("-p tcp", True),
        ("! -p ipv6-icmp", True),
        ("-p ipv6-icmp", False),
    ],
)
def test_ipv6(match: str, expected: bool) -> None:
    assert holds_for(match, WEB6) is expected


def test_ipv6_steps_over_extension_headers() -> None:
    """`-p` names the protocol behind them, so it never names one of them (measured, both backends)."""
    for number in ("43", "44", "60"):
        assert guard(f"-p {number}", V6) == (core.Never(),)
        assert guard(f"! -p {number}", V6) == ()
    assert guard("-p 60", V4) == (core.Among(Field.PROTOCOL, IntervalSet.single(60)),)


def test_the_backends_differ_about_ah_in_ipv6() -> None:
    header = "proto ah 2001:db8:99::9 > 2001:db8:80::1"
    assert holds_for("-p ah", header, ah=True)
    assert not holds_for("-p ah", header, ah=False)
    assert holds_for("! -p ah", header, ah=False)
    assert not holds_for("-p ah", WEB6, ah=True)
    assert guard("-p ah", V4) == (core.Among(Field.PROTOCOL, IntervalSet.single(51)),)


def test_fragments() -> None:
    later = "udp 203.0.113.9:1000 > 192.0.2.80:53 fragment later"
    first = "udp 203.0.113.9:1000 > 192.0.2.80:53 fragment first"
    assert holds_for("-f", later) and not holds_for("-f", first)
    assert holds_for("! -f", first) and not holds_for("! -f", later)
    assert guard("-f") == (core.Among(Field.FRAGMENT, IntervalSet.single(Fragment.LATER)),)


def test_names_that_only_a_resolver_knows_are_facts() -> None:
    assert guard("-s gate.example.net") == (core.Fact("-s gate.example.net"),)
    assert guard("! -d gate.example.net") == (core.Fact("-d gate.example.net", negated=True),)
    assert guard("-s gate.example.net/0") == ()


def test_a_mask_with_too_many_holes_is_a_fact() -> None:
    assert guard("-s 0.0.0.9/0.0.0.255") == (core.Fact("-s 0.0.0.9/0.0.0.255"),)


def test_it_holds_within_its_network_alone() -> None:
    """`10.0.0.1/255.0.0.255`: whatever the bits in the middle are, it is an address of 10.0.0.0/8."""
    network = IntervalSet(((0x0A000000, 0x0AFFFFFF),))
    fact = core.Fact("-s 10.0.0.1/255.0.0.255")
    assert guard("-s 10.0.0.1/255.0.0.255") == (core.Among(Field.SOURCE, network), fact)
    (either,) = guard("! -s 10.0.0.1/255.0.0.255")
    assert either == core.OneOf(
        ((core.Among(Field.SOURCE, network, negated=True),), (replace(fact, negated=True),))
    )
    (suffix,) = guard("-s ::1/::ffff:ffff:ffff:ffff", V6)
    assert isinstance(suffix, core.Fact)


def test_a_mask_with_a_few_holes_is_exact() -> None:
    (literal,) = guard("-s 10.0.0.1/255.255.255.253")
    assert literal == core.Among(
        Field.SOURCE, IntervalSet.of(((0x0A000001, 0x0A000001), (0x0A000003, 0x0A000003)))
    )


def test_what_comes_from_nowhere_is_not_from_another_interface_either() -> None:
    """A packet of the host itself has no way in: `! -i eth0` holds for it."""
    own = "tcp 192.0.2.80:40000 > 203.0.113.9:80 out eth0"
    assert holds_for("! -i eth0", own)
    assert not holds_for("-i eth0", own)
    assert holds_for("-o eth+", own)
