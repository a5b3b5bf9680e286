"""The ways that packets take through a host: the hooks of each, in order, and which packets take it."""

from __future__ import annotations

import enum

from notrack.netfilter.effects import Unsure
from notrack.netfilter.guards import fields_of
from notrack.netfilter.host import Host, address_types, group_addresses
from notrack.packets.address import Family
from notrack.packets.diagram import EMPTY
from notrack.packets.fields import (
    NO_DIRECTION,
    NO_INTERFACE,
    NO_MAC,
    AddressType,
    Field,
    PacketType,
    domain,
    interface_value,
)
from notrack.packets.intervals import IntervalSet
from notrack.packets.space import Space
from notrack.ruleset.core import (
    CONNTRACK_PRIORITY,
    DEFRAGMENTATION_PRIORITY,
    Chain,
    ChainType,
    Hook,
    Ruleset,
    SetField,
    ShiftField,
    Table,
)
from notrack.text.record import dataclass

LOOPBACK_INTERFACE = interface_value("lo")


class Way(enum.Enum):
    """A way through the host. Loopback is two passages of one packet: it leaves by lo and comes in by lo."""

    LOCAL_IN = "local in"
    FORWARD = "forward"
    LOCAL_OUT = "local out"
    LOOPBACK = "loopback"


@dataclass(frozen=True, slots=True)
class Stage:
    """One hook on a way. `early`: what runs before connection tracking there.

    `raw`: what runs before fragments are put together. `again`: a loopback packet's second passage, which
    carries what was decided on the first.
    """

    hook: Hook
    early: bool = False
    again: bool = False
    raw: bool = False

    @property
    def tracked_behind(self) -> bool:
        """Whether connection tracking follows."""
        return self.early and not self.raw

    @property
    def routed_behind(self) -> bool:
        """Whether the packet is routed behind it, translated or not."""
        return self.hook in (Hook.PREROUTING, Hook.OUTPUT) and not self.early and not self.again


def _received(*, again: bool = False) -> tuple[Stage, ...]:
    return (
        Stage(Hook.INGRESS, early=True, again=again, raw=True),
        Stage(Hook.PREROUTING, early=True, again=again, raw=True),
        Stage(Hook.PREROUTING, early=True, again=again),
        Stage(Hook.PREROUTING, again=again),
    )


_SENT = (Stage(Hook.OUTPUT, early=True), Stage(Hook.OUTPUT), Stage(Hook.POSTROUTING), Stage(Hook.EGRESS))
STAGES: dict[Way, tuple[Stage, ...]] = {
    Way.LOCAL_IN: (*_received(), Stage(Hook.INPUT)),
    Way.FORWARD: (*_received(), Stage(Hook.FORWARD), Stage(Hook.POSTROUTING), Stage(Hook.EGRESS)),
    Way.LOCAL_OUT: _SENT,
    Way.LOOPBACK: (*_SENT, *_received(again=True), Stage(Hook.INPUT, again=True)),
}
ROUTED = {
    Way.LOCAL_IN: (AddressType.LOCAL, AddressType.BROADCAST, AddressType.MULTICAST),
    Way.FORWARD: (AddressType.UNICAST,),
    Way.LOCAL_OUT: (AddressType.UNICAST, AddressType.BROADCAST, AddressType.MULTICAST),
    Way.LOOPBACK: (AddressType.LOCAL,),
}
"""The kinds of destinations, as they are when routed, that take each way."""
LIVING_TTL = IntervalSet(((2, 255),))
"""The TTL with which packets are forwarded (`ip_forward`, `ip6_forward`)."""
FRAMES = IntervalSet(((PacketType.HOST, PacketType.MULTICAST),))
"""The frames that are not dropped on arrival: not those for other hosts."""
DIRECTIONS = IntervalSet(((0, NO_DIRECTION - 1),))
TRANSLATION_PRIORITY = -100
"""Where the kernel translates destinations at PREROUTING and OUTPUT, and answers of translated sources."""
NAT_PRIORITY = {
    Hook.PREROUTING: TRANSLATION_PRIORITY,
    Hook.OUTPUT: TRANSLATION_PRIORITY,
    Hook.INPUT: 100,
    Hook.POSTROUTING: 100,
}


