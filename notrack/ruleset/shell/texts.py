"""What a script feeds to iptables-restore and to nft."""

from __future__ import annotations

import dataclasses
from typing import Final

from notrack.packets.address import Family
from notrack.ruleset.nft.reader import read as read_nft
from notrack.ruleset.shell.actions import NftText, RestoreText
from notrack.ruleset.shell.arguments import ArgumentReader, veiled
from notrack.ruleset.shell.derived import Derived, Field, Piece, Pieces, derived, relocated
from notrack.ruleset.shell.ground import Loader
from notrack.ruleset.shell.interpreter import Interpreter
from notrack.ruleset.shell.state import Status
from notrack.ruleset.xtables.reader import read as read_xtables
from notrack.ruleset.xtables.tree import Broken, Line, Rule, Ruleset, Table
from notrack.ruleset.xtables.words import places
from notrack.text.diagnostic import Diagnostic, Severity
from notrack.text.source import Span

_FLAGS: Final = {
    "-n": "noflush",
    "--noflush": "noflush",
    "-t": "test",
    "--test": "test",
    "-c": "",
    "--counters": "",
    "-v": "",
    "--verbose": "",
    "-w": "",
    "--wait": "",
    "-4": "",
    "-6": "",
}
_VALUED: Final = frozenset(("-T", "--table", "-M", "--modprobe", "-W", "--wait-interval"))


def restore_text(
    shell: Interpreter,
    arguments: ArgumentReader,
    fields: list[Field],
    family: Family,
    backend: str | None,
    span: Span,
) -> RestoreText | Status:
    """What iptables-restore is called to do; a status alone where it is only asked something."""
    flags, only, path = _restore_options(fields)
    if path is not None:
        pieces = None if path.literal is None else shell.file(path.literal, span)
    else:
        pieces = shell.input
    text = None if pieces is None else derived(arguments.name, pieces)
    ruleset, complete = None, True
    if text is None:
        shell.say(Severity.WARNING, "not evaluated: the text that this loads is not known", span)
    else:
        ruleset, complete = _restored(shell, arguments, text, family)
    return RestoreText(
        shell.next_number,
        span,
        shell.guards(),
        shell.fatal,
        False,
        family,
        backend,
        text,
        ruleset,
        "noflush" in flags,
        "test" in flags,
        only,
        complete,
    )


def _restore_options(fields: list[Field]) -> tuple[set[str], str | None, Field | None]:
    flags: set[str] = set()
    only, path, index = None, None, 0
    while index < len(fields):
        text = fields[index].text
        name, equals, value = text.partition("=")
        if name in _VALUED:
            if not equals:
                index += 1
                value = fields[index].text if index < len(fields) else ""
            only = value if name in ("-T", "--table") else only
        elif text in _FLAGS:
            flags.add(_FLAGS[text])
            if text in ("-w", "--wait") and index + 1 < len(fields) and fields[index + 1].text.isdecimal():
                index += 1
        elif text.startswith("-") and not text.startswith("--"):
            flags |= {_FLAGS.get(f"-{letter}", "") for letter in text[1:]}
        elif not text.startswith("-"):
            path = fields[index]
        index += 1
    return flags, only, path


def _restored(
    shell: Interpreter, arguments: ArgumentReader, text: Derived, family: Family
) -> tuple[Ruleset, bool]:
    ruleset, diagnostics = read_xtables(text, family)
    complete = True

    def line_of(line: Line) -> Line:
        nonlocal complete
        if line.span is None or not text.unknown_in(line.span):
            return line
        made = _line(arguments, text, line, family)
        complete = complete and not isinstance(made, Broken)
        return made

    sections = tuple(
        dataclasses.replace(section, lines=tuple(line_of(line) for line in section.lines))
        if isinstance(section, Table)
        else section
        for section in ruleset.sections
    )
    _tell_all(shell, text, diagnostics)
    return dataclasses.replace(ruleset, sections=sections), complete


