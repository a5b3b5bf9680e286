"""The difference of two rulesets, held to the kernel: opening packets, their answers, later packets.

Random small rulesets with one rule changed. Each packet goes through a throw-away host under either; what the
difference says of it must be what is seen, and what it does not name must not change.
"""

from __future__ import annotations

import ipaddress
import random
from dataclasses import replace

import pytest

from notrack.host.kernel import Device, Load, Seen, Shot, shoot
from notrack.host.system import LiveSystem
from notrack.netfilter.host import Host, HostInterface
from notrack.netfilter.walk import resettled, settle_kinds
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.packets.packet import Packet
from notrack.packets.packet_text import parse_packet
from notrack.proof.difference import TRACKING, VERDICT, Difference, difference
from notrack.proof.difference_roles import Role
from notrack.ruleset.core import Ruleset
from notrack.ruleset.formats import read_all
from notrack.text.source import Source
from tests.conftest import SOAK
from tests.kernel.conftest import demand_lab

HOST = Host(
    interfaces=(
        HostInterface("eth0", (ipaddress.ip_interface("192.0.2.80/24"),)),
        HostInterface("eth1", (ipaddress.ip_interface("10.8.0.1/24"),)),
    ),
    forwards_ipv4=True,
    tcp_loose=True,
)
DEVICES = [Device("eth0", ("192.0.2.80/24",)), Device("eth1", ("10.8.0.1/24",))]
ENDS = {
    Way.LOCAL_IN: ("203.0.113.9", "192.0.2.80", "in eth0 to host"),
    Way.FORWARD: ("203.0.113.9", "10.8.0.7", "in eth0 out eth1"),
}
PORTS = (53, 80, 4000)
STATES = ("NEW", "ESTABLISHED", "RELATED,ESTABLISHED", "INVALID", "UNTRACKED", "NEW,UNTRACKED")


def guard(draw: random.Random, hook: str) -> str:
    parts = []
    if draw.random() < 0.6:
        parts.append(
            f"-p {draw.choice(('udp', 'udp', 'tcp'))}"
            f" {draw.choice(('--dport', '--sport'))} {draw.choice(PORTS)}"
        )
    if draw.random() < 0.3:
        parts.append(
            f"{draw.choice(('-s', '-d'))} {draw.choice(('203.0.113.0/24', '192.0.2.80', '10.8.0.0/24'))}"
        )
    if draw.random() < 0.5 and hook not in ("raw", "OUTRAW"):
        parts.append(f"-m conntrack --ctstate {draw.choice(STATES)}")
    return " ".join(parts)


def made(draw: random.Random) -> list[str]:
    """The rules of a ruleset, each with its table."""
    rules = [
        f"raw -A {chain} {guard(draw, 'raw')} -j CT --notrack"
        for chain in ("PREROUTING", "OUTPUT")
        for _ in range(draw.randrange(3))
    ]
    for chain in ("INPUT", "FORWARD", "OUTPUT"):
        rules += [
            f"filter -A {chain} {guard(draw, chain)} -j {draw.choice(('ACCEPT', 'ACCEPT', 'DROP'))}"
            for _ in range(draw.randrange(1, 5))
        ]
    return rules


def text(rules: list[str], policies: dict[str, str]) -> str:
    lines = []
    for table, chains in (("raw", ("PREROUTING", "OUTPUT")), ("filter", ("INPUT", "FORWARD", "OUTPUT"))):
        lines.append(f"*{table}")
        lines += [
            f":{chain} {policies.get(chain, 'ACCEPT') if table == 'filter' else 'ACCEPT'} [0:0]"
            for chain in chains
        ]
        lines += [rule.removeprefix(f"{table} ") for rule in rules if rule.startswith(f"{table} ")]
        lines.append("COMMIT")
    return "\n".join([*lines, ""])


def changed(draw: random.Random, rules: list[str]) -> list[str]:
    at = draw.randrange(len(rules))
    if draw.random() < 0.5:
        return rules[:at] + rules[at + 1 :]
    return [
        *rules[:at],
        *[one for one in made(draw) if one.split()[0] == rules[at].split()[0]][:1],
        *rules[at:],
    ]


