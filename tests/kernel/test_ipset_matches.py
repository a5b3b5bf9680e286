"""The kernel and the lowering agree about ipsets: random sets, counting rules, the same packets in both."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import pytest

from notrack.netfilter.walk import walk
from notrack.packets.address import Family
from notrack.packets.packet_text import parse_packet
from notrack.ruleset.formats import Reading, read_all
from notrack.text.source import Source
from tests.kernel import packet
from tests.kernel.lab import WAN, Lab
from tests.kernel.ruletext import xt

HERE = {4: WAN.host_address(4), 6: WAN.host_address(6)}
SOURCES = {
    4: ["203.0.113.9", "203.0.113.10", "203.0.113.200", "198.51.100.7"],
    6: ["2001:db8:99::9", "2001:db8:99::a", "2001:db8:99:1::9", "2001:db8:51::7"],
}
NETS = {
    4: ["203.0.113.0/24", "203.0.113.8/30", "203.0.113.9", "198.51.100.0/25", "192.0.2.0/24", "192.0.2.80",
        "128.0.0.0/1", "203.0.113.128/25"],
    6: ["2001:db8:99::/64", "2001:db8:99::/127", "2001:db8:99::9", "2001:db8::/32", "2001:db8:80::/64",
        "2001:db8:80::1", "2000::/3", "2001:db8:51::7/128"],
}  # fmt: skip
PORTS = {
    4: ["53", "tcp:80", "udp:53", "udp:1000", "tcp:1000", "sctp:53", "udplite:53", "icmp:8/0", "icmp:3/4",
        "gre:0", "icmp:echo-request", "dccp:0", "udp:50-60"],
    6: ["53", "tcp:80", "udp:53", "udp:1000", "tcp:1000", "sctp:53", "udplite:53", "icmpv6:128/0", "gre:0",
        "icmpv6:2/0", "dccp:0"],
}  # fmt: skip
TYPES = [
    "hash:ip", "hash:net", "hash:ip,port", "hash:net,port", "hash:ip,port,ip", "hash:ip,port,net",
    "hash:net,iface", "bitmap:port", "bitmap:ip", "list:set", "hash:net,net", "hash:net,port,net",
    "hash:mac", "hash:ip,mac",
    "hash:ip,mark",
]  # fmt: skip
WITH_EXCEPTIONS = ("hash:net", "hash:net,port", "hash:net,iface")
IPV4_ALONE = ("bitmap:ip",)


def part(draw: random.Random, kind: str, of: str, family: int) -> str:
    match kind:
        case "ip":
            net = draw.choice(NETS[family]) if family == 4 and draw.random() < 0.2 else ""
            return net if net.endswith(("/30", "80")) else draw.choice([*SOURCES[family], HERE[family]])
        case "net":
            return draw.choice(NETS[family])
        case "port" if of == "bitmap:port":
            return draw.choice(["53", "80", "1000", "2048", "50-60", "0"])
        case "port":
            return draw.choice(PORTS[family])
        case "iface":
            return draw.choice(["eth0", "eth1", "eth"])
        case "mark":
            return draw.choice(["0x0", "0x10", "0x1"])
        case "mac":
            return draw.choice(["02:00:00:00:00:01", "02:00:00:00:00:09"])
    raise AssertionError(kind)


def made(draw: random.Random, name: str, kind: str, family: int, others: list[str]) -> list[str]:
    """A set with some entries, as commands."""
    settings = ""
    if kind.startswith("hash") and kind != "hash:mac":
        settings += " family inet6" if family == 6 else ""
    if kind == "hash:ip" and draw.random() < 0.3:
        settings += f" netmask {24 if family == 4 else 64}"
    if kind == "bitmap:ip":
        settings += " range 203.0.0.0/16"
    if kind == "bitmap:port":
        settings += " range 0-65535"
    lines = [f"create {name} {kind}{settings}"]
    if kind == "list:set":
        return lines + [f"add {name} {other}" for other in others]
    exceptions = draw.random() < 0.5
    for _ in range(draw.randrange(1, 6)):
        if kind == "bitmap:ip":
            key = draw.choice(["203.0.113.9", "203.0.113.8/30", "203.0.113.10-203.0.113.200"])
        else:
            key = ",".join(part(draw, one, kind, family) for one in kind.partition(":")[2].split(","))
        more = " nomatch" if exceptions and kind in WITH_EXCEPTIONS and draw.random() < 0.4 else ""
        if key.endswith(",eth"):  # beside exceptions it is not exact
            key, more = (key, " wildcard") if not exceptions else (f"{key}0", more)
        lines.append(f"add -exist {name} {key}{more}")
    return lines


def packets(family: int) -> Iterator[tuple[str, bytes]]:
    """Each as the trace names it, and as it goes over the wire."""
    here = HERE[family]
    for far in SOURCES[family]:
        left, right = (f"[{far}]", f"[{here}]") if family == 6 else (far, here)
        for source, port in ((1000, 53), (53, 1000), (1, 80)):
            name = f"{left}:{source} > {right}:{port} in eth0 to host"
            yield f"udp {name}", packet.udp(far, source, here, port)
            yield f"tcp {name} flags syn", packet.tcp(far, source, here, port)
        body = (1000).to_bytes(2, "big") + (53).to_bytes(2, "big") + bytes(12)
        for number, word in ((packet.SCTP, "sctp"), (packet.UDPLITE, "udplite")):
            yield f"{word} {left}:1000 > {right}:53 in eth0 to host", packet.raw(far, here, number, body)
        yield f"proto gre {far} > {here} in eth0 to host", packet.raw(far, here, packet.GRE, bytes(8))
        yield f"proto ah {far} > {here} in eth0 to host", packet.raw(far, here, 112, bytes(8))
        word = "icmpv6" if family == 6 else "icmp"
        yield f"{word} echo-request {far} > {here} in eth0 to host", packet.echo(far, here)
        _, later = packet.fragments(packet.udp(far, 1000, here, 53, b"x" * 2000))[:2]
        yield f"udp {left}:1000 > {right}:53 in eth0 to host fragment later", later


def asked(draw: random.Random, kind: str, name: str) -> str:
    parts = {"list:set": 2}.get(kind, kind.count(",") + 1)
    sides = ",".join(draw.choice(("src", "dst")) for _ in range(parts + draw.choice((0, 0, 0, 1, -1)) or 1))
    return f"-m set {'! ' * (draw.random() < 0.4)}--match-set {name} {sides}"


def create(lab: Lab, lines: list[str]) -> bool:
    """Makes a set; False where the kernel has no such type."""
    name = lines[0].split()[1]
    first = lab.host.run("ipset", *lines[0].split(), check=False)
    if first.code:
        return False
    for line in lines[1:]:
        lab.host.run("ipset", *line.split(), check=False)  # what it refuses is not in what it saves
    return bool(name)


@pytest.fixture
def sets(lab: Lab) -> Iterator[Lab]:
    lab.host.run("ipset", "destroy", check=False)
    yield lab
    lab.clear()
    lab.host.run("ipset", "destroy", check=False)


@pytest.mark.kernel
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("seed", range(6))
def test_matches_of_sets(sets: Lab, family: int, seed: int) -> None:
    draw = random.Random(seed * 2 + family)
    names: dict[str, str] = {}
    for number, kind in enumerate(TYPES):
        if kind in IPV4_ALONE and family == 6:
            continue
        name = f"s{number}"
        others = draw.sample(sorted(names), min(2, len(names))) if kind == "list:set" else []
        if create(sets, made(draw, name, kind, family, others)):
            names[name] = kind
    matches = [asked(draw, kind, name) for name, kind in names.items() for _ in range(4)]
    lines = [f"-A PREROUTING {match} -m comment --comment r{n}" for n, match in enumerate(matches)]
    lines = [f"-A PREROUTING -p ipv6-icmp -m icmp6 --icmpv6-type {n} -j ACCEPT" for n in (135, 136)] * (
        family == 6
    ) + lines
    text = xt(raw=lines)
    sets.load("iptables-legacy", **{f"v{family}": text})
    for contents in ("save", "list"):
        shown = sets.host.run("ipset", contents).out
        reading = read_all((Source("sets", shown), Source(f"rules.v{family}", text)))
        assert reading.diagnostics == ()
        if contents == "save":
            seen = {words: counted(sets, octets) for words, octets in packets(family)}
        compare(reading, family, matches, seen)


def counted(lab: Lab, octets: bytes) -> Counter[str]:
    before = Counter({one.comment: one.packets for one in lab.counters("iptables-legacy")})
    lab.client.send(octets)
    after = Counter({one.comment: one.packets for one in lab.counters("iptables-legacy")})
    found = after - before
    found.pop("", None)
    return found


def compare(reading: Reading, family: int, matches: list[str], seen: dict[str, Counter[str]]) -> None:
    for words, found in seen.items():
        trace = walk(reading.ruleset, parse_packet(words))
        assert not [name for name, _ in trace.assumed if "fragment" not in name], words
        passed = [step.rule.origin.text for step in trace.steps if step.rule]
        walked = Counter(line.rpartition(" ")[2] for line in passed if " --comment " in line)
        different = {matches[int(name[1:])] for name in (found - walked) + (walked - found)}
        assert not different, (words, Family.IPV4 if family == 4 else Family.IPV6)
