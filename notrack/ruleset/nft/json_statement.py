"""The statements of `nft -j` as nodes of the tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.json_expression import (
    Malformed,
    expression,
    is_bit_mask,
    listing,
    seconds,
    single,
    wants_quotes,
)


def statement(node: Any) -> t.RuleStatement:
    """One statement; `Malformed` (or an error of lookup or type) when it has another shape than nft's."""
    name, body = single(node)
    if name in _READERS:
        return _READERS[name](body)
    made = expression(node)
    if isinstance(made, t.Verdict):
        return made
    raise Malformed(f"unknown statement `{name}`")


def _match(body: Any) -> t.Match:
    left = expression(body["left"])
    op, quoted = body["op"], wants_quotes(left)
    if isinstance(left, t.Option) and left.name.startswith("@") and isinstance(body["right"], bool):
        left = t.Option(left.protocol, left.name[1:].split(",")[0])
    right = expression(body["right"], quoted)
    left = _of_family(left, right)
    if op in ("in", "!"):
        right = listing(body["right"], quoted)
    plain = isinstance(right, t.SetLiteral | t.SetReference)
    written = op == "==" and (isinstance(left, t.Binary) or (is_bit_mask(left) and not plain))
    return t.Match(left, right, "==" if written else "" if op in ("==", "in") else op)


def _of_family(left: t.Expression, right: t.Expression) -> t.Expression:
    """`ct original saddr` with the family of the address it is compared with.

    nft 1.0.6 leaves out the family, and the `meta nfproto ipv4` before it that said as much.
    """
    while not isinstance(right, t.Value):
        match right:
            case t.Prefix(address=address) | t.Range(low=address):
                right = address
            case _:
                return left
    if isinstance(left, t.Ct) and left.key in ("saddr", "daddr") and left.family is None:
        return t.Ct(left.key, left.direction, "ip6" if ":" in right.text else "ip")
    return left


def _vmap(body: Any) -> t.Vmap:
    key = expression(body["key"])
    return t.Vmap(key, expression(body["data"], wants_quotes(key)))


def _mangle(body: Any) -> t.Assign:
    target = expression(body["key"])
    return t.Assign(target, listing(body["value"], wants_quotes(target)))


def _named(kind: str, body: Any) -> t.ObjectReference | None:
    """A reference to an object, by name or through a map."""
    if isinstance(body, str):
        return t.ObjectReference(kind, t.Value(body, True))
    if isinstance(body, dict) and "map" in body:
        return t.ObjectReference(kind, expression(body))
    return None


def _counter(body: Any) -> t.Statement:
    if body is None:
        return t.Counter()
    return _named("counter", body) or t.Counter(int(body["packets"]), int(body["bytes"]))


def _limit(body: Any) -> t.Statement:
    named = _named("limit", body)
    if named:
        return named
    unit = body.get("rate_unit", "packets")
    burst = body.get("burst") or None
    return t.Limit(
        int(body["rate"]),
        body.get("per", "second"),
        bool(body.get("inv")),
        "" if unit == "packets" else unit,
        burst,
        body.get("burst_unit", "packets") if burst else "packets",
    )


def _quota(body: Any) -> t.Statement:
    named = _named("quota", body)
    if named:
        return named
    used = f"{body['used']} {body.get('used_unit', 'bytes')}" if body.get("used") else None
    amount = f"{body['val']} {body.get('val_unit', 'bytes')}"
    return t.Quota(amount, "over" if body.get("inv") else "", used)


def _log(body: Any) -> t.Log:
    body = body or {}
    flags: list[str] = []
    for flag in words(body.get("flags")):
        head, _, name = flag.partition(" ")
        if name and flags and flags[-1].startswith(f"{head} "):
            flags[-1] += f",{name}"
        else:
            flags.append(flag)
    prefix = t.Value(body["prefix"], True) if "prefix" in body else None
    group, snaplen, threshold = (body.get(name) for name in ("group", "snaplen", "queue-threshold"))
    return t.Log(prefix, group, snaplen, threshold, body.get("level"), tuple(flags))


def words(node: Any) -> tuple[str, ...]:
    """Flags, of which a single one stands without a list around it."""
    if node is None:
        return ()
    return tuple(str(flag) for flag in node) if isinstance(node, list) else (str(node),)


