"""What nft alone can say: named sets, concatenations, maps and verdict maps."""

from __future__ import annotations

import random

from tests.kernel.differential.matches import address, address_or_prefix, port
from tests.kernel.differential.shape import Chain, Part
from tests.kernel.differential.world import PORTS

VERDICTS = ("accept", "accept", "drop", "drop", "return", "continue")


class Sets:
    """The named sets of one table, declared as they are used."""

    def __init__(self, rng: random.Random, family: str) -> None:
        self.rng = rng
        self.family = family
        self._lines: list[str] = []

    def declarations(self) -> tuple[str, ...]:
        return tuple(self._lines)

    def _declare(self, what: str, kind: str, elements: list[str], flags: str = "") -> str:
        name = f"s{len(self._lines)}"
        interval = f" flags {flags};" if flags else ""
        self._lines.append(
            f"{what} {name} {{ type {kind};{interval} elements = {{ {', '.join(elements)} }}; }}"
        )
        return name

    def addresses(self, family: int) -> list[str]:
        return sorted({address(self.rng, family) for _ in range(self.rng.randint(1, 4))})

    def _port_protocol(self, proto: str | None) -> str | None:
        """A protocol whose ports a rule may ask for, given what it said before (None: nothing)."""
        if proto is None:
            return self.rng.choice(("tcp", "udp"))
        return proto if proto in ("tcp", "udp") else None

    def match(self, family: int, proto: str | None) -> Part:
        """A match on a set or on several fields at once."""
        rng = self.rng
        ported = self._port_protocol(proto)
        head, kind = ("ip", "ipv4_addr") if family == 4 else ("ip6", "ipv6_addr")
        side = rng.choice(("saddr", "daddr"))
        sign = "!= " if rng.random() < 0.25 else ""
        choice = rng.randrange(8) if ported else rng.choice((0, 1, 6, 7))
        if choice == 0:
            return Part(None, f"{head} {side} {sign}@{self._declare('set', kind, self.addresses(family))}")
        if choice == 1:
            elements = self._prefixes(family)
            return Part(None, f"{head} {side} {sign}@{self._declare('set', kind, elements, 'interval')}")
        if choice == 2:
            th = proto is None and rng.random() < 0.3
            end = rng.choice(("dport", "sport"))
            elements = sorted({port(rng) for _ in range(3)})
            name = self._declare("set", "inet_service", elements)
            header = "meta l4proto { tcp, udp } th" if th else ported
            return Part(None, f"{header} {end} {sign}@{name}")
        if choice == 3:
            elements = sorted({f"{a} . {port(rng)}" for a in self.addresses(family) for _ in range(2)})
            name = self._declare("set", f"{kind} . inet_service", elements)
            return Part(None, f"{head} {side} . {ported} dport {sign}@{name}")
        if choice == 4:
            spans = {
                f"{address_or_prefix(rng, family)} . {rng.choice(('0-79', '80-8080', '22', '1000-2000'))}"
            }
            name = self._declare("set", f"{kind} . inet_service", sorted(spans), "interval")
            return Part(None, f"{head} {side} . {ported} dport {sign}@{name}")
        if choice == 5:
            pairs = sorted({f"{rng.choice(('tcp', 'udp'))} . {port(rng)}" for _ in range(4)})
            return Part(None, f"meta l4proto . th dport {sign}{{ {', '.join(pairs)} }}")
        if choice == 6:
            word = rng.choice(("iifname", "oifname"))
            names = rng.choice(('"eth0"', '"eth1", "lo"', '"eth0", "lo"'))
            return Part(None, f"{word} {sign}{{ {names} }}")
        return Part(None, f"{head} {side} {sign}{{ {', '.join(self.addresses(family))} }}")

    def _prefixes(self, family: int) -> list[str]:
        pools = {
            4: ("192.0.2.0/24", "10.8.0.0-10.8.0.5", "198.51.100.7", "203.0.113.0/28", "127.0.0.0/8"),
            6: ("2001:db8:80::/64", "2001:db8:8::2-2001:db8:8::5", "2001:db8:51::7", "::1"),
        }
        return self.rng.sample(pools[family], self.rng.randint(1, 3))

    def verdicts(self, own: list[Chain], family: int, proto: str | None) -> tuple[Part, tuple[str, ...]]:
        """A verdict map: by port, protocol, state or address."""
        rng = self.rng
        called: set[str] = set()

        def verdict() -> str:
            if own and rng.random() < 0.5:
                chain = rng.choice(own).name
                called.add(chain)
                return f"{rng.choice(('jump', 'jump', 'goto'))} {chain}"
            return rng.choice(VERDICTS)

        ported = self._port_protocol(proto)
        choice = rng.randrange(0 if ported else 1, 4)
        if choice == 0:
            subject = f"{ported} dport"
            keys = [str(one) for one in rng.sample(PORTS, 3)]
        elif choice == 1:
            subject, keys = "meta l4proto", rng.sample(["tcp", "udp", "icmp", "ipv6-icmp"], 2)
        elif choice == 2:
            head = "ip" if family == 4 else "ip6"
            subject, keys = f"{head} {rng.choice(('saddr', 'daddr'))}", self.addresses(family)
        else:
            subject, keys = "iifname", rng.sample(['"eth0"', '"eth1"', '"lo"'], 2)
        pairs = ", ".join(f"{key} : {verdict()}" for key in keys)
        return Part(None, f"{subject} vmap {{ {pairs} }}"), tuple(sorted(called))

    def mark_map(self, proto: str | None) -> Part | None:
        """A mark by the port."""
        rng = self.rng
        ported = self._port_protocol(proto)
        if ported is None:
            return None
        keys = rng.sample(PORTS, 3)
        pairs = ", ".join(f"{key} : {rng.choice((1, 2, 0x10)):#x}" for key in keys)
        return Part(None, f"meta mark set {ported} dport map {{ {pairs} }}")
