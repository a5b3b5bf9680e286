"""What the differential test found, each as the smallest ruleset and packets that showed it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.conftest import demand_lab
from tests.kernel.differential import twins
from tests.kernel.differential.agreement import judge
from tests.kernel.differential.bench import Bench
from tests.kernel.differential.probes import Probe
from tests.kernel.differential.shape import Written

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    demand_lab()
    with Bench() as made:
        yield made


def agree(bench: Bench, backend: str, texts: dict[str, str], probes: list[Probe], **kernel: int) -> None:
    """Kernel, trace and sets say the same. `kernel`: how many arrived, were dropped, rejected, translated."""
    case = Written(texts)
    verdict = judge(bench, case, backend, probes)
    assert [one.what for one in verdict.differences] == []
    assert verdict.tally["compared"] == len(probes)
    for word, count in kernel.items():
        assert verdict.tally[word if word == "translated" else f"kernel: {word}"] == count, word
    assert twins.of_case(case, backend, probes) == []


def test_of_base_chains_with_one_priority_the_last_made_runs_first(bench: Bench) -> None:
    text = """\
table ip t0 {
  chain a {
    type filter hook prerouting priority -300; policy drop;
  }
  chain b {
    type filter hook prerouting priority -300; policy accept;
    udp dport 80 reject
  }
}
"""
    agree(bench, "nft", {"nft": text}, [Probe(1, src="192.0.2.1", dst="192.0.2.80", sport=5000, dport=80)])


def test_a_mark_from_a_map_does_not_switch_tracking_on(bench: Bench) -> None:
    text = """\
table ip t0 {
  chain c0 {
    type filter hook forward priority 0; policy accept;
    meta mark set tcp dport map { 53 : 0x2, 443 : 0x10, 80 : 0x10 }
  }
}
"""
    probes = [
        Probe(1, sender="host", src="10.8.0.1", dst="192.0.2.80", sport=62662, dport=443),
        Probe(2, proto=6, src="192.0.2.1", dst="10.8.0.5", sport=5000, dport=443),
    ]
    agree(bench, "nft", {"nft": text}, probes)


def test_a_dnat_of_ipv4_in_an_inet_table_leaves_ipv6_untracked(bench: Bench) -> None:
    text = """\
table inet t0 {
  chain n0 {
    type nat hook prerouting priority 50; policy accept;
    meta l4proto udp dnat ip to 10.8.0.1:1500
  }
}
"""
    probes = [
        Probe(1, sender="host", family=6, src="::1", dst="::1", sport=8080, dport=53, flags=""),
        Probe(2, src="192.0.2.1", dst="192.0.2.80", sport=8080, dport=53, flags=""),
    ]
    agree(bench, "nft", {"nft": text}, probes)


def test_a_masquerade_on_loopback_keeps_the_loopback_address(bench: Bench) -> None:
    text = "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n"
    probe = Probe(1, sender="host", family=6, proto=6, src="::1", dst="::1", sport=27361, dport=1500)
    agree(bench, "iptables-legacy", {"v6": text}, [probe])


def test_a_translation_that_changes_nothing_is_none_to_the_entry(bench: Bench) -> None:
    text = """\
table ip nat {
  chain OUTPUT {
    type nat hook output priority -100; policy accept;
    dnat ip to 10.8.0.1
  }
}
table ip filter {
  chain OUTPUT {
    type filter hook output priority 0; policy accept;
    ct status dnat accept
    drop
  }
}
"""
    probes = [
        Probe(3, sender="host", src="10.8.0.1", dst="10.8.0.1", sport=1003, dport=80, flags=""),
        Probe(4, sender="host", src="10.8.0.1", dst="192.0.2.80", sport=1004, dport=80, flags=""),
    ]
    agree(bench, "nft", {"nft": text}, probes)


def test_a_packet_without_an_entry_has_no_direction(bench: Bench) -> None:
    text = """\
