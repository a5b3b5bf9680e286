"""Reads what may stand in any block and outside all: remarks, defines, includes."""

from __future__ import annotations

from collections.abc import Callable

from notrack.ruleset.nft import expression_reader as e
from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.cursor import Cursor, Inclusion
from notrack.ruleset.nft.tokens import REMARK, tokenize
from notrack.text.source import Source

DEEPEST_INCLUDE = 16  # nft's own bound


def shared(cursor: Cursor, line: Callable[[Cursor], t.Node | None]) -> t.Node | None:
    """A remark, define or include, if that is what comes next."""
    start = cursor.index
    if cursor.at_kind(REMARK):
        text = cursor.take().text[1:]
        return t.Remark(text.strip(), span=cursor.span(start))
    following = cursor.ahead()
    if cursor.at("define", "redefine"):
        return _define(cursor, start)
    if cursor.at("undefine"):
        cursor.take()
        name = cursor.word("the name of a variable")
        return t.Undefine(name, span=cursor.span(start))
    if cursor.at("include") and following.kind == "quoted":
        return _include(cursor, start, line)
    return None


def _define(cursor: Cursor, start: int) -> t.Define:
    verb = cursor.take().text
    name = cursor.word("the name of a variable")
    cursor.expect("=")
    if cursor.at("{"):
        value: t.Expression = e.set_literal(cursor)
    elif cursor.at("-"):
        value = _negative(cursor)
    else:
        value = e.verdict_or_none(cursor) or e.assigned(cursor)
    return t.Define(name, value, verb, span=cursor.span(start))


def _negative(cursor: Cursor) -> t.Value:
    """`define prio = -10`."""
    start = cursor.index
    cursor.take()
    cursor.number()
    place = cursor.span(start)
    return t.Value("".join(place.text.split()), span=place)


def _include(cursor: Cursor, start: int, line: Callable[[Cursor], t.Node | None]) -> t.Include:
    cursor.take()
    place = cursor.here()
    pattern = cursor.text("a path in quotes")
    inclusion = cursor.inclusion
    if inclusion.load is None:
        cursor.warn(f'what "{pattern}" includes was not read', place)
        return t.Include(pattern, span=cursor.span(start))
    if inclusion.depth >= DEEPEST_INCLUDE:
        raise cursor.fault(f"includes are nested more than {DEEPEST_INCLUDE} deep", place)
    sources = inclusion.load(pattern)
    if sources is None:
        raise cursor.fault(f'no file "{pattern}" to include', place)
    items: tuple[t.Node, ...] = ()
    for source in sources:
        items += _included(cursor, source, line)
    return t.Include(pattern, items, span=cursor.span(start))


def _included(cursor: Cursor, source: Source, line: Callable[[Cursor], t.Node | None]) -> tuple[t.Node, ...]:
    from notrack.ruleset.nft.block_reader import lines

    inclusion = Inclusion(cursor.inclusion.load, cursor.inclusion.depth + 1)
    inner = Cursor(tokenize(source), diagnostics=cursor.diagnostics, inclusion=inclusion)
    items: tuple[t.Node, ...] = ()
    while True:
        items += lines(inner, line)
        if not inner.at("}"):
            return items
        inner.report(inner.fault("this `}` closes nothing"))
        inner.take()
