"""What rules do with packets that open flows, way by way: what passes, and what becomes of the rest."""

from __future__ import annotations

from functools import cached_property

from notrack.draft.pieces import Pieces, pieces
from notrack.netfilter.chains import End, Outcome
from notrack.netfilter.effects import Track
from notrack.netfilter.host import Host
from notrack.netfilter.model import Model
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.packets.diagram import EMPTY
from notrack.packets.fields import ICMP_PROTOCOL, AddressType, Field, State, interface_name
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Among, Nat, NatKind, Ruleset
from notrack.site.model import Default
from notrack.text.record import dataclass

_OF_FLOWS = (Field.STATE, Field.CT_DIRECTION, Field.CT_SNAT, Field.CT_DNAT, Field.CT_MARK)
_UNMOVED = (Field.CT_DIRECTION, Field.CT_SNAT, Field.CT_DNAT)  # of a first packet, as it comes in
_NOBODYS = 253  # a protocol for experiments: what becomes of it becomes of everything that is not named


@dataclass(frozen=True, slots=True)
class Translated:
    """A translation, and the packets that open flows which get it."""

    nat: Nat
    found: Pieces


class Openings:
    """One family's rules on a host."""

    def __init__(self, ruleset: Ruleset, family: Family, host: Host) -> None:
        self.ruleset = ruleset
        self.family = family
        self.host = host
        self.model = Model(ruleset, family, host)
        self.space = self.model.space
        self.rests_on: dict[str, None] = {}  # facts that no packet decides, of all that was asked for

    @cached_property
    def known(self) -> tuple[str, ...]:
        """The devices that the host or the rules name."""
        names = dict.fromkeys(one.name for one in self.host.interfaces or ())
        for table in self.ruleset.tables:
            for chain in table.chains:
                for rule in chain.rules:
                    for part in rule.guard:
                        if isinstance(part, Among) and part.field in (Field.IN, Field.OUT):
                            names |= {
                                interface_name(low) or "": None for low, high in part.values if low == high
                            }
        return tuple(name for name in names if name)

    def opening(self, way: Way) -> int:
        """All packets of a way that open a flow, known or not to be tracked, without their state."""
        space = self.space
        tcp = space.among(Field.PROTOCOL, 6)
        syn = space.join(space.complement(tcp), space.among(Field.FLAGS, 2))
        unmoved = space.cube({field: IntervalSet.single(0) for field in _UNMOVED})
        return space.all_of((self.model.passage(way).domain, self._first, syn, unmoved, self._plain(way)))

    @cached_property
    def _first(self) -> int:
        """Packets in the states that they have while no flow is known."""
        untracked = self.space.among(Field.STATE, State.UNTRACKED)
        return self.space.join(self.model.first_packets().diagram, untracked)

    def _plain(self, way: Way) -> int:
        """To the host's own addresses, or to others: not to groups or broadcast."""
        kind = AddressType.LOCAL if way is Way.LOCAL_IN else AddressType.UNICAST
        parts = [self.space.among(Field.FRAGMENT, 0)]
        if way is not Way.FORWARD:
            parts.append(self.space.among(Field.DESTINATION_TYPE, kind))
        return self.space.all_of(parts)

    def _icmp(self) -> int:
        return self.space.among(Field.PROTOCOL, ICMP_PROTOCOL[self.family])

    def _messages(self) -> int:
        """ICMP, that of the other family among it: nobody sends that, and no declaration is made of it."""
        return self.space.among(Field.PROTOCOL, IntervalSet.of((p, p) for p in ICMP_PROTOCOL.values()))

    def _stateless(self, diagram: int) -> int:
        return self.space.exists(diagram, _OF_FLOWS)

    def accepted(self, way: Way, *, untracked: bool | None = None) -> int:
        """What may pass, as facts go that no packet decides; `untracked`: of tracked or untracked flows
        alone. Flows whose destination is translated are not among it."""
        passage = self.model.passage(way)
        opening = PacketSet(self.space, self.opening(way))

        def wanted(outcome: Outcome) -> bool:
            if outcome.end is not End.ON or outcome.effects.destination_nat is not None:
                return False
            return untracked is None or (outcome.effects.track is Track.UNTRACKED) is untracked

        found = passage.where(wanted, opening)
        self.rests_on |= dict.fromkeys(found.facts())
        return self._stateless(self.space.may(found.diagram))

    def named(self, way: Way, *, untracked: bool | None = None) -> Pieces:
        """What is let through beside ICMP, in pieces."""
        return self._pieces(way, self.accepted(way, untracked=untracked))

    def stopped(self, way: Way) -> Pieces:
        """What is not let through, where nearly everything is."""
        return self._pieces(way, self.space.minus(self.domain(way), self.accepted(way)))

    def to_groups(self) -> Pieces:
        """What is let in that goes to groups or to broadcast, where rules name such an address."""
        space = self.space
        kinds = IntervalSet.of((kind, kind) for kind in (AddressType.BROADCAST, AddressType.MULTICAST))
        passage = self.model.passage(Way.LOCAL_IN)
        asked = space.all_of(
            (
                passage.domain,
                self._first,
                space.complement(self._messages()),
                space.among(Field.FRAGMENT, 0),
                space.among(Field.DESTINATION_TYPE, kinds),
                self._source(Way.LOCAL_IN),
            )
        )
        passing = self._stateless(space.may(passage.accepted(PacketSet(space, asked)).diagram))
        found = pieces(space, passing, self._stateless(asked), self.known)
        return Pieces(tuple(one for one in found.found if one.destinations is not None))

    def domain(self, way: Way) -> int:
        return self._stateless(self.opening(way))

    def _outside(self, way: Way) -> int:
        """What may open a flow from addresses that others have."""
        return self.space.meet(self.domain(way), self._source(way))

    def _pieces(self, way: Way, packets: int) -> Pieces:
        space = self.space
        others = space.join(self._messages(), self._turned(way))
        domain = space.minus(self._outside(way), others)
        return pieces(space, space.meet(packets, domain), domain, self.known)

    def _source(self, way: Way) -> int:
        """From addresses that others may have."""
        if way in (Way.LOCAL_IN, Way.FORWARD):
            return self.space.among(Field.SOURCE_TYPE, AddressType.UNICAST)
        return self.space.complement(EMPTY)

    def requests(self, way: Way) -> Pieces:
        """The ICMP requests that are let through."""
        space = self.space
        domain = space.all_of((self._outside(way), self._icmp(), space.among(Field.ICMP_CODE, 0)))
        return pieces(space, space.meet(self.accepted(way), domain), domain, self.known)

    def rest(self, way: Way) -> Default:
        """What becomes of packets that no rule names."""
        space = self.space
        asked = space.all_of((self.opening(way), space.among(Field.PROTOCOL, _NOBODYS), self._source(way)))
        if asked == EMPTY:
            return Default.DROP
        passage = self.model.passage(way)
        whole = PacketSet(space, asked)
        if not space.minus(
            self._stateless(asked), self._stateless(space.may(passage.accepted(whole).diagram))
        ):
            return Default.ACCEPT
        rejected = passage.rejected(within=whole)
        return Default.REJECT if rejected else Default.DROP

    def translated(self, way: Way, *kinds: NatKind) -> list[Translated]:
        """The translations of a way that are of some kinds, each with all flows that get it and pass."""
        space = self.space
        sets: dict[Nat, int] = {}
        for effects, packets in self.model.passage(way).translated():
            for nat in (effects.destination_nat, effects.source_nat):
                if nat is not None and nat.kind in kinds:
                    inside = self._stateless(space.may(packets.diagram))
                    sets[nat] = space.join(sets.get(nat, EMPTY), inside)
        domain = self._translatable(way, outward=NatKind.MASQUERADE in kinds)
        return [
            Translated(nat, pieces(space, space.meet(packets, domain), domain, self.known))
            for nat, packets in sets.items()
        ]

    def _translatable(self, way: Way, *, outward: bool) -> int:
        """What a translation may be told apart by: of sources, nothing that forwarding asks for as well."""
        space = self.space
        asked = space.all_of((self.model.passage(way).domain, space.among(Field.STATE, State.NEW)))
        if outward:
            passing = self.model.passage(way).accepted(PacketSet(space, asked))
            asked = space.may(passing.diagram)
        beside = space.complement(self._messages())
        whole = space.among(Field.FRAGMENT, 0)
        return space.all_of((self._stateless(asked), whole, beside, self._source(way)))

    def _turned(self, way: Way) -> int:
        """Packets whose destination is translated: where they go is the translation's business."""
        space = self.space
        opening = PacketSet(space, self.opening(way))
        found = self.model.passage(way).where(lambda one: one.effects.destination_nat is not None, opening)
        return self._stateless(space.may(found.diagram))

    @cached_property
    def blocked(self) -> IntervalSet:
        """The sources from which nothing at all gets to the host."""
        space = self.space
        found = space.meet(self._outside(Way.LOCAL_IN), self.accepted(Way.LOCAL_IN))
        return self.sources - space.project(found, Field.SOURCE) if found != EMPTY else IntervalSet()

    @cached_property
    def sources(self) -> IntervalSet:
        """The addresses from which packets can come to the host."""
        return self.space.project(self._outside(Way.LOCAL_IN), Field.SOURCE)

    def answers_pass(self) -> bool:
        """Whether the answers to what the host itself starts come back by the state of their flows."""
        space = self.space
        known = space.among(Field.STATE, State.ESTABLISHED)
        own = space.among(Field.DESTINATION_TYPE, AddressType.LOCAL)
        passage = self.model.passage(Way.LOCAL_IN)
        asked = space.all_of((passage.domain, known, own, space.among(Field.PROTOCOL, 17)))
        passing = passage.accepted(PacketSet(space, asked))
        return not space.minus(space.may(asked), space.may(passing.diagram))
