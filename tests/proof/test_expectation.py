"""Expectations on the model: which packets they mean, what fails, and that both forms of the rules agree."""

from __future__ import annotations

import pytest

from notrack.cli.ruleside import compiled
from notrack.packets.address import Family
from notrack.packets.intervals import IntervalSet
from notrack.plan.planner import plan
from notrack.proof.expectation import Verdict, judged, within_limits
from notrack.proof.expectation_cases import cases, some
from notrack.proof.sitehost import site_hosts
from notrack.report.expectation import Outcome, as_json, as_text
from notrack.ruleset.formats import read_all
from notrack.site import load_text
from notrack.text.source import Source

SITE = """\
site edge
interface wan = eth0 address 192.0.2.80/24, 2001:db8:80::1/64
interface lan = eth1 address 10.8.0.1/24, 2001:db8:8::1/64
network office = 198.51.100.0/24, 2001:db8:51::/48
service web tcp 80 on wan
service dns udp 53 on wan limit 20/second
service ssh tcp 22 from office
service metrics tcp 9100 from office tracked
client resolve udp 53 to 9.9.9.9 untracked
route lan-out from 10.8.0.0/24 to any on lan out wan
masquerade lan-nat from 10.8.0.0/24 out wan
publish shop tcp 8443 on wan to 10.8.0.5 port 443
icmp ping echo-request
block bad from 203.0.113.66 on wan
"""


def verdicts(*lines: str, site: str = SITE) -> list[Verdict]:
    made, _ = load_text(site + "".join(f"expect {line}\n" for line in lines), "edge.spec")
    found = plan(made)
    rulesets = {form: compiled(found, form) for form in ("iptables", "nft")}
    return judged(made, rulesets, site_hosts(made))


@pytest.mark.parametrize(
    "line",
    [
        "untracked accept tcp from 203.0.113.9 to host port 80 on wan",
        "accept tcp from any to host port 80 on wan",
        "untracked accept udp from 203.0.113.9 to host port 53 on wan",
        "tracked accept tcp from office to host port 9100 on wan",
        "drop tcp from 203.0.113.9 to host port 22",
        "accept tcp from office to host port 22",
        "untracked accept udp from 9.9.9.9 port 53 to host on wan",
        "drop udp from 9.9.9.8 port 53 to host on wan",
        "drop tcp from 203.0.113.9 to host port 443 flags syn",
        "accept udp from host to 9.9.9.9 port 53",
        "tracked accept tcp from host to 9.9.9.9 port 443 out wan",
        "tracked accept tcp from 10.8.0.7 to 203.0.113.9 port 443",
        "drop tcp from 203.0.113.9 to 10.8.0.7 port 443 on wan out lan",
        "tracked accept tcp from 203.0.113.9 to 192.0.2.80 port 8443 on wan",
        "accept icmp from 203.0.113.9 to host on wan",
        "accept icmp echo-request from 2001:db8:9::9 to host",
        "drop tcp from 203.0.113.66 to host port 80 on wan",
        "untracked drop tcp from 203.0.113.66 to host port 80 on wan",
        "drop proto gre from 203.0.113.9 to host",
        "accept tcp from host to host port 9999",
    ],
)
def test_what_holds(line: str) -> None:
    (verdict,) = verdicts(line)
    assert verdict.holds, [(form, str(check.packet), check.faults) for form, check in verdict.checks]
    assert {form for form, _ in verdict.checks} == {"iptables", "nft"}


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (
            "tracked accept tcp from 203.0.113.9 to host port 80 on wan",
            "untracked, but `tracked` is expected",
        ),
        ("untracked accept tcp from office to host port 9100 on wan", "tracked, but `untracked` is expected"),
        ("accept tcp from 203.0.113.9 to host port 22", "dropped, but `accept` is expected"),
        ("drop tcp from 203.0.113.9 to host port 80 on wan", "accepted, but `drop` is expected"),
        ("reject tcp from 203.0.113.9 to host port 22", "dropped, but `reject` is expected"),
    ],
)
def test_what_fails_says_why(line: str, fault: str) -> None:
    (verdict,) = verdicts(line)
    assert not verdict.holds
    assert {check.faults for _, check in verdict.checks} == {(fault,)}


def test_both_families_of_a_network_are_tried() -> None:
    (verdict,) = verdicts("accept tcp from office to host port 22 on wan")
    assert {check.packet.family for _, check in verdict.checks} == set(Family)
    (one,) = verdicts("accept icmp from 2001:db8:9::9 to host")
    assert {check.packet.protocol for _, check in one.checks} == {58}


def test_an_open_device_is_the_one_on_whose_link_the_address_is_or_all() -> None:
    made, _ = load_text(SITE + "expect accept tcp from 10.8.0.7 to host port 80\n", "edge.spec")
    assert {case.packet.in_interface for case in cases(made, made.expectations[0])} == {"eth1"}
    made, _ = load_text(SITE + "expect accept tcp from 203.0.113.9 to host port 80\n", "edge.spec")
    assert {case.packet.in_interface for case in cases(made, made.expectations[0])} == {"eth0", "eth1"}


def test_a_rate_is_not_reached() -> None:
    text = """*filter
-A INPUT -m limit --limit 5/min -j ACCEPT
-A INPUT -m hashlimit --hashlimit-above 5/min --hashlimit-name x -j DROP
-A INPUT -m connlimit --connlimit-above 5 -j DROP
-A INPUT -m string --string x --algo bm -j DROP
COMMIT
"""
    held = within_limits(read_all([Source("rules.v4", text)]).ruleset)
    assert [name.split(" --")[0] for name in held] == ["-m limit", "-m connlimit"]
    assert not any("above" in name for name in held)


def test_representatives_of_a_set() -> None:
    assert some(IntervalSet(((0, 2**32 - 1),)), Family.IPV4) == [0xCB007109]
    low = 0x0A080000
    assert some(IntervalSet(((low, low + 255),)), Family.IPV4) == [low + 1]
    assert some(IntervalSet(((low, low), (low + 9, low + 9))), Family.IPV4) == [low, low + 9]


def test_text_of_a_failure_shows_the_whole_way() -> None:
    found = [
        Outcome(one)
        for one in verdicts(
            "accept tcp from 203.0.113.9 to host port 22 on wan",
            "accept tcp from 203.0.113.9 to host port 80 on wan",
        )
    ]
    text = as_text(found, ("iptables", "nft"), None)
    assert text.startswith(
        "FAILED  edge.spec:15: expect accept tcp from 203.0.113.9 to host port 22 on wan\n"
    )
    assert (
        "  tcp 203.0.113.9:40000 > 192.0.2.80:22 in eth0 to host flags syn (iptables and nft): dropped"
        in text
    )
    assert "DROPPED in input, by the policy of filter INPUT" in text
    assert text.endswith("1 of 2 expectations failed, on the model (iptables and nft)\n")
    assert "ok      edge.spec:16" in as_text(found, ("iptables", "nft"), None, every=True)
    made = as_json(found, ("iptables", "nft"), None)
    assert made["failed"] == 1 and made["schema_version"] == 1


def test_a_site_without_expectations_says_how_to_write_one() -> None:
    assert "write `expect accept tcp" in as_text([], ("iptables",), None)
