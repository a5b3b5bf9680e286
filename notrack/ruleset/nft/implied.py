"""What a statement asks of a packet without saying so.

nft puts a match before a statement that needs one: `reject with tcp reset` sees TCP alone, in `inet` a
`dnat ip to` sees IPv4 alone, and so does any statement that reads an IPv4 field. A rule also ends where a
map has no element for the packet, so a translation through a map is one for its keys alone.
"""

from __future__ import annotations

from notrack.packets.fields import Field
from notrack.packets.intervals import IntervalSet
from notrack.ruleset import core
from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.expression_writer import expression_text
from notrack.ruleset.nft.match_lowering import Context, fact, key_literals, keys_of
from notrack.ruleset.nft.subject import METAS, PAYLOADS, values

_FAMILY = {
    "ip": core.Among(Field.FAMILY, IntervalSet.single(4)),
    "ip6": core.Among(Field.FAMILY, IntervalSet.single(6)),
}
_REJECTS: dict[str, core.Literal] = {
    "icmp": _FAMILY["ip"],
    "icmpv6": _FAMILY["ip6"],
    "tcp": core.Among(Field.PROTOCOL, IntervalSet.single(6)),
}


def implied(statement: t.Node, context: Context) -> core.Guard:
    """The literals without which the statement is never reached; each one once."""
    found: list[core.Literal] = []
    match statement:
        case t.Nat(family=str(family)) | t.Tproxy(family=str(family)) | t.Forward(family=str(family)):
            found.append(_FAMILY.get(family, core.Fact(f"family {family}")))
        case t.Reject(protocol=str(protocol)) if protocol in _REJECTS:
            found.append(_REJECTS[protocol])
    _collect(statement, context, found)
    return tuple(literal for literal in dict.fromkeys(found) if literal not in context.guard)


def _collect(node: t.Node, context: Context, found: list[core.Literal]) -> None:
    if isinstance(node, t.Mapping):
        found.extend(_of_mapping(node, context))
        return
    if isinstance(node, t.Payload):
        reads = PAYLOADS.get((node.protocol, node.field))
        present = core.Fact(f"{expression_text(node)} is there")
        found.extend(reads.needs if reads and node.outer is None else (present,))
        return
    for name in node.__dataclass_fields__:
        value = getattr(node, name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, t.Node):
                _collect(part, context, found)


def covers(key: t.Expression, keys: tuple[t.Expression, ...]) -> bool:
    """Whether the keys are all the numbers that `numgen` or a hash may give."""
    if not isinstance(key, t.Numgen | t.Hash):
        return False
    numbers = [values(METAS["mark"], part) for part in keys]
    found = IntervalSet.of(span for part in numbers if part is not None for span in part.spans)
    first = key.offset or 0
    return IntervalSet(((first, first + key.modulus - 1),)) <= found


def _of_mapping(node: t.Mapping, context: Context) -> core.Guard:
    keys = keys_of(node.table, context)
    if keys is None:
        return (fact(node, context),)
    if any(isinstance(key, t.Wildcard) for key in keys) or covers(node.key, keys):
        return ()
    return key_literals(node.key, keys, context) or (fact(node, context),)
