"""The facts of a host, read from a system in memory."""

from __future__ import annotations

import ipaddress

from notrack.host.facts import facts, unknown
from notrack.host.system import LiveSystem, Ran, Twin
from notrack.netfilter.host import Host, HostInterface, host_json, read_host
from notrack.netfilter.routes import Route
from notrack.packets.intervals import IntervalSet

LINKS = r"""1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000\    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
2: eth0@if7: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT group default \    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff
3: tun0: <POINTOPOINT,UP> mtu 1500 qdisc noqueue state UNKNOWN mode DEFAULT group default \    link/none
4: docker0: <BROADCAST,UP> mtu 1500 qdisc noqueue state UP mode DEFAULT group default \    link/ether 02:00:00:00:00:02 brd ff:ff:ff:ff:ff:ff
"""  # noqa: E501
ADDRESSES = r"""1: lo    inet 127.0.0.1/8 scope host lo\       valid_lft forever preferred_lft forever
2: eth0    inet 198.51.100.1/24 brd 198.51.100.255 scope global eth0\       valid_lft forever
2: eth0    inet6 2001:db8::1/64 scope global \       valid_lft forever preferred_lft forever
3: tun0    inet 10.9.0.1 peer 10.9.0.2/32 scope global tun0\       valid_lft forever preferred_lft forever
"""
SETTINGS = {
    "/proc/sys/net/ipv4/ip_forward": "1\n",
    "/proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
    "/proc/sys/net/ipv6/conf/all/forwarding": "0\n",
    "/proc/sys/net/ipv6/conf/eth0/forwarding": "0\n",
    "/proc/sys/net/netfilter/nf_conntrack_tcp_loose": "1\n",
    "/sys/module/nf_conntrack/parameters/enable_hooks": "N\n",
    "/proc/1/comm": "systemd\n",
}
RULES = "0:\tfrom all lookup local\n32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n"
ROUTES = r"""default via 198.51.100.254 dev eth0 proto static
10.0.0.0/8 \	nexthop via 198.51.100.7 dev eth0 weight 1 \	nexthop via 10.9.0.2 dev tun0 weight 1
10.9.0.2 dev tun0 proto kernel scope link src 10.9.0.1
blackhole 10.66.0.0/16
"""
PROGRAMS: dict[str, Ran | str] = {
    "ip -o link show": LINKS,
    "ip -o address show": ADDRESSES,
    "ip -4 rule show": RULES,
    "ip -6 rule show": RULES,
    "ip -o -4 route show": ROUTES,
    "ip -o -6 route show": "2001:db8::/64 dev eth0 proto kernel metric 256 pref medium\n",
}


def system(**files: str) -> Twin:
    return Twin({**SETTINGS, **files}, PROGRAMS)


def test_everything_is_known() -> None:
    host = facts(system())
    face = ipaddress.ip_interface
    assert host == Host(
        interfaces=(
            HostInterface("lo", (face("127.0.0.1/8"),)),
            HostInterface("eth0", (face("198.51.100.1/24"), face("2001:db8::1/64"))),
            HostInterface("tun0", (face("10.9.0.1/32"),)),
            HostInterface("docker0"),
        ),
        routes=tuple(
            Route(ipaddress.ip_network(network), name)
            for network, name in (
                ("0.0.0.0/0", "eth0"),
                ("10.0.0.0/8", "eth0"),
                ("10.0.0.0/8", "tun0"),
                ("10.9.0.2/32", "tun0"),
                ("10.66.0.0/16", ""),
                ("2001:db8::/64", "eth0"),
            )
        ),
        forwards_ipv4=True,
        forwards_ipv6=False,
        ephemeral=IntervalSet(((32768, 60999),)),
        tcp_loose=True,
        translators=("docker",),
        tracking_elsewhere=False,
    )
    assert unknown(host) == ()
    assert read_host(host_json(host)) == host


def test_nothing_is_known() -> None:
    host = facts(Twin())
    sysctls = {"forwards_ipv4", "forwards_ipv6", "ephemeral", "tcp_loose"}
    assert set(unknown(host)) == {"interfaces", "routes", *sysctls}
    assert read_host(host_json(host)) == host


def test_with_policy_routing_the_main_table_tells_nothing() -> None:
    for odd in ("100:\tfrom all fwmark 0x1 lookup 7\n", "100:\tfrom 10.0.0.0/8 lookup main\n"):
        programs = {**PROGRAMS, "ip -4 rule show": RULES + odd}
        assert facts(Twin(SETTINGS, programs)).routes is None
    assert facts(Twin(SETTINGS, {**PROGRAMS, "ip -o -4 route show": "multicast?\n"})).routes is None


def test_one_interface_that_forwards_is_enough() -> None:
    on = system(**{"/proc/sys/net/ipv6/conf/eth0/forwarding": "1\n"})
    assert facts(on).forwards_ipv6 is True
    default = system(**{"/proc/sys/net/ipv6/conf/default/forwarding": "1\n"})
    assert facts(default).forwards_ipv6 is False


def test_translators_by_their_processes_and_servers() -> None:
    assert facts(system(**{"/proc/77/comm": "kube-proxy\n"})).translators == ("docker", "kubernetes")
    table = "IP Virtual Server version 1.2.1\nProt LocalAddress:Port\n  -> Remote\nTCP  C6336401:0050 rr\n"
    host = facts(system(**{"/proc/net/ip_vs": table}))
    assert host.translators == ("docker", "ipvs") and host.tracking_elsewhere is None
    empty = facts(system(**{"/proc/net/ip_vs": "IP Virtual Server version 1.2.1\n"}))
    assert empty.translators == ("docker",)


def test_tracking_that_no_rule_keeps_on() -> None:
    on = system(**{"/sys/module/nf_conntrack/parameters/enable_hooks": "Y\n"})
    assert facts(on).tracking_elsewhere is True


def test_odd_settings_are_unknown() -> None:
    for odd in ("", "5\n", "a b\n", "9 5\n", "1 70000\n", "1 2 3\n"):
        assert facts(system(**{"/proc/sys/net/ipv4/ip_local_port_range": odd})).ephemeral is None
    assert facts(system(**{"/proc/sys/net/netfilter/nf_conntrack_tcp_loose": "x"})).tcp_loose is None


def test_a_program_that_fails_is_no_fact() -> None:
    broken = Twin(SETTINGS, {"ip -o link show": LINKS, "ip -o address show": Ran(1, "", "no")})
    assert facts(broken).interfaces is None


def test_the_live_system_never_raises() -> None:
    live = LiveSystem()
    assert live.read("/nowhere/at/all") is None and live.read("/") is None and live.read("a\0b") is None
    assert live.names("/nowhere") == () and "net" in live.names("/proc")
    assert live.run(("no-such-program-anywhere",)).status == 127
    assert live.run(("cat",), stdin="x\n") == Ran(0, "x\n")
    assert live.run(("sh", "-c", "echo no >&2; exit 3")) == Ran(3, "", "no\n")
