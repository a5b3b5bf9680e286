"""How iptables-restore cuts a line into words: blanks, double quotes, backslashes inside the quotes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

# The loader ends a word at a closing quote too, so `"a"b` are two words and `a"b c"` is one. A single
# quote is an ordinary character. An unfinished quote runs to the end of the line.
_WORD = re.compile(r"""[^\s"]*"(?:[^"\\]|\\.)*(?:"|\\?$)|[^\s"]+""", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class Word(NamedTuple):
    """A word as the loader sees it, and where it stands in the line."""

    text: str
    start: int
    end: int
    quoted: bool


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one line; `open_quote` is where a quote begins that never ends."""

    words: tuple[Word, ...]
    open_quote: int | None = None


def split(line: str) -> Words:
    """The words of a line without its line ending. Never fails."""
    words: list[Word] = []
    open_quote = None
    for found in _WORD.finditer(line):
        raw = found.group()
        quote = raw.find('"')
        if quote < 0:
            words.append(Word(raw, found.start(), found.end(), False))
            continue
        closed = len(raw) > quote + 1 and raw.endswith('"') and not _ends_escaped(raw, quote)
        inner = raw[quote + 1 : -1] if closed else raw[quote + 1 :]
        if not closed:
            open_quote = found.start() + quote
        words.append(Word(raw[:quote] + _ESCAPED.sub(r"\1", inner), found.start(), found.end(), True))
    return Words(tuple(words), open_quote)


def _ends_escaped(raw: str, quote: int) -> bool:
    inner = raw[quote + 1 : -1]
    return (len(inner) - len(inner.rstrip("\\"))) % 2 == 1


_BARE = re.compile(r"""[^\s"]+""")
_PLAIN = re.compile(r"[\w-]+", re.ASCII)
_SPECIAL = re.compile(r"""(["\\'])""")


def bare(word: str) -> str:
    """A word as iptables-save prints most values: quoted only where it would fall apart otherwise."""
    return word if _BARE.fullmatch(word) else quoted(word)


def prose(word: str) -> str:
    """A word as iptables-save prints comments and prefixes: quoted unless it is letters, digits, - and _."""
    return word if _PLAIN.fullmatch(word) else quoted(word)


def quoted(word: str) -> str:
    """A word in double quotes, with quotes and backslashes escaped. A line break cannot be kept: it becomes
    a blank, because the loader reads line by line."""
    flat = word.replace("\r", " ").replace("\n", " ")
    return '"' + _SPECIAL.sub(r"\\\1", flat) + '"'
