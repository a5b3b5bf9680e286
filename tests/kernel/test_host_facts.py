"""`notrack facts` on a host in the lab."""

from __future__ import annotations

import json
import sys

from tests.conftest import ROOT
from tests.kernel.lab import LAN, WAN, Lab


def test_facts_are_those_of_the_namespace(lab: Lab) -> None:
    lab.host.sysctl("net.ipv4.ip_local_port_range", "40000 50000")
    done = lab.host.run("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "notrack", "facts")
    found = json.loads(done.out)
    held = {interface["name"]: interface["addresses"] for interface in found["interfaces"]}
    assert f"{WAN.host_address(4)}/24" in held["eth0"] and f"{WAN.host_address(6)}/64" in held["eth0"]
    assert f"{LAN.host_address(4)}/24" in held["eth1"]
    assert found["forwards_ipv4"] is True and found["ephemeral"] == [[40000, 50000]]
    assert found["tracking_elsewhere"] is False
    assert ["0.0.0.0/0", "eth0"] in found["routes"] and ["10.8.0.0/24", "eth1"] in found["routes"]
    assert ["::/0", "eth0"] in found["routes"] and ["2001:db8:8::/64", "eth1"] in found["routes"]


def test_routes_by_policy_are_not_told(lab: Lab) -> None:
    lab.host.run("ip", "rule", "add", "fwmark", "1", "lookup", "main")
    try:
        done = lab.host.run("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "notrack", "facts")
    finally:
        lab.host.run("ip", "rule", "del", "fwmark", "1")
    assert json.loads(done.out)["routes"] is None
