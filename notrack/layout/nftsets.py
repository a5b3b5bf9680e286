"""The named sets of one nft table: shared by content, named after what the site calls them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field, replace

from notrack.layout.merging import Group
from notrack.layout.target import SOURCE_BITS, burst
from notrack.packets.address import Family, prefix_text, prefixes
from notrack.packets.intervals import IntervalSet
from notrack.plan.leg import Verb
from notrack.ruleset.nft import builder as b
from notrack.ruleset.nft import tree as t
from notrack.text.record import dataclass

_ANONYMOUS = 8  # up to so many elements a list is written into its rule
_TABLE_SIZE = 65535  # sources remembered for limits per source
_MEMORY = {"second": "1m", "minute": "1m", "hour": "1h", "day": "1d"}  # a full unit of the rate at least
_ADDRESS_TYPE = {Family.IPV4: "ipv4_addr", Family.IPV6: "ipv6_addr"}
_ADDRESS_WORD = {Family.IPV4: "ip", Family.IPV6: "ip6"}


@dataclass
class Sets:
    """Sets by what is in them; asking twice for the same content gives the same set."""

    family: Family
    networks: dict[tuple[tuple[int, int], ...], str]
    own: IntervalSet = IntervalSet()
    _made: dict[object, t.Set] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)

    def made(self) -> Iterable[t.Set]:
        return self._made.values()

    def name(self, wish: str) -> str:
        """A name near `wish` that nothing else in the table has."""
        base = "".join(c if c.isalnum() else "_" for c in wish)
        name, number = base, 1
        while name in self._names:
            number += 1
            name = f"{base}_{number}"
        self._names.add(name)
        return name

    def address_type(self) -> str:
        return _ADDRESS_TYPE[self.family]

    def address_match(self, side: str, addresses: IntervalSet) -> t.Match:
        """`ip saddr ...` for a set of addresses, in the shorter of its two ways."""
        left = b.field(f"{_ADDRESS_WORD[self.family]} {side}")
        inside = self.address_values(addresses)
        if len(inside) == 1:
            return b.match(left, "", inside[0])
        outside = self.address_values(self.family.whole - addresses)
        negated = bool(outside) and len(outside) < len(inside)
        chosen, op = (outside, "!=") if negated else (inside, "")
        if len(chosen) == 1:
            return b.match(left, op, chosen[0])
        wanted = self.family.whole - addresses if negated else addresses
        return b.match(left, op, self._listed(wanted.spans, self.address_type(), chosen, self._wish(wanted)))

    def address_values(self, addresses: IntervalSet) -> list[str]:
        return [prefix_text(value, length, self.family) for value, length in prefixes(addresses, self.family)]

    def _wish(self, addresses: IntervalSet) -> str:
        name = self.networks.get(addresses.spans)
        return f"{name}_net" if name else "addresses"

    def port_match(self, protocol: str, side: str, ports: IntervalSet) -> t.Match:
        """`tcp dport ...`."""
        left = b.field(f"{protocol} {side}")
        values = port_values(ports)
        if len(values) == 1:
            return b.match(left, "", values[0])
        return b.match(
            left, "", self._listed((protocol, ports.spans), "inet_service", values, f"{protocol}_ports")
        )

    def _listed(self, key: object, kind: str, values: list[str], wish: str) -> t.Expression:
        """The values in braces, or a named set of them when they are many."""
        if len(values) <= _ANONYMOUS:
            return t.SetLiteral(b.elements(values))
        return self.named((kind, key), (kind,), [b.value(v) for v in values], wish)

    def named(
        self, key: object, types: tuple[str, ...], values: list[t.Expression], wish: str
    ) -> t.SetReference:
        """A named set of these values; `flags interval` only where one is not a single value."""
        if key not in self._made:
            flags = ("interval",) if any(_is_wide(value) for value in values) else ()
            elements = tuple(t.Element(value) for value in values)
            self._made[key] = t.Set(self.name(wish), t.Type(types), elements, flags)
        return t.SetReference(self._made[key].name)

    def counting(self, group: Group) -> tuple[t.RuleStatement, ...]:
        """The statement that counts for a group, with the dynamic set it may need; empty without a limit."""
        if group.connections is not None:
            count = t.ConnectionLimit(group.connections.count, over=True)
            if not group.connections.per_source:
                return (count,)
            return (self._per_source("add", f"count_{group.origins[0].name}", count, None),)
        if group.rate is None:
            return ()
        rate = group.rate
        limit = t.Limit(rate.count, rate.unit, burst=burst(rate))
        if not rate.per_source or group.action.verb is Verb.LOG:
            return (limit,)
        return (self._per_source("update", f"rate_{group.origins[0].name}", limit, _MEMORY[rate.unit]),)

    def _per_source(self, verb: str, wish: str, counter: t.Statement, timeout: str | None) -> t.Update:
        """A statement per source address, in a set that packets fill; the same name holds the same count."""
        key = ("dynamic", wish, counter)
        if key not in self._made:
            made = t.Set(
                self.name(wish), t.Type((self.address_type(),)), size=_TABLE_SIZE, flags=("dynamic",)
            )
            if timeout is not None:
                made = replace(made, flags=("dynamic", "timeout"), timeout=timeout)
            self._made[key] = made
        source = b.field(f"{_ADDRESS_WORD[self.family]} saddr")
        bits = SOURCE_BITS[self.family]
        if bits != self.family.bits:
            mask = (1 << self.family.bits) - (1 << self.family.bits - bits)
            source = t.Binary(source, "&", t.Value(prefix_text(mask, self.family.bits, self.family)))
        return t.Update(verb, self._made[key].name, source, statements=(counter,))


def port_values(ports: IntervalSet) -> list[str]:
    return [str(low) if low == high else f"{low}-{high}" for low, high in ports]


def _is_wide(value: t.Expression) -> bool:
    if isinstance(value, t.Concat):
        return any(_is_wide(part) for part in value.parts)
    return isinstance(value, t.Prefix | t.Range)
