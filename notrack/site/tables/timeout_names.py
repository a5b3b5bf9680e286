"""The timeouts of connection tracking, and the sysctl of each.

The names come from `/proc/sys/net/netfilter` of Linux 6.18: `nf_conntrack_tcp_timeout_established` is
`tcp_established` here, `nf_conntrack_udp_timeout` is `udp`.
"""

from __future__ import annotations

# A timeout is kept as jiffies in an int: at 1000 ticks a second this is the most it can hold.
LONGEST = (2**31 - 1) // 1000

_STATES = {
    "tcp": (
        "syn_sent", "syn_recv", "established", "fin_wait", "close_wait", "last_ack", "time_wait", "close",
        "unacknowledged", "max_retrans",
    ),
    "sctp": (
        "closed", "cookie_wait", "cookie_echoed", "established", "shutdown_sent", "shutdown_recd",
        "shutdown_ack_sent", "heartbeat_sent",
    ),
    "udp": ("stream",),
    "gre": ("stream",),
}  # fmt: skip

TIMEOUTS: frozenset[str] = frozenset(
    {f"{protocol}_{state}" for protocol, states in _STATES.items() for state in states}
    | {"udp", "gre", "icmp", "icmpv6", "generic"}
)


def sysctl_key(timeout: str) -> str:
    """The sysctl that holds a timeout of `TrackingSettings.timeouts`, in seconds."""
    protocol, _, state = timeout.partition("_")
    tail = f"_{state}" if state else ""
    return f"net.netfilter.nf_conntrack_{protocol}_timeout{tail}"
