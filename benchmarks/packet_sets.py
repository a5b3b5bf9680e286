"""Exact packet sets on a made filter table: 5,500 rules, 2,000 MAC matches, 100 chains.

The shape is that of a large campus router: FORWARD jumps by interface and network to chains of 55 rules,
which bind an address to a MAC or open some ports of a host to some networks. Prints time, nodes, memory.
Usage: python benchmarks/packet_sets.py [RULES [CHAINS]] [--linear]
"""

from __future__ import annotations

import random
import resource
import sys
import time

from notrack.packets.address import Family
from notrack.packets.diagram import EMPTY
from notrack.packets.fields import Field, State, interface_value
from notrack.packets.intervals import IntervalSet
from notrack.packets.questions import leaves, outcomes, reachable
from notrack.packets.space import Space
from notrack.packets.witness import witness

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


def main() -> None:
    arguments = [word for word in sys.argv[1:] if not word.startswith("-")]
    rules = int(arguments[0]) if arguments else 5500
    chains = int(arguments[1]) if len(arguments) > 1 else 100
    for family in Family:
        space = Space(family)
        start = time.perf_counter()
        accepted, size = evaluate(space, rules, chains, 7, "--linear" in sys.argv)
        accepted = space.meet(accepted, space.well_formed)
        seconds = time.perf_counter() - start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(
            f"{family.value}: {rules} rules in {chains} chains: {seconds:.2f} s, {len(space.nodes)} nodes,"
        )
        print(f"  {size} in the accept set, peak {memory} MiB; {witness(space, accepted)}")


if __name__ == "__main__":
    main()
