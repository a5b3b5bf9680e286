"""What the answers to a packet have where the packet has something else, as the two languages name it."""

from __future__ import annotations

from collections.abc import Mapping

_PAIRS = (
    ("-s", "-d"),
    ("--source", "--destination"),
    ("--src", "--dst"),
    ("-i", "-o"),
    ("--in-interface", "--out-interface"),
    ("--sport", "--dport"),
    ("--source-port", "--destination-port"),
    ("--sports", "--dports"),
    ("--source-ports", "--destination-ports"),
    ("--src-type", "--dst-type"),
    ("--src-range", "--dst-range"),
    ("--limit-iface-in", "--limit-iface-out"),
    ("--src-group", "--dst-group"),
)
SWAPPED: Mapping[str, str] = {
    **dict(_PAIRS),
    **{second: first for first, second in _PAIRS},
}
"""Options of iptables whose mirror is another option of the same value."""

KEPT = frozenset(("-p", "-f", "--ports", "--comment", "--limit-iface", "--return-nomatch"))
"""Options that answers have alike. An option that stands in no table here cannot be mirrored for certain."""

SETS = frozenset(("--match-set",))
STATES = frozenset(("--ctstate", "--state"))
TYPES = frozenset(("--icmp-type", "--icmpv6-type"))
ENDS = frozenset(("ACCEPT", "DROP", "RETURN", "NOTRACK", "REJECT", "LOG", "NFLOG"))
"""Targets that mean for answers what they mean for packets."""

_ANSWERS = (
    ("echo-request", "echo-reply"),
    ("8", "0"),
    ("8/0", "0/0"),
    ("timestamp-request", "timestamp-reply"),
    ("13", "14"),
    ("address-mask-request", "address-mask-reply"),
    ("17", "18"),
    ("128", "129"),
    ("128/0", "129/0"),
)
ANSWERS: Mapping[str, str] = {
    **dict(_ANSWERS),
    **{second: first for first, second in _ANSWERS},
    "ping": "echo-reply",
    "pong": "echo-request",
}
"""ICMP types and those of their answers."""

FIELDS: Mapping[str, str] = {"saddr": "daddr", "daddr": "saddr", "sport": "dport", "dport": "sport"}
KEYS: Mapping[str, str] = {
    "iif": "oif",
    "oif": "iif",
    "iifname": "oifname",
    "oifname": "iifname",
    "iifgroup": "oifgroup",
    "oifgroup": "iifgroup",
    "iiftype": "oiftype",
    "oiftype": "iiftype",
    "iifkind": "oifkind",
    "oifkind": "iifkind",
}
"""Fields of nft headers, and keys of `meta`."""


def mirrored_states(names: list[str]) -> list[str]:
    """The states that answers have where packets have these: to a new packet the answer is established."""
    made = ["established" if name.lower() == "new" else name for name in names]
    upper = any(name.isupper() for name in names)
    return list(dict.fromkeys(name.upper() if upper else name for name in made))
