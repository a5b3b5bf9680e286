"""Compiled sites: translated flows are tracked whole and never mistaken for the host's untracked ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel import packet
from tests.kernel.lab import Lab
from tests.kernel.sites import (
    DMZ,
    DMZ2,
    FRIEND,
    HEAD,
    NEAR,
    OFFICE,
    OFFICE2,
    OWN,
    OWN2,
    OWN_DMZ,
    OWN_IN,
    RESOLVER,
    STRANGER,
    Trial,
    a_town,
)  # fmt: skip

GATEWAY = f"""{HEAD}
network inside = 172.16.5.0/24
service proxy   tcp 8080; udp 8080
service high    tcp 30000; udp 30000
service names   udp 53; tcp 53
client  resolve udp 53; tcp 53            to asked    untracked
route   outward                           from inside to any      on office out world
masquerade out-nat                        from inside             out world
publish shop    tcp 8443; udp 8443 on world            to 172.16.9.10 port 443
publish twin    tcp 9000 at 198.18.0.3 on world        to 172.16.9.10 port 9000
service own     tcp 9000                  at 198.18.0.2
service inner   tcp 8443                  on office
icmp    ping    echo-request              from any
"""
SERVED = {"tcp": {8080, 30000, 53, 9000, 8443}, "udp": {8080, 30000, 53}}


@pytest.fixture(params=["accept", "drop", "accept without replies"])
def output(request: pytest.FixtureRequest) -> str:
    """What the site says of the host's own packets: nothing of it may touch translated flows."""
    return f"default output {request.param}\n"


@pytest.fixture(scope="module")
def town() -> Iterator[Lab]:
    yield from a_town()


def test_a_lan_client_may_use_a_services_port(town: Lab, backend: str, output: str) -> None:
    """A masqueraded client with the very source port of an untracked service gets its answers."""
    with Trial(town, backend, GATEWAY + output) as trial:
        office = town.peers["office"]
        trial.serve(town.client, "tcp", 80)
        trial.serve(town.client, "udp", 80, 53)
        trial.serve(trial.host, "tcp", 8080, 30000)
        trial.serve(trial.host, "udp", 8080)
        for port in (8080, 30000, 53, 41000, 9000):
            for proto in ("tcp", "udp"):
                answer = trial.reach(office, proto, STRANGER[4], 80, sport=port)
                trial.note(
                    answer.seen is not None and answer.seen[0] == OWN[4] and free(proto, answer.seen[1]),
                    f"{proto} from {port} went out as {answer.seen}",
                )
        trial.only_entries(lambda entry: entry.src == OFFICE[4] and entry.replied)
        trial.reach(office, "tcp", STRANGER[4], 80, src=OFFICE2[4], sport=8080)
        trial.reach(office, "tcp", STRANGER[4], 80, src=OFFICE[4], sport=8080)
        trial.forget()
        trial.reach(town.client, "tcp", OWN[4], 8080, sport=80)
        trial.reach(town.client, "udp", OWN[4], 8080, sport=5353)
        trial.reach(office, "tcp", OWN_IN[4], 8080, sport=8080)
        trial.no_entries("of the host's services")


def free(proto: str, port: int) -> bool:
    """A port that translation may use: neither served nor one from which the host asks untracked."""
    return port not in SERVED[proto] and not 32768 <= port <= 60999


def test_translated_ports_stay_in_their_range(town: Lab, backend: str) -> None:
    """Whatever ports a hundred LAN clients use, the world sees none that could be taken for the host's."""
    with Trial(town, backend, GATEWAY) as trial:
        office = town.peers["office"]
        trial.serve(town.client, "tcp", 80)
        trial.serve(town.client, "udp", 80)
        for proto in ("tcp", "udp"):
            trial.crowd(office, proto, [(STRANGER[4], 80), (FRIEND[4], 80)], 100, [OFFICE[4], OFFICE2[4]])
            seen = trial.seen(town.client, proto, 80)
            trial.same(f"{proto} seen", len(seen), 100)
            odd = [one for one in seen if one[0] != OWN[4] or not free(proto, one[1])]
            trial.same(f"{proto} from ports of the host", odd, [])


def test_host_and_lan_ask_the_same_resolver(town: Lab, backend: str, output: str) -> None:
    """The host asks untracked, the LAN through masquerade: each gets its own answers."""
    with Trial(town, backend, GATEWAY + output) as trial:
        office = town.peers["office"]
        for proto in ("tcp", "udp"):
            trial.serve(town.client, proto, 53)
            for port in (40000, 41000, 53):
                trial.reach(office, proto, RESOLVER[4], 53, sport=port)
                trial.reach(trial.host, proto, RESOLVER[4], 53, sport=40000)
            trial.crowd(office, proto, [(RESOLVER[4], 53)], 50, [OFFICE[4], OFFICE2[4]])
        trial.only_entries(lambda entry: entry.src in (OFFICE[4], OFFICE2[4]) and entry.replied)


