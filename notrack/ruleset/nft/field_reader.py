"""Reads what a rule looks at: header fields, meta and ct keys, fib, options and the like."""

from __future__ import annotations

from collections.abc import Callable

from notrack.ruleset.nft import catalogue as c
from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.cursor import Cursor
from notrack.ruleset.nft.tokens import NUMBER, WORD


def starts_field(cursor: Cursor) -> bool:
    """Whether the next words name something that is read of the packet."""
    word, following = cursor.token.text, cursor.ahead()
    if cursor.token.kind != WORD:
        return False
    if word in c.META_BARE:
        return True
    if word in _READERS and following.kind == WORD:
        return word != "exthdr" or following.text in c.EXTENSIONS
    if word in c.PAYLOADS or word in c.EXTENSIONS:
        return following.kind == WORD
    return False


def field(cursor: Cursor) -> t.Expression:
    """One field; a fault where the words after its first do not go on as they should."""
    word = cursor.token.text
    if word == "ipsec" and cursor.ahead().text not in ("in", "out"):
        return _meta(cursor)
    if word in _READERS and not (word == "rt" and cursor.ahead().text in c.EXTENSIONS["rt"]):
        return _READERS[word](cursor)
    if word in c.META_BARE:
        return _meta(cursor)
    if word in c.PAYLOADS:
        return _payload(cursor)
    return _extension(cursor)


def _meta(cursor: Cursor) -> t.Meta:
    start = cursor.index
    cursor.accept("meta")
    return t.Meta(_known(cursor, c.META_KEYS, "meta"), span=cursor.span(start))


def _known(cursor: Cursor, names: frozenset[str], of: str) -> str:
    """A name of the catalogue; an unlisted one may be of a newer nft, so it is a warning."""
    token = cursor.token
    if token.kind != WORD:
        raise cursor.fault(f"expected a field of `{of}`, found {cursor.found()}")
    if token.text not in names:
        raise cursor.unknown(f"`{of}` has no field `{token.text}` here", help=cursor.nearest(names))
    return cursor.take().text


def _payload(cursor: Cursor) -> t.Expression:
    start = cursor.index
    protocol = cursor.take().text
    following = cursor.token.text
    if protocol in ("tcp", "ip", "dccp") and following == "option":
        return _option(cursor, protocol, start)
    if protocol == "sctp" and following == "chunk":
        return _option(cursor, protocol, start)
    if protocol in c.TUNNELS and following in c.PAYLOADS and following not in c.PAYLOADS[protocol]:
        inner = cursor.take().text
        name = _known(cursor, c.PAYLOADS[inner], inner)
        return t.Payload(inner, name, protocol, span=cursor.span(start))
    if protocol == "arp" and following in c.ARP_ADDRESSES:
        side = cursor.take().text
        name = _known(cursor, c.ARP_ADDRESSES[side], f"arp {side}")
        return t.Payload("arp", f"{side} {name}", span=cursor.span(start))
    return t.Payload(protocol, _known(cursor, c.PAYLOADS[protocol], protocol), span=cursor.span(start))


def _extension(cursor: Cursor) -> t.Extension:
    start = cursor.index
    header = cursor.take().text
    name = _known(cursor, c.EXTENSIONS[header], header)
    if header == "srh" and name == "sid" and cursor.accept("["):
        name = f"sid[{cursor.number()}]"
        cursor.expect("]")
    elif header in ("rt0", "rt2") and name == "addr" and cursor.accept("["):
        name = f"addr[{cursor.number()}]"
        cursor.expect("]")
    return t.Extension(header, name, span=cursor.span(start))


def _exthdr(cursor: Cursor) -> t.Extension:
    start = cursor.index
    cursor.take()
    header = _known(cursor, frozenset(c.EXTENSIONS), "exthdr")
    return t.Extension(header, span=cursor.span(start))


