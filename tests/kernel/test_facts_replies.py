"""Facts: what a forger reaches where replies are let in by their source port, and what closes it."""

from __future__ import annotations

import pytest

from tests.kernel import packet
from tests.kernel.facts import OWN, RESOLVER, STRANGER
from tests.kernel.lab import Lab
from tests.kernel.ruletext import chain, nft, xt

FAMILIES = pytest.mark.parametrize("family", (4, 6))


def replies(lab: Lab, backend: str, rules: tuple[str, ...], nft_rules: tuple[str, ...]) -> None:
    """INPUT drops all but neighbour discovery and what the rules accept. Nothing is tracked."""
    text = xt(filter=["INPUT DROP", *(f"-A INPUT {rule} -j ACCEPT" for rule in rules)])
    lab.load_any(
        backend,
        v4=text,
        v6=text.replace("COMMIT", "-A INPUT -p ipv6-icmp -j ACCEPT\nCOMMIT"),
        nft=nft(
            chain(
                "input",
                "filter",
                "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
                *(f"{rule} accept" for rule in nft_rules),
                policy="drop",
            )
        ),
    )


@FAMILIES
def test_sport_accept_opens_every_port(lab: Lab, backend: str, family: int) -> None:
    """`INPUT --sport 53 -j ACCEPT` opens every local port: from a random source port nothing answers,
    from source port 53 each does."""
    replies(lab, backend, ("-p udp --sport 53", "-p tcp --sport 53"), ("udp sport 53", "tcp sport 53"))
    lab.host.listen("tcp", 8080)
    lab.host.listen("udp", 161)
    own, stranger = OWN[family], STRANGER[family]
    assert lab.client.tcp(own, 8080, src=stranger).outcome == "dropped"
    assert lab.client.tcp(own, 8080, src=stranger, sport=53).ok
    assert lab.client.udp(own, 161, src=stranger).outcome == "silent"
    assert lab.client.udp(own, 161, src=stranger, sport=53).ok


@FAMILIES
def test_one_server_by_its_port_still_opens_every_port(lab: Lab, backend: str, family: int) -> None:
    """Replies from one server alone: a packet forged as `server:53 -> host:161` reaches the daemon;
    with the ephemeral range alone open it does not, and a true answer comes through."""
    own, server = OWN[family], RESOLVER[family]
    tag = "ip" if family == 4 else "ip6"
    forged = packet.udp(server, 53, own, 161)
    service = lab.host.listen("udp", 161)
    lab.client.listen("udp", 53, address=server)
    narrow = ("", ""), ("--dport 32768:60999", "udp dport 32768-60999")
    for (narrow_xt, narrow_nft), reached in zip(narrow, (1, 0), strict=True):
        lab.clear()
        lab.load_any(
            backend,
            **{
                f"v{family}": xt(
                    filter=[
                        "INPUT DROP",
                        *["-A INPUT -p ipv6-icmp -j ACCEPT"] * (family == 6),
                        f"-A INPUT -p udp -s {server} --sport 53 {narrow_xt} -j ACCEPT",
                    ]
                )
            },
            nft=nft(
                chain(
                    "input",
                    "filter",
                    "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
                    f"{tag} saddr {server} udp sport 53 {narrow_nft} accept",
                    policy="drop",
                )
            ),
        )
        lab.client.send(forged)
        assert len(service.seen()) == reached
        assert lab.host.udp(server, 53, sport=40000).ok


@FAMILIES
def test_tcp_replies_by_port_let_a_syn_in(lab: Lab, backend: str, family: int) -> None:
    """A TCP client rule for `http` lets an attacker with source port 80 open ports 22 and 3306, and
    with the range alone any listener in it. ACK or RST set (no bare SYN) closes both; replies pass."""
    for port in (22, 3306, 40000):
        lab.host.listen("tcp", port)
    lab.client.listen("tcp", 80)
    own, stranger = OWN[family], STRANGER[family]

    def opened() -> list[int]:
        tries = ((port, lab.client.tcp(own, port, src=stranger, sport=80)) for port in (22, 3306, 40000))
        return [port for port, connection in tries if connection.ok]

    replies(lab, backend, ("-p tcp --sport 80",), ("tcp sport 80",))
    assert opened() == [22, 3306, 40000]
    lab.clear()
    replies(lab, backend, ("-p tcp --sport 80 --dport 32768:60999",), ("tcp sport 80 tcp dport 32768-60999",))
    assert opened() == [40000]
    lab.clear()
    replies(
        lab,
        backend,
        (
            "-p tcp --sport 80 --dport 32768:60999 --tcp-flags ACK ACK",
            "-p tcp --sport 80 --dport 32768:60999 --tcp-flags RST RST",
        ),
        ("tcp sport 80 tcp dport 32768-60999 tcp flags & (ack | rst) != 0",),
    )
    assert opened() == []
    assert lab.host.tcp(stranger, 80, sport=40001).ok
    assert lab.host.tcp(stranger, 81, sport=40002).outcome == "dropped"  # a reset from port 81


def test_a_reset_is_let_in_by_the_flags(lab: Lab, backend: str) -> None:
    """ACK or RST lets the server's refusal in: the host hears `refused` at once, not a timeout."""
    replies(
        lab,
        backend,
        ("-p tcp --sport 80 --tcp-flags ACK ACK", "-p tcp --sport 80 --tcp-flags RST RST"),
        ("tcp sport 80 tcp flags & (ack | rst) != 0",),
    )
    assert lab.host.tcp(STRANGER[4], 80).outcome == "refused"


def test_notrack_of_ssh_on_a_stateful_ruleset_cuts_it(lab: Lab, backend: str) -> None:
    """One `raw PREROUTING --dport 22 -j NOTRACK` on a stock stateful ruleset: the SYN is UNTRACKED,
    neither NEW nor ESTABLISHED lets it in, and running sessions are cut as well."""
    lab.host.listen("tcp", 22)
    lab.load_any(
        backend,
        v4=xt(
            filter=[
                "INPUT DROP",
                "-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
                "-A INPUT -p tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT",
            ]
        ),
        nft=nft(
            chain(
                "input",
                "filter",
                "ct state established,related accept",
                "tcp dport 22 ct state new accept",
                policy="drop",
            )
        ),
    )
    session = lab.client.open(OWN[4], 22)
    assert session.ask().ok
    lab.load_any(
        backend,
        v4=xt(raw=["-A PREROUTING -p tcp --dport 22 -j NOTRACK"]),
        nft=nft(chain("prerouting", "raw", "tcp dport 22 notrack"), name="raw"),
    )
    assert session.ask().outcome == "stalled"
    assert lab.client.tcp(OWN[4], 22).outcome == "dropped"