def test_pings_are_masqueraded(town: Lab, backend: str, output: str) -> None:
    """Echo goes through masquerade, and is answered by the host as well."""
    with Trial(town, backend, GATEWAY + output) as trial:
        office = town.peers["office"]
        for size in (8, 3000):
            trial.same(f"ping of {size}", office.ping(STRANGER[4], size=size), True)
            trial.same(f"ping to the host {size}", town.client.ping(OWN[4], size=size), True)
        catcher = town.client.sniff()
        town.peers["office"].ping(STRANGER[4])
        trial.same("seen from", {one.src for one in catcher.packets() if one.proto == 1}, {OWN[4]})


def test_masquerade_is_only_for_whom_it_is(town: Lab, backend: str) -> None:
    """Who is not masqueraded is not routed either; nobody comes in from outside."""
    with Trial(town, backend, GATEWAY) as trial:
        trial.serve(town.client, "tcp", 80)
        trial.serve(town.peers["office"], "tcp", 80)
        trial.serve(town.peers["office"], "udp", 80)
        trial.miss(town.peers["dmz"], "tcp", STRANGER[4], 80, at=town.client)
        trial.miss(town.client, "tcp", OFFICE[4], 80, at=town.peers["office"])
        trial.miss(town.client, "udp", OFFICE[4], 80, at=town.peers["office"])
        trial.miss(town.peers["office"], "tcp", STRANGER[6], 80, at=town.client)
        trial.reach(town.peers["office"], "tcp", STRANGER[4], 80)


def test_publish(town: Lab, backend: str, output: str) -> None:
    """A published port leads inside, by TCP and UDP; the target is closed to direct access."""
    with Trial(town, backend, GATEWAY + output) as trial:
        world, office, dmz = town.client, town.peers["office"], town.peers["dmz"]
        trial.serve(dmz, "tcp", 443, 9000, 80)
        trial.serve(dmz, "udp", 443)
        trial.serve(trial.host, "tcp", 9000, 8443)
        for sport in (0, 443, 8443, 40000, 8080):
            for proto in ("tcp", "udp"):
                answer = trial.reach(world, proto, OWN[4], 8443, sport=sport)
                trial.same("asked", answer.asked, (DMZ[4], 443))
                trial.note(
                    answer.seen is not None and answer.seen[0] in (NEAR[4], "198.18.0.1"), f"{answer.seen}"
                )
        trial.reach(world, "udp", OWN[4], 8443, size=6000)
        trial.same("asked", trial.reach(world, "tcp", OWN2[4], 8443).asked, (DMZ[4], 443))
        trial.same("asked", trial.reach(world, "tcp", OWN2[4], 9000).asked, (DMZ[4], 9000))
        trial.only_entries(lambda entry: entry.reply_src == DMZ[4] and entry.replied)
        trial.forget()
        trial.same("asked", trial.reach(world, "tcp", OWN[4], 9000).asked, (OWN[4], 9000))
        trial.same("asked", trial.reach(office, "tcp", OWN_IN[4], 8443).asked, (OWN_IN[4], 8443))
        trial.no_entries("of the host's own services")
        for proto, port in (("tcp", 443), ("udp", 443), ("tcp", 9000), ("tcp", 80), ("tcp", 8443)):
            trial.miss(world, proto, DMZ[4], port, at=dmz)
            trial.miss(office, proto, DMZ[4], port, at=dmz)
        trial.miss(dmz, "tcp", OWN_DMZ[4], 8443)


SNAT = f"""{HEAD}
network inside = 172.16.5.0/24
service web   tcp 80, 20000                on world
route   mail  tcp 25                       from 172.16.9.10 to any   out world
snat    mail-as                            from 172.16.9.10          out world   as 198.18.0.3
route   all   from inside to any           out world
masquerade rest                            from inside  out world
redirect pages tcp 80 on office            to port 3128
redirect clock udp 123 on office           to port 1123
service proxy tcp 3128                     from staff
service ntp   udp 1123                     from staff
trust   backup                             from friend  on world
icmp    ping  echo-request                 from any
"""


def test_snat(town: Lab, backend: str) -> None:
    """A source-translated flow shows the address that the line says; the rest of that source is closed."""
    with Trial(town, backend, SNAT) as trial:
        dmz = town.peers["dmz"]
        trial.serve(town.client, "tcp", 25, 26)
        for sport in (0, 80, 20000):
            answer = trial.reach(dmz, "tcp", STRANGER[4], 25, src=DMZ[4], sport=sport)
            trial.note(
                answer.seen is not None and answer.seen[0] == OWN2[4] and answer.seen[1] not in (80, 20000),
                f"{sport} went out as {answer.seen}",
            )
        trial.only_entries(lambda entry: entry.src == DMZ[4] and entry.reply_dst == OWN2[4])
        trial.miss(dmz, "tcp", STRANGER[4], 26, at=town.client)
        trial.miss(dmz, "tcp", STRANGER[4], 25, src=DMZ2[4], at=town.client)


