"""Which flows rules take out of tracking, one way or both, NOTRACK rule by NOTRACK rule.

A flow is spoken of by one of its packets: what comes in (LOCAL_IN, FORWARD) or leaves (LOCAL_OUT, LOOPBACK).
The answers of a packet have its ends exchanged. Two packets of one flow may differ in flags, length or mark;
so of answers it is only asked whether *some* of them leave tracking: where that cannot be, the flow is half
tracked for certain.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from notrack.lint.entrances import early_rules
from notrack.lint.owners import is_generated
from notrack.lint.raw import HOOK
from notrack.lint.shapes import Shape, shape
from notrack.lint.verdicts import Verdicts
from notrack.netfilter import tracking
from notrack.netfilter.guards import answered, guard_set
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.packets.diagram import FULL
from notrack.packets.fields import AddressType, Field, interface_value
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Among, Guard, Hook, Notrack, OneOf, Rule, Ruleset, Table, Template
from notrack.text.source import Span

if TYPE_CHECKING:
    from notrack.lint.view import View

BACK = {
    Way.LOCAL_IN: Way.LOCAL_OUT,
    Way.LOCAL_OUT: Way.LOCAL_IN,
    Way.FORWARD: Way.FORWARD,
    Way.LOOPBACK: Way.LOOPBACK,
}
OF_ONE_PACKET = (
    Field.STATE, Field.CT_DIRECTION, Field.CT_SNAT, Field.CT_DNAT, Field.FRAGMENT, Field.FLAGS, Field.MAC,
    Field.PACKET_TYPE, Field.LENGTH, Field.TTL, Field.TOS, Field.MARK, Field.CT_MARK,
)  # fmt: skip
"""What may differ between the packets of one flow."""
_OWN = {
    Way.LOCAL_IN: (Field.DESTINATION, Field.DESTINATION_TYPE),
    Way.LOCAL_OUT: (Field.SOURCE, Field.SOURCE_TYPE),
    Way.FORWARD: (Field.OUT,),
    Way.LOOPBACK: (),
}
"""What a packet of a way says about the host, which nobody may know: its address, the way out."""
_NOBODY = {Family.IPV4: IntervalSet(((0, 0xFFFFFF),)), Family.IPV6: IntervalSet.single(0)}
LOOPBACK = {Family.IPV4: IntervalSet(((0x7F000000, 0x7FFFFFFF),)), Family.IPV6: IntervalSet.single(1)}
_SIDE = {Way.LOCAL_IN: Field.IN, Way.LOCAL_OUT: Field.OUT}
_FEW = 64  # own addresses that a rule names are meant one by one, a network of them is not


class Leg:
    """A NOTRACK rule as it is written, at one hook, with the packets that it takes out of tracking."""

    def __init__(self, flows: Flows, hook: Hook, rule: Rule) -> None:
        self.flows = flows
        self.hook = hook
        self.rule = rule
        self.places: list[tuple[Table, tuple[str, ...], Rule]] = []
        self._taken: dict[Way, PacketSet] = {}
        self._on: dict[Way, PacketSet] = {}

    def add(self, table: Table, callers: tuple[str, ...], rule: Rule, taken: dict[Way, PacketSet]) -> None:
        """One more rule of the same place (a loop of a script), or another jump that leads to it."""
        self.places.append((table, callers, rule))
        for way, packets in taken.items():
            self._taken[way] = self._taken[way] | packets if way in self._taken else packets

    @property
    def span(self) -> Span | None:
        return self.rule.origin.span

    def on(self, way: Way) -> PacketSet:
        """The packets of a way that the rule untracks (and not one before it)."""
        if way not in self._on:
            taken = self._taken.get(way, PacketSet.nothing(self.flows.space))
            kept = self.flows.keeps(self.hook)
            self._on[way] = taken & (self.flows.ground(way) if kept else self.flows.untracked(way))
        return self._on[way]

    @property
    def is_generated(self) -> bool:
        """Whether a program (Calico, kube-proxy, ...) writes the rule: it is not the operator's to mend."""
        for table, callers, _ in self.places:
            chain = table.chain(callers[-1])
            if chain is not None and is_generated(table, chain):
                return True
        return False

    @cached_property
    def written(self) -> PacketSet:
        """The packets that its text asks for, with the rules that lead to it; what rules in front of it leave
        to it, and which addresses are the host's, do not count."""
        parts = [self.flows.view.written(*place).diagram for place in self.places]
        return PacketSet(self.flows.space, self.flows.space.first(parts))

    @cached_property
    def shape(self) -> Shape:
        """What it names, field by field."""
        return shape(self.written)


