"""Facts: what the hooks of IP see of packets that a bridge passes on, with `bridge-nf-call-iptables`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from notrack.netfilter.walk import walk
from notrack.packets.address import Family
from notrack.packets.packet_text import parse_packet
from notrack.ruleset.xtables.lower import lower
from notrack.ruleset.xtables.reader import read
from notrack.text.source import Source
from tests.kernel.conftest import demand_lab
from tests.kernel.ruletext import xt

pytestmark = pytest.mark.kernel
MATCHES = [
    "--physdev-in tap0", "--physdev-in tap+", "! --physdev-in tap0", "--physdev-in tap1",
    "! --physdev-in tap1", "--physdev-is-in", "! --physdev-is-in",
]  # fmt: skip
OUTWARD = ["--physdev-out tap1", "! --physdev-out tap1", "--physdev-is-out", "--physdev-is-bridged",
           "! --physdev-is-bridged", "--physdev-in tap0 --physdev-out tap1 --physdev-is-bridged"]  # fmt: skip


class Bridge:
    """A host with a bridge between two of its links, and what is behind each."""

    def __init__(self) -> None:
        name = f"nt{os.getpid()}"
        self.host, self.ends = f"{name}b", (f"{name}l", f"{name}r")

    def run(self, space: str, command: str, text: str | None = None, check: bool = True) -> str:
        done = subprocess.run(
            ["ip", "netns", "exec", space, "sh", "-c", command], input=text, capture_output=True, text=True
        )
        assert not check or done.returncode == 0, (command, done.stderr)
        return done.stdout

    def __enter__(self) -> Bridge:
        for space in (self.host, *self.ends):
            subprocess.run(["ip", "netns", "add", space], check=True)
        self.run(self.host, "ip link add br0 type bridge && ip link set br0 up")
        self.run(self.host, "ip addr add 10.7.0.1/24 dev br0")
        for number, space in enumerate(self.ends):
            self.run(self.host, f"ip link add tap{number} type veth peer name eth0 netns {space}")
            self.run(self.host, f"ip link set tap{number} master br0 up")
            self.run(space, f"ip addr add 10.7.0.{number + 5}/24 dev eth0 && ip link set eth0 up")
        self.run(self.host, "echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables", check=False)
        return self

    def __exit__(self, *_: object) -> None:
        for space in (self.host, *self.ends):
            subprocess.run(["ip", "netns", "del", space], check=False)


@pytest.fixture(scope="module")
def bridge() -> Iterator[Bridge]:
    demand_lab()
    with Bridge() as made:
        on = made.run(made.host, "cat /proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null", check=False)
        if on.strip() != "1":
            pytest.skip("this kernel passes no bridged frames to iptables")
        yield made


def counted(bridge: Bridge, matches: list[str], chain: str, target: str) -> set[str]:
    """The matches that counted a datagram from the left end; a last rule without any tells that it came."""
    lines = [
        f"-A {chain} -p udp --dport 7 {match and '-m physdev'} {match} -m comment --comment r{number}"
        for number, match in enumerate([*matches, ""])
    ]
    bridge.run(bridge.host, "iptables-legacy-restore", xt(mangle=lines))
    send = f"import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('{target}', 7))"
    bridge.run(bridge.ends[0], f'{sys.executable} -c "{send}"')
    for _ in range(100):
        saved = bridge.run(bridge.host, "iptables-legacy-save -c -t mangle")
        hits = [line for line in saved.splitlines() if " --comment r" in line and line[:3] != "[0:"]
        found = {int(line.split("--comment r")[1].split()[0]) for line in hits}
        if len(matches) in found:
            return {matches[number] for number in found - {len(matches)}}
        time.sleep(0.05)
    raise AssertionError("the datagram never came")


def traced(matches: list[str], chain: str, words: str) -> set[str]:
    lines = [f"-A {chain} -m physdev {match}" for match in matches]
    tree, _ = read(Source("rules", xt(mangle=lines)), Family.IPV4)
    ruleset, problems = lower(tree, Family.IPV4)
    assert problems == ()
    trace = walk(ruleset, parse_packet(words))
    passed = [step.rule.origin.text for step in trace.steps if step.rule]
    return {line.partition("-m physdev ")[2] for line in passed}


@pytest.mark.parametrize("chain", ["PREROUTING", "FORWARD", "POSTROUTING"])
def test_a_bridged_packet_has_both_ports(bridge: Bridge, chain: str) -> None:
    """From FORWARD on the port out is known too."""
    matches = MATCHES if chain == "PREROUTING" else MATCHES + OUTWARD
    words = "udp 10.7.0.5:9 > 10.7.0.6:7 in br0 out br0 physdev-in tap0 physdev-out tap1"
    found = counted(bridge, matches, chain, "10.7.0.6")
    assert found == traced(matches, chain, words)
    assert "--physdev-in tap0" in found and "! --physdev-in tap0" not in found


@pytest.mark.parametrize("chain", ["PREROUTING", "INPUT"])
def test_what_is_for_the_host_has_the_port_by_which_it_came(bridge: Bridge, chain: str) -> None:
    words = "udp 10.7.0.5:9 > 10.7.0.1:7 in br0 to host physdev-in tap0"
    found = counted(bridge, MATCHES, chain, "10.7.0.1")
    assert found == traced(MATCHES, chain, words)
    assert "--physdev-in tap0" in found
