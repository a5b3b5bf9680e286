"""The nft rule that takes the answers to what another one takes."""

from __future__ import annotations

import re

from notrack.lint.mending.mirror_words import ANSWERS, FIELDS, KEYS, mirrored_states
from notrack.lint.mending.splice import Stretch
from notrack.ruleset.core import Hook
from notrack.ruleset.nft import tree as t

_NO_OUT = (Hook.PREROUTING, Hook.INPUT)
_NO_IN = (Hook.OUTPUT, Hook.POSTROUTING)
_PORTED = ("tcp", "udp", "th", "sctp", "dccp", "udplite")
_KEPT_FIELDS = {("ip", "protocol"), ("ip", "version"), ("ip6", "nexthdr"), ("ip6", "version")}
_KEPT_KEYS = ("l4proto", "nfproto", "protocol")
_KEPT_STATEMENTS = (t.Notrack, t.Counter, t.Log, t.Reject)
_FLIPS = {"saddr": "daddr", "daddr": "saddr", "iif": "oif", "oif": "iif"}
_WORD = re.compile(r"[a-z]+")


class _Uncertain(Exception):
    """Something in the rule has no certain mirror."""


def mirror_stretches(rule: t.Rule, hook: Hook) -> list[Stretch] | None:
    """What to replace in the rule's text so that it stands for the answers; None: not certain."""
    try:
        return [stretch for one in rule.statements for stretch in _statement(one, hook)]
    except _Uncertain:
        return None


def _statement(statement: t.Node, hook: Hook) -> list[Stretch]:
    match statement:
        case t.Match(left=left, right=right, op=op):
            return _asked(left, hook) + _values(left, right, op)
        case t.Vmap(key=key, table=t.SetLiteral(elements=elements)):
            if any(not _ends(element.data) for element in elements):
                raise _Uncertain
            keys = [element.key for element in elements]
            return _asked(key, hook) + [one for value in keys for one in _values(key, value, "==")]
        case t.Verdict() if _ends(statement):
            return []
        case _ if isinstance(statement, _KEPT_STATEMENTS):
            return []
    raise _Uncertain


def _ends(verdict: t.Node | None) -> bool:
    return isinstance(verdict, t.Verdict) and verdict.chain is None


def _asked(left: t.Expression, hook: Hook) -> list[Stretch]:
    """The field of the answer in the place of the packet's."""
    match left:
        case t.Concat(parts=parts):
            return [stretch for part in parts for stretch in _asked(part, hook)]
        case t.Payload(protocol=protocol, field=field, outer=None):
            return _field(left, protocol, field)
        case t.Meta(key=key):
            return _key(left, key, hook)
        case t.Fib(selectors=selectors, result="type"):
            return _route(left, selectors, hook)
        case t.Ct(key="state"):
            return []
    raise _Uncertain


def _field(left: t.Payload, protocol: str, field: str) -> list[Stretch]:
    if (protocol, field) in _KEPT_FIELDS or (protocol in ("icmp", "icmpv6") and field == "type"):
        return []
    has_ends = protocol in ("ip", "ip6") and field.endswith("addr")
    if not has_ends and not (protocol in _PORTED and field.endswith("port")):
        raise _Uncertain
    return _tail(left, field, FIELDS.get(field))


def _key(left: t.Meta, key: str, hook: Hook) -> list[Stretch]:
    if key in _KEPT_KEYS:
        return []
    made = KEYS.get(key)
    if made is None or hook in (_NO_IN if made.startswith("i") else _NO_OUT):
        raise _Uncertain
    return _tail(left, key, made)


def _tail(left: t.Expression, old: str, new: str | None) -> list[Stretch]:
    """The last word of an expression."""
    if left.span is None or new is None or not left.span.text.endswith(old):
        raise _Uncertain
    return [(left.span.end - len(old), left.span.end, new)]


def _route(left: t.Fib, selectors: tuple[str, ...], hook: Hook) -> list[Stretch]:
    made = {_FLIPS.get(one, one) for one in selectors}
    if left.span is None or ("iif" in made and hook in _NO_IN) or ("oif" in made and hook in _NO_OUT):
        raise _Uncertain
    found = _WORD.finditer(left.span.text)
    at = left.span.start
    return [(at + one.start(), at + one.end(), _FLIPS[one[0]]) for one in found if one[0] in _FLIPS]


def _values(left: t.Expression, right: t.Expression, op: str) -> list[Stretch]:
    """The values of the answer, where they are others than the packet's."""
    match left:
        case t.Payload(protocol="icmp" | "icmpv6", field="type"):
            return [stretch for value in _listed(right) for stretch in _type(value)]
        case t.Ct():
            return _states(right, op)
        case t.Concat(parts=parts):
            if any(isinstance(part, t.Ct) or _is_type(part) for part in parts):
                raise _Uncertain
    return []


def _is_type(part: t.Expression) -> bool:
    return isinstance(part, t.Payload) and part.protocol in ("icmp", "icmpv6")


def _listed(right: t.Expression) -> list[t.Expression]:
    match right:
        case t.SetLiteral(elements=elements):
            return [element.key for element in elements]
        case t.Listing(parts=parts):
            return list(parts)
    return [right]


def _type(value: t.Expression) -> list[Stretch]:
    made = ANSWERS.get(value.text) if isinstance(value, t.Value) else None
    if made is None or value.span is None:
        raise _Uncertain
    return [(value.span.start, value.span.end, made)]


def _states(right: t.Expression, op: str) -> list[Stretch]:
    names = [value.text if isinstance(value, t.Value) else None for value in _listed(right)]
    known = [name for name in names if name is not None]
    if right.span is None or len(known) < len(names) or op in ("!=", "!"):
        raise _Uncertain
    made = mirrored_states(known)
    if made == known:
        return []
    text = ", ".join(made) if isinstance(right, t.SetLiteral) else ",".join(made)
    return [(right.span.start, right.span.end, f"{{ {text} }}" if isinstance(right, t.SetLiteral) else text)]
