"""The rules of nft text, with their places."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.mending.nft_body import NftBody
from notrack.lint.mending.written import NftRule, Written
from notrack.ruleset.formats import Document
from notrack.ruleset.nft import tree as nft
from notrack.text.source import Span


def nft_rules(document: Document, root: nft.Ruleset) -> Iterator[tuple[Span, Written]]:
    """Every rule of a text, in chains and behind commands."""
    yield from _nft(document, root, root.commands, None)


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
