"""Facts: where fragments are whole packets, and where they are not."""

from __future__ import annotations

import pytest

from tests.kernel import packet
from tests.kernel.facts import FAR, OWN, STRANGER
from tests.kernel.lab import Lab
from tests.kernel.ruletext import chain, nft, xt

FAMILIES = pytest.mark.parametrize("family", (4, 6))
PIECES = 5  # of a 6,000-byte datagram: 1,480 (IPv4) or 1,448 (IPv6) bytes each
ND = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept"
ND_XT = "-A INPUT -p ipv6-icmp -j ACCEPT"
ON = "ct state new"
FRAGMENT_CHAIN = [
    ":frag",
    "-A frag -m frag --fragfirst -j RETURN",
    "-A frag -j ACCEPT",
    "-A INPUT -m ipv6header --header frag --soft -j frag",
]


def count(lab: Lab, backend: str, family: int, hook: str, *, tracking: bool, notrack: bool = False) -> None:
    """Count UDP to port 53 in raw and in a filter chain: by port, and all of it by address."""
    place = hook.upper()
    named = "-m comment --comment"
    target = "-j CT --notrack" if notrack else ""
    state = ["-A OUTPUT -m conntrack --ctstate NEW"] * tracking
    far = f"-s {STRANGER[family]}"
    lab.load_any(
        backend,
        **{
            f"v{family}": xt(
                raw=[
                    f"-A PREROUTING {far} {named} raw-all",
                    f"-A PREROUTING {far} -p udp --dport 53 {named} raw-port {target}",
                ],
                filter=[
                    f"-A {place} {far} {named} filter-all",
                    f"-A {place} {far} -p udp --dport 53 {named} filter-port",
                    *state,
                ],
            )
        },
        nft=nft(
            chain(
                "prerouting",
                "raw",
                f'{ip(family)} saddr {STRANGER[family]} counter comment "raw-all"',
                f"{ip(family)} saddr {STRANGER[family]} udp dport 53 counter {'notrack' * notrack} "
                'comment "raw-port"',
            ),
            chain(
                hook,
                "filter",
                f'{ip(family)} saddr {STRANGER[family]} counter comment "filter-all"',
                f'{ip(family)} saddr {STRANGER[family]} udp dport 53 counter comment "filter-port"',
            ),
            *[chain("output", "filter", ON)] * tracking,
        ),
    )


def ip(family: int) -> str:
    return "ip" if family == 4 else "ip6"


def hits(lab: Lab, backend: str) -> tuple[int, ...]:
    return tuple(lab.hits(backend, name) for name in ("raw-all", "raw-port", "filter-all", "filter-port"))


def send_big(lab: Lab, dst: str) -> None:
    """Send one 6,000-byte datagram, from the stranger, as fragments."""
    family = 6 if ":" in dst else 4
    assert lab.client.udp_send(dst, 53, src=STRANGER[family], size=6000) == ""


@FAMILIES
@pytest.mark.parametrize("hook", ("input", "forward"))
@pytest.mark.parametrize("notrack", (False, True))
def test_tracking_reassembles_before_raw(
    lab: Lab, backend: str, family: int, hook: str, notrack: bool
) -> None:
    """With tracking active the whole datagram comes to `raw` and to everything behind it, NOTRACK or not."""
    count(lab, backend, family, hook, tracking=True, notrack=notrack)
    send_big(lab, (OWN if hook == "input" else FAR)[family])
    assert hits(lab, backend) == (1, 1, 1, 1)


@FAMILIES
def test_without_tracking_raw_sees_fragments(lab: Lab, backend: str, family: int) -> None:
    """Without tracking `raw` sees the fragments as they came, and a port match the first of them alone."""
    count(lab, backend, family, "input", tracking=False)
    send_big(lab, OWN[family])
    assert hits(lab, backend)[:2] == (PIECES, 1)


def test_ipv4_input_sees_the_whole_packet_without_tracking(lab: Lab, backend: str) -> None:
    """IPv4 local delivery reassembles before INPUT."""
    count(lab, backend, 4, "input", tracking=False)
    send_big(lab, OWN[4])
    assert hits(lab, backend)[2:] == (1, 1)


