"""Trace and sets give the same answer: random rulesets, random packets, all four ways."""

from __future__ import annotations

import ipaddress
import random
from dataclasses import dataclass, replace

import pytest

from notrack.netfilter.chains import End
from notrack.netfilter.effects import Track
from notrack.netfilter.host import Host, HostInterface
from notrack.netfilter.model import Model, Passage
from notrack.netfilter.tracking import first_state, keeps, possible_states
from notrack.netfilter.walk import Trace, Undetermined, resettled, settle_kinds, walk
from notrack.netfilter.ways import Way, takers
from notrack.packets.address import Family
from notrack.packets.fields import (
    AddressType,
    Field,
    Fragment,
    PacketType,
    State,
    interface_prefix,
    interface_value,
)
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet import Packet
from notrack.packets.questions import support
from notrack.packets.witness import leaf
from notrack.ruleset.core import (
    XTABLES_PRIORITY,
    Action,
    Among,
    Base,
    Chain,
    ChainType,
    Fact,
    Guard,
    Hook,
    Jump,
    Literal,
    Log,
    Masked,
    Nat,
    NatKind,
    Never,
    Notrack,
    OneOf,
    Rule,
    Ruleset,
    SetField,
    SetMark,
    Table,
    Template,
    Unknown,
    Verdict,
)

ONE = IntervalSet.single
OWN = {Family.IPV4: "198.51.100.1/24", Family.IPV6: "2001:db8:1::1/64"}
ADDRESSES = {
    Family.IPV4: ["198.51.100.1", "198.51.100.77", "203.0.113.9", "10.0.0.5", "10.0.0.6", "224.0.0.251"],
    Family.IPV6: ["2001:db8:1::1", "2001:db8:1::77", "2001:db8:9::9", "fd00::5", "fd00::6", "ff02::fb"],
}
PORTS = (22, 53, 80, 8080, 40000)
FACTS = ("limit 3/second", "owner 1000", "string x")
HOST = Host(
    interfaces=(HostInterface("eth0", tuple(ipaddress.ip_interface(text) for text in OWN.values())),),
    forwards_ipv4=True,
    forwards_ipv6=True,
    tcp_loose=True,
)


def addresses(draw: random.Random, family: Family) -> IntervalSet:
    address = int(ipaddress.ip_address(draw.choice(ADDRESSES[family])))
    size = draw.choice((0, 0, 7, 24))
    low = address >> size << size
    return IntervalSet(((low, low + (1 << size) - 1),))


def ports(draw: random.Random) -> IntervalSet:
    low = draw.choice(PORTS)
    return IntervalSet(((low, low + draw.choice((0, 0, 0, 30, 25000))),))


def literal(draw: random.Random, family: Family) -> Literal:
    choice = draw.randrange(18)
    negated = draw.random() < 0.25
    if choice < 4:
        side = draw.choice((Field.SOURCE, Field.DESTINATION))
        return Among(side, addresses(draw, family), negated)
    if choice < 7:
        side = draw.choice((Field.SOURCE_PORT, Field.DESTINATION_PORT))
        return Among(side, ports(draw), negated)
    if choice == 7:
        return Among(Field.PROTOCOL, ONE(draw.choice((6, 6, 17, 1, 58, 47))), negated)
    if choice == 8:
        side = draw.choice((Field.IN, Field.OUT))
        names = draw.choice(
            (ONE(interface_value("eth0")), interface_prefix("eth"), ONE(interface_value("lo")))
        )
        return Among(side, names, negated)
    if choice < 12:
        states = draw.sample(list(State), draw.choice((1, 1, 2, 3)))
        return Among(Field.STATE, IntervalSet.of((state, state) for state in states), negated)
    if choice == 12:
        return Masked(Field.MARK, *draw.choice(((1, 1), (0xFF, 3), (0xFFFFFFFF, 5), (2, 0))), negated)
    if choice == 13:
        return Fact(draw.choice(FACTS), negated)
    if choice == 14:
        kinds = IntervalSet.of((kind, kind) for kind in draw.choice(((8, 8), (128, 128), (0, 5), (133, 136))))
        return Among(Field.ICMP_TYPE, kinds, negated)
    if choice == 15:
        inner = tuple(tuple(literal(draw, family) for _ in range(2)) for _ in range(2))
        return OneOf(inner, negated)
    if choice == 16:
        types = ONE(draw.choice((AddressType.LOCAL, AddressType.UNICAST, AddressType.MULTICAST)))
        return Among(draw.choice((Field.DESTINATION_TYPE, Field.SOURCE_TYPE)), types, negated)
    return draw.choice(
        (
            Among(Field.FLAGS, IntervalSet(((2, 3),)), negated),
            Among(Field.CT_DNAT, ONE(1), negated),
            Among(Field.FRAGMENT, ONE(Fragment.LATER), negated),
            Among(Field.MAC, IntervalSet(((5, 9),)), negated),
            Never(),
        )
    )


