"""Untracked flows that rules do not let through: which packets are lost, and at which rule.

Only flows that are untracked both ways are looked at; half-tracked ones are another fault. A packet is
*lost* if rules would let it through were it tracked (as NEW, or ESTABLISHED behind that), and stop it as
UNTRACKED: a drop in every state is what somebody wanted. It is *never* let through if it is stopped in every
state, and by nothing that names it: a policy, or a rule for all the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from notrack.lint.bounds import asks as asks_for
from notrack.lint.flows import BACK, OF_ONE_PACKET, Flows, Leg
from notrack.lint.shapes import QUESTIONS, Asks, asking
from notrack.netfilter.guards import guard_set
from notrack.netfilter.ways import Way
from notrack.packets.fields import ICMP_PROTOCOL, PORT_PROTOCOLS, TCP_FLAGS, Field, State
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Hook, Rule, Verdict
from notrack.text.record import dataclass

if TYPE_CHECKING:
    from notrack.lint.view import View
    from notrack.netfilter.walk import Step

JUDGING = {Way.LOCAL_IN: Hook.INPUT, Way.LOCAL_OUT: Hook.OUTPUT, Way.FORWARD: Hook.FORWARD}
EPHEMERAL = IntervalSet(((32768, 60999),))
TCP = IntervalSet.single(6)
_NAMED = (Field.SOURCE, Field.DESTINATION, Field.SOURCE_PORT, Field.DESTINATION_PORT, Field.ICMP_TYPE)
_FEW = 64
_TIMES = 300


@dataclass(frozen=True, slots=True)
class Lost:
    """Packets of untracked flows that a way does not let through.

    - `rule`: the one that would let them through if they were tracked, or the one that stops them; None
      where there is no such rule (a policy stops them, no rule is for them);
    - `legs`: the NOTRACK rules that untrack them, `leg` the first;
    - `never`: nothing lets them through in any state; `later`: all but the first packets of connections.
    """

    view: View
    way: Way
    packets: PacketSet
    legs: tuple[Leg, ...]
    rule: Rule | None = None
    never: bool = False
    later: bool = False

    @property
    def leg(self) -> Leg:
        return self.legs[0]


class Admission:
    """What becomes of the flows of a view that are untracked both ways."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.flows: Flows = view.flows
        self.space = view.model.space
        self.verdicts = self.flows.verdicts
        self._first: dict[Way, PacketSet] = {}
        self._let: dict[Way, PacketSet] = {}

    # Sets of packets.

    def both(self, way: Way) -> PacketSet:
        flows = self.flows
        return flows.untracked(way) & flows.answered(way) & flows.returning(way)

    def first(self, way: Way) -> PacketSet:
        """The first packets of flows that are untracked both ways: from a port that nobody serves from."""
        if way not in self._first:
            self._first[way] = self.both(way) & self.opening
        return self._first[way]

    @cached_property
    def opening(self) -> PacketSet:
        space, icmp = self.space, IntervalSet.single(ICMP_PROTOCOL[self.view.family])
        high = {Field.SOURCE_PORT: self.ephemeral}
        syn = {Field.PROTOCOL: TCP, Field.FLAGS: IntervalSet.single(TCP_FLAGS["syn"])}
        parts = (
            high | syn,
            high | {Field.PROTOCOL: PORT_PROTOCOLS - TCP},
            {Field.PROTOCOL: icmp, Field.ICMP_TYPE: QUESTIONS[self.view.family]},
            {Field.PROTOCOL: IntervalSet(((0, 255),)) - PORT_PROTOCOLS - icmp},
        )
        return PacketSet(space, space.first([space.cube(part) for part in parts]))

    @property
    def ephemeral(self) -> IntervalSet:
        return self.view.host.ephemeral or EPHEMERAL

    @cached_property
    def answering(self) -> PacketSet:
        """Packets that may answer: of TCP those with ACK."""
        ack = {Field.PROTOCOL: TCP, Field.FLAGS: IntervalSet.single(TCP_FLAGS["ack"])}
        others = self.space.complement(self.space.among(Field.PROTOCOL, TCP))
        return PacketSet(self.space, self.space.join(self.space.cube(ack), others))

    def let(self, way: Way) -> PacketSet:
        """The first packets that are let through, untracked as they are."""
        if way not in self._let:
            self._let[way] = self.verdicts.accepted(way, self.first(way), State.UNTRACKED)
        return self._let[way]

    def answers(self, way: Way) -> PacketSet:
        """The answers to those that are let through, on their own way."""
        asked = (self.let(way) & self.first(way)).exists(OF_ONE_PACKET).may()
        return asked.mirror() & self.flows.ground(BACK[way]) & self.answering

    # Requests.

    def requests(self) -> Iterator[Lost]:
        """What is lost of those who ask."""
        for way, hook in JUDGING.items():
            if not self.verdicts.filters(hook) or not self.first(way):
                continue
            first, let = self.first(way), self.let(way)
            tracked = self.verdicts.accepted(way, first, State.NEW)
            yield from self._by_rule(way, first & (tracked - let), State.NEW)
            yield from self._later(way)
            yield from self._never(way, first, let | tracked, Asks.QUESTION)

    def _later(self, way: Way) -> Iterator[Lost]:
        """What follows the first packets of TCP connections."""
        begun = (self.let(way) & self.first(way)).exists(OF_ONE_PACKET).may()
        ack = {Field.PROTOCOL: TCP, Field.FLAGS: IntervalSet.single(TCP_FLAGS["ack"])}
        rest = self.both(way) & begun & PacketSet(self.space, self.space.cube(ack))
        lost = self._lost(way, rest)
        for found in self._by_rule(way, self._first_of(way, lost), State.UNTRACKED):
            yield Lost(self.view, way, lost, found.legs, found.rule, later=True)

    def _first_of(self, way: Way, packets: PacketSet) -> PacketSet:
        return self.first(way) & packets.exists(OF_ONE_PACKET) if packets else packets

    def _lost(self, way: Way, packets: PacketSet) -> PacketSet:
        """The packets that are let through as ESTABLISHED, and not as UNTRACKED."""
        if not packets:
            return packets
        tracked = self.verdicts.accepted(way, packets, State.ESTABLISHED)
        let = self.verdicts.accepted(way, packets & tracked, State.UNTRACKED)
        loose = self.flows.unsettled(packets, way)
        return packets & (tracked - (let.exists(loose) if loose else let))

    def _by_rule(self, way: Way, lost: PacketSet, state: State) -> Iterator[Lost]:
        """Lost packets by the rule that would let them through in a state."""
        for _ in range(_TIMES):
            if not lost:
                return
            rule = self.judge(way, lost, state)
            here = lost
            if rule is not None:
                guard = PacketSet(self.space, guard_set(self.space, rule.guard))
                here = lost & guard.exists((Field.STATE, Field.FLAGS)).may() or lost
            legs = self.legs(way, here)
            if legs:
                yield Lost(self.view, way, here, legs, rule)
            lost = lost - here

    def _never(self, way: Way, packets: PacketSet, through: PacketSet, asks: Asks) -> Iterator[Lost]:
        """Packets of ports that NOTRACK rules name, and that nothing lets through."""
        side = Field.DESTINATION_PORT if asks is Asks.QUESTION else Field.SOURCE_PORT
        rest = packets - through
        if not rest:
            return
        for leg in self.flows.at(Hook.OUTPUT if way is Way.LOCAL_OUT else Hook.PREROUTING):
            if asking(leg.written) is not asks or (way is Way.FORWARD and not self._is_for_others(leg)):
                continue
            written = leg.shape
            named = written.destination_port if asks is Asks.QUESTION else written.source_port
            if named.size() > _FEW or not written.protocols <= PORT_PROTOCOLS:
                continue
            served = (packets & leg.on(way)) & through
            closed = (rest & leg.on(way)).project(side) - (served.project(side) if served else IntervalSet())
            here = rest & leg.on(way) & PacketSet(self.space, self.space.among(side, closed & named))
            if here and self._by_default(way, here):
                yield Lost(self.view, way, here, (leg,), never=True)

    def _is_for_others(self, leg: Leg) -> bool:
        """Whether a rule of PREROUTING is for what passes: answers of the host would be tracked."""
        return bool(leg.on(Way.FORWARD)) and not leg.on(Way.LOCAL_IN) & self.both(Way.LOCAL_IN)

    def _by_default(self, way: Way, packets: PacketSet) -> bool:
        """Whether an untracked packet is stopped by a policy, or by a rule that names no ends."""
        steps = self._steps(way, packets, State.UNTRACKED)
        if not steps:
            return False
        last = steps[-1]
        return last.rule is None or not asks_for(last.rule.guard, *_NAMED)

    # Answers.

    def replies(self) -> Iterator[Lost]:
        """What is lost of the answers to requests that are let in (or through)."""
        for way in (Way.LOCAL_IN, Way.FORWARD):
            back = BACK[way]
            if not self.verdicts.filters(JUDGING[back]) or not self.let(way):
                continue
            answers = self.flows.known(self.answers(way), back)
            lost = self._lost(back, answers)
            if way is Way.FORWARD and lost:
                let = self.verdicts.accepted(back, answers, State.UNTRACKED)
                lost = lost - let.exists((Field.IN, Field.OUT))
            yield from self._by_leg(back, lost)
            if way is Way.LOCAL_IN:
                through = self.verdicts.accepted(back, answers, State.UNTRACKED, State.ESTABLISHED)
                yield from self._never(back, answers, through, Asks.ANSWER)

    def client_replies(self) -> Iterator[Lost]:
        """What is lost of the answers to the host's own questions."""
        way, back = Way.LOCAL_OUT, Way.LOCAL_IN
        if not self.verdicts.filters(Hook.INPUT) or not self.let(way):
            return
        answers = self.flows.known(self.answers(way), back)
        let = self.verdicts.accepted(back, answers, State.UNTRACKED)
        others = [field for field in Field if field not in (Field.PROTOCOL, Field.SOURCE_PORT)]
        lost = self._lost(back, answers) - let.exists(others)  # some servers of the port are meant
        for found in self._by_leg(back, lost):
            if self._is_for_own_questions(found.leg, answers):
                yield found
        through = self.verdicts.accepted(back, answers, State.UNTRACKED, State.ESTABLISHED)
        yield from self._never(back, answers, through, Asks.ANSWER)

    def _is_for_own_questions(self, leg: Leg, answers: PacketSet) -> bool:
        """Whether a rule is for answers to the host, or for all of a protocol or of some hosts from which it
        lets nothing else in: then the operator did not think of answers."""
        asks = asking(leg.written)
        if asks is not Asks.EITHER:
            return asks is Asks.ANSWER
        taken = leg.on(Way.LOCAL_IN)
        if leg.shape.protocols.isdisjoint(PORT_PROTOCOLS) and self.verdicts.accepted(
            Way.LOCAL_IN, taken & self.opening, State.NEW
        ):
            return False  # both directions look alike: what lets requests in lets answers in
        if self.verdicts.accepted(Way.LOCAL_IN, answers & taken, State.UNTRACKED):
            return False
        if leg.shape.source == self.view.family.whole:
            return True
        opening = taken & self.opening
        return not self.verdicts.accepted(Way.LOCAL_IN, opening, State.NEW, State.UNTRACKED)

    def _by_leg(self, way: Way, lost: PacketSet) -> Iterator[Lost]:
        for leg in self.legs(way, lost) if lost else ():
            yield Lost(self.view, way, lost & leg.on(way).exists(OF_ONE_PACKET), (leg,))

    # Rules.

    def legs(self, way: Way, packets: PacketSet) -> tuple[Leg, ...]:
        """The NOTRACK rules that untrack packets of a set."""
        hook = Hook.OUTPUT if way is Way.LOCAL_OUT else Hook.PREROUTING
        plain = packets.exists(OF_ONE_PACKET)
        here, there = (packets.project(side) for side in (Field.SOURCE_PORT, Field.DESTINATION_PORT))

        def may_take(leg: Leg) -> bool:
            return bool(leg.shape.source_port & here and leg.shape.destination_port & there)

        return tuple(leg for leg in self.flows.at(hook) if may_take(leg) and leg.on(way) & plain)

    def judge(self, way: Way, packets: PacketSet, state: State) -> Rule | None:
        """The rule that is to blame: the one that lets packets through in a state, or the one that stops them
        as UNTRACKED, first of all one that asks for the state; None: policies do both."""
        found: list[Rule] = []
        for asked, wanted in ((state, True), (State.UNTRACKED, False)):
            for step in reversed(self._steps(way, packets, asked)):
                verdict = step.rule.actions[-1] if step.rule is not None and step.rule.actions else None
                lets = verdict is Verdict.ACCEPT
                if (
                    step.rule
                    and step.hook is JUDGING[way]
                    and isinstance(verdict, Verdict)
                    and lets is wanted
                ):
                    found.append(step.rule)
                    break
        by_state = [rule for rule in found if asks_for(rule.guard, Field.STATE)]
        return next(iter((*by_state, *found)), None)

    def _steps(self, way: Way, packets: PacketSet, state: State) -> tuple[Step, ...]:
        """The way of one of the packets, as if it had the state."""
        from notrack.netfilter.walk import Undetermined, walk

        shown = self.verdicts.through(way, packets, state) if state is not State.UNTRACKED else packets
        witness = (shown or packets).witness()
        if witness is None:
            return ()
        model = self.verdicts.model
        packet = replace(witness.packet, state=state)
        try:
            return walk(model.ruleset, packet, model.host, way=way, facts=dict(witness.facts)).steps
        except Undetermined:
            return ()