def test_ipv6_input_sees_fragments_without_tracking(lab: Lab, backend: str) -> None:
    """IPv6 reassembles behind INPUT: later fragments come there without ports."""
    count(lab, backend, 6, "input", tracking=False)
    send_big(lab, OWN[6])
    assert hits(lab, backend)[2:] == (PIECES, 1)


@FAMILIES
def test_forward_sees_fragments_without_tracking(lab: Lab, backend: str, family: int) -> None:
    """Nobody reassembles what is only passed on: later fragments have no ports to match."""
    count(lab, backend, family, "forward", tracking=False)
    send_big(lab, FAR[family])
    assert hits(lab, backend)[2:] == (PIECES, 1)


@FAMILIES
@pytest.mark.parametrize("tracking", (False, True))
def test_forward_by_port_loses_big_datagrams_without_tracking(
    lab: Lab, backend: str, family: int, tracking: bool
) -> None:
    """`FORWARD -p udp --dport 53 -j ACCEPT` under a drop policy lets a big datagram through only where
    tracking puts it together."""
    service = lab.server.listen("udp", 53, reply=b"")
    nd = ["-A FORWARD -p ipv6-icmp -j ACCEPT"] * (family == 6)
    state = ["-A OUTPUT -m conntrack --ctstate NEW"] * tracking
    lab.load_any(
        backend,
        **{f"v{family}": xt(filter=["FORWARD DROP", *nd, "-A FORWARD -p udp --dport 53 -j ACCEPT", *state])},
        nft=nft(
            chain("forward", "filter", "udp dport 53 accept", policy="drop"),
            *[chain("output", "filter", ON)] * tracking,
        ),
    )
    lab.client.udp_send(FAR[family], 53, size=100)
    send_big(lab, FAR[family])
    assert [peer.size for peer in service.seen()] == [100, 6000][: 1 + tracking]


@pytest.mark.parametrize("mended", (False, True))
def test_forward_accepts_later_fragments_by_their_offset(lab: Lab, backend: str, mended: bool) -> None:
    """`-f` in iptables and `ip frag-off & 0x1fff != 0` in nft match the later IPv4 fragments: letting
    them pass lets the big datagram through without tracking."""
    service = lab.server.listen("udp", 53, reply=b"")
    lab.load_any(
        backend,
        v4=xt(
            filter=[
                "FORWARD DROP",
                "-A FORWARD -p udp --dport 53 -j ACCEPT",
                *["-A FORWARD -f -j ACCEPT"] * mended,
            ]
        ),
        nft=nft(
            chain(
                "forward",
                "filter",
                "udp dport 53 accept",
                *["ip frag-off & 0x1fff != 0 accept"] * mended,
                policy="drop",
            )
        ),
    )
    send_big(lab, FAR[4])
    assert [peer.size for peer in service.seen()] == [6000] * mended
    assert lab.conntrack_count() == 0


def input_by_port(
    lab: Lab,
    backend: str,
    *,
    xt_extra: tuple[str, ...] = (),
    nft_extra: tuple[str, ...] = (),
    mangle: tuple[str, ...] = (),
    nft_mangle: tuple[str, ...] = (),
) -> None:
    """IPv6: `udp dport 53 accept` under a drop policy, and what is to mend it."""
    lab.load_any(
        backend,
        v6=xt(
            mangle=mangle,
            filter=["INPUT DROP", ND_XT, "-A INPUT -p udp --dport 53 -j ACCEPT", *xt_extra],
        ),
        nft=nft(
            chain("prerouting", "mangle", *nft_mangle),
            chain("input", "filter", ND, "udp dport 53 accept", *nft_extra, policy="drop"),
            family="ip6",
        ),
    )


def test_ipv6_service_loses_big_datagrams_without_tracking(lab: Lab, backend: str) -> None:
    """`udp dport 53 accept` under a drop policy: a small datagram arrives, a big one does not."""
    service = lab.host.listen("udp", 53, reply=b"")
    input_by_port(lab, backend)
    lab.client.udp_send(OWN[6], 53, size=100)
    send_big(lab, OWN[6])
    assert [peer.size for peer in service.seen()] == [100]


