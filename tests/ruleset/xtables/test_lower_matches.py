"""What matches mean, unit by unit: the answers are those of the kernel's own code, most of them measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from notrack.packets.fields import AddressType, Field, Fragment, PacketType, State
from notrack.packets.intervals import IntervalSet
from notrack.ruleset import core
from tests.ruleset.xtables.lowered import V4, V6, facts_of, guard, holds_for, packet

SYN = "tcp 203.0.113.9:40000 > 192.0.2.80:80 in eth0 flags syn"
ACK = "tcp 203.0.113.9:40000 > 192.0.2.80:80 in eth0 flags ack"
DNS = "udp 203.0.113.9:1000 > 192.0.2.80:53 in eth0 length 70"
LATER = DNS + " fragment later"
FIRST = DNS + " fragment first"
ECHO = "icmp echo-request 203.0.113.9 > 192.0.2.80 in eth0"
TOO_BIG = "icmp destination-unreachable/4 203.0.113.9 > 192.0.2.80 in eth0"
ECHO6 = "icmpv6 echo-request 2001:db8:99::9 > 2001:db8:80::1 in eth0"
DNS6 = "udp [2001:db8:99::9]:1000 > [2001:db8:80::1]:53 in eth0"


@pytest.mark.parametrize(
    ("match", "text", "expected"),
    [
        ("-p udp --dport 53", DNS, True),
        ("-p udp --dport domain", DNS, True),
        ("-p udp ! --dport 53", DNS, False),
        ("-p udp ! --dport 54", DNS, True),
        ("-p udp --sport 900:1000 --dport 50:", DNS, True),
        ("-p udp --sport :999", DNS, False),
        ("-p tcp --dport 53", DNS, False),
        ("-p udp", LATER, True),
        ("-p udp -m udp", LATER, False),
        ("-p udp --dport 53", LATER, False),
        ("-p udp ! --dport 54", LATER, False),
        ("-p udp --dport 53", FIRST, True),
        ("-p udp -m multiport --dports 1,53", DNS, True),
        ("-p udp -m multiport ! --dports 1,53", DNS, False),
        ("-p udp -m multiport ! --dports 54", LATER, False),
        ("-p udp -m multiport --ports 1000", DNS, True),
        ("-p udp -m multiport --ports 53", DNS, True),
        ("-p udp -m multiport --ports 54:999", DNS, False),
        ("-p udp -m multiport ! --ports 1000", DNS, False),
        ("-p udp -m multiport ! --ports 5", DNS, True),
        ("-p udp -m multiport ! --ports 5", LATER, False),
        ("-p tcp --syn", SYN, True),
        ("-p tcp --syn", ACK, False),
        ("-p tcp ! --syn", ACK, True),
        ("-p tcp ! --syn", SYN, False),
        ("-p tcp ! --syn", SYN.replace("syn", "syn,ack"), True),
        ("-p tcp --syn", SYN.replace("syn", "syn,psh,ece,cwr"), True),
        ("-p tcp --tcp-flags SYN,ACK SYN", SYN.replace("syn", "syn,fin"), True),
        ("-p tcp --tcp-flags ALL SYN", SYN.replace("syn", "syn,fin"), False),
        ("-p tcp --tcp-flags ALL SYN", SYN.replace("syn", "syn,ece"), True),
        ("-p tcp --tcp-flags ALL NONE", SYN.replace("syn", "none"), True),
        ("-p tcp --tcp-flags SYN ACK", SYN, False),
        ("-p tcp ! --tcp-flags SYN ACK", SYN, True),
        ("-p tcp ! --tcp-flags SYN,ACK SYN", ACK, True),
    ],
)
def test_ports_and_flags(match: str, text: str, expected: bool) -> None:
    assert holds_for(match, text) is expected


@pytest.mark.parametrize(
    ("match", "text", "expected"),
    [
        ("-p icmp --icmp-type any", ECHO, True),
        ("-p icmp ! --icmp-type any", ECHO, False),
        ("-p icmp --icmp-type 255", ECHO, True),
        ("-p icmp --icmp-type 255/0", ECHO, True),
        ("-p icmp --icmp-type 8", ECHO, True),
        ("-p icmp --icmp-type ping", ECHO, True),
        ("-p icmp --icmp-type echo-req", ECHO, True),
        ("-p icmp ! --icmp-type 8", ECHO, False),
        ("-p icmp ! --icmp-type 0", ECHO, True),
        ("-p icmp --icmp-type 8", DNS, False),
        ("-p icmp --icmp-type fragmentation-needed", TOO_BIG, True),
        ("-p icmp --icmp-type 3/1", TOO_BIG, False),
        ("-p icmp ! --icmp-type 3/1", TOO_BIG, True),
        ("-p icmp ! --icmp-type 3/4", TOO_BIG, False),
        ("-p icmp --icmp-type 3", TOO_BIG, True),
        ("-p icmpv6 --icmpv6-type echo-request", ECHO6, True),
        ("-p ipv6-icmp -m icmp6 ! --icmpv6-type 135", ECHO6, True),
        ("-p icmp --icmp-type any", ECHO + " fragment later", False),
    ],
)
def test_icmp(match: str, text: str, expected: bool) -> None:
    assert holds_for(match, text) is expected


@pytest.mark.parametrize(
    ("match", "text", "expected"),
    [
        ("-m ttl --ttl-eq 64", DNS, True),
        ("-m ttl ! --ttl-eq 64", DNS, False),
        ("-m ttl --ttl-lt 64", DNS, False),
        ("-m ttl --ttl-lt 65", DNS, True),
        ("-m ttl --ttl-gt 64", DNS, False),
        ("-m ttl --ttl-gt 63", DNS, True),
        ("-m ttl --ttl-lt 0", DNS, False),
        ("-m ttl --ttl-gt 255", DNS, False),
        ("-m hl --hl-eq 64", DNS6, True),
        ("-m length --length 70", DNS, True),
        ("-m length --length 71:", DNS, False),
        ("-m length ! --length 0:69", DNS, True),
        ("-m dscp --dscp 0", DNS, True),
        ("-m dscp ! --dscp-class EF", DNS, True),
        ("-m tos --tos Normal-Service", DNS, True),
        ("-m tos --tos 0x10/0x10", DNS, False),
        ("-m tos ! --tos 0x10", DNS, True),
        ("-m mark --mark 0", DNS, True),
        ("-m mark ! --mark 0x5/0x3", DNS, True),
        ("-m mark --mark 0x5/0x3", DNS + " mark 0x5", False),
        ("-m mark --mark 0x1/0x3", DNS + " mark 0x5", True),
        ("-m mac --mac-source 02:00:00:00:00:01", DNS + " mac 02:00:00:00:00:01", True),
        ("-m mac ! --mac-source 02:00:00:00:00:02", DNS + " mac 02:00:00:00:00:01", True),
        ("-m mac ! --mac-source 02:00:00:00:00:02", DNS, False),
        ("-m iprange --src-range 203.0.113.1-203.0.113.9", DNS, True),
        ("-m iprange ! --src-range 203.0.113.1-203.0.113.9", DNS, False),
        ("-m iprange --src-range 203.0.113.20-203.0.113.1", DNS, False),
        ("-m iprange ! --src-range 203.0.113.20-203.0.113.1", DNS, True),
        ("-m iprange --dst-range 192.0.2.80", DNS, True),
        ("-m comment --comment x", DNS, True),
        ("-m recent --set --name x", DNS, True),
        ("-m recent ! --set --name x", DNS, False),
        ("-m pkttype --pkt-type unicast", DNS, True),
        ("-m pkttype ! --pkt-type broadcast", DNS, True),
        ("-m pkttype --pkt-type multicast", DNS, False),
    ],
)
def test_other_fields(match: str, text: str, expected: bool) -> None:
    assert holds_for(match, text) is expected


@pytest.mark.parametrize(
    ("match", "states"),
    [
        ("-m state --state NEW", {"NEW"}),
        ("-m state --state NEW,ESTABLISHED,RELATED", {"NEW", "ESTABLISHED", "RELATED"}),
        ("-m state --state est", {"ESTABLISHED"}),
        ("-m state ! --state INVALID", {"NEW", "ESTABLISHED", "RELATED", "UNTRACKED"}),
        ("-m conntrack --ctstate UNTRACKED", {"UNTRACKED"}),
        ("-m conntrack ! --ctstate NEW", {"ESTABLISHED", "RELATED", "INVALID", "UNTRACKED"}),
        ("-m conntrack --ctdir ORIGINAL", {"NEW", "ESTABLISHED", "RELATED"}),
        ("-m conntrack --ctdir REPLY", set()),
        # Without an entry only the state counts: measured on both backends.
        ("-m conntrack --ctstate INVALID,NEW --ctdir REPLY", {"INVALID"}),
        ("-m conntrack --ctstate INVALID,NEW --ctdir ORIGINAL", {"INVALID", "NEW"}),
        ("-m conntrack --ctstate SNAT,INVALID", {"INVALID"}),
        ("-m conntrack ! --ctstate SNAT", {"NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED"}),
        ("-m connmark --mark 0", {"NEW", "ESTABLISHED", "RELATED"}),
        ("-m connmark ! --mark 0", set()),
        ("-m connmark ! --mark 1", {"NEW", "ESTABLISHED", "RELATED"}),
    ],
)
def test_states(match: str, states: set[str]) -> None:
    assert {state.name for state in State if holds_for(match, packet(SYN, state))} == states


def test_translated_flows() -> None:
    (literal,) = guard("-m conntrack --ctstate DNAT")
    assert isinstance(literal, core.OneOf)
    assert core.Among(Field.CT_DNAT, IntervalSet.single(1)) in literal.guards[0]


def test_what_an_entry_is_asked_for_is_a_fact_of_packets_with_one() -> None:
    match = "-m conntrack ! --ctorigdst 192.0.2.1"
    for state in State:
        entry = state in (State.NEW, State.ESTABLISHED, State.RELATED)
        assert holds_for(match, packet(SYN, state), ctorigdst=False) is entry
        assert holds_for(match, packet(SYN, state), ctorigdst=True) is False


@pytest.mark.parametrize(
    ("match", "kinds"),
    [
        ("--dst-type LOCAL", {"LOCAL"}),
        ("! --dst-type LOCAL", set(AddressType.__members__) - {"LOCAL"}),
        ("--dst-type LOCAL,BROADCAST", {"LOCAL", "BROADCAST"}),
        ("! --dst-type LOCAL,BROADCAST", set(AddressType.__members__) - {"LOCAL", "BROADCAST"}),
        ("--dst-type UNICAST", {"UNICAST"}),
    ],
)
def test_address_types_of_ipv4(match: str, kinds: set[str]) -> None:
    found = {
        kind.name
        for kind in AddressType
        if holds_for(f"-m addrtype {match}", replace(packet(SYN), destination_type=kind))
    }
    assert found == kinds


def test_both_ends_must_fit() -> None:
    one = replace(packet(SYN), source_type=AddressType.UNICAST, destination_type=AddressType.LOCAL)
    assert holds_for("-m addrtype --src-type UNICAST --dst-type LOCAL", one)
    assert not holds_for("-m addrtype --src-type LOCAL --dst-type LOCAL", one)


@pytest.mark.parametrize(
    ("match", "target", "kind", "expected"),
    [
        ("--dst-type UNICAST", "2001:db8:80::1", AddressType.LOCAL, True),
        ("--dst-type UNICAST", "ff02::1", AddressType.MULTICAST, False),
        ("! --dst-type UNICAST", "ff02::1", AddressType.MULTICAST, True),
        ("--dst-type LOCAL", "2001:db8:80::1", AddressType.LOCAL, True),
        ("! --dst-type LOCAL", "2001:db8:80::1", AddressType.LOCAL, False),
        ("--dst-type LOCAL,UNICAST", "2001:db8:80::1", AddressType.LOCAL, True),
        ("--dst-type LOCAL,UNICAST", "2001:db8:8::5", AddressType.UNICAST, False),
        ("! --dst-type LOCAL,UNICAST", "2001:db8:8::5", AddressType.UNICAST, True),
        ("--dst-type MULTICAST,UNICAST", "ff02::1", AddressType.MULTICAST, False),
        ("--dst-type MULTICAST", "ff02::1", AddressType.MULTICAST, True),
    ],
)
def test_address_types_of_ipv6(match: str, target: str, kind: AddressType, expected: bool) -> None:
    """A list is a conjunction there, and the host's own addresses are UNICAST too: measured."""
    one = replace(packet(f"udp [2001:db8:99::9]:1 > [{target}]:2 in eth0"), destination_type=kind)
    assert holds_for(f"-m addrtype {match}", one) is expected


