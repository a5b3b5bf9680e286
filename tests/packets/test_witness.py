"""Witnesses read like packets that people know."""

from __future__ import annotations

import pytest

from notrack.packets.address import Family
from notrack.packets.fields import Field, State, interface_prefix
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.packets.space import Space

ONE = IntervalSet.single


def shown(where: dict[Field, IntervalSet], family: Family = Family.IPV4) -> str:
    space = Space(family)
    return str(PacketSet(space, space.meet(space.cube(where), space.well_formed)).witness())


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ({}, "tcp 203.0.113.9:40000 > 198.51.100.1:80 flags syn"),
        (
            {Field.IN: interface_prefix("eth"), Field.DESTINATION_PORT: ONE(11211)},
            "tcp 203.0.113.9:40000 > 198.51.100.1:11211 in eth0 flags syn",
        ),
        ({Field.PROTOCOL: IntervalSet(((17, 40),))}, "udp 203.0.113.9:40000 > 198.51.100.1:80"),
        (
            {Field.PROTOCOL: ONE(6), Field.SOURCE_PORT: ONE(80)},
            "tcp 203.0.113.9:80 > 198.51.100.1:40000 flags syn",
        ),
        ({Field.PROTOCOL: ONE(1)}, "icmp echo-request 203.0.113.9 > 198.51.100.1"),
        (
            {Field.SOURCE: IntervalSet(((10 << 24, (10 << 24) + 2**24 - 1),)), Field.PROTOCOL: ONE(47)},
            "proto gre 10.0.0.9 > 198.51.100.1",
        ),
        ({Field.MARK: IntervalSet(((5, 9),))}, "tcp 203.0.113.9:40000 > 198.51.100.1:80 flags syn mark 0x5"),
    ],
)
def test_ordinary_values_come_first(where: dict[Field, IntervalSet], text: str) -> None:
    assert shown(where) == text


def test_ipv6_uses_documentation_addresses() -> None:
    assert shown({}, Family.IPV6) == "tcp [2001:db8:9::9]:40000 > [2001:db8:1::1]:80 flags syn"


def test_a_witness_names_the_facts_it_rests_on() -> None:
    space = Space(Family.IPV4)
    web = PacketSet.where(space, Field.DESTINATION_PORT, 80)
    rest = web - PacketSet.free(space, "limit 3/second")
    found = rest.witness()
    assert found is not None
    assert found.facts == (("limit 3/second", False),)
    assert str(found).endswith("(if not limit 3/second)")


def test_operators_of_packet_sets() -> None:
    space = Space(Family.IPV4)
    everything, nothing = PacketSet.everything(space), PacketSet.nothing(space)
    tcp = PacketSet.where(space, Field.PROTOCOL, 6)
    new = PacketSet.where(space, Field.STATE, State.NEW)
    assert (tcp & new) | (tcp - new) == tcp
    assert ~tcp | tcp == everything
    assert (tcp | ~tcp).is_full
    assert not (tcp & ~tcp)
    assert tcp & ~tcp == nothing
    assert tcp & new <= new
    assert not tcp <= new
    assert tcp.isdisjoint(~tcp)
    assert tcp.mirror() == tcp
    assert tcp.project(Field.PROTOCOL) == ONE(6)
    assert everything.count([Field.PROTOCOL]) == 256
