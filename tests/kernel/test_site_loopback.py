"""Compiled sites: what the host asks itself is never half tracked, and published ports work from there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.lab import Lab
from tests.kernel.sites import (
    DMZ,
    FAMILIES,
    HEAD,
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
service web     tcp 80; udp 443         on world
service names   udp 53; tcp 53
service shell   tcp 22                  from staff
service numbers tcp 9100; udp 9100      from staff   tracked
client  resolve udp 53; tcp 53          to asked     untracked
"""
PUBLISHING = f"""{SERVICES}
route      outward  from 172.16.5.0/24 to any   on office out world
masquerade out-nat  from 172.16.5.0/24          out world
publish    shop     tcp 8443; udp 8443 on world       to 172.16.9.10 port 443
publish    second   tcp 53 at 198.18.0.3 on world     to 172.16.9.10 port 53
redirect   pages    tcp 8888 on office          to port 3128
service    proxy    tcp 3128                    from staff
"""
SELF = {4: "127.0.0.1", 6: "::1"}


@pytest.fixture(scope="module")
def town() -> Iterator[Lab]:
    yield from a_town()


def serve(trial: Trial) -> None:
    trial.serve(trial.host, "tcp", 80, 53, 22, 9100, 7000, 3128)
    trial.serve(trial.host, "udp", 443, 53, 9100, 7000)


@pytest.mark.parametrize("output", ["accept", "drop", "accept without replies"])
@pytest.mark.parametrize("site", ["plain", "publishing"])
def test_local_services_answer_local_programs(town: Lab, backend: str, site: str, output: str) -> None:
    """Loopback always passes: by 127.0.0.1, ::1 and every own address; no entry, nothing INVALID."""
    text = (SERVICES if site == "plain" else PUBLISHING) + f"default output {output}\n"
    with Trial(town, backend, text) as trial:
        serve(trial)
        trial.watch(4, 6)
        for family in FAMILIES:
            for dst in (SELF[family], OWN[family], OWN_IN[family]):
                for port in (80, 53, 22, 9100, 7000):
                    trial.reach(trial.host, "tcp", dst, port)
                for port in (443, 53, 9100, 7000):
                    trial.reach(trial.host, "udp", dst, port)
                trial.reach(trial.host, "udp", dst, 53, size=6000)
                trial.reach(
                    trial.host, "tcp", dst, 53, src=SELF[family] if dst == SELF[family] else OWN[family]
                )
                trial.same(f"ping {dst}", trial.host.ping(dst, size=3000), True)
                trial.same(f"refusal by {dst}", trial.host.tcp(dst, 7001).outcome, "refused")
                trial.same(f"refusal by {dst}", trial.host.udp(dst, 7001).outcome, "refused")
        goals = [(SELF[family], port) for family in FAMILIES for port in (80, 53, 9100)]
        trial.crowd(trial.host, "tcp", goals, 60)
        trial.no_entries("of loopback")
        trial.same("INVALID packets", trial.invalid(), 0)


def test_untracked_services_answer_on_both_sides(town: Lab, backend: str) -> None:
    """One service, asked from the world and from the host itself, by the same ports."""
    with Trial(town, backend, PUBLISHING) as trial:
        serve(trial)
        trial.watch(4, 6)
        for family in FAMILIES:
            for _ in range(2):
                trial.reach(town.client, "tcp", OWN[family], 80, sport=5555)
                trial.reach(trial.host, "tcp", OWN[family], 80, sport=5555)
                trial.reach(town.client, "udp", OWN[family], 53, sport=5555)
                trial.reach(trial.host, "udp", OWN[family], 53, sport=5555)
        trial.no_entries("of untracked services")
        trial.same("INVALID packets", trial.invalid(), 0)


