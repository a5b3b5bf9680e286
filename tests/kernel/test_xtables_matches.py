"""The kernel and the lowering agree about matches: counting rules, and the same packets in both."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from notrack.netfilter.walk import walk
from notrack.packets.address import Family
from notrack.packets.packet_text import parse_packet
from notrack.ruleset.xtables.backend import Backend
from notrack.ruleset.xtables.lower import lower
from notrack.ruleset.xtables.reader import read
from notrack.text.source import Source
from tests.kernel import packet
from tests.kernel.lab import LAN, WAN, Lab
from tests.kernel.ruletext import xt

HERE, HERE6 = WAN.host_address(4), WAN.host_address(6)
FAR, FAR6 = "203.0.113.9", "2001:db8:99::9"
LAN4, LAN6 = LAN.peer_address(4), LAN.peer_address(6)
BIG = b"x" * 2000

PLACES = {"PREROUTING": "raw", "INPUT": "filter"}
HEADERS = [
    "-p udp", "-p udp -m udp", "-p udp --dport 53", "-p udp --sport 1000 --dport 50:60",
    "-p udp -m multiport --dports 1,53", "-p udp -m multiport ! --dports 54",
    "-p udp -m multiport --ports 1000", "-p udp -m multiport ! --ports 5",
    "-p udp -m multiport ! --ports 1000", "! -p tcp", "-p all", "-f", "! -f", "-p tcp", "-p tcp -m tcp",
    "-p tcp --syn", "-p tcp --tcp-flags SYN,ACK SYN", "-p tcp --tcp-flags ALL SYN",
    "-p tcp --tcp-flags ALL NONE", "-p icmp", "-p icmp --icmp-type any", "-p icmp ! --icmp-type any",
    "-p icmp --icmp-type 255", "-p icmp --icmp-type 255/0", "-p icmp --icmp-type 8/0",
    "-p icmp ! --icmp-type 0", "-p icmp ! --icmp-type 8/1", "-i eth+", "-i +", "! -i +", "-i eth",
    "! -i lo", "-d 192.0.2.0/24", "! -d 192.0.2.80", "-d 192.0.2.80/255.0.255.255", "-m ttl --ttl-eq 64",
    "-m ttl ! --ttl-eq 64", "-m ttl --ttl-lt 64", "-m ttl --ttl-gt 63", "-m dscp --dscp 0",
    "-m dscp ! --dscp-class EF", "-m tos --tos 0/0xff", "-m tos --tos Normal-Service",
    "-m tos ! --tos 0x10/0x10", "-m pkttype --pkt-type unicast", "-m pkttype ! --pkt-type unicast",
    "-m mark --mark 0", "-m mark --mark 0x5/0x3", "-m mark ! --mark 0x5/0x3", "-m recent --set --name x",
    "-m recent ! --set --name y", "-m iprange --src-range 203.0.113.1-203.0.113.9",
    "-m iprange ! --src-range 203.0.113.20-203.0.113.1", "-m addrtype --dst-type LOCAL",
    "-m addrtype --dst-type UNICAST", "-m addrtype --dst-type LOCAL,UNICAST",
    "-m addrtype ! --dst-type LOCAL", "-m addrtype --dst-type BROADCAST",
    "-m addrtype --dst-type MULTICAST", "-m addrtype --src-type UNICAST",
    "-m addrtype ! --src-type LOCAL --dst-type LOCAL", "-m length --length 20:10000",
]  # fmt: skip
HEADERS6 = [
    "-p udp", "-p udp -m udp", "-p udp --dport 53", "! -p tcp", "-p 60", "! -p 60", "-p 59", "-p esp",
    "-m frag", "-m frag --fragfirst", "-m ipv6header --header frag --soft",
    "-m ipv6header ! --header frag --soft", "-p ipv6-icmp", "-p icmpv6 --icmpv6-type echo-request",
    "-p icmpv6 ! --icmpv6-type 129", "-m hl --hl-eq 64", "-m hl ! --hl-eq 64", "-m hl --hl-lt 64",
    "-m hl --hl-gt 63", "-m addrtype --dst-type UNICAST", "-m addrtype --dst-type LOCAL",
    "-m addrtype --dst-type LOCAL,UNICAST", "-m addrtype ! --dst-type UNICAST",
    "-m addrtype ! --dst-type LOCAL,UNICAST", "-m addrtype --dst-type MULTICAST,UNICAST",
    "-m addrtype --dst-type MULTICAST", "-m addrtype --src-type UNICAST", "-m addrtype --src-type LOCAL",
]  # fmt: skip
STATES = [
    "-m state --state NEW", "-m state ! --state NEW", "-m conntrack --ctstate INVALID",
    "-m conntrack --ctstate INVALID,NEW", "-m conntrack ! --ctstate NEW",
    "-m conntrack --ctstate INVALID --ctdir REPLY", "-m conntrack --ctstate INVALID --ctdir ORIGINAL",
    "-m conntrack --ctdir ORIGINAL", "-m conntrack --ctdir REPLY",
    "-m conntrack --ctstate NEW --ctdir REPLY", "-m conntrack --ctstate SNAT,INVALID",
    "-m conntrack ! --ctstate SNAT", "-m connmark --mark 0", "-m connmark ! --mark 0",
    "-m connmark ! --mark 1", "-m conntrack --ctstate UNTRACKED",
]  # fmt: skip

UDP = packet.udp(FAR, 1000, HERE, 53)
PACKETS = {
    f"udp {FAR}:1000 > {HERE}:53 in eth0 to host": UDP,
    f"udp {FAR}:1000 > {LAN4}:53 in eth0 out eth1": packet.udp(FAR, 1000, LAN4, 53),
    f"udp {FAR}:1000 > 224.0.0.1:53 in eth0": packet.udp(FAR, 1000, "224.0.0.1", 53),
    f"udp {FAR}:1000 > {HERE}:53 in eth0 to host fragment first": packet.fragments(
        packet.udp(FAR, 1000, HERE, 53, BIG)
    )[0],
    f"udp {FAR}:1000 > {HERE}:53 in eth0 to host fragment later": packet.fragments(
        packet.udp(FAR, 1000, HERE, 53, BIG)
    )[1],
    **{
        f"tcp {FAR}:1000 > {HERE}:80 in eth0 to host flags {words}": packet.tcp(FAR, 1000, HERE, 80, letters)
        for letters, words in (("S", "syn"), ("SA", "syn,ack"), ("A", "ack"), ("", "none"), ("SF", "syn,fin"))
    },
    f"icmp echo-request {FAR} > {HERE} in eth0 to host": packet.echo(FAR, HERE),
    f"icmp destination-unreachable/4 {FAR} > {HERE} in eth0 to host": packet.too_big(FAR, HERE, UDP),
}
PACKETS6 = {
    f"udp [{FAR6}]:1000 > [{HERE6}]:53 in eth0 to host": packet.udp(FAR6, 1000, HERE6, 53),
    f"udp [{FAR6}]:1000 > [{LAN6}]:53 in eth0 out eth1": packet.udp(FAR6, 1000, LAN6, 53),
    f"udp [{FAR6}]:1000 > [ff02::1]:53 in eth0": packet.udp(FAR6, 1000, "ff02::1", 53),
    f"udp [{FAR6}]:1000 > [{HERE6}]:53 in eth0 to host fragment first": packet.fragments(
        packet.udp(FAR6, 1000, HERE6, 53, BIG)
    )[0],
    f"udp [{FAR6}]:1000 > [{HERE6}]:53 in eth0 to host fragment later": packet.fragments(
        packet.udp(FAR6, 1000, HERE6, 53, BIG)
    )[1],
    f"icmpv6 echo-request {FAR6} > {HERE6} in eth0 to host": packet.echo(FAR6, HERE6),
    f"proto esp {FAR6} > {HERE6} in eth0 to host": packet.raw(FAR6, HERE6, 50, bytes(16)),
    f"proto 59 {FAR6} > {HERE6} in eth0 to host": packet.raw(FAR6, HERE6, 59),
    f"udp [{FAR6}]:1000 > [{HERE6}]:53 in eth0 to host ttl 64": packet.raw(
        FAR6, HERE6, 60, bytes((17, 0, 1, 4, 0, 0, 0, 0)) + packet.udp(FAR6, 1000, HERE6, 53)[40:]
    ),
}


def compare(
    lab: Lab, backend: str, family: Family, chain: str, matches: list[str], sent: dict[str, bytes]
) -> None:
    """Send every packet and compare the rules that counted it with those that the trace went by."""
    source = FAR if family is Family.IPV4 else FAR6
    lines = [
        f"-A {chain} -s {source} {match} -m comment --comment r{number}"
        for number, match in enumerate(matches)
    ]
    if family is Family.IPV6:  # a neighbour may be asked for at any moment, and must not count
        spared = [f"-A {chain} -p ipv6-icmp -m icmp6 --icmpv6-type {n} -j ACCEPT" for n in (135, 136)]
        lines = spared + lines
    text = xt(**{PLACES[chain]: lines})
    lab.load(backend, **{"v4" if family is Family.IPV4 else "v6": text})
    tree, _ = read(Source("rules", text), family)
    ruleset, told = lower(replace(tree, backend=Backend(backend.removeprefix("iptables-"))), family)
    assert told == ()
    for words, octets in sent.items():
        before = hits(lab, backend, matches)
        lab.client.send(octets)
        counted = hits(lab, backend, matches) - before
        trace = walk(ruleset, parse_packet(words))
        passed = [step.rule.origin.text for step in trace.steps if step.rule]
        walked = Counter(matches[int(line.rpartition(" r")[2])] for line in passed)
        assert counted == walked, words


def hits(lab: Lab, backend: str, matches: list[str]) -> Counter[str]:
    found = lab.counters(backend)
    return Counter({matches[int(one.comment[1:])]: one.packets for one in found if one.comment})


def test_headers(lab: Lab, xtables: str) -> None:
    compare(lab, xtables, Family.IPV4, "PREROUTING", HEADERS, PACKETS)


def test_headers_of_ipv6(lab: Lab, xtables: str) -> None:
    compare(lab, xtables, Family.IPV6, "PREROUTING", HEADERS6, PACKETS6)


ALONE = [
    words
    for words in PACKETS
    if not any(part in words for part in ("fragment", "out", "224.0.0.1", "unreachable"))
]


@pytest.mark.parametrize("words", ALONE)
def test_states(lab: Lab, xtables: str, words: str) -> None:
    """Each packet alone, for one would be the flow of the next."""
    compare(lab, xtables, Family.IPV4, "INPUT", STATES, {words: PACKETS[words]})


def test_the_nft_backend_reads_ports_where_a_later_fragment_has_none(lab: Lab, xtables: str) -> None:
    """Fact: with tracking off iptables-nft (and nft) take the first bytes of a later IPv4 fragment for its
    ports. The legacy matches refuse such a fragment. So the lowering of rules that either may load says that
    they may match it.
    """
    text = xt(raw=["-A PREROUTING -p udp --dport 53 -m comment --comment port"])
    lab.load(xtables, v4=text)
    whole = packet.raw(FAR, HERE, packet.UDP, bytes(1200) + packet.udp(FAR, 1000, HERE, 53)[20:] + BIG)
    first, later, *_ = packet.fragments(whole)
    lab.client.send(first)
    assert lab.hits(xtables, "port") == 0
    lab.client.send(later)
    assert lab.hits(xtables, "port") == (1 if xtables == "iptables-nft" else 0)
