"""What is compiled to iptables and to nft does the same to a packet, and both readers say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from notrack.netfilter.journey import Journey, journey
from notrack.packets.packet_text import parse_packet
from notrack.ruleset.formats import read_all
from notrack.text.source import Source
from tests.conftest import ROOT

EXAMPLES = sorted(path for path in (ROOT / "examples").iterdir() if (path / "rules.nft").exists())
PORTS = (22, 25, 53, 80, 443, 8080, 11211, 51820)


def packets() -> list[str]:
    found = []
    for protocol in ("tcp", "udp"):
        for port in PORTS:
            found += [
                f"{protocol} 203.0.113.9:40000 > 198.51.100.1:{port} in eth0 to host",
                f"{protocol} 198.51.100.1:40000 > 9.9.9.9:{port} out eth0",
                f"{protocol} 10.8.0.5:40000 > 9.9.9.9:{port} in eth1 out eth0",
                f"{protocol} [2001:db8:99::9]:40000 > [2001:db8:80::1]:{port} in eth0 to host",
                f"{protocol} [2001:db8:80::1]:{port} > [2001:db8:99::9]:40000 out eth0",
            ]
    return found


def fate(made: Journey | None) -> tuple[str, str, object] | None:
    if made is None:
        return None
    return made.trace.verdict, made.trace.state.name, fate(made.reply)


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda path: str(path.name))
def test_both_backends_of_an_example(folder: Path) -> None:
    def sources(*names: str) -> list[Source]:
        return [Source(name, (folder / name).read_text()) for name in names]

    xtables = read_all(sources("rules.v4", "rules.v6"))
    nft = read_all(sources("rules.nft"))
    assert not xtables.diagnostics and not nft.diagnostics
    fates = []
    for words in packets():
        packet = parse_packet(words)
        one, other = (fate(journey(made.ruleset, packet, reply=True)) for made in (xtables, nft))
        assert one == other, words
        fates.append(one)
    # the node of a cluster only untracks, beside the rules of others
    assert len(set(fates)) > 1 or folder.name == "kubernetes-node"
