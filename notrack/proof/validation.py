"""Translation validation: whether emitted rules, read back, do what the plan's legs ask for.

Place by place the chains of the text are laid beside the plan's. Where both are the same function of the
packet at every place, the kernel treats every packet alike on every way. Where they differ at a place, the
whole ways decide: the difference may be about packets that never come there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from typing import TYPE_CHECKING

from notrack.netfilter import tracking
from notrack.netfilter.chains import Algebra
from notrack.netfilter.host import UNKNOWN_HOST, Host, group_addresses
from notrack.netfilter.ways import Stage, Way, kinds
from notrack.netfilter.ways import takers as takers_of
from notrack.packets import questions
from notrack.packets.address import Family
from notrack.packets.budget import Budget, TooHard
from notrack.packets.diagram import EMPTY
from notrack.packets.fields import AddressType, Field, State
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.packets.space import Space
from notrack.plan.planner import FamilyPlan, Plan
from notrack.proof.asked import Dialect, asked
from notrack.proof.blocks import same
from notrack.proof.boxes import Known, Sets
from notrack.proof.fault import Fault, breach_fault, difference_fault, tracking_fault, unread_fault
from notrack.proof.functions import RAW_IN, RAW_OUT, Functions, Place, places
from notrack.proof.joining import joined
from notrack.proof.normal import beside_others, facts_of, named, notes
from notrack.proof.safety import Safety
from notrack.ruleset.core import Ruleset
from notrack.site.model import Peer, Publish, Redirect, Service, Site
from notrack.text.diagnostic import Diagnostic
from notrack.text.record import dataclass

if TYPE_CHECKING:
    from notrack.netfilter.model import Model

BUDGET = Budget(seconds=900.0)  # of the clock: on a busy machine a second of work may take a minute
_WITH_ENTRY = IntervalSet(((State.NEW, State.RELATED),))


@dataclass(frozen=True, slots=True)
class Emitted:
    """A target's text as the reader has read it. `families`: those that the target is for."""

    target: str
    dialect: Dialect
    families: tuple[Family, ...]
    ruleset: Ruleset
    diagnostics: tuple[Diagnostic, ...] = ()  # what the reader did not like


@dataclass(frozen=True, slots=True)
class Shown:
    """What was proven of one target in one family, and what it rests on.

    `facts`: what no packet decides (rates, caps, helpers), equal on both sides whatever they are; `own`: the
    addresses that the site says are the host's, which the proof takes for so.
    """

    target: str
    family: Family
    rules: int
    legs: int
    places: tuple[str, ...]
    tracked: str
    facts: tuple[str, ...] = ()
    own: IntervalSet = field(default_factory=IntervalSet)
    composed: bool = False


@dataclass(frozen=True, slots=True)
class Proof:
    """The outcome for all targets. It holds if there is no fault and nothing is undecided."""

    shown: tuple[Shown, ...] = ()
    faults: tuple[Fault, ...] = ()
    undecided: str | None = None

    @property
    def holds(self) -> bool:
        return not self.faults and self.undecided is None


def prove(plan: Plan, emitted: Sequence[Emitted], budget: Budget = BUDGET) -> Proof:
    """Whether each emitted target does in each of its families what the plan asks for.

    Never raises: what cannot be decided within the budget makes the proof undecided.
    """
    shown: list[Shown] = []
    faults: list[Fault] = []
    for text in emitted:
        faults += [unread_fault(text.target, text.families[0], told) for told in text.diagnostics]
    try:
        for family, found in plan.families.items():
            texts = [text for text in emitted if family in text.families]
            if texts:
                trial = Trial(plan.site, found, Space(family, budget), others=plan.beside_others)
                for text in texts:
                    shown.append(trial.target(text, faults))
                trial.agreement(texts, faults)
    except TooHard as error:
        return Proof(tuple(shown), tuple(faults), str(error))
    return Proof(tuple(shown), tuple(faults))


