"""Connections of the host to itself by lo: which rules leave them half tracked, and where that hurts.

A packet over lo passes OUTPUT first and PREROUTING behind it, both directions of a connection alike. What
OUTPUT did not untrack has an entry by the time it comes to PREROUTING, and NOTRACK does nothing there.
"""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.bounds import bound
from notrack.lint.entrances import early_rules
from notrack.lint.flows import OF_ONE_PACKET, Flows, Leg
from notrack.lint.shapes import Asks, asking
from notrack.lint.verdicts import OPENING
from notrack.lint.view import View
from notrack.netfilter.translation import LOOPBACK as LOCALHOST
from notrack.netfilter.ways import Way
from notrack.packets.fields import TCP_FLAGS, Field, State, interface_value
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Chain, Hook, Jump, Nat, Notrack, Rule, Table
from notrack.text.record import dataclass

_LIMITED = 1 << 16  # addresses
_LO = IntervalSet.single(interface_value("lo"))


@dataclass(frozen=True, slots=True)
class Inside:
    """A NOTRACK rule about lo, and packets that show what is wrong.

    `needless`: it stands in PREROUTING and comes too late; `whole`: it names nothing but lo. `hurts`: the
    packets are stopped as INVALID that would go on if all were untracked.
    """

    rule: Rule
    packets: PacketSet
    needless: bool = False
    whole: bool = False
    hurts: bool = False


def half_inside(view: View) -> Iterator[Inside]:
    """The rules that leave the host's connections to itself half tracked, where lo is what they are about or
    where those connections break."""
    if not view.untracks or not view.may_track:
        return
    flows = view.flows
    about = [one for leg in flows.at(Hook.OUTPUT) if (one := _about_lo(flows, leg)) is not None]
    yield from about
    if not about:
        yield from _needless(flows)
        reported = {id(one.leg) for one in view.halves}
        legs = [leg for leg in flows.at(Hook.OUTPUT) if id(leg) not in reported]
        yield from _hurt(flows, legs)


def _about_lo(flows: Flows, leg: Leg) -> Inside | None:
    """A rule of OUTPUT that takes nothing but what goes by lo, and the answers to it are tracked."""
    over = leg.on(Way.LOOPBACK)
    if not over or leg.on(Way.LOCAL_OUT):
        return None
    rest = flows.unpaired(over, Way.LOOPBACK)
    if all(side.size() > _LIMITED for side in (leg.shape.source, leg.shape.destination)):
        rest = rest & _own(flows)  # what else may be the host's is not known
    rest = rest & _begun(flows, rest) if rest else rest
    return Inside(leg.rule, rest) if rest else None


def _begun(flows: Flows, packets: PacketSet) -> PacketSet:
    """The packets of connections over lo that rules let begin, and do not translate to elsewhere."""
    verdicts, way, asks = flows.verdicts, Way.LOOPBACK, asking(packets)
    plain, begun = packets.exists(OF_ONE_PACKET).may(), PacketSet.nothing(flows.space)
    if asks is not Asks.ANSWER:
        begun = begun | verdicts.accepted(way, plain, *OPENING)
    if asks is not Asks.QUESTION:
        other = plain.mirror().exists((Field.IN, Field.OUT)) & flows.ground(way).exists(OF_ONE_PACKET)
        asked = verdicts.untranslated(way, other, State.NEW)
        begun = begun | asked.mirror().exists((Field.IN, Field.OUT))
    return begun.exists(OF_ONE_PACKET)


