"""Rules that ask for a state, and whether anything but untracked packets comes to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from notrack.lint.flows import Leg
from notrack.lint.verdicts import called
from notrack.lint.view import View
from notrack.netfilter.effects import Track
from notrack.netfilter.guards import fields_of, guard_set
from notrack.netfilter.visits import visits
from notrack.netfilter.ways import LOOPBACK_INTERFACE, Way
from notrack.packets.diagram import EMPTY, FULL
from notrack.packets.fields import NO_INTERFACE, Field, State
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Among, Chain, ChainType, Fact, Hook, Jump, Rule, Table

_WAYS = {
    Hook.INPUT: (Way.LOCAL_IN, Way.LOOPBACK),
    Hook.FORWARD: (Way.FORWARD,),
    Hook.OUTPUT: (Way.LOCAL_OUT, Way.LOOPBACK),
}
_OF_ENTRIES = {Field.CT_DIRECTION, Field.CT_SNAT, Field.CT_DNAT, Field.CT_MARK}
_TRACKED = IntervalSet(((State.NEW, State.INVALID),))


@dataclass(frozen=True, slots=True)
class Idle:
    """A rule that asks for states which no packet has that comes to it. `packets` come, all UNTRACKED."""

    rule: Rule
    packets: PacketSet
    legs: tuple[Leg, ...]


def idle(view: View) -> Iterator[Idle]:
    """The rules of filters that ask for a tracked state, and can only see packets that rules untracked."""
    if not view.untracks or not view.model.tracks:
        return
    for table in view.ruleset.tables:
        for base in table.chains if view.family in table.families else ():
            if base.base is None or base.base.kind is ChainType.NAT or base.base.hook not in _WAYS:
                continue
            yield from _of_hook(view, table, base, base.base.hook)


def _of_hook(view: View, table: Table, base: Chain, hook: Hook) -> Iterator[Idle]:
    reached = _reached(view, table, base)
    for chain in called(base, table.chains):
        for rule in chain.rules:
            if not _asks(rule) or reached.get(chain.name, EMPTY) == EMPTY:
                continue
            packets = _coming(view, hook, rule, reached[chain.name])
            if packets is not None:
                found = [leg for way in _WAYS[hook] for leg in view.admission.legs(way, packets)]
                legs = tuple(dict.fromkeys(found))
                if legs:
                    yield Idle(rule, packets, legs)


def _asks(rule: Rule) -> bool:
    """Whether a rule asks for states among which UNTRACKED is not, and for something else by which packets
    are told apart."""
    if any(isinstance(part, Fact) and part.tracking for part in rule.guard):
        return False
    if fields_of(rule.guard) & _OF_ENTRIES:
        return False  # a match on a connection that is not there: another fault
    for part in rule.guard:
        if isinstance(part, Among) and part.field is Field.STATE:
            states = _states(part)
            return bool(states) and states <= _TRACKED and bool(rule.actions)
    return False


def _states(part: Among) -> IntervalSet:
    whole = IntervalSet(((State.NEW, State.UNTRACKED),))
    return whole - part.values if part.negated else part.values


def _coming(view: View, hook: Hook, rule: Rule, reached: int) -> PacketSet | None:
    """The packets for which a rule is but for their state, if all of them are untracked by rules."""
    space, flows = view.model.space, view.flows
    guard = tuple(part for part in rule.guard if not (isinstance(part, Among) and part.field is Field.STATE))
    asked = PacketSet(space, space.meet(guard_set(space, guard), reached)).may()
    found = PacketSet.nothing(space)
    for way in _WAYS[hook]:
        here = _as_they_leave(asked, hook) if way is Way.LOOPBACK else _outside(asked, hook)
        coming = here & flows.ground(way)
        tracked = coming - flows.untracked(way).must()
        if tracked and (way is not Way.LOOPBACK or _arrives(view, rule, tracked)):
            return None
        found = found | (coming - tracked)
    return found or None


def _outside(asked: PacketSet, hook: Hook) -> PacketSet:
    """The packets as INPUT and OUTPUT see what comes from elsewhere, or goes there."""
    if hook is Hook.FORWARD:
        return asked
    side = Field.OUT if hook is Hook.INPUT else Field.IN
    return asked & PacketSet(asked.space, asked.space.among(side, NO_INTERFACE))


def _as_they_leave(asked: PacketSet, hook: Hook) -> PacketSet:
    """What a hook sees of packets over lo, as packets that leave by lo."""
    side = Field.IN if hook is Hook.INPUT else Field.OUT
    over = asked & PacketSet(asked.space, asked.space.among(side, LOOPBACK_INTERFACE))
    return over.exists((Field.IN, Field.OUT))


def _arrives(view: View, rule: Rule, packets: PacketSet) -> bool:
    """Whether some packet over lo that is tracked comes as far as the rule: mostly lo is let in before."""
    for visit in visits(view.model, Way.LOOPBACK, packets):
        if visit.rule is rule and visit.arriving(Track.PLAIN):
            return True
    return False


def _reached(view: View, table: Table, base: Chain) -> dict[str, int]:
    """For each chain the packets that jumps may bring there; what rules take away on the way is not seen."""
    space = view.model.space
    reached: dict[str, int] = {base.name: FULL}
    waiting = [base]
    for _ in range(10_000):
        if not waiting:
            break
        chain = waiting.pop()
        for rule in chain.rules:
            for action in rule.actions:
                target = table.chain(action.chain) if isinstance(action, Jump) else None
                if target is None:
                    continue
                coming = space.meet(guard_set(space, rule.guard), reached[chain.name])
                joined = space.join(reached.get(target.name, EMPTY), coming)
                if joined != reached.get(target.name, EMPTY):
                    reached[target.name] = joined
                    waiting.append(target)
    return reached