class Flows:
    """The untracked flows of a view, computed when they are asked for."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.space = view.model.space
        self.verdicts = Verdicts(view)
        self._ground: dict[Way, PacketSet] = {}
        self._untracked: dict[Way, PacketSet] = {}
        self._keeps: dict[Hook, bool] = {}
        self._answered: dict[Way, PacketSet] = {}
        self._returning: dict[Way, PacketSet] = {}

    @cached_property
    def legs(self) -> tuple[Leg, ...]:
        """Every NOTRACK rule that untracks anything, in the order in which packets meet them."""
        found: dict[tuple[object, Hook], Leg] = {}
        for hook in (Hook.PREROUTING, Hook.OUTPUT):
            ways = [way for way in Way if HOOK[way] is hook]
            made = self.view.raw(hook)
            if made is not None:
                for one in made.takings:
                    taken = dict.fromkeys(ways, PacketSet(self.space, one.packets))
                    self._add(found, hook, one.rule, (one.table, one.callers, one.rule), taken)
                continue
            for seen in self.view.untrackings:
                if seen.way in ways:
                    visit, taken = seen.visit, {seen.way: seen.packets.exists((Field.STATE,))}
                    self._add(found, hook, visit.rule, (visit.table, visit.callers, visit.rule), taken)
        return tuple(leg for leg in found.values())

    def _add(
        self,
        found: dict[tuple[object, Hook], Leg],
        hook: Hook,
        rule: Rule,
        place: tuple[Table, tuple[str, ...], Rule],
        taken: dict[Way, PacketSet],
    ) -> None:
        key = (rule.origin.span or id(rule), hook)
        leg = found.setdefault(key, Leg(self, hook, rule))
        leg.add(*place, taken)

    @cached_property
    def failing(self) -> tuple[Rule, ...]:
        """The rules that say CT or NOTRACK and untrack nothing: too late, shadowed, without option."""
        working = {id(rule) for leg in self.legs for _, _, rule in leg.places}
        return tuple(
            rule
            for table in self.view.ruleset.tables
            if self.view.family in table.families
            for chain in table.chains
            for rule in chain.rules
            if id(rule) not in working
            and any(isinstance(action, Notrack | Template) for action in rule.actions)
        )

    @cached_property
    def by_ports(self) -> dict[frozenset[IntervalSet], list[Leg]]:
        """The legs by the ports that they name, on whichever side."""
        found: dict[frozenset[IntervalSet], list[Leg]] = {}
        for leg in self.legs:
            found.setdefault(ports_key(leg.shape), []).append(leg)
        return found

    def at(self, hook: Hook) -> tuple[Leg, ...]:
        return tuple(leg for leg in self.legs if leg.hook is hook)

    def keeps(self, hook: Hook) -> bool:
        """Whether all that rules untrack at a hook goes on from there."""
        if hook not in self._keeps:
            made = self.view.raw(hook)
            every = self.space.first([one.packets for one in made.takings]) if made is not None else FULL
            self._keeps[hook] = made is not None and every == made.untracked
        return self._keeps[hook]

    def ground(self, way: Way) -> PacketSet:
        """All packets that may take a way and come as far as tracking, whole ones, in any state."""
        if way not in self._ground:
            model = self.view.model
            packets = self.space.all_of(
                [model.domain(way), model.arrives(way), tracking.whole_packets(self.space)]
            )
            ground = PacketSet(self.space, packets) & self.view.passing(way)
            self._ground[way] = ground.exists((Field.STATE,))
        return self._ground[way]

    def untracked(self, way: Way) -> PacketSet:
        """The packets of a way that rules take out of tracking."""
        if way not in self._untracked:
            self._untracked[way] = self.view.untracked(way).exists((Field.STATE,)) & self.ground(way)
        return self._untracked[way]

    def answered(self, way: Way) -> PacketSet:
        """The packets of a way some answer to which may be taken out of tracking, or got a zone or a helper:
        whoever gave it that thought of it."""
        if way not in self._answered:
            untracked = self.view.answers_untracked(BACK[way])
            self._answered[way] = self._facing(way, (untracked | self._templated(BACK[way])).diagram)
        return self._answered[way]

    def _templated(self, back: Way) -> PacketSet:
        """The packets whose answers on a way meet a rule that gives flows a zone, a helper or a timeout."""
        view, space = self.view, self.space
        found = [
            guard_set(space, answered(rule.guard, view.family))
            for table in view.ruleset.tables
            if view.family in table.families
            for _, rule, bases in early_rules(table)
            if any(isinstance(one, Template) and one.what != "-j CT" for one in rule.actions)
            and any(base.hook is HOOK[back] for base in bases)
        ]
        return PacketSet(space, space.first(found))

    def returning(self, way: Way) -> PacketSet:
        """The packets of a way to which an answer can come: none comes from a group of hosts."""
        if way not in self._returning:
            ends = PacketSet(self.space, self.space.cube(self._ends(way)))
            self._returning[way] = self._facing(way, FULL) & ends
        return self._returning[way]

    def _ends(self, way: Way) -> dict[Field, IntervalSet]:
        """Addresses of single hosts at both ends; loopback ones only where packets stay inside."""
        nobody = _NOBODY[self.view.family]
        if way is not Way.LOOPBACK:
            nobody = nobody | LOOPBACK[self.view.family]
        someone = self.view.family.whole - nobody
        one = IntervalSet.of(((AddressType.UNICAST,) * 2, (AddressType.LOCAL,) * 2))
        return {
            Field.SOURCE: someone,
            Field.DESTINATION: someone,
            Field.SOURCE_TYPE: one,
            Field.DESTINATION_TYPE: one,
        }

    def _facing(self, way: Way, diagram: int) -> PacketSet:
        answering, back = self.view.answering, BACK[way]
        whole = tracking.whole_packets(self.space)
        passing = self.view.passing(back, answers=True).diagram
        packets = self.space.all_of(
            [answering.domain(back), answering.arrives(back), whole, passing, diagram]
        )
        facing = PacketSet(self.space, packets).exists(OF_ONE_PACKET).may()
        if way is Way.LOOPBACK:  # both directions leave by lo
            facing = facing.exists((Field.IN, Field.OUT)) & self.ground(way).exists(OF_ONE_PACKET)
        return facing

    def paired(self, packets: PacketSet, way: Way) -> PacketSet:
        """The packets whose answers are, or may be, untracked too.

        Where the host's own addresses are not known, an answer from one of those that the packets name is
        enough; on the way through, an answer that comes in by any interface is.
        """
        if not packets:
            return packets
        back = self.answered(way) & self._at_ports(packets)
        loose = self.unsettled(packets, way)
        if loose:
            back = ((back & packets.exists(OF_ONE_PACKET)) - self._to_itself(packets, way)).exists(loose)
        return packets & back

    def _at_ports(self, packets: PacketSet) -> PacketSet:
        """All packets at the ports of some: it keeps what follows small."""
        sides = (Field.SOURCE_PORT, Field.DESTINATION_PORT)
        ports = {side: self.space.project(packets.diagram, side) for side in sides}
        return PacketSet(self.space, self.space.cube(ports))

    def _to_itself(self, packets: PacketSet, way: Way) -> PacketSet:
        """The packets to an address from which they come, where a few addresses of one end are named: where
        that end is, the host (or the other end) is not."""
        found = PacketSet.nothing(self.space)
        if way is Way.LOOPBACK:
            return found
        source, destination = (packets.project(side) for side in (Field.SOURCE, Field.DESTINATION))
        if source.size() <= _FEW < destination.size():
            found = PacketSet(self.space, self.space.among(Field.DESTINATION, source))
        if destination.size() <= _FEW < source.size():
            found = PacketSet(self.space, self.space.among(Field.SOURCE, destination))
        return found

    def unpaired(self, packets: PacketSet, way: Way, paired: PacketSet | None = None) -> PacketSet:
        """The packets whose answers come, and are tracked for certain: of interfaces that are known."""
        paired = self.paired(packets, way) if paired is None else paired
        rest = (packets & self.returning(way)) - paired
        rest = rest - self._to_itself(packets, way) if rest else rest
        return self.known(rest, way)

    def suspect(self, way: Way) -> PacketSet:
        """All packets of a way that are untracked and, as they stand, have tracked answers: what is not among
        them is paired for certain."""
        return self.known((self.untracked(way) & self.returning(way)) - self.answered(way), way)

    def known(self, rest: PacketSet, way: Way) -> PacketSet:
        """The packets of interfaces that are known."""
        side = _SIDE.get(way)
        if rest and side is not None and self.interfaces is not None:
            rest = rest & PacketSet(self.space, self.space.among(side, self.interfaces))
        return rest

    def unsettled(self, packets: PacketSet, way: Way) -> tuple[Field, ...]:
        """What packets of a way say about the host that is not known, and so counts with any value."""
        fields = _OWN[way]
        if way in _SIDE:
            known = self.view.host.addresses(self.view.family) is not None
            if known or packets.project(fields[0]).size() <= _FEW:
                return ()
        return fields

    @cached_property
    def interfaces(self) -> IntervalSet | None:
        """The interfaces beside loopback that the host has, or else those that rules name; None: any."""
        known = self.view.host.interfaces
        lo = IntervalSet.single(interface_value("lo"))
        if known is not None:
            return IntervalSet.of((interface_value(one.name),) * 2 for one in known) - lo
        return (IntervalSet.of(_named(self.view.ruleset)) - lo) or None


def ports_key(one: Shape) -> frozenset[IntervalSet]:
    return frozenset((one.source_port, one.destination_port))


def _named(ruleset: Ruleset) -> Iterable[tuple[int, int]]:
    for table in ruleset.tables:
        for chain in table.chains:
            for rule in chain.rules:
                yield from _names(rule.guard)


def _names(guard: Guard) -> Iterable[tuple[int, int]]:
    for literal in guard:
        if isinstance(literal, Among) and literal.field in (Field.IN, Field.OUT):
            if not literal.negated and 0 not in literal.values:
                yield from literal.values
        elif isinstance(literal, OneOf) and not literal.negated:
            for inner in literal.guards:
                yield from _names(inner)
