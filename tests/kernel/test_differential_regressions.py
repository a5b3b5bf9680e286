"""What the differential test found, each as the smallest ruleset and packets that showed it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.conftest import demand_lab
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


def agree(bench: Bench, backend: str, texts: dict[str, str], probes: list[Probe]) -> None:
    verdict = judge(bench, Written(texts), backend, probes)
    assert [one.what for one in verdict.differences] == []
    assert verdict.tally["compared"] == len(probes)


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
