"""Exact packet sets on a made filter table: 5,500 rules, 2,000 MAC matches, 100 chains.

The shape is that of a large campus router: FORWARD jumps by interface and network to chains of 55 rules,
which bind an address to a MAC or open some ports of a host to some networks. Prints CPU time, nodes
and memory.

Then the same rules as a ruleset through the kernel model, and a host's ruleset of 60 rules on all four ways.
Usage: python benchmarks/packet_sets.py [RULES [CHAINS]] [--linear]
"""

from __future__ import annotations

import random
import resource
import sys
import time

from notrack.netfilter.model import Model
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.packets.diagram import EMPTY
from notrack.packets.fields import Field, State, interface_value
from notrack.packets.intervals import IntervalSet
from notrack.packets.questions import leaves, outcomes, reachable
from notrack.packets.space import Space
from notrack.packets.witness import witness
from notrack.ruleset.core import (
    Among,
    Base,
    Chain,
    ChainType,
    Guard,
    Hook,
    Jump,
    Nat,
    NatKind,
    Notrack,
    Ruleset,
    Table,
    Verdict,
)
from notrack.ruleset.core import Rule as CoreRule

ACCEPT, DROP, RETURN = "accept", "drop", "return"
Rule = tuple[dict[Field, IntervalSet], str]


def single(value: int) -> IntervalSet:
    return IntervalSet.single(value)


def network(number: int) -> IntervalSet:
    base = (10 << 24) + (number << 8)
    return IntervalSet(((base, base + 255),))


def bindings(number: int, length: int, draw: random.Random) -> list[Rule]:
    """A chain for what comes from a /24: who uses his own address with his own MAC may go on."""
    base = network(number).least()
    rules: list[Rule] = []
    for i in range(length - 1):
        guard = {
            Field.SOURCE: single(base + 1 + i % 254),
            Field.MAC: single(draw.getrandbits(40) + (2 << 40)),
        }
        rules.append((guard, draw.choice((ACCEPT, RETURN, RETURN, RETURN))))
    return [*rules, ({}, DROP)]


def openings(number: int, length: int, draw: random.Random) -> list[Rule]:
    """A chain for what goes to a /24: ports of hosts that are open to some networks, or to all."""
    base = network(number).least()
    rules: list[Rule] = [({Field.STATE: single(State.INVALID)}, DROP)]
    for _ in range(length - 2):
        port = draw.choice((22, 25, 53, 80, 443, 993, 3306, 8080, draw.randrange(1024, 65000)))
        guard = {
            Field.DESTINATION: single(base + draw.randrange(1, 255)),
            Field.PROTOCOL: single(draw.choice((6, 6, 17))),
            Field.DESTINATION_PORT: IntervalSet(((port, port + draw.choice((0, 0, 10))),)),
        }
        if draw.random() < 0.4:
            low = draw.randrange(0, 2**24) << 8
            guard[Field.SOURCE] = IntervalSet(((low, low + 255),))
        rules.append((guard, draw.choice((ACCEPT, ACCEPT, DROP))))
    return [*rules, ({}, DROP)]


def made(rules: int, chains: int, seed: int) -> list[tuple[dict[Field, IntervalSet], list[Rule]]]:
    """Jumps of FORWARD, each with its chain: bindings by interface, then openings by network."""
    draw = random.Random(seed)
    length = rules // chains
    bound = chains * 2000 // 5500
    jumps: list[tuple[dict[Field, IntervalSet], list[Rule]]] = []
    for number in range(chains):
        interface = single(interface_value(f"vlan{number % 40}"))
        if number < bound:
            guard = {Field.IN: interface, Field.SOURCE: network(number)}
            jumps.append((guard, bindings(number, length, draw)))
        else:
            guard = {Field.OUT: interface, Field.DESTINATION: network(number)}
            jumps.append((guard, openings(number, length, draw)))
    return jumps


def evaluate(space: Space, rules: int, chains: int, seed: int, linear: bool) -> tuple[int, int]:
    """The chains joined behind their guards; returns the accept set and the number of nodes in it."""
    leaf = {verdict: space.outcome(verdict) for verdict in (ACCEPT, DROP, RETURN)}
    entry = [space.meet(space.among(Field.STATE, State.ESTABLISHED), leaf[ACCEPT])]
    for jump, chain_rules in made(rules, chains, seed):
        parts = [space.meet(space.cube(guard), leaf[verdict]) for guard, verdict in chain_rules]
        chain = EMPTY
        if linear:
            for part in parts:
                chain = space.join(chain, part)
        else:
            chain = space.first(parts)
        chain = outcomes(space, chain, lambda at: EMPTY if at == leaf[RETURN] else at)
        entry.append(space.meet(space.cube(jump), chain))
    whole = space.first([*entry, leaf[DROP]])
    accepted = outcomes(space, whole, lambda at: int(at == leaf[ACCEPT]))
    assert leaves(space, whole) == {leaf[ACCEPT], leaf[DROP]}
    return accepted, len(reachable(space, accepted))


