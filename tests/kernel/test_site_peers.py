"""Compiled sites: peers, which either side may start, leave no entries in either direction."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel import packet
from tests.kernel.lab import Lab
from tests.kernel.node import Catcher
from tests.kernel.sites import (
    FAMILIES,
    FRIEND,
    HEAD,
    NEAR,
    OFFICE,
    OFFICE2,
    OWN,
    OWN_IN,
    STRANGER,
    Forgery,
    Trial,
    a_town,
)  # fmt: skip

PEERS = f"""{HEAD}
network near = 198.18.0.99, 2001:db8:a::99
service names     udp 53
peer overlay   udp 4789                   with staff
peer bgp       tcp 179                    with near
peer bfd       udp 3784                   with near
peer tunnel    proto gre                  with near
peer vrrp      proto 112                  with 198.18.0.99                        at 224.0.0.18
peer vrrp-six  proto 112                  with 2001:db8:a::99                     at ff02::12
peer finding   udp 9999                   with 172.16.5.0/24                      at broadcast
peer mdns      udp 5353                   with 198.18.0.0/24                      at 224.0.0.251
peer wireguard udp 51820                  with any                                on world
"""
NUMBERS = "service numbers tcp 9100 from staff tracked\n"
VRRP_GROUP, MDNS_GROUP = {4: "224.0.0.18", 6: "ff02::12"}, "224.0.0.251"


@pytest.fixture(scope="module")
def town() -> Iterator[Lab]:
    yield from a_town()


@pytest.fixture(params=["stateless", "tracking", "tracking drop"])
def site(request: pytest.FixtureRequest) -> str:
    return {
        "stateless": f"{PEERS}default output accept without replies\n",
        "tracking": PEERS + NUMBERS,
        "tracking drop": f"{PEERS}{NUMBERS}default output drop\n",
    }[str(request.param)]


def test_one_way_datagrams(town: Lab, backend: str, site: str) -> None:
    """An overlay: both directions go to its port from hashed ports; and nobody else comes in."""
    with Trial(town, backend, site) as trial:
        office, world = town.peers["office"], town.client
        for node in (trial.host, office, world):
            trial.serve(node, "udp", 4789, 3784)
        for family in FAMILIES:
            own = OWN[family]
            for sport in (4789, 49152, 33333, 1025):
                office.udp_send(own, 4789, sport=sport + 1 if sport == 4789 else sport)
                trial.same("sent", trial.host.udp_send(OFFICE[family], 4789, sport=sport + 1), "")
            trial.same("host heard", len(trial.seen(trial.host, "udp", 4789)), 4)
            trial.same("office heard", len(trial.seen(office, "udp", 4789)) >= 4, True)
            office.udp_send(own, 4789, size=6000, sport=40404)
            trial.same("a big one", len(trial.seen(trial.host, "udp", 4789)), 1)
            world.udp_send(own, 4789, src=STRANGER[family])
            trial.same("a stranger's", trial.seen(trial.host, "udp", 4789), [])
            world.udp_send(own, 3784, src=NEAR[family], sport=49200)
            trial.host.udp_send(NEAR[family], 3784, src=own, sport=49201)
            trial.same("bfd", len(trial.seen(trial.host, "udp", 3784)), 1)
            trial.note(bool(trial.seen(world, "udp", 3784)), "bfd left")
        trial.no_entries("of one-way datagrams")


def test_either_side_opens(town: Lab, backend: str, site: str) -> None:
    """BGP: a connection by either side, no entries; no bare SYN from its port to the host's own ports."""
    with Trial(town, backend, site) as trial:
        world = town.client
        trial.serve(trial.host, "tcp", 179, 40000, 22)
        trial.serve(world, "tcp", 179)
        for family in FAMILIES:
            own, near = OWN[family], NEAR[family]
            for _ in range(5):
                trial.reach(world, "tcp", own, 179, src=near)
                trial.reach(trial.host, "tcp", near, 179, src=own)
            trial.miss(world, "tcp", own, 179, src=STRANGER[family])
            trial.miss(world, "tcp", own, 40000, src=near, sport=179)
            trial.miss(world, "tcp", own, 22, src=near, sport=179)
            trial.forge(
                world,
                [
                    Forgery(True, near, 179, own, 40000, "SA"),
                    Forgery(False, near, 179, own, 40000, "S"),
                    Forgery(False, near, 179, own, 22, "SA"),
                    Forgery(False, STRANGER[family], 179, own, 40000, "SA"),
                    Forgery(False, near, 40000, own, 22, "S"),
                    Forgery(True, near, 40000, own, 179, "S"),
                ],
            )
        trial.no_entries("of connections by either side")


