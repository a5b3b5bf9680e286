"""Statements that do something, as actions of the core."""

from __future__ import annotations

from notrack.packets.fields import Field
from notrack.ruleset import core
from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.expression_writer import expression_text
from notrack.ruleset.nft.match_lowering import Sets, uses
from notrack.ruleset.nft.statement_writer import statement_text
from notrack.ruleset.nft.subject import METAS, PAYLOADS, Subject, bits, values
from notrack.ruleset.nft.translation_lowering import translation

ALL = (1 << 32) - 1
_VERDICTS = {
    "accept": core.Verdict.ACCEPT,
    "drop": core.Verdict.DROP,
    "return": core.Verdict.RETURN,
}
_HARMLESS_META = ("nftrace", "priority", "secmark", "rtclassid")


def verdict_action(verdict: t.Verdict) -> core.Action | None:
    """None for `continue`."""
    if verdict.kind in ("jump", "goto"):
        chain = expression_text(verdict.chain) if verdict.chain is not None else ""
        return core.Jump(chain.strip('"'), verdict.kind == "goto")
    return _VERDICTS.get(verdict.kind)


# Targets of iptables of which nft lists no more than the name: what they do whatever else was said.
_HARMLESS_TARGETS = frozenset(
    ("LOG", "NFLOG", "TRACE", "TEE", "CLASSIFY", "CHECKSUM", "ECN", "TCPMSS", "TCPOPTSTRIP")
)


def ends(action: core.Action) -> bool:
    """Whether no statement of the rule comes after the action."""
    return isinstance(action, core.Verdict | core.Jump | core.Nat)


def action(node: t.Node, sets: Sets) -> core.Action:
    """The action of a statement that is neither a match nor a verdict; `sets` are those of its table."""
    text = statement_text(node)
    match node:
        case t.Notrack():
            return core.Notrack()
        case t.Reject():
            return core.Verdict.REJECT
        case t.Nat():
            return translation(node, sets)
        case t.Assign(target=t.Expression() as target, value=t.Expression() as value):
            return _assign(target, value, text)
        case t.Counter() | t.Log() | t.Last() | t.Duplicate() | t.Update() | t.Reset():
            return core.Log(text)
        case t.ObjectReference(kind="counter"):
            return core.Log(text)
        case t.Offload():
            return core.ConnectionSet(text)
        case t.Tproxy():
            return core.Unknown(text, reassembles=True)
        case t.Xt(kind="target", name="MASQUERADE"):
            return core.Nat(core.NatKind.MASQUERADE, text=text)
        case t.Xt(kind="target", name=name) if name in _HARMLESS_TARGETS:
            return core.Log(text)
        case t.Synproxy() | t.ObjectReference(kind="synproxy") | t.Xt():
            return core.Unknown(text, tracking=True)
    return core.Unknown(text, tracking=uses(node, t.Ct))


def _assign(target: t.Expression, value: t.Expression, text: str) -> core.Action:
    match target:
        case t.Meta(key="mark"):
            return _mark(Field.MARK, t.Meta("mark"), value)
        case t.Ct(key="mark"):
            return _mark(Field.CT_MARK, t.Ct("mark"), value)
        case t.Ct(key="zone", direction=direction):
            return core.Template(text, overrides=True, zones=_zones(value, direction))
        case t.Ct():
            return core.ConnectionSet(text)
        case t.Meta(key=key) if key in _HARMLESS_META:
            return core.Log(text)
        case t.Meta(key="pkttype"):
            return _field(METAS["pkttype"], value)
        case t.Option():
            return core.Log(text)
        case t.Payload(protocol=protocol, field=name) if (protocol, name) in PAYLOADS:
            return _field(PAYLOADS[(protocol, name)], value)
    return core.Unknown(text, tracking=uses(value, t.Ct))


def _zones(value: t.Expression, direction: str | None) -> tuple[int, int] | None:
    """The zones of both directions of the flow; None where a mark or a map says them."""
    if not isinstance(value, t.Value) or not value.text.isdecimal():
        return None
    zone = int(value.text)
    return (0 if direction == "reply" else zone, 0 if direction == "original" else zone)


def _field(reads: Subject, value: t.Expression) -> core.Action:
    found = values(reads, value)
    known = found.spans[0][0] if found and reads.scale == 1 else None
    return core.SetField(reads.field, known, "" if known is not None else expression_text(value))


def _mark(field: Field, itself: t.Expression, value: t.Expression) -> core.SetMark:
    """mark = (mark & keep) ^ flip, for constants and for and, or, xor of the mark itself."""
    found = _mask(METAS["mark"], itself, value)
    if found is None:
        return core.SetMark(field, ALL, None, expression_text(value), tracking=uses(value, t.Ct))
    keep, flip = found
    return core.SetMark(field, ALL & ~keep, flip)


def _mask(reads: Subject, itself: t.Expression, value: t.Expression) -> tuple[int, int] | None:
    if value == itself:
        return ALL, 0
    number = bits(reads, value)
    if number is not None:
        return 0, number
    if not isinstance(value, t.Binary):
        return None
    inner, constant = _mask(reads, itself, value.left), bits(reads, value.right)
    if inner is None or constant is None:
        return None
    keep, flip = inner
    match value.op:
        case "&":
            return keep & constant, flip & constant
        case "|":
            return keep & ~constant & ALL, (flip & ~constant) | constant
        case "^":
            return keep, flip ^ constant
    return None
