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

_ERRORS = """
destination-unreachable network-unreachable host-unreachable port-unreachable fragmentation-needed
packet-too-big time-exceeded ttl-exceeded parameter-problem source-quench
"""
_DISCOVERY = """
neighbour-solicitation neighbor-solicitation neighbour-advertisement neighbor-advertisement
router-solicitation router-advertisement mld-listener-query mld-listener-report multicast-listener-query
nd-neighbor-solicit nd-neighbor-advert nd-router-solicit nd-router-advert
"""
_REPLIES = """
echo-reply pong timestamp-reply information-reply address-mask-reply extended-echo-reply
node-information-response
"""

NEVER_DECLARED: dict[str, str] = {
    **dict.fromkeys(_ERRORS.split(), _ERROR),
    **dict.fromkeys(_DISCOVERY.split(), _NEIGHBOUR),
    **dict.fromkeys(_REPLIES.split(), _REPLY),
}

MEANT: dict[str, str] = {
    "ping": "echo-request",
    "echo": "echo-request",
    "timestamp": "timestamp-request",
    "address-mask": "address-mask-request",
}
