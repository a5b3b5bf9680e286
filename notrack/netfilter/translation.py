"""What a translation makes of a packet's addresses and ports, and of its answer's."""

from __future__ import annotations

from dataclasses import replace

from notrack.netfilter.effects import Change, Effects, Shift, Unsure
from notrack.netfilter.host import Host, address_types, group_addresses
from notrack.netfilter.routes import ways_out
from notrack.packets.address import Family
from notrack.packets.fields import NO_INTERFACE, AddressType, Field, domain, interface_value
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Action, Hook, Nat, NatKind, Ruleset, SetField

LOOPBACK = {Family.IPV4: 0x7F000001, Family.IPV6: 1}
LOOPBACK_NETWORK = IntervalSet(((0x7F000000, 0x7FFFFFFF),))
LEAVES = "route_localnet is set: what is from or for 127.0.0.0/8 may leave and come in"
_LO = interface_value("lo")
_INTERFACES = domain(Field.OUT, Family.IPV4).whole - IntervalSet.of(((NO_INTERFACE,) * 2, (_LO,) * 2))
_SOURCE = (Field.SOURCE, Field.SOURCE_PORT, Field.SOURCE_TYPE)
_OF_ONE_PACKET = (
    Field.STATE, Field.CT_DIRECTION, Field.IN, Field.MAC, Field.PACKET_TYPE, Field.LENGTH, Field.TTL,
    Field.TOS, Field.MARK, Field.CT_MARK, Field.BRIDGE_IN,
)  # fmt: skip
_DESTINATION = (Field.DESTINATION, Field.DESTINATION_PORT, Field.DESTINATION_TYPE)


def nat_choices(nat: Nat, host: Host, family: Family, hook: Hook) -> list[tuple[Field, int, Effects]]:
    """What a translation does by interface, where it takes the interface's own address.

    Each item: the field that names the interface, its value there, the changes. Interfaces that are not
    named get `nat_effects`.
    """
    here = Hook.OUTPUT if nat.kind is NatKind.REDIRECT else None
    if nat.kind not in (NatKind.MASQUERADE, NatKind.REDIRECT) or hook is here or host.interfaces is None:
        return []
    if nat.addresses is not None:
        return []
    side = Field.OUT if nat.kind is NatKind.MASQUERADE else Field.IN
    version = 4 if family is Family.IPV4 else 6
    choices: list[tuple[Field, int, Effects]] = []
    for interface in host.interfaces:
        own = IntervalSet.of((int(at.ip), int(at.ip)) for at in interface.addresses if at.version == version)
        if own:
            named = replace(nat, addresses=own, text=f"{nat.text or nat.kind.value} by {interface.name}")
            effects = nat_effects(named, host, family, hook)
            effects = replace(
                effects,
                source_nat=nat if effects.source_nat else None,
                destination_nat=nat if effects.destination_nat else None,
            )
            choices.append((side, interface_value(interface.name), effects))
    return choices


def nat_effects(nat: Nat, host: Host, family: Family, hook: Hook) -> Effects:
    """The changes that a translation makes to a packet at a hook.

    An address or port that the kernel chooses is unsure within what is known. `redirect` goes to loopback in
    OUTPUT and to an address of the way in elsewhere; `masquerade` uses one of the way out.
    """
    source = nat.kind in (NatKind.SNAT, NatKind.MASQUERADE)
    name = nat.text or nat.kind.value
    address, port, kind = _SOURCE if source else _DESTINATION
    changes: dict[Field, Change] = {Field.CT_SNAT if source else Field.CT_DNAT: 1}
    addresses = _addresses(nat, host, family, hook)
    if addresses is not None:
        changes[address] = _choice(f"address of {name}", addresses)
        changes[kind] = _kind(nat, addresses, host, family, name)
        if hook is Hook.PREROUTING and not source and addresses == IntervalSet.single(LOOPBACK[Family.IPV6]):
            changes[kind] = AddressType.UNICAST  # what comes in for ::1 is routed, not delivered
    if nat.ports is not None:
        changes[port] = _choice(f"port of {name}", nat.ports)
    return Effects(
        rerouted=hook is Hook.OUTPUT and not source and addresses is not None,
        fields=tuple(sorted(changes.items(), key=lambda item: _ORDER[item[0]])),
        source_nat=nat if source else None,
        destination_nat=None if source else nat,
    )


def rerouted(effects: Effects, host: Host, family: Family) -> Effects:
    """The effects with the way out to the new destination, as far as the host's routes tell."""
    target = dict(effects.fields).get(Field.DESTINATION)
    among = IntervalSet.single(target) if isinstance(target, int) else getattr(target, "among", None)
    found = ways_out(host.routes, among, family) if among is not None else None
    nat = effects.destination_nat
    name = f"way out to the destination of {nat.text or nat.kind.value}" if nat else "way out"
    return effects.then(Effects(fields=((Field.OUT, _choice(name, found or _INTERFACES)),)))


def to_loopback(ruleset: Ruleset) -> bool:
    """Whether a rule may give packets a destination in 127.0.0.0/8, where none from a link is delivered."""
    actions = (
        action
        for table in ruleset.tables
        for chain in table.chains
        for rule in chain.rules
        for action in rule.actions
    )
    return any(not _given(action).isdisjoint(LOOPBACK_NETWORK) for action in actions)