def guard_of(values: dict[Field, IntervalSet]) -> Guard:
    return tuple(Among(field, spans) for field, spans in values.items())


def filter_table(rules: int, chains: int, seed: int) -> Ruleset:
    """The made ruleset as the core has it."""
    established = CoreRule((Among(Field.STATE, single(State.ESTABLISHED)),), (Verdict.ACCEPT,))
    forward, made_chains = [established], []
    for number, (jump, chain_rules) in enumerate(made(rules, chains, seed)):
        inner = tuple(CoreRule(guard_of(guard), (Verdict(verdict),)) for guard, verdict in chain_rules)
        made_chains.append(Chain(f"c{number}", inner))
        forward.append(CoreRule(guard_of(jump), (Jump(f"c{number}"),)))
    base = Base(Hook.FORWARD, 0, ChainType.FILTER, Verdict.DROP)
    table = Table("filter", frozenset((Family.IPV4,)), (*made_chains, Chain("FORWARD", tuple(forward), base)))
    return Ruleset((table,))


def host_table() -> Ruleset:
    """Sixty rules as a host has them: services, untracked DNS in both directions, published ports."""
    tcp, udp = Among(Field.PROTOCOL, single(6)), Among(Field.PROTOCOL, single(17))
    going = CoreRule((Among(Field.STATE, IntervalSet(((1, 2),))),), (Verdict.ACCEPT,))

    def ports(
        field: Field, protocol: Among, first: int, count: int, *does: Verdict | Notrack | Nat
    ) -> list[CoreRule]:
        return [CoreRule((protocol, Among(field, single(first + i))), does) for i in range(count)]

    out = (Among(Field.OUT, single(interface_value("eth0"))),)
    hooks = [
        (Hook.PREROUTING, -300, ports(Field.DESTINATION_PORT, udp, 53, 8, Notrack())),
        (Hook.OUTPUT, -300, ports(Field.SOURCE_PORT, udp, 53, 8, Notrack())),
        (
            Hook.PREROUTING,
            -100,
            ports(Field.DESTINATION_PORT, tcp, 8000, 6, Nat(NatKind.DNAT, single(10 << 24))),
        ),
        (Hook.POSTROUTING, 100, [CoreRule(out, (Nat(NatKind.MASQUERADE),))]),
        (Hook.INPUT, 0, [going, *ports(Field.DESTINATION_PORT, tcp, 1000, 25, Verdict.ACCEPT)]),
        (Hook.FORWARD, 0, [going, *ports(Field.DESTINATION_PORT, tcp, 80, 10, Verdict.ACCEPT)]),
    ]
    kinds = {-100: ChainType.NAT, 100: ChainType.NAT}
    policies = {0: Verdict.DROP}
    chains = tuple(
        Chain(
            f"{hook.value}{at}",
            tuple(rules),
            Base(hook, at, kinds.get(at, ChainType.FILTER), policies.get(at, Verdict.ACCEPT)),
        )
        for hook, at, rules in hooks
    )
    return Ruleset((Table("t", frozenset((Family.IPV4,)), chains),))


def model_times(rules: int, chains: int) -> None:
    ruleset = filter_table(rules, chains, 7)
    start = time.process_time()
    model = Model(ruleset, Family.IPV4)
    passage = model.passage(Way.FORWARD)
    whole = time.process_time() - start
    accepted = passage.accepted()
    more = time.process_time() - start - whole
    print(f"model, FORWARD: {whole:.2f} s; accept set, by state and kind of address: {more:.2f} s more,")
    print(f"  {len(model.space.nodes)} nodes, peak {peak()} MiB; {accepted.witness()}")
    small = host_table()
    best = min(host_time(small) for _ in range(5))
    print(
        f"host of {sum(len(c.rules) for c in small.tables[0].chains)} rules, four ways: {1000 * best:.0f} ms"
    )


def host_time(ruleset: Ruleset) -> float:
    start = time.process_time()
    model = Model(ruleset, Family.IPV4)
    for way in Way:
        passage = model.passage(way)
        passage.accepted()
        passage.untracked()
    return time.process_time() - start


def peak() -> int:
    """Greatest memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    arguments = [word for word in sys.argv[1:] if not word.startswith("-")]
    rules = int(arguments[0]) if arguments else 5500
    chains = int(arguments[1]) if len(arguments) > 1 else 100
    for family in Family:
        space = Space(family)
        start = time.process_time()
        accepted, size = evaluate(space, rules, chains, 7, "--linear" in sys.argv)
        accepted = space.meet(accepted, space.well_formed)
        seconds = time.process_time() - start
        print(f"{family.value}: {rules} rules in {chains} chains: {seconds:.2f} s, {len(space.nodes)} nodes,")
        print(f"  {size} in the accept set, peak {peak()} MiB; {witness(space, accepted)}")
    model_times(rules, chains)


if __name__ == "__main__":
    main()