@pytest.mark.parametrize("output", ["accept", "drop"])
def test_a_published_port_works_from_the_host(town: Lab, backend: str, output: str) -> None:
    """From the host itself a published port leads to where it is published to, tracked whole."""
    with Trial(town, backend, f"{PUBLISHING}default output {output}\n") as trial:
        serve(trial)
        dmz = town.peers["dmz"]
        trial.serve(dmz, "tcp", 443, 53)
        trial.serve(dmz, "udp", 443)
        trial.watch(4)
        for _ in range(3):
            answer = trial.reach(trial.host, "tcp", OWN[4], 8443)
            trial.same("asked", answer.asked, (DMZ[4], 443))
            trial.reach(trial.host, "udp", OWN[4], 8443)
            answer = trial.reach(trial.host, "tcp", OWN2[4], 53)
            trial.same("asked", answer.asked, (DMZ[4], 53))
            answer = trial.reach(trial.host, "tcp", OWN[4], 53)
            trial.same("asked", answer.asked, (OWN[4], 53))
        trial.only_entries(lambda entry: entry.reply_src == DMZ[4] and entry.replied)
        trial.same("INVALID packets", trial.invalid(), 0)


@pytest.mark.parametrize("output", ["accept", "drop"])
def test_a_redirected_port_works_from_the_host(town: Lab, backend: str, output: str) -> None:
    """The host's own packets to a redirected port, and to the port behind it, are answered, tracked whole."""
    with Trial(town, backend, f"{PUBLISHING}default output {output}\n") as trial:
        serve(trial)
        trial.watch(4, 6)
        for family in FAMILIES:
            # `on office`: the host's own packets know no way in, so its address there stands for it.
            trial.reach(trial.host, "tcp", OWN_IN[family], 8888, sport=5555)
            for dst in (OWN[family], OWN_IN[family]):
                trial.reach(trial.host, "tcp", dst, 3128, sport=5556)
            trial.reach(trial.host, "tcp", SELF[family], 3128)
            trial.reach(town.peers["office"], "tcp", OWN_IN[family], 3128)
            trial.reach(town.peers["office"], "tcp", STRANGER[family], 8888)
        trial.same("half tracked", trial.entries(lambda entry: not entry.replied), [])
        trial.same("INVALID packets", trial.invalid(), 0)


def test_a_published_port_works_from_everywhere(town: Lab, backend: str) -> None:
    """From the world it does as well, while the same port elsewhere belongs to the host."""
    with Trial(town, backend, PUBLISHING) as trial:
        serve(trial)
        dmz = town.peers["dmz"]
        trial.serve(dmz, "tcp", 443, 53)
        trial.serve(dmz, "udp", 443)
        trial.same("seen", trial.reach(town.client, "tcp", OWN[4], 8443).seen is not None, True)
        trial.same("asked", trial.reach(town.client, "tcp", OWN2[4], 53).asked, (DMZ[4], 53))
        trial.same("asked", trial.reach(town.client, "udp", OWN2[4], 53).asked, (OWN2[4], 53))
        trial.reach(town.client, "udp", OWN[4], 8443)
        trial.only_entries(lambda entry: entry.reply_src == DMZ[4])
        trial.forget()
        trial.same("asked", trial.reach(town.client, "tcp", OWN[4], 53).asked, (OWN[4], 53))
        trial.no_entries("of the host's own service")


def test_the_hosts_questions_beside_loopback(town: Lab, backend: str) -> None:
    """What leaves by a real link is decided by its declaration, not by the loopback rule."""
    with Trial(town, backend, PUBLISHING) as trial:
        trial.serve(town.client, "udp", 53)
        trial.serve(town.client, "tcp", 8000)
        for family in FAMILIES:
            trial.reach(trial.host, "udp", RESOLVER[family], 53, sport=41000)
        trial.no_entries("of an untracked client")
        for family in FAMILIES:
            trial.reach(trial.host, "tcp", STRANGER[family], 8000)
        trial.only_entries(lambda entry: entry.dport == 8000 and entry.replied)
        trial.same("ping", trial.host.ping(OFFICE[4]), True)