@dataclass(frozen=True, slots=True)
class Mounted:
    """A base chain at its place."""

    table: Table
    chain: Chain
    priority: int

    @property
    def translates(self) -> bool:
        return self.chain.base is not None and self.chain.base.kind is ChainType.NAT

    @property
    def device(self) -> tuple[Field, int | None, str] | None:
        """Of a chain of one device: the field that names the device, its value there, and the fact that what
        other interfaces carry passes the chain too, as on a bridge or a VLAN. None where every packet passes.
        """
        base = self.chain.base
        if base is None or base.hook not in (Hook.INGRESS, Hook.EGRESS):
            return None
        side, word = (Field.IN, "comes in") if base.hook is Hook.INGRESS else (Field.OUT, "leaves")
        if base.device is None:
            return side, None, f"chain {self.chain.name} of {self.table.name} sees the packet"
        return side, interface_value(base.device), f"what {word} by another interface passes {base.device}"


def mounted(ruleset: Ruleset, stage: Stage, family: Family) -> list[Mounted]:
    """The base chains of a stage in the order in which they run; of equal priority the last made runs first.

    Chains of type nat run inside the kernel's own translation, at -100 or +100, whatever their priority,
    which orders them among themselves alone.
    """
    found: list[tuple[int, int, int, Mounted]] = []
    for table in ruleset.tables:
        if family not in table.families:
            continue
        for chain in table.chains:
            base = chain.base
            if base is None or base.hook is not stage.hook:
                continue
            nat = base.kind is ChainType.NAT and stage.hook in NAT_PRIORITY
            at = NAT_PRIORITY[stage.hook] if nat else base.priority
            tracks = stage.hook in (Hook.PREROUTING, Hook.OUTPUT)
            if tracks and (at < CONNTRACK_PRIORITY) != stage.early:
                continue
            if stage.hook is Hook.PREROUTING and (at < DEFRAGMENTATION_PRIORITY) != stage.raw:
                continue
            found.append((at, base.priority if nat else 0, -len(found), Mounted(table, chain, at)))
    return [item[3] for item in sorted(found, key=lambda item: item[:3])]


def observed(ruleset: Ruleset, family: Family) -> tuple[frozenset[Field], frozenset[Field]]:
    """The header fields that rules ask for, and those that they set."""
    asked: set[Field] = set()
    set_: set[Field] = set()
    for table in ruleset.tables:
        for chain in table.chains if family in table.families else ():
            for rule in chain.rules:
                asked |= fields_of(rule.guard)
                set_ |= {action.field for action in rule.actions if isinstance(action, SetField | ShiftField)}
    return frozenset(asked), frozenset(set_)


def hops_count(ruleset: Ruleset, family: Family) -> bool:
    """Whether a rule asks for a TTL or sets one; if none does, no effect tells that forwarding takes one."""
    return any(Field.TTL in fields for fields in observed(ruleset, family))


def raw(ruleset: Ruleset, family: Family) -> list[Mounted]:
    """The base chains that see packets before fragments are put together."""
    stages = [stage for stage in STAGES[Way.LOCAL_IN] if stage.raw]
    return [item for stage in stages for item in mounted(ruleset, stage, family)]


def in_order(items: list[Mounted]) -> tuple[list[Mounted], list[Mounted], list[Mounted]]:
    """The chains of a stage before the kernel's own translation, those of it, and those behind it."""
    nat = [item for item in items if item.translates]
    at = nat[0].priority if nat else 0
    plain = [item for item in items if not item.translates]
    return (
        [item for item in plain if item.priority < at],
        nat,
        [item for item in plain if item.priority >= at],
    )


def seen_at(stage: Stage, way: Way) -> dict[Field, int | Unsure]:
    """Fields that rules of a stage see otherwise than the packet of the whole way has them.

    Up to INPUT no way out is known, only the first hooks after arrival know a MAC address; the second passage
    of a loopback packet comes in by lo. EGRESS sees a frame: its length, and the link address of the device.
    """
    fixed: dict[Field, int | Unsure] = {}
    if stage.hook in (Hook.INGRESS, Hook.PREROUTING, Hook.INPUT):
        fixed[Field.OUT] = NO_INTERFACE
        fixed[Field.BRIDGE_OUT] = NO_INTERFACE
        if way is Way.LOOPBACK:
            fixed[Field.IN] = LOOPBACK_INTERFACE
    elif stage.hook in (Hook.POSTROUTING, Hook.EGRESS):
        fixed[Field.MAC] = NO_MAC
        if way is Way.LOOPBACK:
            fixed[Field.OUT] = LOOPBACK_INTERFACE  # for those too that OUTPUT translated to the host itself
    if stage.hook is Hook.EGRESS:
        fixed[Field.IN] = NO_INTERFACE
        fixed[Field.LENGTH] = Unsure("length of the frame that leaves")
        if way is not Way.LOOPBACK:
            fixed[Field.MAC] = Unsure("link address of the way out", IntervalSet(((0, NO_MAC - 1),)))
    return fixed


