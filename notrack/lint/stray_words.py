"""Words of rules that belong to no option, as faults."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from notrack.lint.finding import Edit, Fault, Fix
from notrack.lint.mending.arguments import Flavour, words_of
from notrack.lint.mending.shell_places import shell_places
from notrack.lint.mending.written import in_file
from notrack.lint.script import command_span
from notrack.lint.strays import Meant, Stray, stray
from notrack.lint.typography import mended
from notrack.packets.address import Family
from notrack.ruleset.formats import Document
from notrack.ruleset.shell.actions import RestoreText, Script, XtablesCommand
from notrack.ruleset.shell.derived import located
from notrack.ruleset.xtables import tree as x
from notrack.text.source import Source, Span

_MISSPELT = re.compile(r"(?:\S*/)?ip6?table(?!s)")  # the shell knows no such command: nobody read its words


def faults(document: Document) -> Iterator[Fault]:
    """Those of one document."""
    if isinstance(document.tree, x.Ruleset):
        family = document.families[0] if len(document.families) == 1 else None
        yield from _restore(document.tree, family)
    elif isinstance(document.tree, Script):
        yield from _script(document, document.tree)


def _restore(tree: x.Ruleset, family: Family | None) -> Iterator[Fault]:
    for line in _broken(tree):
        if line.span is not None and line.text.lstrip("[0123456789:] ").startswith(("-", "\u2013", "\u2014")):
            yield from _fault(line.span, Flavour.RESTORE, family)


def _broken(tree: x.Ruleset) -> Iterator[x.Broken]:
    for section in tree.sections:
        lines: Sequence[object] = section.lines if isinstance(section, x.Table) else (section,)
        yield from (line for line in lines if isinstance(line, x.Broken))


def _script(document: Document, script: Script) -> Iterator[Fault]:
    refused = [
        (command_span(script, action), action.family)
        for action in script.actions
        if isinstance(action, XtablesCommand) and isinstance(action.line, x.Broken)
    ]
    for place in shell_places(document.source):
        own = place.command.span
        names = [word.literal or "" for word in place.command.words[:2]]
        families = [
            family
            for span, family in refused
            if span.source.name == own.source.name and own.start <= span.start and span.end <= own.end
        ]
        if families or any(map(_MISSPELT.match, names)):
            yield from _fault(own, Flavour.SHELL, families[0] if families else None)
    for action in script.actions:
        if isinstance(action, RestoreText) and action.ruleset is not None:
            yield from _restore(action.ruleset, action.family)


def _fault(line: Span, flavour: Flavour, family: Family | None) -> Iterator[Fault]:
    """That of one line. Typographic characters in it are another matter (NT803): they are mended first."""
    plain = mended(line, flavour is Flavour.SHELL)
    words = words_of(plain, flavour)
    found = stray(Source("", plain), words, family) if words else None
    if found is None:
        return
    shift = _shift(line.text, plain, found.place.start)
    place = Span(line.source, line.start + shift, line.start + shift + len(found.place.text))
    edits: tuple[Edit, ...] = ()
    if plain == line.text:
        moved = (_moved(edit, line) for edit in found.edits)
        edits = in_file(tuple(moved)) or ()
    message, help = _words(found)
    safe = found.meant in (Meant.LIST, Meant.PROSE, Meant.GLUED)
    fix = Fix(help, edits, safe) if edits else None
    yield Fault(located(place), message, help, fix=fix)


def _shift(old: str, new: str, at: int) -> int:
    """Where a word of the mended line stands in the old one."""
    behind = len(new) - at
    word = new[at:].split()[0]
    guess = len(old) - behind
    return guess if old[guess:].startswith(word) else max(old.find(word), 0)


def _moved(edit: Edit, line: Span) -> Edit:
    return Edit(Span(line.source, line.start + edit.span.start, line.start + edit.span.end), edit.text)


def _words(found: Stray) -> tuple[str, str]:
    """The message and the help."""
    word = found.word[:40]
    message = f"`{word}` belongs to no option: iptables refuses the line"
    match found.meant:
        case Meant.LIST:
            return f"a blank ends the list before `{word}`: iptables refuses the line", "take the blank out"
        case Meant.PROSE:
            return message, f"put the text behind `{found.option}` in quotes"
        case Meant.GLUED:
            return message, f"put a blank before `{found.option}`"
        case Meant.ADDRESS:
            other = "-d" if found.option == "-s" else "-s"
            return message, f"write `{found.option} {word}` (or `{other}`, if the other end is meant)"
        case Meant.OTHER:
            return message, "write the option before it, or take it out"
    return message, f"write `{found.option} {word}`"
