"""Facts: one-way traffic, groups and broadcast, and what the kernel itself sends."""

from __future__ import annotations

import sys
import time

import pytest

from tests.kernel import packet
from tests.kernel.facts import OWN, STRANGER, state_rules, states
from tests.kernel.lab import WAN, Lab
from tests.kernel.ruletext import chain, nft, xt

PEER = WAN.peer_address(4)
FAMILIES = pytest.mark.parametrize("family", (4, 6))
GROUPS = {4: "224.0.0.251", 6: "ff02::fb"}
ON = "-A FORWARD -m conntrack --ctstate NEW"  # tracking on, and nothing else
NFT_ON = chain("forward", "filter", "ct state new")


@pytest.mark.parametrize("port", [4789, 6081, 3784, 2152])
@pytest.mark.parametrize("whole", (False, True))
def test_one_way_protocols_need_a_leg_more(lab: Lab, backend: str, port: int, whole: bool) -> None:
    """VXLAN, Geneve, BFD, GTP-U: both directions go TO the port, from hashed ports. A service's legs
    leave what the host itself sends tracked, `[UNREPLIED]`; `OUTPUT --dport` is the missing one."""
    lab.load_any(
        backend,
        v4=xt(
            raw=[
                f"-A PREROUTING -p udp --dport {port} -j CT --notrack",
                f"-A OUTPUT -p udp --sport {port} -j CT --notrack",
                *[f"-A OUTPUT -p udp --dport {port} -j CT --notrack"] * whole,
            ],
            filter=[ON],
        ),
        nft=nft(
            chain("prerouting", "raw", f"udp dport {port} notrack"),
            chain("output", "raw", f"udp sport {port} notrack", *[f"udp dport {port} notrack"] * whole),
            NFT_ON,
        ),
    )
    lab.host.listen("udp", port, reply=b"")
    here = lab.client.listen("udp", port, reply=b"@")
    lab.client.send(packet.udp(PEER, 49152, OWN[4], port))
    for hashed in (50001, 50002):
        lab.host.udp_send(PEER, port, sport=hashed)
    assert [peer.port for peer in here.seen()] == [50001, 50002]
    found = [one for one in lab.entries() if one.src == OWN[4]]
    assert [(one.dport, one.replied) for one in found] == [] if whole else [(port, False)] * 2


def test_vxlan_device_makes_unreplied_entries(lab: Lab, backend: str) -> None:
    """A real VXLAN device: a service's four legs leave the host's own outer packets tracked: after a
    single ping through it an `[UNREPLIED]` entry for the ARP reply and one for the echo reply, at least."""
    lab.load_any(
        backend,
        v4=xt(
            raw=[
                "-A PREROUTING -p udp --dport 4789 -j CT --notrack",
                "-A OUTPUT -p udp --sport 4789 -j CT --notrack",
            ],
            filter=[ON],
        ),
        nft=nft(
            chain("prerouting", "raw", "udp dport 4789 notrack"),
            chain("output", "raw", "udp sport 4789 notrack"),
            NFT_ON,
        ),
    )
    ends = ((lab.host, OWN[4], PEER, "10.77.0.1"), (lab.client, PEER, OWN[4], "10.77.0.2"))
    try:
        for node, local, remote, address in ends:
            lines = (
                f"link add vx0 type vxlan id 7 local {local} remote {remote} dstport 4789 dev eth0",
                f"addr add {address}/24 dev vx0",
                "link set vx0 addrgenmode none",
                "link set vx0 up",
            )
            node.run("ip", "-batch", "-", text="\n".join(lines))
        assert lab.client.ping("10.77.0.1")
        outer = [one for one in lab.entries() if one.dport == 4789]
        assert len(outer) >= 2 and not any(one.replied for one in outer)
        assert {one.src for one in outer} == {OWN[4]}
    finally:
        for node, *_ in ends:
            node.run("ip", "link", "del", "vx0", check=False)


@FAMILIES
def test_group_question_gets_no_tracked_reply(lab: Lab, backend: str, family: int) -> None:
    """The answer to a multicast question comes from another address than was asked: it is NEW, and
    under ESTABLISHED alone it is dropped."""
    group = GROUPS[family]
    match = f"-s {WAN.peer_address(family)} -p udp --sport 5353"
    nft_match = f"{'ip' if family == 4 else 'ip6'} saddr {WAN.peer_address(family)} udp sport 5353"
    lab.load_any(
        backend,
        **{f"v{family}": xt(filter=state_rules(backend, "INPUT", match))},
        nft=nft(chain("input", "filter", *state_rules(backend, "INPUT", nft_match))),
    )
    lab.host.udp_send(group, 5353, sport=5353, device="eth0")
    lab.client.send(packet.udp(WAN.peer_address(family), 5353, OWN[family], 5353))
    assert states(lab, backend, "INPUT") == {"NEW": 1}
    found = {one.dst: one.replied for one in lab.entries()}
    assert found[group] is False


