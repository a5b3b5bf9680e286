"""The space of packets: literals by field, the mirror, witnesses, against single packets."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from notrack.packets.address import Family
from notrack.packets.diagram import EMPTY, FULL
from notrack.packets.fields import (
    BITWISE,
    NO_ICMP_TYPE,
    TCP_FLAGS,
    Field,
    Fragment,
    bits_set,
    domain,
    icmp_answer,
    interface_name,
    interface_prefix,
    interface_value,
)
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet import Packet, packet_of
from notrack.packets.packet_text import parse_packet
from notrack.packets.space import Space
from notrack.packets.witness import member, witness

FAMILIES = st.sampled_from(list(Family))
INTERFACES = st.sampled_from([None, "lo", "eth0", "eth1", "wg0"])
NAMES = st.text("abz09.-_", min_size=1, max_size=15)


@st.composite
def packets(draw: st.DrawFn, family: Family | None = None) -> Packet:
    family = family or draw(FAMILIES)
    top = (1 << family.bits) - 1
    protocol = draw(st.sampled_from([6, 17, 1, 58, 47, 132]))
    packet = Packet(
        family,
        protocol,
        draw(st.one_of(st.integers(0, 9), st.integers(0, top))),
        draw(st.one_of(st.integers(0, 9), st.integers(0, top))),
        in_interface=draw(INTERFACES),
        out_interface=draw(INTERFACES),
        fragment=draw(st.sampled_from(list(Fragment))),
        mark=draw(st.one_of(st.integers(0, 3), st.integers(0, 2**32 - 1))),
        mac=draw(st.one_of(st.none(), st.integers(0, 2**48 - 1))),
    )
    if packet.has_ports:
        ports = st.one_of(st.sampled_from([22, 53, 80, 40000]), st.integers(0, 65535))
        packet = replace(packet, source_port=draw(ports), destination_port=draw(ports))
    if protocol == 6 and packet.has_ports:
        packet = replace(packet, flags=draw(st.integers(0, 255)))
    if packet.is_icmp:
        packet = replace(packet, icmp_type=draw(st.integers(0, 255)), icmp_code=draw(st.integers(0, 15)))
    return packet


@st.composite
def cubes(draw: st.DrawFn, family: Family) -> dict[Field, IntervalSet]:
    """A few fields with values near those that packets have."""
    unseen = (Field.FAMILY, Field.CT_SNAT, Field.CT_DNAT)  # no packet tells the latter two of itself
    chosen = draw(st.sets(st.sampled_from([f for f in Field if f not in unseen]), max_size=4))
    cube: dict[Field, IntervalSet] = {}
    for field in chosen:
        sample = draw(packets(family)).values()[field]
        low = max(0, sample - draw(st.sampled_from([0, 1, 100, 2**20])))
        high = min(domain(field, family).high, sample + draw(st.sampled_from([0, 1, 100, 2**20])))
        spans = IntervalSet(((low, high),))
        cube[field] = domain(field, family).whole - spans if draw(st.booleans()) else spans
    return cube


@settings(deadline=None)
@given(st.data(), FAMILIES)
def test_a_cube_holds_the_packets_whose_fields_fit(data: st.DataObject, family: Family) -> None:
    space = Space(family)
    cube, packet = data.draw(cubes(family)), data.draw(packets(family))
    diagram = space.cube(cube)
    values = packet.values()
    assert member(space, diagram, packet) == all(values[field] in spans for field, spans in cube.items())
    assert diagram == space.all_of(space.among(field, spans) for field, spans in cube.items())


@given(packets())
def test_every_packet_is_well_formed_and_comes_back_from_its_values(packet: Packet) -> None:
    space = Space(packet.family)
    assert member(space, space.well_formed, packet)
    again = packet_of(packet.values(), packet.family)
    assert again.values() == packet.values()


@settings(deadline=None)
@given(st.data(), FAMILIES)
def test_the_mirror_holds_the_answers_and_is_its_own_inverse(data: st.DataObject, family: Family) -> None:
    space = Space(family)
    parts = [space.cube(data.draw(cubes(family))) for _ in range(3)]
    diagram = space.meet(space.minus(space.join(parts[0], parts[1]), parts[2]), space.well_formed)
    packet = data.draw(packets(family))
    assert space.mirror(space.mirror(diagram)) == diagram
    assert member(space, space.mirror(diagram), answer(packet)) == member(space, diagram, packet)


def answer(packet: Packet) -> Packet:
    kind = packet.icmp_type
    return replace(
        packet,
        source=packet.destination,
        destination=packet.source,
        source_port=packet.destination_port,
        destination_port=packet.source_port,
        in_interface=packet.out_interface,
        out_interface=packet.in_interface,
        source_type=packet.destination_type,
        destination_type=packet.source_type,
        icmp_type=None if kind is None else icmp_answer(kind, packet.family),
    )


@settings(deadline=None)
@given(st.data(), FAMILIES)
def test_a_witness_is_a_member_and_an_empty_set_has_none(data: st.DataObject, family: Family) -> None:
    space = Space(family)
    parts = [space.cube(data.draw(cubes(family))) for _ in range(3)]
    fact = space.free("limit 3/second")
    diagram = space.meet(
        space.join(space.minus(parts[0], parts[1]), space.meet(fact, parts[2])), space.well_formed
    )
    found = witness(space, diagram)
    assert (found is None) == (diagram == EMPTY)
    if found is not None:
        assert member(space, diagram, found.packet, dict(found.facts))
        assert found == witness(space, diagram)


@settings(deadline=None)
@given(st.data(), st.sampled_from(sorted(BITWISE, key=lambda field: field.value)))
def test_marks_by_range_and_by_mask(data: st.DataObject, field: Field) -> None:
    space = Space(Family.IPV4)
    numbers = st.one_of(st.integers(0, 9), st.integers(0, 2**32 - 1))
    mark, mask, value, end = (data.draw(numbers) for _ in range(4))
    name = "mark" if field is Field.MARK else "ct_mark"
    packet = replace(Packet(Family.IPV4, 6, 1, 2, 3, 4), **{name: mark})
    assert member(space, space.masked(field, mask, value), packet) == (mark & mask == value)
    low, high = min(value, end), max(value, end)
    spans = IntervalSet(((low, high),))
    assert member(space, space.among(field, spans), packet) == (low <= mark <= high)
    assert space.count(space.among(field, spans), [field]) == high - low + 1


@given(st.integers(0, 255), st.integers(0, 255))
def test_bits_set_is_what_the_mask_says(mask: int, value: int) -> None:
    spans = bits_set(mask, value)
    assert {n for n in range(256) if n in spans} == {n for n in range(256) if n & mask == value}
    assert spans == IntervalSet.of(spans.spans)


@given(NAMES, NAMES)
def test_interfaces_keep_their_names_and_prefixes(name: str, prefix: str) -> None:
    assert interface_name(interface_value(name)) == name
    assert (interface_value(name) in interface_prefix(prefix)) == name.startswith(prefix)
    assert (interface_value(name) < interface_value(prefix)) == (name < prefix)


@given(packets())
def test_the_text_of_a_packet_reads_back(packet: Packet) -> None:
    if packet.fragment is Fragment.LATER:
        packet = replace(packet, flags=0, icmp_type=None)
    again = parse_packet(str(packet))
    assert again.values() == packet.values()
    assert str(again) == str(packet)


def test_free_facts_are_equal_by_name_and_quantified_to_may_and_must() -> None:
    space = Space(Family.IPV4)
    web = space.among(Field.DESTINATION_PORT, 80)
    limit = space.free("limit 3/second")
    assert space.free("limit 3/second") == limit
    assert space.free("limit 4/second") != limit
    either = space.join(space.meet(web, limit), space.minus(web, limit))
    assert either == web
    some = space.meet(web, limit)
    assert space.facts(some) == ("limit 3/second",)
    assert space.may(some) == web
    assert space.must(some) == EMPTY
    assert space.must(space.join(limit, space.complement(limit))) == FULL


def test_a_family_is_a_fact_of_the_space() -> None:
    space = Space(Family.IPV6)
    assert space.among(Field.FAMILY, 6) == FULL
    assert space.among(Field.FAMILY, 4) == EMPTY


def test_what_has_no_ports_is_not_counted_with_ports() -> None:
    space = Space(Family.IPV4)
    icmp = space.meet(space.among(Field.PROTOCOL, 1), space.well_formed)
    assert space.project(icmp, Field.DESTINATION_PORT) == IntervalSet.single(0)
    assert space.count(icmp, [Field.ICMP_TYPE]) == 257
    assert space.project(space.well_formed, Field.ICMP_TYPE).size() == NO_ICMP_TYPE + 1


def test_flag_bits_are_those_of_the_wire() -> None:
    assert TCP_FLAGS["syn"] | TCP_FLAGS["ack"] == 0x12
