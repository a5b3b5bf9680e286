"""Blocks, joined rules and other shortcuts of the proof do what the chains do that they stand for."""

from __future__ import annotations

import random

import pytest

from notrack.netfilter.chains import Algebra
from notrack.netfilter.ways import Stage
from notrack.packets.address import Family
from notrack.packets.diagram import EMPTY
from notrack.packets.fields import AddressType, Field, State
from notrack.packets.intervals import IntervalSet
from notrack.packets.space import Space
from notrack.proof.blocks import Block
from notrack.proof.boxes import Known, Sets
from notrack.proof.functions import Functions, Place
from notrack.proof.joining import joined
from notrack.proof.validation import _valid, unlike
from notrack.ruleset.core import (
    Action,
    Among,
    Base,
    Chain,
    Fact,
    Guard,
    Hook,
    Jump,
    Literal,
    Log,
    Never,
    Notrack,
    OneOf,
    Rule,
    Ruleset,
    Table,
    Template,
    Verdict,
)

V4 = Family.IPV4
OWN = IntervalSet(((0xC0000250, 0xC0000250),))
KNOWN = Known(V4, ((int(AddressType.LOCAL), OWN),))
SINGLE = IntervalSet.single


def values(draw: random.Random, field: Field) -> IntervalSet:
    if field in (Field.SOURCE, Field.DESTINATION):
        low = draw.choice((0xC0000250, 0x0A000000, 0x0A000100, 0xC6336400))
        return IntervalSet(((low, low + draw.choice((0, 0, 255))),))
    if field in (Field.SOURCE_PORT, Field.DESTINATION_PORT):
        low = draw.choice((22, 53, 80, 81, 443))
        return IntervalSet(((low, low + draw.choice((0, 0, 1, 30))),))
    if field is Field.PROTOCOL:
        return SINGLE(draw.choice((6, 6, 17, 1)))
    if field is Field.STATE:
        return IntervalSet.of((one, one) for one in draw.sample(list(State), 2))
    if field is Field.CT_DNAT:
        return SINGLE(1)
    if field is Field.DESTINATION_TYPE:
        return SINGLE(draw.choice((AddressType.LOCAL, AddressType.UNICAST)))
    return IntervalSet(((2, 2),))  # flags: a bare SYN


FIELDS = (
    Field.SOURCE, Field.DESTINATION, Field.SOURCE_PORT, Field.DESTINATION_PORT, Field.PROTOCOL,
    Field.DESTINATION_TYPE, Field.FLAGS,
)  # fmt: skip


def literal(draw: random.Random, early: bool) -> Literal:
    kind = draw.random()
    if kind < 0.08:
        return Fact(draw.choice(("rate a", "rate b")), draw.random() < 0.3)
    if kind < 0.14:
        return OneOf(tuple((plain(draw, early), plain(draw, early)) for _ in range(3)))
    return Never() if kind > 0.99 else plain(draw, early)


def plain(draw: random.Random, early: bool) -> Among:
    fields = FIELDS if early and draw.random() < 0.9 else (*FIELDS, Field.STATE, Field.CT_DNAT)
    field = draw.choice(fields)
    return Among(field, values(draw, field), draw.random() < 0.1)


def guard(draw: random.Random, early: bool) -> Guard:
    return tuple(literal(draw, early) for _ in range(draw.choice((0, 1, 1, 2, 3))))


def action(draw: random.Random, early: bool, later: list[str]) -> tuple[Action, ...]:
    kind = draw.random()
    if kind < 0.25 and later:
        return (Jump(draw.choice(later)),)
    if kind < 0.32:
        return (draw.choice((Verdict.RETURN, Verdict.DROP)),)
    if kind < 0.36:
        return (Log("LOG"),)
    if early and kind < 0.7:
        return draw.choice(((Notrack(),), (Notrack(), Verdict.ACCEPT), (Template("helper"),)))
    return (draw.choice((Verdict.ACCEPT, Verdict.ACCEPT, Verdict.DROP)),)


def rules(draw: random.Random, early: bool, later: list[str]) -> tuple[Rule, ...]:
    found: list[Rule] = []
    for _ in range(draw.randrange(1, 7)):
        rule = Rule(guard(draw, early), action(draw, early, later))
        found += [rule] * draw.choice((1, 1, 1, 2))
        if draw.random() < 0.4:  # a run that differs in one literal
            other = plain(draw, early)
            found += [
                Rule((*rule.guard, Among(other.field, values(draw, other.field))), rule.actions) for _ in "ab"
            ]
    return tuple(found)


def ruleset(seed: int, early: bool) -> Ruleset:
    draw = random.Random(seed)
    chains = [Chain(name, rules(draw, early, later)) for name, later in (("a", ["b"]), ("b", []))]
    hook, priority = (Hook.PREROUTING, -300) if early else (Hook.INPUT, 0)
    policy = Verdict.ACCEPT if early or draw.random() < 0.5 else Verdict.DROP
    chains.append(Chain("base", rules(draw, early, ["a", "b"]), Base(hook, priority, policy=policy)))
    return Ruleset((Table("t", frozenset((V4,)), tuple(chains)),))


def place(early: bool) -> Place:
    return Place(Stage(Hook.PREROUTING, early=True) if early else Stage(Hook.INPUT))


