"""Facts: translation and NOTRACK, and the ports that they must not share."""

from __future__ import annotations

import pytest

from tests.kernel import packet
from tests.kernel.facts import FAR, LAN_OWN, OWN, RESOLVER, STRANGER
from tests.kernel.lab import WAN, Lab, LabError
from tests.kernel.ruletext import chain, nft, xt

LAN_CLIENT = "10.8.0.5"
MASQUERADE = "-A POSTROUTING -o eth0 -j MASQUERADE"


def gateway(
    lab: Lab,
    backend: str,
    *,
    raw_in: tuple[str, str] = ("", ""),
    raw_out: tuple[str, str] = ("", ""),
    ports: str = "",
) -> None:
    """Masquerade the LAN; untrack what the pairs (xtables, nft) match in PREROUTING and OUTPUT."""
    raw = [
        f"-A {place} {match} -j CT --notrack"
        for place, match in (("PREROUTING", raw_in[0]), ("OUTPUT", raw_out[0]))
        if match
    ]
    masquerade = [MASQUERADE]
    nft_masquerade = ['oifname "eth0" masquerade']
    if ports:
        masquerade = [
            f"-A POSTROUTING -o eth0 -p {proto} -j MASQUERADE --to-ports {ports}" for proto in ("tcp", "udp")
        ]
        nft_masquerade = [f'oifname "eth0" meta l4proto {{ tcp, udp }} masquerade to :{ports}']
    lab.load_any(
        backend,
        v4=xt(raw=raw, nat=masquerade),
        nft=nft(
            chain("prerouting", "raw", *([f"{raw_in[1]} notrack"] if raw_in[1] else [])),
            chain("output", "raw", *([f"{raw_out[1]} notrack"] if raw_out[1] else [])),
            chain("postrouting", "srcnat", *nft_masquerade, kind="nat"),
        ),
    )


@pytest.mark.parametrize("untracked", (False, True))
def test_nat_is_never_consulted_for_an_untracked_packet(lab: Lab, backend: str, untracked: bool) -> None:
    """DNAT of port 80 with NOTRACK on port 80: the DNAT rule counts nothing, and the client is refused
    by the gateway itself."""
    lab.server.listen("tcp", 80)
    lab.load_any(
        backend,
        v4=xt(
            raw=["-A PREROUTING -p tcp --dport 80 -j CT --notrack"] * untracked,
            nat=[
                f"-A PREROUTING -p tcp --dport 80 -m comment --comment dnat -j DNAT --to-destination {FAR[4]}"
            ],
        ),
        nft=nft(
            chain("prerouting", "raw", *["tcp dport 80 notrack"] * untracked),
            chain(
                "prerouting", "dstnat", f'tcp dport 80 counter dnat ip to {FAR[4]} comment "dnat"', kind="nat"
            ),
        ),
    )
    connection = lab.client.tcp(OWN[4], 80)
    assert connection.outcome == ("refused" if untracked else "answered")
    assert lab.hits(backend, "dnat") == (0 if untracked else 1)


def test_masquerade_keeps_the_source_port(lab: Lab, backend: str) -> None:
    """MASQUERADE takes the client's own source port where it is free, whatever it is."""
    gateway(lab, backend)
    lab.client.listen("tcp", 443)
    for port in (5555, 8080, 1023):
        assert lab.server.tcp(STRANGER[4], 443, sport=port).seen == (OWN[4], port)


