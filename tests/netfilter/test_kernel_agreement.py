"""The model against the kernel: random nft rulesets written twice, as text and as core, and forged packets.

Every packet is the first of its flow. Who came how far, in which state and with which addresses is noted by
sets that rules of the lowest priority fill; states are noted only where the ruleset tracks anyway.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from notrack.netfilter.chains import End
from notrack.netfilter.effects import Track
from notrack.netfilter.host import Host, HostInterface
from notrack.netfilter.model import Model
from notrack.netfilter.tracking import first_state
from notrack.netfilter.walk import Trace, Undetermined, resettled, settle_kinds, walk
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.packets.fields import AddressType, Field, State, interface_value
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet import Packet
from notrack.ruleset.core import (
    Action,
    Among,
    Base,
    Chain,
    ChainType,
    Guard,
    Hook,
    Jump,
    Masked,
    Nat,
    NatKind,
    Notrack,
    Rule,
    Ruleset,
    SetMark,
    Table,
    Template,
    Verdict,
)
from tests.kernel import packet as wire
from tests.kernel.conftest import demand_lab
from tests.kernel.lab import Lab, LabError

pytestmark = pytest.mark.kernel
ONE = IntervalSet.single
HOST_ADDRESS, SERVER = "192.0.2.80", "10.8.0.5"
HOST = Host(
    interfaces=(
        HostInterface("eth0", (ipaddress.ip_interface("192.0.2.80/24"),)),
        HostInterface("eth1", (ipaddress.ip_interface("10.8.0.1/24"),)),
    ),
    forwards_ipv4=True,
    tcp_loose=True,
)
PORTS = (22, 53, 80, 81, 40000)
PACKETS = 60
RULESETS = 25


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    demand_lab()
    with Lab() as made:
        yield made


@dataclass
class Writer:
    """One random ruleset: as nft text and as core."""

    draw: random.Random
    negates: bool = True
    protocol: tuple[str, int] = ("tcp", 6)  # of the rule that is being written

    def literal(self, hook: Hook) -> tuple[str, Guard]:
        choice = self.draw.randrange(9)
        no = self.negates and self.draw.random() < 0.25
        self.negates = (
            self.negates and not no
        )  # nft 1.0.6 makes one comparison of two neighbours: not both, instead of neither
        sign = "!= " if no else ""
        if choice < 2:
            side, name = self.draw.choice(((Field.SOURCE, "saddr"), (Field.DESTINATION, "daddr")))
            net = ipaddress.ip_network(
                self.draw.choice(
                    ("203.0.113.0/25", "203.0.113.0/27", "192.0.2.80/32", "10.8.0.0/24", "203.0.114.0/26")
                )
            )
            span = IntervalSet(((int(net.network_address), int(net.broadcast_address)),))
            return f"ip {name} {sign}{net}", (Among(side, span, no),)
        if choice < 5:
            side, name = self.draw.choice(((Field.SOURCE_PORT, "sport"), (Field.DESTINATION_PORT, "dport")))
            protocol, number = self.protocol
            port = self.draw.choice(PORTS)
            return f"{protocol} {name} {sign}{port}", (
                Among(Field.PROTOCOL, ONE(number)),
                Among(side, ONE(port), no),
            )
        if choice == 5:
            states = self.draw.sample(["new", "invalid", "untracked", "established"], 2)
            values = IntervalSet.of((State[s.upper()], State[s.upper()]) for s in states)
            return f"ct state {sign}{{ {', '.join(states)} }}", (Among(Field.STATE, values, no),)
        if choice == 6:
            return f"meta mark & 0x1 {'!=' if no else '=='} 0x1", (Masked(Field.MARK, 1, 1, no),)
        if choice == 7:
            device = self.draw.choice(("eth0", "eth1"))
            return f'iifname {sign}"{device}"', (Among(Field.IN, ONE(interface_value(device)), no),)
        if hook in (Hook.PREROUTING, Hook.INPUT, Hook.OUTPUT):
            return f"fib daddr type {sign}local", (Among(Field.DESTINATION_TYPE, ONE(AddressType.LOCAL), no),)
        return "meta mark 0x0", (Among(Field.MARK, ONE(0)),)

    def action(self, hook: Hook, nat: bool, later: list[str]) -> tuple[str, Action]:
        choice = self.draw.randrange(12)
        if nat and choice < 6:
            if hook in (Hook.POSTROUTING, Hook.INPUT):
                return "snat ip to 10.8.0.9", Nat(NatKind.SNAT, ONE(0x0A080009), None, "snat")
            if choice < 3:
                to = Nat(NatKind.DNAT, ONE(0x0A080005), ONE(81), "dnat")
                return "meta l4proto { tcp, udp } dnat ip to 10.8.0.5:81", to
            return "meta l4proto { tcp, udp } redirect to :81", Nat(
                NatKind.REDIRECT, None, ONE(81), "redirect"
            )
        if choice < 3 and later:
            target, goto = self.draw.choice(later), self.draw.random() < 0.4
            return f"{'goto' if goto else 'jump'} {target}", Jump(target, goto)
        if choice < 6 and not nat and hook in (Hook.PREROUTING, Hook.OUTPUT):
            return "notrack", Notrack()
        if choice == 6:
            return "meta mark set meta mark | 0x1", SetMark(Field.MARK, 1, 1)
        if choice == 7 and not nat and hook in (Hook.PREROUTING, Hook.OUTPUT) and self.draw.random() < 0.3:
            return "ct zone set 5", Template("ct zone set 5", overrides=True)
        word, verdict = self.draw.choice(
            (
                ("accept", Verdict.ACCEPT),
                ("accept", Verdict.ACCEPT),
                ("drop", Verdict.DROP),
                ("return", Verdict.RETURN),
            )
        )
        return word, verdict

    def rules(self, hook: Hook, nat: bool, later: list[str]) -> tuple[str, tuple[Rule, ...]]:
        lines, made = [], []
        for _ in range(self.draw.randrange(1, 5)):
            self.protocol = self.draw.choice((("tcp", 6), ("tcp", 6), ("udp", 17)))
            self.negates = True
            parts = [self.literal(hook) for _ in range(self.draw.choice((1, 1, 2)))]
            text, action = self.action(hook, nat, later)
            guard = tuple(literal for _, literals in parts for literal in literals)
            if "l4proto {" in text:
                guard += (Among(Field.PROTOCOL, IntervalSet.of(((6, 6), (17, 17)))),)
            lines.append(" ".join([*(words for words, _ in parts), text]))
            made.append(Rule(guard, (action,)))
        return "".join(f"    {line}\n" for line in lines), tuple(made)

    def ruleset(self) -> tuple[str, Ruleset]:
        text, chains = "", []
        for i in range(self.draw.randrange(2, 7)):
            hook = self.draw.choice([*list(Hook)[:5], Hook.PREROUTING, Hook.INPUT])
            nat = hook is not Hook.FORWARD and self.draw.random() < 0.3
            names = [f"c{i}a", f"c{i}b"]
            for j, name in enumerate(names):
                body, rules = self.rules(hook, nat, names[j + 1 :])
                text = f"  chain {name} {{\n{body}  }}\n" + text  # nft wants a chain before the jumps to it
                chains.append(Chain(name, rules))
            body, rules = self.rules(hook, nat, names)
            late = hook in (Hook.INPUT, Hook.POSTROUTING)
            priority = (100 if late else -100) if nat else self.draw.choice((-300, -150, 0, 20 + i))
            policy = Verdict.DROP if not nat and self.draw.random() < 0.15 else Verdict.ACCEPT
            kind = "nat" if nat else "filter"
            head = f"type {kind} hook {hook.value} priority {priority}; policy {policy.value};"
            text += f"  chain b{i} {{\n    {head}\n{body}  }}\n"
            chains.append(Chain(f"b{i}", rules, Base(hook, priority, ChainType(kind), policy)))
        return f"table ip t {{\n{text}}}\n", Ruleset((Table("t", frozenset((Family.IPV4,)), tuple(chains)),))


OBSERVED = ("came", "came_ports", "left", "left_ports", *(state.name.lower() for state in State))


def observer(tracks: bool) -> str:
    """A table that notes, behind everything else, who came, who left, and in which state."""
    pair, triple = "ipv4_addr . ipv4_addr", "ipv4_addr . ipv4_addr . inet_service"
    sets = "".join(
        f"  set {name} {{ type {triple if name.endswith('ports') else pair}; flags dynamic; size 4096; }}\n"
        for name in OBSERVED
    )
    who = "{ ip saddr . ip daddr }"
    ports = "meta l4proto { tcp, udp } update @%s { ip saddr . ip daddr . th dport }"
    states = "".join(
        f"    ct state {state.name.lower()} update @{state.name.lower()} {who}\n" for state in State if tracks
    )
    chains = "".join(
        f"  chain {name} {{ type filter hook {hook} priority 5000;\n"
        f"    update @{name} {who}\n    {ports % (name + '_ports')}\n{states}  }}\n"
        for name, hook in (("came", "input"), ("left", "postrouting"))
    )
    return f"table ip seen {{\n{sets}{chains}}}\n"


def observed(lab: Lab) -> dict[str, set[tuple[str, ...]]]:
    listing = json.loads(lab.host.run("nft", "-j", "list", "table", "ip", "seen").out)
    found: dict[str, set[tuple[str, ...]]] = {}
    for item in listing["nftables"]:
        if "set" in item:
            elements = [e.get("elem", e) if "concat" not in e else e for e in item["set"].get("elem", [])]
            keys = [e.get("val", e) for e in elements]
            found[item["set"]["name"]] = {tuple(map(str, key["concat"])) for key in keys}
    return found


def forged(draw: random.Random, number: int) -> tuple[bytes, Packet, str]:
    """A packet on the wire, the same one for the model, and who sends it."""
    sender = draw.choice(("client", "client", "client", "host"))
    if sender == "host":
        src, dst = HOST_ADDRESS, f"203.0.114.{number + 1}"
    else:
        src, dst = f"203.0.113.{number + 1}", draw.choice((HOST_ADDRESS, SERVER))
    out = "eth0" if sender == "host" else "eth1" if dst == SERVER else None
    made = Packet(
        Family.IPV4,
        draw.choice((6, 6, 17, 1)),
        int(ipaddress.ip_address(src)),
        int(ipaddress.ip_address(dst)),
        in_interface=None if sender == "host" else "eth0",
        out_interface=out,
    )
    sport, dport = draw.choice(PORTS), draw.choice(PORTS)
    if made.protocol == 1:
        kind = draw.choice((8, 0))
        return wire.icmp(src, dst, kind, 0, b"\0\1\0\1"), replace(made, icmp_type=kind), sender
    made = replace(made, source_port=sport, destination_port=dport)
    if made.protocol == 17:
        return wire.udp(src, sport, dst, dport), made, sender
    flags, bits = draw.choice((("S", 2), ("S", 2), ("SA", 18), ("A", 16), ("R", 4)))
    return wire.tcp(src, sport, dst, dport, flags), replace(made, flags=bits), sender


def traced(rules: Ruleset, made: Packet) -> Trace:
    try:
        return walk(rules, made, HOST)
    except Undetermined:
        return walk(rules, replace(made, out_interface="eth1"), HOST)


def agrees(model: Model, made: Packet, trace: Trace, seen: dict[str, set[tuple[str, ...]]]) -> None:
    """What the kernel did with a packet is what the trace and the sets say."""
    source = str(ipaddress.ip_address(made.source))
    here = trace.way in (Way.LOCAL_IN, Way.LOOPBACK)
    place = "came" if here else "left"
    mine = [key for key in seen[place] if is_of(key, made, trace)]
    assert bool(mine) == (trace.verdict == "accept"), (source, trace, mine)
    out = {Way.FORWARD: "eth1", Way.LOCAL_IN: None}.get(trace.way, made.out_interface)
    outgoing = replace(made, out_interface=out)
    values = outgoing.values()
    settle_kinds(values, outgoing, HOST, trace.way)
    flow = trace.state
    if trace.effects.track is Track.TEMPLATE:  # of the sets it is the state before a late template
        flow = first_state(made.values(), Family.IPV4, tcp_loose=True)
    outcome = model.passage(trace.way).outcome(replace(resettled(outgoing, values), state=flow))
    assert (outcome.end is End.ON) == bool(mine)
    if not mine:
        return
    address = str(ipaddress.ip_address(trace.values[Field.DESTINATION]))
    assert [key[1] for key in mine] == [address]
    if made.protocol != 1:
        (ports,) = (key for key in seen[f"{place}_ports"] if is_of(key, made, trace))
        assert int(ports[2]) == trace.values[Field.DESTINATION_PORT]
    if model.tracks:
        states = {
            state for state in State if any(is_of(key, made, trace) for key in seen[state.name.lower()])
        }
        assert states == {trace.state}


def is_of(key: tuple[str, ...], made: Packet, trace: Trace) -> bool:
    """Whether an observed packet is this one; translations of the source are looked through."""
    source, target = (int(ipaddress.ip_address(text)) for text in key[:2])
    if made.in_interface is None:
        return (
            target == trace.values[Field.DESTINATION]
            if trace.way is Way.LOOPBACK
            else target == made.destination
        )
    return source == made.source


@pytest.mark.parametrize("seed", range(RULESETS))
def test_the_kernel_agrees(lab: Lab, seed: int) -> None:
    lab.reset()
    writer = Writer(random.Random(seed))
    text, rules = writer.ruleset()
    model = Model(rules, Family.IPV4, HOST)
    lab.load_nft(text)
    lab.load_nft(observer(model.tracks))
    batch = [forged(writer.draw, number) for number in range(PACKETS)]
    for raw, _, sender in batch:
        if sender == "client":
            lab.client.send(raw, settle=False)
        else:
            with contextlib.suppress(LabError):  # a drop in OUTPUT is told to who sent
                lab.host.send_stack(raw, settle=False)
    lab.settle()
    seen = observed(lab)
    assert model.tracks or lab.conntrack_count() == 0
    for _, made, _ in batch:
        trace = traced(rules, made)
        if trace.effects.source_nat is None and not (trace.way is Way.LOOPBACK or _lost(trace, made)):
            agrees(model, made, trace, seen)


def _lost(trace: Trace, made: Packet) -> bool:
    """What the host itself sent and OUTPUT translated is told from nothing else."""
    return made.in_interface is None and trace.effects.destination_nat is not None
