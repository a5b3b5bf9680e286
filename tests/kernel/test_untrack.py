"""Somebody's rules with one service taken out of tracking: who got in gets in, and leaves no entry."""

from __future__ import annotations

import pytest

from notrack.draft.service import asked
from notrack.draft.untrack import untrack
from notrack.netfilter.host import UNKNOWN_HOST
from notrack.ruleset.formats import read_all
from notrack.text.source import Source
from tests.draft.test_untrack import DEBIAN, JUMPS, NFT, RHEL, SYN
from tests.kernel.lab import Lab

SAVED = ("iptables-legacy", "iptables-nft")
CASES = [
    pytest.param(backend, text, service, probe, allowed, id=f"{backend}-{name}")
    for backends, name, text, service, probe, allowed in [
        (SAVED, "stock-rhel", RHEL, "udp 53", ("udp", 53), True),
        (SAVED, "jumps-by-state", JUMPS, "udp 53", ("udp", 53), True),
        (SAVED, "syn-alone", SYN, "tcp 80", ("tcp", 80), True),
        (SAVED, "everything-drops", DEBIAN, "tcp 80,443", ("tcp", 80), True),
        (SAVED, "for-others-alone", DEBIAN, "udp 53", ("udp", 53), False),
        (("nft",), "verdict-map", NFT, "tcp 80", ("tcp", 80), True),
        (("nft",), "without-state", NFT, "udp 123", ("udp", 123), True),
    ]
    for backend in backends
]
OWN = "192.0.2.80"


def reached(lab: Lab, probe: tuple[str, int]) -> str:
    protocol, port = probe
    found = lab.client.udp(OWN, port) if protocol == "udp" else lab.client.tcp(OWN, port)
    return found.outcome


@pytest.mark.parametrize(("backend", "text", "service", "probe", "allowed"), CASES)
def test_the_service_is_as_before_and_untracked(
    lab: Lab, backend: str, text: str, service: str, probe: tuple[str, int], allowed: bool
) -> None:
    found = untrack([Source("rules", text)], asked(service), UNKNOWN_HOST, read_all)
    assert found.refusals == ()
    lab.host.listen(*probe)
    lab.load_any(backend, v4=text, nft=text)
    before = reached(lab, probe)
    assert (before == "answered") is allowed
    assert (lab.conntrack_count() > 0) is allowed, "the probe is tracked where it gets in"
    lab.clear()
    lab.host.run("conntrack", "-F")
    new = found.sources[0].text
    lab.load_any(backend, v4=new, nft=new)
    assert reached(lab, probe) == before
    assert lab.conntrack_count() == 0
    lab.host.listen("tcp", 22)
    assert lab.client.tcp(OWN, 22).outcome == "answered"
    assert lab.conntrack_count() == 1, "everything else is tracked as before"


def test_from_the_host_itself(lab: Lab) -> None:
    """A query over loopback is untracked where it leaves, and its answer comes back."""
    found = untrack([Source("rules.v4", RHEL)], asked("udp 53"), UNKNOWN_HOST, read_all)
    lab.load("iptables-nft", v4=found.sources[0].text)
    lab.host.listen("udp", 53)
    assert lab.host.udp(OWN, 53).outcome == "answered"
    assert lab.host.udp("127.0.0.1", 53).outcome == "answered"
    assert lab.conntrack_count() == 0
