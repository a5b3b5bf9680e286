"""Services that answer forged questions with far larger answers, untracked and open to anyone."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.bounds import bound
from notrack.lint.exposure import (
    TCP,
    UDP,
    accepts,
    assumed,
    at_ports,
    from_anyone,
    opening,
    ordinary,
    ports,
    strangers,
    to_anyone,
)
from notrack.lint.relevance import relevant
from notrack.lint.view import Untracking, View
from notrack.netfilter.effects import Track
from notrack.netfilter.visits import Visit, survivors, visits
from notrack.netfilter.ways import Way
from notrack.packets.fields import Field
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Hook, Rule
from notrack.text.record import dataclass

NAMES = {
    7: "echo", 17: "qotd", 19: "chargen", 69: "tftp", 111: "portmap", 123: "ntp", 137: "netbios", 161: "snmp",
    389: "cldap", 520: "rip", 623: "ipmi", 1434: "mssql", 1900: "ssdp", 3283: "ard", 3702: "ws-discovery",
    5353: "mdns", 5683: "coap", 11211: "memcached",
}  # fmt: skip
"""Ports of UDP services that are used to flood others. DNS is none of them here: a name server that serves a
zone is meant for everybody, and rules do not tell whether it recurses."""
_PORTS = {
    UDP: IntervalSet.of((port, port) for port in NAMES),
    TCP: IntervalSet.single(11211),  # memcached asks nobody who he is, whatever the protocol
}
_NAMED = 256  # so many ports may be named for the sake of single services
_MANY = 32768
_WAYS = {Way.LOCAL_IN: Hook.INPUT, Way.FORWARD: Hook.FORWARD}


@dataclass(frozen=True, slots=True)
class Amplifier:
    """A rule that names ports of such services, and packets of anyone that it accepts or untracks.

    `other`: where it accepts, the rule that untracks them; where it untracks, one that accepts them, if any.
    """

    rule: Rule
    other: Rule | None
    ports: IntervalSet
    packets: PacketSet
    notes: tuple[str, ...]


def amplifiers(view: View) -> Iterator[Amplifier]:
    for way, hook in _WAYS.items():
        taken = [one for one in view.untrackings if one.way is way]
        if not taken or not _filters(view, hook):
            continue
        asked = _questions(view, [one.visit.rule for one in taken]) & strangers(view)
        parts = {id(one): ordinary(one.packets & asked) for one in taken}
        every = _union(view, list(parts.values()))
        let = _let_in(view, way, every)
        open_ = ordinary(let)
        accepting = _accepting(view, way, hook, open_)
        for one in taken:
            yield from _opened(view, way, one, parts[id(one)] & open_, accepting, assumed(let))


def _opened(
    view: View,
    way: Way,
    one: Untracking,
    packets: PacketSet,
    accepting: list[Visit],
    notes: tuple[str, ...],
) -> Iterator[Amplifier]:
    """What one rule untracks and anyone reaches, at the rule that names it."""
    here = one.visit.rule
    left = _open_ports(way, packets)
    for visit in accepting:
        through = packets & visit.matching()
        if not left or not through:
            continue
        named = bound(visit.rule.guard, Field.DESTINATION_PORT, view.family)
        reached = _open_ports(way, through) & left if named.size() <= _NAMED else IntervalSet()
        if reached:
            left = left - reached
            yield Amplifier(visit.rule, here, reached, through, notes)
    named = bound(here.guard, Field.DESTINATION_PORT, view.family)
    if left and named.size() <= _NAMED:
        yield Amplifier(here, _widest(accepting, packets), left, packets, notes)


def _widest(accepting: list[Visit], packets: PacketSet) -> Rule | None:
    """The accepting rule through which packets come in by the most interfaces."""
    through = [(packets & visit.matching(), visit.rule) for visit in accepting]
    sizes = [(one.project(Field.IN).size(), rule) for one, rule in through if one]
    return max(sizes, key=lambda item: item[0], default=(0, None))[1]


def _open_ports(way: Way, packets: PacketSet) -> IntervalSet:
    """The ports of such services that anyone reaches, from any port."""
    found = IntervalSet()
    for protocol, every in _PORTS.items():
        for port, _ in ports(packets, Field.DESTINATION_PORT, protocol) & every:
            one = at_ports(packets, protocol, IntervalSet.single(port))
            wide = ports(one, Field.SOURCE_PORT, protocol).size() > _MANY
            if wide and from_anyone(one) and (way is Way.LOCAL_IN or not to_anyone(one)):
                found = found | IntervalSet.single(port)
    return found


def _questions(view: View, closer: list[Rule]) -> PacketSet:
    asked = opening(view, closer)
    return at_ports(asked, UDP, _PORTS[UDP]) | at_ports(asked, TCP, _PORTS[TCP])


def _let_in(view: View, way: Way, packets: PacketSet) -> PacketSet:
    """The untracked packets of a set that come to the end of their way."""
    alive = survivors(relevant(view, view.ruleset, packets), way, packets).items() if packets else ()
    return _union(view, [one for effects, one in alive if effects.track is Track.UNTRACKED])


def _union(view: View, parts: list[PacketSet]) -> PacketSet:
    space = view.model.space
    return PacketSet(space, space.first([part.diagram for part in parts]))


def _accepting(view: View, way: Way, hook: Hook, packets: PacketSet) -> list[Visit]:
    """The rules that accept some of the packets."""
    if not packets:
        return []
    every = visits(relevant(view, view.ruleset, packets), way, packets)
    return [visit for visit in every if visit.hook is hook and accepts(visit.rule)]


def _filters(view: View, hook: Hook) -> bool:
    """Whether the rules that are known say anything about what comes in."""
    return any(
        chain.base is not None and chain.base.hook is hook
        for table in view.ruleset.tables
        if view.family in table.families
        for chain in table.chains
    )
