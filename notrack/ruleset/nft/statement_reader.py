"""Reads statements: one function for each word that a statement starts with, and matches for the rest."""

from __future__ import annotations

from collections.abc import Callable

from notrack.ruleset.nft import catalogue as c
from notrack.ruleset.nft import expression_reader as e
from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.action_reader import ACTIONS
from notrack.ruleset.nft.cursor import Cursor
from notrack.ruleset.nft.field_reader import starts_field
from notrack.ruleset.nft.tokens import WORD, XT

_OPERATORS = {"==": "==", "!=": "!=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "!": "!"}
_OPERATORS |= {"eq": "==", "ne": "!=", "lt": "<", "gt": ">", "le": "<=", "ge": ">="}


def statement(cursor: Cursor) -> t.RuleStatement:
    """One statement; a `Fault` says what is wrong with it, a warning that its first word is not known."""
    verdict = e.verdict_or_none(cursor)
    if verdict is not None:
        return verdict
    token, following = cursor.token, cursor.ahead()
    if token.kind == XT:
        start = cursor.index
        cursor.take()
        return t.Xt("match" if token.text.islower() else "target", token.text, span=cursor.span(start))
    if token.kind == WORD and not (token.text == "ct" and following.text != "count"):
        reader = _READERS.get(token.text)
        if reader is not None and not (token.text == "queue" and following.text == "map"):
            return reader(cursor)
    return _match(cursor)


def _match(cursor: Cursor) -> t.Statement:
    start = cursor.index
    if cursor.token.kind == WORD and not starts_field(cursor):
        raise _unknown_word(cursor)
    left = e.concatenation(cursor, fields=True)
    if _is_constant(left):
        raise cursor.fault("expected a field of the packet, found a value", cursor.span(start))
    if cursor.accept("vmap"):
        return t.Vmap(left, e.verdict_table(cursor), span=cursor.span(start))
    if cursor.accept("set"):
        value = _protocol(cursor, left) or e.assigned(cursor)
        return t.Assign(left, value, span=cursor.span(start))
    op = ""
    if cursor.token.kind != "quoted" and cursor.token.text in _OPERATORS:
        op = _OPERATORS[cursor.take().text]
    if cursor.at_end() or cursor.at("comment"):
        raise cursor.fault("a value is missing: nothing to compare with", help=_after(left))
    right = e.right_hand(cursor)
    return t.Match(left, right, op, span=cursor.span(start))


_NEXT_HEADERS = ("protocol", "nexthdr", "type")


def _protocol(cursor: Cursor, target: t.Expression) -> t.Value | None:
    """The name of a protocol that the next header is set to: `ip protocol set tcp accept`.

    nft lists it so, though it reads it in quotes alone; `tcp dport` is a field, here as elsewhere.
    """
    start, name = cursor.index, cursor.token.text
    fields = c.PAYLOADS.get(name)
    if not (isinstance(target, t.Payload) and target.field in _NEXT_HEADERS):
        return None
    if cursor.token.kind != WORD or fields is None or cursor.ahead().text in fields:
        return None
    cursor.take()
    return t.Value(name, span=cursor.span(start))


def _is_constant(node: t.Expression) -> bool:
    """Whether nothing of the packet is read; a variable may stand for a field."""
    match node:
        case t.Binary(left=left, right=right) | t.Range(low=left, high=right):
            return _is_constant(left) and _is_constant(right)
        case t.Concat(parts=parts) | t.Listing(parts=parts):
            return all(_is_constant(part) for part in parts)
        case t.Mapping(key=key) | t.Prefix(address=key) | t.Masked(value=key):
            return _is_constant(key)
    return isinstance(node, t.Value | t.SetLiteral | t.SetReference | t.Wildcard)


def _after(left: t.Expression) -> str | None:
    text = left.span.text if left.span else ""
    return f"write `{text} VALUE`, or `{text} {{ A, B }}`" if text else None


def _unknown_word(cursor: Cursor) -> Exception:
    word = cursor.token.text
    if (word in c.PAYLOADS or word in c.EXTENSIONS or word == "meta") and cursor.ahead().kind != WORD:
        return cursor.fault(f"a field of `{word}` is missing")
    known = [*_READERS, *c.PAYLOADS, *c.META_KEYS, *c.VERDICTS, *c.JUMPS, "ct", "fib", "meta"]
    return cursor.unknown(f"unknown statement `{word}`", help=cursor.nearest(known))


def stateful(cursor: Cursor) -> t.Statement:
    """A statement that an element of a set may carry: counter, limit, quota, ct count, last."""
    return _READERS[cursor.token.text](cursor)


def _counter(cursor: Cursor) -> t.Statement:
    start = cursor.index
    cursor.take()
    if cursor.at("name"):
        return _object(cursor, "counter", start)
    packets = cursor.number() if cursor.accept("packets") else None
    volume = cursor.number() if cursor.accept("bytes") else None
    return t.Counter(packets, volume, span=cursor.span(start))


def _object(cursor: Cursor, kind: str, start: int) -> t.ObjectReference:
    cursor.expect("name")
    return t.ObjectReference(kind, e.assigned(cursor), span=cursor.span(start))


def _last(cursor: Cursor) -> t.Last:
    start = cursor.index
    cursor.take()
    used = cursor.text("a time") if cursor.accept("used") else None
    return t.Last(used, span=cursor.span(start))


def _limit(cursor: Cursor) -> t.Statement:
    start = cursor.index
    cursor.take()
    if cursor.at("name"):
        return _object(cursor, "limit", start)
    cursor.expect("rate")
    over = cursor.accept("over") is not None
    cursor.accept("until")
    rate, unit, per = _rate(cursor)
    burst, burst_unit = None, "packets"
    if cursor.accept("burst"):
        burst = cursor.number()
        burst_unit = cursor.one_of(("packets", "bytes", "kbytes", "mbytes", "gbytes"), "`packets` or `bytes`")
    return t.Limit(rate, per, over, unit, burst, burst_unit, span=cursor.span(start))


def _rate(cursor: Cursor) -> tuple[int, str, str]:
    rate = cursor.number("a rate, such as `10/second`")
    periods = ("second", "minute", "hour", "day", "week")
    if cursor.accept("/"):
        return rate, "", cursor.one_of(periods, "second, minute, hour, day or week")
    unit, slash, per = cursor.word("`/second` or a unit").partition("/")
    if not slash or per not in periods or unit not in ("bytes", "kbytes", "mbytes", "gbytes"):
        cursor.index -= 1
        help = "such as `10/second`, `1 mbytes/hour`"
        raise cursor.fault(f"expected a rate, found {cursor.found()}", help=help)
    return rate, unit, per


def _quota(cursor: Cursor) -> t.Statement:
    start = cursor.index
    cursor.take()
    if cursor.at("name"):
        return _object(cursor, "quota", start)
    mode = cursor.take().text if cursor.at("over", "until") else ""
    amount = _amount(cursor)
    used = _amount(cursor) if cursor.accept("used") else None
    return t.Quota(amount, mode, used, span=cursor.span(start))


def _amount(cursor: Cursor) -> str:
    number = cursor.number("an amount, such as `10 mbytes`")
    return f"{number} {cursor.one_of(('bytes', 'kbytes', 'mbytes', 'gbytes'), 'bytes, kbytes or mbytes')}"


def _connections(cursor: Cursor) -> t.ConnectionLimit:
    start = cursor.index
    cursor.take()
    cursor.expect("count")
    over = cursor.accept("over") is not None
    return t.ConnectionLimit(cursor.number(), over, span=cursor.span(start))


def _notrack(cursor: Cursor) -> t.Notrack:
    start = cursor.index
    cursor.take()
    return t.Notrack(span=cursor.span(start))


def _set_statement(cursor: Cursor) -> t.Update:
    """`add @s { ... }` and the older `set add KEY @s`."""
    start = cursor.index
    old = cursor.accept("set") is not None
    verb = cursor.one_of(("add", "update", "delete"), "`add`, `update` or `delete`")
    if old:
        key, options = e.concatenation(cursor, fields=True), e.element_options(cursor)
        cursor.expect("@")
        name = cursor.word("the name of a set")
        return t.Update(verb, name, key, None, options.timeout, options.statements, span=cursor.span(start))
    cursor.expect("@", help=f"write `{verb} @set {{ ... }}`")
    name = cursor.word("the name of a set")
    cursor.expect("{")
    key, options = e.concatenation(cursor, fields=True), e.element_options(cursor)
    data = None
    if cursor.accept(":"):
        data = e.verdict_or_none(cursor) or e.assigned(cursor)
    cursor.expect("}")
    return t.Update(verb, name, key, data, options.timeout, options.statements, span=cursor.span(start))


def _meter(cursor: Cursor) -> t.Meter:
    start = cursor.index
    cursor.take()
    name = cursor.word("the name of a meter")
    size = cursor.number() if cursor.accept("size") else None
    cursor.expect("{")
    key, options = e.concatenation(cursor, fields=True), e.element_options(cursor)
    cursor.expect("}")
    return t.Meter(name, key, options.statements, size, options.timeout, span=cursor.span(start))


def _flow(cursor: Cursor) -> t.Offload:
    start = cursor.index
    cursor.take()
    cursor.expect("add", "offload")
    cursor.expect("@")
    return t.Offload(cursor.word("the name of a flowtable"), span=cursor.span(start))


def _synproxy(cursor: Cursor) -> t.Statement:
    start = cursor.index
    cursor.take()
    if cursor.at("name"):
        return _object(cursor, "synproxy", start)
    mss = cursor.number() if cursor.accept("mss") else None
    wscale = cursor.number() if cursor.accept("wscale") else None
    timestamp = cursor.accept("timestamp") is not None
    sack = cursor.accept("sack-perm") is not None
    return t.Synproxy(mss, wscale, timestamp, sack, span=cursor.span(start))


def _reset(cursor: Cursor) -> t.Reset:
    start = cursor.index
    cursor.take()
    return t.Reset(e.concatenation(cursor, fields=True), span=cursor.span(start))


def _xt(cursor: Cursor) -> t.Xt:
    start = cursor.index
    cursor.take()
    kind = cursor.one_of(("target", "match", "watcher"), "`target` or `match`")
    return t.Xt(kind, cursor.text("the name of an extension"), span=cursor.span(start))


def rule_number(cursor: Cursor) -> int | None:
    """The handle in a comment that ends the line, `# handle 5`."""
    comment = cursor.tokens.trailing.get(cursor.index, "")
    words = comment.lstrip("# ").split()
    return int(words[1]) if len(words) == 2 and words[0] == "handle" and words[1].isdecimal() else None


_READERS: dict[str, Callable[[Cursor], t.Statement]] = {
    "counter": _counter,
    "last": _last,
    "limit": _limit,
    "quota": _quota,
    "ct": _connections,
    "notrack": _notrack,
    "add": _set_statement,
    "update": _set_statement,
    "delete": _set_statement,
    "set": _set_statement,
    "meter": _meter,
    "flow": _flow,
    "synproxy": _synproxy,
    "reset": _reset,
    "xt": _xt,
    **ACTIONS,
}
