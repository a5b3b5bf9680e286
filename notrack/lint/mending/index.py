"""Finds where a rule of the core is written."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from notrack.lint.mending.written import Written
from notrack.ruleset.core import Origin, Rule
from notrack.ruleset.formats import Document
from notrack.ruleset.recognition import Format
from notrack.ruleset.shell.derived import spoken
from notrack.ruleset.xtables import tree as xtables
from notrack.text.source import Span


def find(documents: tuple[Document, ...], what: Rule | Origin | Span) -> Written | None:
    """The rule of the core, or the rule at the very place of an origin, as it is written.

    None where it has no place, or where it does not stand there as such: it comes from a file that is not
    among the documents, from a variable, or could not be read.
    """
    span = what.origin.span if isinstance(what, Rule) else what.span if isinstance(what, Origin) else what
    if span is None:
        return None
    for document in documents:
        found = _index(_Same(document)).get((span.source.name, span.start, span.end))
        if found is not None and found.document.source.text == span.source.text:
            return found
    return None


def all_written(document: Document) -> tuple[Written, ...]:
    """Every rule of a document that can be changed where it stands, in the order of the text."""
    found = _index(_Same(document)).items()
    return tuple(written for _, written in sorted(found, key=lambda item: item[0][1:]))


_Place = tuple[str, int, int]


class _Same:
    """A document that equals itself alone, so that large trees need not be compared."""

    __slots__ = ("document",)

    def __init__(self, document: Document) -> None:
        self.document = document

    def __hash__(self) -> int:
        return id(self.document)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.document is self.document


@lru_cache(maxsize=16)
def _index(same: _Same) -> dict[_Place, Written]:
    document = same.document
    found: dict[_Place, Written] = {}
    for span, written in _all(document):
        place = spoken(span)
        if place.source.text == document.source.text:
            found.setdefault((place.source.name, place.start, place.end), written)
    return found


def _all(document: Document) -> Iterator[tuple[Span, Written]]:
    """Each with its place. What reads a kind of text is imported only when there is such a text."""
    if isinstance(document.tree, xtables.Ruleset):
        from notrack.lint.mending.xtables_index import restore_rules

        families = document.families
        yield from restore_rules(document, document.tree, families[0] if len(families) == 1 else None)
    elif document.format is Format.SHELL:
        from notrack.lint.mending.shell_index import script_rules
        from notrack.ruleset.shell.actions import Script

        if isinstance(document.tree, Script):
            yield from script_rules(document, document.tree)
    elif document.format in (Format.NFT, Format.NFT_JSON):
        from notrack.lint.mending.nft_index import nft_rules
        from notrack.ruleset.nft import tree as nft

        if isinstance(document.tree, nft.Ruleset):
            yield from nft_rules(document, document.tree)
