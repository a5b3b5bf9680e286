"""Characters of a word processor in the texts of a host, as faults."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.finding import Fault, Fix
from notrack.lint.fixes import edited
from notrack.lint.mending.shell_places import ShellPlace, shell_places
from notrack.lint.mending.written import in_file
from notrack.lint.script import command_span
from notrack.lint.typography import ODD, Slip, command_slips, is_tool, nft_slips, restore_slips
from notrack.ruleset.formats import Document
from notrack.ruleset.recognition import Format
from notrack.ruleset.shell.actions import NftText, RestoreText, Script, XtablesCommand
from notrack.ruleset.shell.derived import located
from notrack.text.source import Span


def faults(document: Document) -> Iterator[Fault]:
    """Those of one document."""
    if ODD.search(document.source.text) is not None:
        for slip in _slips(document):
            yield _fault(slip)


def _slips(document: Document) -> Iterator[Slip]:
    if document.format is Format.XTABLES:
        yield from restore_slips(document.source)
    elif document.format is Format.NFT:
        yield from nft_slips(document.source)
    elif document.format is Format.XTABLES_CONFIG:  # the init script sources it
        for place in shell_places(document.source):
            yield from command_slips(place.command)
    elif isinstance(document.tree, Script):
        yield from _script_slips(document, document.tree)


def _script_slips(document: Document, script: Script) -> Iterator[Slip]:
    acting = [
        command_span(script, action) if isinstance(action, XtablesCommand) else located(action.span)
        for action in script.actions
    ]
    for place in shell_places(document.source):
        if ODD.search(place.command.span.text) and (_is_firewall(place) or _acts(place, acting)):
            yield from command_slips(place.command)
    for action in script.actions:
        if isinstance(action, RestoreText) and action.text is not None:
            yield from restore_slips(action.text)
        elif isinstance(action, NftText) and action.text is not None and "\n" in action.text.text:
            yield from nft_slips(action.text)


def _is_firewall(place: ShellPlace) -> bool:
    """Whether a command names a tool among its first words, or sets a variable."""
    if place.command.assignments and not place.command.words:
        return True
    return any(is_tool(word.literal or "") for word in place.command.words[:3])


def _acts(place: ShellPlace, acting: list[Span]) -> bool:
    own = place.command.span
    return any(
        span.source.name == own.source.name and own.start <= span.start and span.end <= own.end
        for span in acting
    )


def _fault(slip: Slip) -> Fault:
    edits = in_file(slip.edits) if slip.edits else None
    place = located(slip.place)
    word = place.text.strip()[:40]
    message = f"`{word}` has a typographic {slip.kind}, which is a letter like any other to the command"
    if not slip.edits:
        return Fault(place, message, 'write plain quotes, `"`, before and behind what belongs together')
    line = slip.place.source.line(slip.place.line)
    start = slip.place.start - slip.place.column + 1
    inside = [edit for edit in slip.edits if start <= edit.span.start and edit.span.end <= start + len(line)]
    whole = edited(slip.place.source.text, inside)
    shown = whole[start:].partition("\n")[0].strip()
    fix = Fix("write it with plain characters", edits) if edits else None
    return Fault(place, message, f"write: {shown}", fix=fix)
