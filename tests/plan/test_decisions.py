"""The rules by which a flow is tracked or not, one test for each sentence of the site language."""

from __future__ import annotations

from pathlib import Path

import pytest

from notrack.packets.address import Family
from notrack.packets.intervals import IntervalSet
from notrack.plan.flow import Decision
from notrack.plan.leg import Hook, Verb
from notrack.plan.legs import keeps_tracking_on
from notrack.plan.planner import Plan, plan
from notrack.site import load_text
from notrack.text.diagnostic import Rejected

HEAD = """site s
interface wan = eth0 address 192.0.2.80/24, 2001:db8:80::1/64
interface lan = eth1 address 10.8.0.1/24
network lan-net = 10.8.0.0/24
network office = 198.51.100.0/24, 2001:db8:51::/48
"""


def planned(text: str) -> Plan:
    site, _ = load_text(HEAD + text, "s.spec", Path("."))
    return plan(site)


def decision(found: Plan, name: str, family: Family = Family.IPV4, protocol: int | None = None) -> Decision:
    hits = [
        d
        for d in found.families[family].decisions
        if d.flow.name == name
        and (protocol is None or (d.flow.traffic and d.flow.traffic.protocol == protocol))
    ]
    assert len(hits) == 1, [d.flow.name for d in found.families[family].decisions]
    return hits[0]


def faults(text: str) -> list[str]:
    with pytest.raises(Rejected) as caught:
        planned(text)
    return [d.message for d in caught.value.diagnostics]


def notes(text: str) -> str:
    with pytest.raises(Rejected) as caught:
        planned(text)
    return "\n".join(note for d in caught.value.diagnostics for note in d.notes)


def test_a_service_is_untracked_and_the_hosts_own_questions_are_tracked() -> None:
    found = planned("service web tcp 80 on wan")
    assert not decision(found, "web").tracked
    assert decision(found, "output").tracked
    assert found.families[Family.IPV4].tracking == "partial"


@pytest.mark.parametrize(
    "line",
    [
        "client c udp 53 to 9.9.9.9",
        "route r from lan-net to any on lan out wan",
    ],
)
def test_a_flow_whose_replies_only_their_source_port_lets_in_is_tracked(line: str) -> None:
    found = planned(line)
    name = line.split()[1]
    assert decision(found, name).tracked
    assert "source port" in decision(found, name).reason


@pytest.mark.parametrize(
    "line", ["peer p udp 4789 with 10.8.0.2", "trust p from 10.8.0.2", "service p udp 53"]
)
def test_who_may_open_is_untracked(line: str) -> None:
    assert not decision(planned(line), "p").tracked


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("service p tcp 21 helper ftp", "helper"),
        ("service p tcp 22 limit connections 5", "counted"),
        ("service p tcp 22 tracked", "says so"),
    ],
)
def test_what_needs_the_table_is_tracked(line: str, word: str) -> None:
    found = decision(planned(line), "p")
    assert found.tracked and found.needs and word in found.reason


def test_nothing_is_untracked_in_a_family_where_nothing_needs_tracking() -> None:
    found = planned(
        "default output accept without replies\nservice web tcp 80\nmasquerade m from lan-net out wan"
    )
    assert found.families[Family.IPV4].tracking == "partial"
    assert found.families[Family.IPV6].tracking == "none"
    assert "nothing needs tracking in IPv6" in decision(found, "web", Family.IPV6).reason


def test_a_route_from_any_to_any_is_untracked_by_itself() -> None:
    assert not decision(planned("route all from any to any"), "all").tracked


def test_two_routes_that_mirror_each_other_are_untracked() -> None:
    found = planned("route there from lan-net to office\nroute back from office to lan-net")
    assert not decision(found, "there").tracked
    assert not decision(found, "back").tracked


def test_default_forward_accept_is_an_untracked_flow() -> None:
    assert not decision(planned("default forward accept"), "forward").tracked


def test_default_input_accept_lets_the_replies_in_anyway() -> None:
    found = planned("default input accept")
    assert not decision(found, "output").tracked
    assert found.families[Family.IPV4].tracking == "none"


def test_output_without_replies_needs_no_tracking() -> None:
    assert planned("default output accept without replies").families[Family.IPV4].tracking == "none"