def guard(draw: random.Random, family: Family) -> Guard:
    return tuple(literal(draw, family) for _ in range(draw.choice((0, 1, 1, 2, 2, 3))))


def nat(draw: random.Random, family: Family, hook: Hook) -> Nat:
    if hook in (Hook.PREROUTING, Hook.OUTPUT):
        kind = draw.choice((NatKind.DNAT, NatKind.DNAT, NatKind.REDIRECT))
    else:
        kind = draw.choice((NatKind.SNAT, NatKind.MASQUERADE))
    to = addresses(draw, family) if kind in (NatKind.SNAT, NatKind.DNAT) else None
    return Nat(
        kind, to, draw.choice((None, ONE(8080), IntervalSet(((1024, 2047),)))), f"nat {draw.randrange(3)}"
    )


def action(
    draw: random.Random, family: Family, hook: Hook | None, kind: ChainType, later: list[str]
) -> Action:
    choice = draw.randrange(20)
    if choice < 3 and later:
        return Jump(draw.choice(later), draw.random() < 0.3)
    if kind is ChainType.NAT and choice < 12 and hook is not None:
        return nat(draw, family, hook)
    if choice < 7:
        return Notrack()
    if choice == 7:
        return Template("zone 5", draw.random() < 0.5)
    if choice in (8, 9):
        return SetMark(Field.MARK, *draw.choice(((0xFF, 1), (1, 3), (0, 0xFF), (0xFFFFFFFF, 5))))
    if choice == 10:
        return SetMark(Field.MARK, 0xF, None, "the connection's mark")
    if choice == 11:
        return draw.choice((SetField(Field.TTL, 1), Log("LOG"), Unknown("odd target")))
    return draw.choice((Verdict.ACCEPT, Verdict.ACCEPT, Verdict.DROP, Verdict.REJECT, Verdict.RETURN))


@dataclass
class Made:
    """Makes one random ruleset. `stateless`: nothing in it keeps tracking on."""

    draw: random.Random
    family: Family
    stateless: bool

    def rule(self, hook: Hook | None, kind: ChainType, later: list[str]) -> Rule:
        while True:
            actions = [action(self.draw, self.family, hook, kind, later)]
            if isinstance(actions[0], SetMark | Notrack) and self.draw.random() < 0.3:
                actions.append(self.draw.choice((Verdict.ACCEPT, Verdict.DROP)))
            rule = Rule(guard(self.draw, self.family), tuple(actions))
            if not self.stateless or keeps(rule) is None:
                return rule

    def rules(self, hook: Hook | None, kind: ChainType, later: list[str]) -> tuple[Rule, ...]:
        return tuple(self.rule(hook, kind, later) for _ in range(self.draw.randrange(6)))

    def table(self, number: int) -> Table:
        draw, names = self.draw, ["a", "b", "c"]
        hook = draw.choice(list(Hook)[:5])
        nat = hook is not Hook.FORWARD and draw.random() < 0.35
        kind = ChainType.NAT if nat else ChainType.FILTER
        at = {Hook.PREROUTING: (-500, -300, -200, -150, 0), Hook.OUTPUT: (-300, -250, -150, 0)}
        priority = draw.choice(at.get(hook, (-150, 0, 50, 150)))
        policy = draw.choice((Verdict.ACCEPT, Verdict.ACCEPT, Verdict.ACCEPT if nat else Verdict.DROP))
        chains = [Chain(name, self.rules(hook, kind, names[i + 1 :])) for i, name in enumerate(names)]
        chains.append(Chain("base", self.rules(hook, kind, names), Base(hook, priority, kind, policy)))
        families = draw.choice((frozenset((self.family,)), frozenset(Family)))
        return Table(f"t{number}", families, tuple(chains))


def ruleset(seed: int, family: Family) -> Ruleset:
    made = Made(random.Random(seed), family, seed % 3 == 0)
    return Ruleset(tuple(made.table(i) for i in range(made.draw.randrange(1, 6))))


