"""Tokens of one declaration to its syntax tree; what does not fit is reported with the form that would."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.site.automaton import Parser, Unexpected
from notrack.site.faults import Faults
from notrack.site.grammar import Grammar, grammar
from notrack.site.lexer import declarations
from notrack.site.syntax import Atom, Broken, Statement
from notrack.text.source import Source


def parse(source: Source, faults: Faults) -> Iterator[Statement | Broken]:
    """Every declaration of a source, each parsed by itself, so that no fault hides another one."""
    language = grammar()
    for atoms in declarations(source, language, faults):
        yield _statement(atoms, language, faults)


def _statement(atoms: list[Atom], language: Grammar, faults: Faults) -> Statement | Broken:
    parser = language.start()
    for i, atom in enumerate(atoms):
        if atom.type == "JUNK":
            return _broken(atoms, i, parser, language, faults)
        try:
            parser.feed_token(atom)
        except Unexpected:
            return _broken(atoms, i, parser, language, faults)
    try:
        found: Statement = parser.feed_eof()
    except Unexpected:
        return _broken(atoms, len(atoms), parser, language, faults)
    return found


def _broken(atoms: list[Atom], at: int, parser: Parser, language: Grammar, faults: Faults) -> Broken:
    from notrack.site.mistakes import explain  # most sites have none

    expected = parser.accepts()
    explain(atoms, at, expected, language, faults)
    name = atoms[1] if len(atoms) > 1 and atoms[1].type == "WORD" else None
    return Broken(atoms[0], name, tuple(atoms))
