"""`notrack test --kernel`: real packets, with root and without, and that they notice wrong rules."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from notrack.host.kernel import Device, KernelRefused, Load, Shot, shoot
from notrack.host.system import LiveSystem
from notrack.packets.packet_text import parse_packet
from tests.cli.test_commands import notrack
from tests.conftest import ROOT
from tests.kernel.conftest import demand_lab

DEVICES = [Device("eth0", ("192.0.2.80/24", "2001:db8:80::1/64")), Device("eth1", ("10.8.0.1/24",))]
RULES = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp --dport 80 -m conntrack --ctstate NEW -j ACCEPT
-A INPUT -p tcp --dport 81 -j REJECT --reject-with tcp-reset
-A INPUT -p udp --dport 82 -j REJECT
-A INPUT -p icmp --icmp-type echo-request -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A FORWARD -i eth1 -o eth0 -p udp --dport 53 -j ACCEPT
-A FORWARD -p udp --dport 54 -j REJECT
-A OUTPUT -p udp --dport 99 -j DROP
-A OUTPUT -p udp --dport 98 -j REJECT
COMMIT
*raw
-A PREROUTING -p icmp -j CT --notrack
-A OUTPUT -p icmp -j CT --notrack
COMMIT
"""
SHOTS = [
    ("tcp 203.0.113.9:4000 > 192.0.2.80:80 in eth0 to host", "local in", "accept", 1),
    ("tcp 203.0.113.9:4000 > 192.0.2.80:79 in eth0 to host", "local in", "drop", 0),
    ("tcp 203.0.113.9:4000 > 192.0.2.80:81 in eth0 to host", "local in", "reject", 0),
    ("udp 203.0.113.9:4000 > 192.0.2.80:82 in eth0 to host", "local in", "reject", 0),
    ("icmp echo-request 203.0.113.9 > 192.0.2.80 in eth0 to host", "local in", "accept", 0),
    ("udp 10.8.0.7:4000 > 203.0.113.9:53 in eth1 out eth0", "forward", "accept", 1),
    ("udp 203.0.113.9:4000 > 10.8.0.7:53 in eth0 out eth1", "forward", "drop", 0),
    ("udp 203.0.113.9:4000 > 10.8.0.7:54 in eth0 out eth1", "forward", "reject", 0),
    ("udp 192.0.2.80:4000 > 203.0.113.9:53 out eth0", "local out", "accept", 1),
    ("udp 192.0.2.80:4000 > 203.0.113.9:99 out eth0", "local out", "drop", 0),
    ("udp 192.0.2.80:4000 > 203.0.113.9:98 out eth0", "local out", "reject", 0),
    ("udp 192.0.2.80:4000 > 192.0.2.80:53 out lo", "loopback", "accept", 1),
    ("tcp [2001:db8:9::9]:4000 > [2001:db8:80::1]:80 in eth0 to host", "local in", "accept", 0),
]


@pytest.fixture(autouse=True)
def lab() -> None:
    demand_lab()


@pytest.mark.parametrize("restore", ["iptables-legacy-restore", "iptables-nft-restore"])
def test_what_the_bench_sees_is_what_the_rules_say(restore: str) -> None:
    shots = [Shot(parse_packet(text), way) for text, way, _, _ in SHOTS]
    found = shoot(LiveSystem(), DEVICES, [Load((restore,), RULES)], shots)
    seen = [(text, one.verdict, one.entries) for (text, _, _, _), one in zip(SHOTS, found, strict=True)]
    assert seen == [(text, verdict, entries) for text, _, verdict, entries in SHOTS]


def test_rules_that_the_kernel_refuses() -> None:
    with pytest.raises(KernelRefused, match=r"refuses the rules: .*iptables-restore"):
        shoot(
            LiveSystem(),
            DEVICES,
            [Load(("iptables-restore",), "*filter\n-A NOWHERE -j ACCEPT\nCOMMIT\n")],
            [],
        )


def test_nothing_stays_behind() -> None:
    before = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    shoot(LiveSystem(), DEVICES, [Load(("iptables-restore",), RULES)], [])
    after = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    assert [line.split()[1] for line in before.splitlines()] == [
        line.split()[1] for line in after.splitlines()
    ]


@pytest.mark.parametrize("example", ["edge", "nat-gateway", "stateless"])
def test_examples_hold_on_the_kernel(example: str) -> None:
    done = notrack("test", "--kernel", str(ROOT / "examples" / example / "site.spec"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "on the model (iptables and nft) and on Linux" in done.stdout


def test_a_failure_says_what_was_seen(tmp_path: Path) -> None:
    spec = tmp_path / "site.spec"
    spec.write_text(
        "site s\ninterface wan = eth0 address 192.0.2.80/24\nservice web tcp 80 on wan\n"
        "client up tcp 443\nexpect drop tcp from 203.0.113.9 to host port 80 on wan\n"
    )
    done = notrack("test", "--kernel", "--format", "json", str(spec))
    assert done.returncode == 1
    (one,) = json.loads(done.stdout)["expectations"]
    assert {probe["rules"]: probe["seen"] for probe in one["kernel"]} == {
        "iptables": "accept",
        "nft": "accept",
    }
    assert all(probe["faults"] == ["accepted, but `drop` is expected"] for probe in one["kernel"])


def test_without_root_in_a_user_namespace() -> None:
    """The bench alone, as nobody: it makes its own user namespace."""
    request = {
        "devices": [{"name": "eth0", "addresses": ["192.0.2.80/24"]}],
        "load": [],
        "probes": [],
    }
    bench = (ROOT / "notrack" / "host" / "bench.py").read_text()
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    done = subprocess.run(
        [*nobody, "/usr/bin/python3", "-I", "-c", bench],
        input=json.dumps(request), capture_output=True, text=True, timeout=60, check=False, cwd="/",
        env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    answer = json.loads(done.stdout)
    if answer.get("stage") == "namespaces":
        pytest.skip(answer["error"])
    assert answer == {"probes": []}