table ip mangle {
  chain OUTPUT {
    type filter hook output priority -150; policy accept;
    ct direction original meta mark set 0x1
  }
}
"""
    probes = [
        Probe(
            42, sender="host", proto=6, src="10.8.0.1", dst="198.51.100.7", sport=1500, dport=22, flags="RA"
        ),
        Probe(
            43, sender="host", proto=6, src="10.8.0.1", dst="198.51.100.7", sport=1501, dport=22, flags="S"
        ),
    ]
    agree(bench, "nft", {"nft": text}, probes)


@pytest.mark.parametrize(
    ("backend", "seen"), [("iptables-legacy", []), ("iptables-nft", [32, 64]), ("nft", [32, 64])]
)
def test_nft_takes_the_data_of_a_later_fragment_for_ports(
    bench: Bench, backend: str, seen: list[int]
) -> None:
    """Without reassembly a port match of nft, and of iptables-nft, reads what a later fragment begins with.

    The data of the probe begins with the octets of port 53759 in each fragment; legacy iptables sees no port.
    """
    texts = {
        "v4": "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -p udp --sport 53759 -j ACCEPT\nCOMMIT\n",
        "nft": "table ip t {\n chain f {\n  type filter hook forward priority 0; policy drop;\n"
        "  udp sport 53759 accept\n }\n}\n",
    }
    text = {"nft": texts["nft"]} if backend == "nft" else {"v4": texts["v4"]}
    probe = Probe(1, src="192.0.2.1", dst="10.8.0.5", sport=22, dport=22, flags="", fragments=True)
    outcome = bench.run(Written(text), backend, [probe])
    assert [one.packet.offset for one in outcome.observations[0].arrivals] == seen


# --- hops -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["iptables-legacy", "iptables-nft", "nft"])
def test_a_packet_has_one_hop_less_from_forward_on(bench: Bench, backend: str) -> None:
    text = "*mangle\n-A POSTROUTING -m ttl --ttl-eq 9 -j DROP\nCOMMIT\n"
    text += "*filter\n-A FORWARD -m ttl --ttl-eq 63 -j DROP\nCOMMIT\n"
    nft = "table ip t {\n chain f {\n  type filter hook forward priority 0; policy accept;\n"
    nft += "  ip ttl 63 drop\n }\n chain p {\n  type filter hook postrouting priority 0; policy accept;\n"
    nft += "  ip ttl 9 drop\n }\n}\n"
    probes = [
        Probe(n, src="192.0.2.1", dst=dst, sport=5000 + n, dport=80, ttl=ttl)
        for n, (dst, ttl) in enumerate(
            [("10.8.0.5", 64), ("10.8.0.5", 65), ("10.8.0.5", 63), ("10.8.0.5", 10), ("192.0.2.80", 63)], 1
        )
    ]
    probes.append(Probe(6, sender="host", src="10.8.0.1", dst="10.8.0.5", sport=5006, dport=80, ttl=63))
    texts = {"nft": nft} if backend == "nft" else {"v4": text}
    agree(bench, backend, texts, probes, arrived=4, dropped=2)


@pytest.mark.parametrize("family", [4, 6])
def test_a_packet_whose_hops_are_used_up_is_not_forwarded(bench: Bench, family: int) -> None:
    """The router answers that itself; what is for it, and what it sends, may have one hop."""
    peer, router, server = (
        ("192.0.2.1", "192.0.2.80", "10.8.0.5"),
        ("2001:db8:80::9", "2001:db8:80::1", "2001:db8:8::5"),
    )[family == 6]
    text = "*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n"
    probes = [
        Probe(1, family=family, src=peer, dst=server, sport=5001, dport=80, ttl=1),
        Probe(2, family=family, src=peer, dst=server, sport=5002, dport=80, ttl=2),
        Probe(3, family=family, src=peer, dst=router, sport=5003, dport=80, ttl=1),
    ]
    agree(bench, "iptables-legacy", {f"v{family}": text}, probes, arrived=2, rejected=1)


def test_hops_that_rules_set_count_too(bench: Bench) -> None:
    text = """\
