"""Random matches, each as xtables and nft say it."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.kernel.differential.shape import Part
from tests.kernel.differential.world import (
    BROADCAST,
    GROUPS,
    LAN,
    LOOPBACK,
    OTHER_PROTOCOLS,
    PORTS,
    WAN,
    everybody,
)

PREFIXES = {
    4: ("192.0.2.0/24", "10.8.0.0/24", "10.0.0.0/8", "198.51.100.0/24", "0.0.0.0/1", "192.0.2.80/31"),
    6: ("2001:db8::/32", "2001:db8:8::/64", "2001:db8:80::/64", "2001:db8:51::/48", "2000::/3"),
}
ICMP_TYPES = {4: ((8, "echo-request"), (0, "echo-reply"), (3, "destination-unreachable"),
                  (11, "time-exceeded")),
              6: ((128, "echo-request"), (129, "echo-reply"), (1, "destination-unreachable"),
                  (2, "packet-too-big"), (3, "time-exceeded"))}  # fmt: skip
STATES = ("NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED")
FLAG_SETS = (
    ("SYN,ACK,FIN,RST", "SYN"),
    ("SYN,ACK", "SYN,ACK"),
    ("ACK", "ACK"),
    ("RST", "RST"),
    ("FIN,SYN", "FIN,SYN"),
    ("SYN,ACK", "NONE"),
    ("ALL", "NONE"),
    ("PSH,URG", "PSH"),
)
ALL_FLAGS = "FIN,SYN,RST,PSH,ACK,URG"


def address(rng: random.Random, family: int) -> str:
    """One address that packets have."""
    pool = [*everybody(family), LOOPBACK[family]]
    pool += [BROADCAST, GROUPS[4]] if family == 4 else [GROUPS[6]]
    return rng.choice(pool)


def address_or_prefix(rng: random.Random, family: int) -> str:
    return rng.choice(PREFIXES[family]) if rng.random() < 0.4 else address(rng, family)


def port(rng: random.Random) -> str:
    return str(rng.choice(PORTS))


def port_or_range(rng: random.Random, join: str) -> str:
    if rng.random() < 0.6:
        return port(rng)
    low, high = rng.choice(((0, 79), (53, 443), (80, 8080), (1000, 2000), (1024, 65535), (443, 443)))
    return f"{low}{join}{high}"


def ends(rng: random.Random, family: int) -> Part:
    """An address at one end."""
    side, word = rng.choice((("s", "saddr"), ("d", "daddr")))
    negated = rng.random() < 0.2
    value = address_or_prefix(rng, family)
    head = "ip" if family == 4 else "ip6"
    return Part(
        f"{'! ' * negated}-{side} {value}",
        f"{head} {word} {'!= ' * negated}{value}",
    )


def address_span(rng: random.Random, family: int) -> Part:
    side, word = rng.choice((("src", "saddr"), ("dst", "daddr")))
    spans = {
        4: ("10.8.0.2-10.8.0.5", "192.0.2.0-192.0.2.80", "198.51.100.7-203.0.113.9", "10.0.0.0-192.0.2.79"),
        6: ("2001:db8:8::2-2001:db8:8::5", "2001:db8:51::-2001:db8:80::1", "2001:db8:80::2-2001:db8:99::"),
    }
    negated = rng.random() < 0.2
    value = rng.choice(spans[family])
    head = "ip" if family == 4 else "ip6"
    return Part(
        f"-m iprange {'! ' * negated}--{side}-range {value}", f"{head} {word} {'!= ' * negated}{value}"
    )


def interface(rng: random.Random, hook: str) -> Part | None:
    """The way in or out, where xtables knows it."""
    into, out = (
        hook in ("ingress", "prerouting", "input", "forward", ""),
        hook in ("forward", "output", "postrouting", "egress", ""),
    )
    side, word = rng.choice([("-i", "iifname")] * into + [("-o", "oifname")] * out)
    name = rng.choice((WAN.device, LAN.device, "lo", "eth+", WAN.device, LAN.device))
    negated = rng.random() < 0.25
    nft = name.replace("+", "*")
    return Part(f"{'! ' * negated}{side} {name}", f'{word} {"!= " * negated}"{nft}"')


def protocol(rng: random.Random, family: int) -> tuple[str, Part]:
    """A protocol that the rule asks for (`tcp`, `udp`, `icmp` or nothing to build on)."""
    name = rng.choice(("tcp", "tcp", "udp", "udp", "icmp", "other", "not"))
    if name == "icmp":
        word = "icmp" if family == 4 else "ipv6-icmp"
        return name, Part(f"-p {word}", f"meta l4proto {word}")
    if name == "other":
        number = rng.choice(OTHER_PROTOCOLS)
        return "", Part(f"-p {number}", f"meta l4proto {number}")
    if name == "not":
        what = rng.choice(("tcp", "udp"))
        return "", Part(f"! -p {what}", f"meta l4proto != {what}")
    return name, Part(f"-p {name}", f"meta l4proto {name}")


def ports(rng: random.Random, proto: str) -> Part:
    """A port of tcp or udp."""
    side = rng.choice(("d", "d", "s"))
    negated = rng.random() < 0.15
    if rng.random() < 0.3:
        values = [port_or_range(rng, ":") for _ in range(rng.randint(1, 3))]
        kept = _apart(values)
        elements = ", ".join(value.replace(":", "-") for value in kept)
        return Part(
            f"-m multiport {'! ' * negated}--{side}ports {','.join(kept)}",
            f"{proto} {side}port {'!= ' * negated}{{ {elements} }}",
        )
    value = port_or_range(rng, ":")
    return Part(
        f"{'! ' * negated}--{side}port {value}",
        f"{proto} {side}port {'!= ' * negated}{value.replace(':', '-')}",
    )


def _apart(values: list[str]) -> list[str]:
    """The values that do not overlap an earlier one (nft 1.0.6 refuses overlaps in a set)."""
    kept: list[tuple[int, int]] = []
    for value in values:
        low, _, high = value.partition(":")
        span = (int(low), int(high or low))
        if all(span[1] < other[0] or other[1] < span[0] for other in kept):
            kept.append(span)
    return [str(low) if low == high else f"{low}:{high}" for low, high in kept]


def flags(rng: random.Random) -> Part:
    if rng.random() < 0.3:
        negated = rng.random() < 0.4
        word = "!=" if negated else "=="
        return Part(f"{'! ' * negated}--syn", f"tcp flags & (fin|syn|rst|ack) {word} syn")
    mask, value = rng.choice(FLAG_SETS)
    negated = rng.random() < 0.25
    bits = "|".join((ALL_FLAGS if mask == "ALL" else mask).lower().split(","))
    wanted = "0x0" if value == "NONE" else "|".join(value.lower().split(","))
    single = "|" not in wanted
    return Part(
        f"{'! ' * negated}--tcp-flags {mask} {value}",
        f"tcp flags & ({bits}) {'!=' if negated else '=='} {wanted if single else f'({wanted})'}",
    )


def icmp_type(rng: random.Random, family: int) -> Part:
    number, name = rng.choice(ICMP_TYPES[family])
    option, head = ("--icmp-type", "icmp") if family == 4 else ("--icmpv6-type", "icmpv6")
    word = rng.choice((str(number), name))
    if family == 4 and number == 3 and rng.random() < 0.5:
        return Part(f"{option} 3/4", "icmp type 3 icmp code 4")
    negated = rng.random() < 0.2
    return Part(f"{'! ' * negated}{option} {word}", f"{head} type {'!= ' * negated}{number}")


def mark(rng: random.Random) -> Part:
    value, mask = rng.choice(((1, None), (2, 3), (0, 1), (0x10, 0xF0), (1, 0xFF), (0, None)))
    negated = rng.random() < 0.25
    if mask is None:
        return Part(f"-m mark {'! ' * negated}--mark {value:#x}", f"meta mark {'!= ' * negated}{value:#x}")
    word = "!=" if negated else "=="
    return Part(
        f"-m mark {'! ' * negated}--mark {value:#x}/{mask:#x}", f"meta mark & {mask:#x} {word} {value:#x}"
    )


def state(rng: random.Random) -> Part:
    chosen = rng.sample(STATES, rng.choice((1, 1, 2, 2, 3)))
    negated = rng.random() < 0.2
    old = rng.random() < 0.2
    option = "-m state" if old else "-m conntrack"
    word = "--state" if old else "--ctstate"
    words = ", ".join(chosen).lower()
    return Part(
        f"{option} {'! ' * negated}{word} {','.join(chosen)}",
        f"ct state != {{ {words} }}" if negated else f"ct state {{ {words} }}",
    )


def translated(rng: random.Random) -> Part:
    name = rng.choice(("SNAT", "DNAT"))
    return Part(f"-m conntrack --ctstate {name}", f"ct status {name.lower()}")


def direction(rng: random.Random) -> Part:
    name = rng.choice(("ORIGINAL", "REPLY"))
    return Part(f"-m conntrack --ctdir {name}", f"ct direction {name.lower()}")


def kind(rng: random.Random, family: int) -> Part:
    """The kind of an address. (xtables refuses BROADCAST of IPv6, which has none.)"""
    side, word = rng.choice((("src", "saddr"), ("dst", "daddr"), ("dst", "daddr")))
    name = rng.choice(("LOCAL", "LOCAL", "UNICAST", "MULTICAST", "BROADCAST")[: 5 if family == 4 else 4])
    negated = rng.random() < 0.25
    return Part(
        f"-m addrtype {'! ' * negated}--{side}-type {name}",
        f"fib {word} type {'!= ' * negated}{name.lower()}",
    )


def length(rng: random.Random) -> Part:
    low, high = rng.choice(((0, 40), (41, 60), (61, 200), (0, 65535), (36, 36)))
    negated = rng.random() < 0.2
    return Part(
        f"-m length {'! ' * negated}--length {low}:{high}", f"meta length {'!= ' * negated}{low}-{high}"
    )


def ttl(rng: random.Random, family: int) -> Part:
    """A comparison of the TTL or hop limit."""
    word, sign = rng.choice((("lt", "<"), ("gt", ">"), ("eq", "==")))
    value = rng.choice((1, 2, 9, 10, 62, 63, 64, 65, 127))
    if family == 4:
        return Part(f"-m ttl --ttl-{word} {value}", f"ip ttl {sign} {value}")
    return Part(f"-m hl --hl-{word} {value}", f"ip6 hoplimit {sign} {value}")


def dscp(rng: random.Random, family: int) -> Part:
    value = rng.choice((0, 8, 46))
    negated = rng.random() < 0.25
    head = "ip" if family == 4 else "ip6"
    return Part(f"-m dscp {'! ' * negated}--dscp {value}", f"{head} dscp {'!= ' * negated}{value}")


def frame(rng: random.Random) -> Part:
    """To whom the frame went."""
    kind = rng.choice(("unicast", "broadcast", "multicast"))
    negated = rng.random() < 0.3
    return Part(
        f"-m pkttype {'! ' * negated}--pkt-type {kind}",
        f"meta pkttype {'!= ' * negated}{'host' if kind == 'unicast' else kind}",
    )


def connection_mark(rng: random.Random) -> Part:
    """The mark of the connection, which nobody sets: it is 0 where there is an entry."""
    negated, value = rng.random() < 0.3, rng.choice((0, 0, 1))
    return Part(f"-m connmark {'! ' * negated}--mark {value:#x}", f"ct mark {'!= ' * negated}{value:#x}")


def later_fragment(_: random.Random) -> Part:
    return Part("-f", "ip frag-off & 0x1fff != 0")


def mac(rng: random.Random) -> Part:
    value = rng.choice(("02:00:00:00:00:02", "02:00:00:00:01:02", "02:00:00:00:00:01"))
    negated = rng.random() < 0.3
    return Part(f"-m mac {'! ' * negated}--mac-source {value}", f"ether saddr {'!= ' * negated}{value}")


def extra(rng: random.Random, family: int, hook: str, tracking: float) -> Part:
    """Any match that needs no protocol."""
    choices: list[tuple[float, Callable[[], Part | None]]] = [
        (4, lambda: ends(rng, family)),
        (1, lambda: address_span(rng, family)),
        (3, lambda: interface(rng, hook)),
        (1.5, lambda: mark(rng)),
        (1.5, lambda: kind(rng, family)),
        (0.4, lambda: length(rng)),
        (0.7, lambda: ttl(rng, family)),
        (0.2, lambda: frame(rng)),
        (0.3 * tracking, lambda: connection_mark(rng)),
        (0.4, lambda: dscp(rng, family)),
        (3 * tracking, lambda: state(rng)),
        (0.6 * tracking, lambda: direction(rng)),
        (0.4 * tracking, lambda: translated(rng)),
        (0.3 if family == 4 else 0, lambda: later_fragment(rng)),
        (0.3 if hook in ("ingress", "prerouting", "input", "forward") else 0, lambda: mac(rng)),
    ]
    weights = [weight for weight, _ in choices]
    made = rng.choices([make for _, make in choices], weights)[0]()
    return made if made is not None else ends(rng, family)
