"""Reads rules: statements to the end of the line, and what to do where they make no sense."""

from __future__ import annotations

from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.cursor import Cursor, Fault
from notrack.ruleset.nft.statement_reader import rule_number, statement
from notrack.text.source import Span


def rule(cursor: Cursor) -> t.Rule:
    """One rule. What is not understood is recorded, and kept as text to the end of the rule."""
    start = cursor.index
    statements: list[t.RuleStatement] = []
    comment: str | None = None
    while not cursor.at_end():
        begin, depth = cursor.index, cursor.depth
        try:
            if cursor.accept("comment"):
                text = cursor.text("a comment in quotes")
                _expect_end(cursor)
                comment = text
            else:
                statements.append(statement(cursor))
        except Fault as fault:
            cursor.depth = depth
            cursor.report(fault)
            statements.append(kept(cursor, begin, fault))
            break
    handle = rule_number(cursor)
    return t.Rule(tuple(statements), comment, handle, span=cursor.span(start))


def _expect_end(cursor: Cursor) -> None:
    if not cursor.at_end():
        raise cursor.fault(f"expected the end of the rule after its comment, found {cursor.found()}")


def kept(cursor: Cursor, begin: int, fault: Fault) -> t.Unknown:
    """The text from token `begin` to the end of the statement."""
    span = skipped(cursor, begin, fault)
    return t.Unknown(span.text.rstrip(), span=span)


def skipped(cursor: Cursor, begin: int, fault: Fault) -> Span:
    """Moves behind the statement in which the fault lies; the span from `begin` to there."""
    if fault.inside:
        cursor.skip_open_braces()
    else:
        cursor.index = begin
        cursor.skip_statement()
    if cursor.index == begin and not cursor.at_end():
        cursor.take()
    return cursor.span(begin)
