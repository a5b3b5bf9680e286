"""Compiled sites: where two declarations meet on one port, and shapes that are seldom written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel import packet
from tests.kernel.lab import Lab
from tests.kernel.sites import (
    DMZ,
    FAMILIES,
    FRIEND,
    HEAD,
    NEAR,
    OFFICE,
    OWN,
    OWN2,
    OWN_IN,
    RESOLVER,
    STRANGER,
    Forgery,
    Trial,
    a_town,
)  # fmt: skip

NUMBERS = "service numbers tcp 9100 tracked\n"


@pytest.fixture(scope="module")
def town() -> Iterator[Lab]:
    yield from a_town()


HIGH = f"""{HEAD}
network inside = 172.16.5.0/24
service high     tcp 40000; udp 40000
service higher   tcp 45000; udp 45000      tracked
client  resolve  udp 53; tcp 53            to asked      untracked
client  pages    tcp 80; udp 443
publish far      tcp 42000; udp 42000 on world           to 172.16.9.10 port 80
redirect near    tcp 43000 on world                      to port 44000
service behind   tcp 44000                 from friend
"""


@pytest.mark.parametrize("output", ["accept", "drop", "accept without replies"])
def test_services_among_the_hosts_own_ports(town: Lab, backend: str, output: str) -> None:
    """Served, published and redirected ports in the ephemeral range, asked from the very ports at which
    the host asks others: each is one flow or the other, never half of both."""
    with Trial(town, backend, f"{HIGH}default output {output}\n") as trial:
        world, dmz = town.client, town.peers["dmz"]
        trial.serve(trial.host, "tcp", 40000, 45000, 44000)
        trial.serve(trial.host, "udp", 40000, 45000)
        trial.serve(world, "tcp", 53, 80)
        trial.serve(world, "udp", 53, 443)
        trial.serve(dmz, "tcp", 80)
        trial.serve(dmz, "udp", 80)
        trial.watch(4, 6)
        for family in FAMILIES:
            for src, proto, sport in (
                (RESOLVER, "udp", 53), (RESOLVER, "tcp", 53), (STRANGER, "tcp", 80), (STRANGER, "udp", 443),
            ):  # fmt: skip
                trial.reach(world, proto, OWN[family], 40000, src=src[family], sport=sport)
                trial.reach(world, proto, OWN[family], 45000, src=src[family], sport=sport)
                if family == 4:
                    asked = trial.reach(world, proto, OWN[4], 42000, src=src[4], sport=sport).asked
                    trial.same("published", asked, (DMZ[4], 80))
            trial.reach(world, "tcp", OWN[family], 43000, src=FRIEND[family], sport=80)
            trial.reach(world, "tcp", OWN[family], 44000, src=FRIEND[family], sport=80)
            for own_port in (41000, 41001):
                trial.reach(trial.host, "udp", RESOLVER[family], 53, sport=own_port)
                trial.reach(trial.host, "tcp", RESOLVER[family], 53, sport=own_port)
                trial.reach(trial.host, "tcp", STRANGER[family], 80, sport=own_port)
                trial.reach(trial.host, "udp", STRANGER[family], 443, sport=own_port)
        half = [entry.line for entry in trial.entries() if not entry.replied and entry.dst != "224.0.0.22"]
        trial.same("half tracked", half, [])
        trial.same("INVALID packets", trial.invalid(), 0)


@pytest.mark.parametrize("more", ["", NUMBERS])
def test_other_protocols_of_services(town: Lab, backend: str, more: str) -> None:
    """SCTP by port, and protocols by name and by number, from whom they are declared."""
    site = f"""{HEAD}
