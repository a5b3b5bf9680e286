"""Compiled sites: datagrams of 6,000 bytes arrive wherever small ones do, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel import packet
from tests.kernel.lab import Lab
from tests.kernel.sites import (
    DMZ,
    DMZ2,
    FAMILIES,
    FRIEND,
    HEAD,
    OFFICE,
    OWN,
    OWN2,
    RESOLVER,
    STRANGER,
    Trial,
    a_town,
)  # fmt: skip

SITE = f"""{HEAD}
service names   udp 53
service game    udp 27000-27010               from any except friend     on world
service second  udp 4000                      at 198.18.0.3, 2001:db8:a::3
service voice   udp 5060                      from staff
client  resolve udp 53                        to asked    untracked
peer    overlay udp 4789                      with friend
trust   all     from 9.9.9.10, 2001:db8:53::10
route   pages   udp 443                       from any to 172.16.9.10, 2001:db8:c::10    untracked
route   asks    udp 53                        from 172.16.9.11, 2001:db8:c::11 to asked  untracked
"""
TRACKED = "service numbers udp 9100 from any tracked\nroute talk udp 7000 from staff to any\n"
BIG = 6000


@pytest.fixture(scope="module")
def town() -> Iterator[Lab]:
    yield from a_town()


@pytest.fixture(params=["stateless", "tracking", "stateless drop", "tracking drop"])
def site(request: pytest.FixtureRequest) -> str:
    """The site with nothing tracked at all, or with something, under both defaults for output."""
    tracking, _, output = str(request.param).partition(" ")
    default = (
        f"default output {output or ('accept' if tracking == 'tracking' else 'accept without replies')}\n"
    )
    return SITE + default + (TRACKED if tracking == "tracking" else "tracking off\n")


def test_big_datagrams_to_and_from_the_host(town: Lab, backend: str, site: str) -> None:
    """Questions and answers in pieces, for services and clients, untracked and tracked."""
    with Trial(town, backend, site) as trial:
        world = town.client
        trial.serve(trial.host, "udp", 53, 27005, 4000, 5060, 4789, 12345)
        trial.serve(world, "udp", 53)
        for family in FAMILIES:
            own = OWN[family]
            trial.reach(world, "udp", own, 53, size=BIG)
            trial.reach(town.peers["office"], "udp", own, 53, size=BIG)
            trial.reach(world, "udp", own, 27005, src=STRANGER[family], size=BIG)
            trial.reach(world, "udp", OWN2[family], 4000, size=BIG)
            trial.reach(town.peers["office"], "udp", own, 5060, size=BIG)
            trial.reach(world, "udp", own, 12345, src=RESOLVER[family], size=BIG)
            trial.reach(world, "udp", own, 4789, src=FRIEND[family], size=BIG)
            trial.reach(trial.host, "udp", RESOLVER[family], 53, sport=41000, size=BIG)
        trial.no_entries("of untracked datagrams in pieces")
        if "tracking off" not in site:
            trial.serve(trial.host, "udp", 9100)
            trial.reach(world, "udp", OWN[4], 9100, size=BIG)
            trial.reach(world, "udp", OWN[6], 9100, size=BIG)
            trial.only_entries(lambda entry: entry.dport == 9100 and entry.replied)


def test_big_datagrams_to_nobody(town: Lab, backend: str, site: str) -> None:
    """In pieces nothing comes in that may not come in whole."""
    with Trial(town, backend, site) as trial:
        world = town.client
        trial.serve(trial.host, "udp", 161, 27005, 4000, 5060, 4789)
        for family in FAMILIES:
            own = OWN[family]
            trial.reach(world, "udp", own, 27005, src=STRANGER[family], size=BIG)
            trial.miss(world, "udp", own, 161, src=STRANGER[family], size=BIG)
            trial.miss(world, "udp", own, 27005, src=FRIEND[family], size=BIG)
            trial.miss(world, "udp", own, 4000, src=STRANGER[family], size=BIG)
            trial.miss(world, "udp", own, 5060, src=STRANGER[family], size=BIG)
            trial.miss(world, "udp", own, 4789, src=STRANGER[family], size=BIG)
        trial.no_entries("of refused datagrams")


def test_big_datagrams_through_the_host(town: Lab, backend: str, site: str) -> None:
    """Untracked routes pass fragments and those of the answers; closed ways stay closed for first pieces."""
    with Trial(town, backend, site) as trial:
        world, office, dmz = town.client, town.peers["office"], town.peers["dmz"]
        trial.serve(dmz, "udp", 443, 444)
        trial.serve(world, "udp", 53, 7000)
        trial.serve(office, "udp", 443)
        for family in FAMILIES:
            trial.reach(world, "udp", DMZ[family], 443, size=BIG)
            trial.reach(office, "udp", DMZ[family], 443, size=BIG)
            trial.reach(dmz, "udp", RESOLVER[family], 53, src=DMZ2[family], size=BIG)
            trial.miss(world, "udp", DMZ[family], 444, size=BIG, at=dmz)
            trial.miss(world, "udp", DMZ2[family], 443, size=BIG, at=dmz)
            trial.miss(world, "udp", OFFICE[family], 443, size=BIG, at=office)
            trial.miss(dmz, "udp", STRANGER[family], 53, src=DMZ2[family], size=BIG, at=world)
        trial.no_entries("of untracked routes")
        if "tracking off" not in site:
            for family in FAMILIES:
                trial.reach(office, "udp", STRANGER[family], 7000, size=BIG)
            trial.only_entries(lambda entry: entry.dport == 7000 and entry.replied)


def test_pieces_out_of_order(town: Lab, backend: str, site: str) -> None:
    """The last piece may come first; without a first piece that may come in nothing is delivered."""
    with Trial(town, backend, site) as trial:
        trial.serve(trial.host, "udp", 53, 161)
        for family in FAMILIES:
            for port, expected in ((53, 1), (161, 0)):
                whole = packet.udp(STRANGER[family], 5000, OWN[family], port, bytes(4000))
                pieces = packet.fragments(whole, ident=100 + port)
                trial.seen(trial.host, "udp", port)
                town.client.send(list(reversed(pieces)))
                trial.same(f"to {port}", len(trial.seen(trial.host, "udp", port)), expected)