def _option(cursor: Cursor, protocol: str, start: int) -> t.Option:
    cursor.take()
    if cursor.accept("@"):
        numbers = [str(cursor.number())]
        while len(numbers) < 3:
            cursor.expect(",")
            numbers.append(str(cursor.number()))
        return t.Option(protocol, "@" + ",".join(numbers), span=cursor.span(start))
    names = {"tcp": c.TCP_OPTIONS, "ip": c.IP_OPTIONS, "sctp": c.SCTP_CHUNKS}.get(protocol, frozenset())
    if cursor.at_kind(NUMBER):
        name = cursor.take().text
    else:
        name = _known(cursor, names, f"{protocol} {'chunk' if protocol == 'sctp' else 'option'}")
    fields = c.CHUNK_FIELDS if protocol == "sctp" else c.OPTION_FIELDS
    inner = cursor.take().text if cursor.token.kind == WORD and cursor.token.text in fields else None
    return t.Option(protocol, name, inner, span=cursor.span(start))


def _ct(cursor: Cursor) -> t.Ct:
    start = cursor.index
    cursor.take()
    direction = family = None
    if cursor.at(*c.CT_DIRECTIONS):
        direction = cursor.take().text
    if cursor.at(*c.L3):
        family = cursor.take().text
    return t.Ct(_known(cursor, c.CT_KEYS, "ct"), direction, family, span=cursor.span(start))


def _fib(cursor: Cursor) -> t.Fib:
    start = cursor.index
    cursor.take()
    selectors = [_known(cursor, c.FIB_SELECTORS, "fib")]
    while cursor.accept("."):
        selectors.append(_known(cursor, c.FIB_SELECTORS, "fib"))
    return t.Fib(tuple(selectors), _known(cursor, c.FIB_RESULTS, "fib"), span=cursor.span(start))


def _route(cursor: Cursor) -> t.Route:
    start = cursor.index
    cursor.take()
    family = cursor.take().text if cursor.at(*c.L3) else None
    return t.Route(_known(cursor, c.ROUTE_KEYS, "rt"), family, span=cursor.span(start))


def _socket(cursor: Cursor) -> t.Socket:
    start = cursor.index
    cursor.take()
    key = _known(cursor, c.SOCKET_KEYS, "socket")
    level = cursor.number("a level") if cursor.accept("level") else None
    return t.Socket(key, level, span=cursor.span(start))


def _osf(cursor: Cursor) -> t.Osf:
    start = cursor.index
    cursor.take()
    ttl = cursor.one_of(("loose", "skip"), "`loose` or `skip`") if cursor.accept("ttl") else None
    return t.Osf(_known(cursor, c.OSF_KEYS, "osf"), ttl, span=cursor.span(start))


def _ipsec(cursor: Cursor) -> t.Ipsec:
    start = cursor.index
    cursor.take()
    direction = cursor.one_of(("in", "out"), "`in` or `out`")
    spnum = cursor.number() if cursor.accept("spnum") else None
    family = cursor.take().text if cursor.at(*c.L3) else None
    return t.Ipsec(direction, _known(cursor, c.IPSEC_KEYS, "ipsec"), family, spnum, span=cursor.span(start))


def _numgen(cursor: Cursor) -> t.Numgen:
    start = cursor.index
    cursor.take()
    mode = cursor.one_of(("inc", "random"), "`inc` or `random`")
    cursor.expect("mod")
    modulus = cursor.number()
    offset = cursor.number() if cursor.accept("offset") else None
    return t.Numgen(mode, modulus, offset, span=cursor.span(start))


def _symhash(cursor: Cursor) -> t.Hash:
    start = cursor.index
    cursor.take()
    cursor.expect("mod")
    modulus = cursor.number()
    offset = cursor.number() if cursor.accept("offset") else None
    return t.Hash(None, modulus, None, offset, span=cursor.span(start))


def _unreadable(cursor: Cursor) -> t.Expression:
    raise cursor.fault(f"{cursor.found()} cannot stand here")


_READERS: dict[str, Callable[[Cursor], t.Expression]] = {
    "meta": _meta,
    "ct": _ct,
    "fib": _fib,
    "rt": _route,
    "socket": _socket,
    "osf": _osf,
    "ipsec": _ipsec,
    "numgen": _numgen,
    "symhash": _symhash,
    "exthdr": _exthdr,
    "jhash": _unreadable,  # read where expressions are, for it holds one
}
