"""Packets as bytes: a small builder and a small reader, for IPv4 and IPv6 alike.

Every builder takes addresses as text and returns whole IP packets; the family follows from the
addresses. Nothing here touches a socket.
"""

from __future__ import annotations

import ipaddress
import itertools
import struct
from dataclasses import dataclass

TCP, UDP, ICMP, ICMPV6, GRE, SCTP, VRRP, UDPLITE, FRAGMENT = 6, 17, 1, 58, 47, 132, 112, 136, 44
FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32}
IPV4_HEADER, IPV6_HEADER = 20, 40


@dataclass(frozen=True, slots=True)
class Packet:
    """What can be read off one IP packet. Ports are 0 where there are none to see."""

    family: int
    src: str
    dst: str
    proto: int
    sport: int = 0
    dport: int = 0
    flags: str = ""
    icmp: tuple[int, int] | None = None
    offset: int = 0
    more: bool = False
    length: int = 0
    payload: bytes = b""
    ttl: int = 0

    @property
    def is_fragment(self) -> bool:
        return self.more or self.offset > 0


def checksum(data: bytes) -> int:
    """The Internet checksum of `data`."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def raw(src: str, dst: str, proto: int, payload: bytes = b"", *, ident: int = 1, ttl: int = 64) -> bytes:
    """An IP packet that carries `payload` as protocol number `proto`."""
    return _header(src, dst, proto, len(payload), ident=ident, ttl=ttl) + payload


def tcp(
    src: str, sport: int, dst: str, dport: int, flags: str = "S", payload: bytes = b"",
    *, seq: int = 1000, ack: int = 0,
) -> bytes:  # fmt: skip
    """A TCP segment; `flags` are letters of FSRPAU."""
    bits = sum(FLAGS[letter] for letter in flags)
    segment = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 5 << 4, bits, 65000, 0, 0) + payload
    return raw(src, dst, TCP, _summed(src, dst, TCP, segment, 16))


def udp(src: str, sport: int, dst: str, dport: int, payload: bytes = b"probe", *, ident: int = 1) -> bytes:
    """A UDP datagram."""
    datagram = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    return raw(src, dst, UDP, _summed(src, dst, UDP, datagram, 6), ident=ident)


def echo(
    src: str, dst: str, *, ident: int = 7, seq: int = 1, payload: bytes = b"ping", ttl: int = 64
) -> bytes:
    """An ICMP or ICMPv6 echo request."""
    kind = 128 if _is6(src) else 8
    return icmp(src, dst, kind, 0, struct.pack("!HH", ident, seq) + payload, ttl=ttl)


def icmp(src: str, dst: str, kind: int, code: int, rest: bytes, *, ttl: int = 64) -> bytes:
    """Any ICMP or ICMPv6 message: type, code and all that follows the checksum."""
    proto = ICMPV6 if _is6(src) else ICMP
    message = struct.pack("!BBH", kind, code, 0) + rest
    if proto == ICMPV6:
        return raw(src, dst, proto, _summed(src, dst, proto, message, 2), ttl=ttl)
    return raw(src, dst, proto, _patched(message, 2, checksum(message)), ttl=ttl)


def too_big(src: str, dst: str, inner: bytes, mtu: int = 1400) -> bytes:
    """Fragmentation needed (IPv4) or packet too big (IPv6) about the packet `inner`."""
    if _is6(src):
        return icmp(src, dst, 2, 0, struct.pack("!I", mtu) + inner[:1100])
    return icmp(src, dst, 3, 4, struct.pack("!HH", 0, mtu) + inner[: IPV4_HEADER + 8])


def unreachable(src: str, dst: str, inner: bytes) -> bytes:
    """Port unreachable about the packet `inner`."""
    if _is6(src):
        return icmp(src, dst, 1, 4, bytes(4) + inner[:1100])
    return icmp(src, dst, 3, 3, bytes(4) + inner[: IPV4_HEADER + 8])


def neighbour_solicitation(src: str, target: str, mac: str) -> bytes:
    """Who has `target`? Sent to its solicited-node group."""
    address = ipaddress.IPv6Address(target).packed
    group = str(ipaddress.IPv6Address(bytes.fromhex("ff0200000000000000000001ff") + address[13:]))
    option = b"\x01\x01" + bytes.fromhex(mac.replace(":", ""))
    return icmp(src, group, 135, 0, bytes(4) + address + option, ttl=255)


_IDENTS = itertools.cycle(range(1000, 0x10000))


def fragments(packet: bytes, size: int = 1200, *, ident: int | None = None) -> list[bytes]:
    """Cut an IP packet into fragments of at most `size` payload bytes (a multiple of 8).

    Each packet is another one to the kernel: what an earlier test left half sent is no part of it.
    """
    ident = next(_IDENTS) if ident is None else ident
    seen = parse(packet)
    start = IPV6_HEADER if seen.family == 6 else IPV4_HEADER
    body = packet[start:]
    return [
        _fragment(seen, body[at : at + size], at, at + size < len(body), ident)
        for at in range(0, len(body), size)
    ]  # fmt: skip


def _fragment(whole: Packet, piece: bytes, at: int, more: bool, ident: int) -> bytes:
    if whole.family == 6:
        extension = struct.pack("!BBHI", whole.proto, 0, at | more, ident)
        return raw(whole.src, whole.dst, FRAGMENT, extension + piece)
    header = _header(
        whole.src, whole.dst, whole.proto, len(piece), ident=ident, ttl=64, frag=(more << 13) | at // 8
    )
    return header + piece


def parse(data: bytes) -> Packet:
    """Read an IP packet; what is not understood stays in `payload`."""
    if data[0] >> 4 == 6:
        return _parse6(data)
    length, frag, proto = struct.unpack("!2xHxxHxB", data[:10])
    src, dst = (str(ipaddress.IPv4Address(part)) for part in (data[12:16], data[16:20]))
    body = data[(data[0] & 15) * 4 : length]
    offset, more = (frag & 0x1FFF) * 8, bool(frag & 0x2000)
    seen = Packet(4, src, dst, proto, offset=offset, more=more, length=length, ttl=data[8])
    return _transport(seen, body)


def _parse6(data: bytes) -> Packet:
    length, proto = struct.unpack("!4xHB", data[:7])
    src, dst = (str(ipaddress.IPv6Address(part)) for part in (data[8:24], data[24:40]))
    body, offset, more = data[IPV6_HEADER : IPV6_HEADER + length], 0, False
    if proto == 0 and len(body) >= 8:  # hop-by-hop options: MLD carries them
        proto, body = body[0], body[(body[1] + 1) * 8 :]
    if proto == FRAGMENT and len(body) >= 8:
        proto, frag = struct.unpack("!BxH", body[:4])
        offset, more, body = frag & ~7, bool(frag & 1), body[8:]
    seen = Packet(6, src, dst, proto, offset=offset, more=more, length=IPV6_HEADER + length, ttl=data[7])
    return _transport(seen, body)


def _transport(seen: Packet, body: bytes) -> Packet:
    sport = dport = 0
    flags, kind = "", None
    payload = body
    if seen.offset == 0 and seen.proto in (TCP, UDP, SCTP, UDPLITE) and len(body) >= 8:
        sport, dport = struct.unpack("!HH", body[:4])
        payload = body[8:]
        if seen.proto == TCP and len(body) >= 20:
            flags = "".join(letter for letter, bit in FLAGS.items() if body[13] & bit)
            payload = body[(body[12] >> 4) * 4 :]
    elif seen.offset == 0 and seen.proto in (ICMP, ICMPV6) and len(body) >= 4:
        kind, payload = (body[0], body[1]), body[4:]
    return Packet(
        seen.family, seen.src, seen.dst, seen.proto, sport, dport, flags, kind,
        seen.offset, seen.more, seen.length, payload, seen.ttl,
    )  # fmt: skip


def _is6(address: str) -> bool:
    return ":" in address


def _header(src: str, dst: str, proto: int, size: int, *, ident: int, ttl: int, frag: int = 0) -> bytes:
    source, target = ipaddress.ip_address(src).packed, ipaddress.ip_address(dst).packed
    if _is6(src):
        return struct.pack("!IHBB", 6 << 28, size, proto, ttl) + source + target
    head = struct.pack("!BBHHHBBH", 0x45, 0, IPV4_HEADER + size, ident, frag, ttl, proto, 0) + source + target
    return _patched(head, 10, checksum(head))


def _summed(src: str, dst: str, proto: int, body: bytes, at: int) -> bytes:
    pseudo = ipaddress.ip_address(src).packed + ipaddress.ip_address(dst).packed
    total = checksum(pseudo + struct.pack("!II", len(body), proto) + body)
    return _patched(body, at, total or 0xFFFF)


def _patched(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + struct.pack("!H", value) + data[at + 2 :]