def flow(draw: random.Random) -> tuple[Way, list[Packet]]:
    """An opening packet, an answer to it, and a later packet of its sender."""
    way = draw.choice(list(ENDS))
    one, other, where = ENDS[way]
    protocol = "udp" if way is Way.LOCAL_IN else draw.choice(("udp", "tcp"))
    ports = draw.choice(PORTS), draw.choice(PORTS)
    flags = ("flags syn", "flags syn,ack", "flags ack") if protocol == "tcp" else ("", "", "")
    back = {"in eth0 to host": "out eth0", "in eth0 out eth1": "in eth1 out eth0"}[where]
    texts = (
        f"{protocol} {one}:{ports[0]} > {other}:{ports[1]} {where} {flags[0]}",
        f"{protocol} {other}:{ports[1]} > {one}:{ports[0]} {back} {flags[1]}",
        f"{protocol} {one}:{ports[0]} > {other}:{ports[1]} {where} {flags[2]}",
    )
    return way, [parse_packet(line) for line in texts]


def shots(way: Way, packets: list[Packet]) -> list[Shot]:
    back = Way.LOCAL_OUT if way is Way.LOCAL_IN else way
    return [
        Shot(packet, taken.value, goes_on=number > 0)
        for number, (packet, taken) in enumerate(zip(packets, (way, back, way), strict=True))
    ]


def told(found: Difference, role: Role, way: Way, packet: Packet) -> set[str]:
    values = packet.values()
    settle_kinds(values, packet, HOST, way)
    asked = replace(resettled(packet, values), local=None)
    return {c.kind for c in found.changes if c.role is role and c.way is way and c.packets.has(asked)}


def compare(
    found: Difference, way: Way, packets: list[Packet], before: list[Seen], after: list[Seen], rules: str
) -> int:
    """Holds one flow to what was seen of it; how many packets could be compared."""
    back = Way.LOCAL_OUT if way is Way.LOCAL_IN else way
    roles = ((Role.OPENING, way), (Role.ANSWER, back), (Role.LATER, way))
    for number, (packet, (role, taken)) in enumerate(zip(packets, roles, strict=True)):
        one, other = before[number], after[number]
        said = told(found, role, taken, packet)
        assert (VERDICT in said) == (one.verdict != other.verdict), (
            role,
            str(packet),
            said,
            one,
            other,
            rules,
        )
        if one.verdict != "accept" or other.verdict != "accept":
            return number + 1
        if role is Role.OPENING:
            tracked = bool(one.entries), bool(other.entries)
            assert (TRACKING in said) == (tracked[0] != tracked[1]), (str(packet), said, one, other, rules)
    return len(packets)


@pytest.mark.parametrize("seed", range(10 + 10 * SOAK))
def test_what_changes_is_what_the_kernel_does_otherwise(seed: int) -> None:
    demand_lab()
    draw = random.Random(seed)
    rules = made(draw)
    policies = {chain: draw.choice(("ACCEPT", "DROP")) for chain in ("INPUT", "FORWARD", "OUTPUT")}
    texts = [text(rules, policies), text(changed(draw, rules), policies)]
    rulesets = [read(one) for one in texts]
    found = difference(rulesets[0], rulesets[1], Family.IPV4, HOST)
    assert not found.undecided
    flows = [flow(draw) for _ in range(12)]
    asked = [shot for way, packets in flows for shot in shots(way, packets)]
    seen = [shoot(LiveSystem(), DEVICES, [Load(("iptables-legacy-restore",), one)], asked) for one in texts]
    compared = sum(
        compare(found, way, packets, *(one[3 * at : 3 * at + 3] for one in seen), "\n".join(texts))
        for at, (way, packets) in enumerate(flows)
    )
    assert compared >= len(flows)


def read(rules: str) -> Ruleset:
    return read_all([Source("rules.v4", rules)]).ruleset


