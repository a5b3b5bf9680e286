"""The difference of two rulesets against traces of single packets: opening packets and their answers."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

import pytest

from notrack.netfilter.answer import answer
from notrack.netfilter.tracking import first_state
from notrack.netfilter.walk import Trace, Undetermined, resettled, settle_kinds, walk
from notrack.netfilter.ways import Way, takers
from notrack.packets.address import Family
from notrack.packets.fields import AddressType, Fragment, State
from notrack.packets.packet import Packet
from notrack.packets.space import Space
from notrack.packets.witness import leaf
from notrack.proof.difference import TRACKING, TRANSLATION, VERDICT, Change, Difference, difference
from notrack.proof.difference_groups import gathered, groups
from notrack.proof.difference_labels import translation_of
from notrack.proof.difference_names import spelled
from notrack.proof.difference_roles import Role
from notrack.proof.difference_sides import BACK
from notrack.report.difference import Compared, as_json, as_text
from notrack.ruleset.core import Ruleset, Verdict
from tests.netfilter.test_agreement import FACTS, HOST, packet, ruleset

_SYN = 2
_UNSURE = ("`odd target` ends the chain", "`odd target` accepts")


def edited(draw: random.Random, rules: Ruleset) -> Ruleset:
    """The ruleset with one rule left out, or another verdict in its place."""
    places = [
        (t, c, r)
        for t, table in enumerate(rules.tables)
        for c, chain in enumerate(table.chains)
        for r in range(len(chain.rules))
    ]
    if not places:
        return rules
    t, c, r = draw.choice(places)
    table = rules.tables[t]
    chain = table.chains[c]
    kept = list(chain.rules)
    if draw.random() < 0.5:
        del kept[r]
    else:
        kept[r] = replace(kept[r], actions=(draw.choice((Verdict.ACCEPT, Verdict.DROP)),))
    chains = list(table.chains)
    chains[c] = replace(chain, rules=tuple(kept))
    tables = list(rules.tables)
    tables[t] = replace(table, chains=tuple(chains))
    return Ruleset(tuple(tables))


def two(seed: int, family: Family) -> tuple[Ruleset, Ruleset]:
    draw = random.Random(seed)
    one = ruleset(seed, family)
    return one, edited(draw, one) if seed % 4 else ruleset(seed + 1000, family)


def facts(draw: random.Random) -> dict[str, bool]:
    return {name: draw.random() < 0.5 for name in (*FACTS, *_UNSURE)}


def settled(made: Packet, way: Way) -> Packet:
    values = made.values()
    settle_kinds(values, made, HOST, way)
    made = resettled(made, values)
    if way in (Way.LOCAL_OUT, Way.LOOPBACK):
        return replace(made, in_interface=None)
    return replace(made, out_interface=None) if way is Way.LOCAL_IN else made


def kinds(before: Trace, after: Trace) -> set[str]:
    """In which regards two traces differ."""
    if before.verdict != after.verdict:
        return {VERDICT}
    if before.verdict != "accept":
        return set()
    found = set()
    if (before.state is State.UNTRACKED) != (after.state is State.UNTRACKED):
        found.add(TRACKING)
    moved = [
        translation_of(one.effects) if one.state is not State.UNTRACKED else None for one in (before, after)
    ]
    if moved[0] != moved[1]:
        found.add(TRANSLATION)
    return found


def told(found: Difference, role: Role, ways: set[Way], made: Packet, held: dict[str, bool]) -> set[str]:
    """The kinds of changes that the packet is said to be in."""

    def of(change: Change) -> bool:
        return change.role is role and change.way in ways and change.packets.has(made, held)

    return {change.kind for change in found.changes if of(change)}


@cache
def possible(family: Family, way: Way) -> tuple[Space, int]:
    """The packets that can take a way at all."""
    space = Space(family)
    return space, takers(space, HOST, way)


def opening(draw: random.Random, family: Family, way: Way) -> Packet | None:
    made = packet(draw, family, way)
    made = replace(made, fragment=Fragment.WHOLE)
    if made.protocol == 6 and made.has_ports:
        made = replace(made, flags=_SYN)
    made = settled(made, way)
    space, taking = possible(family, way)
    if not leaf(space, taking, made):
        return None
    state = first_state(made.values(), family, tcp_loose=True)
    return made if state in (State.NEW, State.UNTRACKED) else None


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("start", range(0, 40, 5))
def test_opening_packets_and_their_answers(start: int, family: Family) -> None:
    compared = answered = 0
    for seed in range(start, start + 5):
        before, after = two(seed, family)
        found = difference(before, after, family, HOST)
        assert not found.undecided
        draw = random.Random(seed)
        for _ in range(80):
            way = draw.choice(list(Way))
            made = opening(draw, family, way)
            if made is None:
                continue
            held = facts(draw)
            try:
                traces = [walk(one, made, HOST, way=way, facts=held) for one in (before, after)]
            except Undetermined:
                continue
            ways = {trace.way for trace in traces} | {way}
            if Way.FORWARD in ways and made.out_interface is None:
                continue  # translated to somebody else: by which way out it leaves, the packet does not say
            assert told(found, Role.OPENING, ways, made, held) == kinds(*traces), (seed, way, str(made), held)
            compared += 1
            if kinds(*traces) or traces[0].verdict != "accept":
                continue
            answered += answers(found, (before, after), made, traces, held, seed)
    assert compared > 60 and answered > 5


def answers(
    found: Difference,
    sides: tuple[Ruleset, Ruleset],
    made: Packet,
    traces: list[Trace],
    held: dict[str, bool],
    seed: int,
) -> int:
    """Compares the answers to a packet that both rulesets let pass alike; 0 where there are none."""
    try:
        back = [answer(made, trace, one, HOST, facts=held) for one, trace in zip(sides, traces, strict=True)]
    except Undetermined:
        return 0
    if back[0] is None or back[1] is None:
        return 0
    (first, one), (_, other) = back
    way = BACK[traces[0].way]
    if one.way is not way or other.way is not way or traces[0].way is not traces[1].way:
        return 0
    # an answer is told as it is behind the translation of its destination
    told_as = replace(
        first, destination=made.source, destination_port=made.source_port, local=None, ct_mark=0, state=None
    )
    told_as = settled(told_as, way)
    if told_as.source_type is not AddressType.UNICAST and way not in (Way.LOCAL_OUT, Way.LOOPBACK):
        return 0  # nobody answers from the address of a group
    if told_as.source_type is AddressType.MULTICAST:
        return 0
    expected = kinds(one, other) - {TRANSLATION}
    assert told(found, Role.ANSWER, {way}, told_as, held) == expected, (seed, way, str(made), str(told_as))
    return 1


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("seed", range(12))
def test_every_line_has_a_packet_that_changes_as_it_says(seed: int, family: Family) -> None:
    before, after = two(seed, family)
    found = difference(before, after, family, HOST)
    assert bool(found.changes) == (not found.equal)
    for group in groups(found):
        change = group.witness()
        shown = change.witness()
        assert shown is not None and change.count() > 0
        assert change.packets <= change_of(found, change).packets
        hops = shown.packet.ttl > 1 or change.way is not Way.FORWARD
        if change.role is not Role.OPENING or change.kind != VERDICT or not hops:
            continue
        packet = replace(shown.packet, state=None)
        ends = [ended(one, packet, change, dict(shown.facts)) for one in (before, after)]
        assert ends == [change.before.verdict, change.after.verdict], (seed, str(packet))
    compared = Compared(before, after, dict.fromkeys(Family, HOST), (found,))
    assert (
        as_text(compared, every=True).count(", was ") >= len(as_text(compared, brief=True).splitlines()) - 40
    )
    changes = as_json(compared)["changes"]
    assert isinstance(changes, list) and bool(changes) == bool(found.changes)


def change_of(found: Difference, part: Change) -> Change:
    """The change that a group is a part of."""
    key = (part.kind, part.role, part.way, part.hook)
    same = [c for c in gathered(found.changes) if (c.kind, c.role, c.way, c.hook) == key]
    return next(c for c in same if (c.before, c.after) == (part.before, part.after))


def ended(rules: Ruleset, packet: Packet, change: Change, held: dict[str, bool]) -> str:
    """The verdict on the way that the packet takes under a ruleset."""
    spelt = spelled(rules, packet.family)
    try:
        return walk(spelt, packet, HOST, way=change.way, facts=held).verdict
    except Undetermined:
        other = {Way.FORWARD: Way.LOCAL_IN, Way.LOCAL_OUT: Way.LOOPBACK, Way.LOOPBACK: Way.LOCAL_OUT}
        out = None if change.way is Way.FORWARD else packet.out_interface
        return walk(
            spelt, replace(packet, out_interface=out), HOST, way=other[change.way], facts=held
        ).verdict
