"""Sets of IPv4 and IPv6 addresses, kept apart by family."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterable, Iterator

from notrack.packets.intervals import EMPTY, Interval, IntervalSet
from notrack.text.record import dataclass

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Family(enum.Enum):
    """An address family, spelled as the command line and the JSON output spell it."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"

    @property
    def label(self) -> str:
        """The name in messages."""
        return "IPv4" if self is Family.IPV4 else "IPv6"

    @property
    def bits(self) -> int:
        return 32 if self is Family.IPV4 else 128

    @property
    def whole(self) -> IntervalSet:
        """Every address of the family."""
        return _WHOLE[self]


_WHOLE = {
    Family.IPV4: IntervalSet(((0, 2**32 - 1),)),
    Family.IPV6: IntervalSet(((0, 2**128 - 1),)),
}


@dataclass(frozen=True, slots=True)
class AddressSet:
    """Addresses of both families, exact."""

    v4: IntervalSet = EMPTY
    v6: IntervalSet = EMPTY

    @staticmethod
    def of(networks: Iterable[Network]) -> AddressSet:
        """The union of networks of either family."""
        spans: dict[int, list[Interval]] = {4: [], 6: []}
        for network in networks:
            spans[network.version].append((int(network.network_address), int(network.broadcast_address)))
        return AddressSet(IntervalSet.of(spans[4]), IntervalSet.of(spans[6]))

    def family(self, family: Family) -> IntervalSet:
        return self.v4 if family is Family.IPV4 else self.v6

    def __bool__(self) -> bool:
        return bool(self.v4) or bool(self.v6)

    def __or__(self, other: AddressSet) -> AddressSet:
        return AddressSet(self.v4 | other.v4, self.v6 | other.v6)

    def __and__(self, other: AddressSet) -> AddressSet:
        return AddressSet(self.v4 & other.v4, self.v6 & other.v6)

    def __sub__(self, other: AddressSet) -> AddressSet:
        return AddressSet(self.v4 - other.v4, self.v6 - other.v6)


ANY = AddressSet(_WHOLE[Family.IPV4], _WHOLE[Family.IPV6])


def prefixes(addresses: IntervalSet, family: Family) -> Iterator[tuple[int, int]]:
    """The shortest list of `(network address, prefix length)` that covers exactly `addresses`."""
    bits = family.bits
    for low, high in addresses:
        while low <= high:
            free = (low & -low).bit_length() - 1 if low else bits
            free = min(free, (high - low + 1).bit_length() - 1)
            yield low, bits - free
            low += 1 << free


def address_text(value: int, family: Family) -> str:
    """An address as people write it: dotted IPv4, compressed IPv6."""
    return str(ipaddress.IPv4Address(value) if family is Family.IPV4 else ipaddress.IPv6Address(value))


def prefix_text(value: int, length: int, family: Family) -> str:
    """A prefix as rules write it; a single address has no slash."""
    text = address_text(value, family)
    return text if length == family.bits else f"{text}/{length}"
