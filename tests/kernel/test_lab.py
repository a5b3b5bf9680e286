"""The lab itself: its probes tell the truth, and it leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.kernel import packet
from tests.kernel.conftest import demand_lab
from tests.kernel.lab import LAN, WAN, Lab, LabError, Side, remove_leftovers
from tests.kernel.ruletext import chain, nft, xt

ROOT = Path(__file__).parents[2]
OWN = {4: "192.0.2.80", 6: "2001:db8:80::1"}
FAR = {4: "10.8.0.5", 6: "2001:db8:8::5"}
STRANGER = {4: "203.0.113.9", 6: "2001:db8:99::9"}


def inputs(*rules: str) -> str:
    return xt(filter=[f"-A INPUT {rule}" for rule in rules])


@pytest.fixture(params=(4, 6))
def family(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def test_tcp_outcomes(lab: Lab, xtables: str, family: int) -> None:
    """Answered, refused by a reset, refused by ICMP, dropped and stalled are told apart."""
    own = OWN[family]
    for port in (80, 81, 82, 84):
        lab.host.listen("tcp", port)
    rules = inputs(
        "-p tcp --dport 81 -j REJECT",
        "-p tcp --dport 82 -j DROP",
        "-p tcp --dport 84 --tcp-flags PSH PSH -j DROP",
    )
    lab.load(xtables, rules, rules)
    answered = lab.client.tcp(own, 80, src=STRANGER[family], sport=5555)
    assert (answered.outcome, answered.seen, answered.data) == ("answered", (STRANGER[family], 5555), b"ping")
    assert answered.asked == (own, 80)
    outcomes = [lab.client.tcp(own, port).outcome for port in (80, 81, 82, 83, 84)]
    assert outcomes == ["answered", "refused", "dropped", "refused", "stalled"]


def test_udp_outcomes(lab: Lab, xtables: str, family: int) -> None:
    """Answered (6,000 bytes too), refused, silent, and prohibited by the sender's own rules."""
    own = OWN[family]
    for port in (53, 54):
        lab.host.listen("udp", port)
    rules = inputs("-p udp --dport 54 -j DROP", "-p udp --dport 55 -j REJECT").replace(
        "COMMIT", "-A OUTPUT -p udp --dport 99 -j DROP\nCOMMIT"
    )
    lab.load(xtables, rules, rules)
    asked = lab.client.udp(own, 53, src=STRANGER[family], sport=53, size=6000)
    assert asked.ok and asked.seen == (STRANGER[family], 53) and asked.asked == (own, 53)
    assert len(asked.data) == 6000
    assert [lab.client.udp(own, port).outcome for port in (53, 54, 55)] == ["answered", "silent", "refused"]
    assert lab.host.udp(STRANGER[family], 99).outcome == "prohibited"


def test_forwarding_can_be_switched(lab: Lab, family: int) -> None:
    lab.server.listen("tcp", 80)
    assert lab.client.tcp(FAR[family], 80).ok
    assert lab.client.ping(FAR[family], src=STRANGER[family], size=3000)
    lab.forwarding(False)
    try:
        assert lab.client.tcp(FAR[family], 80).outcome != "answered"
    finally:
        lab.forwarding(True)


def test_forged_packets_arrive_and_are_caught(lab: Lab, family: int) -> None:
    """A packet from an address that nobody has reaches a local socket, and the far side of the host."""
    forged = "203.0.113.200" if family == 4 else "2001:db8:99::200"
    service = lab.host.listen("udp", 161)
    lab.client.send(packet.udp(forged, 53, OWN[family], 161))
    assert [(peer.address, peer.port, peer.size) for peer in service.seen()] == [(forged, 53, 5)]
    catcher = lab.server.sniff()
    lab.client.send(packet.tcp(forged, 80, FAR[family], 22, "SA"))
    caught = catcher.packets(lambda seen: seen.proto == packet.TCP)
    assert [(one.src, one.sport, one.dport, one.flags) for one in caught] == [(forged, 80, 22, "SA")]


def test_fragments_are_put_together(lab: Lab, family: int) -> None:
    service = lab.host.listen("udp", 53)
    pieces = packet.fragments(packet.udp(STRANGER[family], 53, OWN[family], 53, bytes(3000)))
    assert [packet.parse(piece).is_fragment for piece in pieces] == [True, True, True]
    lab.client.send(pieces[1:])
    assert service.seen() == []
    lab.client.send(pieces[:1])
    assert [peer.size for peer in service.seen()] == [3000]


def test_other_protocols_are_caught(lab: Lab, family: int) -> None:
    catcher = lab.host.catch(packet.GRE, family)
    lab.client.send(packet.raw(STRANGER[family], OWN[family], packet.GRE, bytes(8)))
    assert [one.src for one in catcher.packets()] == [STRANGER[family]]