def test_tracking_mends_big_ipv6_datagrams(lab: Lab, backend: str) -> None:
    """The same rules beside any rule that needs tracking of IPv6: the big datagram arrives."""
    service = lab.host.listen("udp", 53, reply=b"")
    input_by_port(lab, backend, xt_extra=("-A INPUT -m conntrack --ctstate RELATED",), nft_extra=(ON,))
    send_big(lab, OWN[6])
    assert [peer.size for peer in service.seen()] == [6000]


def test_accepting_later_fragments_mends_big_ipv6_datagrams(lab: Lab, backend: str) -> None:
    """nft's `frag frag-off > 0 accept`; in ip6tables a chain that returns first fragments and accepts
    the rest, entered by `-m ipv6header --header frag --soft`. Nothing is tracked."""
    service = lab.host.listen("udp", 53, reply=b"")
    input_by_port(lab, backend, xt_extra=tuple(FRAGMENT_CHAIN), nft_extra=("frag frag-off > 0 accept",))
    send_big(lab, OWN[6])
    assert [peer.size for peer in service.seen()] == [6000]
    assert lab.conntrack_count() == 0


def test_without_an_accepted_first_fragment_nothing_is_delivered(lab: Lab, backend: str) -> None:
    """The same rules let later fragments of everything pass; to a port that is not open no datagram
    comes together."""
    service = lab.host.listen("udp", 161, reply=b"")
    input_by_port(lab, backend, xt_extra=tuple(FRAGMENT_CHAIN), nft_extra=("frag frag-off > 0 accept",))
    for piece in packet.fragments(packet.udp(STRANGER[6], 5, OWN[6], 161, bytes(3000))):
        lab.client.send(piece)
    assert service.seen() == []
    lab.clear()
    for piece in packet.fragments(packet.udp(STRANGER[6], 5, OWN[6], 161, bytes(3000)), ident=78):
        lab.client.send(piece)
    assert [peer.size for peer in service.seen()] == [3000]


def test_socket_match_turns_reassembly_on_without_tracking(lab: Lab, backend: str) -> None:
    """An xtables `-m socket` that never matches, or an nft `tproxy` that nothing reaches, has IPv6
    packets put together before INPUT, and tracks nothing."""
    service = lab.host.listen("udp", 53, reply=b"")
    input_by_port(
        lab,
        backend,
        mangle=("-A PREROUTING -p udp --dport 1 -m socket -j ACCEPT",),
        nft_mangle=("udp dport 1 tproxy to :1",),
    )
    send_big(lab, OWN[6])
    assert [peer.size for peer in service.seen()] == [6000]
    assert lab.conntrack_count() == 0


def test_defragmentation_is_at_minus_400(lab: Lab) -> None:
    """With tracking on, a chain at -401 still sees fragments, one at -399 whole packets."""
    lab.load_nft(
        nft(
            chain("prerouting", -401, f'ip saddr {STRANGER[4]} counter comment "before"'),
            chain("prerouting", -399, f'ip saddr {STRANGER[4]} counter comment "behind"'),
            chain("input", "filter", ON),
        )
    )
    send_big(lab, OWN[4])
    assert (lab.hits("nft", "before"), lab.hits("nft", "behind")) == (PIECES, 1)


def test_nft_takes_an_ipv6_header_for_ports(lab: Lab, backend: str) -> None:
    """Without reassembly nft and ip6tables-nft look for the ports of a later fragment where its IPv6 header
    begins: version, traffic class and flow label. Legacy ip6tables sees no port."""
    sport, dport = 0x6000, 0  # no traffic class, no flow label
    lab.load_any(
        backend,
        v6=xt(raw=[f"-A PREROUTING -p udp --sport {sport} --dport {dport} -m comment --comment odd"]),
        nft=nft(
            chain("prerouting", "raw", f'udp sport {sport} udp dport {dport} counter comment "odd"'),
        ),
    )
    pieces = packet.fragments(packet.udp(STRANGER[6], 5, OWN[6], 53, bytes(3000)))
    for piece in pieces:
        lab.client.send(piece)
    assert len(pieces) == 3
    assert lab.hits(backend, "odd") == (0 if backend == "iptables-legacy" else 2)
