"""Facts: which state a packet has, and what a rule by state therefore misses."""

from __future__ import annotations

import pytest

from tests.kernel import packet
from tests.kernel.facts import FAR, OWN, STRANGER, state_rules, states
from tests.kernel.lab import LAN, WAN, Lab
from tests.kernel.ruletext import chain, nft, xt

FAMILIES = pytest.mark.parametrize("family", (4, 6))
ICMP = {4: "icmp", 6: "ipv6-icmp"}


def watch(lab: Lab, backend: str, match: tuple[str, str], *, untrack: bool = False, accept: str = "") -> None:
    """Count the states of what `match` (xtables, nft) selects in INPUT; perhaps untrack it before."""
    xt_match, nft_match = match
    raw = [f"-A PREROUTING {xt_match} -j CT --notrack"] if untrack else []
    rules = state_rules(backend, "INPUT", xt_match) + ([f"-A INPUT {xt_match} {accept}"] if accept else [])
    text = xt(raw=raw, filter=rules)
    lab.load_any(
        backend,
        v4=text,
        v6=text.replace("-p icmp", "-p ipv6-icmp"),
        nft=nft(
            chain("prerouting", "raw", *([f"{nft_match} notrack"] if untrack else [])),
            chain("input", "filter", *state_rules(backend, "INPUT", nft_match)),
        ),
    )


MATCHES = {
    "tcp": ("-p tcp --dport 80", "tcp dport 80"),
    "udp": ("-p udp --dport 53", "udp dport 53"),
    "echo": ("-p icmp", "meta l4proto { icmp, icmpv6 }"),
    "gre": ("-p gre", "meta l4proto gre"),
}


def probe(lab: Lab, kind: str, family: int) -> None:
    src, dst = STRANGER[family], OWN[family]
    lab.client.send(
        {
            "tcp": packet.tcp(src, 5555, dst, 80),
            "udp": packet.udp(src, 5555, dst, 53),
            "echo": packet.echo(src, dst),
            "gre": packet.raw(src, dst, packet.GRE, bytes(8)),
        }[kind]
    )


@FAMILIES
@pytest.mark.parametrize("kind", MATCHES)
def test_untracked_is_the_only_state_of_an_untracked_packet(
    lab: Lab, backend: str, kind: str, family: int
) -> None:
    """Whatever the protocol: not NEW, not ESTABLISHED, not INVALID. The same packet, tracked, is NEW."""
    lab.forget_neighbours()
    lab.client.ping(OWN[family])  # neighbours are known again, and their discovery is over
    match = MATCHES[kind]
    if kind == "echo":
        match = (
            f"-p icmp {'--icmp-type' if family == 4 else '--icmpv6-type'} echo-request",
            "icmp type echo-request" if family == 4 else "icmpv6 type echo-request",
        )
    if backend == "nft" or kind != "echo":
        watch(lab, backend, match)
        probe(lab, kind, family)
        assert states(lab, backend, "INPUT") == {"NEW": 1}
        lab.clear()
        watch(lab, backend, match, untrack=True)
    else:
        text = xt(
            raw=[f"-A PREROUTING {match[0]} -j CT --notrack"], filter=state_rules(backend, "INPUT", match[0])
        )
        lab.load_any(backend, **{f"v{family}": text.replace("-p icmp", f"-p {ICMP[family]}")})
    probe(lab, kind, family)
    assert states(lab, backend, "INPUT") == {"UNTRACKED": 1}


@FAMILIES
@pytest.mark.parametrize("untracked", (False, True))
def test_icmp_error_about_an_untracked_flow_is_invalid(
    lab: Lab, backend: str, family: int, untracked: bool
) -> None:
    """Fragmentation needed (packet too big) about a tracked flow is RELATED; about an untracked one it
    is INVALID, never RELATED."""
    kinds = ("-p icmp --icmp-type fragmentation-needed", "-p ipv6-icmp --icmpv6-type packet-too-big")
    match = kinds[family == 6]
    raw = ["-A PREROUTING -p udp --dport 53 -j CT --notrack", "-A OUTPUT -p udp --sport 53 -j CT --notrack"]
    lab.load_any(
        backend,
        **{f"v{family}": xt(raw=raw if untracked else [], filter=state_rules(backend, "INPUT", match))},
        nft=nft(
            chain("prerouting", "raw", *(["udp dport 53 notrack"] if untracked else [])),
            chain("output", "raw", *(["udp sport 53 notrack"] if untracked else [])),
            chain(
                "input",
                "filter",
                *state_rules(backend, "INPUT", "icmp type destination-unreachable"),
                *state_rules(backend, "INPUT", "icmpv6 type packet-too-big"),
            ),
        ),
    )
    lab.host.listen("udp", 53)
    assert lab.client.udp(OWN[family], 53, src=STRANGER[family], sport=5555).ok
    inner = packet.udp(OWN[family], 53, STRANGER[family], 5555)
    lab.client.send(packet.too_big(STRANGER[family], OWN[family], inner))
    assert states(lab, backend, "INPUT") == {"INVALID" if untracked else "RELATED": 1}


