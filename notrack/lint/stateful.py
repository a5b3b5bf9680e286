"""Rules that ask for a state, and whether anything but untracked packets comes to them."""

from __future__ import annotations

from collections.abc import Iterator

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
from notrack.text.record import dataclass

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
    found: list[tuple[Rule, PacketSet, PacketSet]] = []
    for chain in called(base, table.chains):
        for rule in chain.rules:
            if _asks(rule) and reached.get(chain.name, EMPTY) != EMPTY:
                coming = _coming(view, hook, rule, reached[chain.name])
                found += [] if coming is None else [(rule, *coming)]
    reaching = _reaching(view, [(rule, over) for rule, _, over in found if over])
    for rule, packets, _ in found:
        if id(rule) not in reaching:
            legs = [leg for way in _WAYS[hook] for leg in view.admission.legs(way, packets)]
            if legs:
                yield Idle(rule, packets, tuple(dict.fromkeys(legs)))


def _reaching(view: View, tracked: list[tuple[Rule, PacketSet]]) -> set[int]:
    """The rules to which tracked packets over lo come: mostly lo is let in before."""
    if not tracked:
        return set()
    over = {id(rule): packets for rule, packets in tracked}
    every = PacketSet(view.model.space, view.model.space.first([one.diagram for _, one in tracked]))
    found: set[int] = set()
    for visit in visits(view.model, Way.LOOPBACK, every):
        mine = over.get(id(visit.rule))
        if mine is not None and visit.arriving(Track.PLAIN) & mine:
            found.add(id(visit.rule))
    return found


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


def _coming(view: View, hook: Hook, rule: Rule, reached: int) -> tuple[PacketSet, PacketSet] | None:
    """The packets for which a rule is but for their state, if rules untrack all of them but for some over lo,
    and these."""
    space, flows = view.model.space, view.flows
    guard = tuple(part for part in rule.guard if not (isinstance(part, Among) and part.field is Field.STATE))
    asked = PacketSet(space, space.meet(guard_set(space, guard), reached)).may()
    found = over = PacketSet.nothing(space)
    for way in _WAYS[hook]:
        here = _as_they_leave(asked, hook) if way is Way.LOOPBACK else _outside(asked, hook)
        coming = here & flows.ground(way)
        tracked = coming - flows.untracked(way).must()
        if tracked and way is not Way.LOOPBACK:
            return None
        over = over | tracked
        found = found | (coming - tracked)
    return (found, over) if found else None


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
