"""Reads native nft text: what `nft -f` reads, and what `nft list ruleset` prints."""

from __future__ import annotations

from notrack.ruleset.collection import uncollected
from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.block_reader import lines
from notrack.ruleset.nft.command_reader import command
from notrack.ruleset.nft.cursor import Cursor, Inclusion, Loader
from notrack.ruleset.nft.rule_reader import rule as _rule
from notrack.ruleset.nft.tokens import tokenize
from notrack.text.diagnostic import Diagnostic, Rejected
from notrack.text.source import Source, Span


def read(source: Source | str, include: Loader | None = None) -> tuple[t.Ruleset, tuple[Diagnostic, ...]]:
    """The ruleset of a text, and everything that is wrong with it, in the order of the text.

    Errors are what nft refuses; warnings are what this reader does not know, which is kept as text in the
    tree and may mean anything. `include` gives the sources that a pattern names (of a glob in the order of
    their names, none of them is fine), or None where nft would find no file; without it includes are kept
    unread, with a warning. Never raises.
    """
    source = Source("<nft>", source) if isinstance(source, str) else source
    with uncollected():
        return _read(source, include)


def _read(source: Source, include: Loader | None) -> tuple[t.Ruleset, tuple[Diagnostic, ...]]:
    cursor = Cursor(tokenize(source), inclusion=Inclusion(include))
    commands: tuple[t.Node, ...] = ()
    while True:
        commands += lines(cursor, command)
        if not cursor.at("}"):
            break
        cursor.report(cursor.fault("this `}` closes nothing"))
        cursor.take()
    return t.Ruleset(commands, _comments(cursor), span=Span(source, 0, len(source.text))), _ordered(cursor)


def read_rule(text: str) -> t.Rule:
    """One rule from its text; `Rejected` when any of it is wrong or not known."""
    cursor = Cursor(tokenize(Source("<rule>", text)))
    made = _rule(cursor)
    if not cursor.at_kind("end"):
        cursor.report(cursor.fault(f"expected the end of the rule, found {cursor.found()}"))
    if cursor.diagnostics:
        raise Rejected(_ordered(cursor))
    return made


def _comments(cursor: Cursor) -> tuple[t.Remark, ...]:
    source = cursor.tokens.source
    return tuple(
        t.Remark(source.text[start + 1 : end].strip(), span=Span(source, start, end))
        for start, end in cursor.tokens.comments
    )


def _ordered(cursor: Cursor) -> tuple[Diagnostic, ...]:
    source = cursor.tokens.source
    own = [found for found in cursor.diagnostics if found.span and found.span.source is source]
    other = [found for found in cursor.diagnostics if not (found.span and found.span.source is source)]
    return tuple(sorted(own, key=lambda found: found.span.start if found.span else 0) + other)