*mangle
-A PREROUTING -p udp --dport 1 -j TTL --ttl-set 1
-A PREROUTING -p udp --dport 2 -j TTL --ttl-dec 63
-A PREROUTING -p udp --dport 3 -j TTL --ttl-dec 62
-A PREROUTING -p udp --dport 4 -j TTL --ttl-inc 250
-A FORWARD -m ttl --ttl-eq 1 -j DROP
-A FORWARD -m ttl --ttl-gt 253 -j TTL --ttl-set 20
-A POSTROUTING -m ttl --ttl-eq 20 -j MARK --set-mark 7
COMMIT
"""
    probes = [
        Probe(n, src="192.0.2.1", dst="10.8.0.5", sport=5000 + n, dport=n, flags="") for n in (1, 2, 3, 4, 5)
    ]
    agree(bench, "iptables-nft", {"v4": text}, probes, arrived=2, rejected=2, dropped=1)


# --- ways out ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["iptables-legacy", "iptables-nft"])
def test_what_output_translates_leaves_by_the_way_to_its_new_destination(bench: Bench, backend: str) -> None:
    """OUTPUT itself still knows the old way, POSTROUTING the new one."""
    text = """\
*nat
-A OUTPUT -p udp --dport 80 -j DNAT --to-destination 10.8.0.5
-A OUTPUT -p udp --dport 81 -j DNAT --to-destination 10.8.0.5
-A OUTPUT -p udp --dport 82 -j DNAT --to-destination 203.0.113.9
COMMIT
*mangle
-A POSTROUTING -o eth1 -p udp --dport 81 -j DROP
-A POSTROUTING -o lo -j DROP
COMMIT
*filter
-A OUTPUT -o eth1 -p udp --dport 80:81 -j DROP
COMMIT
"""
    probes = [
        Probe(1, sender="host", src="192.0.2.80", dst="203.0.113.9", sport=5001, dport=80, flags=""),
        Probe(2, sender="host", src="192.0.2.80", dst="203.0.113.9", sport=5002, dport=81, flags=""),
        Probe(3, sender="host", src="192.0.2.80", dst="192.0.2.80", sport=5003, dport=80, flags=""),
        Probe(4, sender="host", src="10.8.0.1", dst="10.8.0.6", sport=5004, dport=82, flags=""),
    ]
    agree(bench, backend, {"v4": text}, probes, arrived=3, dropped=1, translated=3)


def test_what_comes_from_127_is_not_sent_out_by_a_translation(bench: Bench) -> None:
    """The kernel drops it, unless route_localnet is set; IPv6 sends ::1 out."""
    text = "table inet t {\n chain o {\n  type nat hook output priority -100; policy accept;\n"
    text += "  meta l4proto udp dnat ip to 10.8.0.5\n  meta l4proto udp dnat ip6 to 2001:db8:8::5\n }\n}\n"
    probes = [
        Probe(1, sender="host", src="127.0.0.1", dst="127.0.0.1", sport=5001, dport=80, flags=""),
        Probe(2, sender="host", src="192.0.2.80", dst="127.0.0.1", sport=5002, dport=80, flags=""),
        Probe(3, sender="host", family=6, src="::1", dst="::1", sport=5003, dport=80, flags=""),
    ]
    agree(bench, "nft", {"nft": text}, probes, arrived=2, dropped=1, translated=2)


def test_what_comes_from_a_link_is_not_translated_to_loopback(bench: Bench) -> None:
    """IPv4 drops it, unless route_localnet is set. (IPv6 sends it on by the default route.)"""
    text = """\
table inet t {
  chain n {
    type nat hook prerouting priority -100; policy accept;
    udp dport 80 dnat ip to 127.0.0.1
    udp dport 81 redirect
  }
}
"""
    probes = [
        Probe(1, src="192.0.2.1", dst="192.0.2.80", sport=5001, dport=80, flags=""),
        Probe(2, src="192.0.2.1", dst="10.8.0.5", sport=5002, dport=80, flags=""),
        Probe(3, src="192.0.2.1", dst="10.8.0.5", sport=5003, dport=81, flags=""),
        Probe(4, family=6, src="2001:db8:80::9", dst="2001:db8:80::1", sport=5005, dport=81, flags=""),
    ]
    agree(bench, "nft", {"nft": text}, probes, arrived=2, dropped=2)


def test_an_answer_to_one_from_loopback_does_not_come_in(bench: Bench) -> None:
    text = """\
