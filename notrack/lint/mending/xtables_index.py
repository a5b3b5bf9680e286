"""The rules of texts for iptables-restore, with their places."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.mending.arguments import Flavour
from notrack.lint.mending.written import RestoreRule, Written
from notrack.lint.mending.xtables_body import XtablesBody
from notrack.packets.address import Family
from notrack.ruleset.formats import Document
from notrack.ruleset.xtables import tree as xtables
from notrack.text.source import Span


def restore_rules(
    document: Document, tree: xtables.Ruleset, family: Family | None
) -> Iterator[tuple[Span, Written]]:
    for table, rule in tree.rules():
        if rule.span is not None:
            own = rule.family or family
            body = XtablesBody(rule.span.text, Flavour.RESTORE, own)
            name = rule.table or table.name
            yield rule.span, RestoreRule(document, rule.span, body, name, rule.chain, own, rule, table)