def test_masquerade_collides_with_an_untracked_service(lab: Lab, backend: str) -> None:
    """A LAN client whose source port happens to be that of an untracked service on the gateway hangs:
    its replies are untracked and never translated back. From any other port it works. `--to-ports`
    with a range without the service's port mends it."""
    own = ("-p tcp --dport 8080 -m addrtype --dst-type LOCAL", "tcp dport 8080 fib daddr type local")
    answers = ("-p tcp --sport 8080 -m addrtype --src-type LOCAL", "tcp sport 8080 fib saddr type local")
    lab.host.listen("tcp", 8080)
    lab.client.listen("tcp", 443)
    gateway(lab, backend, raw_in=own, raw_out=answers)
    assert lab.client.tcp(OWN[4], 8080).ok
    assert lab.server.tcp(STRANGER[4], 443, sport=5555).ok
    assert not lab.server.tcp(STRANGER[4], 443, sport=8080).ok
    lab.clear()
    gateway(lab, backend, raw_in=own, raw_out=answers, ports="32768-60999")
    connection = lab.server.tcp(STRANGER[4], 443, sport=8080)
    assert connection.ok and connection.seen and 32768 <= connection.seen[1] <= 60999
    assert lab.client.tcp(OWN[4], 8080).ok


@pytest.mark.parametrize(
    ("narrow", "caught"),
    [
        (("", ""), True),
        (("-m addrtype --dst-type LOCAL", "fib daddr type local"), False),
        ((f"-d {OWN[4]}", f"ip daddr {OWN[4]}"), False),
    ],
)
def test_notrack_by_port_catches_forwarded_connections(
    lab: Lab, backend: str, narrow: tuple[str, str], caught: bool
) -> None:
    """`PREROUTING -p tcp --dport 8080 -j CT --notrack` on a gateway also catches what it forwards: that
    leaves with its private source address. Matching the own addresses alone mends it."""
    gateway(lab, backend, raw_in=(f"-p tcp --dport 8080 {narrow[0]}", f"tcp dport 8080 {narrow[1]}"))
    lab.client.listen("tcp", 8080)
    catcher = lab.client.sniff()
    connection = lab.server.tcp(STRANGER[4], 8080, sport=5555)
    first = catcher.packets(lambda seen: seen.proto == packet.TCP)[0]
    assert first.src == (LAN_CLIENT if caught else OWN[4])
    if not caught:
        assert connection.seen == (OWN[4], 5555)


@pytest.mark.parametrize("narrow", [("", ""), ("-m addrtype --dst-type LOCAL", "fib daddr type local")])
def test_untracked_client_collides_with_a_masqueraded_lan(
    lab: Lab, backend: str, narrow: tuple[str, str]
) -> None:
    """The host's own questions to a resolver, untracked, beside a masqueraded LAN that asks the same
    one: the LAN's answer is addressed to the gateway too, is untracked and never translated back.
    `--dst-type LOCAL` does not help."""
    resolver = RESOLVER[4]
    lab.client.listen("udp", 53, address=resolver)
    gateway(
        lab,
        backend,
        raw_in=(
            f"-p udp -s {resolver} --sport 53 {narrow[0]}",
            f"ip saddr {resolver} udp sport 53 {narrow[1]}",
        ),
        raw_out=(f"-p udp -d {resolver} --dport 53", f"ip daddr {resolver} udp dport 53"),
    )
    assert lab.host.udp(resolver, 53).ok
    assert lab.server.udp(STRANGER[4], 99).outcome == "refused"  # other traffic of the LAN is translated
    assert lab.server.udp(resolver, 53).outcome == "silent"


def test_splitting_the_ports_mends_the_client_collision(lab: Lab, backend: str) -> None:
    """Own replies only to the ephemeral range, translation only outside of it (and without the ports
    of untracked services): both the host and the LAN are answered, from any source port."""
    resolver = RESOLVER[4]
    lab.client.listen("udp", 53, address=resolver)
    gateway(
        lab,
        backend,
        raw_in=(
            f"-p udp -s {resolver} --sport 53 --dport 32768:60999",
            f"ip saddr {resolver} udp sport 53 udp dport 32768-60999",
        ),
        raw_out=(
            f"-p udp -d {resolver} --dport 53 --sport 32768:60999",
            f"ip daddr {resolver} udp dport 53 udp sport 32768-60999",
        ),
        ports="1024-32767",
    )
    assert lab.host.udp(resolver, 53).ok and lab.conntrack_count() == 0
    for port in (0, 53, 40000):
        answer = lab.server.udp(resolver, 53, sport=port)
        assert answer.ok and answer.seen and 1024 <= answer.seen[1] <= 32767


