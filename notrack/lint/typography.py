"""Characters of a word processor where a plain one was meant: dashes, quotes and blanks outside of quotes.

Three readers, one for each language: they find what is wrong on a line (or in a command), and the edits that
make it right, or none where the closing quote is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from notrack.lint.finding import Edit
from notrack.lint.mending.arguments import simple_command
from notrack.lint.mending.splice import spliced
from notrack.ruleset.nft.tokens import BAD, NEWLINE, Token, tokenize
from notrack.ruleset.shell.tree import Literal, Simple, Word
from notrack.ruleset.shell.typography import CLOSING, DASHES, OPENING
from notrack.ruleset.xtables.words import places
from notrack.text.record import dataclass
from notrack.text.source import Source, Span

BLANKS = "\u00a0\u2002\u2003\u2007\u2009\u202f\u3000"
ODD = re.compile(f"[{DASHES}{OPENING}{CLOSING}{BLANKS}]")
_HIDDEN = "\0"  # a character that is quoted, escaped or a variable: what it is does not matter
_LEAD = re.compile(f"([-{DASHES}]*[{DASHES}][-{DASHES}]*)([A-Za-z0-9][^=]*)")
_RANGE = re.compile(f"[0-9A-Fa-f.:/]+([{DASHES}])[0-9A-Fa-f.:/]+")
_PORTS = re.compile(r"--?(?:[sd]ports?|ports|source-ports?|destination-ports?)")
_TOOL = re.compile(
    r"(?:\S*/)?(?:(?:ip6?|ip46)tables(?:-(?:legacy|nft))?(?:-(?:restore|save))?"
    r"|ip6?table|nft|ipset|conntrack|sysctl|modprobe)"
)
_MISSPELT = re.compile(r"(?:\S*/)?ip6?table")
_GLUED = re.compile(
    f"(?P<name>(?:\\S*/)?(?:ip6?tables?|nft|ipset|conntrack|sysctl|modprobe))[-{DASHES}]*[{DASHES}].*"
)
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
    for raw in source.text.split("\n"):
        line = raw.rstrip("\r")
        if ODD.search(line) and not line.lstrip().startswith("#"):
            words = [_Word(offset + start, _unquoted(line[start:end])) for start, end in places(line)]
            yield from _slip(source, words, quote='"')
        offset += len(raw) + 1


def _unquoted(word: str) -> str:
    """A word of a restore text with all that stands in double quotes hidden."""
    at = word.find('"')
    return word if at < 0 else word[:at] + _HIDDEN * (len(word) - at)


def command_slips(command: Simple) -> Iterator[Slip]:
    """That of a simple command of a shell script, with its assignments: the closing quote of `A=“b c”` ends a
    word of the command."""
    source = command.span.source
    if ODD.search(command.span.text) is None:
        return
    values = [_shown(one.value) for one in command.assignments if one.value is not None]
    words = [_shown(word) for word in command.words]
    for at, word in enumerate(words[:3]):
        glued = _GLUED.fullmatch(word.text)
        if glued is not None:
            name = _Word(word.start, glued["name"])
            words[at : at + 1] = [name, _Word(name.end, word.text[len(name.text) :])]
            break
    for slip in _slip(source, [*values, *words], quote=None):
        yield replace(slip, edits=tuple(_apart(slip.edits, words))) if slip.edits else slip


def _apart(edits: Sequence[Edit], words: Sequence[_Word]) -> Iterator[Edit]:
    """The edits, with a blank between a command and the option that was glued to it, and the missing `s` of
    `iptable`."""
    for word in words[:3]:
        if _MISSPELT.fullmatch(word.text):
            glued = next((edit for edit in edits if edit.span.start == word.end), None)
            if glued is None:
                yield Edit(edits[0].span.source.span(word.end, word.end), "s")
    ends = {word.end: word for word in words[:3]}
    for edit in edits:
        before = ends.get(edit.span.start)
        if before is None:
            yield edit
        else:
            missing = "s" if _MISSPELT.fullmatch(before.text) else ""
            yield Edit(edit.span, f"{missing} {edit.text}")


def is_tool(word: str) -> bool:
    """Whether the word of a script names a command of the firewall, be it misspelt or glued to an option."""
    glued = _GLUED.fullmatch(word)
    return bool(_TOOL.fullmatch(glued["name"] if glued else word))


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


def mended(line: Span, shell: bool) -> str:
    """A line for iptables-restore, or a command of a script, with plain characters."""
    if ODD.search(line.text) is None:
        return line.text
    alone = Source("", line.text)
    slips: Iterator[Slip]
    if shell:
        command = simple_command(line.text)
        slips = command_slips(command) if command is not None else iter(())
    else:
        slips = restore_slips(alone)
    edits = [edit for slip in slips for edit in slip.edits]
    return spliced(line.text, [(edit.span.start, edit.span.end, edit.text) for edit in edits]) or line.text


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