def test_a_type_on_one_device_is_a_fact() -> None:
    (fact,) = guard("-m addrtype ! --dst-type LOCAL --limit-iface-in")
    assert isinstance(fact, core.Fact) and fact.negated and "--limit-iface-in" in fact.name


@pytest.mark.parametrize(
    ("match", "fragments"),
    [
        ("-m frag", {Fragment.FIRST, Fragment.LATER}),
        ("-m frag --fragfirst", {Fragment.FIRST}),
        ("-m ipv6header --header frag --soft", {Fragment.FIRST, Fragment.LATER}),
        ("-m ipv6header ! --header frag --soft", {Fragment.WHOLE}),
    ],
)
def test_fragment_headers(match: str, fragments: set[Fragment]) -> None:
    found = {one for one in Fragment if holds_for(match, DNS6 + f" fragment {one.name.lower()}")}
    assert found == fragments


def test_whether_more_fragments_follow_is_one_fact() -> None:
    later = DNS6 + " fragment later"
    assert holds_for("-m frag --fragmore", later, follow=True)
    assert not holds_for("-m frag --fraglast", later, follow=True)
    assert holds_for("-m frag --fraglast", later, follow=False)
    assert holds_for("-m frag --fragmore", DNS6 + " fragment first", follow=False)


def test_rpfilter_lets_loopback_pass() -> None:
    """Only whoever comes in by another interface is asked about his way back."""
    local = replace(packet(SYN), in_interface="lo")
    assert holds_for("-m rpfilter --loose", local, rpfilter=False)
    assert not holds_for("-m rpfilter --loose --invert", local, rpfilter=False)
    assert holds_for("-m rpfilter --loose --invert", SYN, rpfilter=False)
    assert not holds_for("-m rpfilter --loose --invert", SYN, rpfilter=True)


