"""Words of an iptables rule that belong to no option, and what was probably meant."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Sequence

from notrack.lint.finding import Edit
from notrack.lint.mending.arguments import Argument, lenient, scope
from notrack.packets.address import Family
from notrack.ruleset.xtables.catalogue import IMPLIED, VERDICTS, target_named
from notrack.ruleset.xtables.rule_reader import LineReader
from notrack.ruleset.xtables.tree import Place
from notrack.ruleset.xtables.words import Words
from notrack.text.record import dataclass
from notrack.text.source import Source, Span

_PROSE = ("--comment", "--log-prefix", "--nflog-prefix", "--ulog-prefix")
_ADDRESS = re.compile(r"[0-9a-fxX]{1,3}(?:\.[0-9a-zA-Z]+){3}(?:[/-].*)?|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+(?:/\d+)?")
_PORT = re.compile(r"\d{1,5}(?:[:,-]\d{1,5})*")
_STATES = re.compile(r"(?:NEW|ESTABLISHED|RELATED|INVALID|UNTRACKED)(?:,[A-Z]+)*")
_DEVICE = re.compile(r"lo|[a-z]+\d+(?:[.:]\d+)?|[a-z]+\d*\+")
_GLUED = re.compile(r"(.+)(-j|--jump|-g|--goto)", re.DOTALL)


class Meant(enum.Enum):
    """What a word without an option is."""

    LIST = "a list with a blank in it"
    PROSE = "text without quotes"
    GLUED = "an option that a blank is missing before"
    TARGET = "a target"
    PROTOCOL = "a protocol"
    ADDRESS = "an address"
    PORT = "a port"
    STATES = "states of a connection"
    DEVICE = "an interface"
    OTHER = "something else"


@dataclass(frozen=True, slots=True)
class Stray:
    """The first such word of a rule. `option` is what should stand before it, `edits` what makes it right,
    where that is certain."""

    place: Span
    word: str
    meant: Meant
    option: str | None = None
    edits: tuple[Edit, ...] = ()


def stray(source: Source, words: Sequence[Argument], family: Family | None) -> Stray | None:
    """Of the words of one rule the first without an option; None where there is none, or where a variable may
    hold its option. The places of the words are those in the source.
    """
    reader = _read(words, family)
    comment = next((at for at, word in enumerate(words) if word.value.startswith("#")), len(words))
    found = [at for at in reader.found if at < comment]
    if not found or any("$" in words[at].value or "`" in words[at].value for at in found):
        return None
    first = found[0]
    place = source.span(words[first].start, words[first].end)
    meant, option, edits = _meaning(source, words, found, reader)
    return Stray(place, words[first].value, meant, option, tuple(edits))


class _Reader(LineReader):
    """Remembers the words that belong to no option."""

    __slots__ = ("found",)

    def __init__(self, words: Words, family: Family | None) -> None:
        self.found: list[int] = []
        super().__init__(words, scope(family), scope, lenient())

    def _stray(self, word: str, place: Place) -> None:
        self.found.append(place[0])


def _read(words: Sequence[Argument], family: Family | None) -> _Reader:
    """Reads the words; an unknown protocol is taken for the one under which most of them make sense."""
    readers: list[_Reader] = []
    for protocol in ("udp", "tcp"):
        texts = [
            protocol
            if at and words[at - 1].value in ("-p", "--protocol") and "$" in word.value
            else word.value
            for at, word in enumerate(words)
        ]
        readers.append(_Reader(Words(texts), family))
    return min(readers, key=lambda reader: len(reader.problems))


def _meaning(
    source: Source, words: Sequence[Argument], found: list[int], reader: _Reader
) -> tuple[Meant, str | None, list[Edit]]:
    first = found[0]
    word, before = words[first].value, words[first - 1] if first else None
    if before is not None and (before.value.endswith(",") or word.startswith(",")):
        return Meant.LIST, None, list(_joined(source, words, found))
    if before is not None and first > 1 and words[first - 2].value in _PROSE:
        return Meant.PROSE, words[first - 2].value, _quoted(source, words, found)
    if before is not None and before.plain and (glued := _GLUED.fullmatch(before.value)) is not None:
        at = before.start + len(glued[1])
        return Meant.GLUED, glued[2], [Edit(source.span(at, at), " ")]
    option, meant = _option(word, words, reader)
    certain = meant in (Meant.TARGET, Meant.PROTOCOL) and len(found) == 1
    start = words[first].start
    return meant, option, [Edit(source.span(start, start), f"{option} ")] if certain else []


def _joined(source: Source, words: Sequence[Argument], found: list[int]) -> Iterator[Edit]:
    """The blanks inside lists taken out."""
    for at in found:
        if words[at - 1].value.endswith(",") or words[at].value.startswith(","):
            yield Edit(source.span(words[at - 1].end, words[at].start), "")


def _quoted(source: Source, words: Sequence[Argument], found: list[int]) -> list[Edit]:
    """Quotes around a text and the words that follow it."""
    start, last = found[0] - 1, found[0]
    while last + 1 in found:
        last += 1
    if any(not word.plain or '"' in word.value for word in words[start : last + 1]):
        return []
    low, high = words[start].start, words[last].end
    single = int(words[start].value.startswith("'") and words[last].value.endswith("'"))
    return [Edit(source.span(low, low + single), '"'), Edit(source.span(high - single, high), '"')]


def _option(word: str, words: Sequence[Argument], reader: _Reader) -> tuple[str | None, Meant]:
    chain = reader.command[1][0] if reader.command and reader.command[1] else ""
    outward = chain in ("OUTPUT", "POSTROUTING")
    if (word in VERDICTS or target_named(word) is not None) and reader.target is None:
        return "-j", Meant.TARGET
    if word.lower() in IMPLIED and not word.isdigit() and all(one.name != "-p" for one in reader.base):
        return "-p", Meant.PROTOCOL
    if _ADDRESS.fullmatch(word):
        return "-d" if outward else "-s", Meant.ADDRESS
    if _STATES.fullmatch(word):
        return "-m conntrack --ctstate", Meant.STATES
    if _PORT.fullmatch(word):
        return "--dport", Meant.PORT
    if _DEVICE.fullmatch(word):
        return "-o" if outward else "-i", Meant.DEVICE
    return None, Meant.OTHER