@FAMILIES
def test_invalid_drop_makes_a_path_mtu_black_hole(lab: Lab, backend: str, family: int) -> None:
    """`INVALID -j DROP` before the ICMP accepts: the host never learns the path MTU of an untracked
    flow. The other way round it does."""
    drop = ["-A INPUT -m conntrack --ctstate INVALID -j DROP"]
    accept = [f"-A INPUT -p {ICMP[family]} -j ACCEPT"]
    raw = ["-A PREROUTING -p udp --dport 53 -j CT --notrack", "-A OUTPUT -p udp --sport 53 -j CT --notrack"]
    inner = packet.udp(OWN[family], 53, STRANGER[family], 5555)
    lab.host.listen("udp", 53)
    for order, learnt in ((drop + accept, False), (accept + drop, True)):
        lab.clear()
        nft_rules = ["meta l4proto { icmp, icmpv6 } accept", "ct state invalid drop"]
        lab.load_any(
            backend,
            **{f"v{family}": xt(raw=raw, filter=order)},
            nft=nft(
                chain("prerouting", "raw", "udp dport 53 notrack"),
                chain("output", "raw", "udp sport 53 notrack"),
                chain("input", "filter", *(nft_rules if learnt else nft_rules[::-1])),
            ),
        )
        assert lab.client.udp(OWN[family], 53, src=STRANGER[family], sport=5555).ok
        lab.client.send(packet.too_big(STRANGER[family], OWN[family], inner, 1400))
        assert ("mtu 1400" in lab.host.run("ip", "route", "get", STRANGER[family]).out) == learnt


def test_neighbour_discovery_is_untracked_without_any_rule(lab: Lab, backend: str) -> None:
    """Neighbour solicitations and advertisements are UNTRACKED though no rule says so."""
    lab.load_any(
        backend,
        v6=xt(
            filter=[
                rule
                for kind in ("neighbour-solicitation", "neighbour-advertisement")
                for rule in state_rules(backend, "INPUT", f"-p ipv6-icmp --icmpv6-type {kind}")
            ]
        ),
        nft=nft(
            chain(
                "input",
                "filter",
                *state_rules(backend, "INPUT", "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }"),
            )
        ),
    )
    for asker, asked in ((lab.client, OWN[6]), (lab.host, WAN.peer_address(6))):
        lab.forget_neighbours()
        assert asker.ping(asked)
    found = states(lab, backend, "INPUT")
    assert set(found) == {"UNTRACKED"} and found["UNTRACKED"] >= 2


@pytest.mark.parametrize(
    ("name", "kind"), [("router-solicitation", 133), ("router-advertisement", 134), ("mld", 131)]
)
def test_router_discovery_and_mld_are_untracked_without_any_rule(
    lab: Lab, backend: str, name: str, kind: int
) -> None:
    """Router discovery and multicast listener reports are UNTRACKED though no rule says so."""
    lab.load_any(
        backend,
        v6=xt(filter=state_rules(backend, "INPUT", f"-s fe80::77 -p ipv6-icmp --icmpv6-type {kind}")),
        nft=nft(
            chain(
                "input",
                "filter",
                *state_rules(backend, "INPUT", f"ip6 saddr fe80::77 icmpv6 type {kind}"),
            )
        ),
    )
    group = "ff02::2" if kind == 133 else "ff02::1"
    lab.client.send(packet.icmp("fe80::77", group, kind, 0, bytes(20), ttl=255))
    assert states(lab, backend, "INPUT") == {"UNTRACKED": 1}


def test_neighbour_discovery_is_never_established(lab: Lab, xtables: str) -> None:
    """NEW and ESTABLISHED alone let no neighbour discovery in: under a drop policy IPv6 goes dumb once
    the neighbour caches are empty."""
    accept = "-A INPUT -m conntrack --ctstate NEW,ESTABLISHED,RELATED -j ACCEPT"
    lab.load(xtables, v6=xt(filter=["INPUT DROP", accept]))
    lab.forget_neighbours()
    assert not lab.client.ping(OWN[6])
    lab.load(xtables, v6=xt(filter=["INPUT DROP", accept, "-A INPUT -p ipv6-icmp -j ACCEPT"]))
    lab.forget_neighbours()
    assert lab.client.ping(OWN[6])


@FAMILIES
def test_echo_is_new_then_established(lab: Lab, backend: str, family: int) -> None:
    """An ICMP or ICMPv6 echo request is NEW; the next of the same ping is ESTABLISHED."""
    request = f"-p {ICMP[family]} " + ("--icmp-type 8" if family == 4 else "--icmpv6-type 128")
    nft_match = "icmp type echo-request" if family == 4 else "icmpv6 type echo-request"
    lab.load_any(
        backend,
        **{f"v{family}": xt(filter=state_rules(backend, "INPUT", request))},
        nft=nft(chain("input", "filter", *state_rules(backend, "INPUT", nft_match))),
    )
    for sequence in (1, 2):
        lab.client.send(packet.echo(STRANGER[family], OWN[family], seq=sequence))
    assert states(lab, backend, "INPUT") == {"NEW": 1, "ESTABLISHED": 1}