@pytest.mark.parametrize(
    ("proto", "taken"), [("tcp", True), ("udp", True), ("sctp", True), ("dccp", True), ("udplite", False)]
)
def test_masquerade_to_ports_takes_these_protocols(lab: Lab, xtables: str, proto: str, taken: bool) -> None:
    """`--to-ports` needs `-p tcp`, `udp`, `sctp` or `dccp`; udplite is refused."""
    text = xt(nat=[f"-A POSTROUTING -p {proto} -j MASQUERADE --to-ports 1024-2047"])
    if taken:
        lab.load(xtables, v4=text, v6=text)
        return
    with pytest.raises(LabError):
        lab.load(xtables, v4=text)


def test_masquerade_to_ports_takes_one_range(lab: Lab, xtables: str) -> None:
    """One range, or one port; a list of them is refused, and so is `--to-ports` without a protocol."""
    for ports in ("1024-2047", "1024"):
        lab.load(xtables, v4=xt(nat=[f"-A POSTROUTING -p tcp -j MASQUERADE --to-ports {ports}"]))
    with pytest.raises(LabError):
        lab.load(xtables, v4=xt(nat=["-A POSTROUTING -p tcp -j MASQUERADE --to-ports 1024-2047,4096-8191"]))
    with pytest.raises(LabError):
        lab.load(xtables, v4=xt(nat=["-A POSTROUTING -j MASQUERADE --to-ports 1024-2047"]))


def test_forwarded_pair_by_port_half_tracks_the_routers_own_clients(lab: Lab, backend: str) -> None:
    """A route that is untracked by port in PREROUTING, without an exception for the router's own
    addresses: the router's own connection to such a server is tracked on its way out, its answers
    are not. With the exception the connection is tracked whole."""
    lab.server.listen("tcp", 80)
    for except_own in (False, True):
        lab.clear()
        own_xt = "-m addrtype ! --dst-type LOCAL" if except_own else ""
        own_nft = "fib daddr type != local" if except_own else ""
        lab.load_any(
            backend,
            v4=xt(
                raw=[
                    f"-A PREROUTING -p tcp --{way} 80 {own_xt} -j CT --notrack" for way in ("dport", "sport")
                ],
                filter=["-A INPUT -m conntrack --ctstate NEW"],
            ),
            nft=nft(
                chain(
                    "prerouting", "raw", *(f"tcp {way} 80 {own_nft} notrack" for way in ("dport", "sport"))
                ),
                chain("input", "filter", "ct state new counter"),
            ),
        )
        assert lab.client.tcp(FAR[4], 80).ok
        assert lab.conntrack_count() == 0
        assert lab.host.tcp(FAR[4], 80).ok
        assert [one.replied for one in lab.entries()] == [except_own]


def test_untracked_route_passes_without_entries(lab: Lab, backend: str) -> None:
    """Both directions in PREROUTING are enough for a route: OUTPUT never sees forwarded packets."""
    lab.server.listen("udp", 53)
    lab.load_any(
        backend,
        v4=xt(
            raw=[
                "-A PREROUTING -p udp --dport 53 -j CT --notrack",
                "-A PREROUTING -p udp --sport 53 -j CT --notrack",
            ],
            nat=[MASQUERADE],
        ),
        nft=nft(
            chain("prerouting", "raw", "udp dport 53 notrack", "udp sport 53 notrack"),
            chain("postrouting", "srcnat", 'oifname "eth0" masquerade', kind="nat"),
        ),
    )
    answer = lab.client.udp(FAR[4], 53)
    assert answer.ok and answer.seen == (WAN.peer_address(4), answer.port)
    assert lab.conntrack_count() == 0 and LAN_OWN[4] == "10.8.0.1"
