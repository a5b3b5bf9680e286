"""Facts: what becomes of running connections when rules change."""

from __future__ import annotations

import pytest

from tests.kernel.facts import OWN, STRANGER
from tests.kernel.lab import Lab, LabError
from tests.kernel.ruletext import chain, nft, xt

ESTABLISHED = "-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"
NFT_ESTABLISHED = "ct state established,related accept"


def stateless(lab: Lab, backend: str) -> None:
    """Nothing is tracked; all replies and port 22 come in by their ports."""
    replace(lab, backend, ("-p tcp --sport 80", "-p tcp --dport 22"), ("tcp sport 80", "tcp dport 22"))


def replace(
    lab: Lab, backend: str, rules: tuple[str, ...], nft_rules: tuple[str, ...], *, state: bool = False
) -> None:
    """Put these accepts in the place of the old ones, at once, and the usual state rule before them."""
    lines = ["INPUT DROP", *[ESTABLISHED] * state, *(f"-A INPUT {rule} -j ACCEPT" for rule in rules)]
    lab.load_any(
        backend,
        v4=xt(filter=lines),
        nft="table ip t\ndelete table ip t\n"
        + nft(
            chain(
                "input",
                "filter",
                *[NFT_ESTABLISHED] * state,
                *(f"{rule} accept" for rule in nft_rules),
                policy="drop",
            ),
            family="ip",
        ),
    )


def test_notrack_added_to_a_running_connection(lab: Lab, backend: str) -> None:
    """The connection goes on; its entry stays until its timeout (431,999 s), unless it is deleted; and
    then it does not come back."""
    service = lab.host.listen("tcp", 80)
    lab.load_any(
        backend,
        v4=xt(filter=["-A INPUT -m conntrack --ctstate NEW"]),
        nft=nft(chain("input", "filter", "ct state new"), name="watch"),
    )
    session = lab.client.open(OWN[4], 80)
    assert session.ask().ok and len(service.seen()) == 1
    lab.load_any(
        backend,
        v4=xt(
            raw=[
                "-A PREROUTING -p tcp --dport 80 -j CT --notrack",
                "-A OUTPUT -p tcp --sport 80 -j CT --notrack",
            ]
        ),
        nft=nft(
            chain("prerouting", "raw", "tcp dport 80 notrack"), chain("output", "raw", "tcp sport 80 notrack")
        ),
    )
    assert session.ask().ok
    (entry,) = lab.entries()
    assert entry.state == "ESTABLISHED" and 431000 < entry.timeout <= 432000
    lab.host.run("conntrack", "-D", "-p", "tcp", "--dport", "80")
    assert session.ask().ok and lab.conntrack_count() == 0


@pytest.mark.parametrize("bridged", (False, True))
def test_tracking_switched_on_stalls_the_hosts_own_download(lab: Lab, backend: str, bridged: bool) -> None:
    """The next packet of a download is inbound, so it is NEW, and ESTABLISHED alone drops it: nothing
    leaves the host that could make an entry. Rules that hold both the old stateless accepts and the
    state rules for a moment carry it over."""
    stateless(lab, backend)
    source = lab.client.listen("tcp", 80)
    download = lab.host.open(STRANGER[4], 80)
    assert download.ask().ok and lab.conntrack_count() == 0
    assert source.push() == 1 and download.heard() == b"pushed"
    if bridged:
        replace(lab, backend, ("-p tcp --sport 80",), ("tcp sport 80",), state=True)
        source.push()
        assert download.heard() == b"pushed" and lab.conntrack_count() == 1
    replace(lab, backend, (), (), state=True)
    source.push()
    assert download.heard() == (b"pushed" if bridged else b"")


@pytest.mark.parametrize(
    ("rule", "nft_rule", "loose", "survives"),
    [
        ("-p tcp --dport 22 -m conntrack --ctstate NEW", "tcp dport 22 ct state new", 1, True),
        ("-p tcp --dport 22 --syn", "tcp dport 22 tcp flags & (fin | syn | rst | ack) == syn", 1, False),
        ("-p tcp --dport 22 -m conntrack --ctstate NEW", "tcp dport 22 ct state new", 0, False),
    ],
)
def test_session_when_tracking_is_switched_on(
    lab: Lab, backend: str, rule: str, nft_rule: str, loose: int, survives: bool
) -> None:
    """A session to a service that becomes tracked survives `NEW --dport 22` (its next packet is NEW),
    but neither `--syn` nor `nf_conntrack_tcp_loose=0`. New sessions work with all of them."""
    stateless(lab, backend)
    lab.host.listen("tcp", 22)
    session = lab.client.open(OWN[4], 22)
    assert session.ask().ok
    lab.host.sysctl("net.netfilter.nf_conntrack_tcp_loose", loose)
    replace(lab, backend, (rule,), (nft_rule,), state=True)
    assert session.ask().outcome == ("answered" if survives else "stalled")
    assert lab.client.tcp(OWN[4], 22).ok


@pytest.mark.parametrize("name", ["nf_conntrack_max", "nf_conntrack_buckets"])
def test_table_size_is_read_only_outside_the_first_namespace(lab: Lab, name: str) -> None:
    """Neither root nor the namespace's owner can set them there."""
    value = lab.host.sysctl(f"net.netfilter.{name}")
    with pytest.raises(LabError, match="PermissionError"):
        lab.host.sysctl(f"net.netfilter.{name}", int(value) + 1)
    assert lab.host.sysctl(f"net.netfilter.{name}") == value
