"""The connection tracking helpers of the kernel: what each is called there, and what it works on.

From net/netfilter/nf_conntrack_*.c: the name in `nf_ct_helper_init` or `struct nf_conntrack_helper`,
the protocol of its tuple, and the families it registers for.
"""

from __future__ import annotations

from notrack.packets.address import Family
from notrack.text.record import dataclass

_TCP = frozenset({6})
_UDP = frozenset({17})
_BOTH = frozenset({Family.IPV4, Family.IPV6})
_V4 = frozenset({Family.IPV4})


@dataclass(frozen=True, slots=True)
class Helper:
    """`name` as the kernel spells it; the usual port is for hints only."""

    name: str
    protocols: frozenset[int]
    families: frozenset[Family]
    port: int


HELPERS: dict[str, Helper] = {
    "ftp": Helper("ftp", _TCP, _BOTH, 21),
    "tftp": Helper("tftp", _UDP, _BOTH, 69),
    "sip": Helper("sip", _TCP | _UDP, _BOTH, 5060),
    "irc": Helper("irc", _TCP, _V4, 6667),
    "ras": Helper("RAS", _UDP, _BOTH, 1719),
    "q931": Helper("Q.931", _TCP, _BOTH, 1720),
    "pptp": Helper("pptp", _TCP, _V4, 1723),
    "sane": Helper("sane", _TCP, _BOTH, 6566),
    "amanda": Helper("amanda", _UDP, _BOTH, 10080),
    "netbios-ns": Helper("netbios-ns", _UDP, _V4, 137),
    "snmp": Helper("snmp", _UDP, _V4, 161),
}

WORDS = {helper.name: word for word, helper in HELPERS.items()}
