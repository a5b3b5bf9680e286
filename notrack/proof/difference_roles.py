"""What a packet is to its flow, and what connection tracking says of it under each of two rulesets.

The same packet has another state where the tracking of its flow differs. So each role says, for each ruleset
by itself, which state tracking gives to a packet that plays it; the packet's fates under those two states are
compared. docs/diff.md says the same in a table. A packet that rules untrack is UNTRACKED in every role: its
fate does not depend on its state.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

from notrack.netfilter.tracking import first_packets
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.packets.diagram import EMPTY, FULL
from notrack.packets.fields import ICMP_PROTOCOL, Field, State
from notrack.packets.intervals import IntervalSet
from notrack.packets.space import Space
from notrack.proof.difference_sides import Side


class Role(enum.Enum):
    """What a packet is to its flow.

    - OPENING: no flow is known, and it may open one: NEW;
    - ANSWER: the other end's, to an opening packet that passes: ESTABLISHED; what is said of a stranger where
      the opening packet was not tracked;
    - LATER: of the end that opened, after an answer: ESTABLISHED; NEW or INVALID where one side alone of the
      flow is tracked;
    - RELATED: about a flow, or opened by one: RELATED;
    - ERROR: an ICMP error about a flow that was tracked and is no longer: RELATED before, INVALID after;
    - TRACKED_ERROR: one about a flow that was not tracked and is now;
    - STRAY: no flow is known and it opens none, or it does not fit its flow: INVALID, and NEW for what is
      picked up midway.
    """

    OPENING = "opening"
    ANSWER = "answer"
    LATER = "later"
    RELATED = "related"
    ERROR = "error"
    TRACKED_ERROR = "error about a flow now tracked"
    STRAY = "stray"


Status = tuple[bool, bool]
UNMOVED: Status = (False, False)
_SYN, _FIN, _RST, _ACK = 2, 1, 4, 16
_ANSWERS = {
    Family.IPV4: IntervalSet.of(((0, 0), (14, 14), (16, 16), (18, 18), (43, 43))),
    Family.IPV6: IntervalSet.of(((129, 129), (140, 140), (161, 161))),
}
_QUESTIONS = {
    Family.IPV4: IntervalSet.of(((8, 8), (13, 13), (15, 15), (17, 17), (42, 42))),
    Family.IPV6: IntervalSet.of(((128, 128), (139, 139), (160, 160))),
}
_ERRORS = {
    Family.IPV4: IntervalSet.of(((3, 3), (11, 12))),
    Family.IPV6: IntervalSet(((1, 4),)),
}


def _flags(*, syn: bool, answer: bool) -> IntervalSet:
    """The TCP flags of opening packets (`syn`), of answers, or of later packets."""
    found = []
    for flags in range(256):
        opens = flags & (_SYN | _ACK | _RST | _FIN) == _SYN
        goes_on = flags & (_ACK | _RST) != 0 and flags & (_SYN | _FIN) != _SYN | _FIN
        if opens if syn else goes_on and (answer or not flags & _SYN):
            found.append((flags, flags))
    return IntervalSet.of(found)


class Cast:
    """The packets of each role, in one space."""

    def __init__(self, space: Space, *, tcp_loose: bool) -> None:
        self.space = space
        first = first_packets(space, tcp_loose)
        opens = self._tcp_with(_flags(syn=True, answer=False))
        live = space.minus(first, self._state(State.INVALID))
        self.opening = space.meet(live, opens)
        self.astray = space.minus(first, self.opening)
        kinds = {role: values[space.family] for role, values in _KINDS.items()}
        self.answers = self._talk(_flags(syn=False, answer=True), kinds[Role.ANSWER])
        self.laters = self._talk(_flags(syn=False, answer=False), kinds[Role.LATER])
        self.errors = self._icmp(kinds[Role.ERROR])
        self.first = first

    def _state(self, *states: State) -> int:
        return self.space.among(Field.STATE, IntervalSet.of((state, state) for state in states))

    def _tcp_with(self, flags: IntervalSet) -> int:
        others = self.space.complement(self.space.among(Field.PROTOCOL, 6))
        return self.space.join(others, self.space.among(Field.FLAGS, flags))

    def _icmp(self, kinds: IntervalSet) -> int:
        icmp = IntervalSet.single(ICMP_PROTOCOL[self.space.family])
        return self.space.cube({Field.PROTOCOL: icmp, Field.ICMP_TYPE: kinds})

    def _talk(self, flags: IntervalSet, kinds: IntervalSet) -> int:
        plain = self.space.complement(self.space.among(Field.PROTOCOL, ICMP_PROTOCOL[self.space.family]))
        return self.space.meet(self._tcp_with(flags), self.space.join(plain, self._icmp(kinds)))

    def pairs(
        self, role: Role, view: Way, before: Side, after: Side, status: Status = UNMOVED
    ) -> Iterator[tuple[int, int]]:
        """Sets of packets with one entry each, for the ruleset before and the one after.

        `status`: whether source and destination of the flow of an answer or a later packet are translated.
        """
        space, never = self.space, before.never
        asked, told = self._entry(reply=False), self._entry(reply=True)
        if role is Role.OPENING:
            sets = [(self.opening, self.opening)]
        elif role is Role.STRAY:
            lost = space.minus(self._state(State.INVALID), never)
            sets = [(self.astray, self.astray), (lost, lost)]
        elif role is Role.RELATED:
            tied = space.minus(self._state(State.RELATED), never)
            sets = [(tied, tied)]
            yield space.meet(tied, told), space.meet(tied, told)
        elif role in (Role.ERROR, Role.TRACKED_ERROR):
            tied, lost = (
                space.meet(self._state(state), self.errors) for state in (State.RELATED, State.INVALID)
            )
            sets = [(tied, lost) if role is Role.ERROR else (lost, tied)]
        else:
            known = self._answer if role is Role.ANSWER else self._later
            asked = self._entry(reply=role is Role.ANSWER, status=status)
            sets = [(known(view, before, status), known(view, after, status))]
        for one, other in sets:
            yield space.meet(one, asked), space.meet(other, asked)

    def _entry(self, *, reply: bool, status: Status = UNMOVED) -> int:
        fields = {Field.CT_DIRECTION: reply, Field.CT_SNAT: status[0], Field.CT_DNAT: status[1]}
        return self.space.cube({field: IntervalSet.single(int(value)) for field, value in fields.items()})

    def established(self, status: Status) -> int:
        """Answers to tracked packets of translated flows."""
        parts = (self._state(State.ESTABLISHED), self._entry(reply=True, status=status), self.answers)
        return self.space.all_of(parts)

    def _answer(self, view: Way, side: Side, status: Status) -> int:
        space = self.space
        if status != UNMOVED:  # what was translated was tracked
            return space.meet(self.answers, self._state(State.ESTABLISHED))
        half = space.minus(side.answered_untracked(view, opening=True), side.untracked(view))
        whole = space.meet(self._state(State.ESTABLISHED), space.complement(half))
        return space.meet(self.answers, space.join(whole, space.meet(half, self.first)))

    def _later(self, view: Way, side: Side, status: Status) -> int:
        space, own = self.space, side.untracked(view)
        picked = space.minus(side.opened_untracked(view), own)
        if status[0]:  # answers that are not translated back come to nobody
            return space.meet(self.laters, self._state(State.ESTABLISHED))
        if status[1]:  # the opening packet was translated, so it was tracked; nobody knows it by these ends
            own = picked = EMPTY
        alone = space.minus(side.answered_untracked(view, opening=False), space.join(own, picked))
        tcp = space.among(Field.PROTOCOL, 6)
        stuck = space.first(
            [
                space.all_of((alone, tcp, self._state(State.INVALID))),
                space.meet(space.minus(alone, tcp), self._state(State.NEW)),
            ]
        )
        rest = space.minus(FULL, space.join(picked, alone))
        parts = [stuck, space.meet(picked, self.first), space.meet(rest, self._state(State.ESTABLISHED))]
        return space.meet(self.laters, space.first(parts))


_KINDS = {Role.ANSWER: _ANSWERS, Role.LATER: _QUESTIONS, Role.ERROR: _ERRORS}
