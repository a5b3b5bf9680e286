"""Compiled sites: the host's own questions, and what a forged reply can reach."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.lab import Lab
from tests.kernel.sites import (
    FAMILIES,
    FRIEND,
    HEAD,
    OWN,
    OWN_IN,
    RESOLVER,
    STRANGER,
    Forgery,
    Trial,
    a_town,
)  # fmt: skip

CLIENTS = f"""{HEAD}
service names  udp 53; tcp 53       on world
service shell  tcp 22               from staff
service voice  udp 50000-50010; tcp 50005      from staff
client resolve udp 53; tcp 53       to asked     untracked
client clock   udp 123              to friend    from port 123   untracked
client pages   tcp 80, 443
"""
NUMBERS = "service numbers tcp 9100 from staff tracked\n"


@pytest.fixture(scope="module")
def town() -> Iterator[Lab]:
    yield from a_town()


def serve_world(trial: Trial) -> None:
    trial.serve(trial.lab.client, "udp", 53, 54, 123, 9999)
    trial.serve(trial.lab.client, "tcp", 53, 80, 9999)


def test_untracked_questions_leave_no_entry(town: Lab, backend: str) -> None:
    """Questions of untracked clients are answered without entries, also big ones, also hundreds."""
    with Trial(town, backend, CLIENTS) as trial:
        serve_world(trial)
        for family in FAMILIES:
            trial.reach(trial.host, "udp", RESOLVER[family], 53, sport=41000)
            trial.reach(trial.host, "udp", RESOLVER[family], 53, sport=42000, size=6000)
            trial.reach(trial.host, "tcp", RESOLVER[family], 53, sport=41000)
            trial.reach(trial.host, "udp", FRIEND[family], 123, sport=123)
        goals = [(RESOLVER[family], 53) for family in FAMILIES]
        trial.crowd(trial.host, "tcp", goals, 100)
        trial.no_entries("after untracked questions")


def test_tracked_questions_have_entries(town: Lab, backend: str) -> None:
    """What is not declared untracked goes out tracked, and is answered."""
    with Trial(town, backend, CLIENTS) as trial:
        serve_world(trial)
        for family in FAMILIES:
            trial.reach(trial.host, "tcp", STRANGER[family], 80)
            trial.reach(trial.host, "tcp", RESOLVER[family], 80)
            trial.reach(trial.host, "udp", STRANGER[family], 9999)
            trial.reach(trial.host, "udp", STRANGER[family], 53)
            trial.reach(trial.host, "tcp", STRANGER[family], 9999)
            trial.same(f"ping {family}", trial.host.ping(STRANGER[family], size=3000), True)
        trial.only_entries(lambda entry: entry.replied)
        ports = sorted(entry.dport for entry in trial.entries() if entry.dport)
        trial.same("entries", ports, [53, 53, 80, 80, 80, 80, 9999, 9999, 9999, 9999])


@pytest.mark.parametrize("more", ["", NUMBERS, "default output accept without replies\n",
                                  "default output drop\n", "default output drop\n" + NUMBERS])  # fmt: skip
def test_forged_datagrams_reach_only_the_clients_own_ports(town: Lab, backend: str, more: str) -> None:
    """A datagram from the resolver's port 53 comes to the host's own ports alone, less every served one;
    from others, or from other ports, to none."""
    forgeries: list[Forgery] = []
    for family in FAMILIES:
        own, asked, stranger, friend = OWN[family], RESOLVER[family], STRANGER[family], FRIEND[family]
        forgeries += [Forgery(True, asked, 53, own, port) for port in (32768, 40000, 49999, 50011, 60999)]
        forgeries += [Forgery(True, asked, 53, OWN_IN[family], 40001)]  # any of the host's own addresses
        unowned = (161, 5353, 31000, 32767, 61000, 123, 50000, 50005, 50010)
        forgeries += [Forgery(False, asked, 53, own, port) for port in unowned]
        forgeries += [Forgery(False, stranger, 53, own, port) for port in (161, 40000, 50005, 123)]
        forgeries += [Forgery(False, friend, 123, own, 40000), Forgery(False, friend, 53, own, 40000)]
        forgeries += [Forgery(False, asked, 54, own, 40000), Forgery(False, asked, 123, own, 123)]
        forgeries += [Forgery(True, friend, 123, own, 123), Forgery(False, stranger, 80, own, 40000)]
        forgeries += [Forgery(True, stranger, 40000, own, 53)]
    with Trial(town, backend, CLIENTS + more) as trial:
        trial.forge(town.client, forgeries)
        trial.no_entries("of forged datagrams")


@pytest.mark.parametrize("more", ["", "default output accept without replies\n", "default output drop\n"])
def test_forged_segments_open_nothing(town: Lab, backend: str, more: str) -> None:
    """From the resolver's port 53 only segments with ACK or RST come in, to the host's own ports less
    every served one; a bare SYN opens nothing, and nothing comes from others."""
    forgeries: list[Forgery] = []
    for family in FAMILIES:
        own, asked, stranger = OWN[family], RESOLVER[family], STRANGER[family]
        forgeries += [Forgery(True, asked, 53, own, 40000, flags) for flags in ("SA", "A", "R", "FA", "RA")]
        forgeries += [Forgery(False, asked, 53, own, 40000, flags) for flags in ("S", "SP", "F", "SF")]
        for flags in ("S", "SA", "A", "R"):
            forgeries += [Forgery(False, asked, 53, own, port, flags) for port in (22, 3306, 50005, 31000)]
        for flags in ("S", "SA", "A", "FA"):
            forgeries += [
                Forgery(False, asked, 54, own, 40000, flags),
                Forgery(False, stranger, 53, own, 40000, flags),
                Forgery(False, stranger, 80, own, 40000, flags),
                Forgery(False, stranger, 443, own, 22, flags),
            ]
        forgeries += [Forgery(True, stranger, 80, own, 53, "S")]
    with Trial(town, backend, CLIENTS + more) as trial:
        trial.forge(town.client, forgeries)
        trial.no_entries("of forged segments")


def test_the_world_cannot_use_a_clients_port(town: Lab, backend: str) -> None:
    """Real connections with the well-known source port open nothing that is not served."""
    with Trial(town, backend, CLIENTS) as trial:
        trial.serve(trial.host, "tcp", 22, 40000, 53)
        for family in FAMILIES:
            for sport in (53, 80, 443):
                trial.reach(town.client, "tcp", OWN[family], 53, src=STRANGER[family], sport=sport)
                for port in (22, 40000):
                    trial.miss(town.client, "tcp", OWN[family], port, src=STRANGER[family], sport=sport)
            trial.miss(town.client, "tcp", OWN[family], 40000, src=RESOLVER[family], sport=53)


@pytest.mark.parametrize("more", ["", NUMBERS])
def test_output_accept_without_replies(town: Lab, backend: str, more: str) -> None:
    """All may leave; only declared clients are answered, whether something is tracked or not."""
    site = CLIENTS.replace("client pages   tcp 80, 443\n", "") if not more else CLIENTS
    with Trial(town, backend, site + "default output accept without replies\n" + more) as trial:
        serve_world(trial)
        trial.serve(trial.host, "tcp", 53)
        for family in FAMILIES:
            stranger = STRANGER[family]
            trial.reach(trial.host, "udp", RESOLVER[family], 53, sport=41000)
            trial.reach(trial.host, "tcp", RESOLVER[family], 53, sport=41000)
            trial.reach(town.client, "tcp", OWN[family], 53)
            trial.same("udp to a stranger", trial.host.udp(stranger, 9999).outcome, "silent")
            trial.same("came", len(trial.seen(town.client, "udp", 9999)), 1)
            catcher = town.client.sniff()
            trial.same("tcp to a stranger", trial.host.tcp(stranger, 9999).outcome, "dropped")
            left = [one.flags for one in catcher.packets() if one.dport == 9999]
            trial.same("SYNs that left", left, ["S"])
            if more:
                trial.reach(trial.host, "tcp", stranger, 80)
        if not more:
            trial.no_entries("when nothing needs tracking")


def test_output_drop_lets_clients_ask(town: Lab, backend: str) -> None:
    """Under `default output drop` declared clients ask, tracked or not, and nobody else does."""
    with Trial(town, backend, CLIENTS + "default output drop\n") as trial:
        serve_world(trial)
        for family in FAMILIES:
            asked, stranger = RESOLVER[family], STRANGER[family]
            trial.reach(trial.host, "udp", asked, 53, sport=41000)
            trial.reach(trial.host, "udp", asked, 53, sport=41000, size=6000)
            trial.reach(trial.host, "tcp", asked, 53, sport=41000)
            trial.reach(trial.host, "udp", FRIEND[family], 123, sport=123)
            trial.reach(trial.host, "tcp", stranger, 80)
            for proto, dst, port, sport in (
                ("udp", stranger, 53, 41000), ("tcp", stranger, 53, 41000), ("udp", stranger, 9999, 0),
                ("tcp", stranger, 9999, 0), ("udp", asked, 54, 0), ("udp", asked, 53, 5353),
                ("udp", FRIEND[family], 123, 41000), ("udp", asked, 123, 123),
            ):  # fmt: skip
                answer = trial.ask(trial.host, proto, dst, port, sport=sport)
                trial.note(not answer.ok, f"{proto} {dst}:{port} from {sport}: {answer.outcome}")
            came = [town_port for town_port in (54, 9999) if trial.seen(town.client, "udp", town_port)]
            trial.same("came", came, [])
            trial.same("ping", trial.host.ping(stranger), False)
        trial.only_entries(lambda entry: entry.dport == 80)
