"""Compiled sites with hundreds of services: they load, and a sample of ports does what is declared."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.kernel.lab import Lab
from tests.kernel.sites import FAMILIES, FRIEND, HEAD, NEAR, OWN, RESOLVER, STRANGER, Trial, a_town

SOURCES: dict[str, tuple[dict[int, str], ...]] = {  # clause, and who of these four it means
    "": (STRANGER, FRIEND, NEAR, RESOLVER),
    "from friend": (FRIEND,),
    "from asked, friend": (FRIEND, RESOLVER),
    "from any except friend": (STRANGER, NEAR, RESOLVER),
    "from 198.18.0.0/24, 2001:db8:a::/64": (NEAR,),
    "from 203.0.113.77, 2001:db8:77::/48": (STRANGER,),
    "from 192.168.0.0/16, 10.0.0.0/8, fd00::/8": (),
}
EVERYBODY = (STRANGER, FRIEND, NEAR, RESOLVER)
SAMPLE = 24


@pytest.fixture(scope="module")
def town() -> Iterator[Lab]:
    yield from a_town()


def many(count: int, extra: str) -> tuple[str, list[tuple[str, int, str]]]:
    """A site with that many services at scattered ports; and (protocol, port, clause) of each."""
    luck = random.Random(count)
    ports = luck.sample(range(1, 32000), count)
    clauses = list(SOURCES)
    found = [(luck.choice(("tcp", "udp")), port, luck.choice(clauses)) for port in ports]
    lines = [
        f"service s{at} {proto} {port} {clause} {luck.choice(('', 'on world'))}"
        for at, (proto, port, clause) in enumerate(found)
    ]
    return HEAD + "\n".join(lines) + "\n" + extra, found


@pytest.mark.parametrize("count", [300, 1000])
def test_many_services(town: Lab, backend: str, count: int) -> None:
    """Merged into sets, ranges and lists, each port still admits whom its own declaration names."""
    extra = (
        "service numbers tcp 32001 tracked\n" if count == 300 else "default output accept without replies\n"
    )
    site, services = many(count, extra)
    luck = random.Random(7)
    with Trial(town, backend, site) as trial:
        served = {(proto, port) for proto, port, _ in services}
        for proto, port, clause in luck.sample(services, SAMPLE):
            other = "udp" if proto == "tcp" else "tcp"
            trial.serve(trial.host, proto, port)
            trial.serve(trial.host, other, port)
            family = luck.choice(FAMILIES)
            for who in EVERYBODY:
                src = who[family]
                if who in SOURCES[clause]:
                    trial.reach(town.client, proto, OWN[family], port, src=src)
                else:
                    trial.miss(town.client, proto, OWN[family], port, src=src)
            trial.miss(town.client, other, OWN[family], port, src=STRANGER[family])
            if (proto, port + 1) not in served and port + 1 != 32001:
                trial.serve(trial.host, proto, port + 1)
                trial.miss(town.client, proto, OWN[family], port + 1, src=STRANGER[family])
        trial.no_entries("of many services")


def test_neighbouring_ports_and_ranges(town: Lab, backend: str) -> None:
    """Ranges that touch, overlap or hold each other, with different sources, stay apart."""
    site = f"""{HEAD}
service low    tcp 1000-1009; udp 1000-1009
service high   tcp 1010-1019                    from friend
service wide   tcp 900-2000                     from asked
service point  tcp 1015                         from 203.0.113.77, 2001:db8:77::/48
service marked tcp 1017                         from 198.18.0.0/24, 2001:db8:a::/64    tracked
service all    udp 65535; tcp 65535, 1
"""
    with Trial(town, backend, site) as trial:
        ports = (1, 899, 900, 999, 1000, 1009, 1010, 1015, 1017, 1019, 1020, 2000, 2001, 65535)
        trial.serve(trial.host, "tcp", *ports)
        trial.serve(trial.host, "udp", 999, 1000, 1009, 1010, 65535)
        for family in FAMILIES:
            for who, allowed in (
                (STRANGER, {1, 1000, 1009, 1015, 65535}),
                (FRIEND, {1, 1000, 1009, 1010, 1015, 1017, 1019, 65535}),
                (RESOLVER, set(ports) - {899, 2001}),
                (NEAR, {1, 1000, 1009, 1017, 65535}),
            ):
                for port in ports:
                    probe = trial.reach if port in allowed else trial.miss
                    probe(town.client, "tcp", OWN[family], port, src=who[family])
                for port in (999, 1000, 1009, 1010, 65535):
                    probe = trial.reach if port in (1000, 1009, 65535) else trial.miss
                    probe(town.client, "udp", OWN[family], port, src=who[family])
        trial.only_entries(lambda entry: entry.dport == 1017)
