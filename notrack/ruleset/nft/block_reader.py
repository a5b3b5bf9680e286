"""Reads what stands between braces: the lines of chains, sets, maps, objects and flowtables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field

from notrack.ruleset.nft import catalogue as c
from notrack.ruleset.nft import expression_reader as e
from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.cursor import Cursor, Fault
from notrack.ruleset.nft.rule_reader import rule, skipped
from notrack.ruleset.nft.shared_reader import shared
from notrack.ruleset.nft.statement_reader import rule_number, stateful
from notrack.ruleset.nft.tokens import BAD, END, NEWLINE, REMARK, WORD
from notrack.text.diagnostic import Diagnostic, Severity
from notrack.text.record import dataclass
from notrack.text.source import Span

Line = Callable[[Cursor], None]


def block(cursor: Cursor, line: Callable[[Cursor], t.Node | None]) -> tuple[tuple[t.Node, ...], int | None]:
    """`{ ... }`: calls `line` for each line; gives the items that it made, and a handle noted beside `{`."""
    start = cursor.index
    cursor.expect("{")
    handle = rule_number(cursor)
    cursor.enter()
    items = lines(cursor, line)
    cursor.leave()
    if cursor.at_kind(END):
        opening = cursor.tokens.tokens[start]
        place = Span(cursor.tokens.source, opening.start, opening.end)
        cursor.diagnostics.append(Diagnostic(Severity.ERROR, "this `{` is never closed", place))
    cursor.accept("}")
    return items, handle


def lines(cursor: Cursor, line: Callable[[Cursor], t.Node | None]) -> tuple[t.Node, ...]:
    """Lines up to a closing brace or the end of the text; a faulty one becomes an `UnknownItem`."""
    items: list[t.Node] = []
    while True:
        cursor.skip_separators()
        if cursor.at_kind(END) or cursor.at("}"):
            return tuple(items)
        begin, depth = cursor.index, cursor.depth
        try:
            item = shared(cursor, line) or line(cursor)
            if item is not None:
                items.append(item)
            begin = cursor.index  # what was understood stands; a fault from here on is about the rest
            separate(cursor, item)
        except Fault as fault:
            cursor.depth = depth
            cursor.report(fault)
            place = skipped(cursor, begin, fault)
            items.append(t.UnknownItem(place.text.rstrip(), span=place))


def separate(cursor: Cursor, item: t.Node | None) -> None:
    """A line must end before the next, or before `}` (nft 1.0.6 insists; so do we, with a warning)."""
    if cursor.at_kind(NEWLINE, REMARK, END) or cursor.at(";") or isinstance(item, t.Remark):
        return
    if cursor.tokens.tokens[cursor.index - 1].kind == "}":
        return
    if cursor.at("}"):
        cursor.warn("nft 1.0.6 wants a line end or `;` before this `}`", cursor.here())
        return
    raise cursor.fault(f"expected the end of the line or `;`, found {cursor.found()}")


def priority(cursor: Cursor) -> t.Priority:
    """`-300`, `raw`, `raw - 5`, `$prio`."""
    start = cursor.index
    if cursor.accept("$"):
        variable = cursor.word("the name of a variable")
        return t.Priority(0, None, variable, span=cursor.span(start))
    name: str | None = None
    if cursor.at_kind(WORD):
        stem, dash, _ = cursor.token.text.partition("-")
        if dash and stem in {**c.PRIORITIES, **c.BRIDGE_PRIORITIES}:
            raise cursor.fault("blanks are missing around the `-`", help=f"write `{stem} - N`")
        name = cursor.one_of({*c.PRIORITIES, *c.BRIDGE_PRIORITIES}, "a priority, a name or a number")
        if not cursor.at("+", "-"):
            return t.Priority(0, name, span=cursor.span(start))
    sign = -1 if cursor.accept("-") else 1
    if sign == 1:
        cursor.accept("+")
    return t.Priority(sign * cursor.number("a priority"), name, span=cursor.span(start))


# Chains.


@dataclass(slots=True)
class _ChainLines:
    base: t.Base | None = None
    policy: t.Expression | None = None
    comment: str | None = None
    flags: tuple[str, ...] = ()

    def line(self, cursor: Cursor) -> t.Node | None:
        following = cursor.ahead()
        if cursor.at("type") and following.kind == WORD:
            self.base = base(cursor)
        elif cursor.accept("policy"):
            self.policy = policy(cursor)
        elif cursor.at("flags") and following.text == "offload":
            cursor.take()
            self.flags = words(cursor)
        elif cursor.at("comment"):
            cursor.take()
            self.comment = cursor.text("a comment in quotes")
        elif cursor.at("devices") or (cursor.at("device") and self.base is not None):
            raise cursor.fault("devices belong between the hook and its priority")
        else:
            return rule(cursor)
        return None


def chain(cursor: Cursor, name: str, start: int) -> t.Chain:
    """The chain of this name, from its opening brace on, if there is one."""
    content = _ChainLines()
    items: tuple[t.Node, ...] = ()
    handle = None
    if cursor.at("{"):
        items, handle = block(cursor, content.line)
    place = cursor.span(start)
    return t.Chain(
        name, items, content.base, content.policy, content.comment, content.flags, handle, span=place
    )


def base(cursor: Cursor) -> t.Base:
    """`type filter hook input [device "x"] priority 0`."""
    start = cursor.index
    cursor.expect("type")
    kind = cursor.one_of(c.CHAIN_TYPES, "a chain type (filter, nat, route)")
    cursor.expect("hook")
    hook = cursor.one_of(c.ALL_HOOKS, "a hook")
    devices: t.Expression | None = None
    if cursor.accept("device"):
        devices = e.concatenation(cursor, fields=False)
    elif cursor.accept("devices"):
        cursor.expect("=")
        devices = e.right_hand(cursor)
    cursor.expect("priority")
    found = priority(cursor)
    home = c.PRIORITY_HOOKS.get(found.name or "", hook)
    if home != hook:
        message = f"nft 1.0.6 knows the priority {found.name} in {home} alone"
        cursor.warn(message, cursor.span(start), "write its number")
    return t.Base(kind, hook, found, devices, span=cursor.span(start))


def policy(cursor: Cursor) -> t.Expression:
    start = cursor.index
    if cursor.at("$"):
        return e.assigned(cursor)
    text = cursor.one_of(("accept", "drop"), "`accept` or `drop`")
    return t.Value(text, span=cursor.span(start))


def words(cursor: Cursor) -> tuple[str, ...]:
    """`a,b,c`."""
    found = [cursor.word("a flag")]
    while cursor.accept(","):
        found.append(cursor.word("a flag"))
    return tuple(found)


# Sets and maps.


@dataclass(slots=True)
class _SetLines:
    is_map: bool
    values: dict[str, object] = field(default_factory=dict)
    elements: list[t.Element] = field(default_factory=list)
    statements: list[t.Node] = field(default_factory=list)

    def line(self, cursor: Cursor) -> t.Node | None:
        if cursor.at("type", "typeof"):
            self.type(cursor)
        elif cursor.accept("flags"):
            self.values["flags"] = words(cursor)
        elif cursor.at("timeout", "gc-interval"):
            word = cursor.take().text.replace("-", "_")
            self.values[word] = cursor.text("a time")
        elif cursor.accept("size"):
            self.values["size"] = cursor.number()
        elif cursor.accept("policy"):
            self.values["policy"] = cursor.one_of(("performance", "memory"), "`performance` or `memory`")
        elif cursor.accept("auto-merge"):
            self.values["auto_merge"] = True
        elif cursor.accept("comment"):
            self.values["comment"] = cursor.text("a comment in quotes")
        elif cursor.accept("elements"):
            cursor.expect("=")
            self.elements.extend(initializer(cursor))
        elif cursor.at("counter", "limit", "quota", "ct", "last"):
            found: list[t.Node] = []
            while not cursor.at_end():
                if not cursor.at("counter", "limit", "quota", "ct", "last"):
                    raise cursor.fault(f"expected the end of the line, found {cursor.found()}")
                found.append(stateful(cursor))
            self.statements.extend(found)
        else:
            known = c.words(_SET_SETTINGS)
            raise cursor.unknown(f"{cursor.found()} is no setting of a set", help=cursor.nearest(known))
        return None

    def type(self, cursor: Cursor) -> None:
        self.values["key"] = set_type(cursor)
        if not cursor.accept(":"):
            return
        interval = cursor.accept("interval") is not None
        objects = ("counter", "quota", "limit", "synproxy", "secmark", "ct")
        if cursor.at(*objects) and (not cursor.at("ct") or cursor.ahead().text in _CT_OBJECTS):
            words = [cursor.take().text]
            if words[0] == "ct":
                words.append(cursor.take().text)
            self.values["objects"] = " ".join(words)
            return
        start = cursor.index
        if isinstance(self.values["key"], t.Type) or cursor.at("verdict"):
            names = type_names(cursor)
            self.values["data"] = t.Type(names, interval, span=cursor.span(start))
        else:
            expression = e.concatenation(cursor, fields=True)
            self.values["data"] = t.Typeof(expression, interval, span=cursor.span(start))


_SET_SETTINGS = "type typeof flags timeout gc-interval size policy auto-merge comment elements"
_CT_OBJECTS = ("helper", "timeout", "expectation")


def set_type(cursor: Cursor) -> t.Type | t.Typeof:
    """`type a . b` or `typeof EXPRESSION`."""
    start = cursor.index
    if cursor.accept("typeof"):
        return t.Typeof(e.concatenation(cursor, fields=True), span=cursor.span(start))
    cursor.expect("type")
    return t.Type(type_names(cursor), span=cursor.span(start))


def type_names(cursor: Cursor) -> tuple[str, ...]:
    names = [cursor.word("the name of a type")]
    while cursor.accept("."):
        names.append(cursor.word("the name of a type"))
    return tuple(names)


def initializer(cursor: Cursor) -> tuple[t.Element, ...]:
    """`{ ... }` or a variable, as elements."""
    if cursor.at("{"):
        return e.set_literal(cursor).elements
    start = cursor.index
    cursor.skip_lines()
    value = e.concatenation(cursor, fields=False)
    return (t.Element(value, span=cursor.span(start)),)


def named_set(cursor: Cursor, name: str, start: int, is_map: bool) -> t.Set:
    """The set or map of this name, from its opening brace on."""
    content = _SetLines(is_map)
    extra: tuple[t.Node, ...] = ()
    handle = None
    if cursor.at("{"):
        extra, handle = block(cursor, content.line)
    kind = t.Map if is_map else t.Set
    values = dict(content.values)
    key = values.pop("key", None)
    if not is_map:
        values = {name: value for name, value in values.items() if name not in ("data", "objects")}
    return kind(
        name,
        key,  # type: ignore[arg-type]
        tuple(content.elements),
        statements=tuple(content.statements),
        handle=handle,
        extra=extra,
        span=cursor.span(start),
        **values,  # type: ignore[arg-type]
    )


# Flowtables and other objects.


@dataclass(slots=True)
class _FlowtableLines:
    hook: str = "ingress"
    priority: t.Priority | None = None
    devices: t.Expression | None = None
    flags: tuple[str, ...] = ()
    counter: bool = False

    def line(self, cursor: Cursor) -> t.Node | None:
        if cursor.accept("hook"):
            self.hook = cursor.word("a hook")
            cursor.expect("priority")
            self.priority = priority(cursor)
        elif cursor.accept("devices"):
            cursor.expect("=")
            self.devices = e.right_hand(cursor)
        elif cursor.accept("flags"):
            self.flags = words(cursor)
        elif cursor.accept("counter"):
            self.counter = True
        else:
            raise cursor.unknown(f"{cursor.found()} is no setting of a flowtable")
        return None


def flowtable(cursor: Cursor, name: str, start: int) -> t.Flowtable:
    content = _FlowtableLines()
    handle = None
    if cursor.at("{"):
        _, handle = block(cursor, content.line)
    return t.Flowtable(
        name,
        content.priority,
        content.devices,
        content.hook,
        content.flags,
        content.counter,
        handle,
        span=cursor.span(start),
    )


@dataclass(slots=True)
class _ObjectLines:
    settings: list[str] = field(default_factory=list)
    comment: str | None = None

    def line(self, cursor: Cursor) -> t.Node | None:
        if cursor.accept("comment"):
            self.comment = cursor.text("a comment in quotes")
            return None
        begin = cursor.index
        cursor.skip_statement()
        if cursor.index == begin:
            raise cursor.fault(f"unexpected {cursor.found()}")
        if not _balanced(cursor, begin):
            raise cursor.fault("a brace or a quote is never closed", cursor.span(begin))
        self.settings.append(setting(cursor, begin))
        return None


def _balanced(cursor: Cursor, begin: int) -> bool:
    kinds = [token.kind for token in cursor.tokens.tokens[begin : cursor.index]]
    return kinds.count("{") == kinds.count("}") and BAD not in kinds


def setting(cursor: Cursor, begin: int) -> str:
    """The text from token `begin` to the cursor, on one line, with single blanks where there were any."""
    pieces: list[str] = []
    last = None
    for token in cursor.tokens.tokens[begin : cursor.index]:
        if token.kind in (NEWLINE, REMARK):
            continue
        if last is not None and token.start > last:
            pieces.append(" ")
        pieces.append(cursor.tokens.source.text[token.start : token.end])
        last = token.end
    return "".join(pieces)


def thing(cursor: Cursor, kind: str, name: str, start: int) -> t.Object | t.CtHelper:
    """A counter, quota, limit, ct helper and the like."""
    content = _ObjectLines()
    handle = None
    if cursor.at("{"):
        _, handle = block(cursor, content.line)
    elif not cursor.at_end():
        content.line(cursor)
    if kind == "ct helper":
        helper = _helper(name, content)
        if helper is not None:
            return t.CtHelper(*helper, content.comment, handle, span=cursor.span(start))
    settings = tuple(content.settings)
    return t.Object(kind, name, settings, content.comment, handle, span=cursor.span(start))


def _helper(name: str, content: _ObjectLines) -> tuple[str, str, str, str | None] | None:
    parts = " ".join(content.settings).split()
    match parts:
        case ["type", kind, "protocol", protocol]:
            return name, kind.strip('"'), protocol, None
        case ["type", kind, "protocol", protocol, "l3proto", family]:
            return name, kind.strip('"'), protocol, family
    return None
