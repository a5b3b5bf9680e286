"""Every example of the project on a host such as its file describes: who is served and who is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.kernel import packet
from tests.kernel.conftest import demand_lab
from tests.kernel.lab import Lab, Side
from tests.kernel.sites import EXAMPLES, Trial

WAN = Side(
    "eth0",
    host=("192.0.2.80/24", "192.0.2.11", "192.0.2.51", "192.0.2.53",
          "2001:db8:80::1/64", "2001:db8:80::51", "2001:db8:53::53/64"),
    peer=("192.0.2.1/24", "192.0.2.12", "192.0.2.10", "192.0.2.123", "198.51.100.7", "198.51.100.80",
          "203.0.113.9", "203.0.113.129", "192.0.2.66", "9.9.9.9",
          "2001:db8:80::9/64", "2001:db8:51::7", "2001:db8:51::80", "2001:db8:99::9", "2001:db8:bad::1",
          "2620:fe::fe", "2001:db8:53::123"),
)  # fmt: skip
LAN = Side("eth1", host=("10.8.0.1/24",), peer=("10.8.0.5/24", "10.8.0.2", "10.8.0.9"))
VPN = Side("wg0", host=("10.9.0.1/24",), peer=("10.9.0.2/24",))
DNS = Side("nodelocaldns", host=("169.254.20.10/32",), peer=("169.254.20.11/24",))
CACHE = Side("eth0", host=("10.8.0.20/24",), peer=("10.8.0.81/24", "10.8.0.9", "10.8.0.7"))
UPLINK = Side(
    "eth0", host=("192.0.2.1/24", "2001:db8:80::1/64"),
    peer=("192.0.2.254/24", "192.0.2.2", "192.0.2.200", "2001:db8:80::fe/64", "2001:db8:80::200"),
)  # fmt: skip
CAMPUS = Side(
    "eth1", host=("198.51.100.1/24", "2001:db8:51::1/64"), peer=("198.51.100.7/24", "2001:db8:51::7/64")
)
SERVERS = Side(
    "eth2", host=("203.0.113.1/25", "2001:db8:71::1/64"),
    peer=("203.0.113.53/25", "203.0.113.81", "203.0.113.99",
          "2001:db8:71::53/64", "2001:db8:71::81", "2001:db8:71::99"),
)  # fmt: skip


def edge(trial: Trial) -> None:
    world, lan, own, own6 = trial.lab.peers["wan"], trial.lab.peers["lan"], "192.0.2.80", "2001:db8:80::1"
    trial.serve(trial.host, "tcp", 80, 443, 8000, 8010, 53, 22, 9100, 11211, 7777)
    trial.serve(trial.host, "udp", 443, 53, 4789, 161)
    trial.serve(world, "udp", 53)
    trial.serve(world, "tcp", 53, 80)
    trial.serve(lan, "tcp", 443)
    goals = [(dst, port) for dst in (own, own6) for port in (80, 443, 8000, 8010, 53)]
    trial.crowd(world, "tcp", goals, 100)
    trial.crowd(world, "udp", [(dst, port) for dst in (own, own6) for port in (443, 53)], 60)
    trial.reach(lan, "tcp", "10.8.0.1", 11211)
    trial.reach(world, "tcp", own, 22, src="198.51.100.7")
    trial.reach(world, "tcp", own, 7777, src="192.0.2.10")
    trial.reach(trial.host, "udp", "9.9.9.9", 53, sport=41000)
    trial.reach(trial.host, "udp", "2620:fe::fe", 53, sport=41000)
    lan.udp_send("10.8.0.1", 4789, src="10.8.0.2")
    trial.same("overlay", len(trial.seen(trial.host, "udp", 4789)), 1)
    trial.no_entries("of untracked flows")
    for src in ("203.0.113.129", "192.0.2.66", "2001:db8:bad::1"):
        trial.miss(world, "tcp", own6 if ":" in src else own, 80, src=src)
    trial.miss(world, "tcp", own, 22, src="203.0.113.9")
    trial.miss(world, "tcp", own, 11211, src="203.0.113.9")
    trial.miss(world, "udp", own, 161, src="9.9.9.9", sport=53)
    trial.reach(world, "tcp", own, 9100, src="198.51.100.7")
    answer = trial.reach(world, "tcp", own, 8443)
    trial.same("published", answer.asked, ("10.8.0.5", 443))
    for proto in ("udp", "tcp"):
        for sport in (41000, 8000, 53):
            answer = trial.reach(lan, proto, "9.9.9.9", 53, sport=sport)
            trial.same("masqueraded", answer.seen and answer.seen[0], own)


def web_dns(trial: Trial) -> None:
    world, own, own6 = trial.lab.peers["wan"], "192.0.2.80", "2001:db8:80::1"
    trial.serve(trial.host, "tcp", 80, 443, 53, 22, 81)
    trial.serve(trial.host, "udp", 443, 53, 80)
    trial.serve(world, "tcp", 80)
    trial.crowd(world, "tcp", [(dst, port) for dst in (own, own6) for port in (80, 443, 53)], 100)
    trial.crowd(world, "udp", [(dst, port) for dst in (own, own6) for port in (443, 53)], 100)
    trial.reach(world, "tcp", own, 22, src="198.51.100.7")
    trial.no_entries("of services")
    trial.miss(world, "tcp", own, 22, src="203.0.113.9")
    trial.miss(world, "tcp", own6, 81)
    trial.miss(world, "udp", own, 80)
    trial.reach(trial.host, "tcp", "203.0.113.9", 80)
    trial.only_entries(lambda entry: entry.dport == 80)


def nat_gateway(trial: Trial) -> None:
    world, lan, own = trial.lab.peers["wan"], trial.lab.peers["lan"], "192.0.2.80"
    trial.serve(trial.host, "tcp", 53, 8080, 22)
    trial.serve(trial.host, "udp", 53, 123)
    trial.serve(world, "tcp", 80, 53)
    trial.serve(world, "udp", 53, 123)
    trial.serve(lan, "tcp", 443)
    for port in (53, 8080, 22):
        trial.reach(lan, "tcp", "10.8.0.1", port)
        trial.miss(world, "tcp", own, port)
    trial.reach(lan, "udp", "10.8.0.1", 53)
    trial.reach(trial.host, "udp", "9.9.9.9", 53, sport=41000)
    trial.no_entries("of services")
    for sport in (8080, 53, 41000, 22):
        trial.reach(lan, "tcp", "203.0.113.9", 80, sport=sport)
        trial.reach(lan, "udp", "9.9.9.9", 53, sport=sport)
        trial.reach(trial.host, "udp", "9.9.9.9", 53, sport=41000)
    trial.same("published", trial.reach(world, "tcp", own, 8443).asked, ("10.8.0.5", 443))
    trial.reach(lan, "udp", "203.0.113.9", 123)
    trial.same("the clock", len(trial.seen(trial.host, "udp", 123)), 1)
    trial.reach(lan, "udp", "10.8.0.1", 123)
    trial.same("ping", [lan.ping("203.0.113.9"), lan.ping("10.8.0.1"), world.ping(own)], [True, True, False])


def resolver(trial: Trial) -> None:
    world, own, own6 = trial.lab.peers["wan"], "192.0.2.53", "2001:db8:53::53"
    trial.serve(trial.host, "tcp", 53, 853, 22)
    trial.serve(trial.host, "udp", 53, 5353)
    trial.serve(world, "tcp", 53, 80)
    trial.serve(world, "udp", 53, 123)
    trial.crowd(world, "udp", [(own, 53), (own6, 53)], 100, ["198.51.100.7", "2001:db8:51::7"])
    trial.crowd(world, "tcp", [(own, 53), (own6, 853)], 60, ["203.0.113.9", "2001:db8:51::80"])
    for far in ("192.0.2.12", "9.9.9.9", "2620:fe::fe"):
        for sport in (10000, 34567, 59999):
            trial.reach(trial.host, "udp", far, 53, sport=sport, size=2000)
            trial.reach(trial.host, "tcp", far, 53, sport=sport)
    trial.no_entries("of questions and answers")
    trial.miss(world, "udp", own, 53, src="9.9.9.9")
    trial.miss(world, "udp", own, 5353, src="203.0.113.9", sport=53)
    trial.reach(trial.host, "tcp", "203.0.113.9", 80)
    trial.reach(trial.host, "udp", "192.0.2.123", 123)
    trial.note(not trial.host.udp("9.9.9.9", 123).ok, "a clock that is not declared")
    trial.only_entries(lambda entry: entry.dport in (80, 123))


def stateless(trial: Trial) -> None:
    world, own, own6 = trial.lab.peers["wan"], "192.0.2.80", "2001:db8:80::1"
    trial.serve(trial.host, "tcp", 80, 443, 22)
    trial.serve(trial.host, "udp", 443)
    trial.serve(world, "udp", 53, 123)
    trial.serve(world, "tcp", 53, 80, 443)
    trial.crowd(world, "tcp", [(dst, port) for dst in (own, own6) for port in (80, 443)], 100)
    trial.crowd(world, "udp", [(own, 443), (own6, 443)], 100)
    trial.reach(trial.host, "udp", "9.9.9.9", 53, sport=41000, size=6000)
    trial.reach(trial.host, "udp", "2620:fe::fe", 53, sport=41000, size=6000)
    trial.reach(trial.host, "tcp", "198.51.100.80", 443)
    trial.reach(trial.host, "udp", "192.0.2.123", 123, sport=123)
    trial.miss(world, "tcp", own, 22, src="203.0.113.9", outcome="refused")
    trial.miss(world, "udp", own6, 161, outcome="refused")
    trial.note(not trial.host.tcp("203.0.113.9", 80).ok, "an undeclared connection")
    trial.same("ping", [world.ping(own), world.ping(own6, size=3000)], [True, True])
    trial.no_entries()


def memcached(trial: Trial) -> None:
    peer, own = trial.lab.client, "10.8.0.20"
    trial.serve(trial.host, "tcp", 11211, 6379, 9100, 22)
    trial.serve(trial.host, "udp", 11211)
    trial.crowd(peer, "tcp", [(own, 11211), (own, 6379)], 200, ["10.8.0.81"])
    trial.crowd(peer, "udp", [(own, 11211)], 100, ["10.8.0.81"])
    trial.no_entries("of the cache")
    trial.miss(peer, "tcp", own, 11211, src="10.8.0.9")
    trial.miss(peer, "udp", own, 11211, src="10.8.0.7")
    trial.reach(peer, "tcp", own, 9100, src="10.8.0.9")
    trial.reach(peer, "tcp", own, 22, src="10.8.0.9")
    trial.miss(peer, "tcp", own, 22, src="10.8.0.81")
    trial.only_entries(lambda entry: entry.dport in (9100, 22))


def router(trial: Trial) -> None:
    uplink, campus, servers = (trial.lab.peers[name] for name in ("uplink", "campus", "servers"))
    trial.serve(servers, "tcp", 80, 53, 22)
    trial.serve(servers, "udp", 53, 161)
    trial.serve(uplink, "tcp", 80, 8000, 179)
    trial.serve(campus, "tcp", 80)
    trial.serve(trial.host, "tcp", 179, 22)
    trial.serve(trial.host, "udp", 3784)
    trial.crowd(uplink, "tcp", [("203.0.113.53", 53), ("203.0.113.81", 80), ("2001:db8:71::81", 80)], 100)
    trial.crowd(uplink, "udp", [("203.0.113.53", 53), ("2001:db8:71::53", 53)], 100)
    for near, own in (("192.0.2.254", "192.0.2.1"), ("2001:db8:80::fe", "2001:db8:80::1")):
        trial.reach(uplink, "tcp", own, 179, src=near)
        trial.reach(trial.host, "tcp", near, 179, src=own)
        uplink.udp_send(own, 3784, src=near)
    trial.same("bfd", len(trial.seen(trial.host, "udp", 3784)), 2)
    trial.host.listen("udp", 1).join("224.0.0.18", "eth0")
    catcher = trial.host.catch(packet.VRRP)
    uplink.send(packet.raw("192.0.2.2", "224.0.0.18", packet.VRRP, bytes(20), ttl=255))
    trial.same("vrrp", len(catcher.packets()), 1)
    trial.reach(campus, "tcp", "198.51.100.1", 22)
    trial.no_entries("of untracked flows")
    trial.reach(campus, "tcp", "192.0.2.254", 8000)
    trial.miss(campus, "tcp", "203.0.113.99", 22, at=servers)
    trial.reach(servers, "tcp", "192.0.2.200", 80)
    trial.only_entries(lambda entry: entry.replied)
    trial.miss(uplink, "tcp", "203.0.113.99", 80, at=servers)
    trial.miss(uplink, "udp", "203.0.113.99", 161, sport=53, src="192.0.2.200", at=servers)
    trial.miss(uplink, "tcp", "198.51.100.7", 80, at=campus)
    trial.miss(uplink, "tcp", "192.0.2.1", 22)
    trial.miss(servers, "tcp", "192.0.2.200", 8000, at=uplink)


def kubernetes_node(trial: Trial) -> None:
    node, own = trial.lab.peers["wan"], "192.0.2.11"
    trial.serve(trial.host, "udp", 4789, 53, 99)
    trial.serve(trial.host, "tcp", 53, 8080, 99)
    node.udp_send(own, 4789, src="192.0.2.12", sport=50505)
    trial.host.udp_send("192.0.2.12", 4789, src=own, sport=50506)
    trial.same("overlay", len(trial.seen(trial.host, "udp", 4789)), 1)
    trial.reach(node, "udp", "169.254.20.10", 53, src="192.0.2.12")
    trial.reach(node, "tcp", "169.254.20.10", 53, src="192.0.2.12")
    trial.reach(node, "tcp", "169.254.20.10", 8080, src="192.0.2.12")
    trial.no_entries("of the overlay and the cache")
    trial.reach(node, "tcp", own, 99, src="203.0.113.9")  # left to the other rules of this host


def wireguard(trial: Trial) -> None:
    world, vpn, own = trial.lab.peers["wan"], trial.lab.peers["vpn"], "192.0.2.51"
    trial.serve(trial.host, "udp", 51820, 53)
    trial.serve(trial.host, "tcp", 22)
    trial.serve(world, "udp", 53, 51820)
    trial.serve(world, "tcp", 80)
    for dst in (own, "2001:db8:80::51"):
        trial.crowd(world, "udp", [(dst, 51820)], 50)
        trial.reach(world, "udp", dst, 51820, sport=51820)
    trial.reach(trial.host, "udp", "203.0.113.9", 51820, sport=51820)
    trial.reach(vpn, "udp", "10.9.0.1", 53)
    trial.reach(vpn, "tcp", "10.9.0.1", 22)
    trial.no_entries("of the tunnel")
    for sport in (51820, 22, 53, 41000):
        answer = trial.reach(vpn, "udp", "9.9.9.9", 53, sport=sport)
        odd = answer.seen is None or answer.seen[0] != "192.0.2.80" or answer.seen[1] in (51820, 53)
        trial.note(not odd, f"{sport} went out as {answer.seen}")
        trial.reach(vpn, "tcp", "203.0.113.9", 80, sport=sport)
    trial.miss(world, "tcp", own, 22)
    trial.miss(world, "udp", own, 53)
    trial.same("ping", [vpn.ping("203.0.113.9"), vpn.ping("10.9.0.1")], [True, True])


PROBES: dict[str, tuple[Callable[[Trial], None], dict[str, Side]]] = {
    "edge": (edge, {"wan": WAN, "lan": LAN}),
    "web-dns": (web_dns, {"wan": WAN}),
    "nat-gateway": (nat_gateway, {"wan": WAN, "lan": LAN}),
    "resolver": (resolver, {"wan": WAN}),
    "stateless": (stateless, {"wan": WAN}),
    "memcached": (memcached, {"lan": CACHE}),
    "router": (router, {"uplink": UPLINK, "campus": CAMPUS, "servers": SERVERS}),
    "kubernetes-node": (kubernetes_node, {"wan": WAN, "dns": DNS}),
    "wireguard": (wireguard, {"wan": WAN, "vpn": VPN}),
}


def test_every_example_is_probed() -> None:
    assert {path.parent.name for path in EXAMPLES.glob("*/site.spec")} == set(PROBES)


@pytest.mark.parametrize("example", PROBES)
def test_example(example: str, backend: str) -> None:
    """The example's rules, on a host with its devices and addresses, probed from all sides."""
    demand_lab()
    probe, sides = PROBES[example]
    lab = Lab()
    lab.sides = sides
    with lab, Trial(lab, backend, "", base=str(EXAMPLES / example / "site.spec")) as trial:
        probe(trial)
