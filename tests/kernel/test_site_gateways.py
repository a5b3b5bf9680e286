"""Compiled sites: gateways in odd shapes, link-local and asymmetric ways, and nothing that leaks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel import packet
from tests.kernel.lab import Lab
from tests.kernel.sites import (
    FAMILIES,
    FRIEND,
    HEAD,
    NEAR,
    OFFICE,
    OWN,
    OWN2,
    RESOLVER,
    STRANGER,
    Trial,
    a_town,
    put,
)  # fmt: skip

NUMBERS = "service numbers tcp 9100 tracked\n"


@pytest.fixture(scope="module")
def town() -> Iterator[Lab]:
    yield from a_town()


NAT = f"""{HEAD}
network inside = 172.16.5.0/24, 2001:db8:b::/64
service names  udp 53; tcp 53
service proxy  tcp 8080; udp 8080
client  resolve udp 53; tcp 53  to asked   untracked
client  clock  udp 123          to friend  from port 123   untracked
peer    tunnel proto gre        with 198.18.0.99, 2001:db8:a::99
route   outward from inside to any on office out world
"""
MASQUERADE = NAT + "masquerade four from inside out world ipv4\nmasquerade six from inside out world ipv6\n"
SNAT = f"""{NAT}
snat four from inside out world as 198.18.0.3 ipv4
snat six from inside out world as 2001:db8:a::3 ipv6
"""
LOW = MASQUERADE.replace("service proxy  tcp 8080; udp 8080\n", "").replace(
    "client  resolve udp 53; tcp 53  to asked   untracked\n", ""
)


@pytest.mark.parametrize("site", [MASQUERADE, SNAT, LOW], ids=["masquerade", "snat", "low-ports"])
def test_no_source_port_collides(town: Lab, backend: str, site: str) -> None:
    """A LAN client from every port that the host serves or asks from, to the same far ends, in IPv6 too."""
    with Trial(town, backend, site) as trial:
        office, world = town.peers["office"], town.client
        for proto in ("tcp", "udp"):
            trial.serve(world, proto, 53, 80, 123, 8080)
            trial.serve(trial.host, proto, 53, 8080)
            for family in FAMILIES:
                desk = OFFICE[family]
                for sport in (53, 123, 8080, 41000):
                    for far, port in ((RESOLVER, 53), (FRIEND, 123), (STRANGER, 80), (STRANGER, 8080)):
                        answer = trial.reach(office, proto, far[family], port, src=desk, sport=sport)
                        own = answer.seen and answer.seen[0] in (OWN[family], OWN2[family])
                        trial.note(bool(own), f"{proto} {sport} to {port} went out as {answer.seen}")
                if "resolve" in site:
                    trial.reach(trial.host, proto, RESOLVER[family], 53, sport=41000)
                trial.reach(world, proto, OWN[family], 53, sport=53)
            trial.reach(office, proto, STRANGER[4], 80, size=6000)
        trial.reach(trial.host, "udp", FRIEND[4], 123, sport=123)
        trial.reach(trial.host, "udp", FRIEND[6], 123, sport=123)
        trial.only_entries(lambda entry: entry.src in OFFICE.values() or entry.src in ("172.16.5.21",))


def test_services_stay_untracked_at_a_snat_address(town: Lab, backend: str) -> None:
    """An own address that `snat` shows serves as well: by ports the two are kept apart."""
    site = "\n".join(line for line in SNAT.splitlines() if not line.startswith("client"))
    with Trial(town, backend, site) as trial:
        office, world = town.peers["office"], town.client
        for proto in ("tcp", "udp"):
            trial.serve(trial.host, proto, 53, 8080)
            trial.serve(world, proto, 80)
            goals = [(own[family], port) for own in (OWN, OWN2) for family in FAMILIES for port in (53, 8080)]
            trial.crowd(world, proto, goals, 80)
        trial.no_entries("of services at the address that snat shows")
        for family in FAMILIES:
            answer = trial.reach(office, "tcp", STRANGER[family], 80, src=OFFICE[family], sport=8080)
            trial.same("seen from", answer.seen and answer.seen[0], OWN2[family])


@pytest.mark.parametrize("site", [MASQUERADE, LOW], ids=["masquerade", "low-ports"])
def test_nothing_leaves_untranslated(town: Lab, backend: str, site: str) -> None:
    """Stray segments, errors and odd protocols of the LAN go out translated or not at all."""
    with Trial(town, backend, site) as trial:
        office, world = town.peers["office"], town.client
        for family in FAMILIES:
            desk, far = OFFICE[family], STRANGER[family]
            strays = [packet.tcp(desk, 5000 + at, far, port, flags)
                      for at, flags in enumerate(("SA", "FA", "R", "A", "", "SF", "FPU"))
                      for port in (80, 53, 8080)]  # fmt: skip
            strays += [packet.tcp(desk, port, far, 80, "SA") for port in (53, 8080, 123)]
            strays += [packet.unreachable(desk, far, packet.udp(far, 80, desk, 9))]
            strays += [packet.too_big(desk, far, packet.tcp(far, 80, desk, 9, "A"))]
            strays += [packet.raw(desk, far, proto, bytes(16)) for proto in (packet.GRE, 50, 253)]
            strays += [packet.udp(desk, port, far, 53) for port in (53, 8080, 123)]
            strays += [packet.icmp(desk, far, 0 if family == 4 else 129, 0, bytes(8))]
            catcher = world.sniff()
            put(office, strays)
            came = catcher.packets(lambda one: one.proto != 0)
            leaked = [one for one in came if one.src == desk]
            trial.same("left untranslated", leaked, [])
            shown = (OWN[family], OWN2[family])
            trial.note(any(one.src in shown for one in came), "nothing at all was translated")
            catcher.close()


def test_a_tunnel_beside_masquerade(town: Lab, backend: str) -> None:
    """GRE of the host's own peer arrives; the LAN's GRE to another far end is masqueraded and answered."""
    with Trial(town, backend, MASQUERADE) as trial:
        office, world = town.peers["office"], town.client
        for family in FAMILIES:
            own, near, far, desk = OWN[family], NEAR[family], STRANGER[family], OFFICE[family]
            catcher, left = trial.host.catch(packet.GRE, family), world.sniff()
            world.send(packet.raw(near, own, packet.GRE, bytes(8)))
            trial.same("GRE of the peer", [one.src for one in catcher.packets()], [near])
            trial.host.send_stack(packet.raw(own, near, packet.GRE, bytes(8)))
            office.send(packet.raw(desk, far, packet.GRE, bytes(8)))
            sent = [one for one in left.packets() if one.proto == packet.GRE]
            trial.same("GRE left", [one.dst for one in sent], [near, far])
            shown = sent[-1].src if sent else own
            trial.note(shown in (own, OWN2[family]), f"the LAN's GRE went out as {shown}")
            back = office.sniff()
            world.send(packet.raw(far, shown, packet.GRE, bytes(8)))
            trial.same("GRE back", [one.src for one in back.packets() if one.proto == packet.GRE], [far])
            for one in (catcher, left, back):
                one.close()


PLAIN = f"""{HEAD}
service names   udp 53; tcp 53
service inner   udp 5000               on office
client  resolve udp 53                 to asked    untracked
peer    overlay udp 4789               with friend
"""


@pytest.mark.parametrize("more", ["", NUMBERS, NUMBERS + "default output drop\n"])
def test_answers_may_leave_by_another_interface(town: Lab, backend: str, more: str) -> None:
    """A question that comes in by one link and is answered by another is untracked in both directions."""
    with Trial(town, backend, PLAIN + more) as trial:
        office, world = town.peers["office"], town.client
        trial.serve(trial.host, "udp", 53, 5000, 4789)
        for family in FAMILIES:
            own, stranger = OWN[family], STRANGER[family]
            catcher = world.sniff()
            office.send([packet.udp(stranger, 7000, own, 53), packet.udp(stranger, 7001, own, 5000)])
            answers = {(one.sport, one.dport) for one in catcher.packets() if one.src == own}
            trial.same("answers by the other link", answers, {(53, 7000), (5000, 7001)})
            came = trial.host.catch(packet.UDP, family)
            office.send(packet.udp(RESOLVER[family], 53, own, 41000))
            office.send(packet.udp(FRIEND[family], 50000, own, 4789))
            trial.same("delivered", len(came.packets()), 2)
            came.close()
            catcher.close()
        trial.no_entries("of asymmetric ways")


@pytest.mark.parametrize("more", ["", NUMBERS, "default output drop\n"])
def test_link_local_addresses_are_own(town: Lab, backend: str, more: str) -> None:
    """A service is at the link-local addresses as well, and untracked there."""
    with Trial(town, backend, PLAIN + more) as trial:
        world = town.client
        trial.serve(trial.host, "udp", 53, 161)
        own, near = "fe80::ff:fe00:1", "fe80::ff:fe00:2"
        assert own in trial.host.run("ip", "-6", "address", "show", "dev", "out0").out
        catcher = world.sniff()
        world.send([packet.udp(near, 7000, own, 53), packet.udp(near, 7001, own, 161)])
        answers = {(one.sport, one.dport) for one in catcher.packets() if one.src == own and one.proto == 17}
        trial.same("answers", answers, {(53, 7000)})
        big = packet.fragments(packet.udp(near, 7002, own, 53, bytes(4000)))
        trial.seen(trial.host, "udp", 53)
        world.send(big)
        trial.same("a big one", len(trial.seen(trial.host, "udp", 53)), 1)
        trial.no_entries("of link-local addresses")
        catcher.close()
