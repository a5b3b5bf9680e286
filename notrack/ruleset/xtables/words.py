"""How iptables-restore cuts a line into words: blanks, double quotes, backslashes inside the quotes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

# The loader ends a word at a closing quote too, so `"a"b` are two words and `a"b c"` is one. A single
# quote is an ordinary character. An unfinished quote runs to the end of the line.
_WORD = re.compile(r"""[^ \t"]*"(?:[^"\\]|\\.)*(?:"|\\?$)|[^ \t"]+""", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class Word(NamedTuple):
    """A word as the loader sees it, and where it stands in the line."""

    text: str
    start: int
    end: int
    quoted: bool


@dataclass(slots=True)
class Words:
    """The words of one line in three lists of one length; `quoted` holds the indices of words with quotes,
    `open_quote` where a quote begins that never ends."""

    texts: list[str]
    starts: list[int]
    ends: list[int]
    quoted: frozenset[int] | set[int] = frozenset()
    open_quote: int | None = None

    def __iter__(self) -> Iterator[Word]:
        for index, text in enumerate(self.texts):
            yield Word(text, self.starts[index], self.ends[index], index in self.quoted)


def split(line: str) -> Words:
    """The words of a line without its line ending. Never fails."""
    if '"' in line or "  " in line or "\t" in line or not line or line[0] == " " or line[-1] == " ":
        return _split_quoted(line)
    texts = line.split(" ")
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    for text in texts:
        starts.append(at)
        at += len(text)
        ends.append(at)
        at += 1
    return Words(texts, starts, ends)


def _split_quoted(line: str) -> Words:
    found = Words([], [], [], set())
    texts, starts, ends = found.texts, found.starts, found.ends
    for word in _WORD.finditer(line):
        raw = word.group()
        start, end = word.span()
        starts.append(start)
        ends.append(end)
        texts.append(raw if '"' not in raw else _unquoted(raw, start, found))
    return found


def _unquoted(raw: str, start: int, words: Words) -> str:
    quote = raw.index('"')
    assert isinstance(words.quoted, set)
    words.quoted.add(len(words.texts))
    closed = len(raw) > quote + 1 and raw[-1] == '"' and not (raw[-2] == "\\" and _ends_escaped(raw, quote))
    if not closed:
        words.open_quote = start + quote
    inner = raw[quote + 1 : -1] if closed else raw[quote + 1 :]
    return raw[:quote] + (_ESCAPED.sub(r"\1", inner) if "\\" in inner else inner)


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
