"""Compiled sites: what is routed, untracked in both directions or tracked, and what is not."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from tests.kernel import packet
from tests.kernel.lab import Lab
from tests.kernel.node import Node
from tests.kernel.sites import (
    DMZ,
    DMZ2,
    FAMILIES,
    FRIEND,
    HEAD,
    OFFICE,
    OWN,
    OWN_DMZ,
    RESOLVER,
    STRANGER,
    Trial,
    a_town,
    put,
)  # fmt: skip

ROUTER = f"""{HEAD}
network pages-at = 172.16.9.10, 2001:db8:c::10
network names-at = 172.16.9.11, 2001:db8:c::11
route pages    tcp 80, 443             from any to pages-at                  untracked
route names    udp 53; tcp 53          from any to names-at                  untracked
route outward  tcp 81, 8080; udp 123   from staff to any    on office out world
service shell  tcp 22                  from staff
default forward drop
"""


@pytest.fixture(scope="module")
def town() -> Iterator[Lab]:
    yield from a_town()


def serve(trial: Trial) -> None:
    town = trial.lab
    trial.serve(town.peers["dmz"], "tcp", 80, 443, 53, 22, 81)
    trial.serve(town.peers["dmz"], "udp", 53, 123)
    trial.serve(town.client, "tcp", 81, 8080, 80)
    trial.serve(town.client, "udp", 123, 53)
    trial.serve(town.peers["office"], "tcp", 80, 22)
    trial.serve(town.peers["office"], "udp", 123)


@pytest.mark.parametrize("output", ["accept", "drop"])
def test_untracked_routes_leave_no_entries(town: Lab, backend: str, output: str) -> None:
    """Hundreds of forwarded connections, from outside and from the office, and nothing in the table."""
    with Trial(town, backend, f"{ROUTER}default output {output}\n") as trial:
        serve(trial)
        goals = [(DMZ[family], port) for family in FAMILIES for port in (80, 443)]
        goals += [(DMZ2[family], 53) for family in FAMILIES]
        trial.crowd(town.client, "tcp", goals, 200, [*STRANGER.values(), *FRIEND.values()])
        trial.crowd(town.peers["office"], "tcp", goals, 60)
        trial.crowd(town.client, "udp", [(DMZ2[family], 53) for family in FAMILIES], 100)
        trial.no_entries("of untracked routes")


def test_tracked_routes_have_entries(town: Lab, backend: str) -> None:
    """Auto is tracked where a forged answer would get in; what nobody routes is dropped."""
    with Trial(town, backend, ROUTER) as trial:
        serve(trial)
        world, office, dmz = town.client, town.peers["office"], town.peers["dmz"]
        for family in FAMILIES:
            stranger, desk = STRANGER[family], OFFICE[family]
            trial.reach(office, "tcp", stranger, 81, src=desk)
            trial.reach(office, "tcp", stranger, 8080, src=desk, sport=22)
            trial.reach(office, "udp", stranger, 123, src=desk)
        trial.only_entries(lambda entry: entry.src in OFFICE.values() and entry.replied)
        trial.same("entries", len(trial.entries()), 6)
        for family in FAMILIES:
            trial.miss(world, "tcp", DMZ[family], 22, at=dmz)
            trial.miss(world, "udp", DMZ[family], 53, at=dmz)
            trial.miss(world, "tcp", DMZ2[family], 80, at=dmz)
            trial.miss(world, "tcp", OFFICE[family], 80, at=office)
            trial.miss(world, "udp", OFFICE[family], 123, sport=123, at=office)
            trial.miss(world, "tcp", OFFICE[family], 22, sport=81, at=office)
            trial.miss(office, "tcp", DMZ[family], 81, at=dmz)
            trial.miss(office, "tcp", STRANGER[family], 80, at=world)
            trial.miss(dmz, "tcp", STRANGER[family], 80, at=world)
            trial.miss(dmz, "tcp", STRANGER[family], 81, at=world)
            trial.miss(dmz, "tcp", OFFICE[family], 22, at=office)
            trial.miss(world, "tcp", OWN_DMZ[family], 80)
            trial.miss(world, "tcp", OWN[family], 53)


def passed(sender: Node, catcher: Node, packets: list[bytes]) -> list[tuple[str, int, int, str]]:
    """Which of these were forwarded."""
    far = catcher.sniff()
    put(sender, packets)
    kinds = (packet.TCP, packet.UDP)
    sources = {packet.parse(one).src for one in packets}
    came = [one for one in far.packets() if one.proto in kinds and one.src in sources]
    far.close()
    return [(one.src, one.sport, one.dport, one.flags) for one in came]


def test_mirrors_let_no_bare_syn_through(town: Lab, backend: str) -> None:
    """From a served port answers go anywhere, but open nothing; forged answers to others get nowhere."""
    with Trial(town, backend, ROUTER) as trial:
        dmz, world, office = town.peers["dmz"], town.client, town.peers["office"]
        for family in FAMILIES:
            pages, names, stranger, desk = DMZ[family], DMZ2[family], STRANGER[family], OFFICE[family]
            out = [
                packet.tcp(pages, 80, stranger, 5000 + at, flags) for at, flags in enumerate(("S", "SA", "A"))
            ]
            out += [packet.tcp(names, 53, stranger, 5003, "S"), packet.tcp(names, 53, stranger, 5004, "R")]
            out += [packet.udp(names, 53, stranger, 5005), packet.udp(names, 54, stranger, 5006)]
            out += [packet.udp(pages, 53, stranger, 5007), packet.tcp(pages, 22, stranger, 5008, "SA")]
            trial.same(
                "answers out",
                passed(dmz, world, out),
                [
                    (pages, 80, 5001, "SA"),
                    (pages, 80, 5002, "A"),
                    (names, 53, 5004, "R"),
                    (names, 53, 5005, ""),
                ],
            )
            asked = RESOLVER[family]
            forged = [packet.udp(stranger, 123, desk, 123), packet.udp(asked, 53, desk, 40000)]
            forged += [packet.tcp(stranger, 81, desk, 40000, flags) for flags in ("S", "SA", "A", "R")]
            trial.same("forged answers", passed(world, office, forged), [])
            inward = [packet.tcp(stranger, 5000, pages, 80, "S"), packet.udp(stranger, 5000, names, 53)]
            trial.same("questions", len(passed(world, dmz, inward)), 2)


def test_the_router_asks_the_same_servers(town: Lab, backend: str) -> None:
    """The router's own connections to servers that it routes to untracked are not half tracked."""
    with Trial(town, backend, ROUTER) as trial:
        serve(trial)
        trial.serve(trial.host, "tcp", 80)
        trial.watch(4, 6)
        for family in FAMILIES:
            for _ in range(3):
                trial.reach(trial.host, "tcp", DMZ[family], 80, sport=41000)
                trial.reach(trial.host, "udp", DMZ2[family], 53, sport=41000)
        half = [entry.line for entry in trial.entries() if not entry.replied]
        trial.same("half tracked", half, [])
        trial.same("INVALID packets", trial.invalid(), 0)


