"""Text that a script makes, piece by piece, and the way back from it to the places in the script."""

from __future__ import annotations

import bisect
import dataclasses
import re
from collections.abc import Iterable
from dataclasses import field

from notrack.text.diagnostic import Diagnostic, Related
from notrack.text.record import dataclass
from notrack.text.source import Source, Span

_ODD = re.compile(r"\W+", re.ASCII)
_ARGUMENTS = ("$@", "${@}", "$*", "${*}")
_APART = 200  # characters between two words of one call, at most
LONGEST = 1 << 18  # characters of one value; what grows further is not known


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a value: what it says, where the command has it, and where it came from.

    `use` is the place in the command (`$PORT`), `origin` that of the text itself (the assignment), None
    where they are one. Of a piece that is not `known` the text is that of the script, and `choices` are the
    texts that it may have, if they can be counted. `splits`: it may stand for any number of words.
    """

    text: str
    use: Span = field(repr=False, compare=False)
    origin: Span | None = field(default=None, repr=False, compare=False)
    known: bool = True
    choices: tuple[str, ...] = ()
    splits: bool = False

    @property
    def shown(self) -> str:
        """The text; of an unknown piece a word that stands for it and is the same for the same text."""
        return self.text if self.known else "$" + (_ODD.sub("_", self.text).strip("_") or "unknown")

    @property
    def place(self) -> Span:
        return self.origin or self.use

    def part(self, start: int, end: int) -> Piece:
        """A stretch of this piece, with its own place if the script has the very text."""
        place = self.place
        if self.known and place.end - place.start == len(self.text):
            place = Span(place.source, place.start + start, place.start + end)
        text = self.text[start:end]
        if self.origin is None:
            return dataclasses.replace(self, text=text, use=place)
        return dataclasses.replace(self, text=text, origin=place)

    def used_at(self, use: Span) -> Piece:
        """The same text where another place of the script uses it."""
        return dataclasses.replace(self, use=use, origin=self.place)


Pieces = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One word of a command after expansion."""

    pieces: Pieces
    span: Span = field(repr=False, compare=False)

    @property
    def text(self) -> str:
        return "".join(piece.shown for piece in self.pieces)

    @property
    def known(self) -> bool:
        return all(piece.known for piece in self.pieces)

    @property
    def literal(self) -> str | None:
        """The text, if all of it is known."""
        return self.text if self.known else None

    @property
    def splits(self) -> bool:
        return any(piece.splits for piece in self.pieces)

    def part(self, start: int, end: int) -> Field:
        """A stretch of the field by offsets in its text."""
        made: list[Piece] = []
        offset = 0
        for piece in self.pieces:
            low, high = max(start - offset, 0), min(end - offset, len(piece.shown))
            if low < high:
                made.append(piece.part(low, high) if piece.known else piece)
            offset += len(piece.shown)
        return Field(tuple(made), self.span)

    @staticmethod
    def of(text: str, span: Span) -> Field:
        return Field((Piece(text, span),), span)


@dataclass(frozen=True, slots=True)
class Derived(Source):
    """A source that a script made: a line of arguments, the text of a here-document. `located` maps its
    places to those in the script."""

    pieces: Pieces = field(default=(), compare=False, repr=False)
    offsets: tuple[int, ...] = field(default=(), compare=False, repr=False)

    def between(self, start: int, end: int) -> list[tuple[int, Piece]]:
        """The pieces of a stretch, with the offset at which each begins; of an empty one that around it."""
        first = max(bisect.bisect_right(self.offsets, start) - 1, 0)
        last = bisect.bisect_left(self.offsets, max(end, start + 1))
        return list(zip(self.offsets[first:last], self.pieces[first:last], strict=True))

    def unknown_in(self, span: Span) -> list[Piece]:
        """The pieces of a stretch whose text is not known."""
        return [piece for _, piece in self.between(span.start, span.end) if not piece.known]


def derived(name: str, pieces: Iterable[Piece]) -> Derived:
    """The text of some pieces as a source."""
    kept = tuple(piece for piece in pieces if piece.shown)
    offsets: list[int] = []
    offset = 0
    for piece in kept:
        offsets.append(offset)
        offset += len(piece.shown)
    return Derived(name, "".join(piece.shown for piece in kept), pieces=kept, offsets=tuple(offsets))


def located(span: Span) -> Span:
    """Where a place of derived text is used in the script; any other place is itself.

    Exact where the script holds the very text; else the whole of what stands for it: `$PORT`, a quoted word.
    """
    while isinstance(span.source, Derived):
        span = _one(span.source, span, of_values=False)
    return span


def spoken(span: Span) -> Span:
    """Where a rule or a part of it stands in the script: like `located`, but what a function passes on as it
    was given (`"$@"`) stands in the call of that function.
    """
    pieces = _said(span)
    first = pieces[0].origin if pieces else None
    if first is None or isinstance(first.source, Derived):
        return located(span)
    if len(pieces) == 1:
        return value_place(span) or located(span)
    end = first.end
    for piece in pieces:
        here = piece.origin
        if here is not None and here.source is first.source and 0 <= here.start - end <= _APART:
            end = max(end, here.end)
    return Span(first.source, first.start, end)


def _said(span: Span) -> list[Piece]:
    """The pieces of a stretch, if all of them are arguments that are passed on."""
    if not isinstance(span.source, Derived):
        return []
    pieces = [piece for _, piece in span.source.between(span.start, span.end) if piece.text.strip(' "')]
    passed = all(piece.known and piece.use.text.strip('"') in _ARGUMENTS for piece in pieces)
    return pieces if passed else []


def value_place(span: Span) -> Span | None:
    """Where the text of a place was written, if not where it is used: in an assignment, a list of words."""
    if not isinstance(span.source, Derived):
        return None
    pieces = span.source.between(span.start, span.end)
    moved = [piece for _, piece in pieces if piece.origin is not None and piece.known and piece.text.strip()]
    if len(moved) != 1:
        return None
    place = _one(span.source, span, of_values=True)
    return located(place)


def relocated(diagnostic: Diagnostic) -> Diagnostic:
    """A diagnostic about derived text as one about the script, with the assignment beside it."""
    if diagnostic.span is None or not isinstance(diagnostic.span.source, Derived):
        return diagnostic
    related = tuple(dataclasses.replace(other, span=located(other.span)) for other in diagnostic.related)
    value = value_place(diagnostic.span)
    if value is not None and value != spoken(diagnostic.span):
        related += (Related(value, "the value comes from here"),)
    return dataclasses.replace(diagnostic, span=spoken(diagnostic.span), related=related)


def _one(source: Derived, span: Span, of_values: bool) -> Span:
    pieces = source.between(span.start, span.end)
    if not pieces:
        return Span(Source(source.name, source.text), span.start, span.end)
    places = [_place(offset, piece, span, of_values) for offset, piece in pieces]
    if of_values:
        places = [place for place, (_, piece) in zip(places, pieces, strict=True) if piece.origin is not None]
    first = places[0]
    same = [place for place in places if place.source is first.source]
    return Span(first.source, min(place.start for place in same), max(place.end for place in same))


def _place(offset: int, piece: Piece, span: Span, of_values: bool) -> Span:
    place = piece.place if of_values else piece.use
    if (piece.origin is not None and not of_values) or place.end - place.start != len(piece.shown):
        return place
    low = min(max(span.start - offset, 0), len(piece.shown))
    high = min(max(span.end - offset, low), len(piece.shown))
    return Span(place.source, place.start + low, place.start + high)
