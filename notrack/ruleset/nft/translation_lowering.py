"""`snat`, `dnat`, `masquerade` and `redirect` as translations of the core, those through maps among them.

Where a map of known content gives the address or the port, and its key has an exact form, the statement is
one translation for each value. Else the translation may come out at any value of the map, and with a map that
packets fill (or `jhash`, or a field of the packet) at an address that nobody knows: `SOMEWHERE`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from notrack.packets.intervals import IntervalSet
from notrack.ruleset import core
from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.match_lowering import Sets, is_fixed
from notrack.ruleset.nft.statement_writer import statement_text
from notrack.ruleset.nft.subject import PAYLOADS, TRANSPORT, values

_ADDRESSES = (PAYLOADS["ip", "saddr"], PAYLOADS["ip6", "saddr"])
_PORTS = TRANSPORT["dport"]


def translation(node: t.Nat, sets: Sets) -> core.Nat:
    """All that the statement may do, as one translation."""
    addresses = None if node.address is None else _union(_address(part) for part in _data(node.address, sets))
    ports = None if node.port is None else _union(_port(part) for part in _data(node.port, sets))
    if node.address is not None and addresses is None:
        addresses = core.SOMEWHERE
    if node.port is not None and ports is None:
        ports = core.ANY_PORT
    if ports is None and node.address is not None:
        ports = _ports_behind(node.address, sets)
    return core.Nat(core.NatKind(node.kind), addresses, ports, statement_text(node))


def mapping_of(node: t.Nat) -> t.Mapping | None:
    """The map that decides the translation, if one alone does."""
    found = [part for part in (node.address, node.port) if isinstance(part, t.Mapping)]
    return found[0] if len(found) == 1 else None


def chosen(node: t.Nat, mapping: t.Mapping, data: t.Expression) -> t.Nat:
    """The statement with one value of its map in the map's place."""
    if node.port is mapping:
        return replace(node, port=data)
    if isinstance(data, t.Concat) and len(data.parts) == 2:
        return replace(node, address=data.parts[0], port=data.parts[1], form=None)
    return replace(node, address=data)


def _data(node: t.Expression, sets: Sets) -> tuple[t.Expression | None, ...]:
    """The values that an expression may have; None for one that is not known."""
    if not isinstance(node, t.Mapping):
        return (node,)
    table = node.table
    if isinstance(table, t.SetReference):
        named = sets.get(table.name)
        if named is None or not is_fixed(named):
            return (None,)
        return tuple(element.data for element in named.elements)
    return tuple(element.data for element in table.elements) if isinstance(table, t.SetLiteral) else (None,)


def _address(node: t.Expression | None) -> IntervalSet | None:
    first = next(iter(node.parts), None) if isinstance(node, t.Concat) else node
    if first is None:
        return None
    return next((found for reads in _ADDRESSES if (found := values(reads, first)) is not None), None)


def _port(node: t.Expression | None) -> IntervalSet | None:
    return None if node is None else values(_PORTS, node)


def _ports_behind(node: t.Expression, sets: Sets) -> IntervalSet | None:
    """The ports of `dnat ip addr . port to ... map`, which stand behind the addresses."""
    found = _data(node, sets)
    if not any(isinstance(part, t.Concat) for part in found):
        return None
    behind = [part.parts[1] if isinstance(part, t.Concat) and len(part.parts) > 1 else None for part in found]
    known = _union(_port(part) for part in behind)
    return core.ANY_PORT if known is None else known


def _union(found: Iterable[IntervalSet | None]) -> IntervalSet | None:
    parts = list(found)
    if not parts or any(part is None for part in parts):
        return None
    return IntervalSet.of(span for part in parts if part is not None for span in part.spans)