def takers(space: Space, host: Host, way: Way) -> int:
    """The packets that may take a way, before anything is translated; facts of the host narrow them.

    Interfaces, MAC, kinds of addresses. What only the address after translation decides is `arrives`.
    """
    if way is Way.FORWARD and host.forwards(space.family) is False:
        return EMPTY
    names = domain(Field.IN, space.family).whole
    real = names - IntervalSet.single(NO_INTERFACE) - IntervalSet.single(LOOPBACK_INTERFACE)
    none, lo = IntervalSet.single(NO_INTERFACE), IntervalSet.single(LOOPBACK_INTERFACE)
    outside = IntervalSet.single(AddressType.UNICAST)
    own = IntervalSet.single(AddressType.LOCAL)
    cube: dict[Field, IntervalSet] = {}
    if way in (Way.LOCAL_IN, Way.FORWARD):
        cube = {Field.IN: real, Field.OUT: none if way is Way.LOCAL_IN else real, Field.PACKET_TYPE: FRAMES}
        sources = space.first(
            [
                space.among(Field.SOURCE_TYPE, outside),
                space.among(Field.SOURCE, IntervalSet(((0, 0xFFFFFF),))),
            ]
        )
    else:
        cube = {Field.IN: none, Field.OUT: real | lo}
        cube |= {
            Field.MAC: IntervalSet.single(NO_MAC),
            Field.PACKET_TYPE: IntervalSet.single(PacketType.HOST),
            Field.BRIDGE_IN: none,
        }
        zero = space.among(Field.SOURCE, 0)
        sources = space.join(space.among(Field.SOURCE_TYPE, own), zero)
    cube[Field.CT_DIRECTION] = DIRECTIONS
    if way is not Way.FORWARD:  # what comes from the host passes a bridge behind all hooks
        cube[Field.BRIDGE_OUT] = none
    if way in (Way.LOCAL_IN, Way.FORWARD) and space.family is Family.IPV6:
        cube[Field.DESTINATION] = Family.IPV6.whole - IntervalSet.single(1)  # `ip6_rcv` drops what is for ::1
    parts = [
        space.cube(cube),
        sources,
        kinds(space, host, Field.SOURCE),
        kinds(space, host, Field.DESTINATION),
    ]
    if way in (Way.LOCAL_OUT, Way.LOOPBACK):  # to the host itself by lo, as long as OUTPUT does not translate
        inside = space.among(Field.DESTINATION_TYPE, own)
        by_lo = space.among(Field.OUT, lo)
        parts.append(space.join(space.meet(inside, by_lo), space.minus(space.complement(inside), by_lo)))
    return space.all_of(parts)


def arrives(space: Space, way: Way) -> int:
    """The packets whose destination, as it is when routed, takes the way."""
    return space.among(Field.DESTINATION_TYPE, IntervalSet.of((kind, kind) for kind in ROUTED[way]))


def forwardable(space: Space) -> int:
    """The packets that are forwarded, as they are when routed, whatever their destination.

    What has a TTL of 1, or came in a frame for a group, is not (`ip_forward`, `ip6_forward`).
    """
    return space.cube({Field.TTL: LIVING_TTL, Field.PACKET_TYPE: IntervalSet.single(PacketType.HOST)})


def kinds(space: Space, host: Host, field: Field) -> int:
    """The packets whose kind of source or destination fits the address, as far as the host's facts tell."""
    kind = Field.SOURCE_TYPE if field is Field.SOURCE else Field.DESTINATION_TYPE
    family = space.family
    local, maybe_local, broadcast, maybe_broadcast = address_types(host, family)
    groups = group_addresses(family)
    unicast = family.whole - local - broadcast - groups
    table = {
        AddressType.LOCAL: maybe_local - broadcast,
        AddressType.BROADCAST: maybe_broadcast,
        AddressType.MULTICAST: groups,
        AddressType.UNICAST: unicast,
    }
    return space.first(
        [
            space.cube({kind: IntervalSet.single(value), field: addresses})
            for value, addresses in table.items()
            if addresses
        ]
    )
