"""The numbers behind the names that nft rules use: protocols, services, ICMP types and codes, DSCP, flags.

Only what is fixed by nft itself or by long custom; a name that is not here stays a name, and whoever asks
learns that its number is not known. No file of the system is read.
"""

from __future__ import annotations

from notrack.ruleset.xtables import names


def _pairs(text: str) -> dict[str, int]:
    words = text.split()
    return {name: int(number, 0) for name, number in zip(words[::2], words[1::2], strict=True)}


# nft asks the same files of the system as iptables.
PROTOCOLS = {name: number for name, number in names.PROTOCOLS.items() if name != "all"} | {"comp": 108}
SERVICES = names.SERVICES
ICMP_TYPES = _pairs(
    "echo-reply 0 destination-unreachable 3 source-quench 4 redirect 5 echo-request 8 "
    "router-advertisement 9 router-solicitation 10 time-exceeded 11 parameter-problem 12 "
    "timestamp-request 13 timestamp-reply 14 info-request 15 info-reply 16 address-mask-request 17 "
    "address-mask-reply 18"
)
ICMP_CODES = _pairs(
    "net-unreachable 0 host-unreachable 1 prot-unreachable 2 port-unreachable 3 frag-needed 4 "
    "net-prohibited 9 host-prohibited 10 admin-prohibited 13"
)
ICMPV6_TYPES = _pairs(
    "destination-unreachable 1 packet-too-big 2 time-exceeded 3 parameter-problem 4 echo-request 128 "
    "echo-reply 129 mld-listener-query 130 mld-listener-report 131 mld-listener-done 132 "
    "mld-listener-reduction 132 nd-router-solicit 133 nd-router-advert 134 nd-neighbor-solicit 135 "
    "nd-neighbor-advert 136 nd-redirect 137 router-renumbering 138 ind-neighbor-solicit 141 "
    "ind-neighbor-advert 142 mld2-listener-report 143"
)
ICMPV6_CODES = _pairs(
    "no-route 0 admin-prohibited 1 addr-unreachable 3 port-unreachable 4 policy-fail 5 reject-route 6"
)
DSCP = _pairs(
    "cs0 0 cs1 8 cs2 16 cs3 24 cs4 32 cs5 40 cs6 48 cs7 56 df 0 be 0 lephb 1 af11 10 af12 12 af13 14 "
    "af21 18 af22 20 af23 22 af31 26 af32 28 af33 30 af41 34 af42 36 af43 38 va 44 ef 46"
)
TCP_FLAGS = _pairs("fin 1 syn 2 rst 4 psh 8 ack 16 urg 32 ecn 64 ece 64 cwr 128")
PACKET_TYPES = _pairs("host 0 unicast 0 broadcast 1 multicast 2 other 3")
ADDRESS_TYPES = _pairs(
    "unspec 0 unicast 1 local 2 broadcast 3 anycast 4 multicast 5 blackhole 6 unreachable 7 prohibit 8"
)
STATES = _pairs("new 0 established 1 related 2 invalid 3 untracked 4")
DIRECTIONS = _pairs("original 0 reply 1")
NF_FAMILIES = _pairs("ipv4 4 ipv6 6")
ETHER_FAMILIES = _pairs("ip 4 ip6 6 0x0800 4 0x800 4 0x86dd 6 2048 4 34525 6")
