"""Random targets and statements, each as xtables and nft say it."""

from __future__ import annotations

import random

from tests.kernel.differential.shape import Part
from tests.kernel.differential.world import LOOPBACK, PORTS, own, peers

ACCEPT = Part("-j ACCEPT", "accept")
DROP = Part("-j DROP", "drop")
RETURN = Part("-j RETURN", "return")
NOTHING = Part("", "counter")
NOTRACK = Part("-j CT --notrack", "notrack")


def call(rng: random.Random, chain: str) -> Part:
    """A jump or a goto."""
    if rng.random() < 0.3:
        return Part(f"-g {chain}", f"goto {chain}")
    return Part(f"-j {chain}", f"jump {chain}")


def set_mark(rng: random.Random) -> Part:
    value, mask = rng.choice(((1, None), (2, 3), (0x10, 0xF0), (0, None), (1, 1)))
    if mask is None:
        return Part(f"-j MARK --set-mark {value:#x}", f"meta mark set {value:#x}")
    keep = 0xFFFFFFFF & ~mask
    return Part(
        f"-j MARK --set-xmark {value:#x}/{mask:#x}", f"meta mark set meta mark & {keep:#x} ^ {value:#x}"
    )


def reject(rng: random.Random, family: int, proto: str | None) -> Part:
    if proto == "tcp" and rng.random() < 0.5:
        return Part("-j REJECT --reject-with tcp-reset", "reject with tcp reset")
    if rng.random() < 0.5:
        return Part("-j REJECT", "reject")
    if family == 4:
        return Part("-j REJECT --reject-with icmp-admin-prohibited", "reject with icmp type admin-prohibited")
    return Part("-j REJECT --reject-with adm-prohibited", "reject with icmpv6 type admin-prohibited")


def untrack(rng: random.Random) -> Part:
    """Something of the CT target: mostly NOTRACK."""
    if rng.random() < 0.85:
        return NOTRACK if rng.random() < 0.8 else Part("-j NOTRACK", "notrack")
    return zone(rng)


def zone(rng: random.Random) -> Part:
    """A zone for both directions, or for one."""
    number = rng.choice((5, 5, 6))
    return rng.choice(
        (
            Part(f"-j CT --zone {number}", f"ct zone set {number}"),
            Part(f"-j CT --zone {number}", f"ct zone set {number}"),
            Part(f"-j CT --zone-orig {number}", f"ct original zone set {number}"),
            Part(f"-j CT --zone-reply {number}", f"ct reply zone set {number}"),
        )
    )


def address(rng: random.Random, family: int) -> Part:
    """Another destination without any connection: nft writes it into the header."""
    target = rng.choice(peers("server", family) + peers("client", family)[:1] + own(family))
    return Part(None, f"{'ip' if family == 4 else 'ip6'} daddr set {target}")


def ports_of(rng: random.Random, join: str = "-") -> str:
    if rng.random() < 0.6:
        return str(rng.choice(PORTS))
    low, high = rng.choice(((2000, 2010), (1400, 1600), (40000, 50000)))
    return f"{low}{join}{high}"


def _end(address: str, port: str) -> str:
    if not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def destination(rng: random.Random, family: int, proto: str | None) -> Part:
    """DNAT or REDIRECT. `proto` is tcp, udp or nothing: ports can be changed for the former two alone."""
    ports = ports_of(rng) if proto in ("tcp", "udp") and rng.random() < 0.6 else ""
    if rng.random() < 0.3:
        if not ports:
            return Part("-j REDIRECT", "redirect")
        return Part(f"-j REDIRECT --to-ports {ports}", f"redirect to :{ports}")
    pool = peers("server", family) * 2 + peers("client", family)[:1] + own(family)
    if rng.random() < 0.06:
        pool = (LOOPBACK[family],)
    target = _end(rng.choice(pool), ports)
    head = "ip" if family == 4 else "ip6"
    return Part(f"-j DNAT --to-destination {target}", f"dnat {head} to {target}")


def source(rng: random.Random, family: int, proto: str | None, *, masquerade: bool) -> Part:
    """SNAT or (not in INPUT) MASQUERADE."""
    ports = ports_of(rng) if proto in ("tcp", "udp") and rng.random() < 0.4 else ""
    if masquerade and rng.random() < 0.6:
        if not ports:
            return Part("-j MASQUERADE", "masquerade")
        return Part(f"-j MASQUERADE --to-ports {ports}", f"masquerade to :{ports}")
    target = _end(rng.choice(own(family) + peers("client", family)[-1:]), ports)
    head = "ip" if family == 4 else "ip6"
    return Part(f"-j SNAT --to-source {target}", f"snat {head} to {target}")


def set_field(rng: random.Random, family: int, *, nft: bool = False) -> Part:
    """The TTL or the DSCP gets another value (xtables: in mangle alone)."""
    head = "ip" if family == 4 else "ip6"
    if not nft and rng.random() < 0.3:
        way, by = rng.choice((("dec", 1), ("dec", 63), ("dec", 64), ("inc", 1), ("inc", 200)))
        return Part(f"-j {'TTL --ttl' if family == 4 else 'HL --hl'}-{way} {by}", None)
    if rng.random() < 0.6:
        value = rng.choice((1, 2, 10, 63, 65))
        if family == 4:
            return Part(f"-j TTL --ttl-set {value}", f"ip ttl set {value}")
        return Part(f"-j HL --hl-set {value}", f"ip6 hoplimit set {value}")
    value = rng.choice((0, 8, 46))
    return Part(f"-j DSCP --set-dscp {value}", f"{head} dscp set {value}")
