"""How the walk of a packet begins: its way, the kinds of its addresses, its frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from notrack.netfilter.host import Host, address_types, group_addresses
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.packets.fields import NO_INTERFACE, AddressType, Field, PacketType
from notrack.packets.packet import Packet


class Undetermined(Exception):
    """The way of the packet cannot be told; the message says what would tell it."""


def way_of(packet: Packet, host: Host) -> Way:
    """The way that a packet takes, from its interfaces, its addresses and what is known of the host."""
    into, out = packet.in_interface, packet.out_interface
    if out == "lo" or into == "lo":
        return Way.LOOPBACK
    if into and out:
        return Way.FORWARD
    local = kind_of(packet.destination, packet.family, host)
    if into or packet.local:
        if packet.local or local in (AddressType.LOCAL, AddressType.MULTICAST, AddressType.BROADCAST):
            return Way.LOCAL_IN
        if local is AddressType.UNICAST and host.routes is not None:
            return Way.FORWARD  # by which interface routing will tell
        raise Undetermined("where the packet goes is not known: say `to host` or `out IF`")
    if out:
        return Way.LOCAL_OUT
    if local is AddressType.LOCAL and kind_of(packet.source, packet.family, host) is AddressType.LOCAL:
        return Way.LOOPBACK
    raise Undetermined("say where the packet comes in, `in IF`, or that the host sends it, `out IF`")


def kind_of(address: int, family: Family, host: Host) -> AddressType | None:
    """What kind of address it is to the host; None where its facts do not tell."""
    local, maybe_local, broadcast, maybe_broadcast = address_types(host, family)
    if address in group_addresses(family):
        return AddressType.MULTICAST
    if address in local:
        return AddressType.LOCAL
    if address in broadcast:
        return AddressType.BROADCAST
    return None if address in maybe_local | maybe_broadcast else AddressType.UNICAST


def settle_kinds(values: dict[Field, int], packet: Packet, host: Host, way: Way) -> None:
    """Fill in the kinds of the two addresses and of the frame: as known, otherwise as the way asks."""
    source = kind_of(packet.source, packet.family, host)
    target = kind_of(packet.destination, packet.family, host)
    if packet.local:
        target = target or AddressType.LOCAL
    ours = way in (Way.LOCAL_OUT, Way.LOOPBACK)
    values[Field.SOURCE_TYPE] = source or (AddressType.LOCAL if ours else AddressType.UNICAST)
    here = way is Way.LOCAL_IN or (way is Way.LOOPBACK and packet.out_interface in (None, "lo"))
    kind = target or (AddressType.LOCAL if here else AddressType.UNICAST)
    values[Field.DESTINATION_TYPE] = kind
    frames = {AddressType.MULTICAST: PacketType.MULTICAST, AddressType.BROADCAST: PacketType.BROADCAST}
    if packet.packet_type is None:
        values[Field.PACKET_TYPE] = PacketType.HOST if ours else frames.get(kind, PacketType.HOST)
    if ours:
        values[Field.IN] = NO_INTERFACE


def resettled(packet: Packet, values: Mapping[Field, int]) -> Packet:
    """The packet with the kinds that `settle_kinds` found."""
    return replace(
        packet,
        source_type=AddressType(values[Field.SOURCE_TYPE]),
        destination_type=AddressType(values[Field.DESTINATION_TYPE]),
        packet_type=PacketType(values[Field.PACKET_TYPE]),
    )