# Facts.


@pytest.mark.parametrize(
    "match",
    [
        "-m limit --limit 5/min",
        "-m set --match-set bad src",
        "-m owner --uid-owner 0",
        "-m string --algo bm --string x",
        "-m time --timestart 10:00",
        "-m nobodyknows --what 5",
        "-p udp --dport somename",
        "-p udp -m length --nosuch 5",
    ],
)
def test_what_may_match_is_a_fact_named_by_its_text(match: str) -> None:
    found = facts_of(guard(match))
    assert len(found) == 1 and not found[0].negated and not found[0].tracking
    assert facts_of(guard(match)) == found
    assert match.split()[-1] in found[0].name


def test_a_negated_match_is_the_opposite_fact() -> None:
    assert guard("-m set ! --match-set bad src") == (core.Fact("-m set --match-set bad src", negated=True),)


def test_the_order_of_options_does_not_count() -> None:
    assert guard("-m limit --limit 5/min --limit-burst 9") == guard("-m limit --limit-burst 9 --limit 5/min")


def test_above_is_the_opposite_of_up_to() -> None:
    (above,) = guard("-p tcp --syn -m connlimit --connlimit-above 9 --connlimit-mask 24")[-1:]
    (upto,) = guard("-p tcp --syn -m connlimit --connlimit-upto 9 --connlimit-mask 24")[-1:]
    assert isinstance(above, core.Fact) and isinstance(upto, core.Fact)
    assert above.name == upto.name and above.negated and not upto.negated