service signal  sctp 5000, 7000-7010       from friend
service tunnel  proto ipencap, 47             from friend
service lite    udp 5000
default output accept without replies
{more}"""
    with Trial(town, backend, site) as trial:
        for family in FAMILIES:
            own, friend, stranger = OWN[family], FRIEND[family], STRANGER[family]
            header = b"\x00\x09%b" + bytes(8)
            for proto, body, served in (
                (packet.SCTP, header % (5000).to_bytes(2, "big"), True),
                (packet.SCTP, header % (7010).to_bytes(2, "big"), True),
                (packet.SCTP, header % (5001).to_bytes(2, "big"), False),
                (packet.GRE, bytes(8), True),
                (4, bytes(28), True),
                (50, bytes(16), False),
            ):
                catcher = trial.host.catch(proto, family)
                town.client.send([packet.raw(src, own, proto, body) for src in (friend, stranger)])
                came = [one.src for one in catcher.packets()]
                trial.same(f"protocol {proto} {body[:4].hex()}", came, [friend] if served else [])
                catcher.close()
        trial.no_entries("of other protocols")


def test_another_ephemeral_range(town: Lab, backend: str) -> None:
    """`ephemeral` moves the host's own ports: answers come to those alone."""
    site = f"{HEAD}ephemeral 20000-29999\nservice high tcp 25000 from staff\n"
    site += "client resolve udp 53; tcp 53 to asked untracked\n"
    with Trial(town, backend, site) as trial:
        trial.serve(town.client, "udp", 53)
        for family in FAMILIES:
            asked, own = RESOLVER[family], OWN[family]
            trial.forge(
                town.client,
                [
                    Forgery(True, asked, 53, own, 20000), Forgery(True, asked, 53, own, 29999),
                    Forgery(False, asked, 53, own, 19999), Forgery(False, asked, 53, own, 30000),
                    Forgery(False, asked, 53, own, 40000), Forgery(True, asked, 53, own, 20001, "SA"),
                    Forgery(False, asked, 53, own, 20002, "S"), Forgery(False, asked, 53, own, 25000, "SA"),
                ],
            )  # fmt: skip
            trial.reach(trial.host, "udp", asked, 53, sport=21000)
        trial.no_entries("of the moved range")


def test_a_resolvers_own_ports_beside_masquerade(town: Lab, backend: str) -> None:
    """Untracked questions from a wide range of own ports, and a masqueraded LAN that asks the same world."""
    site = f"""{HEAD}
network inside = 172.16.5.0/24
service names   udp 53; tcp 53                   from inside
client  recurse udp 53; tcp 53  to any           from port 10000-59999    untracked
route   outward from inside to any               on office out world
masquerade out-nat from inside                   out world
"""
    with Trial(town, backend, site) as trial:
        office, world = town.peers["office"], town.client
        for proto in ("udp", "tcp"):
            trial.serve(world, proto, 53, 80)
            trial.serve(trial.host, proto, 53)
            for sport in (10000, 33333, 59999):
                trial.reach(trial.host, proto, STRANGER[4], 53, sport=sport)
                trial.reach(trial.host, proto, STRANGER[6], 53, sport=sport)
            trial.reach(office, proto, OWN_IN[4], 53)
        trial.no_entries("of the resolver")
        for proto in ("udp", "tcp"):
            for sport in (10000, 33333, 59999, 53, 62000, 5000):
                answer = trial.reach(office, proto, STRANGER[4], 53, sport=sport)
                trial.reach(trial.host, proto, STRANGER[4], 53, sport=max(10000, min(sport, 59999)))
                port = answer.seen[1] if answer.seen else 0
                trial.note(not 10000 <= port <= 59999 and port != 53, f"{proto} {sport} went out as {port}")
            trial.crowd(office, proto, [(STRANGER[4], 80), (STRANGER[4], 53)], 60, [OFFICE[4]])


@pytest.mark.parametrize("more", ["", NUMBERS])
def test_services_answer_at_no_group(town: Lab, backend: str, more: str) -> None:
    """A service is at the host's own addresses: not at a multicast group, not at broadcast."""
    site = f"{HEAD}service mdns udp 5353\ndefault output accept without replies\n{more}"
    with Trial(town, backend, site) as trial:
        trial.host.listen("udp", 1).join("224.0.0.251", "out0").join("ff02::fb", "out0")
        near = NEAR[4]
        trial.forge(
            town.client,
            [Forgery(True, near, 5000, OWN[4], 5353), Forgery(True, NEAR[6], 5000, OWN[6], 5353)],
        )
        for goal in ("224.0.0.251", "255.255.255.255", "198.18.0.255", "ff02::fb"):
            catcher = trial.host.catch(packet.UDP, 6 if ":" in goal else 4)
            src = NEAR[6] if ":" in goal else near
            town.client.send(packet.udp(src, 5001, goal, 5353))
            trial.same(f"at {goal}", [one.src for one in catcher.packets()], [])
            catcher.close()