def _reject(body: Any) -> t.Reject:
    body = body or {}
    kind = body.get("type")
    if kind == "tcp reset":
        return t.Reject("tcp")
    return t.Reject(kind, expression(body["expr"]) if "expr" in body else None)


def _nat(kind: str) -> Callable[[Any], t.Nat]:
    def read(body: Any) -> t.Nat:
        body = body or {}
        address = expression(body["addr"]) if "addr" in body else None
        port = expression(body["port"]) if "port" in body else None
        form = "prefix" if "prefix" in words(body.get("type_flags")) else None
        flags = tuple(flag for flag in words(body.get("flags")) if flag != "netmap")
        return t.Nat(kind, address, port, body.get("family"), flags, form)

    return read


def _tproxy(body: Any) -> t.Tproxy:
    address = expression(body["addr"]) if "addr" in body else None
    return t.Tproxy(address, expression(body["port"]) if "port" in body else None, body.get("family"))


def _key(node: Any) -> tuple[t.Expression, str | None]:
    if isinstance(node, dict) and "elem" in node:
        return expression(node["elem"]["val"]), seconds(node["elem"].get("timeout"))
    return expression(node), None


def _update(body: Any) -> t.Update:
    key, timeout = _key(body["elem"])
    inner = tuple(statement(node) for node in body.get("stmt") or ())
    data = expression(body["data"]) if "data" in body else None
    name = body.get("set") or body["map"]
    return t.Update(body["op"], name.removeprefix("@"), key, data, timeout, inner)


def _meter(body: Any) -> t.Meter:
    key, timeout = _key(body["key"])
    inner = body.get("stmt") or []
    made = tuple(statement(node) for node in (inner if isinstance(inner, list) else [inner]))
    return t.Meter(body["name"], key, made, body.get("size"), timeout)


def _queue(body: Any) -> t.Queue:
    body = body or {}
    return t.Queue(expression(body["num"]) if "num" in body else None, words(body.get("flags")))


def _synproxy(body: Any) -> t.Statement:
    body = {} if body is None else body
    flags = words(body.get("flags")) if isinstance(body, dict) else ()
    return _named("synproxy", body) or t.Synproxy(
        body.get("mss"), body.get("wscale"), "timestamp" in flags, "sack-perm" in flags
    )


def _device(body: Any) -> t.Expression | None:
    return expression(body["dev"], True) if "dev" in body else None


def _duplicate(body: Any) -> t.Duplicate:
    if "addr" not in body:
        return t.Duplicate(expression(body["dev"], True))
    return t.Duplicate(expression(body["addr"]), _device(body))


def _forward(body: Any) -> t.Forward:
    if "addr" not in body:
        return t.Forward(expression(body["dev"], True), family=body.get("family"))
    return t.Forward(expression(body["addr"]), _device(body), body.get("family"))


def _ct_object(key: str) -> Callable[[Any], t.Assign]:
    return lambda body: t.Assign(t.Ct(key), expression(body, True))


_READERS: dict[str, Callable[[Any], t.Statement]] = {
    "match": _match,
    "vmap": _vmap,
    "mangle": _mangle,
    "notrack": lambda body: t.Notrack(),
    "counter": _counter,
    "last": lambda body: t.Last(f"{body['used']}ms" if body else None),
    "limit": _limit,
    "quota": _quota,
    "ct count": lambda body: t.ConnectionLimit(int(body["val"]), bool(body.get("inv"))),
    "log": _log,
    "reject": _reject,
    "snat": _nat("snat"),
    "dnat": _nat("dnat"),
    "masquerade": _nat("masquerade"),
    "redirect": _nat("redirect"),
    "tproxy": _tproxy,
    "set": _update,
    "map": _update,
    "meter": _meter,
    "queue": _queue,
    "synproxy": _synproxy,
    "dup": _duplicate,
    "fwd": _forward,
    "flow": lambda body: t.Offload(body["flowtable"].removeprefix("@")),
    "reset": lambda body: t.Reset(expression(body)),
    "ct helper": _ct_object("helper"),
    "ct timeout": _ct_object("timeout"),
    "ct expectation": _ct_object("expectation"),
    "xt": lambda body: t.Xt(body["type"], body["name"]),
}
