"""Compiled sites: `helper ftp` opens the announced data connection, that one alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.lab import Lab
from tests.kernel.node import Conversation, Node
from tests.kernel.sites import FAMILIES, FRIEND, HEAD, NEAR, OFFICE, OWN, RESOLVER, STRANGER, Trial, a_town

SERVER = f"""{HEAD}
service files  tcp 21                     on world     helper ftp
service web    tcp 80, 443
service names  udp 53; tcp 53
client resolve udp 53                     to asked     untracked
"""
CLIENT = f"""{HEAD}
service web    tcp 80
client fetch   tcp 21                     to any       helper ftp
client resolve udp 53                     to asked     untracked
route  office-ftp tcp 21                  from staff to any   on office out world   helper ftp
"""
DATA = 45000


@pytest.fixture(scope="module")
def town() -> Iterator[Lab]:
    yield from a_town()


def passive(address: str, port: int) -> bytes:
    """A server's announcement of where it listens for data."""
    if ":" in address:
        return f"229 Entering Extended Passive Mode (|||{port}|)\r\n".encode()
    numbers = ",".join([*address.split("."), str(port >> 8), str(port & 255)])
    return f"227 Entering Passive Mode ({numbers})\r\n".encode()


def active(address: str, port: int) -> bytes:
    """A client's announcement of where it listens for data."""
    if ":" in address:
        return f"EPRT |2|{address}|{port}|\r\n".encode()
    return b"PORT " + ",".join([*address.split("."), str(port >> 8), str(port & 255)]).encode() + b"\r\n"


def dialogue(trial: Trial, node: Node, server: str, src: str) -> Conversation:
    """A control connection past its first lines, which the helper reads for their sequence numbers only."""
    control = node.open(server, 21, src=src)
    trial.same("control", control.ask(b"USER lab\r\n").outcome, "answered")
    return control


def servers(world: Node, family: int) -> None:
    """A server that answers all with its passive port, and another one that says no more than yes."""
    world.listen("tcp", 21, address=STRANGER[family], reply=passive(STRANGER[family], DATA))
    world.listen("tcp", 21, address=FRIEND[family], reply=b"200 fine\r\n")


def question(address: str) -> bytes:
    return b"EPSV\r\n" if ":" in address else b"PASV\r\n"