@pytest.mark.parametrize("accept_new", (False, True))
def test_dhcp_offer_is_new(lab: Lab, backend: str, accept_new: bool) -> None:
    """DISCOVER goes to broadcast from port 68; the OFFER is NEW, and dropped under ESTABLISHED."""
    rules = ["-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT"]
    rules += ["-A INPUT -p udp --sport 67 --dport 68 -j ACCEPT"] * accept_new
    lab.load_any(
        backend,
        v4=xt(filter=["INPUT DROP", *rules]),
        nft=nft(
            chain(
                "input",
                "filter",
                "ct state established accept",
                *["udp sport 67 udp dport 68 accept"] * accept_new,
                policy="drop",
            )
        ),
    )
    client = lab.host.listen("udp", 68, reply=b"@")
    assert lab.host.udp_send("255.255.255.255", 67, sport=68, device="eth0") == ""
    lab.client.send(packet.udp(PEER, 67, "255.255.255.255", 68))
    lab.client.send(packet.udp(PEER, 67, OWN[4], 68))
    assert len(client.seen()) == (2 if accept_new else 0)


@FAMILIES
def test_vrrp_to_a_group_is_untracked_by_protocol(lab: Lab, backend: str, family: int) -> None:
    """NOTRACK by protocol works for group traffic both ways: the advertisement arrives UNTRACKED, the
    host's own leaves no entry; without NOTRACK each way leaves one."""
    group = "224.0.0.18" if family == 4 else "ff02::12"
    for untracked in (True, False):
        lab.clear()
        lab.load_any(
            backend,
            **{
                f"v{family}": xt(
                    raw=[f"-A {hook} -p vrrp -j CT --notrack" for hook in ("PREROUTING", "OUTPUT")]
                    * untracked,
                    filter=state_rules(backend, "INPUT", "-p vrrp"),
                )
            },
            nft=nft(
                chain("prerouting", "raw", *["meta l4proto vrrp notrack"] * untracked),
                chain("output", "raw", *["meta l4proto vrrp notrack"] * untracked),
                chain("input", "filter", *state_rules(backend, "INPUT", "meta l4proto vrrp")),
            ),
        )
        service = lab.host.listen("udp", 7)
        service.join(group, "eth0")  # membership is the host's, whatever the socket
        catcher = lab.host.catch(packet.VRRP, family)
        lab.client.send(packet.raw(WAN.peer_address(family), group, packet.VRRP, bytes(16)))
        assert len(catcher.packets()) == 1
        assert states(lab, backend, "INPUT") == {"UNTRACKED" if untracked else "NEW": 1}
        lab.host.send_stack(packet.raw(OWN[family], group, packet.VRRP, bytes(16)))
        assert len([one for one in lab.entries() if one.line.split()[1] == "112"]) == 2 * (not untracked)
        service.close()
        catcher.close()


def test_igmp_is_tracked_and_mld_is_not(lab: Lab, backend: str) -> None:
    """A host that joins IPv4 groups tracks its own IGMP reports, as any protocol; MLD is left alone."""
    rules = xt(filter=[ON])
    lab.load_any(backend, v4=rules, v6=rules, nft=nft(NFT_ON))
    lab.host.send_stack(packet.icmp(OWN[6], "ff02::16", 143, 0, bytes(4)))
    assert lab.conntrack_count() == 0
    lab.host.send_stack(packet.raw(OWN[4], "224.0.0.22", 2, b"\x22" + bytes(7)))
    assert [(one.dst, one.replied) for one in lab.entries()] == [("224.0.0.22", False)]