def test_one_family_alone(town: Lab, backend: str) -> None:
    """`ipv4` and `ipv6` restrict a declaration; what has addresses of one family lands there."""
    site = f"""{HEAD}
service four  tcp 4004; udp 4004     ipv4
service six   tcp 6006; udp 6006     ipv6
service bound tcp 7007               from 203.0.113.77
"""
    with Trial(town, backend, site) as trial:
        trial.serve(trial.host, "tcp", 4004, 6006, 7007)
        trial.serve(trial.host, "udp", 4004, 6006)
        for family in FAMILIES:
            for proto, port, right in (
                ("tcp", 4004, 4),
                ("udp", 4004, 4),
                ("tcp", 6006, 6),
                ("udp", 6006, 6),
            ):
                (trial.reach if family == right else trial.miss)(town.client, proto, OWN[family], port)
            (trial.reach if family == 4 else trial.miss)(
                town.client, "tcp", OWN[family], 7007, src=STRANGER[family]
            )
        trial.no_entries("of either family")


def test_publish_for_some(town: Lab, backend: str) -> None:
    """`publish ... from`: the port is for those alone; IPv6 is published by its own addresses."""
    site = f"""{HEAD}
publish shop  tcp 8443            from friend  on world   to 172.16.9.10 port 443   ipv4
publish shop6 tcp 8444                         on world   to 2001:db8:c::10 port 443
publish mine  udp 5000-5003  at 198.18.0.3     on world   to 172.16.9.10
service web   tcp 443
"""
    with Trial(town, backend, site) as trial:
        world, dmz = town.client, town.peers["dmz"]
        trial.serve(dmz, "tcp", 443)
        trial.serve(dmz, "udp", 5000, 5002)
        trial.serve(trial.host, "tcp", 443)
        trial.same("asked", trial.reach(world, "tcp", OWN[4], 8443, src=FRIEND[4]).asked, (DMZ[4], 443))
        trial.miss(world, "tcp", OWN[4], 8443, src=STRANGER[4], at=dmz)
        trial.same("asked", trial.reach(world, "tcp", OWN[6], 8444).asked, (DMZ[6], 443))
        trial.same("asked", trial.reach(trial.host, "tcp", OWN[6], 8444).asked, (DMZ[6], 443))
        trial.miss(world, "tcp", OWN[6], 8443, src=FRIEND[6])
        trial.miss(world, "tcp", OWN[4], 8444)
        trial.same("asked", trial.reach(world, "udp", OWN2[4], 5002).asked, (DMZ[4], 5002))
        trial.miss(world, "udp", OWN[4], 5002, at=dmz)
        trial.only_entries(lambda entry: entry.reply_src in DMZ.values() and entry.replied)
        trial.forget()
        trial.reach(world, "tcp", OWN[4], 443, src=FRIEND[4], sport=8443)
        trial.reach(world, "tcp", OWN[6], 443, src=STRANGER[6], sport=8444)
        trial.no_entries("of the host's own service")


@pytest.mark.parametrize("more", ["", NUMBERS])
def test_neighbour_messages_leave(town: Lab, backend: str, more: str) -> None:
    """Solicitations and reports of group membership leave and come in, whatever the defaults are."""
    site = f"{HEAD}service web tcp 80\ndefault output drop\ndefault input reject\n{more}"
    with Trial(town, backend, site) as trial:
        far, came = town.client.sniff(), trial.host.catch(packet.ICMPV6, 6)
        for kind, group in ((143, "ff02::16"), (131, "ff02::12"), (133, "ff02::2"), (135, NEAR[6])):
            trial.host.send_stack(packet.icmp(OWN[6], group, kind, 0, bytes(20), ttl=255))
            trial.note((kind, 0) in [one.icmp for one in far.packets()], f"type {kind} did not leave")
        for kind in (134, 135, 136, 2, 1):
            town.client.send(packet.icmp(NEAR[6], OWN[6], kind, 0, bytes(20), ttl=255))
            trial.note(kind in [one.payload[0] for one in came.packets()], f"type {kind} did not come in")
        town.client.send(packet.icmp(NEAR[6], OWN[6], 139, 0, bytes(20), ttl=255))
        trial.same("a query of information", [one.payload[0] for one in came.packets()], [])
