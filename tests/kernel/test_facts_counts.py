"""Facts: limits on the number of connections, where connections are not tracked."""

from __future__ import annotations

import time

import pytest

from tests.kernel.facts import OWN, STRANGER
from tests.kernel.lab import Lab
from tests.kernel.ruletext import chain, nft, xt

LIMIT = "-p tcp --syn --dport 80 -m connlimit --connlimit-above 2 -m comment --comment over -j REJECT"

PAUSE = 0.1  # seconds: several ticks of the slowest kernel clock (100 Hz)


def held(lab: Lab, number: int) -> int:
    """How many of several connections are open at once. For two ticks the kernel counts what it has not found
    yet, so that they are opened slowly."""
    opened = []
    for _ in range(number):
        opened.append(lab.client.open(OWN[4], 80, src=STRANGER[4]))
        time.sleep(PAUSE)
    return sum(one.state.outcome == "open" for one in opened)


@pytest.mark.parametrize("untracked", [False, True])
def test_connlimit_finds_no_untracked_connections(lab: Lab, xtables: str, untracked: bool) -> None:
    """The limit holds for tracked connections; of untracked ones none is ever found."""
    raw = ["-A PREROUTING -p tcp --dport 80 -j CT --notrack", "-A OUTPUT -p tcp --sport 80 -j CT --notrack"]
    lab.load(xtables, v4=xt(raw=raw if untracked else [], filter=[f"-A INPUT {LIMIT}"]))
    lab.host.listen("tcp", 80)
    assert held(lab, 4) == (4 if untracked else 2)


@pytest.mark.parametrize("untracked", [False, True])
def test_ct_count_finds_no_untracked_connections(lab: Lab, untracked: bool) -> None:
    """The same with `ct count` of nft."""
    raw = ("tcp dport 80 notrack",) if untracked else ()
    back = ("tcp sport 80 notrack",) if untracked else ()
    counting = 'tcp dport 80 tcp flags & (syn | ack) == syn ct count over 2 reject comment "over"'
    lab.load_nft(
        nft(
            chain("prerouting", "raw", *raw),
            chain("output", "raw", *back),
            chain("input", "filter", counting),
        )
    )
    lab.host.listen("tcp", 80)
    assert held(lab, 4) == (4 if untracked else 2)
