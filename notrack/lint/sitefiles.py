"""Site files as the linter sees them: where their declarations stand in the documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from notrack.lint.finding import Fault
from notrack.lint.subject import Subject
from notrack.packets.address import AddressSet
from notrack.ruleset.recognition import Format
from notrack.text.diagnostic import Related
from notrack.text.source import Span

if TYPE_CHECKING:
    from notrack.site.model import Site


def placed(subject: Subject, span: Span) -> Span | None:
    """A place of a site as one of the documents; None where its file is not among them (an include)."""
    for document in subject.documents:
        if document.source.name == span.source.name and document.source.text == span.source.text:
            return document.source.span(span.start, span.end)
    return None


def head(subject: Subject, site: Site) -> Span | None:
    """The `site` line, or the beginning of the file."""
    for document in subject.documents:
        if document.format is Format.SITE:
            line = rf"^[ \t]*(site[ \t]+{re.escape(site.name)})(?![\w-])"
            found = re.search(line, document.source.text, re.MULTILINE)
            if found is not None:
                return document.source.span(found.start(1), found.end(1))
    for one in site.declarations:
        place = placed(subject, one.origin.span)
        if place is not None:
            return place
    return None


def own_addresses(site: Site) -> AddressSet:
    """The addresses that the interfaces declare."""
    found = AddressSet()
    for interface in site.interfaces:
        found = found | interface.addresses
    return found


def remarks(subject: Subject, code: str) -> Iterator[Fault]:
    """What the language warned about under a code."""
    for one in subject.remarks:
        span = placed(subject, one.span) if one.code == code and one.span is not None else None
        if span is not None:
            related = tuple(
                Related(place, other.message)
                for other in one.related
                if (place := placed(subject, other.span)) is not None
            )
            yield Fault(span, one.message, one.help or "say what was meant", related)
