"""Compiled sites: where nothing needs tracking, nothing is named that could turn it on, and nothing does."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.kernel.lab import Lab
from tests.kernel.sites import (
    DMZ,
    FAMILIES,
    HEAD,
    NEAR,
    OFFICE,
    OWN,
    RESOLVER,
    STRANGER,
    Trial,
    a_town,
    compiled,
)  # fmt: skip

PLAIN = f"""{HEAD}
service web     tcp 80, 443; udp 443      on world
service names   udp 53; tcp 53
service shell   tcp 22                    from staff      limit 100/second per source
client  resolve udp 53; tcp 53            to asked        untracked
peer    overlay udp 4789                  with staff
route   pages   tcp 80   from any except 172.16.5.0/24 to 172.16.9.10, 2001:db8:c::10   untracked
trust   friends                           from friend
icmp    ping    echo-request              from any
default input   reject
"""
OUTPUTS = ("accept without replies", "drop")
NAT = "network inside = 172.16.5.0/24\nroute out-four from inside to any out world\n" \
    "masquerade out-nat from inside out world\n"  # fmt: skip


@pytest.fixture(scope="module")
def town() -> Iterator[Lab]:
    yield from a_town()


def bare(text: str) -> str:
    """The rules without comments, names of tables and what they are called."""
    text = re.sub(r'comment "[^"]*"|--comment ("[^"]*"|\S+)', "", text)
    lines = [line.partition("#")[0] for line in text.splitlines()]
    return "\n".join(line for line in lines if not re.match(r"\s*(table|add table|delete table) ", line))


STATEFUL = re.compile(
    r"\bct\b|conntrack|ctstate|--state|NOTRACK|notrack|\bCT\b|nat\b|NAT|MASQ|masq|connlimit"
)


def family_texts(texts: dict[str, str], family: int) -> list[str]:
    """The rules of one family, by each target: of nft those of its table."""
    tables = re.split(r"(?m)^(?=add table )", texts["nft"])
    word = "ip6" if family == 6 else "ip"
    mine = [part for part in tables if part.startswith(f"add table {word} ")]
    assert len(mine) == 1
    return [bare(texts["ip6tables" if family == 6 else "iptables"]), bare(mine[0])]


@pytest.mark.parametrize("output", OUTPUTS)
def test_nothing_that_tracks_is_named(output: str) -> None:
    """No state, no NOTRACK, no nat where nothing needs tracking; in IPv6 also beside IPv4 translation."""
    texts = compiled(f"{PLAIN}default output {output}\ntracking off\n")
    for family in FAMILIES:
        for text in family_texts(texts, family):
            assert not STATEFUL.findall(text), text
    texts = compiled(f"{PLAIN}{NAT}default output {output}\n")
    for text in family_texts(texts, 6):
        assert not STATEFUL.findall(text), text
    for text in family_texts(texts, 4):
        assert STATEFUL.findall(text), text


@pytest.mark.parametrize("more", ["tracking off\n", NAT], ids=["alone", "nat-beside"])
@pytest.mark.parametrize("output", OUTPUTS)
def test_nothing_is_tracked(town: Lab, backend: str, output: str, more: str) -> None:
    """Hundreds of connections of every kind, and the table stays empty (of IPv6, beside IPv4 NAT)."""
    families = FAMILIES if more != NAT else (6,)
    with Trial(town, backend, f"{PLAIN}{more}default output {output}\n") as trial:
        world, office, dmz = town.client, town.peers["office"], town.peers["dmz"]
        trial.serve(trial.host, "tcp", 80, 443, 53, 22, 5000)
        trial.serve(trial.host, "udp", 443, 53, 4789)
        trial.serve(world, "udp", 53, 9999)
        trial.serve(world, "tcp", 53)
        trial.serve(dmz, "tcp", 80)
        own = [OWN[family] for family in families]
        trial.crowd(world, "tcp", [(dst, port) for dst in own for port in (80, 443, 53)], 150)
        trial.crowd(world, "udp", [(dst, port) for dst in own for port in (443, 53)], 100)
        trial.crowd(world, "tcp", [(DMZ[family], 80) for family in families], 50)
        trial.crowd(trial.host, "tcp", [(RESOLVER[family], 53) for family in families], 50)
        for family in families:
            dst, friend = OWN[family], {4: "203.0.113.88", 6: "2001:db8:88::8"}[family]
            trial.reach(office, "tcp", dst, 22)
            trial.reach(world, "tcp", dst, 5000, src=friend)
            trial.reach(trial.host, "udp", RESOLVER[family], 53, sport=41000, size=6000)
            trial.reach(trial.host, "tcp", dst, 80)
            office.udp_send(dst, 4789)
            trial.same("overlay", len(trial.seen(trial.host, "udp", 4789)), 1)
            trial.host.udp_send(OFFICE[family], 4789, sport=5001)
            trial.same("ping", world.ping(dst, size=3000), True)
            trial.miss(world, "tcp", dst, 22, src=NEAR[family], outcome="refused")
            trial.miss(world, "udp", dst, 161, outcome="refused")
            trial.miss(world, "tcp", dst, 5000, src=STRANGER[family], outcome="refused")
            trial.note(not trial.host.udp(STRANGER[family], 9999).ok, "an answer from a stranger")
        trial.no_entries("where nothing needs tracking")
        if more != NAT:
            trial.same("count", town.conntrack_count(), 0)


def test_filter_stands_before_raw(town: Lab) -> None:
    """The restore files accept before they untrack, so that there is no moment without acceptance."""
    for site, coexist in ((PLAIN + NAT, False), (PLAIN + "default output drop\n", True), (PLAIN + NAT, True)):
        texts = compiled(site, coexist=coexist)
        for target in ("iptables", "ip6tables"):
            tables = re.findall(r"(?m)^\*(\w+)", texts[target])
            assert "filter" in tables
            if "raw" in tables:
                assert tables.index("filter") < tables.index("raw"), tables
        assert "*raw" in texts["iptables"]
