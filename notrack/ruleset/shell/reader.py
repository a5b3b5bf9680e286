"""Reads shell scripts of firewall commands: what they do for certain, and what is not evaluated."""

from __future__ import annotations

import contextlib
import re
from typing import Final

from notrack.ruleset.shell.actions import Script
from notrack.ruleset.shell.commands import Firewall
from notrack.ruleset.shell.derived import Field
from notrack.ruleset.shell.flow import Leave
from notrack.ruleset.shell.ground import Loader
from notrack.ruleset.shell.interpreter import Interpreter
from notrack.ruleset.shell.parser import parse
from notrack.ruleset.shell.tree import Case, Parameter, Sequence
from notrack.text.diagnostic import Diagnostic, Severity
from notrack.text.source import Source, Span

_BASH: Final = re.compile(r"#![^\n]*\b(?:bash|zsh|ksh)\b")


def read(source: Source, include: Loader | None = None, arguments: tuple[str, ...] | None = None) -> Script:
    """What a script does, and every fault and doubt, in the order of its text. Never raises.

    `include` gives the files that it sources, restores or hands to nft: the sources that a path names, or
    None where there is no such file. `arguments` are those that the script is called with; None: not known,
    so that what hangs on them may run or not. An ERROR is what a shell or a tool refuses, a WARNING something
    that touches the rules and is not evaluated, an INFO any other doubt.
    """
    sequence, faults = parse(source)
    bash = _BASH.match(source.text.lstrip("\ufeff")) is not None
    parameters = None
    if arguments is not None:
        nowhere = Span(source, 0, 0)
        parameters = tuple(Field.of(argument, nowhere) for argument in arguments)
    firewall = Firewall(source.name, include)
    shell = Interpreter(firewall, include, bash, parameters)
    shell.diagnostics.extend(faults)
    shell.diagnostics.extend(_odd_characters(source))
    with contextlib.suppress(Leave):  # the script ends there
        shell.run(sequence)
    return Script(
        source,
        tuple(shell.actions),
        frozenset(shell.assumed),
        tuple(sorted(shell.diagnostics, key=lambda found: _place(found, source))),
        arguments,
    )


def read_started(source: Source, include: Loader | None = None) -> Script:
    """The same, called as an init script is: with `start`, if the script asks its first argument for that."""
    if "start" not in verbs(source):
        return read(source, include)
    script = read(source, include, ("start",))
    note = Diagnostic(Severity.INFO, "read as if it were called with `start`", Span(source, 0, 0))
    return Script(source, script.actions, script.assumed, (note, *script.diagnostics), script.arguments)


def verbs(source: Source) -> tuple[str, ...]:
    """The first arguments that the script knows: the patterns of its `case "$1" in`."""
    found: list[str] = []
    stack: list[object] = [parse(source)[0]]
    while stack:
        match stack.pop():
            case Sequence(items=items):
                stack.extend(
                    command
                    for item in reversed(items)
                    for pipeline in (item.first, *(other for _, other in item.rest))
                    for command in pipeline.commands
                )
            case Case(word=word, arms=arms) if _first_argument(word.parts):
                found.extend(pattern.literal or "" for arm in arms for pattern in arm.patterns)
    return tuple(dict.fromkeys(verb for verb in found if verb.isalnum()))


def _first_argument(parts: tuple[object, ...]) -> bool:
    return any(isinstance(part, Parameter) and part.name == "1" for part in parts)


def _odd_characters(source: Source) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    at = source.text.find("\r\n")
    if at >= 0:
        message = "the line ends with a carriage return, which the shell takes for part of the last word"
        found.append(
            Diagnostic(Severity.ERROR, message, Span(source, at, at + 1), "save it with Unix line ends")
        )
    if source.text.startswith("\ufeff"):
        message = "the script begins with a byte order mark, which the shell takes for part of a command"
        found.append(Diagnostic(Severity.WARNING, message, Span(source, 0, 1)))
    return found


def _place(diagnostic: Diagnostic, source: Source) -> tuple[bool, int]:
    span = diagnostic.span
    return (span is None or span.source is not source, span.start if span else 0)
