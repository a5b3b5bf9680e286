"""Dashes and quotes of a word processor among the words of a command."""

from __future__ import annotations

from typing import Final

from notrack.ruleset.shell.derived import Field, derived, spoken
from notrack.text.diagnostic import Diagnostic, Severity
from notrack.text.source import Span

DASHES: Final = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\uff0d"
OPENING: Final = "\u201c\u201e\u201f\u201d\u2018\u2019\u201a\u201b\u00ab"
CLOSING: Final = "\u201d\u201c\u2019\u2018\u00bb"


def faults(fields: list[Field]) -> list[Diagnostic]:
    """An error for each typographic dash that begins a word, and for each pair of typographic quotes."""
    found: list[Diagnostic] = []
    for field in fields:
        text = field.text
        dashes = len(text) - len(text.lstrip(DASHES + "-"))
        if any(char in DASHES for char in text[:dashes]) and dashes < len(text):
            message = f"{text[:40]!r} begins with a typographic dash"
            found.append(_fault(message, field, 0, dashes, f"write `{_plain(text)[:40]}`"))
        for at, char in enumerate(text):
            if char in OPENING + CLOSING and (at == 0 or at == len(text) - 1):
                message = f"a typographic quote {char!r} is a letter like any other to the shell"
                found.append(_fault(message, field, at, at + 1, """write `"`"""))
    return found


def repaired(fields: list[Field]) -> list[Field] | None:
    """The fields as they were meant; None if there is nothing to mend, or no closing quote for an opening."""
    made: list[Field] = []
    changed = False
    quoted: list[Field] = []
    for field in fields:
        text = field.text
        if not quoted and text[:1] not in OPENING:
            plain = _plain(text)
            changed = changed or plain != text
            made.append(field if plain == text else Field.of(plain, field.span))
            continue
        quoted.append(field)
        if text[-1:] in CLOSING and (len(quoted) > 1 or len(text) > 1):
            inner = " ".join(other.text for other in quoted)[1:-1]
            made.append(Field.of(inner, _around(quoted)))
            quoted = []
            changed = True
    return made if changed and not quoted else None


def _plain(text: str) -> str:
    """A word whose leading dashes are plain: two before a long name, one before a letter."""
    name = text.lstrip(DASHES + "-")
    leading = text[: len(text) - len(name)]
    if not name or not any(char in DASHES for char in leading):
        return text
    return ("-" if len(name) == 1 else "--") + name


def _fault(message: str, field: Field, start: int, end: int, help: str) -> Diagnostic:
    whole = derived("", field.pieces)
    return Diagnostic(Severity.ERROR, message, spoken(Span(whole, start, end)), help)


def _around(fields: list[Field]) -> Span:
    first, last = fields[0].span, fields[-1].span
    return Span(first.source, first.start, last.end) if first.source is last.source else first
