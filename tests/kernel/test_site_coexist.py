"""Compiled sites beside the rules of others: those stay and work, and so do the host's services."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.lab import Lab
from tests.kernel.sites import (
    DMZ,
    DMZ2,
    FAMILIES,
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

SITE = f"""{HEAD}
service web     tcp 80; udp 443           on world
service names   udp 53; tcp 53
service shell   tcp 22                    from staff
client  resolve udp 53                    to asked     untracked
"""
ENFORCING = SITE + "default input drop\ndefault forward leave\n"
LEAVING = SITE + "default input leave\ndefault forward leave\ndefault output leave\n"

DOCKER = """*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o dmz0 -j DOCKER
-A FORWARD -i dmz0 ! -o dmz0 -j ACCEPT
-A DOCKER -d 172.16.9.10/32 ! -i dmz0 -o dmz0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-USER -j RETURN
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.16.9.0/24 ! -o dmz0 -j MASQUERADE
-A DOCKER ! -i dmz0 -p tcp -m tcp --dport 8088 -j DNAT --to-destination 172.16.9.10:80
COMMIT
*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -d 172.16.9.11/32 ! -i dmz0 -j DROP
COMMIT
"""
DOCKER_NFT = """table ip docker {
  chain raw { type filter hook prerouting priority -300; policy accept;
    ip daddr 172.16.9.11 iifname != "dmz0" drop
  }
  chain prerouting { type nat hook prerouting priority -100; policy accept;
    fib daddr type local iifname != "dmz0" tcp dport 8088 dnat to 172.16.9.10:80
  }
  chain output { type nat hook output priority -100; policy accept;
    ip daddr != 127.0.0.0/8 fib daddr type local tcp dport 8088 dnat to 172.16.9.10:80
  }
  chain postrouting { type nat hook postrouting priority 100; policy accept;
    ip saddr 172.16.9.0/24 oifname != "dmz0" masquerade
  }
  chain forward { type filter hook forward priority 0; policy drop;
    ct state related,established accept
    ip daddr 172.16.9.10 iifname != "dmz0" oifname "dmz0" tcp dport 80 accept
    iifname "dmz0" oifname != "dmz0" accept
  }
}
"""


@pytest.fixture(scope="module")
def town() -> Iterator[Lab]:
    yield from a_town()


def beside(town: Lab, backend: str, text: str, coexist: bool) -> Trial:
    """The rules of another program first, then the site's."""
    town.reset()
    if backend == "nft":
        town.load_nft(DOCKER_NFT)
    else:
        town.load(backend, DOCKER)
    return Trial(town, backend, text, coexist=coexist, fresh=False)


def theirs(trial: Trial) -> dict[str, list[str]]:
    """The others' rules as they stand, table by table, in their order."""
    if trial.backend == "nft":
        return {"docker": trial.host.run("nft", "list", "table", "ip", "docker").out.split("\n")}
    wanted = by_table(DOCKER)
    standing = by_table(trial.rules(4))
    return {table: [rule for rule in standing[table] if rule in rules] for table, rules in wanted.items()}


def by_table(text: str) -> dict[str, list[str]]:
    """The rules of a restore text under the names of their tables."""
    tables: dict[str, list[str]] = {}
    rules: list[str] = []
    for line in text.splitlines():
        if line.startswith("*"):
            rules = tables.setdefault(line[1:], [])
        elif line.startswith("-A "):
            rules.append(line)
    return tables


@pytest.fixture(
    params=[(ENFORCING, True), (LEAVING, False), (LEAVING, True)], ids=["enforcing", "leaving", "both"]
)
def beside_docker(request: pytest.FixtureRequest, town: Lab, backend: str) -> Trial:
    text, coexist = request.param
    return beside(town, backend, text, coexist)


def test_the_rules_of_others_survive(beside_docker: Trial) -> None:
    """Every rule of theirs stays, in order, and loading again (and again) changes nothing."""
    with beside_docker as trial:
        before = by_table(DOCKER)
        if trial.backend == "nft":
            before = theirs(trial)
            assert sum("dnat to 172.16.9.10:80" in line for line in before["docker"]) == 2
        trial.same("their rules", theirs(trial), before)
        own = trial.rules(4)
        for _ in range(2):
            trial.load()
            trial.same("their rules", theirs(trial), before)
        if trial.backend == "nft":
            trial.same("own rules", trial.rules(4), own)


@pytest.mark.parametrize("times", [1, 3])
def test_services_and_translations_live_together(beside_docker: Trial, times: int) -> None:
    """The host's services leave no entry; what others translate works, also from the host itself."""
    with beside_docker as trial:
        for _ in range(times - 1):
            trial.load()
        town = trial.lab
        world, office, dmz = town.client, town.peers["office"], town.peers["dmz"]
        trial.serve(trial.host, "tcp", 80, 53, 22)
        trial.serve(trial.host, "udp", 443, 53)
        trial.serve(dmz, "tcp", 80)
        trial.serve(world, "tcp", 80)
        trial.serve(world, "udp", 53)
        own = [OWN[family] for family in FAMILIES]
        trial.crowd(world, "tcp", [(dst, port) for dst in own for port in (80, 53)], 80)
        trial.crowd(world, "udp", [(dst, port) for dst in own for port in (443, 53)], 80)
        for family in FAMILIES:
            trial.reach(office, "tcp", OWN_IN[family], 22)
            trial.reach(trial.host, "udp", RESOLVER[family], 53, sport=41000)
        trial.no_entries("of the host's services beside others")
        trial.same("asked", trial.reach(world, "tcp", OWN[4], 8088).asked, (DMZ[4], 80))
        trial.same("asked", trial.reach(trial.host, "tcp", OWN[4], 8088).asked, (DMZ[4], 80))
        answer = trial.reach(dmz, "tcp", STRANGER[4], 80, src=DMZ[4])
        trial.same("masqueraded", answer.seen and answer.seen[0], OWN[4])
        trial.miss(world, "tcp", DMZ2[4], 80, at=dmz)
        trial.miss(world, "tcp", OFFICE[4], 80, at=office)
        for family in FAMILIES:
            trial.reach(trial.host, "tcp", OWN[family], 80)
            trial.reach(trial.host, "tcp", "127.0.0.1" if family == 4 else "::1", 53)