def test_a_service_inside_a_published_port_is_tracked_for_its_sake() -> None:
    found = planned("publish shop tcp 8443 to 10.8.0.5 port 443\nservice web tcp 8443")
    assert decision(found, "web").tracked
    assert "publish shop" in decision(found, "web").reason


def test_a_service_beside_a_published_port_is_untracked_with_a_note() -> None:
    found = planned("publish shop tcp 8443 to 10.8.0.5 port 443\nservice web tcp 80, 8443")
    assert not decision(found, "web").tracked
    assert any("publish shop" in note for note in decision(found, "web").notes)


def test_untracked_in_writing_on_a_published_port_is_an_error_with_a_packet() -> None:
    text = "publish shop tcp 8443 to 10.8.0.5 port 443\nservice web tcp 8443 untracked"
    assert faults(text) == ["service web cannot be untracked in IPv4: it shares packets with publish shop"]
    assert ":8443" in notes(text)


def test_an_untracked_route_through_masquerade_is_an_error() -> None:
    text = "route r tcp 80 from lan-net to any out wan untracked\nmasquerade m from lan-net out wan"
    assert len(faults(text)) == 1
    assert "10.8.0." in notes(text)


def test_an_auto_route_that_differs_by_out_from_a_tracked_one_is_tracked() -> None:
    found = planned("route a from any to any out wan tracked\nroute b from any to any")
    assert decision(found, "b").tracked


def test_the_shared_part_of_two_services_stays_tracked() -> None:
    found = planned("service web tcp 443\nservice admin tcp 443 from office tracked")
    assert not decision(found, "web").tracked
    assert any("admin" in note for note in decision(found, "web").notes)


def test_an_untracked_client_beside_a_tracked_one_to_the_same_servers_is_an_error() -> None:
    text = "client all udp 53\nclient some udp 53 to 9.9.9.9 untracked"
    assert len(faults(text)) == 1


def test_routes_that_meet_only_between_two_well_known_ports_do_not_conflict() -> None:
    text = (
        "network dns = 203.0.113.53\nnetwork dmz = 203.0.113.0/25\n"
        "route dns-in udp 53 from any to dns untracked\nroute dmz-out udp 123 from dmz to any\n"
    )
    found = planned(text)
    assert not decision(found, "dns-in").tracked
    assert decision(found, "dmz-out").tracked


def test_a_peer_without_ports_is_tracked_beside_masquerade() -> None:
    found = planned("peer tunnel proto gre with 203.0.113.9\nmasquerade m from lan-net out wan")
    assert decision(found, "tunnel").tracked
    assert "masquerade m" in decision(found, "tunnel").reason


def test_a_peer_in_a_group_is_untracked_beside_masquerade() -> None:
    found = planned("peer vrrp proto 112 with 192.0.2.2 at 224.0.0.18\nmasquerade m from lan-net out wan")
    assert not decision(found, "vrrp").tracked


def test_a_trust_on_link_behind_the_host_is_not_touched_by_masquerade() -> None:
    found = planned("trust inside from lan-net on lan\nmasquerade m from lan-net out wan")
    assert not decision(found, "inside").tracked
    assert decision(found, "inside").notes == ()


def test_a_trust_that_masquerade_reaches_is_untracked_but_for_translated_answers() -> None:
    found = planned("trust backup from 203.0.113.9\nmasquerade m from lan-net out wan")
    assert not decision(found, "backup").tracked
    ports = IntervalSet((found.families[Family.IPV4].ranges[6],))
    untracked = [leg.box for leg in found.families[Family.IPV4].legs if leg.action.verb is Verb.UNTRACK]
    incoming = [box for box in untracked if box.source is not None and 6 in box.protocol]
    assert incoming and all(box.destination_ports.isdisjoint(ports) for box in incoming)
    assert not any(47 in box.protocol for box in untracked if not box.out_devices)


def test_tracking_off_names_what_needs_tracking() -> None:
    found = faults("tracking off\nservice web tcp 80")
    assert len(found) == 1 and "output needs it" in found[0]