class Trial:
    """The proof of one family, all targets in one space. What the plan asks for is looked at once, however
    many texts are held to it."""

    def __init__(self, site: Site, plan: FamilyPlan, space: Space, *, others: bool = False) -> None:
        self.site = site
        self.others = others
        # The rules of others may turn tracking on: that is why something is untracked beside them at all.
        self.host = Host(tracking_elsewhere=True) if others else UNKNOWN_HOST
        self.plan = plan
        self.space = space
        self.algebra = Algebra(space)
        self.sets = Sets(space)
        self.own = own_addresses(site, plan.family)
        self.valid = _valid(space, self.own, elsewhere(site, plan.family) - self.own)
        groups = group_addresses(plan.family)
        kinds = ((int(AddressType.LOCAL), self.own), (int(AddressType.MULTICAST), groups))
        self.known = Known(plan.family, kinds)
        self.wanted: dict[Dialect, Ruleset] = {}
        self.want: dict[Dialect, Functions] = {}
        self.models: dict[int, Model] = {}

    def target(self, text: Emitted, faults: list[Fault]) -> Shown:
        """Prove one target; what does not hold is added to `faults`."""
        family = self.plan.family
        if text.dialect not in self.wanted:
            self.wanted[text.dialect] = self._beside(
                asked(self.plan, self.site.defaults, text.dialect, beside=self.others), text.dialect
            )
            self.want[text.dialect] = self._functions(joined(self.wanted[text.dialect]))
        wanted, want = self.wanted[text.dialect], self.want[text.dialect]
        found = self._beside(named(text.ruleset, family), text.dialect)
        have = self._functions(joined(found))
        before = len(faults)
        keepers = tuple(tracking.keepers(found, family))
        if bool(keepers) != (self.plan.tracking != "none") or any(tracking.reassemblers(found, family)):
            faults.append(tracking_fault(text.target, self.plan, keepers))
        faults += self._noted(text.target, wanted, found)
        composed = len(faults) == before and self._same(text.target, want, have, wanted, found, faults)
        if len(faults) == before:
            answers = self._functions(have.ruleset, have)
            safety = Safety(self.plan, self.site, have, answers, self.valid, self.own, others=self.others)
            for breach in safety.breaches():
                faults.append(breach_fault(text.target, breach, found, wanted))
        return Shown(
            text.target, family,
            sum(len(chain.rules) for table in found.tables for chain in table.chains),
            len(self.plan.legs), tuple(str(place) for place in places() if have.acts(place)),
            self.plan.tracking, tuple(facts_of(have.ruleset)), self.own, composed=composed,
        )  # fmt: skip

    def _beside(self, ruleset: Ruleset, dialect: Dialect) -> Ruleset:
        shared = self.others and dialect is Dialect.XTABLES
        return beside_others(ruleset, self.plan.family) if shared else ruleset

    def _functions(self, ruleset: Ruleset, questions: Functions | None = None) -> Functions:
        return Functions(self.algebra, ruleset, self.known, self.sets, questions=questions)

    def _noted(self, target: str, wanted: Ruleset, found: Ruleset) -> list[Fault]:
        """The first difference in what gives no verdict: helpers of nft, the MSS of routes."""
        one, other = notes(wanted), notes(found)
        if not one.tables and not other.tables:
            return []
        want, have = self._functions(one), self._functions(other)
        for place in places():
            if self._differs(want, have, place):
                return [difference_fault(target, place, self._region(want, have, place), one, other)]
        return []

    def _same(
        self,
        target: str,
        want: Functions,
        have: Functions,
        wanted: Ruleset,
        found: Ruleset,
        faults: list[Fault],
    ) -> bool:
        """Compare place by place; where that does not do, way by way. True if ways were needed."""
        different = [place for place in places() if self._differs(want, have, place)]
        if not different:
            return False
        way = self._way(wanted, found, different)
        if way is not None:
            place = next((place for place in different if _on(place, way[0])), different[0])
            region = self._region(want, have, place)
            shown = self._telling(region, way[1], want, place)
            faults.append(difference_fault(target, place, shown, wanted, found))
        return True

    def _telling(self, region: PacketSet, on_way: PacketSet, want: Functions, place: Place) -> PacketSet:
        """The packets that show a difference best: those that come there, of these the ones about which a leg
        says something."""
        there = region & on_way or on_way
        named = PacketSet(self.space, self.space.complement(want.left_alone(place)))
        return there & named or there

    def _differs(self, want: Functions, have: Functions, place: Place) -> bool:
        """Whether two sides may do different things at a place, with packets that can be."""
        one, other = want.blocks(place), have.blocks(place)
        if one is not None and other is not None and (one == other or same(self.sets, one, other)):
            return False
        a, b = want.at(place).diagram, have.at(place).diagram
        return a != b and self.space.meet(self.valid, a) != self.space.meet(self.valid, b)

    def _region(self, want: Functions, have: Functions, place: Place) -> PacketSet:
        """The packets that the two sides treat otherwise at a place."""
        a, b = want.at(place).diagram, have.at(place).diagram
        return PacketSet(self.space, self.space.meet(self.valid, unlike(self.space, a, b)))

    def _way(
        self, wanted: Ruleset, found: Ruleset, different: Sequence[Place]
    ) -> tuple[Way, PacketSet] | None:
        """A way on which something becomes of packets that the plan does not ask for, with these packets.
        Ways without a place at which the two sides differ are the same on both."""
        from notrack.netfilter.model import Model  # most places do not differ

        family, space = self.plan.family, self.space
        if id(wanted) not in self.models:
            self.models[id(wanted)] = Model(wanted, family, self.host, space=space)
        one, other = self.models[id(wanted)], Model(found, family, self.host, space=space)
        alike = one.tracks == other.tracks and one.reassembles == other.reassembles
        for way in Way:
            if alike and not any(_on(place, way) for place in different):
                continue
            a, b = one.passage(way), other.passage(way)
            domain = space.meet(self.valid, space.join(a.domain, b.domain))
            where = space.meet(domain, unlike(space, a.function.diagram, b.function.diagram))
            where = space.join(where, space.meet(self.valid, unlike(space, a.domain, b.domain)))
            if where != EMPTY:
                return way, PacketSet(space, where)
        return None

    def _coming(self, stage: Stage) -> int:
        """The packets that come to the rules before tracking on some way."""
        takers = [takers_of(self.space, UNKNOWN_HOST, way) for way in _WAYS[stage]]
        return self.space.meet(self.valid, self.space.first(takers))

    def agreement(self, texts: Sequence[Emitted], faults: list[Fault]) -> None:
        """Whether formats agree about what is untracked and what goes on before tracking: there they treat
        helpers otherwise. All else is equal to the same legs in both."""
        formats = {text.dialect: text for text in texts}
        if len(formats) < 2 or faults:
            return
        a, b = (named(formats[dialect].ruleset, self.plan.family) for dialect in Dialect)
        one, other = self._functions(joined(a)), self._functions(joined(b))
        for stage in (RAW_IN, RAW_OUT):
            for mine, theirs in (
                (one.untracked(stage), other.untracked(stage)),
                (one.surviving(stage), other.surviving(stage)),
            ):
                where = self.space.meet(self._coming(stage), unlike(self.space, mine, theirs))
                if where != EMPTY:
                    packets = PacketSet(self.space, where)
                    faults.append(difference_fault("nft", Place(stage), packets, a, b))