def packet(draw: random.Random, family: Family, way: Way) -> Packet:
    own, *others, group = (int(ipaddress.ip_address(text)) for text in ADDRESSES[family])
    source = own if way in (Way.LOCAL_OUT, Way.LOOPBACK) else draw.choice(others)
    made = Packet(
        family,
        draw.choice((6, 6, 6, 17, 17, 1, 58, 47)),
        source,
        draw.choice((own, own, own, *others, group)),
        mark=draw.choice((0, 0, 1, 3, 5)),
        fragment=draw.choice((Fragment.WHOLE, Fragment.WHOLE, Fragment.FIRST, Fragment.LATER)),
        mac=draw.choice((None, 6, 77)) if way in (Way.LOCAL_IN, Way.FORWARD) else None,
        in_interface=draw.choice(("eth0", "eth1")) if way in (Way.LOCAL_IN, Way.FORWARD) else None,
        out_interface={Way.FORWARD: "eth1", Way.LOCAL_OUT: "eth0", Way.LOOPBACK: "lo"}.get(way),
    )
    if way in (Way.LOCAL_OUT, Way.LOOPBACK):
        made = replace(made, fragment=Fragment.WHOLE)
    if made.has_ports:
        made = replace(made, source_port=draw.choice(PORTS), destination_port=draw.choice(PORTS))
    if made.protocol == 6 and made.has_ports:
        made = replace(made, flags=draw.choice((2, 2, 18, 16, 4, 0)))
    if made.is_icmp:
        made = replace(made, icmp_type=draw.choice((8, 0, 3, 128, 129, 135)))
    return made


def one(passage: Passage, model: Model, trace: Trace, made: Packet, facts: dict[str, bool]) -> None:
    """The set model's answer about the packet that was traced."""
    seen = replace(made, state=trace.state)
    outcome = passage.outcome(seen, facts)
    verdict = "accept" if outcome.end is End.ON else outcome.end.value
    assert (verdict, outcome.hook) == (trace.verdict, trace.hook)
    assert outcome.effects == trace.effects
    assert leaf(model.space, passage.domain, seen, facts) == 1
    assert passage.accepted().has(seen, facts) == (trace.verdict == "accept")
    untracked = trace.effects.track is Track.UNTRACKED
    assert passage.untracked_by_rule().has(seen, facts) == untracked
    assert passage.untracked().has(seen, facts) == (trace.state is State.UNTRACKED)


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("start", range(0, 60, 6))
def test_trace_and_sets_agree(start: int, family: Family) -> None:
    compared = 0
    for seed in range(start, start + 6):
        rules_ = ruleset(seed, family)
        model = Model(rules_, family, HOST)
        draw = random.Random(seed)
        for _ in range(120):
            way = draw.choice(list(Way))
            made = packet(draw, family, way)
            values = made.values()
            settle_kinds(values, made, HOST, way)
            made = resettled(made, values)
            facts = {name: draw.random() < 0.5 for name in (*FACTS, "`odd target` ends the chain")}
            facts["`odd target` accepts"] = draw.random() < 0.5
            if model.reassembles:
                made = replace(made, fragment=Fragment.WHOLE) if made.fragment is Fragment.FIRST else made
            if model.reassembles and made.fragment is Fragment.LATER:
                continue
            first = first_state(made.values(), family, tcp_loose=True)
            flow = draw.choice((first, first, State.ESTABLISHED, State.RELATED, State.INVALID))
            flow = first if first is State.UNTRACKED else flow
            made = replace(made, state=flow)
            if not takes(model, way, made):
                continue
            try:
                trace = walk(rules_, made, HOST, way=way, facts=facts)
            except Undetermined:
                assert leaf(model.space, model.passage(way).domain, made, facts) == 0
                continue
            one(model.passage(way), model, trace, made, facts)
            compared += 1
    assert compared > 100


def takes(model: Model, way: Way, made: Packet) -> bool:
    """Whether the packet is one that may take the way at all, whatever rules do to it."""
    space = model.space
    states = possible_states(space)
    return leaf(space, takers(space, HOST, way), made) == 1 and leaf(space, states, made) == 1


def test_free_facts_are_the_only_other_levels() -> None:
    model = Model(ruleset(3, Family.IPV4), Family.IPV4, HOST)
    passage = model.passage(Way.FORWARD)
    free = set(model.space.names.values()) | set(model.space.unknowns.values())
    fields = {level for levels in model.space.levels.values() for level in levels}
    assert support(model.space, passage.function.diagram) <= fields | free
    assert XTABLES_PRIORITY["raw", Hook.PREROUTING] == -300
    assert PacketType.HOST == 0
