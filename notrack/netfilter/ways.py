"""The ways that packets take through a host: the hooks of each, in order, and which packets take it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from notrack.netfilter.host import Host, address_types, group_addresses
from notrack.packets.address import Family
from notrack.packets.diagram import EMPTY
from notrack.packets.fields import (
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
from notrack.ruleset.core import CONNTRACK_PRIORITY, Chain, ChainType, Hook, Ruleset, Table

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

    `again`: a loopback packet's second passage, which carries what was decided on the first.
    """

    hook: Hook
    early: bool = False
    again: bool = False


STAGES: dict[Way, tuple[Stage, ...]] = {
    Way.LOCAL_IN: (Stage(Hook.PREROUTING, early=True), Stage(Hook.PREROUTING), Stage(Hook.INPUT)),
    Way.FORWARD: (
        Stage(Hook.PREROUTING, early=True),
        Stage(Hook.PREROUTING),
        Stage(Hook.FORWARD),
        Stage(Hook.POSTROUTING),
    ),
    Way.LOCAL_OUT: (Stage(Hook.OUTPUT, early=True), Stage(Hook.OUTPUT), Stage(Hook.POSTROUTING)),
    Way.LOOPBACK: (
        Stage(Hook.OUTPUT, early=True),
        Stage(Hook.OUTPUT),
        Stage(Hook.POSTROUTING),
        Stage(Hook.PREROUTING, early=True, again=True),
        Stage(Hook.PREROUTING, again=True),
        Stage(Hook.INPUT, again=True),
    ),
}
ROUTED = {
    Way.LOCAL_IN: (AddressType.LOCAL, AddressType.BROADCAST, AddressType.MULTICAST),
    Way.FORWARD: (AddressType.UNICAST,),
    Way.LOCAL_OUT: (AddressType.UNICAST, AddressType.BROADCAST, AddressType.MULTICAST),
    Way.LOOPBACK: (AddressType.LOCAL,),
}
"""The kinds of destinations, as they are when routed, that take each way."""
TRANSLATION_PRIORITY = -100
"""Where the kernel translates destinations at PREROUTING and OUTPUT, and the answers of translated sources."""
_NAT_PRIORITY = {
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
            nat = base.kind is ChainType.NAT and stage.hook in _NAT_PRIORITY
            at = _NAT_PRIORITY[stage.hook] if nat else base.priority
            tracks = stage.hook in (Hook.PREROUTING, Hook.OUTPUT)
            if tracks and (at < CONNTRACK_PRIORITY) != stage.early:
                continue
            found.append((at, base.priority if nat else 0, -len(found), Mounted(table, chain, at)))
    return [item[3] for item in sorted(found, key=lambda item: item[:3])]


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


def seen_at(stage: Stage, way: Way) -> dict[Field, int]:
    """Fields that rules of a stage see otherwise than the packet of the whole way has them.

    PREROUTING and INPUT know no way out, only the first three hooks after arrival know a MAC address; the
    second passage of a loopback packet comes in by lo.
    """
    fixed: dict[Field, int] = {}
    if stage.hook in (Hook.PREROUTING, Hook.INPUT):
        fixed[Field.OUT] = NO_INTERFACE
        if way is Way.LOOPBACK:
            fixed[Field.IN] = LOOPBACK_INTERFACE
    if stage.hook is Hook.POSTROUTING:
        fixed[Field.MAC] = NO_MAC
        if way is Way.LOOPBACK:
            fixed[Field.OUT] = LOOPBACK_INTERFACE  # for those too that OUTPUT translated to the host itself
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
        cube = {Field.IN: real, Field.OUT: none if way is Way.LOCAL_IN else real}
        sources = space.first(
            [
                space.among(Field.SOURCE_TYPE, outside),
                space.among(Field.SOURCE, IntervalSet(((0, 0xFFFFFF),))),
            ]
        )
    else:
        cube = {Field.IN: none, Field.OUT: real if way is Way.LOCAL_OUT else real | lo}
        cube |= {
            Field.MAC: IntervalSet.single(NO_MAC),
            Field.PACKET_TYPE: IntervalSet.single(PacketType.HOST),
        }
        zero = space.among(Field.SOURCE, 0)
        sources = space.join(space.among(Field.SOURCE_TYPE, own), zero)
    parts = [
        space.cube(cube),
        sources,
        kinds(space, host, Field.SOURCE),
        kinds(space, host, Field.DESTINATION),
    ]
    if way in (Way.LOCAL_IN, Way.FORWARD):
        parts.append(_link_kinds(space))
    if way is Way.LOCAL_OUT:
        parts.append(space.complement(space.among(Field.DESTINATION_TYPE, own)))
    if way is Way.LOOPBACK:  # by lo, or to elsewhere until OUTPUT translates it to the host itself
        inside = space.among(Field.DESTINATION_TYPE, own)
        by_lo = space.among(Field.OUT, lo)
        parts.append(space.join(space.meet(inside, by_lo), space.minus(space.complement(inside), by_lo)))
    return space.all_of(parts)


def arrives(space: Space, way: Way) -> int:
    """The packets that, as they are when routed, take the way."""
    return space.among(Field.DESTINATION_TYPE, IntervalSet.of((kind, kind) for kind in ROUTED[way]))


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


def _link_kinds(space: Space) -> int:
    """The packets that came in such frames as their destinations ask for."""
    pairs = (
        (PacketType.MULTICAST, (AddressType.MULTICAST,)),
        (PacketType.BROADCAST, (AddressType.BROADCAST,)),
        (PacketType.HOST, (AddressType.UNICAST, AddressType.LOCAL)),
    )
    return space.first(
        [
            space.cube(
                {
                    Field.PACKET_TYPE: IntervalSet.single(frame),
                    Field.DESTINATION_TYPE: IntervalSet.of((value, value) for value in types),
                }
            )
            for frame, types in pairs
        ]
    )
