"""One concrete packet."""

from __future__ import annotations

from notrack.packets.address import Family, address_text
from notrack.packets.fields import (
    ICMP_PROTOCOL,
    NO_ICMP_TYPE,
    NO_INTERFACE,
    NO_MAC,
    PORT_PROTOCOLS,
    TCP_FLAGS,
    AddressType,
    Field,
    Fragment,
    PacketType,
    State,
    family_number,
    interface_name,
    interface_value,
)
from notrack.text.record import dataclass

PROTOCOL_NAMES = {
    1: "icmp", 2: "igmp", 4: "ipip", 6: "tcp", 17: "udp", 33: "dccp", 41: "ipv6", 47: "gre", 50: "esp",
    51: "ah", 58: "icmpv6", 88: "eigrp", 89: "ospf", 94: "ipip", 103: "pim", 108: "ipcomp", 112: "vrrp",
    115: "l2tp", 132: "sctp", 136: "udplite",
}  # fmt: skip
PLAIN_LENGTH = 60  # octets, of a packet whose length nobody says


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet as it is at one place. Addresses are integers; what is None is not there or not known.

    `local` says whether it is for the host itself, where the addresses alone do not tell. `state` and the
    types of the addresses are what rules would see, where somebody decided that already.
    """

    family: Family
    protocol: int
    source: int
    destination: int
    source_port: int | None = None
    destination_port: int | None = None
    flags: int = 0
    icmp_type: int | None = None
    icmp_code: int = 0
    fragment: Fragment = Fragment.WHOLE
    in_interface: str | None = None
    out_interface: str | None = None
    local: bool | None = None
    mac: int | None = None
    length: int | None = None
    ttl: int = 64
    tos: int = 0
    mark: int = 0
    ct_mark: int = 0
    state: State | None = None
    reply: bool = False
    source_type: AddressType = AddressType.UNICAST
    destination_type: AddressType = AddressType.UNICAST
    packet_type: PacketType | None = None  # None: the frame that the destination asks for
    bridge_in: str | None = None  # the ports of a bridge between which it goes
    bridge_out: str | None = None

    @property
    def has_ports(self) -> bool:
        return self.protocol in PORT_PROTOCOLS and self.fragment is not Fragment.LATER

    @property
    def is_icmp(self) -> bool:
        return self.protocol == ICMP_PROTOCOL[self.family] and self.fragment is not Fragment.LATER

    def values(self) -> dict[Field, int]:
        """The value of every field, as the diagrams number them."""
        return {
            Field.FAMILY: family_number(self.family),
            Field.STATE: self.state if self.state is not None else State.NEW,
            Field.CT_DIRECTION: int(self.reply),
            Field.CT_SNAT: 0,
            Field.CT_DNAT: 0,
            Field.IN: interface_value(self.in_interface or ""),
            Field.OUT: interface_value(self.out_interface or ""),
            Field.BRIDGE_IN: interface_value(self.bridge_in or ""),
            Field.BRIDGE_OUT: interface_value(self.bridge_out or ""),
            Field.DESTINATION_TYPE: self.destination_type,
            Field.DESTINATION: self.destination,
            Field.PROTOCOL: self.protocol,
            Field.FRAGMENT: self.fragment,
            Field.ICMP_TYPE: (self.icmp_type or 0) if self.is_icmp else NO_ICMP_TYPE,
            Field.ICMP_CODE: self.icmp_code if self.is_icmp else 0,
            Field.DESTINATION_PORT: (self.destination_port or 0) if self.has_ports else 0,
            Field.SOURCE_PORT: (self.source_port or 0) if self.has_ports else 0,
            Field.FLAGS: self.flags if self.protocol == 6 and self.has_ports else 0,
            Field.SOURCE_TYPE: self.source_type,
            Field.SOURCE: self.source,
            Field.MAC: self.mac if self.mac is not None else NO_MAC,
            Field.PACKET_TYPE: self.packet_type if self.packet_type is not None else PacketType.HOST,
            Field.LENGTH: self.length if self.length is not None else PLAIN_LENGTH,
            Field.TTL: self.ttl,
            Field.TOS: self.tos,
            Field.MARK: self.mark,
            Field.CT_MARK: self.ct_mark,
        }

    def __str__(self) -> str:
        """The packet as the command line writes it."""
        text = f"{self._protocol_words()} {self._end(self.source, self.source_port)}"
        text += f" > {self._end(self.destination, self.destination_port)}"
        words = [f" in {self.in_interface}" * bool(self.in_interface), " to host" * bool(self.local)]
        words.append(f" out {self.out_interface}" * bool(self.out_interface))
        words.append(f" physdev-in {self.bridge_in}" * bool(self.bridge_in))
        words.append(f" physdev-out {self.bridge_out}" * bool(self.bridge_out))
        words.append(
            f" flags {','.join(self.flag_names) or 'none'}" if self.protocol == 6 and self.has_ports else ""
        )
        words.append(f" fragment {self.fragment.name.lower()}" if self.fragment is not Fragment.WHOLE else "")
        words.append(f" mac {mac_text(self.mac)}" if self.mac is not None else "")
        words.append(f" mark {self.mark:#x}" if self.mark else "")
        words.append(f" ttl {self.ttl}" if self.ttl != 64 else "")
        words.append(f" length {self.length}" if self.length is not None else "")
        return text + "".join(words)

    def _protocol_words(self) -> str:
        name = PROTOCOL_NAMES.get(self.protocol)
        if self.is_icmp:
            code = f"/{self.icmp_code}" if self.icmp_code else ""
            return f"{name} {icmp_name(self.icmp_type or 0, self.family)}{code}"
        if self.protocol in PORT_PROTOCOLS:
            return name or str(self.protocol)
        return f"proto {name or self.protocol}"

    def _end(self, address: int, port: int | None) -> str:
        text = address_text(address, self.family)
        if not self.has_ports:
            return text
        return f"[{text}]:{port or 0}" if self.family is Family.IPV6 else f"{text}:{port or 0}"

    @property
    def flag_names(self) -> list[str]:
        return [name for name, bit in TCP_FLAGS.items() if self.flags & bit]

    def to_json(self) -> dict[str, object]:
        """The packet as findings and differences show it."""
        ports = self.has_ports
        out: dict[str, object] = {
            "family": self.family.value,
            "protocol": PROTOCOL_NAMES.get(self.protocol, str(self.protocol)),
            "source": address_text(self.source, self.family),
            "source_port": (self.source_port or 0) if ports else None,
            "destination": address_text(self.destination, self.family),
            "destination_port": (self.destination_port or 0) if ports else None,
            "in": self.in_interface,
            "out": self.out_interface,
            "flags": self.flag_names if self.protocol == 6 else [],
        }
        if self.is_icmp:
            out["icmp_type"], out["icmp_code"] = icmp_name(self.icmp_type or 0, self.family), self.icmp_code
        if self.bridge_in or self.bridge_out:
            out["bridge_in"], out["bridge_out"] = self.bridge_in, self.bridge_out
        if self.fragment is not Fragment.WHOLE:
            out["fragment"] = self.fragment.name.lower()
        return out


def packet_of(values: dict[Field, int], family: Family) -> Packet:
    """The packet that has these values; a field that is not named has that of a plain packet."""
    protocol = values.get(Field.PROTOCOL, 6)
    fragment = Fragment(values.get(Field.FRAGMENT, 0))
    ports = protocol in PORT_PROTOCOLS and fragment is not Fragment.LATER
    kind = values.get(Field.ICMP_TYPE, NO_ICMP_TYPE)
    mac = values.get(Field.MAC, NO_MAC)
    return Packet(
        family=family,
        protocol=protocol,
        source=values.get(Field.SOURCE, 0),
        destination=values.get(Field.DESTINATION, 0),
        source_port=values.get(Field.SOURCE_PORT, 0) if ports else None,
        destination_port=values.get(Field.DESTINATION_PORT, 0) if ports else None,
        flags=values.get(Field.FLAGS, 0),
        icmp_type=kind if kind != NO_ICMP_TYPE else None,
        icmp_code=values.get(Field.ICMP_CODE, 0),
        fragment=fragment,
        in_interface=interface_name(values.get(Field.IN, NO_INTERFACE)),
        out_interface=interface_name(values.get(Field.OUT, NO_INTERFACE)),
        mac=mac if mac != NO_MAC else None,
        length=values.get(Field.LENGTH),
        ttl=values.get(Field.TTL, 64),
        tos=values.get(Field.TOS, 0),
        mark=values.get(Field.MARK, 0),
        ct_mark=values.get(Field.CT_MARK, 0),
        state=State(values[Field.STATE]) if Field.STATE in values else None,
        reply=bool(values.get(Field.CT_DIRECTION, 0)),
        source_type=AddressType(values.get(Field.SOURCE_TYPE, AddressType.UNICAST)),
        destination_type=AddressType(values.get(Field.DESTINATION_TYPE, AddressType.UNICAST)),
        packet_type=PacketType(values.get(Field.PACKET_TYPE, PacketType.HOST)),
        bridge_in=interface_name(values.get(Field.BRIDGE_IN, NO_INTERFACE)),
        bridge_out=interface_name(values.get(Field.BRIDGE_OUT, NO_INTERFACE)),
    )


def mac_text(mac: int) -> str:
    return ":".join(f"{octet:02x}" for octet in mac.to_bytes(6, "big"))


ICMP_TYPES: dict[Family, dict[str, int]] = {
    Family.IPV4: {
        "echo-reply": 0, "destination-unreachable": 3, "source-quench": 4, "redirect": 5, "echo-request": 8,
        "router-advertisement": 9, "router-solicitation": 10, "time-exceeded": 11, "parameter-problem": 12,
        "timestamp-request": 13, "timestamp-reply": 14, "information-request": 15, "information-reply": 16,
        "address-mask-request": 17, "address-mask-reply": 18,
        "extended-echo-request": 42, "extended-echo-reply": 43,
    },
    Family.IPV6: {
        "destination-unreachable": 1, "packet-too-big": 2, "time-exceeded": 3, "parameter-problem": 4,
        "echo-request": 128, "echo-reply": 129, "mld-listener-query": 130, "mld-listener-report": 131,
        "mld-listener-done": 132, "router-solicitation": 133, "router-advertisement": 134,
        "neighbour-solicitation": 135, "neighbour-advertisement": 136, "redirect": 137,
        "node-information-query": 139, "node-information-response": 140, "mld2-listener-report": 143,
        "extended-echo-request": 160, "extended-echo-reply": 161,
    },
}  # fmt: skip


def icmp_name(kind: int, family: Family) -> str:
    """The name of an ICMP type, or its number as text."""
    return next((name for name, number in ICMP_TYPES[family].items() if number == kind), str(kind))
