"""Random small sites against a plain reading of their declarations.

`Reading` below is all that is known about a site: who may reach what, and what must leave no entry. It
looks at declarations only, as somebody would who reads the file aloud, and says nothing where two of them
together are not plain (None: no expectation).
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.kernel.lab import BACKENDS, Lab
from tests.kernel.node import Node
from tests.kernel.sites import (
    DMZ,
    DMZ2,
    FAMILIES,
    FRIEND,
    HEAD,
    NEAR,
    OFFICE,
    OFFICE2,
    OWN,
    OWN2,
    OWN_IN,
    RESOLVER,
    STRANGER,
    Trial,
    a_town,
)  # fmt: skip

SITES = 250 if os.environ.get("NOTRACK_SOAK") else 25
WORLD = (STRANGER, FRIEND, NEAR, RESOLVER)
Whom = tuple[dict[int, str], ...]
EVERYBODY: Whom = (*WORLD, OFFICE, OFFICE2, DMZ, DMZ2)
PEERS: dict[str, Whom] = {  # how a site says it, and who of the lab it is
    "any": EVERYBODY,
    "friend": (FRIEND,),
    "staff": (OFFICE, OFFICE2),
    "asked": (RESOLVER,),
    "any except friend": tuple(one for one in EVERYBODY if one is not FRIEND),
    "friend, 198.18.0.0/24, 2001:db8:a::/64": (FRIEND, NEAR),
    "172.16.9.10, 2001:db8:c::10": (DMZ,),
}
SIDES = {"world": WORLD, "office": (OFFICE, OFFICE2), "zone": (DMZ, DMZ2)}
OWNS: Whom = (OWN, OWN2, OWN_IN)
PORTS = (22, 53, 80, 123, 443, 1234, 5060, 7000, 7001, 8080, 27015, 33333, 50000)
EPHEMERAL = 41000


@dataclass(frozen=True, slots=True)
class Said:
    """One declaration: what it is about, and whom it lets do it."""

    keyword: str
    proto: str = ""
    ports: tuple[int, ...] = ()
    peers: Whom = EVERYBODY
    goals: Whom = EVERYBODY
    side: str = ""
    own: Whom = OWNS
    tracking: str = ""

    def about(self, proto: str, port: int) -> bool:
        return not self.ports or (proto == self.proto and port in self.ports)


@dataclass(slots=True)
class Reading:
    """A site as its reader understands it."""

    text: str = HEAD
    said: list[Said] = field(default_factory=list)
    output: str = "accept"
    forward: str = "drop"
    inward: str = "drop"
    masquerade: bool = False
    snat: bool = False

    def of(self, *keywords: str) -> list[Said]:
        return [one for one in self.said if one.keyword in keywords]

    def shown(self, who: dict[int, str]) -> tuple[str, ...]:
        """Under which addresses IPv4 of this source leaves to the world."""
        if self.masquerade and who in (OFFICE, OFFICE2):
            return (OWN[4],)
        if self.snat and who in (DMZ, DMZ2):
            return (OWN2[4],)
        return (who[4],)

    def blocked(self, who: dict[int, str]) -> bool:
        return any(who in one.peers and comes_from(who, one.side) for one in self.of("block"))

    def inbound(self, who: dict[int, str], own: dict[int, str], proto: str, port: int) -> list[Said]:
        """The declarations that let this question in."""
        return [
            one
            for one in self.of("service", "trust", "peer")
            if one.about(proto, port) and who in one.peers and comes_from(who, one.side) and own in one.own
        ]

    def plainly(self, who: dict[int, str], own: dict[int, str], proto: str, port: int) -> bool:
        """Whether untracked is untracked: answers know no interface, so a service that is tracked on
        another one has them; and what is trusted gives way to translation by its ports."""
        letting = self.inbound(who, own, proto, port)
        elsewhere = [
            one
            for one in self.of("service")
            if one.tracking and one.about(proto, port) and who in one.peers and own in one.own
        ]
        translating = self.masquerade or self.snat
        return not elsewhere and not (translating and any(one.keyword == "trust" for one in letting))

    def enters(self, who: dict[int, str], own: dict[int, str], proto: str, port: int) -> bool:
        return not self.blocked(who) and bool(self.inbound(who, own, proto, port))

    def asks(self, whom: dict[int, str], proto: str, port: int) -> bool | None:
        """Whether the host is answered by `whom`."""
        if self.blocked(whom):
            return False
        if any(whom in one.peers and one.about(proto, port) for one in self.of("peer")):
            return None  # a question from any port; its answer is let in where it is one to the peer's port
        if self.output == "accept" or self.clients(whom, proto, port):
            return True
        return None if self.trusted(whom) else False

    def trusted(self, whom: dict[int, str]) -> bool:
        """Whose answers come in anyway, whoever asked."""
        return any(whom in one.peers for one in self.of("trust"))

    def clients(self, whom: dict[int, str], proto: str, port: int) -> list[Said]:
        return [one for one in self.of("client") if one.about(proto, port) and whom in one.goals]

    def routes(self, who: dict[int, str], whom: dict[int, str], proto: str, port: int) -> list[Said]:
        return [
            one
            for one in self.of("route")
            if one.about(proto, port) and who in one.peers and whom in one.goals and comes_from(who, one.side)
        ]

    def passes(self, who: dict[int, str], whom: dict[int, str], proto: str, port: int) -> bool:
        if self.blocked(who) or self.blocked(whom):
            return False
        return self.forward == "accept" or bool(self.routes(who, whom, proto, port))


def comes_from(who: dict[int, str], side: str) -> bool:
    return not side or who in SIDES[side]


# --- making a site ------------------------------------------------------------------------------


def a_site(luck: random.Random) -> Reading:
    reading = Reading()
    reading.output = luck.choice(("accept", "drop", "accept without replies"))
    reading.forward = luck.choice(("drop", "drop", "accept"))
    reading.inward = luck.choice(("drop", "reject"))
    lines = [f"default output {reading.output}", f"default forward {reading.forward}"]
    lines += [f"default input {reading.inward}"]
    makers = [service] * 4 + [client] * 2 + [route] * 2 + [peer, trust, block]
    for at in range(luck.randint(2, 9)):
        said, line = luck.choice(makers)(luck)
        reading.said.append(said)
        lines.append(line.replace("NAME", f"{said.keyword[0]}{at}"))
    reading.masquerade = luck.random() < 0.3
    if reading.masquerade:
        lines.append("masquerade out-nat from 172.16.5.0/24 out world")
    reading.snat = luck.random() < 0.2
    if reading.snat:
        lines.append("snat zone-out from 172.16.9.0/24 out world as 198.18.0.3")
    for line, said in TRANSLATIONS:
        if luck.random() < 0.25:
            lines.append(line)
            reading.said.append(said)
    luck.shuffle(lines)
    reading.text += "\n".join(lines) + "\n"
    return reading


PUBLISHED, REDIRECTED, BEHIND = (6001, 6002), 6003, 6004
TRANSLATIONS = (  # each on ports of its own
    ("publish high tcp 6001 on world to 172.16.9.10 port 80", Said("publish", "tcp", (6001,), side="world")),
    (
        "publish low udp 6002 at 198.18.0.3 on world to 172.16.9.10 port 53",
        Said("publish", "udp", (6002,), side="world", own=(OWN2,)),
    ),
    ("redirect near tcp 6003 on office to port 6004", Said("redirect", "tcp", (6003,), side="office")),
)


def traffic(luck: random.Random) -> tuple[str, tuple[int, ...], str]:
    proto = luck.choice(("tcp", "udp"))
    ports = tuple(sorted(luck.sample(PORTS, luck.randint(1, 3))))
    return proto, ports, f"{proto} {', '.join(map(str, ports))}"


def service(luck: random.Random) -> tuple[Said, str]:
    proto, ports, words = traffic(luck)
    peers = luck.choice(list(PEERS))
    side = luck.choice(("", "", "world", "office"))
    at = luck.choice(("", "", "at 198.18.0.3, 2001:db8:a::3"))
    tracking = luck.choice(("", "", "tracked"))
    line = f"service NAME {words} from {peers} {at} {'on ' + side if side else ''} {tracking}"
    own = (OWN2,) if at else OWNS
    return Said("service", proto, ports, PEERS[peers], side=side, own=own, tracking=tracking), line


def client(luck: random.Random) -> tuple[Said, str]:
    proto, ports, words = traffic(luck)
    goals = luck.choice(("any", "friend", "asked", "staff"))
    tracking = luck.choice(("", "tracked", "untracked"))
    said = Said("client", proto, ports, goals=PEERS[goals], tracking=tracking)
    return said, f"client NAME {words} to {goals} {tracking}"


def route(luck: random.Random) -> tuple[Said, str]:
    proto, ports, words = traffic(luck)
    peers, goals = luck.choice(list(PEERS)), luck.choice(("any", "staff", "172.16.9.10, 2001:db8:c::10"))
    side = luck.choice(("", "", "world", "office"))
    tracking = luck.choice(("", "tracked", "untracked"))
    said = Said("route", proto, ports, PEERS[peers], PEERS[goals], side, tracking=tracking)
    return said, f"route NAME {words} from {peers} to {goals} {'on ' + side if side else ''} {tracking}"


def peer(luck: random.Random) -> tuple[Said, str]:
    proto, port = luck.choice((("udp", 4789), ("udp", 51820), ("tcp", 179)))
    peers = luck.choice(("friend", "staff", "any"))
    return Said("peer", proto, (port,), PEERS[peers]), f"peer NAME {proto} {port} with {peers}"


def trust(luck: random.Random) -> tuple[Said, str]:
    peers = luck.choice(("friend", "staff", "asked"))
    return Said("trust", peers=PEERS[peers]), f"trust NAME from {peers}"


def block(luck: random.Random) -> tuple[Said, str]:
    peers, side = luck.choice(("friend", "asked")), luck.choice(("", "world"))
    said = Said("block", peers=PEERS[peers], side=side)
    return said, f"block NAME from {peers} {'on ' + side if side else ''}"


# --- probing it ---------------------------------------------------------------------------------


def node_of(lab: Lab, who: dict[int, str]) -> Node:
    side = next(name for name, members in SIDES.items() if who in members)
    return lab.peers["dmz" if side == "zone" else side]


def some_ports(reading: Reading, luck: random.Random) -> list[tuple[str, int]]:
    said = [
        (one.proto, port)
        for one in reading.said
        for port in one.ports
        if one.keyword not in ("publish", "redirect")
    ]
    others = [(luck.choice(("tcp", "udp")), luck.choice((*PORTS, 4789, 9999))) for _ in range(6)]
    return luck.sample(said, min(len(said), 8)) + others


# Rules of another program, that track everything and decide nothing.
OTHERS = "table inet others { chain c { type filter hook input priority 10; ct state new counter\n }\n }"
WELL_KNOWN = (53, 80, 443, 4789)


def a_port(luck: random.Random) -> int:
    """A source port that nobody serves; a well-known one or one of the ephemeral range now and then."""
    low, high = luck.randint(20000, 29999), luck.randint(45000, 49000)
    return luck.choice((low, high, luck.choice(WELL_KNOWN)))


def expect(trial: Trial, ok: bool | None, expected: bool | None, what: str) -> None:
    if expected is not None:
        trial.note(ok == expected, f"{what}: answered={ok}, expected {expected}")


def probe_inward(trial: Trial, reading: Reading, luck: random.Random) -> None:
    for proto, port in some_ports(reading, luck):
        trial.serve(trial.host, proto, port)
        family, own = luck.choice(FAMILIES), luck.choice(OWNS)
        for who in luck.sample(EVERYBODY, 3):
            sport, node = a_port(luck), node_of(trial.lab, who)
            answer = trial.ask(node, proto, own[family], port, src=who[family], sport=sport)
            entering = reading.enters(who, own, proto, port)
            if sport in WELL_KNOWN and port >= 32768:
                trial.forget()
                continue  # it may be an answer to a client
            what = f"{proto} {who[family]} to {own[family]}:{port}"
            expect(trial, answer.ok, entering, what)
            if not entering and not reading.blocked(who):
                refused = {"drop": ("dropped", "silent"), "reject": ("refused",)}[reading.inward]
                trial.note(answer.outcome in refused, f"{what}: {answer.outcome}")
            letting = reading.inbound(who, own, proto, port)
            plain = reading.plainly(who, own, proto, port)
            check_entries(trial, entering, [one.tracking for one in letting], plain, what)


def check_entries(trial: Trial, happened: bool, tracking: list[str], plain: bool, what: str) -> None:
    """Tracked by a word: an entry. Untracked (all of those that let it through): none."""
    count = trial.lab.conntrack_count()
    if not happened:
        trial.note(count == 0, f"{what}: an entry of what was not let through")
    elif "tracked" in tracking:
        trial.note(count > 0, f"{what}: no entry of a tracked flow")
    elif plain:
        trial.note(count == 0, f"{what}: an entry of an untracked flow")
    if count:
        half = [entry.line for entry in trial.entries(lambda entry: not entry.replied)] if happened else []
        trial.note(not half, f"{what}: half tracked {half[:1]}")
        trial.forget()


def probe_outward(trial: Trial, reading: Reading, luck: random.Random) -> None:
    for at, (proto, port) in enumerate(some_ports(reading, luck)):
        family, whom = luck.choice(FAMILIES), luck.choice((*WORLD, OFFICE))
        trial.serve(node_of(trial.lab, whom), proto, port)
        answer = trial.ask(trial.host, proto, whom[family], port, sport=EPHEMERAL + at)
        what = f"{proto} the host to {whom[family]}:{port}"
        expected = reading.asks(whom, proto, port)
        expect(trial, answer.ok, expected, what)
        words = [one.tracking for one in reading.clients(whom, proto, port)]
        if expected and words and "untracked" in words:
            check_entries(trial, True, ["untracked"], True, what)
        elif expected and words and not reading.trusted(whom):
            check_entries(trial, True, ["tracked"], True, what)
        trial.forget()


def probe_through(trial: Trial, reading: Reading, luck: random.Random) -> None:
    pairs = [(who, whom) for who in EVERYBODY for whom in (OFFICE, DMZ, DMZ2, STRANGER)]
    for proto, port in some_ports(reading, luck):
        family = luck.choice(FAMILIES)
        who, whom = luck.choice(pairs)
        near, far = node_of(trial.lab, who), node_of(trial.lab, whom)
        if near is far:
            continue
        trial.serve(far, proto, port)
        sport = luck.randint(20000, 29999)
        answer = trial.ask(near, proto, whom[family], port, src=who[family], sport=sport)
        what = f"{proto} {who[family]}:{sport} through to {whom[family]}:{port}"
        expected = reading.passes(who, whom, proto, port)
        expect(trial, answer.ok, expected, what)
        words = [one.tracking for one in reading.routes(who, whom, proto, port)]
        shown = reading.shown(who)
        translated = family == 4 and who[4] not in shown
        if family == 4 and expected and far is trial.lab.client and answer.seen:
            trial.note(answer.seen[0] in shown, f"{what}: seen as {answer.seen}")
        if expected and not translated and words and set(words) <= {"untracked"}:
            check_entries(trial, True, ["untracked"], reading.forward == "drop", what)
        elif expected and "tracked" in words:
            check_entries(trial, True, ["tracked"], True, what)
        trial.forget()


def probe_translated(trial: Trial, reading: Reading, luck: random.Random) -> None:
    dmz = trial.lab.peers["dmz"]
    trial.serve(dmz, "tcp", 80)
    trial.serve(dmz, "udp", 53)
    trial.serve(trial.host, "tcp", BEHIND)
    for said in reading.of("publish", "redirect"):
        port = said.ports[0]
        for _ in range(6):
            family, own, who = luck.choice(FAMILIES), luck.choice(OWNS), luck.choice((*WORLD, OFFICE))
            ours = who in SIDES[said.side] and own in said.own and (family == 4 or said.keyword == "redirect")
            if not ours and reading.enters(who, own, said.proto, port):
                continue  # trusted: it reaches the port itself
            sport, node = a_port(luck), node_of(trial.lab, who)
            answer = trial.ask(node, said.proto, own[family], port, src=who[family], sport=sport)
            expected = ours and not reading.blocked(who)
            what = f"{said.keyword} {said.proto} {who[family]}:{sport} to {own[family]}:{port}"
            trial.note(answer.ok == expected, f"{what}: {answer.outcome}, expected {expected}")
            check_entries(trial, expected, ["tracked"] if expected else [], False, what)


@pytest.fixture(scope="module")
def town() -> Iterator[Lab]:
    yield from a_town()


@pytest.mark.parametrize("seed", range(SITES))
def test_a_random_site(town: Lab, seed: int) -> None:
    """What the declarations say in plain words is what the kernel does."""
    luck = random.Random(f"site {seed}")
    backend = luck.choice(BACKENDS)
    for _ in range(60):  # many sites say `untracked` of what another line tracks: those are refused
        reading = a_site(luck)
        beside = luck.random() < 0.3
        try:
            trial = Trial(town, backend, reading.text, coexist=beside)
        except AssertionError as refused:
            assert "shares packets" in str(refused) or "every packet of" in str(refused), refused
            continue
        break
    else:
        pytest.fail("no site compiles")
    if beside:
        town.load_nft(OTHERS)
    with trial:
        probe_inward(trial, reading, luck)
        probe_outward(trial, reading, luck)
        probe_through(trial, reading, luck)
        probe_translated(trial, reading, luck)
        if trial.wrong:
            trial.wrong.append(f"beside others: {beside}\n{reading.text}")
