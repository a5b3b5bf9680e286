"""Nodes made by hand, for those who compile rulesets: short words for the common ones."""

from __future__ import annotations

from collections.abc import Iterable

from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.catalogue import META_BARE
from notrack.ruleset.nft.reader import read_rule


def field(text: str) -> t.Expression:
    """What is matched on, by name: `tcp dport`, `iifname`, `meta l4proto`, `ct state`, `fib daddr type`."""
    words = text.split()
    match words:
        case [key] if key in META_BARE:
            return t.Meta(key)
        case ["meta", key]:
            return t.Meta(key)
        case ["ct", key]:
            return t.Ct(key)
        case ["fib", *selectors, result]:
            return t.Fib(tuple(word for word in selectors if word != "."), result)
        case [protocol, name]:
            return t.Payload(protocol, name)
    raise ValueError(f"no field: {text}")


def value(data: str | int | t.Expression) -> t.Expression:
    """A value, from text (`22`, `10.0.0.0/8`, `80-90`, `@set`) or a number; expressions pass unchanged."""
    if isinstance(data, t.Expression):
        return data
    text = str(data)
    if text.startswith("@"):
        return t.SetReference(text[1:])
    address, slash, length = text.partition("/")
    if slash and length.isdigit():
        return t.Prefix(t.Value(address), int(length))
    low, dash, high = text.partition("-")
    if dash and (low.isdigit() or "." in low or ":" in low):
        return t.Range(t.Value(low), t.Value(high))
    return t.Value(text)


def concat(*parts: str | int | t.Expression) -> t.Concat:
    """`a . b`, of values; for fields pass `field(...)` parts."""
    return t.Concat(tuple(value(part) for part in parts))


def element(
    key: str | int | t.Expression, data: str | t.Expression | None = None, comment: str | None = None
) -> t.Element:
    """An element of a set, or with data of a map."""
    return t.Element(value(key), None if data is None else value(data), comment)


def elements(keys: Iterable[str | int | t.Expression]) -> tuple[t.Element, ...]:
    return tuple(element(key) for key in keys)


def match(left: str | t.Expression, op: str, right: str | int | t.Expression) -> t.Match:
    """A comparison. With op `==` or the empty string no operator is written, as nft lists it itself.

    For bit masks those two differ (see `Match`); there make the `Match` yourself.
    """
    subject = field(left) if isinstance(left, str) else left
    return t.Match(subject, value(right), "" if op == "==" else op)


def any_of(left: str | t.Expression, *values: str | int | t.Expression) -> t.Match:
    """`left { a, b }`; a single value is written without braces."""
    if len(values) == 1:
        return match(left, "", values[0])
    return match(left, "", t.SetLiteral(elements(values)))


def set_ref(name: str) -> t.SetReference:
    return t.SetReference(name)


def vmap(key: str | t.Expression, table: str | Iterable[t.Element]) -> t.Vmap:
    """`key vmap @table`, or with elements `key vmap { ... }`."""
    subject = field(key) if isinstance(key, str) else key
    if isinstance(table, str):
        return t.Vmap(subject, t.SetReference(table))
    return t.Vmap(subject, t.SetLiteral(tuple(table)))


def accept() -> t.Verdict:
    return t.Verdict("accept")


def drop() -> t.Verdict:
    return t.Verdict("drop")


def returns() -> t.Verdict:
    return t.Verdict("return")


def jump(chain: str) -> t.Verdict:
    return t.Verdict("jump", t.Value(chain))


def goto(chain: str) -> t.Verdict:
    return t.Verdict("goto", t.Value(chain))


def counter() -> t.Counter:
    return t.Counter()


def base_chain(
    name: str,
    hook: str,
    priority: int | str | t.Priority,
    items: Iterable[t.Node] = (),
    *,
    type: str = "filter",
    policy: str | None = "accept",
    comment: str | None = None,
) -> t.Chain:
    """A base chain; priority as a number, a name (`raw`) or a `Priority`."""
    match priority:
        case int():
            priority = t.Priority(priority)
        case str():
            priority = t.Priority(0, priority)
    base = t.Base(type, hook, priority)
    return t.Chain(name, tuple(items), base, t.Value(policy) if policy else None, comment)


def rule(text: str, comment: str | None = None) -> t.Rule:
    """A rule from its text, `rule("tcp dport @web accept", comment="web")`; `Rejected` when it is wrong."""
    made = read_rule(text)
    return t.Rule(made.statements, made.comment if comment is None else comment)


def replacement(table: t.Table) -> tuple[t.Node, ...]:
    """The commands that put a table in the place of the one of its name, if there is one, in one step."""
    bare = t.Table(table.family, table.name, brief=True)
    gone = t.Remove("table", table.family, table.name)
    return (t.Declare(bare), gone, table)
