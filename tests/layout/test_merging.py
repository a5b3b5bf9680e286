"""Legs brought together: fewer rules, the same packets, every declaration remembered."""

from __future__ import annotations

from notrack.layout.comment import LONGEST, comment
from notrack.layout.listing import listing, port_chunks, port_words
from notrack.layout.merging import Part, merged
from notrack.layout.phrase import phrase
from notrack.layout.shares import Shares
from notrack.packets.address import AddressSet, Family
from notrack.packets.intervals import IntervalSet
from notrack.plan.box import TCP, UDP, Box
from notrack.site.model import Origin
from notrack.text.source import Source

SOURCE = Source("s.spec", "")


def origin(name: str) -> Origin:
    return Origin("service", name, SOURCE.span(0, 0))


def part(name: str, protocol: int, *ports: int, source: IntervalSet | None = None) -> Part:
    box = Box(
        Family.IPV4,
        protocol=IntervalSet.single(protocol),
        destination_ports=IntervalSet.of((p, p) for p in ports),
        source=source,
    )
    return Part(box, ((box, (origin(name),)),))


def addresses(text: str) -> IntervalSet:
    import ipaddress

    return AddressSet.of([ipaddress.ip_network(text)]).v4


def test_a_thousand_services_of_one_protocol_are_one_box() -> None:
    found = merged(part(f"s{n}", UDP, 10000 + 2 * n) for n in range(1000))
    assert len(found) == 1 and len(found[0].origins) == 1000
    assert found[0].box.destination_ports.size() == 1000


def test_protocols_are_not_mixed() -> None:
    found = merged([part("a", TCP, 53), part("b", UDP, 54)])
    assert {(p.box.protocol.least(), p.box.destination_ports.least()) for p in found} == {
        (TCP, 53),
        (UDP, 54),
    }


def test_a_box_inside_another_lends_it_its_declarations() -> None:
    inner = part("inner", TCP, 22, source=addresses("10.0.0.0/24"))
    found = merged([inner, part("outer", TCP, 22)])
    assert len(found) == 1 and {o.name for o in found[0].origins} == {"inner", "outer"}
    assert found[0].box.source is None


def test_sources_of_one_port_are_joined() -> None:
    found = merged(
        [
            part("a", TCP, 22, source=addresses("10.0.0.0/25")),
            part("b", TCP, 22, source=addresses("10.0.0.128/25")),
        ]
    )
    assert len(found) == 1 and found[0].box.source == addresses("10.0.0.0/24")


def test_boxes_that_differ_in_two_fields_stay_apart() -> None:
    found = merged(
        [
            part("a", TCP, 22, source=addresses("10.0.0.0/25")),
            part("b", TCP, 80, source=addresses("10.0.1.0/25")),
        ]
    )
    assert len(found) == 2


def test_a_comment_names_one_declaration_or_counts_them() -> None:
    assert comment((origin("web"),)) == "web"
    assert comment((origin("web"), origin("dns"), origin("ntp"))) == "3 of: dns, ntp, web"


def test_a_comment_is_cut_between_names() -> None:
    names = [f"service-number-{n:03}" for n in range(40)]
    text = comment(tuple(origin(name) for name in names))
    assert len(text) <= LONGEST and text.startswith("40 of: ") and text.endswith(", ...")
    shown = text.removeprefix("40 of: ").removesuffix(", ...").split(", ")
    assert shown == names[: len(shown)]


def test_a_set_is_said_by_what_is_outside_when_that_is_shorter() -> None:
    inside = addresses("10.8.0.0/24")
    assert listing(inside, Family.IPV4).listed == ("10.8.0.0/24",)
    outside = listing(Family.IPV4.whole - inside, Family.IPV4)
    assert outside.listed == ("10.8.0.0/24",) and outside.negated


def test_port_chunks_fit_into_a_multiport_match() -> None:
    ports = IntervalSet.of([(n, n) for n in range(100, 160, 2)] + [(1000, 1009), (2000, 2009)])
    chunks = list(port_chunks(ports))
    for chunk in chunks:
        assert sum(2 if ":" in item else 1 for item in port_words(chunk)) <= 15
    told = [item for chunk in chunks for item in port_words(chunk)]
    assert told[:2] == ["100", "102"] and told[-1] == "2000:2009" and len(told) == 32


def test_all_ports_need_no_words() -> None:
    assert [port_words(chunk) for chunk in port_chunks(IntervalSet(((0, 65535),)))] == [()]


def test_a_rule_of_a_merged_box_serves_only_the_declarations_it_touches() -> None:
    a = part("a", TCP, 22, source=addresses("10.0.0.0/24"))
    b = part("b", TCP, 22, source=addresses("192.0.2.0/24"))
    (both,) = merged([a, b])
    share = Shares(both)
    assert [o.name for o in share.of(source=addresses("10.0.0.0/24"))] == ["a"]
    assert [o.name for o in share.of(source=addresses("192.0.2.0/24"))] == ["b"]
    assert {o.name for o in share.of()} == {"a", "b"}


def test_port_chunks_serve_the_services_of_their_ports() -> None:
    (joined,) = merged(part(f"s{n}", UDP, 10000 + 2 * n) for n in range(40))
    share = Shares(joined)
    served = [share.of(match=match) for match in phrase(joined.box).matches]
    assert [len(origins) for origins in served] == [15, 15, 10]
    assert [o.name for o in served[1]] == [f"s{n}" for n in range(15, 30)]