def test_other_protocols(town: Lab, backend: str, site: str) -> None:
    """GRE in both directions, from its peer alone; no entries."""
    with Trial(town, backend, site) as trial:
        world = town.client
        for family in FAMILIES:
            own, near = OWN[family], NEAR[family]
            catcher, far = trial.host.catch(packet.GRE, family), world.sniff()
            senders = (near, STRANGER[family], FRIEND[family])
            world.send([packet.raw(one, own, packet.GRE, bytes(8)) for one in senders])
            trial.same("GRE came from", [one.src for one in catcher.packets()], [near])
            trial.host.send_stack(packet.raw(own, near, packet.GRE, bytes(8)))
            trial.same("GRE left", len([one for one in far.packets() if one.proto == packet.GRE]), 1)
            catcher.close()
            far.close()
        trial.no_entries("of GRE")


def datagrams(catcher: Catcher, port: int) -> list[str]:
    """Who sent the datagrams to a port that came since the last look (nobody answers them)."""
    return [one.src for one in catcher.packets() if one.proto == packet.UDP and one.dport == port]


def test_groups(town: Lab, backend: str, site: str) -> None:
    """VRRP to its group, both ways, from its peer alone; multicast DNS likewise; no entries."""
    with Trial(town, backend, site) as trial:
        world = town.client
        member, other = trial.host.listen("udp", 1), world.listen("udp", 1)
        member.join(MDNS_GROUP, "out0")
        other.join(MDNS_GROUP, "eth0")
        for family in FAMILIES:
            group = VRRP_GROUP[family]
            member.join(group, "out0")
            trial.forget()  # joining sends reports of group membership
            catcher, far = trial.host.catch(packet.VRRP, family), world.sniff()
            senders = (NEAR[family], STRANGER[family])
            world.send([packet.raw(one, group, packet.VRRP, bytes(20), ttl=255) for one in senders])
            trial.same("VRRP came from", [one.src for one in catcher.packets()], [NEAR[family]])
            trial.host.send_stack(packet.raw(OWN[family], group, packet.VRRP, bytes(20), ttl=255))
            trial.same("VRRP left", len([one for one in far.packets() if one.proto == packet.VRRP]), 1)
            catcher.close()
            far.close()
            trial.no_entries("of VRRP")
        came, far = trial.host.catch(packet.UDP), world.sniff()
        for src, expected in ((NEAR[4], [NEAR[4]]), (STRANGER[4], [])):
            world.udp_send(MDNS_GROUP, 5353, sport=5353, src=src, device="eth0")
            trial.same("multicast DNS came from", datagrams(came, 5353), expected)
        trial.same("sent", trial.host.udp_send(MDNS_GROUP, 5353, sport=5353, device="out0"), "")
        trial.same("multicast DNS left", datagrams(far, 5353), [OWN[4]])
        trial.no_entries("of groups")


def test_broadcasts(town: Lab, backend: str, site: str) -> None:
    """A broadcast to the network or to all, both ways, from its peers alone; no entries."""
    with Trial(town, backend, site) as trial:
        office, world = town.peers["office"], town.client
        came, left = trial.host.catch(packet.UDP), office.sniff()
        for goal in ("172.16.5.255", "255.255.255.255"):
            office.udp_send(goal, 9999, src=OFFICE2[4], sport=9998, device="eth0")
            trial.same(f"to {goal} came", datagrams(came, 9999), [OFFICE2[4]])
            left.packets()
            trial.same("sent", trial.host.udp_send(goal, 9999, sport=9997, device="in0"), "")
            trial.same(f"to {goal} left", datagrams(left, 9999), [OWN_IN[4]])
            came.packets()
            world.udp_send("255.255.255.255", 9999, src=STRANGER[4], device="eth0")
            trial.same("of a stranger came", datagrams(came, 9999), [])
        trial.no_entries("of broadcasts")


def test_wireguard(town: Lab, backend: str, site: str) -> None:
    """A tunnel that anybody may start, and the host as well, from and to one port."""
    with Trial(town, backend, site) as trial:
        world = town.client
        trial.serve(trial.host, "udp", 51820)
        trial.serve(world, "udp", 51820)
        for family in FAMILIES:
            for src in (STRANGER[family], NEAR[family]):
                trial.reach(world, "udp", OWN[family], 51820, src=src)
                trial.reach(world, "udp", OWN[family], 51820, src=src, sport=51820)
            trial.reach(trial.host, "udp", STRANGER[family], 51820, sport=51820)
            trial.miss(town.peers["office"], "udp", OWN[family], 51820)
        trial.no_entries("of the tunnel's outer packets")
