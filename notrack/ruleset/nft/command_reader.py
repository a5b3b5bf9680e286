"""Reads commands: tables, and `add`, `delete`, `flush` and the like with what they are about."""

from __future__ import annotations

from collections.abc import Callable

from notrack.ruleset.nft import block_reader as b
from notrack.ruleset.nft import expression_reader as e
from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.catalogue import words
from notrack.ruleset.nft.cursor import Cursor
from notrack.ruleset.nft.rule_reader import rule
from notrack.ruleset.nft.tokens import NUMBER, REMARK, WORD
from notrack.text.record import dataclass

OBJECTS = ("counter", "quota", "limit", "secmark", "synproxy", "ct helper", "ct timeout", "ct expectation")
KINDS = ("table", "chain", "rule", "set", "map", "element", "flowtable", *OBJECTS)
PLURALS = words(
    "meter ruleset tables chains rules sets maps meters flowtables counters quotas limits secmarks "
    "synproxys hooks"
)
VERBS = words(
    "table add create insert replace delete destroy flush list reset rename get define redefine undefine "
    "include export monitor describe import"
)


def command(cursor: Cursor) -> t.Node:
    """One command. Without a verb, `table ...` is a block and everything else is taken as `add ...`."""
    start = cursor.index
    if cursor.at("table"):
        return _table(cursor, start)
    if cursor.at("}"):
        raise cursor.fault("this `}` closes nothing")
    reader = _COMMANDS.get(cursor.token.text) if cursor.token.kind == WORD else None
    if reader is not None:
        cursor.take()
        return reader(cursor, start, cursor.tokens.tokens[start].text)
    if _kind_follows(cursor):
        return _add(cursor, start, "add")
    if cursor.at(*t.FAMILIES) and cursor.ahead(3).kind == WORD:
        return _place(cursor, start, "add")
    raise cursor.fault(f"expected a command, found {cursor.found()}", help=cursor.nearest(VERBS))


def _kind_follows(cursor: Cursor) -> bool:
    if cursor.at("ct"):
        return cursor.ahead().text in ("helper", "timeout", "expectation")
    return cursor.token.kind == WORD and cursor.token.text in KINDS


def _kind(cursor: Cursor, known: tuple[str, ...] = KINDS) -> str:
    if cursor.at("ct") and cursor.ahead().kind == WORD:
        kind = f"ct {cursor.ahead().text}"
        if kind in known:
            cursor.take()
            cursor.take()
            return kind
    return cursor.one_of(known, "what the command is about (table, chain, rule, set, ...)")


def _family(cursor: Cursor) -> str | None:
    """The family, if one is written; `ip` may not name a table."""
    return cursor.take().text if cursor.at(*t.FAMILIES) else None


def _add(cursor: Cursor, start: int, verb: str) -> t.Node:
    if cursor.at(*t.FAMILIES) or (cursor.at_kind(WORD) and not _kind_follows(cursor)):
        return _place(cursor, start, verb)  # `add ip filter input ...`
    kind = _kind(cursor)
    if kind == "rule":
        return _place(cursor, start, verb)
    if kind == "table":
        cursor.index -= 1
        table = _table(cursor, cursor.index)
        return t.Declare(table, verb, span=cursor.span(start))
    family = _family(cursor)
    table_name = cursor.word("the name of a table")
    if kind == "element":
        return _elements(cursor, start, verb, family, table_name)
    begin = cursor.index
    name = cursor.word(f"the name of the {kind}")
    return t.Declare(named(cursor, kind, name, begin), verb, family, table_name, span=cursor.span(start))


def named(
    cursor: Cursor, kind: str, name: str, start: int
) -> t.Chain | t.Set | t.Flowtable | t.Object | t.CtHelper:
    """The rest of a chain, set, map or object, behind its name."""
    if kind == "chain":
        return b.chain(cursor, name, start)
    if kind in ("set", "map"):
        return b.named_set(cursor, name, start, kind == "map")
    if kind == "flowtable":
        return b.flowtable(cursor, name, start)
    return b.thing(cursor, kind, name, start)


def _place(cursor: Cursor, start: int, verb: str) -> t.Place:
    family = _family(cursor)
    table = cursor.word("the name of a table")
    chain = cursor.word("the name of a chain")
    where, number = None, None
    if cursor.at("handle", "index", "position") and cursor.ahead().kind == NUMBER:
        where = cursor.take().text
        number = cursor.number()
    if cursor.at_end():
        raise cursor.fault("the rule is missing")
    made = rule(cursor)
    return t.Place(table, chain, made, verb, family, where, number, span=cursor.span(start))