def _given(action: Action) -> IntervalSet:
    """The destinations that an action may give to a packet."""
    if isinstance(action, Nat) and action.kind is NatKind.DNAT and action.addresses is not None:
        return action.addresses
    if isinstance(action, SetField) and action.field is Field.DESTINATION:
        return LOOPBACK_NETWORK if action.value is None else IntervalSet.single(action.value)
    return IntervalSet()


def strays(effects: Effects, family: Family) -> bool:
    """Whether the kernel drops the packet that is rerouted so if it comes from 127.0.0.0/8."""
    here = dict(effects.fields).get(Field.DESTINATION_TYPE) == AddressType.LOCAL
    return effects.rerouted and family is Family.IPV4 and not here


def unchanging(effects: Effects) -> dict[Field, int] | None:
    """The values with which a packet has already what a translation would give it; None where it is not told.

    Such a packet has its entry, but the entry is none of a translation: neither `ctstate SNAT` nor `ct status
    snat` match (the kernel's nf_nat_setup_info compares the tuples).
    """
    changes = [(field, change) for field, change in effects.fields if field not in _MARKS]
    if not changes or any(isinstance(change, Unsure) for _, change in changes):
        return None
    return {field: change for field, change in changes if isinstance(change, int) and field not in _KINDS}


def without_status(effects: Effects) -> Effects:
    """A translation's effects on a packet that it does not change."""
    kept = tuple(item for item in effects.fields if item[0] not in _MARKS)
    return replace(effects, fields=kept, rerouted=False)


_MARKS = (Field.CT_SNAT, Field.CT_DNAT)
_KINDS = (Field.SOURCE_TYPE, Field.DESTINATION_TYPE)
_ORDER = {field: i for i, field in enumerate(Field)}


def _addresses(nat: Nat, host: Host, family: Family, hook: Hook) -> IntervalSet | None:
    if nat.addresses is not None or nat.kind in (NatKind.SNAT, NatKind.DNAT):
        return (nat.addresses & family.whole) or None if nat.addresses is not None else None
    if nat.kind is NatKind.REDIRECT and hook is Hook.OUTPUT:
        return IntervalSet.single(LOOPBACK[family])
    own = host.addresses(family) or unicast(family)
    # what leaves by lo may keep or get the loopback address
    return own | IntervalSet.single(LOOPBACK[family]) if nat.kind is NatKind.MASQUERADE else own


def unicast(family: Family) -> IntervalSet:
    """Addresses that an interface may have."""
    local, _, broadcast, _ = address_types(Host(), family)
    return family.whole - local - broadcast - group_addresses(family)


def answers_on_wire(packets: PacketSet, effects: Effects) -> PacketSet:
    """What the answers to translated packets look like when they come to the host (or leave it).

    The ends exchanged, the translated ones as others see them. A source port that the translation does not
    name is kept, as the kernel does where it can. The way out is left open, and the state, which is what
    tracking will say.
    """
    space = packets.space
    image = space.exists(packets.diagram, [*(name for name, _ in effects.fields), *_OF_ONE_PACKET])
    for name, change in effects.fields:
        if name in (Field.CT_SNAT, Field.CT_DNAT) or isinstance(change, Shift):
            continue
        values = IntervalSet.single(change) if isinstance(change, int) else change.among
        if values is not None:
            image = space.meet(space.among(name, values), image)
    return PacketSet(space, space.mirror(image))


def _choice(name: str, values: IntervalSet) -> Change:
    return values.least() if values.size() == 1 else Unsure(name, values)


def _kind(nat: Nat, addresses: IntervalSet, host: Host, family: Family, name: str) -> Change:
    """What kind of address the new one is, where the host's facts tell."""
    if nat.kind in (NatKind.MASQUERADE, NatKind.REDIRECT):
        return AddressType.LOCAL
    return kind_among(addresses, host, family, name, _TRANSLATED_KINDS)


def kind_among(
    addresses: IntervalSet, host: Host, family: Family, name: str, kinds: IntervalSet | None = None
) -> Change:
    """What kind of address one of these is; where that is not told, one of `kinds`."""
    local, maybe, _, broadcast = address_types(host, family)
    groups = group_addresses(family)
    if addresses <= local:
        return AddressType.LOCAL
    if addresses <= groups:
        return AddressType.MULTICAST
    if addresses.isdisjoint(maybe | broadcast | groups):
        return AddressType.UNICAST
    return Unsure(f"whether the address of {name} is local", kinds or _ALL_KINDS)


def with_kind(effects: Effects, host: Host, family: Family) -> Effects:
    """The effects of a rule that writes an address into the header, with the kind of the new one."""
    made = effects
    for field, kind in ((Field.SOURCE, Field.SOURCE_TYPE), (Field.DESTINATION, Field.DESTINATION_TYPE)):
        change = dict(effects.fields).get(field)
        if change is None or any(name is kind for name, _ in effects.fields):
            continue
        among = IntervalSet.single(change) if isinstance(change, int) else family.whole
        name = f"{change:#x}" if isinstance(change, int) else getattr(change, "name", "a rule")
        made = made.then(Effects(fields=((kind, kind_among(among, host, family, name)),)))
    return made


_TRANSLATED_KINDS = IntervalSet(((AddressType.UNICAST, AddressType.LOCAL),))
_ALL_KINDS = IntervalSet(((AddressType.UNICAST, AddressType.MULTICAST),))