OPEN = f"""{HEAD}
route all from any to any
service web tcp 80, 8443 on world
default output accept without replies
"""
NUMBERS = "service numbers tcp 9100 from staff tracked\n"


@pytest.mark.parametrize("more", ["", NUMBERS, NUMBERS + "route inward tcp 7777 from any to staff tracked\n"])
def test_from_any_to_any_is_untracked(town: Lab, backend: str, more: str) -> None:
    """An open route is untracked by itself, beside a tracked service too; the host stays closed."""
    with Trial(town, backend, OPEN + more) as trial:
        serve(trial)
        trial.serve(trial.host, "tcp", 80, 22)
        world, office, dmz = town.client, town.peers["office"], town.peers["dmz"]
        for family in FAMILIES:
            goals = [(DMZ[family], port) for port in (80, 443, 22)]
            trial.crowd(world, "tcp", goals, 30)
            trial.crowd(office, "tcp", [*goals, (STRANGER[family], 80)], 40)
            trial.crowd(dmz, "udp", [(OFFICE[family], 123), (STRANGER[family], 53)], 40)
            trial.reach(world, "udp", DMZ[family], 53, size=6000)
            trial.same("ping", world.ping(OFFICE[family], size=3000), True)
            trial.reach(world, "tcp", OWN[family], 80)
            trial.miss(world, "tcp", OWN[family], 22)
            trial.miss(world, "tcp", OWN_DMZ[family], 22)
        trial.no_entries("of an open route")


@pytest.mark.parametrize("more", ["", NUMBERS])
def test_default_forward_accept(town: Lab, backend: str, more: str) -> None:
    """Everything is forwarded, in both families and both directions; a block still stands."""
    site = f"{HEAD}service web tcp 80\nblock bad from friend\ndefault forward accept\n{more}"
    with Trial(town, backend, site) as trial:
        serve(trial)
        world, office, dmz = town.client, town.peers["office"], town.peers["dmz"]
        for family in FAMILIES:
            trial.reach(world, "tcp", DMZ[family], 22)
            trial.reach(office, "udp", STRANGER[family], 123)
            trial.reach(dmz, "tcp", OFFICE[family], 80)
            trial.miss(world, "tcp", DMZ[family], 22, src=FRIEND[family], at=dmz)
            trial.miss(office, "udp", FRIEND[family], 123, at=office)
            trial.miss(world, "tcp", OWN[family], 22)


@pytest.mark.parametrize("tracking", ["", "tracked", "untracked"])
def test_mss_is_clamped(town: Lab, backend: str, tracking: str) -> None:
    """`mss pmtu`: forwarded SYNs, both ways, announce no more than the narrower link carries."""
    site = f"{HEAD}route outward tcp 80 from staff to any on office out world mss pmtu {tracking}\n"
    with Trial(town, backend, site) as trial:
        world, office = town.client, town.peers["office"]
        trial.serve(world, "tcp", 80)
        trial.host.run("ip", "link", "set", "out0", "mtu", "1300")
        try:
            for family in FAMILIES:
                there, back = world.sniff(), office.sniff()
                trial.reach(office, "tcp", STRANGER[family], 80)
                for what, catcher in (("SYN", there), ("SYN/ACK", back)):
                    trial.same(
                        f"MSS of a {what}", announced(catcher.node, catcher._handle), [expected(family)]
                    )
                    catcher.close()
        finally:
            trial.host.run("ip", "link", "set", "out0", "mtu", "1500")


def expected(family: int) -> int:
    return 1300 - (40 if family == 4 else 60)


def announced(node: Node, handle: int) -> list[int]:
    """The segment sizes that SYNs announced."""
    sizes = []
    for data, _ in node.call("caught", handle):
        start = 40 if data[0] >> 4 == 6 else 20
        if data[6 if start == 40 else 9] == packet.TCP and data[start + 13] & 2:
            kind, length, size = struct.unpack("!BBH", data[start + 20 : start + 24])
            assert (kind, length) == (2, 4)
            sizes.append(size)
    return sizes