def _needless(flows: Flows) -> Iterator[Inside]:
    """The rules of PREROUTING for lo alone, of whose packets no rule of OUTPUT for lo untracks any."""
    view, space = flows.view, flows.space
    legs = [leg for leg in flows.at(Hook.OUTPUT) if leg.shape.out == _LO or not leg.on(Way.LOCAL_OUT)]
    taken = PacketSet(space, space.first([leg.on(Way.LOOPBACK).may().diagram for leg in legs]))
    for table in view.ruleset.tables:
        if view.family not in table.families:
            continue
        for chain, rule, bases in early_rules(table):
            late = all(base.hook is Hook.PREROUTING for base in bases)
            if not late or not any(isinstance(action, Notrack) for action in rule.actions):
                continue
            if not _for_lo(view, table, chain, rule):
                continue
            written = view.written(table, (chain.name,), rule).exists((Field.IN, Field.OUT))
            packets = flows.ground(Way.LOOPBACK) & written & PacketSet(space, space.among(Field.OUT, _LO))
            if packets and not (packets & taken):
                yield Inside(rule, packets, needless=True, whole=written.is_full)


def _for_lo(view: View, table: Table, chain: Chain, rule: Rule) -> bool:
    if bound(rule.guard, Field.IN, view.family) == _LO:
        return True
    jumps = [
        one
        for other in table.chains
        for one in other.rules
        if any(isinstance(action, Jump) and action.chain == chain.name for action in one.actions)
    ]
    return bool(jumps) and all(bound(one.guard, Field.IN, view.family) == _LO for one in jumps)


def _hurt(flows: Flows, legs: list[Leg]) -> Iterator[Inside]:
    """The first rule that makes TCP connections over lo break: later packets of theirs are INVALID.

    An INVALID packet has no entry, so PREROUTING may untrack it before INPUT sees it: all rules count.
    """
    way, verdicts = Way.LOOPBACK, flows.verdicts
    rest = flows.suspect(way) & _between_own(flows)
    asked = _turned(rest.exists(OF_ONE_PACKET).may()) & flows.ground(way)
    if not asked or not any(verdicts.filters(hook) for hook in (Hook.INPUT, Hook.OUTPUT)):
        return
    asked = asked - verdicts.accepted(way, asked, State.INVALID, whole=True)
    for state in (State.NEW, State.ESTABLISHED, State.UNTRACKED):
        asked = asked & verdicts.accepted(way, asked, state)
    answers = _turned(asked.exists(OF_ONE_PACKET)) & flows.ground(way)
    answers = verdicts.accepted(way, answers, State.UNTRACKED)
    for leg in legs:
        hit = answers & leg.on(way).may() if answers else answers
        if hit and asking(leg.written) is not Asks.EITHER:
            yield Inside(leg.rule, asked & _turned(hit.exists(OF_ONE_PACKET)), hurts=True)
            return


def _own(flows: Flows) -> PacketSet:
    """The packets between addresses that are the host's for certain."""
    family, space = flows.view.family, flows.space
    own = IntervalSet.single(LOCALHOST[family]) | (flows.view.host.addresses(family) or IntervalSet())
    return PacketSet(space, space.cube({Field.SOURCE: own, Field.DESTINATION: own}))


def _between_own(flows: Flows) -> PacketSet:
    """TCP packets (ACKs) between such addresses."""
    space = flows.space
    cube = {
        Field.PROTOCOL: IntervalSet.single(6),
        Field.FLAGS: IntervalSet.single(TCP_FLAGS["ack"]),
        Field.OUT: _LO,
    }
    return PacketSet(space, space.cube(cube)) & _own(flows)


def _turned(packets: PacketSet) -> PacketSet:
    """The packets of the other direction, which leave by lo as well."""
    space = packets.space
    turned = packets.mirror().exists((Field.IN, Field.OUT))
    ack = {
        Field.OUT: _LO,
        Field.IN: IntervalSet.single(0),
        Field.FLAGS: IntervalSet.single(TCP_FLAGS["ack"]),
        Field.PROTOCOL: IntervalSet.single(6),
    }
    return turned & PacketSet(space, space.cube(ack))


def translates_output(view: View) -> bool:
    """Whether anything translates what the host itself sends."""
    return any(
        isinstance(action, Nat)
        for table in view.ruleset.tables
        if view.family in table.families
        for chain in table.chains
        if chain.base is not None and chain.base.hook is Hook.OUTPUT
        for name in (chain, *(one for one in table.chains if one.base is None))
        for rule in name.rules
        for action in rule.actions
    )
