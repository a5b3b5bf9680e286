"""A packet as octets on the wire."""

from __future__ import annotations

import struct

from notrack.packets.address import Family
from notrack.packets.packet import Packet

MARK = b"notrack probe "  # bench.py looks for it


def octets(packet: Packet, number: int) -> bytes:
    """The IP packet, whole and with right checksums; its payload carries the number of the probe."""
    payload = MARK + struct.pack(">I", number)
    body = _body(packet, payload)
    if packet.family is Family.IPV4:
        head = struct.pack(
            ">BBHHHBBH4s4s", 0x45, packet.tos, 20 + len(body), number & 0xFFFF or 1, 0, packet.ttl,
            packet.protocol, 0, *_addresses(packet),
        )  # fmt: skip
        return head[:10] + struct.pack(">H", _sum(head)) + head[12:] + body
    first = 6 << 28 | packet.tos << 20
    head = struct.pack(">IHBB16s16s", first, len(body), packet.protocol, packet.ttl, *_addresses(packet))
    return head + body


def _addresses(packet: Packet) -> tuple[bytes, bytes]:
    size = packet.family.bits // 8
    return packet.source.to_bytes(size, "big"), packet.destination.to_bytes(size, "big")


def _body(packet: Packet, payload: bytes) -> bytes:
    """The part behind the IP header."""
    ports = (packet.source_port or 0, packet.destination_port or 0)
    if packet.protocol == 6:
        made = struct.pack(">HHIIBBHHH", *ports, 1, 0, 5 << 4, packet.flags, 64240, 0, 0) + payload
        return _checked(packet, made, 16)
    if packet.protocol == 17:
        made = struct.pack(">HHHH", *ports, 8 + len(payload), 0) + payload
        return _checked(packet, made, 6)
    if packet.protocol == 132:
        return _sctp(ports, payload)
    if packet.is_icmp:
        made = struct.pack(">BBHHH", packet.icmp_type or 0, packet.icmp_code, 0, 7, 1) + payload
        if packet.family is Family.IPV6:
            return _checked(packet, made, 2)
        return made[:2] + struct.pack(">H", _sum(made)) + made[4:]
    if packet.protocol == 47:
        return struct.pack(">HH", 0, 0x0800) + payload
    return payload


def _checked(packet: Packet, made: bytes, at: int) -> bytes:
    """A segment with its checksum over it and the pseudo-header."""
    source, destination = _addresses(packet)
    if packet.family is Family.IPV4:
        pseudo = source + destination + struct.pack(">BBH", 0, packet.protocol, len(made))
    else:
        pseudo = source + destination + struct.pack(">IHBB", len(made), 0, 0, packet.protocol)
    found = _sum(pseudo + made) or 0xFFFF
    return made[:at] + struct.pack(">H", found) + made[at + 2 :]


def _sum(data: bytes) -> int:
    """The checksum of the Internet."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _sctp(ports: tuple[int, int], payload: bytes) -> bytes:
    """An INIT, the chunk that opens an association, with the probe's number in a parameter."""
    value = payload + bytes(-len(payload) % 4)
    parameter = struct.pack(">HH", 0x8001, 4 + len(payload)) + value
    chunk = struct.pack(">BBHIIHHI", 1, 0, 20 + len(parameter), 1, 65535, 1, 1, 1) + parameter
    head = struct.pack(">HHI", *ports, 0)
    made = head + bytes(4) + chunk
    return head + struct.pack("<I", _crc32c(made)) + chunk


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
