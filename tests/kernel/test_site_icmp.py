"""Compiled sites: errors that flows need, neighbour discovery, and echo with its limit."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.kernel import packet
from tests.kernel.lab import Lab
from tests.kernel.node import Node
from tests.kernel.sites import (
    DMZ,
    FAMILIES,
    FRIEND,
    HEAD,
    NEAR,
    OFFICE,
    OWN,
    OWN_DMZ,
    RESOLVER,
    STRANGER,
    Trial,
    a_town,
    put,
)  # fmt: skip

ERRORS = f"""{HEAD}
service names   udp 53; tcp 53
service numbers udp 9100; tcp 9100      from any     tracked
client  resolve udp 53                  to asked     untracked
route   pages   tcp 80; udp 443         from any to 172.16.9.10, 2001:db8:c::10     untracked
route   outward tcp 81; udp 9999        from staff to any
default input   drop
default forward drop
default output  drop
"""
STATELESS = f"""{HEAD}
service names   udp 53; tcp 53
client  resolve udp 53                  to asked     untracked
route   pages   tcp 80; udp 443         from any to 172.16.9.10, 2001:db8:c::10     untracked
default output  drop
tracking off
"""
FRAGMENTATION_NEEDED, PORT_UNREACHABLE = {4: (3, 4), 6: (2, 0)}, {4: (3, 3), 6: (1, 4)}
ICMP = {4: packet.ICMP, 6: packet.ICMPV6}


@pytest.fixture(scope="module")
def town() -> Iterator[Lab]:
    yield from a_town()


def mtu_told(trial: Trial, dst: str, inner: bytes, mtu: int) -> None:
    """A router says that a packet of the host is too big: the stack must believe it."""
    teller = NEAR[6 if ":" in dst else 4]
    trial.lab.client.send(packet.too_big(teller, packet.parse(inner).src, inner, mtu))
    route = trial.host.run("ip", "route", "get", dst).out
    trial.note(f"mtu {mtu}" in route, f"path MTU to {dst} about {inner[40:44].hex()}: {route}")


@pytest.mark.parametrize("site", [ERRORS, STATELESS], ids=["tracking", "stateless"])
def test_path_mtu_reaches_the_stack(town: Lab, backend: str, site: str) -> None:
    """Fragmentation needed about what the host sent, untracked or tracked, is believed under drop."""
    with Trial(town, backend, site) as trial:
        trial.serve(trial.host, "udp", 53, 9100)
        trial.serve(trial.host, "tcp", 53, 9100)
        trial.serve(town.client, "udp", 53)
        for family in FAMILIES:
            own, stranger, friend, asked = OWN[family], STRANGER[family], FRIEND[family], RESOLVER[family]
            trial.reach(town.client, "udp", own, 53, src=stranger, sport=5555)
            mtu_told(trial, stranger, packet.udp(own, 53, stranger, 5555), 1400)
            trial.reach(town.client, "udp", own, 53, src=stranger, sport=5555, size=3000)
            if site is ERRORS:
                trial.reach(town.client, "udp", own, 9100, src=friend, sport=5555)
                mtu_told(trial, friend, packet.udp(own, 9100, friend, 5555), 1390)
                trial.reach(town.client, "udp", own, 9100, src=friend, sport=5555, size=3000)
            trial.reach(trial.host, "udp", asked, 53, sport=41000)
            asking = trial.host.call("udp_open", asked, 53, own, 41001, True)
            mtu_told(trial, asked, packet.udp(own, 41001, asked, 53), 1380)
            trial.host.call("close", asking)
            told_about_segments(trial, family, 53 if site is STATELESS else 9100)
        if site is STATELESS:
            trial.no_entries()


def told_about_segments(trial: Trial, family: int, *more: int) -> None:
    """Errors about segments of open connections are delivered."""
    for port in {53, *more}:
        kept = trial.lab.client.open(OWN[family], port, src=NEAR[family], sport=7777)
        trial.note(kept.ask().ok, f"a connection to {port}")
        catcher = trial.host.catch(ICMP[family], family)
        inner = packet.tcp(OWN[family], port, NEAR[family], 7777, "A", bytes(1400))
        trial.lab.client.send(packet.too_big(NEAR[family], OWN[family], inner, 1300))
        trial.note(bool(catcher.packets()), f"too big about a segment from port {port}, IPv{family}")
        trial.note(kept.ask().ok, f"the connection to {port} after that")
        catcher.close()
        kept.close()


def told(trial: Trial, teller: Node, src: str, at: Node, inner: bytes) -> None:
    """An error about a forwarded packet, sent by `teller` to the packet's source behind the host."""
    source = packet.parse(inner).src
    family = 6 if ":" in source else 4
    catcher = at.sniff()
    put(teller, [packet.too_big(src, source, inner), packet.unreachable(src, source, inner)])
    came = {one.icmp for one in catcher.packets() if one.dst == source and one.src == src}
    expected = {FRAGMENTATION_NEEDED[family], PORT_UNREACHABLE[family]}
    trial.same(f"errors of {src} to {source}", came, expected)
    catcher.close()


