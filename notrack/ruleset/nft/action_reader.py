"""Reads log, reject and the statements that send a packet elsewhere: nat, queue, dup, fwd, tproxy."""

from __future__ import annotations

from collections.abc import Callable

from notrack.ruleset.nft import catalogue as c
from notrack.ruleset.nft import expression_reader as e
from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.cursor import Cursor
from notrack.ruleset.nft.tokens import QUOTED, WORD

LEVELS = ("emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "audit")


def _log(cursor: Cursor) -> t.Log:
    start = cursor.index
    cursor.take()
    prefix: t.Expression | None = None
    numbers: dict[str, int] = {}
    level, flags = None, []
    while True:
        if cursor.accept("prefix"):
            prefix = _text(cursor, "a prefix in quotes")
        elif cursor.at("group", "snaplen", "queue-threshold"):
            word = cursor.take().text
            numbers[word] = cursor.number()
        elif cursor.accept("level"):
            level = cursor.one_of(LEVELS, "a log level")
        elif cursor.accept("flags"):
            flags.append(_log_flag(cursor))
        else:
            break
    group, snaplen, threshold = (numbers.get(word) for word in ("group", "snaplen", "queue-threshold"))
    return t.Log(prefix, group, snaplen, threshold, level, tuple(flags), span=cursor.span(start))


def _text(cursor: Cursor, what: str) -> t.Expression:
    start = cursor.index
    if cursor.at("$"):
        return e.assigned(cursor)
    in_quotes = cursor.at_kind(QUOTED)
    return t.Value(cursor.text(what), in_quotes, span=cursor.span(start))


def _log_flag(cursor: Cursor) -> str:
    flag = cursor.one_of(("tcp", "ip", "skuid", "ether", "all"), "a log flag")
    if flag not in ("tcp", "ip"):
        return flag
    names = [cursor.one_of(("sequence", "options"), "`sequence` or `options`")]
    while cursor.accept(","):
        names.append(cursor.one_of(("sequence", "options"), "`sequence` or `options`"))
    return f"{flag} {','.join(names)}"


def _reject(cursor: Cursor) -> t.Reject:
    start = cursor.index
    cursor.take()
    if not cursor.accept("with"):
        return t.Reject(span=cursor.span(start))
    protocol = cursor.one_of(("icmp", "icmpv6", "icmpx", "tcp"), "icmp, icmpv6, icmpx or `tcp reset`")
    if protocol == "tcp":
        cursor.expect("reset")
        return t.Reject("tcp", span=cursor.span(start))
    cursor.accept("type")
    if cursor.at_end():
        help = f"such as `{protocol} port-unreachable`"
        raise cursor.fault(f"the code of `{protocol}` is missing", help=help)
    code = e.concatenation(cursor, fields=False)
    return t.Reject(protocol, code, span=cursor.span(start))


def _nat(cursor: Cursor) -> t.Nat:
    start = cursor.index
    kind = cursor.take().text
    family = cursor.take().text if cursor.at("ip", "ip6") and cursor.ahead().text in _FORMS else None
    form = _form(cursor)
    address: t.Expression | None = None
    port: t.Expression | None = None
    if cursor.accept("to") or (not _ends_nat(cursor) and not cursor.at(*c.NAT_FLAGS)):
        address, port = _endpoint(cursor)
        if kind in ("redirect", "masquerade") and port is None:
            address, port = None, address  # the older `redirect to 22`
    flags = _flags(cursor, c.NAT_FLAGS)
    return t.Nat(kind, address, port, family, flags, form, span=cursor.span(start))


_FORMS = ("to", "prefix", "interval", "addr")


def _form(cursor: Cursor) -> str | None:
    if cursor.at("prefix", "interval") and cursor.ahead().text == "to":
        return cursor.take().text
    if cursor.at("addr") and cursor.ahead().text == ".":
        for text in ("addr", ".", "port"):
            cursor.expect(text)
        return "addr . port"
    return None


def _ends_nat(cursor: Cursor) -> bool:
    """Whether a translation without a target is over: what follows is no address and no port."""
    fields = ("ip", "ip6", "tcp", "udp", "numgen", "jhash")
    return cursor.at_end() or (cursor.at_kind(WORD) and not cursor.at(*fields))


def _endpoint(cursor: Cursor) -> tuple[t.Expression | None, t.Expression | None]:
    """`[ADDRESS][:PORT]`, each a value, a range, a field or a map."""
    address = None if cursor.at(":") else e.concatenation(cursor, fields=True)
    port = e.concatenation(cursor, fields=True) if cursor.accept(":") else None
    return address, port


def _flags(cursor: Cursor, known: frozenset[str]) -> tuple[str, ...]:
    flags: list[str] = []
    while cursor.token.kind == WORD and cursor.token.text in known:
        flags.append(cursor.take().text)
        if cursor.at(",") and not (cursor.ahead().kind == WORD and cursor.ahead().text in known):
            cursor.take()
            cursor.one_of(known, "a flag")
        cursor.accept(",")
    return tuple(flags)


def _tproxy(cursor: Cursor) -> t.Tproxy:
    start = cursor.index
    cursor.take()
    family = cursor.take().text if cursor.at("ip", "ip6") else None
    cursor.expect("to")
    address, port = _endpoint(cursor)
    return t.Tproxy(address, port, family, span=cursor.span(start))


def _queue(cursor: Cursor) -> t.Queue:
    start = cursor.index
    cursor.take()
    flags = _flags(cursor, c.QUEUE_FLAGS) if cursor.accept("flags") else ()
    target: t.Expression | None = None
    if cursor.accept("num", "to"):
        target = e.concatenation(cursor, fields=True)
    flags += _flags(cursor, c.QUEUE_FLAGS)
    return t.Queue(target, flags, span=cursor.span(start))


def _duplicate(cursor: Cursor) -> t.Duplicate:
    start = cursor.index
    cursor.take()
    cursor.expect("to")
    to = e.concatenation(cursor, fields=True)
    device = e.concatenation(cursor, fields=True) if cursor.accept("device") else None
    return t.Duplicate(to, device, span=cursor.span(start))


def _forward(cursor: Cursor) -> t.Forward:
    start = cursor.index
    cursor.take()
    family = cursor.take().text if cursor.at("ip", "ip6") else None
    cursor.expect("to")
    to = e.concatenation(cursor, fields=True)
    device = e.concatenation(cursor, fields=True) if cursor.accept("device") else None
    return t.Forward(to, device, family, span=cursor.span(start))


ACTIONS: dict[str, Callable[[Cursor], t.Statement]] = {
    "log": _log,
    "reject": _reject,
    "snat": _nat,
    "dnat": _nat,
    "masquerade": _nat,
    "redirect": _nat,
    "tproxy": _tproxy,
    "queue": _queue,
    "dup": _duplicate,
    "fwd": _forward,
}
