"""Reads expressions.

Where a field may stand, a word that starts none is a value (`fin` in `tcp flags & fin`).
"""

from __future__ import annotations

from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.catalogue import words
from notrack.ruleset.nft.cursor import Cursor
from notrack.ruleset.nft.field_reader import field, starts_field
from notrack.ruleset.nft.tokens import ADDRESS, NEWLINE, NUMBER, QUOTED, WORD
from notrack.text.record import dataclass

_STRENGTH = {"|": 1, "or": 1, "^": 2, "xor": 2, "&": 3, "and": 3, "<<": 4, "lshift": 4, ">>": 4, "rshift": 4}
_SIGN = {"or": "|", "xor": "^", "and": "&", "lshift": "<<", "rshift": ">>"}
_STATEFUL = ("counter", "limit", "quota", "ct", "last")
NEVER_VALUES = words(
    "accept drop continue return jump goto counter log limit reject comment notrack masquerade quota vmap "
    "map synproxy"
)


def right_hand(cursor: Cursor) -> t.Expression:
    """What a match compares with: values, ranges, prefixes, concatenations, lists of flags, sets."""
    if cursor.at("{"):
        return set_literal(cursor)
    return _list(cursor, fields=False)


def assigned(cursor: Cursor) -> t.Expression:
    """What a statement sets something to or translates to: fields and maps as well as values."""
    return _list(cursor, fields=True)


def _list(cursor: Cursor, fields: bool) -> t.Expression:
    start = cursor.index
    first = concatenation(cursor, fields)
    parts = [first]
    while cursor.at(","):
        cursor.take()
        cursor.skip_lines()
        parts.append(concatenation(cursor, fields))
    node = first if len(parts) == 1 else t.Listing(tuple(parts), span=cursor.span(start))
    if cursor.accept("/"):
        mask = _list(cursor, fields)
        node = t.Masked(node, mask, span=cursor.span(start))
    return node


def concatenation(cursor: Cursor, fields: bool) -> t.Expression:
    """`a . b . c`, each a range, a prefix or less; where fields may stand, `... map { ... }` after it."""
    start = cursor.index
    parts = [_interval(cursor, fields)]
    while cursor.at("."):
        cursor.take()
        parts.append(_interval(cursor, fields))
    node = parts[0] if len(parts) == 1 else t.Concat(tuple(parts), span=cursor.span(start))
    if fields and cursor.accept("map"):
        table = _table(cursor)
        node = t.Mapping(node, table, span=cursor.span(start))
    return node


def _table(cursor: Cursor) -> t.Expression:
    if cursor.at("{"):
        return set_literal(cursor)
    if cursor.at("@", "$"):
        return _primary(cursor, False)
    raise cursor.fault(f"expected a map, `{{ ... }}` or `@name`, found {cursor.found()}")


def verdict_table(cursor: Cursor) -> t.Expression:
    """What follows `vmap`."""
    return _table(cursor)


def _interval(cursor: Cursor, fields: bool) -> t.Expression:
    start = cursor.index
    low = _binary(cursor, fields, 1)
    if cursor.at("-"):
        cursor.take()
        high = _binary(cursor, fields, 1)
        return t.Range(low, high, span=cursor.span(start))
    if cursor.at("/") and cursor.ahead().kind == NUMBER:
        cursor.take()
        length = cursor.number("a prefix length")
        return t.Prefix(low, length, span=cursor.span(start))
    return low


def _binary(cursor: Cursor, fields: bool, strength: int) -> t.Expression:
    start = cursor.index
    left = _primary(cursor, fields)
    while cursor.token.kind != QUOTED and _STRENGTH.get(cursor.token.text, 0) >= strength:
        op = cursor.take().text
        right = _binary(cursor, fields, _STRENGTH[op] + 1)
        left = t.Binary(left, _SIGN.get(op, op), right, span=cursor.span(start))
    return left


def _primary(cursor: Cursor, fields: bool) -> t.Expression:
    token, start = cursor.token, cursor.index
    if token.kind == WORD:
        if fields and starts_field(cursor):
            return _field(cursor)
        if token.text in NEVER_VALUES:
            raise cursor.fault(f"expected a value, found {cursor.found()}")
        cursor.take()
        return t.Value(token.text, span=cursor.span(start))
    if token.kind in (NUMBER, ADDRESS):
        cursor.take()
        return t.Value(token.text, span=cursor.span(start))
    if token.kind == QUOTED:
        cursor.take()
        return t.Value(token.text[1:-1], True, span=cursor.span(start))
    if token.kind in _SPECIAL:
        return _SPECIAL[token.kind](cursor, fields)
    raise cursor.fault(f"expected a value, found {cursor.found()}")


def _field(cursor: Cursor) -> t.Expression:
    """A field; `jhash` alone has an expression inside, so it is read here."""
    start = cursor.index
    if not cursor.accept("jhash"):
        return field(cursor)
    key = concatenation(cursor, True)
    cursor.expect("mod")
    modulus, seed, offset = cursor.number(), None, None
    if cursor.accept("seed"):
        seed = cursor.take().text if cursor.at_kind(NUMBER) else cursor.text("a seed")
    if cursor.accept("offset"):
        offset = cursor.number()
    return t.Hash(key, modulus, seed, offset, span=cursor.span(start))