RAW = {
    "none": (),
    "questions": ("PREROUTING {} --dport 53",),
    "answers": ("PREROUTING {} --sport 53", "OUTPUT {} --sport 53"),
    "both": ("PREROUTING {} --dport 53", "PREROUTING {} --sport 53", "OUTPUT {} --sport 53"),
    "opening": ("PREROUTING -p tcp --syn --dport 53",),
}
STATE = "-m conntrack --ctstate"
FILTERS = {
    "stateful": [f"{STATE} RELATED,ESTABLISHED", f"{{}} --dport 53 {STATE} NEW"],
    "untracked let through": [f"{STATE} ESTABLISHED,UNTRACKED", f"{{}} --dport 53 {STATE} NEW"],
    "stateless": [f"{STATE} RELATED", "{} --dport 53", "{} --sport 53"],
    "half": [f"{STATE} NEW,ESTABLISHED", "{} --dport 53"],
}


def ruled(raw: str, kind: str) -> str:
    """A ruleset that untracks some packets of port 53, beside one way to let them through."""
    rules = []
    for where in RAW[raw]:
        for protocol in ("-p udp", "-p tcp") if "{}" in where else ("",):
            rules.append(f"raw -A {where.format(protocol)} -j CT --notrack")
    for chain in ("INPUT", "FORWARD", "OUTPUT"):
        for one in FILTERS[kind]:
            for protocol in ("-p udp", "-p tcp") if "{}" in one else ("",):
                rules.append(f"filter -A {chain} {one.format(protocol)} -j ACCEPT")
    return text(rules, dict.fromkeys(("INPUT", "FORWARD", "OUTPUT"), "DROP"))


def talks() -> list[tuple[Way, list[Packet]]]:
    """A question to port 53 with its answer and what follows: to the host, and through it."""
    found = []
    for way, protocol in ((Way.LOCAL_IN, "udp"), (Way.FORWARD, "udp"), (Way.FORWARD, "tcp")):
        one, other, where = ENDS[way]
        back = "out eth0" if way is Way.LOCAL_IN else "in eth1 out eth0"
        flags = ("flags syn", "flags syn,ack", "flags ack") if protocol == "tcp" else ("", "", "")
        texts = (
            f"{protocol} {one}:4000 > {other}:53 {where} {flags[0]}",
            f"{protocol} {other}:53 > {one}:4000 {back} {flags[1]}",
            f"{protocol} {one}:4000 > {other}:53 {where} {flags[2]}",
        )
        found.append((way, [parse_packet(line) for line in texts]))
    return found


