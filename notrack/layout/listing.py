"""Address and port sets as rules can say them: a few prefixes, all but a few, chunks of ports."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from notrack.packets.address import Family, prefix_text, prefixes
from notrack.packets.intervals import Interval, IntervalSet
from notrack.plan.box import PORTS, Box
from notrack.text.record import dataclass

_PORT_SLOTS = 15  # of one multiport match; a range takes two


@dataclass(frozen=True, slots=True)
class Prefixes:
    """A list of prefixes, or everything except it."""

    listed: tuple[str, ...]
    spans: tuple[Interval, ...]  # the addresses of each
    negated: bool = False


def listing(addresses: IntervalSet, family: Family, *, in_one_rule: bool = False) -> Prefixes:
    """The shorter way to say a set: what is in it, or what is not.

    `in_one_rule`: a list of what is not in it takes a chain of its own, so only a single such prefix will do.
    """
    inside = list(prefixes(addresses, family))
    outside: list[tuple[int, int]] = []
    if len(inside) > 1:
        outside = list(islice(prefixes(family.whole - addresses, family), len(inside)))
    negated = bool(outside) and len(outside) < len(inside) and not (in_one_rule and len(outside) > 1)
    chosen = outside if negated else inside
    return Prefixes(
        tuple(prefix_text(value, length, family) for value, length in chosen),
        tuple((value, value | (1 << family.bits - length) - 1) for value, length in chosen),
        negated,
    )


def is_named(box: Box, own: IntervalSet) -> bool:
    """Whether a box names own addresses (`own`: all that the site tells), so that no rule need ask whether
    its destination is local. An address that the site does not call its own may be somebody else's.
    """
    return box.destination is not None and box.destination <= own


def port_chunks(ports: IntervalSet) -> Iterator[IntervalSet]:
    """Ports in chunks that one multiport match holds; all ports are one chunk."""
    chunk: list[Interval] = []
    slots = 0
    for low, high in ports:
        size = 1 if low == high else 2
        if slots + size > _PORT_SLOTS:
            yield IntervalSet(tuple(chunk))
            chunk, slots = [], 0
        chunk.append((low, high))
        slots += size
    yield IntervalSet(tuple(chunk))


def port_words(ports: IntervalSet) -> tuple[str, ...]:
    """Ports as iptables writes them, `80` or `8000:8010`; nothing for all ports."""
    if ports == PORTS:
        return ()
    return tuple(str(low) if low == high else f"{low}:{high}" for low, high in ports)
