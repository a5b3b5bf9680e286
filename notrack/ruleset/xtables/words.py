"""How iptables-restore cuts a line into words: blanks, double quotes, backslashes inside the quotes."""

from __future__ import annotations

import re

from notrack.text.record import dataclass

# The loader ends a word at a closing quote too, so `"a"b` are two words and `a"b c"` is one. A single
# quote is an ordinary character. An unfinished quote runs to the end of the line.
_WORD = re.compile(r"""[^ \t"]*"(?:[^"\\]|\\.)*(?:"|\\?$)|[^ \t"]+""", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(slots=True)
class Words:
    """The words of one line; `quoted` holds the indices of those that begin with a quote, `open_quote`
    says that the last quote never ends."""

    texts: list[str]
    quoted: frozenset[int] = frozenset()
    open_quote: bool = False


def split(line: str) -> Words:
    """The words of a line without its line ending. Never fails."""
    if '"' not in line:
        return Words([word for word in line.replace("\t", " ").split(" ") if word])
    texts = _WORD.findall(line)
    quoted = [index for index, raw in enumerate(texts) if '"' in raw]
    begun = [index for index in quoted if texts[index][0] == '"']
    open_quote = False
    for index in quoted:
        raw = texts[index]
        open_quote = not _closed(raw)
        texts[index] = _unquoted(raw, open_quote)
    return Words(texts, frozenset(begun), open_quote)


def places(line: str) -> list[tuple[int, int]]:
    """Where each word of a line stands, in the order of `split`."""
    return [found.span() for found in _WORD.finditer(line)]


def _unquoted(raw: str, open_quote: bool) -> str:
    quote = raw.index('"')
    inner = raw[quote + 1 :] if open_quote else raw[quote + 1 : -1]
    return raw[:quote] + (_ESCAPED.sub(r"\1", inner) if "\\" in inner else inner)


def _closed(raw: str) -> bool:
    """Whether the quote in a raw word ends: with a quote that no backslash takes away."""
    quote = raw.index('"')
    if len(raw) < quote + 2 or raw[-1] != '"':
        return False
    inner = raw[quote + 1 : -1]
    return (len(inner) - len(inner.rstrip("\\"))) % 2 == 0


_BARE = re.compile(r"""[^\s"]+""")
_PLAIN = re.compile(r"[\w-]+", re.ASCII)
_SPECIAL = re.compile(r"""(["\\'])""")


def bare(word: str) -> str:
    """A word as iptables-save prints most values: quoted only where it would fall apart otherwise."""
    return word if _BARE.fullmatch(word) and word != "!" else quoted(word)


def named(word: str) -> str:
    """The name of an option: what needs quotes gets them after the dash, so that it is no value."""
    return word if _BARE.fullmatch(word) else word[:1] + quoted(word[1:])


def guarded(word: str) -> str:
    """A word that must not be taken for an option: quoted too if it begins like one."""
    return quoted(word) if word.startswith("-") else bare(word)


def prose(word: str) -> str:
    """A word as iptables-save prints comments and prefixes: quoted unless it is letters, digits, - and _."""
    return word if _PLAIN.fullmatch(word) else quoted(word)


def quoted(word: str) -> str:
    """A word in double quotes, with quotes and backslashes escaped. A line break cannot be kept: it becomes
    a blank, because the loader reads line by line."""
    return '"' + _SPECIAL.sub(r"\\\1", word.replace("\n", " ")) + '"'
