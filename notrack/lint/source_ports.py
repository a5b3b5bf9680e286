"""Answers let in by the port they come from: which rules do it, and what others reach through them."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.bounds import Inherited, bound
from notrack.lint.exposure import (
    SYN,
    TCP,
    UDP,
    accepts,
    answer_ports,
    assumed,
    at_ports,
    from_anyone,
    is_service,
    opened,
    opening,
    ordinary,
    ports,
    sampled,
    strangers,
)
from notrack.lint.relevance import relevant
from notrack.lint.sample import CLOSE
from notrack.lint.view import View
from notrack.netfilter.effects import Track
from notrack.netfilter.visits import visits
from notrack.netfilter.ways import Way
from notrack.packets.fields import PORT_PROTOCOLS, Field, State
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Rule
from notrack.text.record import dataclass

STRAY = 256
"""So many ports too many may be a range that somebody cut roughly."""
_ESTABLISHED = IntervalSet.single(State.ESTABLISHED)
_ORDER = (UDP, TCP, *(low for low, _ in PORT_PROTOCOLS if low not in (UDP, TCP)))


@dataclass(frozen=True, slots=True)
class Unguarded:
    """A rule that accepts by source port, and the packets with which others reach what is no answer's port.

    `protocols` have too many ports open; `tracked`: none of the packets is taken out of tracking; `needless`:
    the answers of tracked connections are let in before they come to the rule; `notes`: what was assumed.
    """

    rule: Rule
    way: Way
    packets: PacketSet
    protocols: tuple[int, ...]
    sources: IntervalSet
    tracked: bool
    needless: bool
    notes: tuple[str, ...]


def unguarded(view: View) -> Iterator[Unguarded]:
    """Every accept by source port that lets more in than answers."""
    found = list(_by_source_port(view))
    sent = IntervalSet.of(span for _, sources in found for span in sources)
    rules = [rule for rule, _ in found]
    for group in _groups(view, rules):
        for way in (Way.LOCAL_IN, Way.FORWARD):
            yield from _of_group(view, way, group, rules, sent)


def _groups(view: View, rules: list[Rule]) -> Iterator[list[Rule]]:
    """The rules that are asked about together: in large rulesets those that name peers a few at a time."""
    if view.sample is None:
        yield rules
        return
    whole = view.family.whole
    wide = [rule for rule in rules if bound(rule.guard, Field.SOURCE, view.family) == whole]
    close = [rule for rule in rules if bound(rule.guard, Field.SOURCE, view.family) != whole]
    yield wide
    for at in range(0, len(close), CLOSE):
        yield close[at : at + CLOSE]


def _of_group(
    view: View, way: Way, group: list[Rule], rules: list[Rule], sent: IntervalSet
) -> Iterator[Unguarded]:
    """What some of the rules let in that would be stopped without all of them."""
    if not group:
        return
    chosen = {id(rule) for rule in group}
    space = view.model.space
    asked = opening(view, group) & PacketSet(space, _cover(view, group))
    packets = asked if way is Way.LOCAL_IN else asked & strangers(view)
    for found in opened(view, way, packets, rules):
        let = ordinary(found.packets)
        if id(found.rule) not in chosen or not let or (way is Way.FORWARD and not from_anyone(let)):
            continue
        wrong = {protocol: _wrong(view, let, protocol) for protocol in _ORDER}
        protocols = tuple(protocol for protocol in _ORDER if wrong[protocol].size() > STRAY)
        if not protocols:
            continue
        worst = at_ports(let, protocols[0], wrong[protocols[0]])
        tracked = view.model.tracks and not let & found.visit.matching(Track.UNTRACKED)
        known = {Field.STATE: _ESTABLISHED, Field.SOURCE_PORT: sent, **sampled(view, group)}
        answered = PacketSet(space, space.cube(known))
        needless = tracked and not _comes(view, way, answered, found.rule)
        sources, notes = let.project(Field.SOURCE_PORT), assumed(found.packets)
        yield Unguarded(found.rule, way, worst, protocols, sources, tracked, needless, notes)


def _cover(view: View, rules: list[Rule]) -> int:
    """The packets that some rules ask for by protocol, source and ports, the rules that lead there aside."""
    space, family = view.model.space, view.family
    fields = (Field.PROTOCOL, Field.SOURCE, Field.SOURCE_PORT, Field.DESTINATION_PORT)
    return space.first(
        [space.cube({field: bound(rule.guard, field, family) for field in fields}) for rule in rules]
    )


def _comes(view: View, way: Way, packets: PacketSet, rule: Rule) -> bool:
    """Whether any packet of a set comes to a rule and matches."""
    return any(
        visit.rule is rule and ordinary(visit.matching())
        for visit in visits(relevant(view, view.ruleset, packets), way, packets)
    )


def _wrong(view: View, packets: PacketSet, protocol: int) -> IntervalSet:
    """The ports that are reached and are none of answers."""
    return ports(packets, Field.DESTINATION_PORT, protocol) - answer_ports(view, protocol)


def _by_source_port(view: View) -> Iterator[tuple[Rule, IntervalSet]]:
    """The accepting rules that only packets from some ports of services come to, and which those are."""
    for table in view.ruleset.tables:
        if view.family not in table.families:
            continue
        sent = Inherited(table, Field.SOURCE_PORT, view.family)
        gone = Inherited(table, Field.DESTINATION_PORT, view.family)
        for chain in table.chains:
            for rule in chain.rules:
                if not accepts(rule):
                    continue
                sources = sent.of(chain.name) & bound(rule.guard, Field.SOURCE_PORT, view.family)
                targets = gone.of(chain.name) & bound(rule.guard, Field.DESTINATION_PORT, view.family)
                if is_service(sources) and targets.size() > STRAY and _may_be_wide(view, rule, targets):
                    yield rule, sources


def _may_be_wide(view: View, rule: Rule, targets: IntervalSet) -> bool:
    """Whether the rule itself leaves anything to find: beginnings of flows at ports of no answers."""
    guard, family = rule.guard, view.family
    states = bound(guard, Field.STATE, family)
    if State.NEW not in states and State.UNTRACKED not in states:
        return False
    protocols = bound(guard, Field.PROTOCOL, family)
    opens = not bound(guard, Field.FLAGS, family).isdisjoint(SYN)
    return any(
        protocol in protocols
        and (protocol != TCP or opens)
        and (targets - answer_ports(view, protocol)).size() > STRAY
        for protocol in _ORDER
    )
