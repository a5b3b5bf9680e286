"""The rules that a script puts in, with their places: in its commands, and in texts that it makes."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.mending.arguments import Flavour
from notrack.lint.mending.nft_index import nft_rules
from notrack.lint.mending.shell_places import ShellPlace, enclosing
from notrack.lint.mending.written import ShellCommand, Written
from notrack.lint.mending.xtables_body import XtablesBody
from notrack.lint.mending.xtables_index import restore_rules
from notrack.ruleset.formats import Document
from notrack.ruleset.nft import tree as nft
from notrack.ruleset.shell.actions import NftText, RestoreText, Script, XtablesCommand
from notrack.ruleset.shell.derived import spoken
from notrack.ruleset.xtables import tree as xtables
from notrack.text.source import Span


def script_rules(document: Document, script: Script) -> Iterator[tuple[Span, Written]]:
    for action in script.actions:
        match action:
            case XtablesCommand(line=xtables.Rule(span=Span() as span) as rule):
                place = enclosing(document.source, spoken(span))
                if place is not None:
                    yield span, _command(document, action, rule, place)
            case RestoreText(ruleset=xtables.Ruleset() as tree):
                yield from restore_rules(document, tree, action.family)
            case NftText(ruleset=nft.Ruleset() as root):
                yield from nft_rules(document, root)


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
