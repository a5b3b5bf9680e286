"""Rules where they are written: from a place of the core back to the text that can be changed."""

from __future__ import annotations

import re
from dataclasses import field
from typing import TYPE_CHECKING

from notrack.lint.finding import Edit
from notrack.lint.mending.body import Body
from notrack.packets.address import Family
from notrack.ruleset.formats import Document
from notrack.ruleset.shell.derived import Derived, Piece, located
from notrack.ruleset.xtables import tree as xtables
from notrack.text.record import dataclass
from notrack.text.source import Source, Span

if TYPE_CHECKING:
    from notrack.ruleset.nft import tree as nft
    from notrack.ruleset.shell.tree import AndOr, Simple

Edits = tuple[Edit, ...]
_PLAIN = re.compile(r"[\w .,:/@=!{}-]*", re.ASCII)  # what a word may hold without quotes


@dataclass(frozen=True, slots=True)
class Written:
    """A rule in its text. `span` is the place of `body.text`, in the document or in text that its script
    makes (`source`); `table` and `chain` are named as the text names them (nft: `inet filter`). `rule` is
    the node of a rule of iptables as the reader gave it.
    """

    document: Document = field(repr=False)
    span: Span = field(repr=False)
    body: Body
    table: str
    chain: str
    family: Family | None = None
    rule: xtables.Rule | None = field(default=None, repr=False)

    @property
    def source(self) -> Source:
        return self.span.source


@dataclass(frozen=True, slots=True)
class RestoreRule(Written):
    """A line of a text for iptables-restore; `section` is the table it stands in."""

    section: xtables.Table = field(default_factory=lambda: xtables.Table(""), repr=False)

    @property
    def counted(self) -> bool:
        """Whether `[packets:bytes]` stands before it."""
        text = self.source.text
        start = text.rfind("\n", 0, self.span.start) + 1
        return text[start : self.span.start].lstrip().startswith("[")

    @property
    def inserts(self) -> bool:
        return self.rule is not None and self.rule.command == "-I"


@dataclass(frozen=True, slots=True)
class NftRule(Written):
    """A rule between the braces of a chain (`block`), or behind `add rule` (`place`)."""

    root: nft.Ruleset | None = field(default=None, repr=False)
    block: nft.Chain | None = field(default=None, repr=False)
    place: nft.Place | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ShellCommand(Written):
    """A command of a script. `within` is what it is part of; `alone`: nothing else hangs on its success;
    `only`: it is all that stands between two words of the shell; `always`: it runs once, for certain."""

    command: Simple | None = field(default=None, repr=False)
    within: AndOr | None = field(default=None, repr=False)
    alone: bool = False
    only: bool = False
    always: bool = False

    @property
    def inserts(self) -> bool:
        return self.rule is not None and self.rule.command == "-I"


def in_file(edits: Edits) -> Edits | None:
    """Edits of text that a script makes as edits of the script; others as they are. None where the script
    does not hold the very text, or would take the new one for more than text: there is more of that in the
    words of a command than in a here-document.
    """
    made: list[Edit] = []
    for edit in edits:
        source = edit.span.source
        if not isinstance(source, Derived):
            made.append(edit)
            continue
        gone = not edit.text and edit.span.end > edit.span.start
        place = _around(source, edit.span) if gone else _literal(source, edit.span)
        if place is None or any(char in edit.text for char in "$`\\"):
            return None
        if in_words(place) and _PLAIN.fullmatch(edit.text) is None:
            return None
        made.append(Edit(place, edit.text))
    return tuple(made)


def in_words(place: Span) -> bool:
    """Whether a place of a script is in a word of a command, and not in a here-document."""
    from notrack.lint.mending.shell_places import shell_places

    return any(
        word.span.start <= place.start and place.end <= word.span.end
        for one in shell_places(place.source)
        for word in one.command.words
    )


def _literal(source: Derived, span: Span) -> Span | None:
    """The same text in the script, if it stands there as it is."""
    pieces = [piece for _, piece in source.between(span.start, span.end)]
    if not pieces or not all(map(_exact, pieces)):
        return None
    place = located(span)
    return None if isinstance(place.source, Derived) or place.text != span.text else place


def _around(source: Derived, span: Span) -> Span | None:
    """The stretch of the script from the place of the first character to that of the last, whatever the
    script makes of what is between."""
    ends = (_literal(source, source.span(at, at + 1)) for at in (span.start, span.end - 1))
    first, last = ends
    if first is None or last is None or first.source is not last.source or first.start > last.start:
        return None
    return first.source.span(first.start, last.end)


def _exact(piece: Piece) -> bool:
    return piece.known and piece.origin is None and piece.use.text == piece.text
