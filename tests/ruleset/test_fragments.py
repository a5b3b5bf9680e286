"""Later fragments where nothing puts them together: what each kind of rules sees of them."""

from __future__ import annotations

import pytest

from notrack.netfilter.model import Model
from notrack.netfilter.walk import Trace, walk
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.packets.fields import Field, Fragment
from notrack.packets.packet_set import PacketSet
from notrack.packets.packet_text import parse_packet
from notrack.ruleset import core
from notrack.ruleset.formats import read_any
from notrack.text.source import Source

PACKETS = {
    Family.IPV4: "udp 192.0.2.9 > 198.51.100.1 in eth0 out eth1 fragment later",
    Family.IPV6: "udp 2001:db8::9 > 2001:db8:1::1 in eth0 out eth1 fragment later",
}
FAMILIES = pytest.mark.parametrize("family", list(Family))


def native(*rules: str) -> core.Ruleset:
    body = "\n".join(rules)
    text = f"table inet t {{\nchain f {{\ntype filter hook forward priority 0; policy drop;\n{body}\n}}\n}}\n"
    return read_any(Source("rules.nft", text)).ruleset


def fate(ruleset: core.Ruleset, family: Family) -> tuple[bool, bool]:
    """Whether a later fragment may pass, and whether it must; the trace agrees for both truths of a fact."""
    packet = parse_packet(PACKETS[family])
    model = Model(ruleset, family)
    passage = model.passage(Way.FORWARD)
    later = PacketSet.where(model.space, Field.FRAGMENT, Fragment.LATER)
    udp = PacketSet.where(model.space, Field.PROTOCOL, 17)
    asked = passage.packets & later & udp
    passed = passage.accepted(asked)
    may, must = bool(passed.may()), asked.may() <= passed.must()
    traces = [walk(ruleset, packet, default=default, way=Way.FORWARD) for default in (False, True)]
    assert may == any(_passes(trace) for trace in traces)
    assert must == all(_passes(trace) for trace in traces)
    return may, must


def _passes(trace: Trace) -> bool:
    return trace.verdict == "accept"


NO, MAYBE, YES = (False, False), (True, False), (True, True)


@FAMILIES
@pytest.mark.parametrize(
    "rule",
    [
        "udp dport 53 accept",
        "udp dport { 53, 99 } accept",
        "udp dport 50-60 accept",
        "meta l4proto udp th dport 53 accept",
        "udp sport . udp dport { 53 . 53 } accept",
        "udp dport vmap { 53 : accept }",
    ],
)
def test_nft_may_find_any_port_in_a_later_fragment(rule: str, family: Family) -> None:
    assert fate(native(rule), family) == MAYBE


@FAMILIES
def test_a_negated_port_of_nft_is_a_guess_too(family: Family) -> None:
    assert fate(native("udp dport != 53 accept"), family) == MAYBE
    assert fate(native("udp dport 53 accept", "udp dport != 53 accept"), family) == YES


@FAMILIES
@pytest.mark.parametrize("rule", ["tcp dport 53 accept", "meta l4proto tcp th dport 53 accept"])
def test_another_protocol_stays_another_one(rule: str, family: Family) -> None:
    assert fate(native(rule), family) == NO


@FAMILIES
def test_what_asks_for_no_port_is_as_exact_as_ever(family: Family) -> None:
    assert fate(native("meta l4proto udp accept"), family) == YES


@FAMILIES
def test_the_address_beside_the_port_still_counts(family: Family) -> None:
    rules = {
        Family.IPV4: "ip saddr . udp dport { 203.0.113.1 . 53 } accept",
        Family.IPV6: "ip6 saddr . udp dport { 2001:db8:ffff::1 . 53 } accept",
    }
    model = Model(native(rules[family]), family)
    passage = model.passage(Way.FORWARD)
    later = PacketSet.where(model.space, Field.FRAGMENT, Fragment.LATER)
    sources = (passage.accepted() & later).may().project(Field.SOURCE)
    assert sources.size() == 1


@FAMILIES
@pytest.mark.parametrize("more", ["ct state new accept", "meta l4proto tcp tproxy to :1"])
def test_where_fragments_are_put_together_ports_are_exact(more: str, family: Family) -> None:
    body = f"chain p {{\ntype filter hook prerouting priority mangle;\nip saddr 203.0.113.1 {more}\n}}"
    ruleset = native("udp dport 53 accept", f"}}\n{body}\nchain q {{")
    passage = Model(ruleset, family).passage(Way.FORWARD)
    assert passage.packets.project(Field.FRAGMENT).size() == 1
    assert not any("fragment" in name for name in passage.accepted().facts())
    trace = walk(ruleset, parse_packet(PACKETS[family]), default=True, way=Way.FORWARD)
    assert not any("fragment" in name for name, _ in trace.assumed)
