"""Defects of compiled sites that were found once, each held by a test of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.lab import Lab
from tests.kernel.sites import HEAD, OFFICE, OWN, STRANGER, Trial, a_town


@pytest.fixture(scope="module")
def town() -> Iterator[Lab]:
    yield from a_town()


LOW_PORTS = f"""{HEAD}
network inside = 172.16.5.0/24
service names   udp 53; tcp 53
service clock   udp 123
route   outward    from inside to any  on office out world
masquerade out-nat from inside         out world
"""


def test_a_lan_host_that_asks_from_a_served_port_below_1024_is_answered(town: Lab, backend: str) -> None:
    """Masquerade keeps a low source port: an inner name server that asks from 53 must not come out at 53."""
    with Trial(town, backend, LOW_PORTS) as trial:
        office = town.peers["office"]
        trial.serve(town.client, "udp", 80)
        trial.serve(town.client, "tcp", 80)
        for proto, port in (("udp", 53), ("udp", 123), ("udp", 67), ("tcp", 53)):
            answer = trial.reach(office, proto, STRANGER[4], 80, src=OFFICE[4], sport=port)
            trial.note(
                answer.seen is not None and answer.seen[0] == OWN[4] and answer.seen[1] not in (53, 123),
                f"{proto} from {port} went out as {answer.seen}",
            )


WRITTEN = f"""{HEAD}
default output accept without replies
service ssh  tcp 22  on office tracked
service web  tcp 80
"""


def test_tracked_in_writing_leaves_an_entry_though_no_other_rule_needs_one(town: Lab, backend: str) -> None:
    with Trial(town, backend, WRITTEN) as trial:
        office = town.peers["office"]
        trial.serve(trial.host, "tcp", 22, 80)
        trial.reach(office, "tcp", "172.16.5.1", 80)
        trial.no_entries("of the untracked service")
        trial.reach(office, "tcp", "172.16.5.1", 22)
        trial.same("entries", len(trial.entries(lambda entry: entry.dport == 22)), 1)