@pytest.mark.parametrize("site", [ERRORS, STATELESS], ids=["tracking", "stateless"])
def test_errors_are_forwarded(town: Lab, backend: str, site: str) -> None:
    """Errors about forwarded flows, untracked or tracked, pass FORWARD in both directions."""
    with Trial(town, backend, site) as trial:
        world, office, dmz = town.client, town.peers["office"], town.peers["dmz"]
        trial.serve(dmz, "udp", 443)
        trial.serve(world, "udp", 9999)
        for family in FAMILIES:
            trial.reach(world, "udp", DMZ[family], 443, src=STRANGER[family], sport=5555)
            server, stranger, desk = DMZ[family], STRANGER[family], OFFICE[family]
            told(trial, world, NEAR[family], dmz, packet.udp(server, 443, stranger, 5555, bytes(1300)))
            told(trial, dmz, server, world, packet.udp(stranger, 5555, server, 443, bytes(1300)))
            if site is ERRORS:
                trial.reach(office, "udp", stranger, 9999, src=desk, sport=5556)
                told(trial, world, NEAR[family], office, packet.udp(desk, 5556, stranger, 9999, bytes(1300)))


@pytest.mark.parametrize("site", [ERRORS, STATELESS], ids=["tracking", "stateless"])
def test_the_hosts_own_errors_leave(town: Lab, backend: str, site: str) -> None:
    """Port unreachable, time exceeded and too big leave under `default output drop`."""
    with Trial(town, backend, site) as trial:
        world, dmz = town.client, town.peers["dmz"]
        trial.serve(dmz, "udp", 443)
        for family in FAMILIES:
            own, stranger, server = OWN[family], STRANGER[family], DMZ[family]
            trial.miss(world, "udp", own, 53, outcome="refused")
            trial.miss(world, "tcp", own, 53, outcome="refused")
            catcher = world.sniff()
            late = packet.udp(stranger, 5555, server, 443)
            # The hop limit stands in byte 8 of an IPv4 header (with a checksum behind it), in 7 of IPv6.
            late = packet.raw(stranger, server, packet.UDP, late[20 if family == 4 else 40 :], ttl=1)
            world.send(late)
            kinds = {one.icmp for one in catcher.packets() if one.proto == ICMP[family]}
            trial.note((11, 0) in kinds if family == 4 else (3, 0) in kinds, f"time exceeded: {kinds}")
            catcher.close()


@pytest.mark.parametrize("output", ["accept", "drop"])
@pytest.mark.parametrize("site", [ERRORS, STATELESS], ids=["tracking", "stateless"])
def test_neighbours_are_found_again(town: Lab, backend: str, site: str, output: str) -> None:
    """After a flush of all neighbours IPv6 and IPv4 go on, to the host, from it and through it."""
    text = site.replace("output  drop", f"output  {output}") if output == "drop" or site is ERRORS else site
    with Trial(town, backend, text) as trial:
        trial.serve(trial.host, "tcp", 53)
        trial.serve(town.client, "udp", 53)
        trial.serve(town.peers["dmz"], "tcp", 80)
        for family in FAMILIES:
            town.forget_neighbours()
            trial.reach(town.client, "tcp", OWN[family], 53, src=NEAR[family])
            town.forget_neighbours()
            trial.reach(trial.host, "udp", RESOLVER[family], 53, sport=41000)
            town.forget_neighbours()
            trial.reach(town.client, "tcp", DMZ[family], 80)
            town.forget_neighbours()
            trial.reach(town.peers["dmz"], "tcp", OWN_DMZ[family], 53)
        trial.no_entries("of untracked flows and neighbours")


ECHO = f"""{HEAD}
icmp ping  echo-request  from any    limit 20/second
service names udp 53
"""
NUMBERS = "service numbers tcp 9100 tracked\n"


@pytest.mark.parametrize("more", ["", NUMBERS, "default output drop\n", "default output drop\n" + NUMBERS])
def test_an_echo_limit_holds_for_every_request(town: Lab, backend: str, more: str) -> None:
    """A hundred requests of one ping, in a moment: the limit counts each, not only the first."""
    with Trial(town, backend, ECHO + more) as trial:
        for family in FAMILIES:
            catcher = town.client.sniff()
            start = time.monotonic()
            put(town.client, [packet.echo(NEAR[family], OWN[family], seq=seq) for seq in range(100)])
            spent = time.monotonic() - start
            answers = len([one for one in catcher.packets() if one.icmp in ((0, 0), (129, 0))])
            most = 20 + 20 * spent + 2
            trial.note(5 <= answers <= most, f"IPv{family}: {answers} answers, at most {most:.0f}")
            catcher.close()


def test_echo_is_answered_to_whom_it_may(town: Lab, backend: str) -> None:
    """Declared requests are answered, large ones in pieces too; others are not, nor other types."""
    site = f"{HEAD}\nicmp ping echo-request from staff\nservice names udp 53\ndefault output drop\n"
    for more in ("", NUMBERS):
        with Trial(town, backend, site + more) as trial:
            for family in FAMILIES:
                for size in (8, 5000):
                    trial.same("ping", town.peers["office"].ping(OWN[family], size=size), True)
                    trial.same("a stranger's", town.client.ping(OWN[family], size=size), False)
            catcher = town.client.sniff()
            town.client.send(packet.icmp(NEAR[4], OWN[4], 13, 0, bytes(16)))
            trial.same("answers to a timestamp", [one for one in catcher.packets() if one.proto == 1], [])
            catcher.close()
            trial.no_entries("of pings")