def test_masquerade_keeps_apart_from_services_and_from_untracked_clients() -> None:
    found = planned(
        "service cache tcp 11211\nclient dns tcp 53 to 9.9.9.9 untracked\nmasquerade m from lan-net out wan"
    )
    low, high = found.families[Family.IPV4].ranges[6]
    assert (low, high) == (11212, 32767)


def test_masquerade_without_untracked_ports_in_the_way_is_not_narrowed() -> None:
    assert (
        planned("service web tcp 80 tracked\nmasquerade m from lan-net out wan").families[Family.IPV4].ranges
        == {}
    )


def test_masquerade_keeps_apart_from_services_below_1024_too() -> None:
    """It keeps the source port that it finds: a LAN's name server asks from port 53 and comes out at 53."""
    found = planned("service dns udp 53 from lan-net\nmasquerade m from lan-net out wan")
    assert found.families[Family.IPV4].ranges == {17: (1024, 65535)}


def test_a_tiny_range_for_translation_is_an_error() -> None:
    found = faults("service all tcp 1024-65000\nmasquerade m from lan-net out wan")
    assert len(found) == 1 and "only ports 65001-65535" in found[0]


def test_the_plan_says_what_a_forger_can_reach() -> None:
    found = decision(planned("client dns udp 53 to 9.9.9.9 untracked"), "dns")
    assert found.exposes is not None
    assert "9.9.9.9" in found.exposes and "32768-60999" in found.exposes


def test_replies_never_reach_a_served_port() -> None:
    found = planned("service high udp 40000\nclient dns udp 53 to 9.9.9.9 untracked")
    (answer,) = decision(found, "dns").flow.paths.answering
    assert 40000 not in answer.destination_ports and 40001 in answer.destination_ports


def test_a_client_whose_answers_a_service_lets_in_anyway_is_untracked() -> None:
    found = planned("service ntp udp 123\nclient clock udp 123 to 9.9.9.9 from port 123")
    assert not decision(found, "clock").tracked
    assert decision(found, "clock").exposes is None


def test_a_client_that_asks_from_a_port_served_to_others_shares_it_with_the_service() -> None:
    found = planned("service ntp udp 123 from office\nclient clock udp 123 from port 123")
    assert decision(found, "clock").tracked
    assert any("clock" in note for note in decision(found, "ntp").notes)


def test_under_output_drop_the_plan_names_what_local_programs_could_send() -> None:
    found = decision(planned("default output drop\nservice dns udp 53"), "dns")
    assert found.exposes is not None and "udp port 53" in found.exposes


@pytest.mark.parametrize(
    "text",
    [
        "default output accept without replies\nservice ssh tcp 22 from office tracked",
        "default input accept\nservice ssh tcp 22 from office tracked",
        "default input accept\nclient c tcp 22 to office tracked",
        "default input accept\ndefault forward accept\nroute r from lan-net to office tracked",
    ],
)
def test_where_tracking_is_on_some_rule_asks_for_it(text: str) -> None:
    found = planned(text).families[Family.IPV4]
    assert found.tracking == "partial" or found.tracking == "all"
    assert any(keeps_tracking_on(leg) for leg in found.legs)


def test_a_helper_that_only_one_family_has_keeps_only_that_one_tracked() -> None:
    found = planned("service irc tcp 6667 helper irc")
    assert decision(found, "irc").tracked
    assert not decision(found, "irc", Family.IPV6).tracked


def test_a_snat_to_an_own_address_leaves_services_at_it_untracked() -> None:
    found = planned("service web tcp 80 on wan\nsnat m from lan-net out wan as 192.0.2.80")
    web = decision(found, "web")
    assert not web.tracked and web.notes == ()
    assert found.families[Family.IPV4].ranges[6] == (1024, 65535)


def test_an_untracked_client_stands_beside_a_snat_to_an_own_address() -> None:
    found = planned("client c udp 53 to 9.9.9.9 untracked\nsnat m from lan-net out wan as 192.0.2.80")
    assert not decision(found, "c").tracked


def test_the_hosts_own_packets_to_other_addresses_than_the_published_are_left_alone() -> None:
    found = planned("publish shop tcp 80 on wan to 10.8.0.5")
    boxes = [leg.box for leg in found.families[Family.IPV4].legs if leg.hook is Hook.NAT_OUT]
    assert boxes and all(box.destinations().size() == 1 for box in boxes)