table ip6 t {
  chain n {
    type nat hook output priority -100; policy accept;
    dnat ip6 to 2001:db8:80::9
  }
}
"""
    probes = [
        Probe(1, sender="host", family=6, proto=6, src="::1", dst="::1", sport=46928, dport=443),
        Probe(2, family=6, after=1, role="answer"),
    ]
    agree(bench, "nft", {"nft": text}, probes, arrived=1, dropped=1)


def test_a_chain_of_type_route_gives_a_new_destination_its_way(bench: Bench) -> None:
    text = """\
table inet t {
  chain r {
    type route hook output priority 0; policy accept;
    udp dport 80 ip daddr set 10.8.0.5
    udp dport 81 ip daddr set 127.0.0.1
  }
  chain p {
    type filter hook postrouting priority 0; policy accept;
    oifname "eth0" drop
  }
}
"""
    probes = [
        Probe(1, sender="host", src="192.0.2.80", dst="203.0.113.9", sport=5001, dport=80, flags=""),
        Probe(2, sender="host", src="192.0.2.80", dst="203.0.113.9", sport=5002, dport=81, flags=""),
        Probe(3, sender="host", src="192.0.2.80", dst="203.0.113.9", sport=5003, dport=82, flags=""),
        Probe(4, sender="host", src="127.0.0.1", dst="127.0.0.1", sport=5004, dport=80, flags=""),
    ]
    agree(bench, "nft", {"nft": text}, probes, arrived=2, dropped=2)


# --- zones ------------------------------------------------------------------------------------------


def test_a_zone_behind_tracking_makes_new_without_an_entry(bench: Bench) -> None:
    """Nat chains are asked, and translate nothing; they go on being asked. There is no direction, no mark."""
    text = """\
table ip t {
  chain z {
    type filter hook prerouting priority -150; policy accept;
    ct zone set 5
  }
  chain n {
    type nat hook prerouting priority -100; policy accept;
    tcp dport 80 dnat to 10.8.0.6
    tcp dport 81 accept
  }
  chain m {
    type nat hook prerouting priority -90; policy accept;
    tcp dport 81 drop
    tcp dport 80 tcp sport 5002 drop
  }
  chain f {
    type filter hook forward priority 0; policy accept;
    ct direction original drop
    ct mark 0 drop
    ct state != new drop
  }
}
"""
    probes = [
        Probe(n, proto=6, src="192.0.2.1", dst="10.8.0.5", sport=5000 + n, dport=dport, flags="SA")
        for n, dport in ((1, 80), (2, 80), (3, 81), (4, 82))
    ]
    agree(bench, "nft", {"nft": text}, probes, arrived=2, dropped=2)


def test_an_answer_looks_for_its_flow_in_the_zone_of_its_direction(bench: Bench) -> None:
    text = """\
table ip t {
  chain p {
    type filter hook prerouting priority -300; policy accept;
    iifname "eth0" udp dport 80 ct original zone set 5
    iifname "eth0" udp dport 81 ct zone set 6
    iifname "eth1" udp sport 82 ct zone set 7
  }
  chain f {
    type filter hook forward priority 0; policy accept;
    iifname "eth1" ct state new drop
  }
}
"""
    probes = [
        probe
        for n, dport in ((1, 80), (3, 81), (5, 82))
        for probe in (
            Probe(n, src="192.0.2.1", dst="10.8.0.5", sport=5000 + n, dport=dport, flags=""),
            Probe(n + 1, after=n, role="answer", flags=""),
        )
    ]
    agree(bench, "nft", {"nft": text}, probes, arrived=4, dropped=2)


# --- frames, devices, fragments ---------------------------------------------------------------------


def test_what_came_in_a_frame_for_a_group_is_not_forwarded(bench: Bench) -> None:
    text = """\
