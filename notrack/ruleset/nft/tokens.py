"""nft text as tokens, by the rules of nft's own scanner.

A word may hold letters, digits and `_ / . -`, so `a-b` is one word but `80-90` are three tokens. Comments
are kept aside; one on a line of its own is a token too (a remark), for it belongs to the tree. `# xt_NAME`
is how an nft without xtables support lists an extension in a rule of iptables-nft: a token as well. An nft
that lacks the module of an extension warns in the middle of the rule, which goes on in the next line.
"""

from __future__ import annotations

import re
import socket
from typing import NamedTuple

from notrack.text.record import dataclass
from notrack.text.source import Source

WORD, QUOTED, NUMBER, ADDRESS, REMARK, XT, NEWLINE, BAD, END = (
    "word",
    "quoted",
    "number",
    "address",
    "remark",
    "xt",
    "newline",
    "bad",
    "end",
)


class Token(NamedTuple):
    """`kind` is one of the constants above, or for a symbol the symbol itself."""

    kind: str
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a source, END the last; comments as (start, end); `trailing` finds by the number of the
    token that follows it the comment that shares its line."""

    source: Source
    tokens: tuple[Token, ...]
    comments: tuple[tuple[int, int], ...]
    trailing: dict[int, str]


_REST = r"""
    (?P<space>[ \t\r\f\v]+|\\[ \t\r]*\n|\#[ ]Warning:[ ]XT[ ](?:match|target|watcher)[ ]\S+[ ]not[ ]found\n)
  | (?P<newline>\n)
  | (?P<xt>\#[ ]xt_(?P<extension>[A-Za-z0-9_]+))
  | (?P<comment>\#[^\n]*)
  | (?P<quoted>"[^"\n]*")
  | (?P<time>(?:8021(?:q|ad)|(?:\d+(?:ms|[dhms]))+)(?![A-Za-z0-9_]))
  | (?P<handle>[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}(?=[\s:},;\-]|\Z))
  | (?P<number>0[xX][0-9a-fA-F]+|\d+)
  | (?P<word>[A-Za-z_][A-Za-z0-9_/.\-]*(?:\\?\*)?|\\\*)
  | (?P<symbol><<|>>|==|!=|<=|>=|&&|\|\||[{}()\[\],.:;=<>&|^!@$/*+\-])
  | (?P<bad>"[^\n]*|.)
"""
_PLAIN = re.compile(_REST, re.VERBOSE | re.ASCII)
_ADDRESS = re.compile(
    r"""(?P<four>\d{1,3}(?:\.\d{1,3}){3}(?![\w]))
      | (?P<mac>(?:[0-9A-Fa-f]{1,2}:){5,19}[0-9A-Fa-f]{1,2}(?![\w:]))
      | (?P<six>(?:[0-9A-Fa-f]{0,4}:){2,8}(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{1,4}(?!\w))?)
    """,
    re.VERBOSE | re.ASCII,
)
_ADDRESS_START = frozenset("0123456789abcdefABCDEF:")


def tokenize(source: Source) -> Tokens:
    """Every character of the source lands in a token or between two; nothing raises."""
    text, position, size = source.text, 0, len(source.text)
    tokens: list[Token] = []
    comments: list[tuple[int, int]] = []
    trailing: dict[int, str] = {}
    while position < size:
        end = _address_end(text, position) if text[position] in _ADDRESS_START else None
        if end is not None:
            tokens.append(Token(ADDRESS, text[position:end], position, end))
            position = end
            continue
        found = _PLAIN.match(text, position)
        assert found is not None  # the last alternative takes any character
        kind, start, position = str(found.lastgroup), position, found.end()
        if kind == "space":
            continue
        if kind == "comment":
            comments.append((start, position))
            if not tokens or tokens[-1].kind in (NEWLINE, REMARK):
                tokens.append(Token(REMARK, found.group(), start, position))
            else:
                trailing[len(tokens)] = found.group()
            continue
        tokens.append(_token(kind, found, start))
    tokens.append(Token(END, "", size, size))
    return Tokens(source, tuple(tokens), tuple(comments), trailing)


def _token(kind: str, found: re.Match[str], start: int) -> Token:
    text = found.group()
    if kind == "symbol":
        kind = text
    elif kind in ("time", "handle"):  # 1h30m, 8021q; bcad:dadc, as traffic control writes its classes
        kind = WORD
    elif kind == "extension" or kind == "xt":
        kind, text = XT, found.group("extension")
    return Token(kind, text, start, found.end())


def _address_end(text: str, position: int) -> int | None:
    found = _ADDRESS.match(text, position)
    if found is None:
        return None
    if found.lastgroup != "six":
        return found.end()
    candidate = found.group()
    for shorter in (candidate, candidate[:-1]):  # `::1:` before the data of a map
        if shorter.count(":") > 1 and _is_ipv6(shorter):
            return position + len(shorter)
    return None


def _is_ipv6(text: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6, text)
    except OSError:
        return False
    return True
