"""Trace and sets give the same answer: random rulesets, random packets, all four ways."""

from __future__ import annotations

import ipaddress
import random
from dataclasses import dataclass, replace

import pytest

from notrack.netfilter.chains import End
from notrack.netfilter.effects import TRACKED_ANEW, Track
from notrack.netfilter.host import Host, HostInterface
from notrack.netfilter.model import Model, Passage
from notrack.netfilter.routes import Route
from notrack.netfilter.tracking import first_state, keeps
from notrack.netfilter.visits import survivors
from notrack.netfilter.walk import Trace, Undetermined, resettled, settle_kinds, walk
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.packets.fields import (
    AddressType,
    Field,
    Fragment,
    PacketType,
    State,
    interface_name,
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
    ShiftField,
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
    routes=tuple(
        Route(ipaddress.ip_network(network), name)
        for network, name in (
            ("198.51.100.0/24", "eth0"), ("10.0.0.0/29", "eth2"), ("10.0.0.5/32", "eth1"),
            ("2001:db8:1::/64", "eth0"), ("fd00::/120", "eth2"), ("fd00::5/128", "eth1"), ("::/0", "eth0"),
        )
    ),
    forwards_ipv4=True,
    forwards_ipv6=True,
    tcp_loose=True,
)  # fmt: skip


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


def rare_literal(draw: random.Random, negated: bool) -> Literal:
    low = draw.choice((0, 1, 2, 30, 62, 63, 64, 65))
    return draw.choice(
        (
            Among(Field.TTL, IntervalSet(((low, low + draw.choice((0, 0, 1, 190))),)), negated),
            Among(Field.CT_DIRECTION, ONE(draw.randrange(2)), negated),
            Masked(Field.CT_MARK, 1, 0, negated),
            Among(Field.PACKET_TYPE, ONE(draw.choice(list(PacketType))), negated),
            Among(Field.LENGTH, IntervalSet(((0, 60),)), negated),
        )
    )


def guard(draw: random.Random, family: Family, wide: bool = False) -> Guard:
    count = draw.choice((0, 1, 1, 2, 2, 3))
    rare = [wide and draw.random() < 0.1 for _ in range(count)]
    return tuple(rare_literal(draw, draw.random() < 0.25) if one else literal(draw, family) for one in rare)


def nat(draw: random.Random, family: Family, hook: Hook) -> Nat:
    if hook in (Hook.PREROUTING, Hook.OUTPUT):
        kind = draw.choice((NatKind.DNAT, NatKind.DNAT, NatKind.REDIRECT))
    else:
        kind = draw.choice((NatKind.SNAT, NatKind.MASQUERADE))
    to = addresses(draw, family) if kind in (NatKind.SNAT, NatKind.DNAT) else None
    return Nat(
        kind, to, draw.choice((None, ONE(8080), IntervalSet(((1024, 2047),)))), f"nat {draw.randrange(3)}"
    )