@FAMILIES
def test_icmpv6_reject_ends_a_connect_at_the_second_syn(lab: Lab, xtables: str, family: int) -> None:
    """On veth an ICMPv6 error comes while `connect()` still holds its socket: it is noted, and ends
    the call only at the second SYN, a second later. IPv4's ends it at once. A test that asks an
    outside program waits longer; this lab's own probe reads the note."""
    rules = xt(filter=["-A INPUT -p tcp --dport 80 -j REJECT"])
    lab.load(xtables, v4=rules, v6=rules)
    started = time.monotonic()
    assert lab.client.tcp(OWN[family], 80).outcome == "refused"
    assert time.monotonic() - started < 0.5
    if xtables == "iptables-nft":  # once is enough: it takes a second
        script = f"import socket; socket.create_connection(({OWN[family]!r}, 80), 5)"
        started = time.monotonic()
        done = lab.client.run(sys.executable, "-I", "-S", "-c", script, check=False)
        assert "ConnectionRefusedError" in done.err
        assert (time.monotonic() - started > 0.9) == (family == 6)


@FAMILIES
def test_rejects_reset_passes_output(lab: Lab, backend: str, family: int) -> None:
    """The RST of `REJECT --reject-with tcp-reset` passes OUTPUT: under an output drop policy the
    client hears nothing; let out, it is refused."""
    for let_out in (False, True):
        lab.clear()
        nd = ["-A OUTPUT -p ipv6-icmp -j ACCEPT"] * (family == 6)
        lab.load_any(
            backend,
            **{
                f"v{family}": xt(
                    filter=[
                        "OUTPUT DROP",
                        *nd,
                        "-A INPUT -p tcp --dport 80 -j REJECT --reject-with tcp-reset",
                        *["-A OUTPUT -p tcp --tcp-flags RST RST -j ACCEPT"] * let_out,
                    ]
                )
            },
            nft=nft(
                chain("input", "filter", "tcp dport 80 reject with tcp reset"),
                chain(
                    "output",
                    "filter",
                    "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
                    *["tcp flags & rst == rst accept"] * let_out,
                    policy="drop",
                ),
            ),
        )
        assert lab.client.tcp(OWN[family], 80).outcome == ("refused" if let_out else "dropped")


@FAMILIES
@pytest.mark.parametrize("untracked", (False, True))
def test_own_port_unreachable_is_invalid_in_output(
    lab: Lab, backend: str, family: int, untracked: bool
) -> None:
    """The host's own port-unreachable about a tracked flow is RELATED in OUTPUT; about an untracked
    one INVALID, never RELATED."""
    match = ("-p icmp --icmp-type 3", "-p ipv6-icmp --icmpv6-type 1")[family == 6]
    nft_match = f"icmp{'' if family == 4 else 'v6'} type destination-unreachable"
    lab.load_any(
        backend,
        **{
            f"v{family}": xt(
                raw=["-A PREROUTING -p udp --dport 53 -j CT --notrack"] * untracked,
                filter=state_rules(backend, "OUTPUT", match),
            )
        },
        nft=nft(
            chain("prerouting", "raw", *["udp dport 53 notrack"] * untracked),
            chain("output", "filter", *state_rules(backend, "OUTPUT", nft_match)),
        ),
    )
    assert lab.client.udp(OWN[family], 53, src=STRANGER[family]).outcome == "refused"
    assert states(lab, backend, "OUTPUT") == {"INVALID" if untracked else "RELATED": 1}


@pytest.mark.parametrize("opened_by", ("host", "peer"))
def test_peers_may_be_opened_by_either_side(lab: Lab, backend: str, opened_by: str) -> None:
    """BGP and cluster buses: with a service's legs alone the session that the host opens is half
    tracked; with a client's legs beside them neither leaves an entry."""
    for both in (False, True):
        lab.clear()
        legs = [
            ("PREROUTING", "dport"),
            ("OUTPUT", "sport"),
            *[("PREROUTING", "sport"), ("OUTPUT", "dport")] * both,
        ]
        lab.load_any(
            backend,
            v4=xt(raw=[f"-A {hook} -p tcp --{end} 179 -j CT --notrack" for hook, end in legs], filter=[ON]),
            nft=nft(
                *(
                    chain(
                        hook, "raw", *(f"tcp {end} 179 notrack" for one, end in legs if one.lower() == hook)
                    )
                    for hook in ("prerouting", "output")
                ),
                NFT_ON,
            ),
        )
        services = [node.listen("tcp", 179) for node in (lab.host, lab.client)]
        if opened_by == "peer":
            assert lab.client.tcp(OWN[4], 179).ok
        else:
            assert lab.host.tcp(PEER, 179).ok
        assert lab.conntrack_count() == (1 if opened_by == "host" and not both else 0)
        for service in services:
            service.close()
