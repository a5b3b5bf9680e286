"""What the nat table would do if nothing were untracked, and which rules that untrack are in its way.

All of it is asked of the twin: the same rules without any NOTRACK. There a packet is judged and translated
as one of a tracked flow; what the twin translates and a rule here untracks is never translated.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property

from notrack.lint.bounds import bound, rules_of
from notrack.lint.entrances import entrances
from notrack.lint.exposure import (
    REGISTERED,
    STARTING,
    UDP,
    changed,
    from_anyone,
    inner,
    is_service,
    opening,
    ordinary,
    passing,
)
from notrack.lint.exposure import (
    to_anyone as to_anyone,
)
from notrack.lint.owners import is_generated
from notrack.lint.relevance import meeting, relevant
from notrack.lint.sample import CLOSE, public
from notrack.lint.view import Untracking, View
from notrack.netfilter.effects import Effects
from notrack.netfilter.model import Model
from notrack.netfilter.translation import answers_on_wire
from notrack.netfilter.visits import Visit, survivors, visits
from notrack.netfilter.ways import LOOPBACK_INTERFACE, STAGES, Way
from notrack.packets.fields import NO_INTERFACE, AddressType, Field, domain
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Among, Hook, Nat, NatKind, Notrack, Rule, Ruleset
from notrack.text.record import dataclass

SOURCE_KINDS = (NatKind.SNAT, NatKind.MASQUERADE)
_FEW = 256  # so many ports may be named for the sake of single services
_ENDS = (
    Field.SOURCE,
    Field.SOURCE_TYPE,
    Field.SOURCE_PORT,
    Field.DESTINATION,
    Field.DESTINATION_TYPE,
    Field.DESTINATION_PORT,
)
_LOOSE = (
    Field.STATE, Field.CT_DIRECTION, Field.CT_SNAT, Field.CT_DNAT, Field.FLAGS, Field.MAC, Field.PACKET_TYPE,
    Field.LENGTH, Field.TTL, Field.TOS, Field.MARK, Field.CT_MARK,
)  # fmt: skip
_CLIENT = IntervalSet(((40000, 50000),))  # source ports that any client may have, and no service
_BACK = {Way.LOCAL_IN: Way.LOCAL_OUT, Way.LOCAL_OUT: Way.LOCAL_IN, Way.FORWARD: Way.FORWARD}


class Part(enum.Enum):
    """Which packets of a translated flow a rule untracks."""

    QUESTIONS = "questions"
    ANSWERS = "answers"


@dataclass(frozen=True, slots=True)
class Conflict:
    """A rule that untracks packets of flows that another one would translate."""

    untracking: Untracking
    translator: Visit
    packets: PacketSet
    part: Part
    source: bool  # the source is translated, else the destination


class Translations:
    """The translations of a view."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.space = view.model.space

    @cached_property
    def nats(self) -> tuple[Nat, ...]:
        """Every translation that the rules of the family hold."""
        return tuple(nat for rule in self.translating if (nat := _nat_of(rule)) is not None)

    @cached_property
    def translating(self) -> tuple[Rule, ...]:
        """The rules that translate."""
        every = rules_of(self.view.ruleset, self.view.family)
        return tuple(rule for rule in every if _nat_of(rule) is not None)

    @cached_property
    def _source_alone(self) -> Ruleset:
        """The same rules without NOTRACK and without a translation of destinations: a published port that is
        reached from inside is given to few flows, and close by."""

        def plain(rule: Rule) -> Rule:
            nat = _nat_of(rule)
            return rule if nat is None or nat.kind in SOURCE_KINDS else replace(rule, actions=())

        return changed(self.tracked_rules, plain)

    @cached_property
    def twin(self) -> Model:
        """The model of the same rules without NOTRACK."""
        return Model(self.tracked_rules, self.view.family, self.view.host, space=self.space)

    @cached_property
    def tracked_rules(self) -> Ruleset:
        """The same rules without NOTRACK."""

        def tracked(rule: Rule) -> Rule:
            if not any(isinstance(action, Notrack) for action in rule.actions):
                return rule
            return replace(rule, actions=tuple(one for one in rule.actions if not isinstance(one, Notrack)))

        return changed(self.view.ruleset, tracked)

    def untracking(self, way: Way) -> list[tuple[Untracking, PacketSet]]:
        """The rules that untrack on a way, with the packets that they take for certain. What a program wrote
        (Calico, Cilium) is left out: it knows what it translates."""
        found = [
            (one, ordinary(one.packets))
            for one in self.view.untrackings
            if one.way is way and not is_generated(one.visit.table, one.visit.chain)
        ]
        return [(one, packets) for one, packets in found if packets]

    def translated(
        self, way: Way, asked: PacketSet, ruleset: Ruleset | None = None
    ) -> Iterator[tuple[Effects, PacketSet, Visit]]:
        """The first packets of a set that the twin translates, with what it does and the rule that does."""
        ruleset = ruleset or self.tracked_rules
        if not asked:
            return
        alive = [
            (effects, ordinary(packets))
            for effects, packets in survivors(relevant(self.view, ruleset, asked), way, asked).items()
            if effects.source_nat or effects.destination_nat
        ]
        every = self.union(packets for _, packets in alive)
        if not every:
            return
        rules = [
            (visit, nat)
            for visit in visits(relevant(self.view, ruleset, every), way, every)
            if (nat := _nat_of(visit.rule)) is not None
        ]
        for effects, packets in alive:
            for visit, nat in rules:
                same = nat in (effects.source_nat, effects.destination_nat)
                if same and (both := packets & visit.matching()):
                    yield effects, both, visit

    @cached_property
    def conflicts(self) -> tuple[Conflict, ...]:
        """Every rule that untracks what another translates, but for chance: see `collisions`."""
        if not self.nats or not self.view.untrackings:
            return ()
        return (*self._questions(), *self._answers())

    def _questions(self) -> Iterator[Conflict]:
        for way in Way:
            asking = [
                (one, packets)
                for one, packets in self.untracking(way)
                if not self.is_answer(one)
                and not _by_loopback(one, self.view)
                and self._may_be_translated(way, packets)
            ]
            for some in self._together(asking):
                yield from self._asked(way, some)

    def _asked(self, way: Way, asking: list[tuple[Untracking, PacketSet]]) -> Iterator[Conflict]:
        """The conflicts of some rules, looked at together."""
        closer = self._closer([one for one, _ in asking], self.union(packets for _, packets in asking))
        first = opening(self.view, closer)
        taken = [(one, packets & first) for one, packets in asking]
        every = self.union(packets for _, packets in taken)
        for _, packets, visit in self.translated(way, every):
            nat = _nat_of(visit.rule)
            source = nat is not None and nat.kind in SOURCE_KINDS
            if source and way is not Way.FORWARD:
                continue  # its own packets keep their address: it is the one that they would get
            for one, mine in taken:
                hit = packets & mine
                doubtful = self._routed_elsewhere(hit) if source else self._may_stay_inside(way, one, hit)
                if hit and not doubtful and not _on_purpose(visit, hit):
                    yield Conflict(one, visit, self._as_it_goes(hit), Part.QUESTIONS, source)

    def _closer(self, ones: list[Untracking], packets: PacketSet) -> list[Rule]:
        """The rules whose addresses must be in the sample of a large ruleset: those that untrack, and those
        that translate and may meet the packets."""
        if self.view.sample is None:
            return []
        meet = meeting(self.view, self.translating, packets)
        return [*(one.visit.rule for one in ones), *meet[:: max(-(-2 * len(meet) // CLOSE), 1)]]

    def _may_be_translated(self, way: Way, packets: PacketSet) -> bool:
        """Whether any rule that translates may meet packets of a way: in the nat chains of its hooks. What is
        for this host itself is only forwarded once its destination is translated."""
        hooks = {stage.hook for stage in STAGES[way]}
        elsewhere = PacketSet.where(self.space, Field.DESTINATION_TYPE, AddressType.UNICAST)
        passes = way is Way.FORWARD and bool(packets & elsewhere)
        rules = [
            rule for rule, reached in self._reached if reached & hooks and (passes or not _is_source(rule))
        ]
        return bool(meeting(self.view, rules, packets))

    @cached_property
    def _reached(self) -> tuple[tuple[Rule, frozenset[Hook]], ...]:
        """The rules that translate, with the hooks from which packets come to them."""
        found: list[tuple[Rule, frozenset[Hook]]] = []
        for table in self.view.ruleset.tables:
            if self.view.family not in table.families:
                continue
            leading = entrances(table)
            for chain in table.chains:
                hooks = frozenset(base.hook for base in leading[chain.name])
                found += [(rule, hooks) for rule in chain.rules if _nat_of(rule) is not None]
        return tuple(found)

    def _as_it_goes(self, packets: PacketSet) -> PacketSet:
        """Packets as they go untranslated: those for the host itself leave it no more."""
        here = packets & PacketSet.where(self.space, Field.DESTINATION_TYPE, AddressType.LOCAL)
        arriving = here & ~PacketSet.where(self.space, Field.IN, NO_INTERFACE)
        staying = PacketSet.where(self.space, Field.OUT, NO_INTERFACE)
        return arriving.exists((Field.OUT,)) & staying if arriving else packets

    def _answers(self) -> Iterator[Conflict]:
        for way, back in _BACK.items():
            taken = [
                (one, packets)
                for one, packets in self.untracking(back)
                # a rule that names a service is in the way of an answer by chance alone: a collision
                if (self.is_answer(one) or not self._names_service(one))
                and self._may_be_answered(one, packets)
            ]
            for some in self._together(taken):
                answers = self.union(packets for _, packets in some)
                asking = self.asking([one for one, _ in some], answers, way)
                for effects, asked, visit in self.translated(way, asking):
                    yield from self._answered(way, some, effects, asked, visit)

    def _answered(
        self,
        way: Way,
        taken: list[tuple[Untracking, PacketSet]],
        effects: Effects,
        asked: PacketSet,
        visit: Visit,
    ) -> Iterator[Conflict]:
        """The rules that untrack the answers to what a rule translates."""
        source = effects.source_nat is not None
        if source and way is not Way.FORWARD:
            return
        back = answers_on_wire(asked, effects) & self._to_clients
        for one, packets in taken:
            hit = back & packets
            if not hit or (source and self.names_ports(one)) or _on_purpose(visit, hit):
                continue
            if source and not from_anyone(hit) and not self._is_elsewhere(hit.project(Field.SOURCE)):
                continue  # nothing tells that such answers come back to where the translation is
            if effects.source_nat is None or self._may_be_own(hit, effects.source_nat):
                yield Conflict(one, visit, hit, Part.ANSWERS, source)

    def _names_service(self, one: Untracking) -> bool:
        """Whether a rule names a few destination ports."""
        return bound(one.visit.rule.guard, Field.DESTINATION_PORT, self.view.family).size() <= _FEW

    @cached_property
    def _to_clients(self) -> PacketSet:
        """Packets to ports that connections usually start from: a rule that takes answers there takes them
        by design, not by chance."""
        return PacketSet.where(self.space, Field.DESTINATION_PORT, STARTING)

    @cached_property
    def collisions(self) -> tuple[Conflict, ...]:
        """Every rule that names ports and may take the answers to flows whose source is translated: they
        come to the port that the flow was given."""
        if not any(nat.kind in SOURCE_KINDS for nat in self.nats):
            return ()
        return tuple(self._collisions())

    def _collisions(self) -> Iterator[Conflict]:
        wrong = {id(one.untracking.visit.rule) for one in self.conflicts if not one.source}
        taken = [
            (one, meant)
            for one, packets in self.untracking(Way.LOCAL_IN)
            # a rule that is wrong anyway has no service whose port could be taken
            if self.names_ports(one) and id(one.visit.rule) not in wrong
            if (meant := packets & self._handed_out)
        ]
        for some in self._together(taken):
            answers = self.union(meant for _, meant in some)
            asking = self.asking([one for one, _ in some], answers, Way.FORWARD)
            for effects, asked, visit in self.translated(Way.FORWARD, asking, self._source_alone):
                if effects.source_nat is None:
                    continue
                back = answers_on_wire(asked, effects)
                if _for_containers(visit.rule):
                    back = back & PacketSet.where(self.space, Field.DESTINATION_PORT, REGISTERED)
                for one, meant in some:
                    hit = back & meant
                    if hit and self._may_be_own(hit, effects.source_nat):
                        yield Conflict(one, visit, hit, Part.ANSWERS, True)

    def _together(
        self, taken: list[tuple[Untracking, PacketSet]]
    ) -> Iterator[list[tuple[Untracking, PacketSet]]]:
        """The rules that are asked about at once: in a large ruleset a few."""
        step = max(len(taken) if self.view.sample is None else CLOSE // 2, 1)
        for at in range(0, len(taken), step):
            yield taken[at : at + step]

    def _may_be_answered(self, one: Untracking, packets: PacketSet) -> bool:
        """Whether the packets of a rule may be answers to any flow that is translated."""
        addresses, ports = packets.project(Field.SOURCE), packets.project(Field.SOURCE_PORT)
        for nat in self.nats:
            if nat.kind in SOURCE_KINDS:
                if not self.names_ports(one):
                    return True
            elif not addresses.isdisjoint(nat.addresses or addresses) and not ports.isdisjoint(
                nat.ports or ports
            ):
                return True
        return False

    @cached_property
    def _handed_out(self) -> PacketSet:
        """Packets to ports that a translated flow really gets: from 1024 up, and the few that both ends of a
        protocol use. Below 1024 a source port is kept, and no client has one there by itself."""
        space = self.space
        high = space.among(Field.DESTINATION_PORT, IntervalSet(((1024, 65535),)))
        low = space.cube({Field.PROTOCOL: IntervalSet.single(UDP), Field.DESTINATION_PORT: _FIXED})
        return PacketSet(space, space.join(high, low))

    def asking(self, ones: list[Untracking], answers: PacketSet, way: Way) -> PacketSet:
        """The packets that begin something on a way and whose answers, translated or not, may be in a set."""
        loose = [*_LOOSE, *_ENDS, Field.OUT if way is Way.FORWARD else Field.STATE]
        kept = {Field.SOURCE_PORT, Field.DESTINATION_PORT, Field.SOURCE, Field.DESTINATION}
        moved = self._moved
        loose = [field for field in loose if field not in kept - moved]
        asked = answers.exists(loose).mirror()
        return asked & opening(self.view, self._closer(ones, asked))

    @cached_property
    def _moved(self) -> set[Field]:
        """The fields of an answer (as it is on the wire) that differ from those of the question."""
        found: set[Field] = set()
        for nat in self.nats:
            source = nat.kind in SOURCE_KINDS
            found.add(Field.DESTINATION if source else Field.SOURCE)
            if nat.ports is not None:
                found.add(Field.DESTINATION_PORT if source else Field.SOURCE_PORT)
        return found

    def is_answer(self, one: Untracking) -> bool:
        """Whether a rule untracks answers: it names the port of a service that they come from, and none (or
        many) that they go to."""
        guard = one.visit.rule.guard
        sent = bound(guard, Field.SOURCE_PORT, self.view.family)
        gone = bound(guard, Field.DESTINATION_PORT, self.view.family)
        return is_service(sent) and gone.size() > _FEW

    def names_ports(self, one: Untracking) -> bool:
        """Whether a rule names ports at all."""
        guard, family = one.visit.rule.guard, self.view.family
        whole = domain(Field.SOURCE_PORT, family).whole
        return any(
            bound(guard, side, family) != whole for side in (Field.SOURCE_PORT, Field.DESTINATION_PORT)
        )

    def mirrored(self, packets: PacketSet, way: Way) -> bool:
        """Whether some rule on a way untracks the answers to packets."""
        client = packets & PacketSet.where(self.space, Field.SOURCE_PORT, _CLIENT)
        answers = client.exists(_LOOSE).mirror()
        return any(mine & answers for _, mine in self.untracking(way))

    def forwarded(self, packets: PacketSet, closer: list[Rule]) -> PacketSet:
        """The packets of a set that pass through the host to others, as the twin judges them."""
        elsewhere = PacketSet.where(self.space, Field.DESTINATION_TYPE, AddressType.UNICAST)
        asked = packets & opening(self.view, closer) & elsewhere
        if not asked:
            return asked
        return ordinary(passing(relevant(self.view, self.tracked_rules, asked), Way.FORWARD, asked))

    def union(self, parts: Iterable[PacketSet]) -> PacketSet:
        return PacketSet(self.space, self.space.first([part.diagram for part in parts]))

    def _routed_elsewhere(self, packets: PacketSet) -> bool:
        """Whether routing may never bring packets to a rule for what leaves: they go to some addresses of
        which nobody knows where they are, to inner networks, or back where they came from."""
        targets = packets.project(Field.DESTINATION)
        if not to_anyone(packets) and not self._is_elsewhere(targets):
            return True
        into, out = packets.project(Field.IN), packets.project(Field.OUT)
        return into.size() == 1 and into == out

    def _may_stay_inside(self, way: Way, one: Untracking, packets: PacketSet) -> bool:
        """Whether packets of the host itself may go to an address of its own, inside a network that a rule
        names: they leave by lo then, and are none of the rule's."""
        if way is not Way.LOCAL_OUT or self.view.host.interfaces is not None or self.names_ports(one):
            return False
        return packets.project(Field.DESTINATION).size() <= 16

    def _is_elsewhere(self, addresses: IntervalSet) -> bool:
        """Whether some addresses are known to be of no network that the host has a part in."""
        links = self.view.host.networks()
        if links is None:
            return False
        far = addresses - links.family(self.view.family)
        return not far.isdisjoint(public(self.view.family))

    def _may_be_own(self, packets: PacketSet, nat: Nat) -> bool:
        """Whether the addresses that packets go to may be the one that translated flows get."""
        named = packets.project(Field.DESTINATION)
        if nat.addresses is not None or self.view.host.interfaces is not None:
            return True
        return to_anyone(packets) or not named.isdisjoint(public(self.view.family))


_FIXED = IntervalSet.of(((53, 53), (123, 123), (500, 500)))
"""UDP ports that both ends use: name servers, time servers, IKE."""


def _nat_of(rule: Rule) -> Nat | None:
    return next((action for action in rule.actions if isinstance(action, Nat)), None)


def _for_containers(rule: Rule) -> bool:
    """Whether a rule translates what containers send, which have no port below 1024 by themselves."""
    named = [one for one in rule.guard if isinstance(one, Among) and one.field in (Field.IN, Field.OUT)]
    return any(one.values <= inner() for one in named)


def _is_source(rule: Rule) -> bool:
    nat = _nat_of(rule)
    return nat is not None and nat.kind in SOURCE_KINDS


def _by_loopback(one: Untracking, view: View) -> bool:
    """Whether a rule is about what leaves by lo alone."""
    out = bound(one.visit.rule.guard, Field.OUT, view.family)
    return one.visit.hook is Hook.OUTPUT and out == IntervalSet.single(LOOPBACK_INTERFACE)


def _on_purpose(visit: Visit, packets: PacketSet) -> bool:
    """Whether a rule goes past kube-proxy's translation of some addresses that it names: a DNS cache on each
    node answers at the address of the cluster's service."""
    if not any(name.startswith("KUBE-") for name in (*visit.callers, visit.chain.name)):
        return False
    return any(packets.project(side).size() <= 16 for side in (Field.SOURCE, Field.DESTINATION))
