"""Random site files that make sense often enough: every keyword, every clause, both families."""

from __future__ import annotations

import random
from collections.abc import Callable

V4 = ["198.51.100.0/24", "10.8.0.0/24", "203.0.113.9", "9.9.9.9", "192.0.2.64/26", "10.0.0.0/8"]
V6 = ["2001:db8:51::/48", "2620:fe::fe", "2001:db8:8::/64"]
NETWORKS = ["office", "lan-net", "resolvers", "others", "nine"]
HEAD = """site random
interface wan = eth0 address 192.0.2.80/24, 2001:db8:80::1/64
interface lan = eth1, "wg*" address 10.8.0.1/24
network office = 198.51.100.0/24, 2001:db8:51::/48
network lan-net = 10.8.0.0/24
network resolvers = 9.9.9.9, 2620:fe::fe
network others = any except lan-net
network nine = 172.16.1.0/24, 172.16.3.0/24, 172.16.5.0/24, 172.16.7.0/24, 172.16.9.0/24, 172.16.11.0/24,
  172.16.13.0/24, 172.16.15.0/24, 172.16.17.0/24, 2001:db8:11::/64, 2001:db8:13::/64, 2001:db8:15::/64,
  2001:db8:17::/64, 2001:db8:19::/64, 2001:db8:1b::/64, 2001:db8:1d::/64, 2001:db8:1f::/64, 2001:db8:21::/64
ports some = 80, 443, 8000-8010
"""


class Sites:
    """A stream of site texts from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.count = 0

    def text(self, most: int = 9) -> str:
        lines = [self._line() for _ in range(self.random.randint(1, most))]
        lines += [self._default() for _ in range(self.random.randint(0, 2))]
        seen: set[str] = set()
        kept = []
        for line in lines:
            key = " ".join(line.split()[:2]) if line.startswith("default") else line
            if key not in seen:
                seen.add(key)
                kept.append(line)
        return HEAD + "\n".join(kept) + "\n"

    def _default(self) -> str:
        hook = self.random.choice(["input", "forward", "output"])
        if hook == "output" and self.random.random() < 0.3:
            return "default output accept without replies"
        return f"default {hook} {self.random.choice(['drop', 'drop', 'reject', 'accept', 'leave'])}"

    def _line(self) -> str:
        makers: list[Callable[[], str]] = [
            self._service,
            self._service,
            self._service,
            self._client,
            self._client,
            self._peer,
            self._route,
            self._masquerade,
            self._helped,
            self._publish,
            self._redirect,
            self._trust,
            self._block,
            self._icmp,
        ]
        return self.random.choice(makers)()

    def _name(self) -> str:
        self.count += 1
        return f"n{self.count}"

    def _maybe(self, text: str, chance: float = 0.4) -> str:
        return f" {text}" if self.random.random() < chance else ""

    def _ports(self) -> str:
        pieces = []
        for _ in range(self.random.randint(1, 3)):
            low = self.random.choice([22, 53, 80, 123, 179, 443, 4789, 8080, 11211, 40000])
            pieces.append(
                f"{low}-{low + self.random.randint(1, 9)}" if self.random.random() < 0.2 else str(low)
            )
        return ", ".join(dict.fromkeys(pieces)) if self.random.random() < 0.9 else "some"

    def _traffic(self) -> str:
        first = f"{self.random.choice(['tcp', 'udp', 'tcp', 'udp', 'sctp'])} {self._ports()}"
        return first + (
            f"; {self.random.choice(['udp', 'tcp'])} {self._ports()}" if self.random.random() < 0.3 else ""
        )

    def _from(self) -> str:
        if self.random.random() < 0.6:
            return self.random.choice(NETWORKS)
        return self.random.choice(V4 + V6)

    def _tracking(self) -> str:
        return self._maybe(self.random.choice(["tracked", "untracked"]), 0.25)

    def _limit(self) -> str:
        return self._maybe(
            self.random.choice(["limit 20/second", "limit 5/minute per source", "limit connections 9"]), 0.15
        )

    def _service(self) -> str:
        return (
            f"service {self._name()} {self._traffic()}{self._maybe('from ' + self._from())}"
            f"{self._maybe('on ' + self.random.choice(['wan', 'lan']))}{self._maybe('at 192.0.2.80', 0.1)}"
            f"{self._tracking()}{self._limit()}"
        )

    def _helped(self) -> str:
        helper = self.random.choice(
            [
                "tcp 21 {} helper ftp",
                "udp 69 {} helper tftp",
                "udp 5060 {} helper sip",
                "tcp 1723 {} helper pptp",
            ]
        )
        kind, clause = self.random.choice(
            [
                ("service", "from"),
                ("client", "to"),
                ("peer", "with"),
                ("route", "from any to"),
                ("route", "from"),
            ]
        )
        tail = " to any" if clause == "from" and kind == "route" else ""
        return f"{kind} {self._name()} {helper.format(f'{clause} {self._from()}{tail}')}"

    def _client(self) -> str:
        return (
            f"client {self._name()} {self._traffic()}{self._maybe('to ' + self._from(), 0.7)}"
            f"{self._maybe('from port 1024-65535', 0.1)}{self._maybe('out wan', 0.2)}{self._tracking()}"
        )

    def _peer(self) -> str:
        what = (
            self._traffic()
            if self.random.random() < 0.7
            else f"proto {self.random.choice(['gre', '112', '50'])}"
        )
        at = self._maybe(self.random.choice(["at 224.0.0.18", "at broadcast", "at 239.1.2.3"]), 0.3)
        return f"peer {self._name()} {what} with {self.random.choice(V4)}{at}{self._tracking()}"

    def _route(self) -> str:
        what = self._maybe(self._traffic(), 0.6)
        sides = self._maybe("on lan", 0.3) + self._maybe("out wan", 0.3)
        ends = (
            f"from {self.random.choice(['any', self._from()])} to {self.random.choice(['any', self._from()])}"
        )
        return f"route {self._name()}{what} {ends}{sides}{self._tracking()}{self._maybe('mss pmtu', 0.2)}"

    def _masquerade(self) -> str:
        if self.random.random() < 0.3:
            return f"snat {self._name()} from lan-net out wan as 192.0.2.81"
        return f"masquerade {self._name()} from {self.random.choice(['lan-net', '10.0.0.0/8'])} out wan"

    def _publish(self) -> str:
        what = self.random.choice(["tcp 443", "tcp 8443; udp 8443", "tcp 2222"])
        whom = self._maybe("from nine", 0.2)
        side = self.random.choice(["on wan", "on lan", ""])
        return f"publish {self._name()} {what}{whom} {side} to 10.8.0.5 port 443{self._limit()} ipv4"

    def _redirect(self) -> str:
        what = self.random.choice(["tcp 80", "udp 53", "tcp 80; udp 80"])
        return f"redirect {self._name()} {what} on lan to port 3128{self._limit()} ipv4"

    def _trust(self) -> str:
        return f"trust {self._name()} from {self._from()}{self._maybe('on lan')}{self._tracking()}"

    def _block(self) -> str:
        return f"block {self._name()} from {self.random.choice(V4 + V6)}{self._maybe('on wan')}"

    def _icmp(self) -> str:
        whom = self.random.choice(["any", self._from()])
        return f"icmp {self._name()} echo-request from {whom}{self._limit_rate()}"

    def _limit_rate(self) -> str:
        return self._maybe("limit 20/second", 0.3)
