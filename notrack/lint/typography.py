"""Characters of a word processor where a plain one was meant: dashes, quotes and blanks outside of quotes.

Three readers, one for each language: they find what is wrong on a line (or in a command), and the edits that
make it right, or none where the closing quote is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from notrack.lint.finding import Edit
from notrack.ruleset.nft.tokens import BAD, NEWLINE, Token, tokenize
from notrack.ruleset.shell.tree import Literal, Simple, Word
from notrack.ruleset.shell.typography import CLOSING, DASHES, OPENING
from notrack.ruleset.xtables.words import places
from notrack.text.source import Source, Span

BLANKS = "\u00a0\u2002\u2003\u2007\u2009\u202f\u3000"
ODD = re.compile(f"[{DASHES}{OPENING}{CLOSING}{BLANKS}]")
_HIDDEN = "\0"  # a character that is quoted, escaped or a variable: what it is does not matter
_LEAD = re.compile(f"([-{DASHES}]*[{DASHES}][-{DASHES}]*)([A-Za-z0-9][^=]*)")
_RANGE = re.compile(f"[0-9A-Fa-f.:/]+([{DASHES}])[0-9A-Fa-f.:/]+")
_PORTS = re.compile(r"--?(?:[sd]ports?|ports|source-ports?|destination-ports?)")
_SINGLE = "\u2018\u2019\u201a\u201b"


@dataclass(frozen=True, slots=True)
class Slip:
    """What is wrong on one line. `place`: its first wrong word; no `edits`: what was meant is not certain."""

    place: Span
    kind: str  # dash, quote, blank
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class _Word:
    start: int
    text: str

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def restore_slips(source: Source) -> Iterator[Slip]:
    """Those of a text for iptables-restore, one for each line."""
    if ODD.search(source.text) is None:
        return
    offset = 0
    for line in source.text.split("\n"):
        if ODD.search(line) and not line.lstrip().startswith("#"):
            words = [_Word(offset + start, _unquoted(line[start:end])) for start, end in places(line)]
            yield from _slip(source, words, quote='"')
        offset += len(line) + 1


def _unquoted(word: str) -> str:
    """A word of a restore text with all that stands in double quotes hidden."""
    at = word.find('"')
    return word if at < 0 else word[:at] + _HIDDEN * (len(word) - at)


def command_slips(command: Simple) -> Iterator[Slip]:
    """That of a simple command of a shell script, and those of its assignments."""
    source = command.span.source
    if ODD.search(command.span.text) is None:
        return
    for assignment in command.assignments:
        if assignment.value is not None:
            yield from _slip(source, [_shown(assignment.value)], quote=None)
    yield from _slip(source, [_shown(word) for word in command.words], quote=None)


def _shown(word: Word) -> _Word:
    """A word of a script with all that is quoted, escaped or a variable hidden."""
    letters = [_HIDDEN] * (word.span.end - word.span.start)
    for part in word.parts:
        if isinstance(part, Literal) and not part.quoted and part.text == part.span.text:
            at = part.span.start - word.span.start
            letters[at : at + len(part.text)] = part.text
    return _Word(word.span.start, "".join(letters))


def _slip(source: Source, words: Sequence[_Word], quote: str | None) -> Iterator[Slip]:
    """The one of a line. `quote`: the only quote that the language has; None: both kinds."""
    edits: list[Edit] = []
    wrong: list[tuple[int, int, str]] = []
    certain = True
    at = 0
    while at < len(words):
        word = words[at]
        last = at
        if word.text[:1] and word.text[0] in OPENING:
            closing = _closing(words, at)
            wrong.append((word.start, word.end, "quote"))
            certain = certain and closing is not None
            if closing is not None:
                last = closing
                edits += _quotes(source, word, words[closing], quote)
        elif word.text[-1:] and word.text[-1] in CLOSING:
            wrong.append((word.start, word.end, "quote"))
            certain = False
        else:
            made = _dashes(source, word, words[at - 1].text if at else "")
            made += [Edit(source.span(spot, spot + 1), " ") for spot in _blanks(word)]
            if made:
                kind = "blank" if made[0].text == " " else "dash"
                wrong.append((word.start, word.end, kind))
                edits += made
        at = last + 1
    if wrong:
        start, end, kind = wrong[0]
        yield Slip(source.span(start, end), kind, tuple(edits) if certain else ())


def _closing(words: Sequence[_Word], opening: int) -> int | None:
    """The number of the word that ends with the closing quote."""
    for at in range(opening, len(words)):
        text = words[at].text
        if text[-1] in CLOSING and (at > opening or len(text) > 1):
            return at
        if '"' in text:
            return None
    return None


def _quotes(source: Source, first: _Word, last: _Word, quote: str | None) -> list[Edit]:
    plain = quote or ("'" if first.text[0] in _SINGLE else '"')
    return [
        Edit(source.span(first.start, first.start + 1), plain),
        Edit(source.span(last.end - 1, last.end), plain),
    ]


def _dashes(source: Source, word: _Word, before: str) -> list[Edit]:
    lead = _LEAD.match(word.text)
    if lead is not None:
        plain = "-" if len(lead[2]) == 1 else "--"
        return [Edit(source.span(word.start, word.start + lead.end(1)), plain)]
    between = _RANGE.fullmatch(word.text)
    if between is not None:
        spot = word.start + between.start(1)
        return [Edit(source.span(spot, spot + 1), ":" if _PORTS.fullmatch(before) else "-")]
    return []


def _blanks(word: _Word) -> list[int]:
    return [word.start + at for at, letter in enumerate(word.text) if letter in BLANKS]


def nft_slips(source: Source) -> Iterator[Slip]:
    """Those of a native nft text, one for each line."""
    if ODD.search(source.text) is None:
        return
    line: list[Token] = []
    for token in tokenize(source).tokens:
        if token.kind == NEWLINE:
            yield from _nft_slip(source, line)
            line = []
        elif token.kind == BAD and token.text in DASHES + OPENING + CLOSING + BLANKS:
            line.append(token)
    yield from _nft_slip(source, line)


def _nft_slip(source: Source, tokens: list[Token]) -> Iterator[Slip]:
    edits: list[Edit] = []
    inside = False
    for token in tokens:
        span = source.span(token.start, token.end)
        if token.text in OPENING + CLOSING:
            inside = not inside
            edits.append(Edit(span, '"'))
        elif not inside:
            edits.append(Edit(span, " " if token.text in BLANKS else "-"))
    if tokens:
        first = tokens[0]
        kind = "blank" if first.text in BLANKS else "dash" if first.text in DASHES else "quote"
        yield Slip(source.span(first.start, first.end), kind, () if inside else tuple(edits))
