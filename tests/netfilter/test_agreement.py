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
from notrack.netfilter.visits import survivors
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
        return SetMark(Field.MARK, 0xF, None, "the connection's mark", tracking=True)
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
    flow = made.state if trace.effects.track is Track.TEMPLATE else trace.state
    out = None if trace.way is Way.LOCAL_IN else made.out_interface
    seen = replace(made, state=flow, out_interface=out)
    outcome = passage.outcome(seen, facts)
    verdict = "accept" if outcome.end is End.ON else outcome.end.value
    assert (verdict, outcome.hook) == (trace.verdict, trace.hook)
    assert outcome.effects == trace.effects
    assert leaf(model.space, passage.domain, seen, facts) == 1
    assert passage.accepted().has(seen, facts) == (trace.verdict == "accept")
    untracked = trace.effects.track is Track.UNTRACKED
    assert passage.untracked_by_rule().has(seen, facts) == untracked
    assert passage.untracked().has(seen, facts) == (flow is State.UNTRACKED)


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
            one(model.passage(trace.way), model, trace, made, facts)
            compared += 1
    assert compared > 100


def takes(model: Model, way: Way, made: Packet) -> bool:
    """Whether the packet is one that may take the way at all, whatever rules do to it."""
    space = model.space
    states = possible_states(space)
    return leaf(space, takers(space, HOST, way), made) == 1 and leaf(space, states, made) == 1


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("start", range(0, 40, 5))
def test_rule_by_rule_and_whole_chains_agree(start: int, family: Family) -> None:
    for seed in range(start, start + 5):
        model = Model(ruleset(seed, family), family, HOST)
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
@pytest.mark.parametrize("seed", range(12))
def test_answers_are_the_mirrored_passage(seed: int, family: Family) -> None:
    rules = ruleset(seed, family)
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
            value = at[space.levels[literal.field][0]]
            inside = z3.Or([z3.And(value >= low, value <= high) for low, high in literal.values])
            return z3.And(has, z3.Not(inside) if literal.negated else inside)
        if isinstance(literal, Masked):
            levels = list(reversed(space.levels[literal.field]))
            wrong = literal.value & ~literal.mask
            bits = [at[levels[i]] == (literal.value >> i & 1) for i in range(32) if literal.mask >> i & 1]
            inside = z3.And(z3.BoolVal(not wrong), *bits)
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
            found = literal(draw, family)
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