@pytest.mark.parametrize("group", ["224.0.0.251", "ff02::fb"])
def test_groups_are_joined(lab: Lab, group: str) -> None:
    """A datagram to a group arrives where it was joined, and nowhere else."""
    service = lab.host.listen("udp", 5353)
    lab.client.udp_send(group, 5353, device="eth0")
    assert service.seen() == []
    service.join(group, "eth0")
    lab.client.udp_send(group, 5353, device="eth0")
    assert len(service.seen()) == 1


def test_icmp_errors_are_believed(lab: Lab, family: int) -> None:
    """A forged packet-too-big about the host's own datagram lowers its path MTU."""
    lab.host.listen("udp", 53)
    inner = packet.udp(OWN[family], 53, STRANGER[family], 5555)
    assert "mtu" not in lab.host.run("ip", "route", "get", STRANGER[family]).out
    lab.client.send(packet.too_big(STRANGER[family], OWN[family], inner, 1400))
    assert "mtu 1400" in lab.host.run("ip", "route", "get", STRANGER[family]).out


def test_refused_rules_carry_the_message(lab: Lab, xtables: str) -> None:
    with pytest.raises(LabError, match="nonsense"):
        lab.load(xtables, "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT --nonsense\nCOMMIT\n")
    with pytest.raises(LabError, match="syntax error"):
        lab.load_nft("table inet t { nonsense }")


def test_counters_by_comment(lab: Lab, backend: str) -> None:
    lab.load_any(
        backend,
        v4=inputs('-p icmp -m comment --comment "two words"'),
        nft=nft(chain("input", "filter", 'ip protocol icmp counter comment "two words"'), family="ip"),
    )
    assert lab.client.ping(OWN[4])
    assert lab.hits(backend, "two words") == 1


def test_entries_are_read(lab: Lab) -> None:
    lab.load_nft(nft(chain("input", "filter", "ct state new counter")))
    lab.host.listen("tcp", 80)
    lab.client.open(OWN[4], 80, src=STRANGER[4], sport=5555).ask()
    lab.client.udp(OWN[6], 99, src=STRANGER[6], sport=7777)
    tcp, udp = lab.entries()
    assert (tcp.family, tcp.proto, tcp.state, tcp.src, tcp.sport) == (
        4,
        "tcp",
        "ESTABLISHED",
        STRANGER[4],
        5555,
    )
    assert (tcp.reply_src, tcp.reply_dport, tcp.assured, tcp.replied) == (OWN[4], 5555, True, True)
    assert (udp.family, udp.proto, udp.dst, udp.dport, udp.replied) == (6, "udp", OWN[6], 99, False)
    assert lab.conntrack_count() == 2


def test_reset_leaves_nothing(lab: Lab, backend: str) -> None:
    lab.load_any(backend, v4=inputs("-j DROP"), v6=inputs("-j DROP"), nft="table inet t { }")
    lab.host.listen("tcp", 80)
    lab.host.sysctl("net.netfilter.nf_conntrack_tcp_loose", 0)
    lab.reset()
    assert lab.host.sysctl("net.netfilter.nf_conntrack_tcp_loose") == "1"
    assert lab.counters(backend) == [] and lab.host.run("nft", "list", "ruleset").out == ""
    assert lab.client.tcp(OWN[4], 80).outcome == "refused"


def test_sides_are_the_callers_choice() -> None:
    """Three sides with devices and addresses of a site file, one of them IPv6 only."""
    demand_lab()
    third = Side("wg0", host=("2001:db8:77::1/64",), peer=("2001:db8:77::2/64",))
    with Lab(wan=WAN, lan=LAN, vpn=third) as lab:
        lab.peers["vpn"].listen("tcp", 443)
        assert lab.client.tcp("2001:db8:77::2", 443).ok
        assert lab.peers["lan"].ping("2001:db8:77::1")


def test_leftovers_of_a_killed_run_are_removed() -> None:
    demand_lab()
    script = textwrap.dedent("""
        import sys
        from tests.kernel.lab import Lab
        with Lab() as lab:
            print(lab.host.namespace, flush=True)
            sys.stdin.read()
    """)
    killed = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert killed.stdout and killed.stdin
    namespace = Path("/run/netns") / killed.stdout.readline().strip()
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert namespace.is_file()
    remove_leftovers()
    assert not namespace.exists()


@pytest.mark.parametrize("mode", ["tcp", "connects", "udp"])
def test_background_client_tells_its_longest_gap(lab: Lab, mode: str) -> None:
    """It is answered all the time, except while a rule drops it."""
    lab.host.listen("udp" if mode == "udp" else "tcp", 80)
    client = lab.client.background(mode, OWN[4], 80)
    time.sleep(0.1)
    lab.load("iptables-legacy", v4=inputs("-j DROP"))
    time.sleep(0.15)
    lab.load("iptables-legacy", v4=inputs())
    time.sleep(0.5)
    told = client.stop()
    assert 0.14 <= told.longest_gap <= 0.6 and told.answered > 20
    assert (told.connections > 20) == (mode == "connects")
