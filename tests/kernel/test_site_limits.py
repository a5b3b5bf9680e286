"""Compiled sites: limits, blocks and trusts, each against the others."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.kernel import packet
from tests.kernel.lab import Lab
from tests.kernel.sites import (
    DMZ,
    FAMILIES,
    FRIEND,
    HEAD,
    NEAR,
    OFFICE,
    OWN,
    OWN_IN,
    RESOLVER,
    STRANGER,
    Trial,
    a_town,
)  # fmt: skip

LIMITS = f"""{HEAD}
service slow     tcp 7001               limit 10/minute
service slow-too udp 7001               limit 10/minute
service fair     tcp 7002               limit 10/minute per source
service fair-too udp 7002               limit 10/minute per source
service few      tcp 7003               limit connections 4
service each     tcp 7004               limit connections 3 per source
service free     tcp 80; udp 53
"""
NUMBERS = "service numbers tcp 9100 tracked\n"


@pytest.fixture(scope="module")
def town() -> Iterator[Lab]:
    yield from a_town()


def answered(trial: Trial, proto: str, dst: str, port: int, src: str, count: int) -> int:
    return sum(trial.ask(trial.lab.client, proto, dst, port, src=src).ok for _ in range(count))


@pytest.mark.parametrize("more", ["", NUMBERS, "default output drop\n"])
def test_rates(town: Lab, backend: str, more: str) -> None:
    """A rate lets a burst in and then no more than it says; per source each has its own."""
    with Trial(town, backend, LIMITS + more) as trial:
        trial.serve(trial.host, "tcp", 7001, 7002, 80)
        trial.serve(trial.host, "udp", 7001, 7002, 53)
        for family in FAMILIES:
            own, stranger, friend = OWN[family], STRANGER[family], FRIEND[family]
            kept = town.client.open(own, 7001, src=stranger)
            for proto in ("tcp", "udp"):
                many = answered(trial, proto, own, 7001, stranger, 25)
                trial.note(3 <= many <= 12, f"{proto} {many} of 25 under 10/minute")
                trial.same(f"{proto} from another", answered(trial, proto, own, 7001, friend, 3), 0)
                for src in (stranger, friend):
                    many = answered(trial, proto, own, 7002, src, 25)
                    trial.note(3 <= many <= 12, f"{proto} {many} of 25 from {src} under 10/minute per source")
                    trial.same("free", answered(trial, proto, own, 80 if proto == "tcp" else 53, src, 25), 25)
            for _ in range(20):
                trial.note(kept.ask().ok, "an open connection goes on past its limit")
            kept.close()


def test_connections(town: Lab, backend: str) -> None:
    """`limit connections` counts what is open, over all or for each source, and lets in again after."""
    with Trial(town, backend, LIMITS) as trial:
        trial.serve(trial.host, "tcp", 7003, 7004, 80)
        for family in FAMILIES:
            own, stranger, friend = OWN[family], STRANGER[family], FRIEND[family]
            held = [town.client.open(own, 7003, src=src) for src in (stranger, friend, stranger, friend)]
            trial.same("held", [one.ask().outcome for one in held], ["answered"] * 4)
            for src in (stranger, friend, NEAR[family]):
                trial.note(not town.client.tcp(own, 7003, src=src).ok, f"a fifth from {src}")
            trial.note(all(one.ask().ok for one in held), "those that are open go on")
            held.pop().close()
            time.sleep(
                0.1
            )  # the kernel looks for closed connections once a tick, and spares new ones for two
            trial.reach(town.client, "tcp", own, 7003, src=stranger)
            each = [town.client.open(own, 7004, src=src) for src in (stranger, friend) for _ in range(3)]
            trial.same("held each", [one.ask().outcome for one in each], ["answered"] * 6)
            trial.note(not town.client.tcp(own, 7004, src=stranger).ok, "a fourth of one source")
            trial.reach(town.client, "tcp", own, 7004, src=NEAR[family])
            for one in (*held, *each):
                one.close()
        trial.only_entries(lambda entry: entry.dport in (7003, 7004))
        trial.forget()
        trial.crowd(town.client, "tcp", [(OWN[4], 80), (OWN[6], 80)], 40)
        trial.no_entries("of the service without limits")


STRICT = f"""{HEAD}
network bad = 203.0.113.88, 2001:db8:88::/48
service web     tcp 80; udp 53
service numbers tcp 9100                  tracked
icmp    ping    echo-request              from any
trust   all     from friend, staff
block   enemies from bad                  on world
client  ask     udp 53                    to friend     untracked
client  ask-too tcp 80                    to any
route   open    from any to any
log dropped 10/minute
"""


def test_block_beats_everything(town: Lab, backend: str) -> None:
    """Who is blocked reaches nothing, not by services, trust, ping, routes or answers; others do."""
    with Trial(town, backend, STRICT) as trial:
        world, dmz = town.client, town.peers["dmz"]
        trial.serve(trial.host, "tcp", 80, 9100, 5000)
        trial.serve(trial.host, "udp", 53, 40000)
        trial.serve(world, "tcp", 80)
        trial.serve(world, "udp", 53)
        trial.serve(dmz, "tcp", 80)
        for family in FAMILIES:
            own, bad, good = OWN[family], FRIEND[family], STRANGER[family]
            for proto, port in (("tcp", 80), ("udp", 53), ("tcp", 9100)):
                trial.reach(world, proto, own, port, src=good)
                trial.miss(world, proto, own, port, src=bad)
            trial.miss(world, "tcp", own, 5000, src=bad)
            trial.reach(world, "tcp", DMZ[family], 80, src=good)
            trial.miss(world, "tcp", DMZ[family], 80, src=bad, at=dmz)
            trial.same("ping", [world.ping(own, src=src) for src in (good, bad)], [True, False])
            trial.note(not trial.host.udp(bad, 53, sport=41000).ok, "an answer of who is blocked")
            trial.note(not trial.host.tcp(bad, 80).ok, "a connection to who is blocked")
            trial.reach(trial.host, "tcp", good, 80)


def test_trust_reaches_the_host_and_nothing_behind_it(town: Lab, backend: str) -> None:
    """Everything from who is trusted, of any protocol, untracked; from others and through the host no."""
    site = f"{HEAD}service web tcp 80\ntrust all from friend on world\ntrust desk from staff\n"
    for more in ("default output accept without replies\n", NUMBERS + "default output drop\n"):
        with Trial(town, backend, site + more) as trial:
            world, office, dmz = town.client, town.peers["office"], town.peers["dmz"]
            trial.serve(trial.host, "tcp", 80, 1, 5000, 40000, 65535)
            trial.serve(trial.host, "udp", 1, 5000, 40000, 65535)
            trial.serve(dmz, "tcp", 80)
            for family in FAMILIES:
                own, friend, stranger = OWN[family], FRIEND[family], STRANGER[family]
                for proto in ("tcp", "udp"):
                    for port in (1, 5000, 40000, 65535):
                        trial.reach(world, proto, own, port, src=friend)
                        trial.reach(office, proto, OWN_IN[family], port)
                        trial.miss(world, proto, own, port, src=stranger)
                trial.reach(world, "udp", own, 5000, src=friend, size=6000)
                pings = [world.ping(own, src=src, size=3000) for src in (friend, stranger)]
                trial.same("pings", pings, [True, False])
                trial.miss(world, "tcp", DMZ[family], 80, src=friend, at=dmz)
                trial.miss(office, "tcp", DMZ[family], 80, at=dmz)
                catcher = trial.host.catch(packet.GRE, family)
                world.send([packet.raw(src, own, packet.GRE, bytes(8)) for src in (friend, stranger)])
                trial.same("GRE came from", [one.src for one in catcher.packets()], [friend])
                catcher.close()
            trial.no_entries("of trusts")


def test_logging_changes_nothing(town: Lab, backend: str) -> None:
    """`log dropped` loads and leaves verdicts as they are, for drop and for reject."""
    for default, outcome in (("drop", "dropped"), ("reject", "refused")):
        site = f"{HEAD}service web tcp 80\nlog dropped 10/minute\n"
        site += f"default input {default}\ndefault forward {default}\n"
        with Trial(town, backend, site) as trial:
            trial.serve(trial.host, "tcp", 80, 81)
            for family in FAMILIES:
                trial.reach(town.client, "tcp", OWN[family], 80)
                trial.miss(town.client, "tcp", OWN[family], 81, outcome=outcome)
                trial.miss(town.client, "tcp", OFFICE[family], 80, outcome=outcome)
            assert "LOG" in trial.rules(4) or "log" in trial.rules(4)
            trial.note(not town.client.udp(OWN[4], 9, src=RESOLVER[4]).ok, "an unserved port")