def test_flows_whose_tracking_changes_are_paired_as_the_kernel_has_them() -> None:
    """Every way to untrack a flow in part or whole, against every other."""
    demand_lab()
    flows = talks()
    asked = [shot for way, packets in flows for shot in shots(way, packets)]
    texts = [ruled(raw, kind) for kind in FILTERS for raw in RAW]
    seen = [shoot(LiveSystem(), DEVICES, [Load(("iptables-legacy-restore",), one)], asked) for one in texts]
    rulesets = [read(one) for one in texts]
    draw = random.Random(1)
    every = [(i, j) for i in range(len(texts)) for j in range(len(texts))]
    alike = [(i, j) for i, j in every if i // len(RAW) == j // len(RAW) and (SOAK or i < j)]
    pairs = alike + draw.sample(every, len(every) if SOAK else 12)
    changes = set()
    for i, j in pairs:
        found = difference(rulesets[i], rulesets[j], Family.IPV4, HOST)
        changes |= {(c.kind, c.role) for c in found.changes}
        assert found.equal or i != j
        for at, (way, packets) in enumerate(flows):
            part = slice(3 * at, 3 * at + 3)
            compare(found, way, packets, seen[i][part], seen[j][part], f"{texts[i]}\n{texts[j]}")
    assert {(VERDICT, Role.ANSWER), (VERDICT, Role.LATER), (TRACKING, Role.ANSWER)} <= changes


NAT = """*nat
-A PREROUTING -d 192.0.2.80 -p tcp --dport 80 -j DNAT --to-destination 10.8.0.7:8080
-A POSTROUTING -o eth0 -p udp -j MASQUERADE
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A FORWARD -i eth1 -o eth0 -p udp -j ACCEPT
-A FORWARD -d 10.8.0.7 -p tcp --dport 8080 -m conntrack --ctstate DNAT -j ACCEPT
{}COMMIT
"""
UNTRACKED = (
    "",
    "-d 192.0.2.80 -p udp --sport 53",  # the host's own answers, and with them those of the LAN
    "-d 192.0.2.80 -p udp --sport 53 --dport 32768:60999",
    "-p udp --dport 53",
    "-p tcp --dport 80",
    "-p tcp --dport 8080",
    "-p tcp --sport 8080",
    "-p tcp ! --syn --dport 80",
)
MORE = ("", "-A FORWARD -m conntrack --ctstate UNTRACKED -j ACCEPT\n")
# each packet as it is sent, and as the difference tells it: behind what the kernel translates before routing
TRANSLATED = (
    (
        ("udp 10.8.0.7:4000 > 203.0.113.9:53 in eth1 out eth0", None),
        (
            "udp 203.0.113.9:53 > 192.0.2.80:4000 in eth0 out eth1",
            "udp 203.0.113.9:53 > 10.8.0.7:4000 in eth0 out eth1",
        ),
        ("udp 10.8.0.7:4000 > 203.0.113.9:53 in eth1 out eth0", None),
    ),
    (
        ("tcp 203.0.113.9:4000 > 192.0.2.80:80 in eth0 out eth1 flags syn", None),
        ("tcp 10.8.0.7:8080 > 203.0.113.9:4000 in eth1 out eth0 flags syn,ack", None),
        (
            "tcp 203.0.113.9:4000 > 192.0.2.80:80 in eth0 out eth1 flags ack",
            "tcp 203.0.113.9:4000 > 10.8.0.7:8080 in eth0 out eth1 flags ack",
        ),
    ),
)


def translating(guard_: str, more: str) -> str:
    rule = f"*raw\n-A PREROUTING {guard_} -j CT --notrack\nCOMMIT\n" if guard_ else ""
    return rule + NAT.format(more)


def test_translated_flows_whose_packets_are_untracked() -> None:
    """Questions that are masqueraded and answered, a published port and its answers."""
    demand_lab()
    inside = int(ipaddress.ip_address("10.8.0.7"))
    asked = [
        Shot(parse_packet(sent), "forward", inside if "out eth1" in sent else None, goes_on=number > 0)
        for flow_ in TRANSLATED
        for number, (sent, _) in enumerate(flow_)
    ]
    texts = [translating(guard_, more) for more in MORE for guard_ in UNTRACKED]
    seen = [shoot(LiveSystem(), DEVICES, [Load(("iptables-legacy-restore",), one)], asked) for one in texts]
    rulesets = [read(one) for one in texts]
    every = [(i, j) for i in range(len(texts)) for j in range(len(texts)) if i < j]
    answers = 0
    for i, j in every if SOAK else random.Random(2).sample(every, 50):
        found = difference(rulesets[i], rulesets[j], Family.IPV4, HOST)
        for at, packets in enumerate(TRANSLATED):
            for number, (role, (sent, told_as)) in enumerate(
                zip((Role.OPENING, Role.ANSWER, Role.LATER), packets, strict=True)
            ):
                one, other = seen[i][3 * at + number], seen[j][3 * at + number]
                said = told(found, role, Way.FORWARD, parse_packet(told_as or sent))
                if told_as:
                    said |= told(found, role, Way.FORWARD, parse_packet(sent))
                note = f"{role} {sent} {said} {one} {other} {[divmod(n, len(UNTRACKED)) for n in (i, j)]}"
                assert (VERDICT in said) == (one.verdict != other.verdict), note
                answers += role is Role.ANSWER and one.verdict != other.verdict
                if "translation" in said or one.verdict != "accept" or other.verdict != "accept":
                    break
    assert answers