@pytest.mark.parametrize(
    "match",
    [
        "-m connlimit --connlimit-above 9",
        "-m connbytes --connbytes 10000 --connbytes-dir both --connbytes-mode bytes",
        "-m connlabel --label 5",
        "-m helper --helper ftp",
        "-m cluster --cluster-total-nodes 2 --cluster-local-node 1 --cluster-hash-seed 1",
        "-m conntrack --ctstatus ASSURED",
    ],
)
def test_what_asks_connections_keeps_tracking_on(match: str) -> None:
    assert all(fact.tracking for fact in facts_of(guard(match)))


def test_what_keeps_no_tracking_on() -> None:
    for match in (
        "-m rpfilter",
        "-m recent --rcheck",
        "-m hashlimit --hashlimit-upto 5/s --hashlimit-name x",
    ):
        assert not any(fact.tracking for fact in facts_of(guard(match)))


def test_socket_reassembles() -> None:
    (fact,) = guard("-m socket --transparent")
    assert isinstance(fact, core.Fact) and fact.reassembles and not fact.tracking


def test_connbytes_needs_an_entry() -> None:
    match = "-m connbytes --connbytes 0 --connbytes-dir both --connbytes-mode packets"
    assert holds_for(match, packet(SYN, State.NEW), connbytes=True)
    assert not holds_for(match, packet(SYN, State.UNTRACKED), connbytes=True)


