"""Statements and rules as text."""

from __future__ import annotations

from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.catalogue import PAYLOADS
from notrack.ruleset.nft.expression_writer import CONCATENATION, expression_text, held_text, quoted

_OF_ADDRESSES = "0123456789abcdefABCDEF:."


def rule_text(rule: t.Rule, depth: int = 0) -> str:
    """The rule on one line, but for long sets; `depth` is that of its line, in tabs."""
    words = [statement_text(statement, depth) for statement in rule.statements]
    words += [f'comment "{quoted(rule.comment)}"'] if rule.comment is not None else []
    return " ".join(words)


def statement_text(node: t.Node, depth: int = 0) -> str:
    """The statement as nft reads it."""
    match node:
        case t.Match(left=left, right=right, op=op):
            words = [held_text(left, CONCATENATION), op, expression_text(right, depth)]
            return " ".join(word for word in words if word)
        case t.Vmap(key=key, table=table):
            return f"{held_text(key, CONCATENATION)} vmap {expression_text(table, depth)}"
        case t.Assign(target=target, value=value):
            return f"{held_text(target, CONCATENATION)} set {_assigned(target, value, depth)}"
        case t.ObjectReference(kind=kind, name=name):
            return f"{kind} name {expression_text(name, depth)}"
        case t.Notrack():
            return "notrack"
        case t.Expression():
            return expression_text(node, depth)
        case t.Unknown(text=text):
            return text
        case t.Nat():
            return _nat(node, depth)
        case t.Update() | t.Meter():
            return _update(node)
        case t.Log():
            return _log(node)
        case _:
            return _simple(node)


def _assigned(target: t.Expression, value: t.Expression, depth: int) -> str:
    """The value; the bare name of a protocol would begin a field, so there nft wants quotes."""
    if isinstance(target, t.Payload) and isinstance(value, t.Value) and value.text in PAYLOADS:
        return f'"{value.text}"'
    return expression_text(value, depth)


def _simple(node: t.Node) -> str:
    words: list[object]
    match node:
        case t.Counter():
            words = ["counter", *_pair("packets", node.packets), *_pair("bytes", node.bytes)]
        case t.Last():
            words = ["last", *_pair("used", node.used)]
        case t.Limit():
            words = ["limit rate", "over" if node.over else None, _rate(node), *_burst(node)]
        case t.Quota():
            words = ["quota", node.mode or None, node.amount, *_pair("used", node.used)]
        case t.ConnectionLimit():
            words = ["ct count", "over" if node.over else None, node.count]
        case t.Reject():
            words = ["reject", *_reject(node)]
        case t.Tproxy():
            words = ["tproxy", node.family, "to", _endpoint(node.address, node.port, 0)]
        case t.Queue():
            flags = f"flags {','.join(node.flags)}" if node.flags else None
            words = ["queue", flags, *_pair("to", node.to and held_text(node.to, CONCATENATION))]
        case t.Synproxy():
            words = ["synproxy", *_pair("mss", node.mss), *_pair("wscale", node.wscale)]
            words += ["timestamp" if node.timestamp else None, "sack-perm" if node.sack_perm else None]
        case t.Duplicate():
            device = node.device and held_text(node.device, CONCATENATION)
            words = ["dup to", held_text(node.to, CONCATENATION), *_pair("device", device)]
        case t.Forward():
            device = node.device and held_text(node.device, CONCATENATION)
            words = ["fwd", node.family, "to", held_text(node.to, CONCATENATION), *_pair("device", device)]
        case t.Offload():
            words = ["flow add", f"@{node.flowtable}"]
        case t.Reset():
            words = ["reset", expression_text(node.option)]
        case t.Xt():
            words = ["xt", node.kind, f'"{node.name}"']
        case _:
            raise TypeError(type(node))
    return " ".join(str(word) for word in words if word is not None)


def _pair(word: str, value: object) -> tuple[object, ...]:
    return () if value is None else (word, value)


def _rate(limit: t.Limit) -> str:
    return f"{limit.rate} {limit.unit}/{limit.per}" if limit.unit else f"{limit.rate}/{limit.per}"


def _burst(limit: t.Limit) -> tuple[object, ...]:
    return () if limit.burst is None else ("burst", limit.burst, limit.burst_unit)


def _reject(node: t.Reject) -> tuple[object, ...]:
    if node.protocol is None:
        return ()
    if node.protocol == "tcp":
        return ("with tcp reset",)
    return ("with", node.protocol, *(() if node.code is None else (expression_text(node.code),)))


def _endpoint(address: t.Expression | None, port: t.Expression | None, depth: int) -> str:
    host = "" if address is None else held_text(address, CONCATENATION, depth)
    if port is None:
        return host
    match address:
        case t.Range(low=t.Value() as low, high=t.Value() as high) if _swallows_colon(host):
            host = f"[{expression_text(low)}]-[{expression_text(high)}]"
        case t.Value() if _swallows_colon(host):
            host = f"[{host}]"
        case t.Expression() if _swallows_colon(host):
            host = f"({host})"
    return f"{host}:{held_text(port, CONCATENATION, depth)}"


def _swallows_colon(host: str) -> bool:
    """Whether the colon before a port would be taken for one of an address: after `fe80::1`, or `beef`."""
    before = host.rstrip(_OF_ADDRESSES)
    tail = host[len(before) :]
    in_word = before[-1:].isalnum() or before.endswith("_")
    return not in_word and (":" in tail or (0 < len(tail) < 5 and "." not in tail))


def _nat(nat: t.Nat, depth: int) -> str:
    words: list[str] = [nat.kind]
    target = _endpoint(nat.address, nat.port, depth)
    if target:
        words += [word for word in (nat.family, nat.form, "to", target) if word]
    words += [",".join(nat.flags)] if nat.flags else []
    return " ".join(words)


def _update(node: t.Update | t.Meter) -> str:
    words = [held_text(node.key, CONCATENATION)]
    words += [f"timeout {node.timeout}"] if node.timeout else []
    words += [statement_text(statement) for statement in node.statements]
    if isinstance(node, t.Update):
        words += [f": {expression_text(node.data)}"] if node.data is not None else []
        return f"{node.verb} @{node.set} {{ {' '.join(words)} }}"
    size = f" size {node.size}" if node.size is not None else ""
    return f"meter {node.name}{size} {{ {' '.join(words)} }}"


def _log(log: t.Log) -> str:
    words: list[object] = ["log"]
    words += _pair("prefix", log.prefix and expression_text(log.prefix))
    words += _pair("group", log.group)
    words += _pair("snaplen", log.snaplen)
    words += _pair("queue-threshold", log.queue_threshold)
    words += _pair("level", log.level)
    words += [f"flags {flag}" for flag in log.flags]
    return " ".join(str(word) for word in words)