@pytest.mark.parametrize("output", ["accept", "drop"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_server_opens_its_announced_port(town: Lab, backend: str, family: int, output: str) -> None:
    """Passive mode: the announced port is open after the announcement, once, to that client."""
    with Trial(town, backend, f"{SERVER}default output {output}\n") as trial:
        world, own, near = town.client, OWN[family], NEAR[family]
        trial.host.listen("tcp", 21, reply=passive(own, DATA))
        trial.serve(trial.host, "tcp", DATA, DATA + 1, 80, 53)
        trial.serve(trial.host, "udp", 53)
        control = dialogue(trial, world, own, near)
        trial.miss(world, "tcp", own, DATA, src=near)
        trial.note(b"Passive" in control.ask(question(own)).data, "no announcement came")
        trial.miss(world, "tcp", own, DATA, src=STRANGER[family])
        trial.miss(world, "tcp", own, DATA + 1, src=near)
        trial.reach(world, "tcp", own, DATA, src=near)
        trial.miss(world, "tcp", own, DATA, src=near)
        control.ask(question(own))
        trial.reach(world, "tcp", own, DATA, src=near)
        trial.only_entries(lambda entry: entry.dport in (21, DATA) and entry.replied)
        before = town.conntrack_count()
        trial.crowd(world, "tcp", [(own, 80), (own, 53)], 40)
        trial.crowd(world, "udp", [(own, 53)], 40)
        trial.same("entries after untracked services", town.conntrack_count(), before)
        trial.miss(town.peers["office"], "tcp", own, 21)
        control.close()


@pytest.mark.parametrize("output", ["accept", "drop"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_server_calls_back(town: Lab, backend: str, family: int, output: str) -> None:
    """Active mode: the server connects to the announced port of the client, from port 20."""
    with Trial(town, backend, f"{SERVER}default output {output}\n") as trial:
        world, own, near = town.client, OWN[family], NEAR[family]
        trial.host.listen("tcp", 21, reply=b"200 fine\r\n")
        trial.serve(world, "tcp", DATA, DATA + 1)
        control = dialogue(trial, world, own, near)
        if output == "drop":
            trial.note(not trial.host.tcp(near, DATA, src=own, sport=20).ok, "data before the announcement")
        trial.note(control.ask(active(near, DATA)).data == b"200 fine\r\n", "no answer to PORT")
        if output == "drop":
            trial.note(not trial.host.tcp(near, DATA + 1, src=own, sport=20).ok, "data to another port")
        trial.reach(trial.host, "tcp", near, DATA, src=own, sport=20)
        control.close()


@pytest.mark.parametrize("output", ["accept", "drop", "accept without replies"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_client_fetches(town: Lab, backend: str, family: int, output: str) -> None:
    """The host as client: passive data goes out, active data comes in, under every default."""
    with Trial(town, backend, f"{CLIENT}default output {output}\n") as trial:
        world, own, far = town.client, OWN[family], STRANGER[family]
        servers(world, family)
        trial.serve(world, "tcp", DATA)
        trial.serve(trial.host, "tcp", 41000, 41001)
        control = dialogue(trial, trial.host, far, own)
        if output != "accept":
            trial.note(not trial.host.tcp(far, DATA, src=own).ok, "data before the announcement")
        control.ask(question(far))
        trial.reach(trial.host, "tcp", far, DATA, src=own)
        control.close()
        caller = FRIEND[family]
        control = dialogue(trial, trial.host, caller, own)
        trial.miss(world, "tcp", own, 41000, src=caller, sport=20)
        control.ask(active(own, 41000))
        trial.miss(world, "tcp", own, 41001, src=caller, sport=20)
        trial.miss(world, "tcp", own, 41000, src=RESOLVER[family], sport=20)
        trial.reach(world, "tcp", own, 41000, src=caller, sport=20)
        control.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_route_with_a_helper(town: Lab, backend: str, family: int) -> None:
    """Forwarded: the office fetches from the world in both modes, and only what was announced."""
    with Trial(town, backend, CLIENT) as trial:
        world, office, far = town.client, town.peers["office"], STRANGER[family]
        desk: str = OFFICE[family]
        servers(world, family)
        trial.serve(world, "tcp", DATA, DATA + 1)
        trial.serve(office, "tcp", 41000)
        control = dialogue(trial, office, far, desk)
        trial.miss(office, "tcp", far, DATA, src=desk, at=world)
        control.ask(question(far))
        trial.miss(office, "tcp", far, DATA + 1, src=desk, at=world)
        trial.reach(office, "tcp", far, DATA, src=desk)
        control.close()
        caller = FRIEND[family]
        control = dialogue(trial, office, caller, desk)
        trial.miss(world, "tcp", desk, 41000, src=caller, sport=20, at=office)
        control.ask(active(desk, 41000))
        trial.miss(world, "tcp", desk, 41000, src=far, sport=20, at=office)
        trial.reach(world, "tcp", desk, 41000, src=caller, sport=20)
        control.close()


def test_masqueraded_ftp(town: Lab, backend: str) -> None:
    """Masquerade and helper together: the announcement is translated, the data comes back."""
    site = f"""{HEAD}
network inside = 172.16.5.0/24
service web tcp 80, 8080
client resolve udp 53 to asked untracked
route office-ftp tcp 21 from inside to any on office out world helper ftp
masquerade office-nat from inside out world
"""
    with Trial(town, backend, site) as trial:
        world, office, far = town.client, town.peers["office"], STRANGER[4]
        desk: str = OFFICE[4]
        server: Node = world
        server.listen("tcp", 21, reply=passive(far, DATA))
        trial.serve(server, "tcp", DATA)
        control = dialogue(trial, office, far, desk)
        trial.miss(office, "tcp", far, DATA, src=desk, at=server)
        control.ask(question(far))
        trial.same("seen", (trial.reach(office, "tcp", far, DATA, src=desk).seen or ("",))[0], OWN[4])
        control.close()
