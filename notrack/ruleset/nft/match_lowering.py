"""Matches, and keys of sets and maps, as literals of the core; what has no exact literal is a fact."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from notrack.packets.fields import PORT_PROTOCOLS, Field, Fragment, bits_set
from notrack.packets.intervals import EMPTY, IntervalSet
from notrack.ruleset import core
from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.expression_writer import expression_text
from notrack.ruleset.nft.statement_writer import statement_text
from notrack.ruleset.nft.subject import METAS, Subject, bits, subject, values
from notrack.ruleset.nft.variables import spliced
from notrack.ruleset.xtables.values import masked
from notrack.text.record import dataclass

Sets = dict[str, t.Set]
_EVALUATED = (t.Numgen, t.Limit, t.Quota, t.ConnectionLimit)
_MARKS = (Field.MARK, Field.CT_MARK)
_OFFSET = 0x1FFF  # all bits of the offset
_FRAGMENTS = {_OFFSET: (Fragment.LATER,), 0x3FFF: (Fragment.FIRST, Fragment.LATER)}


@dataclass(frozen=True, slots=True)
class Context:
    """What a match is read in: the sets of its table, and what the rule has asked for so far."""

    sets: Sets
    guard: core.Guard = ()

    @property
    def has_ports(self) -> bool:
        return any(
            isinstance(literal, core.Among)
            and literal.field is Field.PROTOCOL
            and not literal.negated
            and not (literal.values - PORT_PROTOCOLS)
            for literal in self.guard
        )


def fact(node: t.Node, context: Context, negated: bool = False) -> core.Fact:
    """The free fact that a part stands for: equal text, equal fact."""
    return core.Fact(
        statement_text(node), negated, uses(node, t.Ct), uses(node, t.Socket), own=_counts(node, context.sets)
    )


def _counts(node: t.Node, sets: Sets) -> bool:
    """Whether the answer may be another one when asked again: a counter, a set that packets fill."""
    return any(
        isinstance(part, _EVALUATED)
        or part == t.Meta("random")
        or (isinstance(part, t.SetReference) and not (part.name in sets and is_fixed(sets[part.name])))
        for part in parts_of(node)
    )


def parts_of(node: t.Node) -> Iterator[t.Node]:
    """The node and everything in it."""
    yield node
    for name in node.__dataclass_fields__:
        value = getattr(node, name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, t.Node):
                yield from parts_of(part)


def uses(node: t.Node, kind: type[t.Node]) -> bool:
    """Whether such a part is anywhere in the node."""
    return any(isinstance(part, kind) for part in parts_of(node))


def match_literals(match: t.Match, context: Context) -> core.Guard:
    """The literals that hold exactly when the match does (a `Fact` where that cannot be said)."""
    made = _special(match, context) or _plain(match, context)
    if made is not None:
        return made
    negated = match.op == "!="
    return (fact(t.Match(match.left, match.right, "" if negated else match.op), context, negated),)


def _special(match: t.Match, context: Context) -> core.Guard | None:
    if isinstance(match.left, t.Binary):
        return _under_mask(match, match.left)
    if isinstance(match.right, t.Masked):
        mask = t.Binary(match.left, "&", match.right.mask)
        return _under_mask(t.Match(mask, match.right.value, match.op), mask)
    if match.left == t.Payload("tcp", "flags"):
        return _flags(match)
    if match.left == t.Ct("state"):
        return _state(match, context)
    if match.left == t.Ct("status"):
        return _status(match)
    return _fragment(match)


def _under_mask(match: t.Match, left: t.Binary) -> core.Guard | None:
    reads = subject(left.left) if left.op == "&" else None
    if reads is None or match.op not in ("", "==", "!="):
        return _fragment_offset(match, left)
    mask, value = bits(reads, left.right), bits(reads, match.right)
    if mask is None or value is None:
        return None
    negated = match.op == "!="
    if reads.field in _MARKS:
        return (core.Masked(reads.field, mask, value, negated),)
    if reads.bits == 8:
        return (*reads.needs, core.Among(reads.field, bits_set(mask, value), negated))
    if (reads.scale, reads.shift) != (1, 0) or reads.kind == "interface":
        return None
    found = masked(value, mask, reads.bits)
    return None if found is None else (*reads.needs, core.Among(reads.field, found, negated))


def _flags(match: t.Match) -> core.Guard | None:
    """Without an operator any of the flags is enough; `==` and `!=` and sets ask for all bits."""
    reads = subject(match.left)
    assert reads is not None
    number = bits(reads, match.right)
    if number is None or match.op not in ("", "!", "==", "!="):
        return None
    none = bits_set(number, 0)
    if match.op in ("", "!"):
        return (*reads.needs, core.Among(reads.field, none, match.op == ""))
    return (*reads.needs, core.Among(reads.field, IntervalSet.single(number), match.op == "!="))


def _state(match: t.Match, context: Context) -> core.Guard | None:
    """A packet has one state: a list is any of them, and equal to several at once is nothing."""
    reads = subject(match.left)
    parts = match.right.parts if isinstance(match.right, t.Listing) else (match.right,)
    if reads is None or isinstance(match.right, t.SetLiteral | t.SetReference):
        return None
    found = [values(reads, part) if isinstance(part, t.Value) else None for part in parts]
    if any(part is None for part in found) or match.op not in ("", "==", "!=", "!"):
        return None
    if match.op == "==" and len(parts) > 1:
        return (core.Never(), fact(match, context))
    together = _union(part for part in found if part)
    return (core.Among(reads.field, together, match.op in ("!=", "!")),)


def _status(match: t.Match) -> core.Guard | None:
    fields = {"snat": Field.CT_SNAT, "dnat": Field.CT_DNAT}
    if match.op or not isinstance(match.right, t.Value) or match.right.text not in fields:
        return None
    return (core.Among(fields[match.right.text], IntervalSet.single(1)),)


def _fragment(match: t.Match) -> core.Guard | None:
    """`exthdr frag exists`, `frag frag-off > 0`: in IPv6 a header of its own."""
    later, any_part = (Fragment.LATER,), (Fragment.FIRST, Fragment.LATER)
    text = match.right.text if isinstance(match.right, t.Value) else ""
    if match.left == t.Extension("frag") and text in ("exists", "missing"):
        return (_family(6), _fragments(any_part, text == "missing"))
    if match.left == t.Extension("frag", "frag-off") and (match.op, text) in ((">", "0"), ("!=", "0")):
        return (_family(6), _fragments(later, False))
    return None


def _fragment_offset(match: t.Match, left: t.Binary) -> core.Guard | None:
    """`ip frag-off & 0x1fff != 0`: not the first part; with 0x3fff any part of several."""
    number = _plain_number(left.right)
    zero = _plain_number(match.right) == 0
    whole = left.left == t.Extension("frag", "frag-off") and left.op == "&" and number == _OFFSET
    if whole and zero and match.op in ("!=", ">"):
        return (_family(6), _fragments((Fragment.LATER,), False))
    if left.left != t.Payload("ip", "frag-off") or left.op != "&":
        return None
    if number not in _FRAGMENTS or not zero or match.op not in ("", "==", "!=", ">"):
        return None
    return (_family(4), _fragments(_FRAGMENTS[number], match.op in ("", "==")))


def _plain_number(node: t.Expression) -> int | None:
    try:
        return int(node.text, 0) if isinstance(node, t.Value) else None
    except ValueError:
        return None


def _family(number: int) -> core.Among:
    return core.Among(Field.FAMILY, IntervalSet.single(number))


def _fragments(which: tuple[Fragment, ...], negated: bool) -> core.Among:
    return core.Among(Field.FRAGMENT, IntervalSet.of((part, part) for part in which), negated)


def _plain(match: t.Match, context: Context) -> core.Guard | None:
    if match.op in ("<", "<=", ">", ">="):
        return _compared(match, context)
    if match.op not in ("", "==", "!="):
        return None
    keys = keys_of(match.right, context)
    return None if keys is None else key_literals(match.left, keys, context, match.op == "!=")


def _compared(match: t.Match, context: Context) -> core.Guard | None:
    reads = subject(match.left, context.has_ports)
    found = values(reads, match.right) if reads else None
    if reads is None or found is None or reads.kind != "number":
        return None
    low, high = found.spans[0][0], found.spans[-1][1]
    least, most = reads.shift, ((1 << reads.bits) - 1) * reads.scale + reads.scale - 1 + reads.shift
    bounds = {"<": (least, low - 1), "<=": (least, high), ">": (high + 1, most), ">=": (low, most)}[match.op]
    inside = IntervalSet((bounds,)) if bounds[0] <= bounds[1] else EMPTY
    return (*reads.needs, core.Among(reads.field, inside))


def keys_of(node: t.Expression, context: Context) -> tuple[t.Expression, ...] | None:
    """The keys of a set, literal or named, or the one value; None for a set whose content is not known."""
    match node:
        case t.SetLiteral(elements=elements):
            return tuple(element.key for element in spliced(elements))
        case t.SetReference(name=name):
            named = context.sets.get(name)
            if named is None or not is_fixed(named):
                return None
            return tuple(element.key for element in spliced(named.elements))
    return (node,)


def is_fixed(named: t.Set) -> bool:
    """Whether the elements are those that are written: no packet adds any, none ends, none has a limit."""
    if "dynamic" in named.flags or "timeout" in named.flags or named.timeout:
        return False
    parts = chain(named.statements, *(element.statements for element in named.elements))
    return all(isinstance(part, t.Counter) for part in parts) and not any(
        isinstance(item, t.UnknownItem) for item in named.extra
    )


def key_literals(
    left: t.Expression, keys: tuple[t.Expression, ...], context: Context, negated: bool = False
) -> core.Guard | None:
    """The literals for `left` being one of the keys; None where that has no exact form."""
    if isinstance(left, t.Concat):
        return _concatenation(left, keys, context, negated)
    reads = subject(left, context.has_ports)
    if reads is None:
        return _next_header(left, keys, context, negated)
    together = _together(reads, keys)
    return None if together is None else (*reads.needs, core.Among(reads.field, together, negated))


def _together(reads: Subject, keys: Iterable[t.Expression]) -> IntervalSet | None:
    found = [values(reads, key) for key in keys]
    return None if any(part is None for part in found) else _union(part for part in found if part)


def _union(parts: Iterable[IntervalSet]) -> IntervalSet:
    return IntervalSet.of(interval for part in parts for interval in part.spans)


def _next_header(
    left: t.Expression, keys: tuple[t.Expression, ...], context: Context, negated: bool
) -> core.Guard | None:
    """`ip6 nexthdr tcp` sees the first header alone: TCP, and no extension header before it."""
    if left != t.Payload("ip6", "nexthdr"):
        return None
    found = key_literals(t.Meta("l4proto"), keys, context)
    text = ", ".join(expression_text(key) for key in keys)
    guess = core.Fact(f"ip6 nexthdr {{ {text} }}", negated)
    return (_family(6), guess) if negated else (_family(6), *(found or ()), guess)


def _names_ports(left: t.Concat, keys: tuple[t.Expression, ...], negated: bool) -> bool:
    """Whether a key fits only packets with ports, since each says a protocol that has them."""
    if negated or t.Meta("l4proto") not in left.parts:
        return False
    place = left.parts.index(t.Meta("l4proto"))
    said = [key.parts[place] for key in keys if isinstance(key, t.Concat) and len(key.parts) > place]
    found = [values(METAS["l4proto"], part) for part in said]
    return len(found) == len(keys) and all(part is not None and part <= PORT_PROTOCOLS for part in found)


def _concatenation(
    left: t.Concat, keys: tuple[t.Expression, ...], context: Context, negated: bool
) -> core.Guard | None:
    reads = [subject(part, context.has_ports or _names_ports(left, keys, negated)) for part in left.parts]
    needs: list[core.Literal] = []
    for part in reads:
        if part is None:
            return None
        needs.extend(need for need in part.needs if need not in needs)
    guards: list[core.Guard] = []
    for key in keys:
        if not isinstance(key, t.Concat) or len(key.parts) != len(reads):
            return None
        found = [values(part, value) for part, value in zip(reads, key.parts, strict=True) if part]
        if any(part is None for part in found):
            return None
        guards.append(
            tuple(
                core.Among(part.field, inner)
                for part, inner in zip(reads, found, strict=True)
                if part and inner
            )
        )
    return (*needs, core.OneOf(tuple(guards), negated))
