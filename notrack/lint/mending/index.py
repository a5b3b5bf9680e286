"""Finds where a rule of the core is written."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from notrack.lint.mending.arguments import Flavour
from notrack.lint.mending.nft_body import NftBody
from notrack.lint.mending.shell_places import ShellPlace, enclosing
from notrack.lint.mending.written import NftRule, RestoreRule, ShellCommand, Written
from notrack.lint.mending.xtables_body import XtablesBody
from notrack.packets.address import Family
from notrack.ruleset.core import Origin, Rule
from notrack.ruleset.formats import Document
from notrack.ruleset.nft import tree as nft
from notrack.ruleset.shell.actions import NftText, RestoreText, Script, XtablesCommand
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
    match document.tree:
        case xtables.Ruleset() as tree:
            families = document.families
            yield from _restore(document, tree, families[0] if len(families) == 1 else None)
        case nft.Ruleset() as root:
            yield from _nft(document, root, root.commands, None)
        case Script() as script:
            yield from _script(document, script)


def _restore(
    document: Document, tree: xtables.Ruleset, family: Family | None
) -> Iterator[tuple[Span, Written]]:
    for table, rule in tree.rules():
        if rule.span is not None:
            own = rule.family or family
            body = XtablesBody(rule.span.text, Flavour.RESTORE, own)
            name = rule.table or table.name
            yield rule.span, RestoreRule(document, rule.span, body, name, rule.chain, own, rule, table)


def _nft(
    document: Document, root: nft.Ruleset, items: tuple[nft.Node, ...], table: nft.Table | None
) -> Iterator[tuple[Span, Written]]:
    for item in items:
        match item:
            case nft.Include(items=inner):
                yield from _nft(document, root, inner, table)
            case nft.Table() as found:
                yield from _nft(document, root, found.items, found)
            case nft.Declare(item=nft.Chain() as chain):
                yield from _chain(document, root, f"{item.family or 'ip'} {item.table}", chain)
            case nft.Declare(item=nft.Table() as found):
                yield from _nft(document, root, found.items, found)
            case nft.Chain() as chain if table is not None:
                yield from _chain(document, root, f"{table.family} {table.name}", chain)
            case nft.Place(rule=rule) if rule.span is not None:
                name = f"{item.family or 'ip'} {item.table}"
                body = NftBody(rule.span.text)
                yield (
                    rule.span,
                    NftRule(document, rule.span, body, name, item.chain, None, None, root, None, item),
                )


def _chain(
    document: Document, root: nft.Ruleset, table: str, chain: nft.Chain
) -> Iterator[tuple[Span, Written]]:
    for rule in chain.rules:
        if rule.span is not None:
            body = NftBody(rule.span.text)
            yield rule.span, NftRule(document, rule.span, body, table, chain.name, None, None, root, chain)


def _script(document: Document, script: Script) -> Iterator[tuple[Span, Written]]:
    for action in script.actions:
        match action:
            case XtablesCommand(line=xtables.Rule(span=Span() as span) as rule):
                place = enclosing(document.source, spoken(span))
                if place is not None:
                    yield span, _command(document, action, rule, place)
            case RestoreText(ruleset=xtables.Ruleset() as tree):
                yield from _restore(document, tree, action.family)
            case NftText(ruleset=nft.Ruleset() as root):
                yield from _nft(document, root, root.commands, None)


def _command(
    document: Document, action: XtablesCommand, rule: xtables.Rule, place: ShellPlace
) -> ShellCommand:
    span = place.command.span
    body = XtablesBody(span.text, Flavour.SHELL, action.family)
    table = rule.table or action.table
    return ShellCommand(
        document,
        span,
        body,
        table,
        rule.chain,
        action.family,
        rule,
        place.command,
        place.within,
        place.alone,
        place.only,
        place.top and action.certain,
    )
