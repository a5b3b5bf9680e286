"""The kernel's way with all packets at once: for every packet of a way what becomes of it, exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property

from notrack.netfilter import tracking, ways
from notrack.netfilter.chains import NOTHING, Algebra, Chains, End, Function, Outcome
from notrack.netfilter.effects import NONE, ONE_HOP, TRACKED_ANEW, Effects, Track, Unsure, behind
from notrack.netfilter.host import UNKNOWN_HOST, Host
from notrack.netfilter.translation import LEAVES, LOOPBACK_NETWORK, rerouted, to_loopback
from notrack.netfilter.ways import STAGES, Mounted, Stage, Way
from notrack.packets import questions
from notrack.packets.address import Family
from notrack.packets.budget import Budget
from notrack.packets.diagram import EMPTY
from notrack.packets.fields import MIRROR, Field, Fragment, State
from notrack.packets.packet import Packet
from notrack.packets.packet_set import PacketSet
from notrack.packets.space import Space
from notrack.packets.witness import leaf as reached_leaf
from notrack.ruleset.core import Hook, Ruleset, Template
from notrack.text.record import dataclass


@dataclass(frozen=True, slots=True)
class Passage:
    """What becomes of all packets of one way.

    Packets are as they come in (or leave the sender), but for their state: that is the one which rules see
    behind connection tracking, UNTRACKED where a rule made it so or tracking is off.
    """

    way: Way
    algebra: Algebra
    domain: int  # the packets that take the way, each with every state that it may have
    function: Function

    @property
    def packets(self) -> PacketSet:
        """All packets that take this way."""
        return self._set(self.domain)

    def accepted(self, within: PacketSet | None = None) -> PacketSet:
        """The packets that come to the end of the way."""
        return self.where(lambda outcome: outcome.end is End.ON, within)

    def ended(self, end: End, hook: Hook | None = None, within: PacketSet | None = None) -> PacketSet:
        """The packets that end in one manner, at one hook or at any."""
        return self.where(
            lambda outcome: outcome.end is end and (hook is None or outcome.hook is hook), within
        )

    def dropped(self, hook: Hook | None = None, within: PacketSet | None = None) -> PacketSet:
        return self.ended(End.DROP, hook, within)

    def rejected(self, hook: Hook | None = None, within: PacketSet | None = None) -> PacketSet:
        return self.ended(End.REJECT, hook, within)

    def reaching(self, hook: Hook, within: PacketSet | None = None) -> PacketSet:
        """The packets that come as far as a hook; all of them for the first."""
        before: list[Hook] = []
        for stage in STAGES[self.way]:
            if stage.hook is hook:
                break
            before.append(stage.hook)
        return self.where(lambda outcome: outcome.end is End.ON or outcome.hook not in before, within)

    def untracked(self) -> PacketSet:
        """The packets without connection tracking, by a rule or by themselves."""
        return self.packets & PacketSet(self.space, self.space.among(Field.STATE, State.UNTRACKED))

    def untracked_by_rule(self, within: PacketSet | None = None) -> PacketSet:
        return self.where(lambda outcome: outcome.effects.track is Track.UNTRACKED, within)

    def translated(self) -> list[tuple[Effects, PacketSet]]:
        """Each translation of first packets of flows, with the packets that get it and are not dropped."""
        found: dict[Effects, list[int]] = {}
        for leaf in sorted(questions.leaves(self.space, self.function.diagram), reverse=True):
            outcome = self.algebra.outcome(leaf)
            nat = Effects(
                source_nat=outcome.effects.source_nat, destination_nat=outcome.effects.destination_nat
            )
            if nat != Effects() and outcome.end is End.ON:
                found.setdefault(outcome.effects, []).append(leaf)
        sets = {
            effects: self.algebra.where(self.function.diagram, frozenset(found[effects])) for effects in found
        }
        cut = [
            (effects, self._set(self.space.meet(packets, self.domain))) for effects, packets in sets.items()
        ]
        return [(effects, packets) for effects, packets in cut if packets]

    def where(self, wanted: Callable[[Outcome], bool], within: PacketSet | None = None) -> PacketSet:
        """The packets with such an outcome, of all or of a set; of a small set they cost little."""
        space = self.space
        asked = self.domain if within is None else space.meet(self.domain, within.diagram)
        part = self.function.diagram if within is None else space.meet(asked, self.function.diagram)
        chosen = questions.relabelled(space, part, lambda leaf: int(wanted(self.algebra.outcome(leaf))))
        return self._set(space.meet(asked, chosen))

    def outcome(self, packet: Packet, facts: dict[str, bool] | None = None) -> Outcome:
        """What becomes of one packet, whose state is the one behind connection tracking."""
        return self.algebra.outcome(reached_leaf(self.space, self.function.diagram, packet, facts))

    @property
    def space(self) -> Space:
        return self.algebra.space

    def _set(self, diagram: int) -> PacketSet:
        return PacketSet(self.space, diagram)


class Model:
    """A ruleset on a host, for one family. Everything is computed when it is asked for, once.

    `answers`: every passage is a function of a packet P that tells what becomes of the answer to P, in terms
    of P. It costs no more than the passage itself, where mirroring a large set may cost too much.
    Any question may raise `TooHard`: it is undecided then.
    """

    def __init__(
        self,
        ruleset: Ruleset,
        family: Family,
        host: Host = UNKNOWN_HOST,
        budget: Budget | None = None,
        *,
        answers: bool = False,
        space: Space | None = None,
    ) -> None:
        self.ruleset = ruleset
        self.family = family
        self.host = host
        self.answers = answers
        self.space = space if space is not None else Space(family, budget)
        self.algebra = Algebra(self.space)
        self._chains: dict[tuple[int, Hook], Chains] = {}
        self._passages: dict[Way, Passage] = {}
        self._domains: dict[Way, int] = {}
        self._fates: dict[tuple[Way, Effects, bool], Function] = {}

    @cached_property
    def keepers(self) -> tuple[tracking.Keeper, ...]:
        """Everything in the rules that keeps tracking on for the family."""
        return tuple(tracking.keepers(self.ruleset, self.family))

    @property
    def tracks(self) -> bool:
        """Whether connections of the family are tracked at all."""
        return bool(self.keepers) or bool(self.host.tracking_elsewhere)

    @cached_property
    def reassembles(self) -> bool:
        """Whether fragments are put together before the first rule (of priority above -400)."""
        return self.tracks or any(tracking.reassemblers(self.ruleset, self.family))

    @cached_property
    def sees_fragments(self) -> bool:
        """Whether any rule sees a packet in fragments."""
        return not self.reassembles or bool(ways.raw(self.ruleset, self.family))

    def first_packets(self) -> PacketSet:
        """All packets, each with the state that it has when no flow is known.

        Where `tcp_loose` is not known it counts as 1, the default.
        """
        return PacketSet(
            self.space, self._facing(tracking.first_packets(self.space, self.host.tcp_loose is not False))
        )

    def passage(self, way: Way) -> Passage:
        """What becomes of all packets of a way (with `answers`: of the answers that take the way)."""
        if way not in self._passages:
            self._passages[way] = self._passage(way)
        return self._passages[way]

    def arrives(self, way: Way) -> int:
        """The packets that, as they are when routed, take the way."""
        taken = ways.arrives(self.space, way)
        if way is Way.FORWARD and self._set_before_routing:
            taken = self.space.meet(taken, ways.forwardable(self.space))
        if way is Way.LOCAL_IN and self.family is Family.IPV4 and self._to_loopback:
            looped = self.space.among(Field.DESTINATION, LOOPBACK_NETWORK)
            taken = self.space.minus(taken, self.space.minus(looped, self.space.free(LEAVES)))
        return self._facing(taken)

    @cached_property
    def _to_loopback(self) -> bool:
        return to_loopback(self.ruleset)

    @cached_property
    def _set_before_routing(self) -> bool:
        """Whether rules may change what else routing looks at; if not, packets have it as they come."""
        return bool(ways.observed(self.ruleset, self.family)[1] & {Field.TTL, Field.PACKET_TYPE})

    @cached_property
    def _hops_count(self) -> bool:
        return ways.hops_count(self.ruleset, self.family)

    def _facing(self, diagram: int) -> int:
        return self.space.mirror(diagram) if self.answers else diagram

    def _passage(self, way: Way) -> Passage:
        return self._as_seen(way, self.domain(way), self.fate(way))

    def fate(self, way: Way, wire: Effects = NONE, *, begun: bool = False) -> Function:
        """What becomes of every packet of a way, by what connection tracking says of it or would say.

        Here the state of a packet is that of its flow, also where a rule untracked it: outcomes of such a
        packet do not depend on it. ELSEWHERE is the end of packets that do not take the way.

        `wire`: how the packets look until the kernel's own translation at the first hook takes that off: the
        answers to translated packets, which are told as they are behind it. `begun`: only from connection
        tracking on: later packets of translated flows, of which nothing before it knows the new ends.
        """
        key = (way, wire, begun)
        if key not in self._fates:
            self._fates[key] = self._fate(way, wire, begun)
        return self._fates[key]

    def _fate(self, way: Way, wire: Effects, begun: bool) -> Function:
        late, stages = self.algebra, STAGES[way]
        at = next(i for i, stage in enumerate(stages) if stage.routed_behind) + 1
        early = NOTHING if begun else self._early(way, wire)
        function = self._routed(late.compose(early, self._stage(stages[at - 1], way, wire)), way)
        if way is not Way.LOOPBACK:
            return late.compose(function, late.compose_all([self._stage(one, way) for one in stages[at:]]))
        for stage in stages[at:]:
            function = late.compose(function, self._stage(stage, way))
            if stage.tracked_behind:
                function = self._tracked_anew(function)
        return function

    def _early(self, way: Way, wire: Effects = NONE) -> Function:
        """What happens before connection tracking, which takes templates off."""
        function = NOTHING
        for stage in STAGES[way]:
            if not stage.early or stage.again:
                break
            function = self.algebra.compose(function, self._stage(stage, way, wire))
        function = self._assigned(function, {Field.STATE: State.INVALID})
        return self.algebra.ended(function, lambda old: replace(old, effects=old.effects.as_entry()))

    def _routed(self, function: Function, way: Way) -> Function:
        """What routing adds: some packets do not take the way, others lose a hop or get another way out."""
        late = self.algebra
        elsewhere = late.constant(Outcome(End.ELSEWHERE), self.space.complement(self.arrives(way)))
        function = late.compose(function, elsewhere)
        if way is Way.FORWARD and self._hops_count:
            return late.compose(function, late.constant(Outcome(End.ON, ONE_HOP)))
        if not any(late.outcome(leaf).effects.rerouted for leaf in function.changing):
            return function

        def gone(old: Outcome) -> Outcome:
            on = old.end is End.ON
            return replace(old, effects=self.behind_routing(old.effects, way)) if on else old

        return late.ended(function, gone)

    def behind_routing(self, effects: Effects, way: Way) -> Effects:
        """The effects with those of routing."""
        if way is Way.FORWARD and self._hops_count:
            return effects.then(ONE_HOP)
        if way is not Way.LOCAL_OUT or not effects.rerouted:
            return effects
        if self.answers:
            return rerouted(effects.mirrored(), self.host, self.family).mirrored()
        return rerouted(effects, self.host, self.family)

    def _tracked_anew(self, function: Function) -> Function:
        """What got its zone behind tracking is tracked in it where it comes in again by loopback, translation
        included, of which nothing is said here: it may be dropped, and its state is not known.
        """
        late, space = self.algebra, self.space
        late_zone = [leaf for leaf in function.changing if late.outcome(leaf).effects.track is Track.TEMPLATE]
        if not late_zone:
            return function
        drop = late.constant(Outcome(End.DROP, hook=Hook.PREROUTING), space.free(TRACKED_ANEW)).diagram
        where = late.where(function.diagram, frozenset(late_zone))
        dropped = space.meet(where, drop)
        known = late.ended(function, lambda old: replace(old, effects=old.effects.tracked_anew()))
        return Function(space.join(dropped, known.diagram), known.changing)

    def untracked(self, way: Way) -> int:
        """The packets that rules take out of tracking before it; any state is that of every other."""
        function = self._early(way)
        leaves = questions.leaves(self.space, function.diagram)
        marked = frozenset(
            leaf for leaf in leaves if self.algebra.outcome(leaf).effects.track is Track.UNTRACKED
        )
        return self.algebra.where(function.diagram, marked)

    def domain(self, way: Way) -> int:
        """The packets that may take the way, with every state that connection tracking may give them."""
        if way not in self._domains:
            self._domains[way] = self._domain(way)
        return self._domains[way]

    def _domain(self, way: Way) -> int:
        space = self.space
        states = tracking.possible_states(space) if self.tracks else space.among(Field.STATE, State.UNTRACKED)
        parts = [ways.takers(space, self.host, way), states]
        if way is Way.FORWARD and not self._set_before_routing:
            parts.append(ways.forwardable(space))
        if not self.sees_fragments or way in (Way.LOCAL_OUT, Way.LOOPBACK):
            parts.append(tracking.whole_packets(space))
        return space.all_of(self._facing(part) for part in parts)  # small parts are mirrored sooner

    def _as_seen(self, way: Way, domain: int, function: Function) -> Passage:
        """The passage with the states that rules see behind connection tracking, and without other ways."""
        space, late = self.space, self.algebra
        leaves = questions.leaves(space, function.diagram)
        elsewhere = frozenset(leaf for leaf in leaves if late.outcome(leaf).end is End.ELSEWHERE)
        domain = space.minus(domain, late.where(function.diagram, elsewhere))
        marked = frozenset(leaf for leaf in leaves if late.outcome(leaf).effects.track is Track.UNTRACKED)
        untracked = space.meet(domain, late.where(function.diagram, marked))
        if not self.tracks or untracked == EMPTY:
            return Passage(way, late, domain, function)
        state = space.levels[Field.STATE]
        seen = space.among(Field.STATE, State.UNTRACKED)
        kept = space.minus(function.diagram, untracked)
        moved = questions.exists(space, space.meet(untracked, function.diagram), state)
        there = questions.exists(space, untracked, state)
        return Passage(
            way,
            late,
            space.join(space.meet(seen, there), space.minus(domain, untracked)),
            Function(
                space.join(space.meet(seen, moved), space.minus(kept, space.meet(seen, there))),
                function.changing,
            ),
        )

    def _stage(self, stage: Stage, way: Way, wire: Effects = NONE) -> Function:
        """All base chains of a stage. The state that early ones see is left to `_early`."""
        algebra = self.algebra
        before, nat, later = ways.in_order(ways.mounted(self.ruleset, stage, self.family))
        row = [self._base(item, stage, wire) for item in before]
        row.append(self._translation(nat, stage, algebra))
        row += [self._base(item, stage, wire) for item in later]
        function = algebra.compose_all(row)
        if function.diagram == EMPTY:
            return NOTHING
        seen = self.seen_at(stage, way)
        if stage.early and not stage.again:
            del seen[Field.STATE]
        function = self._assigned(function, seen)
        return self._defragmented(function) if self.splits_fragments(stage) else function

    def _base(self, item: Mounted, stage: Stage, wire: Effects) -> Function:
        function = self.chains(item, stage).base(item.chain)
        sees = item.device
        if sees is not None:
            function = self.algebra.within(self.passing(sees), function)
        on_wire = stage.hook is Hook.INGRESS or item.priority < ways.TRANSLATION_PRIORITY
        if wire == NONE or not on_wire:
            return function
        return Function(behind(self.space, function.diagram, wire), function.changing)

    def passing(self, sees: tuple[Field, int | None, str]) -> int:
        """The packets that pass a chain of one device."""
        side, device, fact = sees
        space = self.space
        maybe = space.free(fact)
        if device is None:
            return maybe
        field = MIRROR[side] if self.answers else side
        sure = space.among(field, device)
        by_lo = space.among(field, ways.LOOPBACK_INTERFACE)
        return sure if device == ways.LOOPBACK_INTERFACE else space.join(sure, space.minus(maybe, by_lo))

    def seen_at(self, stage: Stage, way: Way) -> dict[Field, int | Unsure]:
        """Fields that the rules of a stage see otherwise than the packet of the whole way has them.

        Before connection tracking, and without it, no packet has an entry: its state is INVALID.
        """
        seen = ways.seen_at(stage, way)
        fixed: dict[Field, int | Unsure] = {
            MIRROR.get(field, field) if self.answers else field: value for field, value in seen.items()
        }
        if not self.tracks or (stage.early and not stage.again):
            fixed[Field.STATE] = State.INVALID
        return fixed

    def splits_fragments(self, stage: Stage) -> bool:
        """Whether a stage sees whole packets where one before saw fragments."""
        if self.reassembles:
            return self.sees_fragments and not stage.raw
        return stage.hook is Hook.INPUT and self.family is Family.IPV4

    def assigned(self, diagram: int, fixed: Mapping[Field, int | Unsure]) -> int:
        """What is left of a diagram where fields are seen with other values."""
        levels = {
            self.space.levels[field][0]: value for field, value in fixed.items() if isinstance(value, int)
        }
        unsure = tuple((field, value) for field, value in fixed.items() if isinstance(value, Unsure))
        return behind(self.space, questions.assign(self.space, diagram, levels), Effects(fields=unsure))

    def _assigned(self, function: Function, fixed: Mapping[Field, int | Unsure]) -> Function:
        return Function(self.assigned(function.diagram, fixed), function.changing)

    def _defragmented(self, function: Function) -> Function:
        """The function for fragments: the first stands for the whole packet, later ones are part of it."""
        headed = self.space.complement(self.space.among(Field.FRAGMENT, Fragment.LATER))
        whole = self._assigned(function, {Field.FRAGMENT: Fragment.WHOLE})
        return self.algebra.within(headed, whole)

    def chains(self, item: Mounted, stage: Stage) -> Chains:
        """The chains of a table, as they are at a stage."""
        key = (id(item.table), stage.hook)
        if key not in self._chains:
            self._chains[key] = Chains(
                self.algebra,
                item.table,
                stage.hook,
                self.host,
                answers=self.answers,
                fragments=self.sees_fragments,
                late_zones=self.late_zones,
            )
        return self._chains[key]

    @cached_property
    def late_zones(self) -> bool:
        """Whether a rule may give a zone to a packet behind connection tracking."""
        return any(
            isinstance(action, Template) and action.overrides
            for table in self.ruleset.tables
            for chain in table.chains
            for rule in chain.rules
            for action in rule.actions
        )

    def _translation(self, items: Iterable[Mounted], stage: Stage, algebra: Algebra) -> Function:
        """The nat chains of a hook: asked for first packets of tracked flows alone, and no further after one
        of them translated. A loopback packet was asked about on its first passage.
        """
        if not self.tracks or stage.again:
            return NOTHING
        result = NOTHING
        for item in items:
            new = self.space.among(Field.STATE, State.NEW)
            function = algebra.within(new, self.chains(item, stage).base(item.chain))
            result = algebra.compose(algebra.ended(result, _settled), function)
        return algebra.ended(result, _unsettled)


_BEHIND_ROUTING = (Hook.INPUT, Hook.FORWARD, Hook.POSTROUTING, Hook.EGRESS)


def _settled(old: Outcome) -> Outcome:
    done = old.effects.source_nat or old.effects.destination_nat
    return Outcome(End.ACCEPT, old.effects) if old.end is End.ON and done else old


def _unsettled(old: Outcome) -> Outcome:
    return Outcome(End.ON, old.effects) if old.end is End.ACCEPT else old