_WAYS = {RAW_IN: (Way.LOCAL_IN, Way.FORWARD), RAW_OUT: (Way.LOCAL_OUT, Way.LOOPBACK)}


def unlike(space: Space, a: int, b: int) -> int:
    """The packets for which two functions (or sets) have different outcomes."""
    if a == b:
        return EMPTY
    leaves = questions.leaves(space, a) | questions.leaves(space, b)
    parts = []
    for leaf in leaves:
        here, there = (questions.outcomes(space, side, _only(leaf)) for side in (a, b))
        parts += [space.minus(here, there), space.minus(there, here)]
    return space.first(parts)


def _only(leaf: int) -> Callable[[int], int]:
    return lambda at: int(at == leaf)


def _valid(space: Space, own: IntervalSet, others: IntervalSet) -> int:
    """Packets that can be: with the parts that their protocol has, with kinds of addresses that fit what the
    site says of the host, and translated only if they have an entry."""
    entry = space.among(Field.STATE, _WITH_ENTRY)
    plain = space.cube({Field.CT_SNAT: IntervalSet.single(0), Field.CT_DNAT: IntervalSet.single(0)})
    parts = [space.well_formed, space.join(plain, entry)]
    for address, kind in ((Field.DESTINATION, Field.DESTINATION_TYPE), (Field.SOURCE, Field.SOURCE_TYPE)):
        parts.append(kinds(space, UNKNOWN_HOST, address))
        local = space.among(kind, AddressType.LOCAL)
        parts.append(space.join(local, space.complement(space.among(address, own))))
        parts.append(space.complement(space.meet(local, space.among(address, others))))
    return space.all_of(parts)


def own_addresses(site: Site, family: Family) -> IntervalSet:
    """The addresses that the site says are the host's own: of interfaces, and behind `at`."""
    found = IntervalSet()
    for interface in site.interfaces:
        found |= interface.addresses.family(family)
    for declaration in site.declarations:
        if isinstance(declaration, Service | Peer | Publish | Redirect) and declaration.own is not None:
            found |= declaration.own.family(family)
    return found


def elsewhere(site: Site, family: Family) -> IntervalSet:
    """The addresses that the site says are of hosts behind this one."""
    found = IntervalSet()
    for declaration in site.declarations:
        if isinstance(declaration, Publish):
            found |= declaration.target.family(family)
    return found - IntervalSet.of(_LOOPBACK[family])


_LOOPBACK = {Family.IPV4: ((0x7F000000, 0x7FFFFFFF),), Family.IPV6: ((1, 1),)}


def _on(place: Place, way: Way) -> bool:
    from notrack.netfilter.ways import STAGES

    return any(stage.hook is place.stage.hook and stage.early is place.stage.early for stage in STAGES[way])