def test_own_services_answer_under_the_others_policy(town: Lab, backend: str) -> None:
    """`leave`: what the site names passes its own chains; the others' policy decides about the rest."""
    town.reset()
    closed = DOCKER.replace(":INPUT ACCEPT", ":INPUT DROP")
    if backend != "nft":  # a drop in a base chain of another nft table is final: nothing can pass it
        town.load(backend, closed)
        with Trial(town, backend, LEAVING, fresh=False) as trial:
            trial.serve(trial.host, "tcp", 80, 53, 81)
            trial.serve(trial.host, "udp", 53)
            trial.reach(town.client, "tcp", OWN[4], 80)
            trial.reach(town.client, "udp", OWN[4], 53)
            trial.miss(town.client, "tcp", OWN[4], 81)
            trial.reach(town.client, "tcp", OWN[6], 81)
            trial.no_entries("of services")
            trial.load()
            trial.reach(town.client, "tcp", OWN[4], 80, src=NEAR[4])
    else:
        town.load_nft(DOCKER_NFT)
        with Trial(town, backend, LEAVING, fresh=False) as trial:
            trial.serve(trial.host, "tcp", 80, 81)
            trial.reach(town.client, "tcp", OWN[4], 80)
            trial.reach(town.client, "tcp", OWN[4], 81)


def test_enforcing_beside_others(town: Lab, backend: str) -> None:
    """`--coexist` with `default input drop`: what nobody names is dropped by the site's own chain."""
    with beside(town, backend, ENFORCING, True) as trial:
        trial.serve(trial.host, "tcp", 80, 81, 22)
        trial.serve(town.client, "tcp", 8000)
        for family in FAMILIES:
            trial.reach(town.client, "tcp", OWN[family], 80)
            trial.miss(town.client, "tcp", OWN[family], 81)
            trial.miss(town.client, "tcp", OWN[family], 22)
            trial.reach(trial.host, "tcp", STRANGER[family], 8000)


def test_nothing_is_tracked_by_the_site_but_notrack_stays(town: Lab, backend: str) -> None:
    """A site that needs no tracking beside others that turn it on: its flows still leave no entries."""
    site = f"{HEAD}service names udp 53; tcp 53\ndefault output accept without replies\n"
    town.reset()
    watch = "table inet theirs { chain c { type filter hook input priority 10; ct state new counter\n }\n }"
    town.load_nft(watch)
    with Trial(town, backend, site, coexist=True, fresh=False) as trial:
        trial.serve(trial.host, "tcp", 53)
        trial.serve(trial.host, "udp", 53)
        goals = [(OWN[4], 53), (OWN[6], 53)]
        trial.crowd(town.client, "tcp", goals, 60)
        trial.crowd(town.client, "udp", goals, 60)
        trial.reach(trial.host, "tcp", OWN[4], 53)
        trial.no_entries("beside a rule that turns tracking on")
        assert "theirs" in trial.host.run("nft", "list", "tables").out


OPEN = f"""{HEAD}
network inside = 172.16.5.0/24
service web tcp 80; udp 53
default forward accept
snat zone-out from 172.16.9.0/24 out world as 198.18.0.3
masquerade inside-out from inside out world
publish shop tcp 8443 on world to 172.16.9.10 port 443
"""


@pytest.mark.parametrize("coexist", [False, True])
def test_translation_beside_an_open_forward(town: Lab, backend: str, coexist: bool) -> None:
    """What is translated is tracked although all else that is forwarded is not, in own chains as well."""
    with Trial(town, backend, OPEN, coexist=coexist) as trial:
        world, office, dmz = town.client, town.peers["office"], town.peers["dmz"]
        for proto in ("tcp", "udp"):
            trial.serve(world, proto, 123)
            trial.serve(office, proto, 124)
            answer = trial.reach(dmz, proto, STRANGER[4], 123, src=DMZ[4])
            trial.same("seen", answer.seen and answer.seen[0], OWN2[4])
            answer = trial.reach(office, proto, STRANGER[4], 123)
            trial.same("seen", answer.seen and answer.seen[0], OWN[4])
        trial.serve(dmz, "tcp", 443)
        trial.same("asked", trial.reach(world, "tcp", OWN[4], 8443).asked, (DMZ[4], 443))
        trial.forget()
        for family in FAMILIES:
            trial.reach(world, "tcp", OFFICE[family], 124)
            trial.reach(world, "udp", OFFICE[family], 124)
        if not coexist:
            trial.same("IPv6 entries", trial.entries(lambda entry: entry.family == 6), [])
