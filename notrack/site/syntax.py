"""The syntax tree of a site: what was written, with its places, before any name is looked up."""

from __future__ import annotations

from notrack.text.record import dataclass
from notrack.text.source import Source, Span


@dataclass(frozen=True, slots=True)
class Atom:
    """One token. `type` is the terminal of the grammar, `JUNK` when the text fits none."""

    type: str
    text: str
    source: Source
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    @property
    def span(self) -> Span:
        return Span(self.source, self.start, self.end)

    @property
    def value(self) -> str:
        """The text without the quotes of a string."""
        return self.text[1:-1] if self.type == "STRING" else self.text


@dataclass(frozen=True, slots=True)
class Addresses:
    """`a, b except c`."""

    items: tuple[Atom, ...]
    excepted: tuple[Atom, ...] = ()

    @property
    def span(self) -> Span:
        return joined(self.items[0], (self.excepted or self.items)[-1])


@dataclass(frozen=True, slots=True)
class Part:
    """A protocol with its ports: `tcp 80, 443`, `udp`, or `proto gre, esp` (`word` is then `proto`)."""

    word: Atom
    items: tuple[Atom, ...] = ()

    @property
    def span(self) -> Span:
        return joined(self.word, self.items[-1] if self.items else self.word)


@dataclass(frozen=True, slots=True)
class Clause:
    """A clause: its word, what follows it, and its last token."""

    word: Atom
    last: Atom
    addresses: Addresses | None = None
    atoms: tuple[Atom, ...] = ()  # names of interfaces, a helper, flags, a rate, a number
    port: Atom | None = None  # the word `port` inside `from`, `to`
    ports: tuple[Atom, ...] = ()
    per: Atom | None = None  # the word behind `per`

    @property
    def span(self) -> Span:
        return joined(self.word, self.last)


@dataclass(frozen=True, slots=True)
class Statement:
    """One declaration as written. What is not part of its keyword's form stays empty."""

    keyword: Atom
    last: Atom
    name: Atom | None = None
    atoms: tuple[Atom, ...] = ()  # devices, ICMP types, words of a setting, the path of an include
    addresses: Addresses | None = None  # network
    ports: tuple[Atom, ...] = ()  # ports
    parts: tuple[Part, ...] = ()  # flows; of an expectation the one packet
    clauses: tuple[Clause, ...] = ()
    tracking: Atom | None = None  # of an expectation

    @property
    def span(self) -> Span:
        return joined(self.keyword, self.last)

    @property
    def head(self) -> Span:
        """Keyword and name: the place that stands for the whole declaration."""
        return joined(self.keyword, self.name or self.keyword)


@dataclass(frozen=True, slots=True)
class Broken:
    """A declaration that could not be read. Its name is known all the same: it is declared, somehow."""

    keyword: Atom
    name: Atom | None
    tokens: tuple[Atom, ...]


def joined(first: Atom, last: Atom) -> Span:
    """From the start of one token to the end of another."""
    return Span(first.source, first.start, max(last.end, first.end))