def _parenthesis(cursor: Cursor, fields: bool) -> t.Expression:
    cursor.take()
    cursor.enter()
    inner = _list(cursor, fields)
    cursor.leave()
    cursor.expect(")")
    return inner


def _bracket(cursor: Cursor, fields: bool) -> t.Expression:
    cursor.take()
    cursor.enter()
    inner = _interval(cursor, fields)
    cursor.leave()
    cursor.expect("]")
    return inner


def _variable(cursor: Cursor, fields: bool) -> t.Expression:
    start = cursor.index
    cursor.take()
    name = cursor.word("the name of a variable")
    return t.Variable(name, span=cursor.span(start))


def _at(cursor: Cursor, fields: bool) -> t.Expression:
    start = cursor.index
    cursor.take()
    if cursor.at("ll", "nh", "th", "ih") and cursor.ahead().kind == ",":
        base = cursor.take().text
        cursor.expect(",")
        offset = cursor.number("an offset in bits")
        cursor.expect(",")
        return t.RawPayload(base, offset, cursor.number("a length in bits"), span=cursor.span(start))
    name = cursor.word("the name of a set")
    return t.SetReference(name, span=cursor.span(start))


def _wildcard(cursor: Cursor, fields: bool) -> t.Expression:
    start = cursor.index
    cursor.take()
    return t.Wildcard(span=cursor.span(start))


def _braces(cursor: Cursor, fields: bool) -> t.Expression:
    return set_literal(cursor)


_SPECIAL = {"(": _parenthesis, "[": _bracket, "$": _variable, "@": _at, "*": _wildcard, "{": _braces}


def set_literal(cursor: Cursor) -> t.SetLiteral:
    """`{ ... }` with its elements; lines may end anywhere between them."""
    start = cursor.index
    opening = cursor.expect("{")
    cursor.enter()
    elements: list[t.Element] = []
    cursor.skip_lines()
    while not cursor.at("}"):
        elements.append(element(cursor))
        cursor.skip_lines()
        if cursor.accept(","):
            cursor.skip_lines()
        elif not cursor.at("}"):
            source = cursor.tokens.source
            same_line = "\n" not in source.text[opening.start : cursor.token.start]
            raise cursor.fault(f"expected `,` or `}}`, found {cursor.found()}", inside=same_line)
    cursor.take()
    cursor.leave()
    return t.SetLiteral(tuple(elements), span=cursor.span(start))


def element(cursor: Cursor) -> t.Element:
    """One element, without the comma after it."""
    start = cursor.index
    key = concatenation(cursor, False)
    options = element_options(cursor)
    data = None
    if cursor.at_kind(NEWLINE) and _data_follows(cursor):
        cursor.skip_lines()
    if cursor.accept(":"):
        cursor.skip_lines()
        data = element_data(cursor)
        later = element_options(cursor)
        options = later if later != ElementOptions() else options
    return t.Element(
        key,
        data,
        options.comment,
        options.timeout,
        options.expires,
        options.statements,
        span=cursor.span(start),
    )


def _data_follows(cursor: Cursor) -> bool:
    step = 1
    while cursor.ahead(step).kind == NEWLINE:
        step += 1
    return cursor.ahead(step).kind == ":"


def element_data(cursor: Cursor) -> t.Expression:
    """What stands after the colon: a verdict, or a value."""
    verdict = verdict_or_none(cursor)
    return verdict if verdict is not None else concatenation(cursor, False)


def verdict_or_none(cursor: Cursor) -> t.Verdict | None:
    """`accept`, `jump x` and the like, if that is what comes next."""
    start = cursor.index
    if cursor.at("accept", "drop", "continue", "return"):
        kind = cursor.take().text
        return t.Verdict(kind, span=cursor.span(start))
    if not cursor.at("jump", "goto"):
        return None
    kind = cursor.take().text
    if cursor.at("$"):
        chain = _variable(cursor, False)
    else:
        place = cursor.index
        chain = t.Value(cursor.word("the name of a chain"), span=cursor.span(place))
    return t.Verdict(kind, chain, span=cursor.span(start))


@dataclass(slots=True)
class ElementOptions:
    """What may stand between key and data."""

    comment: str | None = None
    timeout: str | None = None
    expires: str | None = None
    statements: tuple[t.Node, ...] = ()


def element_options(cursor: Cursor) -> ElementOptions:
    """Timeout, expiry, comment and statements such as counters, in any order."""
    from notrack.ruleset.nft.statement_reader import stateful

    options = ElementOptions()
    while True:
        if cursor.accept("timeout"):
            options.timeout = cursor.text("a time")
        elif cursor.accept("expires"):
            options.expires = cursor.text("a time")
        elif cursor.accept("comment"):
            options.comment = cursor.text("a comment")
        elif cursor.at(*_STATEFUL):
            options.statements += (stateful(cursor),)
        else:
            return options
