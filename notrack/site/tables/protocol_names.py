"""Names of IP protocols that `proto` knows, and the numbers that it refuses, each with the reason."""

from __future__ import annotations

PORT_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}

_TABLE = """
igmp 2, ggp 3, ipencap 4, st 5, egp 8, igp 9, pup 12, hmp 20, iso-tp4 29, dccp 33, xtp 36, ddp 37,
idpr-cmtp 38, ipv6 41, sit 41, rsvp 46, gre 47, esp 50, ah 51, skip 57, eigrp 88, ospf 89, ax25 93,
etherip 97, encap 98, pim 103, ipcomp 108, vrrp 112, carp 112, pgm 113, l2tp 115, isis 124, fc 133,
mobility-header 135, udplite 136, mpls-in-ip 137, manet 138, hip 139, shim6 140, wesp 141, rohc 142
"""

PROTOCOLS: dict[str, int] = {
    name: int(number) for name, number in (entry.split() for entry in _TABLE.replace("\n", " ").split(","))
}

_PORTS = "give it with its ports: `{0} 443`, or `{0} any`"
_ICMP = "declare what is answered with `icmp NAME echo-request`; the errors that flows need always pass"
_HEADER = "it is an IPv6 extension header, which the rules look through by themselves"

REFUSED: dict[int, str] = {
    0: _HEADER,
    1: _ICMP,
    6: _PORTS.format("tcp"),
    17: _PORTS.format("udp"),
    43: _HEADER,
    44: _HEADER,
    58: _ICMP,
    59: _HEADER,
    60: _HEADER,
    132: _PORTS.format("sctp"),
    255: "255 is reserved and never on the wire",
}

AMBIGUOUS: dict[str, str] = {
    "ipip": "tunnels of mode ipip are `proto ipencap` (4); /etc/protocols calls `proto 94` so",
}

REFUSED_NAMES: dict[str, int] = {
    **PORT_PROTOCOLS,
    "icmp": 1,
    "icmpv6": 58,
    "ipv6-icmp": 58,
    "icmp6": 58,
    "hopopt": 0,
    "ip": 0,
    "ipv6-route": 43,
    "ipv6-frag": 44,
    "ipv6-nonxt": 59,
    "ipv6-opts": 60,
}
