"""`while read a b; do ...; done`: the lines of a text that is known, and what each variable gets of them."""

from __future__ import annotations

import re
from typing import Final

from notrack.ruleset.shell import tree as t
from notrack.ruleset.shell.derived import Field, Pieces
from notrack.text.source import Span

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_BLANKS: Final = " \t"


def names(loop: t.Loop) -> tuple[tuple[str, ...], str] | None:
    """The variables of a loop that does nothing before each round but read them, and the characters that part
    them; None for any other loop."""
    items = loop.condition.items
    if loop.until or len(items) != 1 or items[0].rest or items[0].background:
        return None
    pipeline = items[0].first
    command = pipeline.commands[0]
    if pipeline.negated or len(pipeline.commands) != 1 or not isinstance(command, t.Simple):
        return None
    words = [word.literal or "" for word in command.words]
    first = 2 if words[:2] == ["read", "-r"] else 1
    found = tuple(words[first:])
    separators = _separators(command)
    if words[:1] != ["read"] or not found or separators is None or command.redirections:
        return None
    return (found, separators) if all(_NAME.fullmatch(name) for name in found) else None


def _separators(command: t.Simple) -> str | None:
    """What `IFS=... read` parts the words with; None where that is not known."""
    separators: str | None = _BLANKS
    for assignment in command.assignments:
        if assignment.name != "IFS" or assignment.elements is not None or assignment.append:
            return None
        separators = "" if assignment.value is None else assignment.value.literal
    return separators


def rows(text: Pieces, count: int, separators: str, span: Span) -> list[list[Field]] | None:
    """For each line as many fields as there are variables; the last has all the rest of the line. None for a
    text of which not all is known, or that a reader without `-r` would take otherwise."""
    whole = Field(text, span)
    if not whole.known or "\\" in whole.text:
        return None
    found: list[list[Field]] = []
    offset = 0
    for line in whole.text.split("\n")[: -1 if whole.text.endswith("\n") or not whole.text else None]:
        places = _places(line, count, separators)
        found.append([whole.part(offset + start, offset + end) for start, end in places])
        offset += len(line) + 1
    return found


def _places(line: str, count: int, separators: str) -> list[tuple[int, int]]:
    """Where the words of a line stand, an empty place for each that there is not."""
    blanks = "".join(char for char in separators if char in _BLANKS)
    end = len(line.rstrip(blanks)) if blanks else len(line)
    at = 0
    made: list[tuple[int, int]] = []
    for number in range(count):
        while at < end and line[at] in blanks:
            at += 1
        start = at
        if number == count - 1:
            made.append((start, end))
            break
        while at < end and line[at] not in separators:
            at += 1
        made.append((start, at))
        while at < end and line[at] in blanks:
            at += 1
        if at < end and line[at] in separators:
            at += 1
    return made