@FAMILIES
@pytest.mark.parametrize(
    ("flags", "loose", "state"),
    [
        ("A", 1, "NEW"),
        ("A", 0, "INVALID"),
        ("PA", 1, "NEW"),
        ("PA", 0, "INVALID"),
        ("S", 0, "NEW"),
        ("SA", 1, "INVALID"),
        ("SA", 0, "INVALID"),
        ("R", 1, "INVALID"),
        ("FA", 1, "INVALID"),
    ],
)
def test_first_packet_in_the_middle_of_a_connection(
    lab: Lab, backend: str, family: int, flags: str, loose: int, state: str
) -> None:
    """What is first seen as an ACK or as data is NEW while `nf_conntrack_tcp_loose` is 1, INVALID when
    it is 0; a SYN/ACK, a FIN or a RST is INVALID in both."""
    watch(lab, backend, MATCHES["tcp"])
    lab.host.sysctl("net.netfilter.nf_conntrack_tcp_loose", loose)
    lab.client.send(packet.tcp(STRANGER[family], 5555, OWN[family], 80, flags, ack=1))
    assert states(lab, backend, "INPUT") == {state: 1}


def test_new_never_matches_an_untracked_service(lab: Lab, backend: str) -> None:
    """Once port 80 is untracked, `--state NEW --dport 80 -j ACCEPT` under a drop policy lets nothing in."""
    lab.host.listen("tcp", 80)
    accept = "-A INPUT -p tcp --dport 80 -m conntrack --ctstate NEW -j ACCEPT"
    stateful = ["INPUT DROP", "-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT", accept]
    raw = ["-A PREROUTING -p tcp --dport 80 -j CT --notrack", "-A OUTPUT -p tcp --sport 80 -j CT --notrack"]
    for untracked in (False, True):
        lab.clear()
        lab.load_any(
            backend,
            v4=xt(filter=stateful, raw=raw if untracked else []),
            nft=nft(
                chain("prerouting", "raw", *(["tcp dport 80 notrack"] if untracked else [])),
                chain("output", "raw", *(["tcp sport 80 notrack"] if untracked else [])),
                chain(
                    "input",
                    "filter",
                    "ct state established,related accept",
                    "tcp dport 80 ct state new accept",
                    policy="drop",
                ),
            ),
        )
        assert lab.client.tcp(OWN[4], 80).outcome == ("dropped" if untracked else "answered")


def test_established_lets_no_untracked_reply_in(lab: Lab, backend: str) -> None:
    """The host's own question, untracked both ways, gets no answer under `ESTABLISHED,RELATED` alone."""
    peer = WAN.peer_address(4)
    lab.client.listen("udp", 53)
    raw = ["-A OUTPUT -p udp --dport 53 -j CT --notrack", "-A PREROUTING -p udp --sport 53 -j CT --notrack"]
    for untracked in (False, True):
        lab.clear()
        lab.load_any(
            backend,
            v4=xt(
                raw=raw if untracked else [],
                filter=["INPUT DROP", "-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"],
            ),
            nft=nft(
                chain("output", "raw", *(["udp dport 53 notrack"] if untracked else [])),
                chain("prerouting", "raw", *(["udp sport 53 notrack"] if untracked else [])),
                chain("input", "filter", "ct state established,related accept", policy="drop"),
            ),
        )
        assert lab.host.udp(peer, 53).outcome == ("silent" if untracked else "answered")


@FAMILIES
def test_icmp_error_about_an_untracked_forwarded_flow_is_invalid(lab: Lab, backend: str, family: int) -> None:
    """In FORWARD too: the error that a router passes back for an untracked route is INVALID."""
    match = "-p icmp --icmp-type 3" if family == 4 else "-p ipv6-icmp --icmpv6-type 1"
    lab.load_any(
        backend,
        **{
            f"v{family}": xt(
                raw=["-A PREROUTING -p udp -j CT --notrack"], filter=state_rules(backend, "FORWARD", match)
            )
        },
        nft=nft(
            chain("prerouting", "raw", "meta l4proto udp notrack"),
            chain(
                "forward",
                "filter",
                *state_rules(backend, "FORWARD", "icmp type destination-unreachable"),
                *state_rules(backend, "FORWARD", "icmpv6 type destination-unreachable"),
            ),
        ),
    )
    assert lab.client.udp(FAR[family], 99).outcome == "refused"
    assert states(lab, backend, "FORWARD") == {"INVALID": 1}
    assert LAN.peer_address(family) == FAR[family]
