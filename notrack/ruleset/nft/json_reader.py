"""Reads the JSON of `nft -j list ruleset`, into the tree that the text would give.

That JSON leaves out what 1.0.6 knows no words for: the devices of chains, `typeof`, the flag dynamic and
auto-merge of sets, and the parameters of xtables extensions (`nft` says only that there is one).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import field, replace
from typing import Any, TypeVar

from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.catalogue import ALL_HOOKS, CHAIN_TYPES
from notrack.ruleset.nft.json_expression import Malformed, elements, expression, seconds, single
from notrack.ruleset.nft.json_shape import well_formed
from notrack.ruleset.nft.json_statement import statement, words
from notrack.ruleset.nft.reader import read_rule
from notrack.text.diagnostic import Diagnostic, Rejected, Severity
from notrack.text.record import dataclass
from notrack.text.source import Source, Span

_WRONG = (Malformed, LookupError, TypeError, ValueError, AttributeError, RecursionError)
_OBJECT_MAPS = (
    "counter",
    "quota",
    "limit",
    "synproxy",
    "secmark",
    "ct helper",
    "ct timeout",
    "ct expectation",
)


@dataclass(slots=True)
class _Reading:
    """What has been read so far: tables in their order, the rules of each chain, other commands."""

    source: Source
    tables: dict[tuple[str, str], t.Table] = field(default_factory=dict)
    items: dict[tuple[str, str], list[t.Node]] = field(default_factory=dict)
    rules: dict[tuple[str, str, str], list[t.Rule]] = field(default_factory=dict)
    others: list[t.Node] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)

    def warn(self, message: str) -> None:
        place = Span(self.source, 0, 0)
        self.diagnostics.append(Diagnostic(Severity.WARNING, message, place))

    def into(self, body: dict[str, Any], item: t.Node) -> None:
        self.items.setdefault((str(body["family"]), str(body["table"])), []).append(item)


def read_json(source: Source | str) -> tuple[t.Ruleset, tuple[Diagnostic, ...]]:
    """The ruleset of the JSON text, and what is wrong with it. What has not the shape that nft writes is
    kept as JSON text, with a warning that names it (it has no place of its own). Never raises."""
    source = Source("<nft>", source) if isinstance(source, str) else source
    reading = _Reading(source)
    for node in _objects(reading):
        try:
            _object(reading, node)
        except _WRONG as error:
            text = json.dumps(node)
            reading.warn(f"not understood: {text[:100]} ({error})")
            reading.others.append(t.UnknownItem(text))
    tables = [_table(reading, key) for key in reading.tables]
    place = Span(source, 0, len(source.text))
    return t.Ruleset((*reading.others, *tables), span=place), tuple(reading.diagnostics)


def _objects(reading: _Reading) -> list[Any]:
    source = reading.source
    try:
        found = json.loads(source.text)["nftables"]
    except json.JSONDecodeError as error:
        place = Span(source, error.pos, min(error.pos + 1, len(source.text)))
        reading.diagnostics.append(Diagnostic(Severity.ERROR, f"no JSON: {error.msg}", place))
        return []
    except _WRONG:
        found = None
    if isinstance(found, list):
        return found
    message = 'this is not the JSON of nft: no list "nftables"'
    help = "make it with `nft -j list ruleset`"
    reading.diagnostics.append(Diagnostic(Severity.ERROR, message, Span(source, 0, 0), help))
    return []


def _object(reading: _Reading, node: Any) -> None:
    name, body = single(node)
    if name == "metainfo":
        return
    if name == "add":
        _object(reading, body)
    elif name == "flush" and body == {"ruleset": None}:
        reading.others.append(t.Remove("ruleset", verb="flush"))
    elif name == "table":
        key = (str(body["family"]), str(body["name"]))
        flags = words(body.get("flags"))
        table = t.Table(*key, flags=flags, comment=body.get("comment"), handle=body.get("handle"))
        reading.tables.setdefault(key, _checked(table))
    elif name == "rule":
        key3 = (str(body["family"]), str(body["table"]), str(body["chain"]))
        reading.rules.setdefault(key3, []).append(_rule(reading, body))
    elif name == "element":
        place = t.SetLiteral(elements(body["elem"]))
        command = t.Elements(body["table"], body["name"], place, family=body["family"])
        reading.others.append(_checked(command))
    else:
        reading.into(body, _checked(_item(name, body)))


def _item(name: str, body: dict[str, Any]) -> t.Node:
    if name == "chain":
        return _chain(body)
    if name in ("set", "map"):
        return _set(name, body)
    if name == "flowtable":
        devices = t.SetLiteral(elements(body["dev"], True)) if "dev" in body else None
        return t.Flowtable(body["name"], t.Priority(int(body["prio"])), devices, body["hook"])
    if name == "ct helper":
        return t.CtHelper(body["name"], body["type"], body["protocol"], body.get("l3proto"))
    if name in _SETTINGS:
        settings = tuple(_SETTINGS[name](body))
        return t.Object(name, body["name"], settings, body.get("comment"), body.get("handle"))
    raise Malformed(f"unknown object `{name}`")


def _table(reading: _Reading, key: tuple[str, str]) -> t.Table:
    items: list[t.Node] = []
    owner = None
    for item in reading.items.get(key, ()):
        if isinstance(item, t.Chain):
            rules = reading.rules.get((*key, item.name), ())
            item = replace(item, items=tuple(rules))
            if any(isinstance(part, t.Xt) for rule in rules for part in rule.statements):
                owner = "iptables-nft"
        items.append(item)
    return replace(reading.tables[key], items=tuple(items), owner=owner)


def _rule(reading: _Reading, body: dict[str, Any]) -> t.Rule:
    parts: list[t.RuleStatement] = []
    for node in body["expr"]:
        try:
            parts.extend(_statements(node))
        except (*_WRONG, Rejected) as error:
            text = json.dumps(node)
            where = f"{body['family']} {body['table']} {body['chain']}"
            reading.warn(f"a statement of a rule in {where} was not understood: {text[:100]} ({error})")
            parts.append(t.Unknown(text))
    return _checked(t.Rule(tuple(parts), body.get("comment"), body.get("handle")))


def _statements(node: Any) -> tuple[t.RuleStatement, ...]:
    """nft writes a statement that it has no JSON for as text."""
    if isinstance(node, str):
        return read_rule(node).statements
    return (_checked(statement(node)),)


_Kind = TypeVar("_Kind", bound=t.Node)


def _checked(node: _Kind) -> _Kind:
    if not well_formed(node):
        raise Malformed("a value of the wrong kind")
    return node


def _chain(body: dict[str, Any]) -> t.Chain:
    base = None
    if "hook" in body:
        devices = None
        if "dev" in body:
            found = body["dev"]
            devices = (
                t.SetLiteral(elements(found, True)) if isinstance(found, list) else t.Value(str(found), True)
            )
        if body["type"] not in CHAIN_TYPES or body["hook"] not in ALL_HOOKS:
            raise Malformed("an unknown type of chain, or hook")
        base = t.Base(body["type"], body["hook"], t.Priority(int(body["prio"])), devices)
    policy = t.Value(body["policy"]) if "policy" in body else None
    return t.Chain(body["name"], (), base, policy, body.get("comment"), handle=body.get("handle"))


def _type(node: Any) -> t.Type | t.Typeof:
    if isinstance(node, dict):
        return t.Typeof(expression(node.get("typeof", node)))
    names = node if isinstance(node, list) else str(node).split(" . ")
    return t.Type(tuple(str(name) for name in names))


def _set(kind: str, body: dict[str, Any]) -> t.Set:
    key = _type(body["type"])
    quoted = isinstance(key, t.Type) and "ifname" in key.names
    common: dict[str, Any] = {
        "elements": elements(body.get("elem", []), quoted),
        "flags": words(body.get("flags")),
        "timeout": seconds(body.get("timeout")),
        "gc_interval": seconds(body.get("gc-interval")),
        "size": body.get("size"),
        "policy": body.get("policy"),
        "auto_merge": bool(body.get("auto-merge")),
        "statements": tuple(statement(node) for node in body.get("stmt", ())),
        "comment": body.get("comment"),
        "handle": body.get("handle"),
    }
    if kind == "set":
        return t.Set(body["name"], key, **common)
    if body["map"] in _OBJECT_MAPS:
        return t.Map(body["name"], key, objects=body["map"], **common)
    return t.Map(body["name"], key, data=_type(body["map"]), **common)


def _limit(body: dict[str, Any]) -> list[str]:
    unit, burst_unit = body.get("rate_unit", "packets"), body.get("burst_unit", "packets")
    rate = f"{body['rate']}/{body['per']}" if unit == "packets" else f"{body['rate']} {unit}/{body['per']}"
    burst = f" burst {body['burst']} {burst_unit}" if body.get("burst") else ""
    return [f"rate {'over ' if body.get('inv') else ''}{rate}{burst}"]


def _quota(body: dict[str, Any]) -> list[str]:
    return [
        f"{'over' if body.get('inv') else 'until'} {body['bytes']} bytes used {body.get('used', 0)} bytes"
    ]


def _synproxy(body: dict[str, Any]) -> list[str]:
    flags = " ".join(words(body.get("flags")))
    return [f"mss {body['mss']}", f"wscale {body['wscale']}", *([flags] if flags else [])]


def _timeout(body: dict[str, Any]) -> list[str]:
    policy = ", ".join(f"{state} : {time}" for state, time in body.get("policy", {}).items())
    lines = [f"protocol {body['protocol']}"] + ([f"l3proto {body['l3proto']}"] if "l3proto" in body else [])
    return [*lines, f"policy = {{ {policy} }}"]


def _expectation(body: dict[str, Any]) -> list[str]:
    names = ("protocol", "dport", "timeout", "size", "l3proto")
    units = {"timeout": "ms"}
    return [f"{name} {body[name]}{units.get(name, '')}" for name in names if name in body]


_SETTINGS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "counter": lambda body: [f"packets {body.get('packets', 0)} bytes {body.get('bytes', 0)}"],
    "quota": _quota,
    "limit": _limit,
    "synproxy": _synproxy,
    "secmark": lambda body: [f'"{body["context"]}"'],
    "ct timeout": _timeout,
    "ct expectation": _expectation,
}
