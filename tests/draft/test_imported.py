"""A draft of a site from rules: what it says, what it says that it cannot say, and what it compiles to."""

from __future__ import annotations

from pathlib import Path

import pytest

from notrack.draft.imported import Draft, imported
from notrack.layout.output import FILES, emit
from notrack.netfilter.host import UNKNOWN_HOST
from notrack.netfilter.ways import Way
from notrack.packets.fields import AddressType, Field
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.plan.planner import plan
from notrack.proof.difference import VERDICT, difference
from notrack.proof.difference_roles import Role
from notrack.resource import resource
from notrack.ruleset.core import Ruleset
from notrack.ruleset.formats import read_all
from notrack.site import load_text
from notrack.site.writer import write
from notrack.text.source import Source
from tests.draft.test_untrack import DEBIAN, JUMPS, NFT, RHEL, SYN

GATEWAY = """\
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -i eth0 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.8.0.5:8080
-A PREROUTING -i eth1 -p tcp -m tcp --dport 3128 -j REDIRECT --to-ports 3129
-A POSTROUTING -s 10.8.0.0/24 -o eth0 -j MASQUERADE
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i eth1 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -s 198.51.100.0/24 -j ACCEPT
-A INPUT -p udp -m udp --dport 51820 -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i eth1 -o eth0 -j ACCEPT
-A FORWARD -i eth0 -d 10.8.0.5 -p tcp -m tcp --dport 8080 -m conntrack --ctstate DNAT -j ACCEPT
COMMIT
"""


def rules(text: str, name: str = "rules.v4") -> Ruleset:
    return read_all([Source(name, text)]).ruleset


def said(draft: Draft) -> list[str]:
    """The lines of the draft's text, without the first."""
    return [line for line in write(draft.site).splitlines() if line][1:]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            RHEL,
            [
                "default input reject",
                "default forward reject",
                "service ssh tcp 22 ipv4",
                "service dns tcp 53; udp 53 ipv4",
                "icmp ping echo-request ipv4",
            ],
        ),
        (
            DEBIAN,
            [
                "default output drop",
                "block blocked from 192.0.2.66",
                "service ssh tcp 22 ipv4",
                "service web tcp 80, 443 ipv4",
                "service dns udp 53 from 10.0.0.0/8 ipv4",
                "client to-dns udp 53 ipv4",
            ],
        ),
        (JUMPS, ["service ssh tcp 22 ipv4", "service dns udp 53 ipv4"]),
        (
            NFT,
            [
                "service ssh tcp 22",
                "service web tcp 80",
                "service dns udp 53 from 10.0.0.0/8 ipv4",
                "service ntp udp 123",
                "icmp ping echo-request",
            ],
        ),
        (
            GATEWAY,
            [
                "interface eth1 = eth1",
                "interface eth0 = eth0",
                "service ssh tcp 22 from 198.51.100.0/24 ipv4",
                "service wireguard udp 51820 ipv4",
                "trust trusted on eth1 ipv4",
                "icmp ping echo-request on eth1 ipv4",
                "route anything on eth1 out eth0 ipv4",
                "masquerade hidden from 10.8.0.0/24 out eth0 ipv4",
                "publish inside tcp 80 on eth0 to 10.8.0.5 port 8080 ipv4",
                "redirect here tcp 3128 on eth1 to port 3129 ipv4",
            ],
        ),
    ],
    ids=["rhel", "debian", "jumps", "nft", "gateway"],
)
def test_a_draft_says_what_the_rules_let_through(text: str, lines: list[str]) -> None:
    draft = imported(rules(text), UNKNOWN_HOST)
    assert sorted(said(draft)) == sorted(lines)
    assert draft.unsaid == ()


def test_firewalld() -> None:
    text = (resource("rulesets") / "good-firewalld" / "rules.nft").read_text()
    lines = said(imported(rules(text), UNKNOWN_HOST))
    for line in (
        "default input reject",
        "default forward reject",
        "service ssh tcp 22",
        "service web tcp 443",
    ):
        assert line in lines
    assert not [line for line in lines if "default output" in line]


def test_what_cannot_be_said_is_said() -> None:
    text = SYN.replace(
        "-A INPUT -p icmp",
        "-A INPUT -m mac --mac-source 02:00:00:00:00:07 -p udp -j ACCEPT\n-A INPUT -p icmp",
    )
    draft = imported(rules(text), UNKNOWN_HOST)
    assert any("MAC addresses" in words for words in draft.unsaid)
    assert "service web tcp 80 ipv4" in said(draft)


@pytest.mark.parametrize(
    "text", [RHEL, DEBIAN, JUMPS, SYN, NFT], ids=["rhel", "debian", "jumps", "syn", "nft"]
)
def test_the_compiled_draft_opens_to_the_same(text: str) -> None:
    """What may open a flow to the host's own addresses is the same, requests of ICMP but echo aside."""
    before = rules(text)
    site, _ = load_text(write(imported(before, UNKNOWN_HOST).site), "draft", Path())
    made = plan(site)
    after = read_all(
        [Source(FILES[name], emit(made, name).text) for name in ("iptables", "ip6tables")]
    ).ruleset
    there = {family for table in before.tables for family in table.families}
    for family in there:
        for change in difference(before, after, family).of_kind(VERDICT):
            if change.role is Role.OPENING and change.way is Way.LOCAL_IN:
                space = change.packets.space
                own = PacketSet.where(space, Field.DESTINATION_TYPE, AddressType.LOCAL)
                icmp = PacketSet.where(space, Field.PROTOCOL, IntervalSet(((1, 1), (58, 58))))
                assert not (change.packets & own) - icmp, change.witness()