table ip t {
  chain raw {
    type filter hook prerouting priority -300; policy accept;
    udp dport 99 meta pkttype set host
  }
  chain n {
    type nat hook prerouting priority -100; policy accept;
    ip daddr { 192.0.2.255, 224.0.0.1 } dnat to 10.8.0.5
    udp dport 81 dnat to 10.8.0.1
  }
}
"""
    groups = (
        ("224.0.0.1", "", 80), ("224.0.0.1", "host", 80), ("224.0.0.1", "", 99), ("192.0.2.255", "", 80),
        ("192.0.2.255", "broadcast", 80), ("10.8.0.6", "broadcast", 80), ("10.8.0.6", "broadcast", 81),
    )  # fmt: skip
    probes = [
        Probe(n, src="192.0.2.1", dst=dst, sport=5000 + n, dport=dport, flags="", frame=frame)
        for n, (dst, frame, dport) in enumerate(groups, 1)
    ]
    agree(bench, "nft", {"nft": text}, probes, arrived=4, dropped=3)


def test_hooks_of_devices_come_before_and_behind_all_others(bench: Bench) -> None:
    text = """\
table netdev d {
  chain i {
    type filter hook ingress device "eth0" priority 0; policy accept;
    meta protocol ip udp dport 53 drop
    meta protocol ip udp dport 80 notrack
    meta protocol ip udp dport 81 ip ttl set 2
  }
  chain e {
    type filter hook egress device "eth1" priority 0; policy accept;
    meta protocol ip udp dport 443 drop
    meta protocol ip iifname "eth0" drop
    meta protocol ip ip ttl 1 drop
  }
  chain l {
    type filter hook egress device "lo" priority 0; policy accept;
    meta protocol ip udp dport 1500 drop
  }
}
table inet t {
  chain i {
    type filter hook ingress device "eth1" priority 0; policy accept;
    meta protocol ip udp dport 22 drop
  }
  chain f {
    type filter hook forward priority 0; policy accept;
    ct state untracked drop
  }
}
"""
    sent = [
        Probe(n, src="192.0.2.1", dst="10.8.0.5", sport=5000 + n, dport=dport, flags="")
        for n, dport in enumerate((53, 80, 81, 443, 22), 1)
    ]
    sent += [
        Probe(6, sender="server", src="10.8.0.5", dst="192.0.2.1", sport=5006, dport=22, flags=""),
        Probe(7, sender="host", src="10.8.0.1", dst="10.8.0.5", sport=5007, dport=443, flags=""),
        Probe(8, sender="host", src="10.8.0.1", dst="10.8.0.1", sport=5008, dport=1500, flags=""),
        Probe(9, sender="host", src="10.8.0.1", dst="10.8.0.1", sport=5009, dport=443, flags=""),
    ]
    agree(bench, "nft", {"nft": text}, sent, arrived=2, dropped=7)


def test_chains_before_minus_400_see_fragments_though_tracking_is_on(bench: Bench) -> None:
    text = """\
table inet t {
  chain early {
    type filter hook prerouting priority -450; policy accept;
    meta mark 0x1 drop
    ip saddr 198.51.100.7 meta length 0-60 drop
    ip saddr 203.0.113.9 ip frag-off & 0x1fff != 0 drop
  }
  chain late {
    type filter hook prerouting priority -300; policy accept;
    ip frag-off & 0x1fff != 0 drop
    ct state established accept
  }
}
"""
    probes = [
        Probe(n, src=src, dst="10.8.0.5", sport=5000 + n, dport=80, flags="", fragments=True)
        for n, src in enumerate(("192.0.2.1", "203.0.113.9"), 1)
    ]
    agree(bench, "nft", {"nft": text}, probes, arrived=1, dropped=1)


def test_a_packet_without_an_entry_has_no_mark_of_a_connection(bench: Bench) -> None:
    text = """\
table ip t {
  chain p {
    type filter hook prerouting priority -100; policy accept;
    tcp dport 80 ct mark 0 drop
    tcp dport 81 ct mark != 1 drop
  }
}
"""
    probes = [
        Probe(n, proto=6, src="192.0.2.1", dst="192.0.2.80", sport=5000 + n, dport=dport, flags=flags)
        for n, (dport, flags) in enumerate(((80, "SA"), (80, "S"), (81, "SA"), (81, "S")), 1)
    ]
    agree(bench, "nft", {"nft": text}, probes, arrived=2, dropped=2)
