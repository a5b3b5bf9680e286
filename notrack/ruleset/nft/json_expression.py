"""The expressions of `nft -j` as nodes of the tree.

Anything of another shape than nft writes raises `Malformed`, which the reader of statements catches.
"""

from __future__ import annotations

from typing import Any

from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.catalogue import STRING_KEYS


class Malformed(Exception):
    """Inside this room only: JSON that nft would not write."""


_BIT_MASKS = (
    t.Ct("state"),
    t.Ct("status"),
    t.Ct("label"),
    t.Payload("tcp", "flags"),
    t.Ct("event"),
    t.Payload("dccp", "type"),
)
_OPERATORS = ("|", "^", "&", "<<", ">>")
_VERDICTS = ("accept", "drop", "continue", "return")


def single(node: Any) -> tuple[str, Any]:
    """The name and the body of an object with one member."""
    if not isinstance(node, dict) or len(node) != 1:
        raise Malformed(f"expected an object with one member, found {str(node)[:60]}")
    ((name, body),) = node.items()
    return name, body


def expression(node: Any, quoted: bool = False) -> t.Expression:
    """Any expression; `quoted` where bare words are names (of interfaces, helpers) rather than symbols."""
    match node:
        case bool():
            return t.Value("exists" if node else "missing")
        case int():
            return t.Value(str(node))
        case str():
            return _word(node, quoted)
        case list():
            return bits(node)
        case dict():
            return _object(node, quoted)
    raise Malformed(f"no expression: {str(node)[:60]}")


def _word(text: str, quoted: bool) -> t.Expression:
    if text.startswith("@"):
        return t.SetReference(text[1:])
    if text == "*":
        return t.Wildcard()
    return t.Value(text, quoted or not text)


def bits(parts: list[Any]) -> t.Expression:
    """`["fin", "syn"]` as `fin | syn`."""
    if not parts:
        raise Malformed("an empty list")
    return chained("|", parts)


def chained(op: str, parts: list[Any]) -> t.Expression:
    """`a op b op c`, from the left."""
    made = expression(parts[0])
    for part in parts[1:]:
        made = t.Binary(made, op, expression(part))
    return made


def listing(node: Any, quoted: bool = False) -> t.Expression:
    """`["new", "related"]` as `new,related`; everything else as it is."""
    if isinstance(node, list) and len(node) > 1:
        return t.Listing(tuple(expression(part, quoted) for part in node))
    return expression(node, quoted)


def wants_quotes(node: t.Expression) -> bool:
    """Whether the words that a field is compared with are names."""
    if isinstance(node, t.Concat):
        return False
    key = getattr(node, "key", None) or getattr(node, "result", None)
    return isinstance(key, str) and key in STRING_KEYS


def is_bit_mask(node: t.Expression) -> bool:
    return node in _BIT_MASKS


def _object(node: dict[str, Any], quoted: bool) -> t.Expression:
    name, body = single(node)
    if name in _OPERATORS and isinstance(body, list) and len(body) >= 2:
        return chained(name, body)
    if name in _VERDICTS:
        return t.Verdict(name)
    if name in ("jump", "goto"):
        return t.Verdict(name, t.Value(str(body["target"])))
    if name == "concat":
        return t.Concat(tuple(expression(part, quoted) for part in body))
    if name == "set":
        return t.SetLiteral(elements(body, quoted))
    if name == "range":
        return t.Range(expression(body[0], quoted), expression(body[1], quoted))
    if name == "prefix":
        return t.Prefix(expression(body["addr"]), int(body["len"]))
    if name == "map":
        key = expression(body["key"])
        return t.Mapping(key, expression(body["data"], wants_quotes(key)))
    if name in _FIELDS:
        made: t.Expression = _FIELDS[name](body)
        return made
    raise Malformed(f"unknown expression `{name}`")


def elements(items: Any, quoted: bool = False) -> tuple[t.Element, ...]:
    """The elements of a set or map; a single one may stand without a list around it."""
    return tuple(element(item, quoted) for item in (items if isinstance(items, list) else [items]))


def element(node: Any, quoted: bool = False) -> t.Element:
    """`key`, `[key, data]`, or a key or pair whose key is `{"elem": {...}}`."""
    data = None
    if isinstance(node, list) and len(node) == 2:
        node, value = node
        data = expression(value)
        if isinstance(data, t.Value) and not data.text[:1].isdigit() and ":" not in data.text:
            data = t.Value(data.text, True)
    if not (isinstance(node, dict) and "elem" in node):
        return t.Element(expression(node, quoted), data)
    body = node["elem"]
    return t.Element(
        expression(body["val"], quoted),
        data,
        body.get("comment"),
        seconds(body.get("timeout")),
        seconds(body.get("expires")),
        _element_statements(body),
    )


def _element_statements(body: dict[str, Any]) -> tuple[t.Node, ...]:
    from notrack.ruleset.nft.json_statement import statement

    own = [{name: body[name]} for name in ("counter", "limit", "quota", "ct count", "last") if name in body]
    return tuple(statement(node) for node in own)


def seconds(time: Any) -> str | None:
    return None if time is None else f"{int(time)}s"


# Fields.


def _payload(body: Any) -> t.Expression:
    if "base" in body:
        return t.RawPayload(body["base"], int(body["offset"]), int(body["len"]))
    return t.Payload(body["protocol"], body["field"], body.get("tunnel"))


def _option(protocol: str, body: Any) -> t.Expression:
    if "base" in body and not body["len"]:
        return t.Option(protocol, str(body["base"]))  # nothing of the option is read: `reset tcp option 77`
    if "base" in body:
        return t.Option(protocol, f"@{body['base']},{body['offset']},{body['len']}")
    return t.Option(protocol, body["name"], body.get("field"))


def _ct(body: Any) -> t.Expression:
    family, blank, key = body["key"].partition(" ")
    if not blank:
        family, key = body.get("family"), body["key"]
    return t.Ct(key, body.get("dir"), family)


def _fib(body: Any) -> t.Expression:
    flags = body["flags"]
    return t.Fib(tuple(flags) if isinstance(flags, list) else (str(flags),), body["result"])


def _ipsec(body: Any) -> t.Expression:
    return t.Ipsec(body["dir"], body["key"], body.get("family"), body.get("spnum") or None)


def _jhash(body: Any) -> t.Expression:
    seed = body.get("seed")
    offset = body.get("offset") or None
    return t.Hash(expression(body["expr"]), int(body["mod"]), None if seed is None else str(seed), offset)


_FIELDS: dict[str, Any] = {
    "payload": _payload,
    "tcp option": lambda body: _option("tcp", body),
    "ip option": lambda body: _option("ip", body),
    "dccp option": lambda body: t.Option("dccp", str(body["type"])),
    "sctp chunk": lambda body: t.Option("sctp", body["name"], body.get("field")),
    "exthdr": lambda body: t.Extension(body["name"], body.get("field")),
    "meta": lambda body: t.Meta(body["key"]),
    "ct": _ct,
    "fib": _fib,
    "rt": lambda body: t.Route(body["key"], body.get("family")),
    "socket": lambda body: t.Socket(body["key"], body.get("level")),
    "osf": lambda body: t.Osf(body["key"], body.get("ttl")),
    "ipsec": _ipsec,
    "numgen": lambda body: t.Numgen(body["mode"], int(body["mod"]), body.get("offset") or None),
    "jhash": _jhash,
    "symhash": lambda body: t.Hash(None, int(body["mod"]), None, body.get("offset") or None),
}
