"""What an accept for untracked packets opens beyond the services that rules name."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.bounds import Inherited, asks, bound
from notrack.lint.exposure import (
    TCP,
    UDP,
    Opened,
    accepts,
    answer_ports,
    at_ports,
    from_anyone,
    is_service,
    opened,
    opening,
    ordinary,
    ports,
    strangers,
)
from notrack.lint.view import Untracking, View
from notrack.netfilter.effects import Track
from notrack.netfilter.ways import Way
from notrack.packets.fields import Field, State, domain
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Rule
from notrack.text.record import dataclass

MANY = 20_000
"""More ports than a service has: even media servers name fewer."""
STRAY = 256
"""So many ports too many may be a range that somebody cut roughly."""
INNER = {
    TCP: IntervalSet.of(
        (port, port)
        for port in (23, 111, 135, 139, 389, 445, 512, 513, 514, 873, 1433, 1521, 2049, 2375, 2379, 2380,
                     3306, 5432, 5984, 6379, 8086, 9042, 9200, 9300, 10250, 11211, 27017)
    ),
    UDP: IntervalSet.of(
        (port, port) for port in (17, 19, 69, 111, 137, 138, 161, 389, 623, 1434, 1900, 2049, 11211)
    ),
}  # fmt: skip
"""Services that trust whoever reaches them: databases, caches, file and management services."""
_UNSCOPED = (Field.SOURCE_PORT, Field.DESTINATION_PORT)


@dataclass(frozen=True, slots=True)
class Excess:
    """What a rule opens to anyone because another one untracks it."""

    opened: Opened
    untracking: Untracking
    packets: PacketSet


def excesses(view: View) -> Iterator[Excess]:
    """For each accept by the state UNTRACKED and each rule that untracks: what nobody can have meant to open
    to everyone. That is many ports at once, or a service that trusts whoever reaches it."""
    blanket = list(accepting(view, State.UNTRACKED))
    if not blanket or not view.untrackings:
        return
    for way in (Way.LOCAL_IN, Way.FORWARD):
        taken = [one for one in view.untrackings if one.way is way]
        if taken:
            yield from _of_way(view, way, taken, blanket)


def _of_way(view: View, way: Way, taken: list[Untracking], blanket: list[Rule]) -> Iterator[Excess]:
    asked = opening(view, [one.visit.rule for one in taken]) & strangers(view)
    parts = {id(one): ordinary(one.packets & asked) for one in taken}
    space = view.model.space
    every = PacketSet(space, space.first([part.diagram for part in parts.values()]))
    if not every:
        return
    for found in opened(view, way, every, blanket):
        let = ordinary(found.packets & found.visit.matching(Track.UNTRACKED))
        for one in taken:
            if beyond := _beyond(view, one.visit.rule, let & parts[id(one)]):
                yield Excess(found, one, beyond)


def _beyond(view: View, rule: Rule, packets: PacketSet) -> PacketSet | None:
    """The packets that come from anyone and go to more than named services."""
    if not packets or not from_anyone(packets):
        return None
    answers = is_service(bound(rule.guard, Field.SOURCE_PORT, view.family))
    for protocol in (UDP, TCP):
        reached = ports(packets, Field.DESTINATION_PORT, protocol)
        if answers:
            reached = reached - answer_ports(view, protocol)
        wide = reached.size() > (STRAY if answers else MANY)
        if wrong := reached if wide else reached & INNER[protocol]:
            return at_ports(packets, protocol, wrong)
    return None


def accepting(view: View, state: State) -> Iterator[Rule]:
    """The rules that accept packets of a state and not new ones, whatever ports they have. What the jumps to
    a chain ask for counts as asked for by its rules."""
    for table in view.ruleset.tables:
        if view.family not in table.families:
            continue
        states = Inherited(table, Field.STATE, view.family)
        scopes = [(Inherited(table, side, view.family), side) for side in _UNSCOPED]
        for chain in table.chains:
            for rule in chain.rules:
                if not accepts(rule) or asks(rule.guard, *_UNSCOPED):
                    continue
                left = states.of(chain.name) & bound(rule.guard, Field.STATE, view.family)
                named = any(one.of(chain.name) != domain(side, view.family).whole for one, side in scopes)
                if state in left and State.NEW not in left and not named:
                    yield rule
