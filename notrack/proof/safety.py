"""What must hold of emitted rules whatever the plan's legs say, asked of the rules that were read back.

- nothing untracked is translated, and nothing translated can come back looking untracked;
- no flow is half tracked on any path;
- what passes untracked is what untracked flows of the plan expose, and no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from notrack.netfilter.guards import guard_set
from notrack.netfilter.host import group_addresses
from notrack.netfilter.tracking import never_tracked
from notrack.netfilter.translation import answers_on_wire
from notrack.netfilter.ways import LOOPBACK_INTERFACE, ROUTED, Stage, Way
from notrack.packets import questions
from notrack.packets.address import Family
from notrack.packets.diagram import EMPTY
from notrack.packets.fields import (
    ICMP_PROTOCOL,
    NO_INTERFACE,
    AddressType,
    Field,
    Fragment,
    State,
    domain,
    icmp_answer,
)
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.packets.space import Space
from notrack.plan.box import ICMP_TYPES, PORTS, UDP, Box, Flags
from notrack.plan.flow import Decision
from notrack.plan.legs import essential_boxes
from notrack.plan.paths import mirrored
from notrack.plan.planner import FamilyPlan
from notrack.proof.asked import device_values, guards
from notrack.proof.boxes import boxes as as_boxes
from notrack.proof.boxes import united
from notrack.proof.functions import RAW_IN, RAW_OUT, Functions, Place
from notrack.ruleset.core import Hook
from notrack.site.model import Default, Interface, Peer, Site, SourceTranslation
from notrack.text.record import dataclass

_LO, _NONE = IntervalSet.single(LOOPBACK_INTERFACE), IntervalSet.single(NO_INTERFACE)
_LOCAL, _UNICAST = IntervalSet.single(AddressType.LOCAL), IntervalSet.single(AddressType.UNICAST)
_IGMP = IntervalSet.single(2)
_LOOPBACK = {Family.IPV4: IntervalSet(((0x7F000000, 0x7FFFFFFF),)), Family.IPV6: IntervalSet.single(1)}
_REACHED = {
    Hook.INPUT: IntervalSet.of((kind, kind) for kind in ROUTED[Way.LOCAL_IN]),
    Hook.FORWARD: IntervalSet.of((kind, kind) for kind in ROUTED[Way.FORWARD]),
}
_WHOLE = IntervalSet.single(Fragment.WHOLE)


@dataclass(frozen=True, slots=True)
class Breach:
    """A property that does not hold: what goes wrong, for which packets, at which place."""

    what: str
    packets: PacketSet
    place: Place


class Safety:
    """The properties of one family's rules. `have`: the rules; `answers`: what they do to answers."""

    def __init__(
        self,
        plan: FamilyPlan,
        site: Site,
        have: Functions,
        answers: Functions,
        valid: int,
        own: IntervalSet,
        *,
        others: bool = False,
    ) -> None:
        self.plan = plan
        self.site = site
        self.have = have
        self.answers = answers
        self.space: Space = have.space
        self.family: Family = have.space.family
        self.valid = valid
        self.own = own | _LOOPBACK[self.family]
        self.tracks = plan.tracking != "none"
        self.may_track = self.tracks or others
        real = domain(Field.IN, self.family).whole - _LO - _NONE
        self.in_real = self.space.among(Field.IN, real)
        self.out_real = self.space.among(Field.OUT, real)

    def breaches(self) -> Iterator[Breach]:
        """Every property that does not hold."""
        if self.have.acts(Place(RAW_IN)) or self.have.acts(Place(RAW_OUT)):
            yield from self.translations()
            yield from self.answers_to_translations()
            yield from self.halves()
        yield from self.exposures()

    def _breach(self, what: str, packets: int, place: Place) -> Iterator[Breach]:
        found = self.space.meet(self.valid, packets) if packets != EMPTY else EMPTY
        if found != EMPTY:
            yield Breach(what, PacketSet(self.space, found), place)

    # Translation.

    def translations(self) -> Iterator[Breach]:
        """Nothing untracked is translated: no rule asks for a translation of what is untracked."""
        space, have = self.space, self.have
        what = "an untracked packet should be translated, and the kernel translates none"
        came, went = have.translated(Hook.PREROUTING), have.translated(Hook.OUTPUT)
        left = have.translated(Hook.POSTROUTING)
        if came != EMPTY:
            both = space.meet(self.in_real, space.meet(came, have.untracked(RAW_IN)))
            yield from self._breach(what, both, Place(RAW_IN))
        if went != EMPTY:
            yield from self._breach(what, space.meet(went, have.untracked(RAW_OUT)), Place(RAW_OUT))
        if left != EMPTY:
            routed = space.all_of(
                [
                    left,
                    self.in_real,
                    space.among(Field.DESTINATION_TYPE, _UNICAST),
                    space.minus(self.out_real, self._not_beyond()),
                ]
            )
            passing = space.meet(routed, have.passing(Hook.FORWARD, State.UNTRACKED))
            yield from self._breach(what, space.meet(passing, have.untracked(RAW_IN)), Place(RAW_IN))

    def answers_to_translations(self) -> Iterator[Breach]:
        """Nothing translated comes back looking untracked, from the wire or from this host."""
        space, have = self.space, self.have
        what = "the answer to a translated packet is untracked, so it is never translated back"
        for hook in (Hook.PREROUTING, Hook.OUTPUT, Hook.POSTROUTING):
            asks = self._askers(hook)
            for effects, packets in have.translations(hook):
                back = answers_on_wire(PacketSet(space, space.meet(asks, packets)), effects).diagram
                away = space.meet(back, self.in_real)
                here = space.among(Field.SOURCE_TYPE, _LOCAL)
                if hook is not Hook.POSTROUTING:
                    yield from self._breach(
                        what, space.all_of([back, here, have.untracked(RAW_OUT)]), Place(RAW_OUT)
                    )
                    away = space.minus(away, here)
                yield from self._breach(what, space.meet(away, have.untracked(RAW_IN)), Place(RAW_IN))

    def _askers(self, hook: Hook) -> int:
        """Who opens flows that are translated at a hook."""
        space = self.space
        if hook is Hook.PREROUTING:
            return space.meet(self.in_real, space.among(Field.SOURCE_TYPE, _UNICAST))
        if hook is Hook.OUTPUT:
            ports = space.having(Field.SOURCE_PORT, self.site.ephemeral)
            bare = space.complement(space.having(Field.SOURCE_PORT, PORTS))
            return space.meet(space.among(Field.SOURCE_TYPE, _LOCAL), space.join(ports, bare))
        return space.minus(self.out_real, self._not_beyond())

    def _not_beyond(self) -> int:
        """What is not reached through a translated way out: who is on link at another interface of the site,
        and who is translated, unless on link there."""
        space, family = self.space, self.family
        found = EMPTY
        for line in self.site.declarations:
            if not isinstance(line, SourceTranslation):
                continue
            devices = set(line.out_devices)
            out = [one for one in self.site.interfaces if devices & set(one.devices)]
            if not out:
                continue
            outside = _on_link(out, family)
            inside = _on_link([one for one in self.site.interfaces if one not in out], family)
            sources = line.sources.family(family)
            if sources != family.whole and sources.isdisjoint(outside):
                inside |= sources
            there = {Field.OUT: device_values(line.out_devices), Field.DESTINATION: inside - outside}
            found = space.join(found, space.cube(there | {Field.SOURCE: sources}))
        return found

    # Halves.

    def halves(self) -> Iterator[Breach]:
        """No flow is half tracked: where one direction passes untracked, the other is not tracked."""
        if not self.may_track:
            return
        yield from self._half_local()
        yield from self._half_forwarded()
        yield from self._half_looped()

    def _flows(self) -> int:
        """Packets that have answers: no ICMP but requests and replies, no groups, nothing never tracked."""
        space, family = self.space, self.family
        icmp = IntervalSet.single(ICMP_PROTOCOL[family])
        kinds = IntervalSet.of((kind, kind) for kind in range(256) if icmp_answer(kind, family) != kind)
        asking = space.join(
            space.cube({Field.PROTOCOL: icmp, Field.ICMP_TYPE: kinds}),
            space.complement(space.among(Field.PROTOCOL, icmp)),
        )
        single = space.cube({Field.SOURCE: family.whole - group_addresses(family), Field.FRAGMENT: _WHOLE})
        return space.minus(space.meet(single, asking), never_tracked(space))

    def _half_local(self) -> Iterator[Breach]:
        """Between this host and others: `into` are packets that come in, `back` those answered untracked."""
        space, have, answers = self.space, self.have, self.answers
        kinds = {Field.DESTINATION_TYPE: int(AddressType.LOCAL), Field.SOURCE_TYPE: int(AddressType.UNICAST)}
        into = self._assigned(have.untracked(RAW_IN), kinds | {Field.OUT: NO_INTERFACE})
        back = self._assigned(answers.untracked(RAW_OUT), kinds | {Field.OUT: NO_INTERFACE})
        if into == back:
            return
        where = space.all_of([self._flows(), self.in_real, *(space.among(f, v) for f, v in kinds.items())])
        translated = space.join(
            have.named_by_translation(Hook.PREROUTING), answers.named_by_translation(Hook.POSTROUTING)
        )
        where = space.minus(where, space.join(translated, self._one_way()))
        only_in = space.meet(where, space.minus(into, back))
        only_out = space.meet(where, space.minus(back, into))
        if only_in != EMPTY:
            gone = space.meet(only_in, have.passing(Hook.INPUT, State.UNTRACKED))
            gone = space.all_of([gone, _either(answers, Hook.OUTPUT), answers.surviving(RAW_OUT)])
            yield from self._breach("what comes in is untracked, its answer is tracked", gone, Place(RAW_OUT))
        if only_out != EMPTY:
            gone = space.meet(only_out, answers.passing(Hook.OUTPUT, State.UNTRACKED))
            gone = space.all_of([gone, _either(have, Hook.INPUT), have.surviving(RAW_IN)])
            yield from self._breach("what comes in is tracked, its answer is untracked", gone, Place(RAW_IN))

    def _one_way(self) -> int:
        """What would answer a peer over UDP from the peer's port: such a peer is two one-way flows, each to
        the port."""
        boxes = [
            box
            for decision in self.plan.decisions
            for box in decision.flow.paths.leaving
            if decision.flow.kind == "peer" and UDP in box.protocol and box.destination_ports != PORTS
        ]
        return self.space.first([guard_set(self.space, g) for box in boxes for g in guards(mirrored(box))])

    def _two_ways(self) -> int:
        """Both directions of what `_one_way` says; on loopback either may be asked about."""
        one = self._one_way()
        return self.space.join(one, self.space.mirror(one))

    def _half_forwarded(self) -> Iterator[Breach]:
        space, have, answers = self.space, self.have, self.answers
        kinds = {
            Field.DESTINATION_TYPE: int(AddressType.UNICAST),
            Field.SOURCE_TYPE: int(AddressType.UNICAST),
        }
        passing = have.passing(Hook.FORWARD, State.UNTRACKED)
        if passing == EMPTY:
            return
        there = self._assigned(have.untracked(RAW_IN), kinds)
        back = self._assigned(answers.untracked(RAW_IN), kinds) if there != EMPTY else EMPTY
        if there == back:
            return
        where = [self._flows(), self.in_real, self.out_real, *(space.among(f, v) for f, v in kinds.items())]
        half = space.meet(space.minus(there, back), space.all_of([*where, passing]))
        half = space.all_of([half, _either(answers, Hook.FORWARD), answers.surviving(RAW_IN)])
        yield from self._breach("what is forwarded is untracked, its answer is tracked", half, Place(RAW_IN))

    def _half_looped(self) -> Iterator[Breach]:
        """On loopback OUTPUT alone decides: what has an entry, or is untracked, stays so when it comes in."""
        space, have, answers = self.space, self.have, self.answers
        kinds = {Field.DESTINATION_TYPE: int(AddressType.LOCAL), Field.SOURCE_TYPE: int(AddressType.LOCAL)}
        lo, none = LOOPBACK_INTERFACE, NO_INTERFACE
        there = self._assigned(have.untracked(RAW_OUT), kinds | {Field.OUT: lo, Field.IN: none})
        back = self._assigned(answers.untracked(RAW_OUT), kinds | {Field.IN: lo, Field.OUT: none})
        if there == back:
            return
        translated = space.join(
            have.named_by_translation(Hook.OUTPUT), answers.named_by_translation(Hook.OUTPUT)
        )
        translated = self._assigned(translated, {Field.OUT: lo, Field.IN: none})
        half = space.minus(space.join(space.minus(there, back), space.minus(back, there)), translated)
        inside = {Field.OUT: _LO, Field.IN: _NONE, Field.SOURCE: self.own, Field.DESTINATION: self.own}
        where = space.minus(space.meet(self._flows(), space.cube(inside)), self._two_ways())
        what = "on loopback one direction is untracked, the other is tracked"
        yield from self._breach(what, space.meet(where, half), Place(RAW_OUT))

    def _assigned(self, diagram: int, values: dict[Field, int]) -> int:
        return questions.assign(self.space, diagram, {self.space.levels[f][0]: v for f, v in values.items()})

    # Exposure.

    def exposures(self) -> Iterator[Breach]:
        """What passes untracked is what untracked flows let through."""
        defaults = self.site.defaults
        for hook, default in ((Hook.INPUT, defaults.input), (Hook.FORWARD, defaults.forward)):
            if default not in (Default.DROP, Default.REJECT):
                continue
            space, have = self.space, self.have
            routed = space.meet(self.in_real, space.among(Field.DESTINATION_TYPE, _REACHED[hook]))
            passing = space.meet(routed, have.passing(hook, State.UNTRACKED))
            if self.tracks:
                passing = space.meet(passing, have.untracked(RAW_IN))
            if passing == EMPTY:
                continue
            beyond = space.minus(passing, self.exposed(hook))
            what = "passes untracked, and no untracked flow of the plan says so"
            yield from self._breach(what, beyond, Place(Stage(hook)))

    def exposed(self, hook: Hook) -> int:
        """What untracked flows, and what every flow needs, let through at a hook."""
        boxes = [box for _, box in essential_boxes(self.family)]
        for decision in self.plan.decisions:
            boxes += _let_through(decision, hook)
        if hook is Hook.INPUT and self.family is Family.IPV4:
            boxes += _memberships(self.plan.decisions)
        wanted = [guard for box in boxes for guard in guards(box)]
        if not self.tracks:
            wanted += [guard for box in boxes for guard in guards(_later(box))]
        return self.have.sets.union(
            united(part for guard in wanted for part in as_boxes(guard, self.have.known))
        )


def _on_link(interfaces: Iterable[Interface], family: Family) -> IntervalSet:
    return IntervalSet.of(span for one in interfaces for span in one.networks.family(family))


def _either(functions: Functions, hook: Hook) -> int:
    """What filter lets through of packets that no flow is known of."""
    return functions.space.join(functions.passing(hook, State.NEW), functions.passing(hook, State.INVALID))


def _let_through(decision: Decision, hook: Hook) -> Iterable[Box]:
    paths = decision.flow.paths
    if hook is Hook.INPUT:
        return (*paths.arriving, *(() if decision.tracked else paths.answering))
    return (*paths.passing, *(() if decision.tracked else paths.returning))


def _memberships(decisions: Iterable[Decision]) -> Iterator[Box]:
    """IGMP queries for peers in groups."""
    for decision in decisions:
        declaration = decision.flow.declaration
        if isinstance(declaration, Peer) and declaration.groups.v4:
            groups = group_addresses(Family.IPV4)
            yield Box(Family.IPV4, protocol=_IGMP, destination=groups, devices=declaration.devices)


def _later(box: Box) -> Box:
    return box.but(
        source_ports=PORTS, destination_ports=PORTS, icmp=ICMP_TYPES, flags=Flags.ANY, later_fragment=True
    )
