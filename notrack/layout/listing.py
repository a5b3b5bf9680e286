"""Address and port sets as rules can say them: a few prefixes, all but a few, chunks of ports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from notrack.packets.address import Family, prefix_text, prefixes
from notrack.packets.intervals import IntervalSet
from notrack.plan.box import PORTS, Box

_PORT_SLOTS = 15  # of one multiport match; a range takes two


@dataclass(frozen=True, slots=True)
class Prefixes:
    """A list of prefixes, or everything except it."""

    listed: tuple[str, ...]
    negated: bool = False


def listing(addresses: IntervalSet, family: Family) -> Prefixes:
    """The shorter way to say a set: what is in it, or what is not."""
    inside = tuple(prefix_text(v, n, family) for v, n in prefixes(addresses, family))
    if len(inside) == 1:
        return Prefixes(inside)
    outside = tuple(prefix_text(v, n, family) for v, n in prefixes(family.whole - addresses, family))
    return Prefixes(outside, negated=True) if outside and len(outside) < len(inside) else Prefixes(inside)


def names_destination(box: Box) -> bool:
    """Whether a box names the few addresses it goes to, so that their kind need not be asked as well.

    All but a few (every own address but loopback's) names none.
    """
    return box.destination is not None and 2 * box.destination.size() < box.family.whole.size()


def port_chunks(ports: IntervalSet) -> Iterator[tuple[str, ...]]:
    """Ports in chunks that one multiport match holds, each item `80` or `8000:8010`."""
    if ports == PORTS:
        return
    chunk: list[str] = []
    slots = 0
    for low, high in ports:
        size = 1 if low == high else 2
        if slots + size > _PORT_SLOTS:
            yield tuple(chunk)
            chunk, slots = [], 0
        chunk.append(str(low) if low == high else f"{low}:{high}")
        slots += size
    if chunk:
        yield tuple(chunk)
