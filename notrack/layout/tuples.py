"""Many boxes of one shape as one set of tuples, `protocol . port . address`, instead of a rule for each.

The port comes first: a set with intervals is as dear as its first field is coarse.
"""

from __future__ import annotations

from itertools import product

from notrack.layout.merging import Part
from notrack.layout.nftsets import Sets
from notrack.layout.nftwords import as_expressions, frame, tail
from notrack.layout.phrase import protocol_name
from notrack.packets.address import prefix_text, prefixes
from notrack.plan.box import ICMP_TYPES, PORTS, WITH_PORTS, Box, uncovered
from notrack.ruleset.nft import builder as b
from notrack.ruleset.nft import tree as t
from notrack.site.model import Origin

_LARGEST = 4096  # elements of one box; beyond, two lists are cheaper than their product
_ADDRESS_WORD = {32: "ip", 128: "ip6"}


def joint_set_fits(box: Box) -> bool:
    """Whether a box can be part of a set of tuples without swelling it."""
    if not box.protocol <= WITH_PORTS or box.protocol.size() != 1 or box.icmp != ICMP_TYPES:
        return False
    size = 1
    for ports in (box.source_ports, box.destination_ports):
        size *= 1 if ports == PORTS else len(ports.spans)
    for addresses in (box.source, box.destination):
        size *= 1 if addresses is None else sum(1 for _ in prefixes(addresses, box.family))
    return size <= _LARGEST


def joint_part(parts: list[Part], sets: Sets) -> tuple[tuple[t.RuleStatement, ...], tuple[Origin, ...]]:
    """The conditions of the one rule that replaces `parts`, which all have one skeleton."""
    first = parts[0].box
    fields, types = _fields(first, sets)
    values = [value for piece in _disjoint(parts) for value in _values(piece)]
    wish = f"{'answers' if first.destination_ports == PORTS else 'services'}"
    reference = sets.named((types, tuple(values)), types, values, wish)
    origins = tuple(dict.fromkeys(origin for part in parts for origin in part.origins))
    return (*frame(first), t.Match(t.Concat(fields), reference), *tail(first, sets.own)), origins


def _fields(box: Box, sets: Sets) -> tuple[tuple[t.Expression, ...], tuple[str, ...]]:
    word = _ADDRESS_WORD[box.family.bits]
    chosen: list[tuple[t.Expression, str]] = [(b.field("meta l4proto"), "inet_proto")]
    if box.destination_ports != PORTS:
        chosen.append((b.field("th dport"), "inet_service"))
    if box.source_ports != PORTS:
        chosen.append((b.field("th sport"), "inet_service"))
    if box.source is not None:
        chosen.append((b.field(f"{word} saddr"), sets.address_type()))
    if box.destination is not None:
        chosen.append((b.field(f"{word} daddr"), sets.address_type()))
    return tuple(f for f, _ in chosen), tuple(kind for _, kind in chosen)


def _disjoint(parts: list[Part]) -> list[Box]:
    """The same packets in boxes that do not overlap: the kernel refuses overlapping tuples."""
    done: list[Box] = []
    by_port: dict[tuple[int, int], list[Box]] = {}
    for part in parts:
        near = {id(box): box for key in _blocks(part.box) for box in by_port.get(key, ())}
        for piece in uncovered(part.box, near.values()):
            done.append(piece)
            for key in _blocks(piece):
                by_port.setdefault(key, []).append(piece)
    return done


def _blocks(box: Box) -> list[tuple[int, int]]:
    """Where to look for boxes that may overlap: protocol and block of 64 ports."""
    ports = box.destination_ports if box.destination_ports != PORTS else box.source_ports
    protocol = box.protocol.least()
    return [(protocol, block) for low, high in ports for block in range(low >> 6, (high >> 6) + 1)]


def _values(box: Box) -> list[t.Expression]:
    lists: list[list[t.Expression]] = [[t.Value(protocol_name(box.protocol.least()))]]
    for ports in (box.destination_ports, box.source_ports):
        if ports != PORTS:
            lists.append(as_expressions(ports))
    for addresses in (box.source, box.destination):
        if addresses is not None:
            lists.append([_address(box, value, length) for value, length in prefixes(addresses, box.family)])
    return [t.Concat(parts) for parts in product(*lists)]


def _address(box: Box, value: int, length: int) -> t.Expression:
    return b.value(prefix_text(value, length, box.family))
