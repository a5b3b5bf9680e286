"""ICMP requests by name, and the types that are never declared, with the reason."""

from __future__ import annotations

from notrack.site.model import IcmpType

_ALL = (
    IcmpType("echo-request", 8, 128),
    IcmpType("timestamp-request", 13, None),
    IcmpType("information-request", 15, None),
    IcmpType("address-mask-request", 17, None),
    IcmpType("extended-echo-request", 42, 160),
    IcmpType("node-information-query", None, 139),
    IcmpType("home-agent-discovery-request", None, 144),
    IcmpType("mobile-prefix-solicitation", None, 146),
)

ICMP_TYPES: dict[str, IcmpType] = {kind.name: kind for kind in _ALL}

_ERROR = "the errors that flows need always pass; take it out"
_NEIGHBOUR = "neighbour and router discovery always pass; take it out"
_REPLY = "name the request; its answer passes with it"

NEVER_DECLARED: dict[str, str] = {
    **dict.fromkeys(
        ("destination-unreachable", "packet-too-big", "time-exceeded", "parameter-problem", "fragmentation-needed",
         "source-quench", "ttl-exceeded", "port-unreachable", "host-unreachable", "network-unreachable"),
        _ERROR,
    ),
    **dict.fromkeys(
        ("neighbour-solicitation", "neighbor-solicitation", "neighbour-advertisement", "neighbor-advertisement",
         "router-solicitation", "router-advertisement", "mld-listener-query", "mld-listener-report",
         "multicast-listener-query", "nd-neighbor-solicit", "nd-neighbor-advert", "nd-router-solicit",
         "nd-router-advert"),
        _NEIGHBOUR,
    ),
    **dict.fromkeys(
        ("echo-reply", "pong", "timestamp-reply", "information-reply", "address-mask-reply",
         "extended-echo-reply", "node-information-response"),
        _REPLY,
    ),
}  # fmt: skip

MEANT = {"ping": "echo-request", "echo": "echo-request", "timestamp": "timestamp-request",
         "address-mask": "address-mask-request"}  # fmt: skip