def test_redirect(town: Lab, backend: str, output: str) -> None:
    """What the office asks on a redirected port is answered by the host; other sides are not redirected."""
    with Trial(town, backend, SNAT + output) as trial:
        office, world = town.peers["office"], town.client
        trial.serve(world, "tcp", 80)
        trial.serve(trial.host, "tcp", 3128, 80)
        trial.serve(trial.host, "udp", 1123)
        trial.serve(world, "udp", 123)
        answer = trial.reach(office, "tcp", STRANGER[4], 80)
        trial.same("the world was asked", trial.seen(world, "tcp", 80), [])
        trial.same("the proxy was asked", len(trial.seen(trial.host, "tcp", 3128)), 1)
        trial.note(answer.asked == (OWN_IN[4], 3128), f"asked as {answer.asked}")
        trial.reach(office, "udp", STRANGER[4], 123)
        trial.same("the clock was asked", len(trial.seen(trial.host, "udp", 1123)), 1)
        trial.reach(office, "tcp", OWN_IN[4], 3128)
        trial.reach(office, "udp", OWN_IN[4], 1123)
        trial.reach(office, "tcp", OWN_IN[4], 3128, sport=80)
        trial.miss(world, "tcp", OWN[4], 3128)
        trial.forget()
        answer = trial.reach(world, "tcp", OWN[4], 80)
        trial.same("asked", answer.asked, (OWN[4], 80))
        trial.no_entries("of the untracked service")


def test_trust_beside_masquerade(town: Lab, backend: str, output: str) -> None:
    """Who is trusted reaches the whole host, and still answers the LAN through masquerade."""
    with Trial(town, backend, SNAT + output) as trial:
        office, world, friend = town.peers["office"], town.client, FRIEND[4]
        ports = (1, 22, 2000, 12345, 30000, 40000, 65000)
        for proto in ("tcp", "udp"):
            trial.serve(trial.host, proto, *ports)
            trial.serve(world, proto, 81, 443, 20000)
            for port in ports:
                trial.reach(world, proto, OWN[4], port, src=friend)
                trial.miss(world, proto, OWN[4], port, src=STRANGER[4])
                trial.reach(office, proto, friend, 443, sport=port)
            trial.crowd(
                office, proto, [(friend, port) for port in (81, 443, 20000)], 60, [OFFICE[4], OFFICE2[4]]
            )
            if "drop" not in output:
                trial.reach(trial.host, proto, friend, 443)
            trial.reach(world, proto, OWN[6], 40000, src=FRIEND[6])
            trial.miss(world, proto, OWN[6], 40000, src=STRANGER[6])
        trial.same("the LAN pings it", office.ping(friend), True)
        trial.same("it pings the host", world.ping(OWN[4], src=friend, size=3000), True)
        if "drop" not in output:
            trial.same("the host pings it", trial.host.ping(friend), True)
        catcher = trial.host.catch(packet.GRE)
        world.send([packet.raw(one, OWN[4], packet.GRE, bytes(8)) for one in (friend, STRANGER[4])])
        trial.same("GRE came from", [one.src for one in catcher.packets()], [friend])
        trial.miss(world, "tcp", OFFICE[4], 22, src=friend, at=office)


def test_errors_about_translated_flows_are_translated_back(town: Lab, backend: str) -> None:
    """Fragmentation needed about a masqueraded flow reaches the LAN client, also from who is trusted."""
    with Trial(town, backend, SNAT) as trial:
        office, world = town.peers["office"], town.client
        trial.serve(world, "udp", 443)
        for far, teller in ((STRANGER[4], NEAR[4]), (STRANGER[4], FRIEND[4]), (FRIEND[4], FRIEND[4])):
            answer = trial.reach(office, "udp", far, 443)
            if answer.seen is None:
                continue
            catcher = office.sniff()
            inner = packet.udp(*answer.seen, far, 443, bytes(1300))
            world.send(packet.too_big(teller, OWN[4], inner))
            came = [one.icmp for one in catcher.packets() if one.dst == OFFICE[4]]
            trial.same(f"told by {teller} about {far}", came, [(3, 4)])
            catcher.close()


def test_ipv6_beside_ipv4_translation(town: Lab, backend: str) -> None:
    """IPv4 is translated, so tracked; IPv6 is not, and nothing of it is tracked."""
    with Trial(town, backend, GATEWAY.replace("client  resolve", "default output accept without replies\n"
                                              "client  resolve")) as trial:  # fmt: skip
        trial.serve(trial.host, "tcp", 8080, 53)
        trial.serve(trial.host, "udp", 8080, 53)
        trial.serve(town.client, "udp", 53)
        trial.serve(town.client, "tcp", 80)
        goals = [(OWN[6], 8080), (OWN[6], 53)]
        trial.crowd(town.client, "tcp", goals, 100)
        trial.crowd(town.client, "udp", goals, 100)
        trial.reach(trial.host, "udp", RESOLVER[6], 53, sport=41000)
        trial.reach(town.client, "udp", OWN[6], 53, size=6000)
        trial.ask(trial.host, "tcp", STRANGER[6], 80)
        trial.same("ping", town.client.ping(OWN[6], size=3000), True)
        trial.no_entries("of IPv6")