def _line(arguments: ArgumentReader, text: Derived, line: Line, family: Family) -> Line:
    """A line with something unknown in it."""
    if isinstance(line, Rule):
        return veiled(line) or Broken(line.span.text if line.span else "", line.span)
    if isinstance(line, Broken) and line.span is not None and line.text.startswith("-"):
        made = arguments.line(_fields(text, line.span), family)
        if isinstance(made, Rule):
            return made
    return line


def _fields(text: Derived, span: Span) -> list[Field]:
    """The words of a line of a restore text."""
    whole = Field(text.pieces, span)
    fields: list[Field] = []
    for start, end in places(span.text):
        quoted = span.text[start] == '"' and span.text[end - 1] == '"' and end - start > 1
        low, high = span.start + start + quoted, span.start + end - quoted
        fields.append(Field(whole.part(low, high).pieces, span))
    return fields


def _tell_all(shell: Interpreter, text: Derived, diagnostics: tuple[Diagnostic, ...]) -> None:
    """What is unknown in a text, and what is wrong with the rest of it."""
    for piece in text.pieces:
        if not piece.known:
            message = f"not evaluated: what `{piece.use.text[:60]}` stands for here"
            shell.say(Severity.WARNING, message, piece.use)
    for diagnostic in diagnostics:
        span = diagnostic.span
        if span is None or span.source is not text or not text.unknown_in(_line_of(text, span)):
            shell.tell(relocated(diagnostic))


def _line_of(text: Derived, span: Span) -> Span:
    """The whole line in which a place begins: nothing is sure of a line with something unknown in it."""
    end = text.text.find("\n", span.start)
    start = text.text.rfind("\n", 0, span.start) + 1
    return Span(text, start, max(end if end >= 0 else len(text.text), span.end))


def nft_text(
    shell: Interpreter,
    name: str,
    words: list[Field],
    options: dict[str, Field | None],
    span: Span,
    include: Loader | None,
) -> NftText | Status:
    """What nft is called to do: the words of its command line, or with -f a file or its input."""
    pieces = _nft_pieces(shell, words, options, span)
    text = None if pieces is None else derived(name, pieces)
    ruleset, faulty = None, False
    if text is None:
        shell.say(Severity.WARNING, "not evaluated: the text that this loads is not known", span)
    else:
        ruleset, diagnostics = read_nft(text, include)
        _tell_all(shell, text, diagnostics)
        errors = any(diagnostic.severity is Severity.ERROR for diagnostic in diagnostics)
        faulty = errors and all(piece.known for piece in text.pieces)
    number = shell.next_number
    return NftText(
        number, span, shell.guards(), shell.fatal, False, text, ruleset, faulty, check="c" in options
    )


def ipset_text(shell: Interpreter, name: str, fields: list[Field], span: Span) -> Derived | None:
    """What `ipset restore` reads: a file or its input. None where it is not known, and of other commands."""
    words = [field.literal for field in fields]
    if not {"restore", "-R", "--restore"} & set(words):
        return None
    pieces = shell.input
    for flag in ("-f", "-file", "--file"):
        if flag in words[:-1]:
            path = words[words.index(flag) + 1]
            pieces = None if path is None else shell.file(path, span)
    if pieces is None:
        shell.say(Severity.WARNING, "not evaluated: the text that this loads is not known", span)
        return None
    return derived(name, pieces)


def _nft_pieces(
    shell: Interpreter, words: list[Field], options: dict[str, Field | None], span: Span
) -> Pieces | None:
    if "f" in options:
        path = options["f"]
        if path is None or path.literal is None:
            return None
        return shell.input if path.literal in ("-", "/dev/stdin") else shell.file(path.literal, span)
    pieces: list[Piece] = []
    for field in words:
        pieces += [Piece(" ", field.span)] if pieces else []
        pieces += field.pieces
    return tuple(pieces)