def test_frames() -> None:
    broadcast = replace(packet(DNS), packet_type=PacketType.BROADCAST)
    assert holds_for("-m pkttype --pkt-type broadcast", broadcast)
    assert not holds_for("-m pkttype --pkt-type host", broadcast)


def test_a_protocol_comes_with_every_header() -> None:
    assert core.Among(Field.PROTOCOL, IntervalSet.single(6)) in guard("-p tcp --dport 80", V4)
    assert core.Among(Field.PROTOCOL, IntervalSet.single(58)) in guard("-p icmpv6 --icmpv6-type 1", V6)


BRIDGED = "tcp 203.0.113.9:1000 > 10.8.0.5:80 in br0 out br0 physdev-in tap0 physdev-out tap1"
FROM_A_PORT = "tcp 203.0.113.9:1000 > 192.0.2.80:80 in br0 to host physdev-in tap0"
PLAIN = "tcp 203.0.113.9:1000 > 10.8.0.5:80 in eth0 out eth1"


@pytest.mark.parametrize(
    ("match", "bridged", "from_a_port", "plain"),
    [
        ("--physdev-in tap0", True, True, False),
        ("--physdev-in tap+", True, True, False),
        ("--physdev-in +", True, True, False),
        ("--physdev-in tap1", False, False, False),
        ("! --physdev-in tap1", True, True, True),
        ("! --physdev-in tap0", False, False, True),
        ("--physdev-out tap1", True, False, False),
        ("! --physdev-out tap1", False, True, True),
        ("--physdev-is-in", True, True, False),
        ("! --physdev-is-in", False, False, True),
        ("--physdev-is-out", True, False, False),
        ("--physdev-is-bridged", True, False, False),
        ("! --physdev-is-bridged", False, True, True),
        ("--physdev-in tap0 --physdev-out tap1 --physdev-is-bridged", True, False, False),
        ("--physdev-in tap0 ! --physdev-is-bridged", False, True, False),
    ],
)
def test_ports_of_a_bridge(match: str, bridged: bool, from_a_port: bool, plain: bool) -> None:
    """What comes from no bridge meets the negations alone (`physdev_mt`)."""
    found = [holds_for(f"-m physdev {match}", words) for words in (BRIDGED, FROM_A_PORT, PLAIN)]
    assert found == [bridged, from_a_port, plain]
