"""One of two rulesets that are compared: the fate of every packet, by what tracking would say of its flow.

A *view* is a way on which packets are looked at. Translation may send a packet another way than its
addresses say; two rulesets may do that differently, and then the packet is looked at once, with its fate on
the way that it takes in each.
"""

from __future__ import annotations

from functools import cached_property

from notrack.netfilter.chains import End
from notrack.netfilter.effects import NONE, Effects
from notrack.netfilter.host import Host
from notrack.netfilter.model import Model
from notrack.netfilter.tracking import never_tracked
from notrack.netfilter.ways import LOOPBACK_INTERFACE, Way
from notrack.packets import questions
from notrack.packets.budget import TooHard
from notrack.packets.diagram import EMPTY, FULL
from notrack.packets.fields import NO_INTERFACE, Field
from notrack.packets.space import Space
from notrack.proof.difference_labels import Fate, fate_of
from notrack.ruleset.core import Hook, Ruleset
from notrack.text.record import dataclass

BACK = {
    Way.LOCAL_IN: Way.LOCAL_OUT,
    Way.LOCAL_OUT: Way.LOCAL_IN,
    Way.FORWARD: Way.FORWARD,
    Way.LOOPBACK: Way.LOOPBACK,
}
_OTHER = {Way.FORWARD: Way.LOCAL_IN, Way.LOCAL_OUT: Way.LOOPBACK, Way.LOOPBACK: Way.LOCAL_OUT}
OF_ENTRY = (Field.STATE, Field.CT_DIRECTION, Field.CT_SNAT, Field.CT_DNAT)
"""What is not the packet's own, but what connection tracking says of it."""
_SYN = 2
_SYN_ACK = 18


@dataclass(frozen=True, slots=True)
class Labels:
    """Fates as leaves of one space."""

    space: Space
    known: dict[int, Fate]

    def leaf(self, fate: Fate) -> int:
        made = self.space.outcome(fate)
        self.known[made] = fate
        return made


class Side:
    """A ruleset in the space that both share."""

    def __init__(self, ruleset: Ruleset, host: Host, space: Space, labels: Labels) -> None:
        self.model = Model(ruleset, space.family, host, space=space)
        self._answers = Model(ruleset, space.family, host, space=space, answers=True)
        self.space = space
        self.labels = labels
        self._fates: dict[Way, int] = {}
        self._hard: dict[Way, str] = {}

    @property
    def tracks(self) -> bool:
        return self.model.tracks

    def fates(self, view: Way) -> int:
        """The function from packets, with the state of their flow, to their fates.

        Raises `TooHard`, of a way for which it did once at once.
        """
        if view in self._hard:
            raise TooHard(self._hard[view])
        if view not in self._fates:
            try:
                self._fates[view] = self._joined(view)
            except TooHard as reason:
                self._hard[view] = str(reason)
                raise
        return self._fates[view]

    def _joined(self, view: Way) -> int:
        own = self.labelled(view)
        other = _OTHER.get(view)
        if other is None or (view is Way.FORWARD and self.model.host.forwards(self.space.family) is False):
            return own
        leaving = questions.outcomes(self.space, own, lambda leaf: int(self.labels.known[leaf].elsewhere))
        if leaving == EMPTY:
            return own
        taken = self.labelled(other)
        if view is Way.FORWARD:
            taken = questions.assign(self.space, taken, {self.space.levels[Field.OUT][0]: NO_INTERFACE})
            taken = questions.outcomes(self.space, taken, self._expired)
        return self.space.join(self.space.meet(leaving, taken), self.space.minus(own, leaving))

    def _expired(self, leaf: int) -> int:
        """What is neither forwarded nor delivered has come to the end of its hops."""
        known = self.labels.known[leaf]
        return self.labels.leaf(Fate("drop", Hook.FORWARD, elsewhere=True)) if known.elsewhere else leaf

    def labelled(self, way: Way, wire: Effects = NONE, *, begun: bool = False) -> int:
        """The fates on one way, ELSEWHERE among them; `wire` and `begun` as `Model.fate` has them."""
        blocked = self.model.host.forwards(self.space.family) is False

        def label(leaf: int) -> int:
            outcome = self.model.algebra.outcome(leaf)
            if outcome.end is End.ELSEWHERE and way is Way.LOCAL_IN and blocked:
                return self.labels.leaf(Fate("drop", Hook.FORWARD, elsewhere=True))
            return self.labels.leaf(fate_of(outcome, tracks=self.tracks))

        return questions.relabelled(self.space, self.model.fate(way, wire, begun=begun).diagram, label)

    def headers(self, view: Way) -> int:
        """The packets that may take the way, whatever tracking says of them."""
        return self.space.exists(self.model.domain(view), OF_ENTRY)

    def untracked(self, view: Way) -> int:
        """The packets that its rules take out of tracking."""
        return self.space.exists(self.model.untracked(view), OF_ENTRY)

    def opened_untracked(self, view: Way) -> int:
        """The packets whose flow's opening packet, sent the same way, its rules take out of tracking."""
        return self._with_flags(self.untracked(view), _SYN)

    def answered_untracked(self, view: Way, *, opening: bool) -> int:
        """The packets whose counterpart, which goes the other way, its rules take out of tracking.

        `opening`: the counterpart opened the flow; otherwise it is the answer.
        """
        found = self.space.exists(self._answers.untracked(BACK[view]), OF_ENTRY)
        if view is Way.LOOPBACK:  # its counterpart leaves by lo as well
            levels = self.space.levels
            ends = {levels[Field.IN][0]: LOOPBACK_INTERFACE, levels[Field.OUT][0]: NO_INTERFACE}
            found = questions.assign(self.space, found, ends)
        return self._with_flags(found, _SYN if opening else _SYN_ACK)

    def _with_flags(self, diagram: int, flags: int) -> int:
        return questions.assign(self.space, diagram, {self.space.levels[Field.FLAGS][0]: flags})

    @cached_property
    def never(self) -> int:
        return never_tracked(self.space)


def in_view(space: Space, view: Way) -> int:
    """The packets that are looked at on a way: what OUTPUT translates is looked at where it seemed to go."""
    by_lo = space.among(Field.OUT, LOOPBACK_INTERFACE)
    return {Way.LOOPBACK: by_lo, Way.LOCAL_OUT: space.complement(by_lo)}.get(view, FULL)