def _elements(cursor: Cursor, start: int, verb: str, family: str | None, table: str) -> t.Elements:
    name = cursor.word("the name of a set or map")
    elements = e.right_hand(cursor)
    return t.Elements(table, name, elements, verb, family, span=cursor.span(start))


def _rule_verb(cursor: Cursor, start: int, verb: str) -> t.Node:
    cursor.accept("rule")
    return _place(cursor, start, verb)


def _remove(cursor: Cursor, start: int, verb: str) -> t.Node:
    kind = _kind(cursor, (*KINDS, *PLURALS))
    family = _family(cursor)
    table = cursor.take().text if cursor.at_kind(WORD) and not cursor.at("handle") else None
    if kind == "element" and table is not None:
        return _elements(cursor, start, verb, family, table)
    name = cursor.take().text if cursor.at_kind(WORD) and not cursor.at("handle") else None
    handle = cursor.number("a handle") if cursor.accept("handle") else None
    if cursor.at("{"):  # `delete set x y { ... }`: what is in the braces does not count
        cursor.skip_statement()
    return t.Remove(kind, family, table, name, handle, verb, span=cursor.span(start))


def _rename(cursor: Cursor, start: int, verb: str) -> t.Rename:
    cursor.expect("chain")
    family = _family(cursor)
    table = cursor.word("the name of a table")
    old, new = cursor.word("the name of the chain"), cursor.word("the new name of the chain")
    return t.Rename(table, old, new, family, span=cursor.span(start))


def _other(cursor: Cursor, start: int, verb: str) -> t.UnknownItem:
    """Commands that only show something."""
    cursor.skip_statement()
    place = cursor.span(start)
    return t.UnknownItem(place.text.rstrip(), span=place)


_COMMANDS: dict[str, Callable[[Cursor, int, str], t.Node]] = {
    "add": _add,
    "create": _add,
    "insert": _rule_verb,
    "replace": _rule_verb,
    "delete": _remove,
    "destroy": _remove,
    "flush": _remove,
    "list": _remove,
    "reset": _remove,
    "get": _remove,
    "rename": _rename,
    "export": _other,
    "monitor": _other,
    "describe": _other,
    "import": _other,
}


# Tables.


@dataclass(slots=True)
class _TableLines:
    flags: tuple[str, ...] = ()
    comment: str | None = None

    def line(self, cursor: Cursor) -> t.Node | None:
        start = cursor.index
        if cursor.accept("flags"):
            self.flags = b.words(cursor)
            return None
        if cursor.at("comment"):
            cursor.take()
            self.comment = cursor.text("a comment in quotes")
            return None
        if not _kind_follows(cursor):
            known = ("chain", "set", "map", "flowtable", "flags", "comment", "define", "include", *OBJECTS)
            found = f"{cursor.found()} cannot stand in a table"
            raise cursor.unknown(found, help=cursor.nearest(known))
        kind = _kind(cursor, ("chain", "set", "map", "flowtable", *OBJECTS))
        return named(cursor, kind, cursor.word(f"the name of the {kind}"), start)


def _table(cursor: Cursor, start: int) -> t.Table:
    owner = _owner(cursor)
    cursor.expect("table")
    family = _family(cursor) or "ip"
    name = cursor.word("the name of a table")
    if not cursor.at("{"):
        if not cursor.at_end():
            raise cursor.fault(f"expected `{{`, found {cursor.found()}")
        return t.Table(family, name, owner=owner, brief=True, span=cursor.span(start))
    content = _TableLines()
    items, handle = b.block(cursor, content.line)
    owner = owner or ("iptables-nft" if _has_xt(items) else None)
    return t.Table(
        family, name, items, content.flags, content.comment, handle, owner, span=cursor.span(start)
    )


def _has_xt(items: tuple[t.Node, ...]) -> bool:
    """nft knows a table of iptables-nft in the same way, and warns of it on the standard error alone."""
    rules = [rule for item in items if isinstance(item, t.Chain) for rule in item.rules]
    return any(isinstance(statement, t.Xt) for rule in rules for statement in rule.statements)


def _owner(cursor: Cursor) -> str | None:
    """Who manages the table, by the warning that nft prints above it."""
    step = cursor.index - 1
    while step >= 0 and cursor.tokens.tokens[step].kind in ("newline", REMARK):
        text = cursor.tokens.tokens[step].text
        before, found, after = text.partition(" is managed by ")
        if found and before.lstrip("# ").startswith("Warning"):
            return after.split(",")[0].strip() or None
        step -= 1
    return None