def as_rules(found: tuple[Block, ...]) -> tuple[Rule, ...]:
    """Blocks as a chain again: one rule a box."""
    fields = tuple(Field)
    return tuple(
        Rule((*(Among(fields[at], IntervalSet(spans)) for at, spans in box[0]), *box[1]), block.actions)
        for block in found
        for box in block.boxes
    )


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("start", range(0, 200, 50))
def test_blocks_are_the_chains(start: int, early: bool) -> None:
    flat = 0
    for seed in range(start, start + 50):
        whole = ruleset(seed, early)
        space = Space(V4)
        algebra, sets, valid = Algebra(space), Sets(space), _valid(space, OWN, IntervalSet())
        one = Functions(algebra, whole, KNOWN, sets)
        found = one.blocks(place(early))
        if found is None:
            continue
        flat += 1
        base = whole.tables[0].chains[-1]
        table = Table("t", frozenset((V4,)), (Chain("base", as_rules(found), base.base),))
        other = Functions(algebra, Ruleset((table,)), KNOWN, sets)
        a, b = one.at(place(early)).diagram, other.at(place(early)).diagram
        assert space.meet(valid, unlike(space, a, b)) == EMPTY, (seed, early)
    assert flat > 10


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("start", range(0, 200, 100))
def test_joined_rules_are_the_rules(start: int, early: bool) -> None:
    shorter = 0
    for seed in range(start, start + 100):
        whole = ruleset(seed, early)
        short = joined(whole)
        space = Space(V4)
        algebra, sets = Algebra(space), Sets(space)
        one, other = (Functions(algebra, side, KNOWN, sets) for side in (whole, short))
        assert one.at(place(early)).diagram == other.at(place(early)).diagram, (seed, early)
        shorter += sum(len(c.rules) for c in short.tables[0].chains) < sum(
            len(c.rules) for c in whole.tables[0].chains
        )
    assert shorter > 10


@pytest.mark.parametrize("start", range(0, 100, 100))
def test_questions_to_blocks_and_to_diagrams_have_one_answer(start: int) -> None:
    asked = 0
    for seed in range(start, start + 100):
        for early in (True, False):
            whole = ruleset(seed, early)
            space = Space(V4)
            algebra, sets, valid = Algebra(space), Sets(space), _valid(space, OWN, IntervalSet())
            one, other = (Functions(algebra, whole, KNOWN, sets) for _ in range(2))
            if one.blocks(place(early)) is None:
                continue
            other._blocks[place(early)] = None  # asks the diagrams
            for mine, theirs in zip(answers(one, early), answers(other, early), strict=True):
                asked += 1
                assert space.meet(valid, unlike(space, mine, theirs)) == EMPTY, (seed, early)
    assert asked > 20


def answers(functions: Functions, early: bool) -> list[int]:
    stage = place(early).stage
    if early:
        return [functions.untracked(stage), functions.surviving(stage)]
    return [functions.passing(Hook.INPUT, state) for state in State]


def returning(*guards: Guard) -> Ruleset:
    """A chain that some packets leave in its middle, called by another that goes on behind it."""
    leaving = tuple(Rule(guard, (Verdict.RETURN,)) for guard in guards)
    taking = (
        Rule((Among(Field.DESTINATION_PORT, SINGLE(53)),), (Verdict.ACCEPT,)),
        Rule((Among(Field.PROTOCOL, SINGLE(6)),), (Verdict.ACCEPT,)),
    )
    behind = Rule((Among(Field.DESTINATION, SINGLE(7)),), (Verdict.DROP,))
    base = Chain("base", (Rule((), (Jump("inner"),)), behind), Base(Hook.INPUT, 0))
    return Ruleset((Table("t", frozenset((V4,)), (Chain("inner", leaving + taking), base)),))


SOME = (Among(Field.SOURCE, IntervalSet(((5, 9),))),)
EVERY = (Among(Field.PROTOCOL, IntervalSet(((0, 255),))),)
ALL_SOURCES = (Among(Field.SOURCE, IntervalSet(((0, 6), (7, (1 << 32) - 1)))),)
TCP = (Among(Field.PROTOCOL, SINGLE(6)),)


@pytest.mark.parametrize("guards", [(SOME,), (SOME, TCP), (TCP, TCP), (ALL_SOURCES,), (EVERY,)])
def test_what_leaves_a_chain_in_its_middle_is_taken_out_of_the_rest(guards: tuple[Guard, ...]) -> None:
    whole = returning(*guards)
    space = Space(V4)
    algebra, sets, valid = Algebra(space), Sets(space), _valid(space, OWN, IntervalSet())
    one = Functions(algebra, whole, KNOWN, sets)
    found = one.blocks(place(False))
    if found is None:
        assert guards in ((EVERY,), (ALL_SOURCES,))  # no field tells them
        return
    base = whole.tables[0].chains[-1].base
    table = Table("t", frozenset((V4,)), (Chain("base", as_rules(found), base),))
    other = Functions(algebra, Ruleset((table,)), KNOWN, sets)
    a, b = one.at(place(False)).diagram, other.at(place(False)).diagram
    assert space.meet(valid, unlike(space, a, b)) == EMPTY


def test_states_do_not_tell_who_leaves_a_chain() -> None:
    """A rule behind may have changed them."""
    whole = returning((Among(Field.STATE, SINGLE(State.NEW)),))
    space = Space(V4)
    assert Functions(Algebra(space), whole, KNOWN, Sets(space)).blocks(place(False)) is None