def rare_action(draw: random.Random, family: Family) -> Action:
    return draw.choice(
        (
            SetField(Field.TTL, draw.choice((1, 64, None)), "a TTL"),
            ShiftField(Field.TTL, draw.choice((-1, 1, -63, 200))),
            SetField(Field.PACKET_TYPE, PacketType.HOST),
            SetField(Field.DESTINATION, int(ipaddress.ip_address(draw.choice(ADDRESSES[family])))),
            Template("zone 6", draw.random() < 0.7, draw.choice(((6, 6), (6, 0), None))),
        )
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
        return SetMark(Field.MARK, 0xF, None, "the connection's mark", tracking=True)
    if choice == 11:
        return draw.choice((SetField(Field.TTL, 1), Log("LOG"), Unknown("odd target")))
    return draw.choice((Verdict.ACCEPT, Verdict.ACCEPT, Verdict.DROP, Verdict.REJECT, Verdict.RETURN))


@dataclass
class Made:
    """Makes one random ruleset. `stateless`: nothing in it keeps tracking on.

    `wide`: what is rarer too: hooks of devices, chains of type route, other TTLs, frames, late zones.
    """

    draw: random.Random
    family: Family
    stateless: bool
    wide: bool = False

    def rule(self, hook: Hook | None, kind: ChainType, later: list[str]) -> Rule:
        while True:
            actions = [action(self.draw, self.family, hook, kind, later)]
            if self.wide and kind is not ChainType.NAT and self.draw.random() < 0.12:
                actions = [rare_action(self.draw, self.family)]
            if isinstance(actions[0], SetMark | Notrack) and self.draw.random() < 0.3:
                actions.append(self.draw.choice((Verdict.ACCEPT, Verdict.DROP)))
            rule = Rule(guard(self.draw, self.family, self.wide), tuple(actions))
            if not self.stateless or keeps(rule) is None:
                return rule

    def rules(self, hook: Hook | None, kind: ChainType, later: list[str]) -> tuple[Rule, ...]:
        return tuple(self.rule(hook, kind, later) for _ in range(self.draw.randrange(6)))

    def table(self, number: int) -> Table:
        draw, names = self.draw, ["a", "b", "c"]
        hook = draw.choice([*list(Hook), *list(Hook)[:5]] if self.wide else list(Hook)[:5])
        link = hook in (Hook.INGRESS, Hook.EGRESS)
        nat = hook is not Hook.FORWARD and not link and draw.random() < 0.35
        route = self.wide and hook is Hook.OUTPUT and draw.random() < 0.4
        plain = ChainType.ROUTE if route else ChainType.FILTER
        kind = ChainType.NAT if nat else plain
        device = draw.choice(("eth0", "eth1", "lo", None)) if link else None
        at = {Hook.PREROUTING: (-500, -300, -200, -150, 0), Hook.OUTPUT: (-300, -250, -150, 0)}
        priority = draw.choice(at.get(hook, (-150, 0, 50, 150)))
        policy = draw.choice((Verdict.ACCEPT, Verdict.ACCEPT, Verdict.ACCEPT if nat else Verdict.DROP))
        chains = [Chain(name, self.rules(hook, kind, names[i + 1 :])) for i, name in enumerate(names)]
        base = Base(hook, priority, kind, policy, device)
        chains.append(Chain("base", self.rules(hook, kind, names), base))
        families = draw.choice((frozenset((self.family,)), frozenset(Family)))
        return Table(f"t{number}", families, tuple(chains))


def ruleset(seed: int, family: Family, wide: bool = False) -> Ruleset:
    made = Made(random.Random(seed), family, seed % 3 == 0, wide)
    return Ruleset(tuple(made.table(i) for i in range(made.draw.randrange(1, 6))))


def packet(draw: random.Random, family: Family, way: Way, wide: bool = False) -> Packet:
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
    if wide:
        kinds = (None, None, PacketType.HOST, PacketType.BROADCAST)
        made = replace(made, ttl=draw.choice((64, 64, 64, 1, 2, 128)), packet_type=draw.choice(kinds))
    if way in (Way.LOCAL_OUT, Way.LOOPBACK):
        made = replace(made, fragment=Fragment.WHOLE, packet_type=None)
    if wide and way is Way.LOCAL_OUT and draw.random() < 0.3:
        made = replace(made, out_interface="lo", destination=own)
    if wide and family is Family.IPV4 and made.out_interface == "lo" and draw.random() < 0.3:
        made = replace(made, source=0x7F000001)
    if way is Way.LOOPBACK and draw.random() < 0.4:
        made = replace(made, out_interface="eth0", destination=draw.choice(others))
    if made.has_ports:
        made = replace(made, source_port=draw.choice(PORTS), destination_port=draw.choice(PORTS))
    if made.protocol == 6 and made.has_ports:
        made = replace(made, flags=draw.choice((2, 2, 18, 16, 4, 0)))
    if made.is_icmp:
        made = replace(made, icmp_type=draw.choice((8, 0, 3, 128, 129, 135)))
    return made


def one(passage: Passage, model: Model, trace: Trace, made: Packet, facts: dict[str, bool]) -> None:
    """The set model's answer about the packet that was traced."""
    late = trace.effects.track is Track.TEMPLATE or TRACKED_ANEW in dict(trace.assumed)
    flow = made.state if late else trace.state
    out = None if trace.way is Way.LOCAL_IN else made.out_interface
    if trace.way is Way.FORWARD and out is None:  # the host's routes told it
        out = interface_name(trace.values[Field.OUT])
    seen = replace(made, state=flow, out_interface=out)
    outcome = passage.outcome(seen, facts)
    if trace.ended_by_routing:
        assert leaf(model.space, passage.domain, seen, facts) == 0
        return
    verdict = "accept" if outcome.end is End.ON else outcome.end.value
    assert (verdict, outcome.hook) == (trace.verdict, trace.hook)
    assert outcome.effects == trace.effects
    assert leaf(model.space, passage.domain, seen, facts) == 1
    assert passage.accepted().has(seen, facts) == (trace.verdict == "accept")
    untracked = trace.effects.track is Track.UNTRACKED
    assert passage.untracked_by_rule().has(seen, facts) == untracked
    assert passage.untracked().has(seen, facts) == (flow is State.UNTRACKED)


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("start", range(0, 60, 6))
def test_trace_and_sets_agree(start: int, family: Family, wide: bool) -> None:
    compared = 0
    for seed in range(start, start + 6):
        rules_ = ruleset(seed, family, wide)
        model = Model(rules_, family, HOST)
        draw = random.Random(seed)
        for _ in range(120):
            way = draw.choice(list(Way))
            made = packet(draw, family, way, wide)
            values = made.values()
            settle_kinds(values, made, HOST, way)
            made = resettled(made, values)
            facts = {name: draw.random() < 0.5 for name in (*FACTS, "`odd target` ends the chain")}
            facts["`odd target` accepts"] = draw.random() < 0.5
            if not model.sees_fragments:
                made = replace(made, fragment=Fragment.WHOLE) if made.fragment is Fragment.FIRST else made
            if not model.sees_fragments and made.fragment is Fragment.LATER:
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
            one(model.passage(trace.way), model, trace, made, facts)
            compared += 1
    assert compared > 100


def test_a_mark_that_is_turned_twice_is_as_it_was() -> None:
    turn = Rule((), (SetMark(Field.MARK, 0, 0xFF),))
    marked = Rule((Masked(Field.MARK, 0xFF, 0xFF),), (Verdict.DROP,))
    chain = Chain("c", (turn, turn, marked), Base(Hook.FORWARD, 0))
    rules_ = Ruleset((Table("t", frozenset((Family.IPV4,)), (chain,)),))
    passage = Model(rules_, Family.IPV4, HOST).passage(Way.FORWARD)
    marks = passage.space.masked(Field.MARK, 0xFF, 0xFF)
    assert passage.dropped().diagram == passage.space.meet(passage.domain, marks)
    assert passage.accepted().diagram == passage.space.minus(passage.domain, marks)


def takes(model: Model, way: Way, made: Packet) -> bool:
    """Whether the packet is one that may take the way at all, whatever rules do to it."""
    return leaf(model.space, model.domain(way), made) == 1


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("start", range(0, 40, 5))
def test_rule_by_rule_and_whole_chains_agree(start: int, family: Family, wide: bool) -> None:
    for seed in range(start, start + 5):
        model = Model(ruleset(seed, family, wide), family, HOST)
        space = model.space
        state = space.among(Field.STATE, State.UNTRACKED)
        for way in Way:
            parts = []
            for effects, packets in survivors(model, way).items():
                if effects.track is Track.UNTRACKED and model.tracks:
                    parts.append(space.meet(state, space.exists(packets.diagram, [Field.STATE])))
                else:
                    parts.append(packets.diagram)
            assert space.first(parts) == model.passage(way).accepted().diagram


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_answers_are_the_mirrored_passage(seed: int, family: Family, wide: bool) -> None:
    rules = ruleset(seed, family, wide)
    direct = Model(rules, family, HOST)
    answers = Model(rules, family, HOST, answers=True, space=direct.space)
    for way in Way:
        once = answers.passage(way)
        assert direct.space.mirror(once.domain) == direct.passage(way).domain
        assert once.accepted().mirror() == direct.passage(way).accepted()
        assert once.untracked_by_rule().mirror() == direct.passage(way).untracked_by_rule()


def encoded_set(z3, space, diagram, at):  # type: ignore[no-untyped-def]
    """A diagram as a formula, node by node."""
    done = {0: z3.BoolVal(False), 1: z3.BoolVal(True)}

    def walk(node):  # type: ignore[no-untyped-def]
        if node not in done:
            level, cuts, kids = space.nodes[node]
            made = walk(kids[-1])
            for cut, kid in reversed(list(zip(cuts[:-1], kids[:-1], strict=True))):
                made = z3.If(at[level] <= cut, walk(kid), made)
            done[node] = made
        return done[node]

    return walk(diagram)


def encoded_guard(z3, space, literals, at):  # type: ignore[no-untyped-def]
    """A guard as a formula, from the meaning of its literals alone."""

    entry = z3.And(at[space.levels[Field.STATE][0]] <= 2, at[space.levels[Field.CT_DIRECTION][0]] < 2)

    def one_literal(literal):  # type: ignore[no-untyped-def]
        if isinstance(literal, Among):
            has = z3.BoolVal(True)
            protocol, fragment = at[space.levels[Field.PROTOCOL][0]], at[space.levels[Field.FRAGMENT][0]]
            if literal.field in (Field.SOURCE_PORT, Field.DESTINATION_PORT):
                has = z3.And(fragment < 2, z3.Or([protocol == n for n in (6, 17, 33, 132, 136)]))
            elif literal.field is Field.FLAGS:
                has = z3.And(fragment < 2, protocol == 6)
            elif literal.field is Field.ICMP_TYPE:
                has = z3.And(fragment < 2, protocol == (1 if space.family is Family.IPV4 else 58))
            elif literal.field is Field.MAC:
                has = at[space.levels[Field.MAC][0]] < 1 << 48
            elif literal.field is Field.CT_DIRECTION:
                has = entry
            value = at[space.levels[literal.field][0]]
            if literal.field is Field.TTL:  # forwarded
                value = value - 1
            inside = z3.Or([z3.And(value >= low, value <= high) for low, high in literal.values])
            return z3.And(has, z3.Not(inside) if literal.negated else inside)
        if isinstance(literal, Masked):
            levels = list(reversed(space.levels[literal.field]))
            wrong = literal.value & ~literal.mask
            bits = [at[levels[i]] == (literal.value >> i & 1) for i in range(32) if literal.mask >> i & 1]
            inside = z3.And(z3.BoolVal(not wrong), *bits)
            if literal.field is Field.CT_MARK:
                return z3.And(entry, z3.Not(inside) if literal.negated else inside)
        elif isinstance(literal, Fact):
            inside = at[space.names[literal.name]] == 1
        else:
            return z3.BoolVal(False)
        return z3.Not(inside) if literal.negated else inside

    return z3.And([one_literal(literal) for literal in literals])


def encoded_chain(z3, space, table, name, after, at):  # type: ignore[no-untyped-def]
    """Whether a chain accepts, where `after` is whether what comes back is accepted."""
    result = after
    chain = table.chain(name)
    for rule in reversed(chain.rules):
        does = rule.actions[-1]
        if isinstance(does, Jump):
            then = encoded_chain(z3, space, table, does.chain, after if does.goto else result, at)
        else:
            fixed = {Verdict.ACCEPT: z3.BoolVal(True), Verdict.DROP: z3.BoolVal(False), Verdict.RETURN: after}
            then = fixed.get(does, z3.BoolVal(False))
        result = z3.If(encoded_guard(z3, space, rule.guard, at), then, result)
    return result


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("seed", range(15))
def test_z3_agrees_on_random_chains(seed: int, family: Family) -> None:
    z3 = pytest.importorskip("z3")
    draw = random.Random(seed)
    verdicts = (Verdict.ACCEPT, Verdict.DROP, Verdict.REJECT, Verdict.RETURN)

    def plain(later: list[str]) -> Rule:
        literals: list[Literal] = []
        while len(literals) < draw.randrange(4):
            found = rare_literal(draw, False) if draw.random() < 0.1 else literal(draw, family)
            if not isinstance(found, OneOf):
                literals.append(found)
        jump = Jump(draw.choice(later), draw.random() < 0.3) if later and draw.random() < 0.4 else None
        return Rule(tuple(literals), (jump or draw.choice(verdicts),))

    names = ["a", "b", "c", "d"]
    chains = [Chain(n, tuple(plain(names[i + 1 :]) for _ in range(6))) for i, n in enumerate(names)]
    keeper = Rule((Among(Field.STATE, ONE(State.NEW)),), (Log("keeps tracking on"),))
    chains.append(Chain("base", (keeper, *(plain(names) for _ in range(8))), Base(Hook.FORWARD, 0)))
    table = Table("t", frozenset((family,)), (*chains[:-1], replace(chains[-1], rules=chains[-1].rules[1:])))
    whole = Ruleset((table, Table("k", frozenset((family,)), (Chain("unreached", (keeper,)),))))
    model = Model(whole, family, HOST)
    space, passage = model.space, model.passage(Way.FORWARD)
    accepted = passage.accepted().diagram
    for name in FACTS:
        space.free(name)
    at = [z3.Int(f"v{level}") for level in range(len(space.tops))]
    typed = z3.And([z3.And(v >= 0, v <= top) for v, top in zip(at, space.tops, strict=True)])
    domain = encoded_set(z3, space, passage.domain, at)
    rules = encoded_chain(z3, space, table, "base", z3.BoolVal(True), at)
    solver = z3.Solver()
    solver.add(typed, z3.And(domain, rules) != encoded_set(z3, space, accepted, at))
    assert solver.check() == z3.unsat
    other = z3.Solver()
    other.add(typed, domain, rules)
    assert (other.check() == z3.unsat) == (accepted == 0)


def test_free_facts_are_the_only_other_levels() -> None:
    model = Model(ruleset(3, Family.IPV4), Family.IPV4, HOST)
    passage = model.passage(Way.FORWARD)
    free = set(model.space.names.values()) | set(model.space.unknowns.values())
    fields = {level for levels in model.space.levels.values() for level in levels}
    assert support(model.space, passage.function.diagram) <= fields | free
    assert XTABLES_PRIORITY["raw", Hook.PREROUTING] == -300
    assert PacketType.HOST == 0
