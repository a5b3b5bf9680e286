"""Compiled sites: services are reached by whom they may be, leave no entry, and by nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.lab import Lab
from tests.kernel.sites import (
    FAMILIES,
    FRIEND,
    HEAD,
    NEAR,
    OFFICE,
    OWN,
    OWN2,
    OWN_IN,
    RESOLVER,
    STRANGER,
    Trial,
    a_town,
)  # fmt: skip

SERVICES = f"""{HEAD}
service web     tcp 80, 443, 8081                   on world
service quic    udp 443                             on world
service names   udp 53; tcp 53
service game    tcp 27015-27020, 3478; udp 27015-27020   from any except friend   on world
service shell   tcp 22                              from staff, friend
service second  tcp 4000; udp 4000                  at 198.18.0.3, 2001:db8:a::3
service numbers tcp 9100; udp 9100                  from staff    tracked
"""
WEB, GAME = (80, 443, 8081), (27015, 27018, 27020, 3478)
UNSERVED = (23, 8082, 27014, 27021)


@pytest.fixture(scope="module")
def town() -> Iterator[Lab]:
    yield from a_town()


def serve_all(trial: Trial) -> None:
    trial.serve(trial.host, "tcp", *WEB, *GAME, 53, 22, 4000, 9100, *UNSERVED)
    trial.serve(trial.host, "udp", 443, 53, 27015, 27020, 4000, 9100, 161, 27021, 80)


def test_services_answer_without_entries(town: Lab, backend: str) -> None:
    """Hundreds of connections to every untracked service, and nothing in the table."""
    with Trial(town, backend, SERVICES) as trial:
        serve_all(trial)
        tcp = [(OWN[family], port) for family in FAMILIES for port in (*WEB, *GAME, 53)]
        tcp += [(OWN2[family], 4000) for family in FAMILIES]
        trial.crowd(town.client, "tcp", tcp, 200, [*STRANGER.values(), *NEAR.values()])
        udp = [(OWN[family], port) for family in FAMILIES for port in (443, 53, 27015, 27020)]
        udp += [(OWN2[family], 4000) for family in FAMILIES]
        trial.crowd(town.client, "udp", udp, 200, [*STRANGER.values(), *RESOLVER.values()])
        staff = [(OWN_IN[family], port) for family in FAMILIES for port in (22, 53)]
        trial.crowd(town.peers["office"], "tcp", staff, 40)
        for family in FAMILIES:
            trial.reach(town.client, "tcp", OWN[family], 22, src=FRIEND[family])
            trial.reach(town.peers["office"], "tcp", OWN[family], 22)
            trial.reach(town.peers["office"], "udp", OWN_IN[family], 53)
            trial.reach(town.peers["dmz"], "tcp", OWN[family], 53)
        trial.no_entries("after untracked services")


def test_tracked_services_have_entries(town: Lab, backend: str) -> None:
    """`tracked` is obeyed beside untracked services."""
    with Trial(town, backend, SERVICES) as trial:
        serve_all(trial)
        for family in FAMILIES:
            trial.reach(town.peers["office"], "tcp", OWN_IN[family], 9100)
            trial.reach(town.peers["office"], "udp", OWN_IN[family], 9100)
            trial.reach(town.peers["office"], "tcp", OWN_IN[family], 53)
        trial.only_entries(lambda entry: entry.dport == 9100 and entry.replied)
        trial.same("entries", len(trial.entries()), 4)


def test_nobody_else_reaches_a_service(town: Lab, backend: str) -> None:
    """Wrong source, wrong interface, wrong own address, another port, another protocol: silence."""
    with Trial(town, backend, SERVICES) as trial:
        serve_all(trial)
        world, office = town.client, town.peers["office"]
        for family in FAMILIES:
            own, friend = OWN[family], FRIEND[family]
            trial.reach(world, "tcp", own, 27015, src=STRANGER[family])
            trial.miss(world, "tcp", own, 27015, src=friend)
            trial.miss(world, "udp", own, 27015, src=friend)
            trial.miss(world, "tcp", own, 22, src=STRANGER[family])
            trial.miss(world, "tcp", own, 9100, src=STRANGER[family])
            trial.miss(world, "udp", own, 9100, src=friend)
            for port in (80, 443, 27015):
                trial.miss(office, "tcp", own, port)
                trial.miss(office, "tcp", OWN_IN[family], port)
            trial.miss(office, "udp", OWN_IN[family], 443)
            trial.miss(world, "tcp", own, 4000)
            trial.miss(world, "udp", own, 4000)
            trial.miss(office, "udp", OWN_IN[family], 4000)
            for port in UNSERVED:
                trial.miss(world, "tcp", own, port)
            for port in (161, 27021, 80):
                trial.miss(world, "udp", own, port)
        trial.no_entries("after questions that nobody may ask")


@pytest.mark.parametrize("output", ["accept", "drop"])
def test_reject_refuses_at_once(town: Lab, backend: str, output: str) -> None:
    """`default input reject` refuses what is not served, and its refusals leave even under output drop."""
    site = SERVICES + f"default input reject\ndefault output {output}\n"
    with Trial(town, backend, site) as trial:
        serve_all(trial)
        for family in FAMILIES:
            trial.reach(town.client, "tcp", OWN[family], 80)
            trial.reach(town.client, "udp", OWN[family], 53)
            trial.reach(town.peers["office"], "tcp", OWN_IN[family], 9100)
            trial.miss(town.client, "tcp", OWN[family], 23, outcome="refused")
            trial.miss(town.client, "tcp", OWN[family], 22, outcome="refused")
            trial.miss(town.client, "udp", OWN[family], 161, outcome="refused")
            trial.miss(town.client, "udp", OWN[family], 9100, outcome="refused")
            trial.miss(town.peers["office"], "tcp", OWN_IN[family], 80, outcome="refused")
        trial.only_entries(lambda entry: entry.dport == 9100)


def test_output_drop_lets_answers_out_and_nothing_else(town: Lab, backend: str) -> None:
    """Under `default output drop` services answer, errors about them leave, own programs are blocked."""
    site = SERVICES + "default output drop\nicmp ping echo-request from any\n"
    with Trial(town, backend, site) as trial:
        trial.serve(trial.host, "tcp", 80, 22, 9100)
        trial.serve(trial.host, "udp", 53)
        for node in (town.client, town.peers["office"]):
            trial.serve(node, "tcp", 8000)
            trial.serve(node, "udp", 8000)
        for family in FAMILIES:
            own, stranger, office = OWN[family], STRANGER[family], OFFICE[family]
            trial.reach(town.client, "tcp", own, 80)
            trial.reach(town.client, "udp", own, 53)
            trial.reach(town.peers["office"], "tcp", own, 9100)
            trial.note(town.client.ping(own), f"ping of {own}")
            # Served, but no program there: the stack's own refusals must leave.
            trial.miss(town.client, "tcp", own, 443, outcome="refused")
            trial.miss(town.client, "udp", own, 443, outcome="refused")
            for proto in ("tcp", "udp"):
                answer = trial.ask(trial.host, proto, stranger, 8000)
                trial.note(not answer.ok, f"the host asks {stranger} by {proto}: {answer.outcome}")
                trial.same("came", trial.seen(town.client, proto, 8000), [])
            catcher = town.peers["office"].sniff()
            trial.note(not trial.ask(trial.host, "tcp", office, 8000, sport=22).ok, "a SYN from port 22")
            trial.same("SYNs that left", [p for p in catcher.packets() if p.proto == 6], [])
            trial.note(not trial.host.ping(stranger), "the host pings")
        trial.only_entries(lambda entry: entry.dport == 9100)
