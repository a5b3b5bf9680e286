"""The commands of the shell itself, and those that only print."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from notrack.ruleset.shell.conditions import bracket
from notrack.ruleset.shell.derived import Field, Piece, Pieces
from notrack.ruleset.shell.expansion import MANY
from notrack.ruleset.shell.interpreter import Interpreter
from notrack.ruleset.shell.state import Status, Variable, in_arithmetic, unknown
from notrack.text.diagnostic import Severity
from notrack.text.source import Span

Builtin = Callable[[Interpreter, list[Field], Span], Status]
_INTEGER: Final = re.compile(r"-?[0-9]{1,9}")
_ESCAPES: Final = {"n": "\n", "t": "\t", "\\": "\\", '"': '"'}


def _true(shell: Interpreter, fields: list[Field], span: Span) -> Status:
    return True


def _false(shell: Interpreter, fields: list[Field], span: Span) -> Status:
    return False


def _leave(shell: Interpreter, fields: list[Field], span: Span) -> Status:
    kind = fields[0].text
    argument = fields[1].literal if len(fields) > 1 else None
    if kind in ("break", "continue"):
        levels = int(argument) if argument and argument.isdecimal() and len(argument) < 4 else 1
        return shell.leave(kind, max(levels, 1), True, span)
    status = shell.state.status if argument is None else argument == "0"
    return shell.leave(kind, 1, status, span)


def _test(shell: Interpreter, fields: list[Field], span: Span) -> Status:
    words = fields[1:]
    if fields[0].text == "[":
        if not words or words[-1].literal != "]":
            shell.say(Severity.WARNING, "this `[` is never closed by `]`", span)
            return False
        words = words[:-1]
    found = bracket(words, shell.state.status)
    return shell.undecided(span) if found is None else found


def _set(shell: Interpreter, fields: list[Field], span: Span) -> Status:
    words = fields[1:]
    for number, field in enumerate(words):
        text = field.text
        if text == "--":
            shell.state.parameters = tuple(words[number + 1 :])
            return True
        if text[:1] not in ("-", "+") or len(text) < 2:
            if number == 0 or words[number - 1].text[-1:] != "o":
                shell.state.parameters = tuple(words[number:])
                return True
            if text == "errexit":
                shell.state.errexit = words[number - 1].text[0] == "-"
        elif "e" in text[1:]:
            shell.state.errexit = text[0] == "-"
    return True


def _shift(shell: Interpreter, fields: list[Field], span: Span) -> Status:
    count = fields[1].literal if len(fields) > 1 else "1"
    parameters = shell.state.parameters
    if count is None or not count.isdecimal() or parameters is None or len(count) > 6:
        shell.state.parameters = None
        return True
    if any(field.splits for field in parameters[: int(count)]):
        shell.state.parameters = None
        return True
    if int(count) > len(parameters):
        return False
    shell.state.parameters = parameters[int(count) :]
    return True


def _unset(shell: Interpreter, fields: list[Field], span: Span) -> Status:
    for field in fields[1:]:
        if field.text == "-f":
            continue
        shell.state.variables[field.text] = Variable(None)
        if any(other.text == "-f" for other in fields):
            shell.state.functions.pop(field.text, None)
    return True


def _local(shell: Interpreter, fields: list[Field], span: Span) -> Status:
    shell.make_local([field.text for field in fields[1:] if not field.text.startswith("-")])
    return True


def _read(shell: Interpreter, fields: list[Field], span: Span) -> Status:
    """`read` and its kind: what they set is not known."""
    shell.report(f"not evaluated: what `{fields[0].text}` reads", span)
    for field in fields[1:]:
        names = in_arithmetic(field.text) if fields[0].text == "let" else {field.literal or ""}
        for name in names - {""}:
            shell.state.variables[name] = unknown(name, span)
    return shell.undecided(span)


def _source(shell: Interpreter, fields: list[Field], span: Span) -> Status:
    path = fields[1].literal if len(fields) > 1 else None
    if path is None:
        shell.say(Severity.WARNING, "not evaluated: a file whose name is not known", span)
        return shell.undecided(span)
    return shell.source_file(path, span)


def _not_evaluated(shell: Interpreter, fields: list[Field], span: Span) -> Status:
    shell.report(f"not evaluated: `{fields[0].text}`", span)
    shell.emit(None, span)
    return shell.undecided(span)


# What prints.


def _echo(shell: Interpreter, fields: list[Field], span: Span) -> Status:
    words = fields[1:]
    newline = True
    escapes = not shell.bash
    while words and words[0].literal in ("-n", "-e", "-ne", "-en", "-E"):
        option = words[0].text
        if option != "-n" and not shell.bash and shell.capture is not None:
            shell.report("not evaluated: what `echo -e` prints, which every sh does in its own way", span)
            shell.emit(None, span)
            return True
        newline = newline and "n" not in option
        escapes = escapes or "e" in option
        words = words[1:]
    pieces: list[Piece] = []
    for number, field in enumerate(words):
        pieces.extend(([Piece(" ", span)] if number else []) + list(field.pieces))
    if newline:
        pieces.append(Piece("\n", span))
    shell.emit(_unescaped(pieces) if escapes else tuple(pieces), span)
    return True


def _unescaped(pieces: list[Piece]) -> Pieces | None:
    """The pieces with `\\n` and `\\t` in place; None for what is rarer."""
    made: list[Piece] = []
    for piece in pieces:
        start = 0
        while piece.known and (at := piece.text.find("\\", start)) >= 0:
            following = piece.text[at + 1 : at + 2]
            if following not in _ESCAPES or not following:
                return None
            made.append(piece.part(start, at))
            made.append(Piece(_ESCAPES[following], piece.use, piece.origin))
            start = at + 2
        made.append(piece.part(start, len(piece.text)) if start else piece)
    return tuple(made)


def _printf(shell: Interpreter, fields: list[Field], span: Span) -> Status:
    """`printf` with `%s` alone, its format used again and again as long as there are arguments."""
    words = fields[1:]
    if words and words[0].literal == "--":
        words = words[1:]
    if shell.capture is None:
        return True
    form = _unescaped(list(words[0].pieces)) if words else None
    if form is None or any("%" in piece.text.replace("%s", "") for piece in form):
        shell.emit(None, span)
        return True
    made: list[Piece] = []
    arguments = words[1:]
    holes = sum(piece.text.count("%s") for piece in form)
    rounds = max(1, -(-len(arguments) // holes)) if holes else 1
    for number in range(rounds):
        given = iter(arguments[number * holes : (number + 1) * holes])
        for piece in form:
            texts = piece.text.split("%s")
            offset = 0
            for at, text in enumerate(texts):
                if at:
                    made.extend(next(given, Field((), span)).pieces)
                    offset += 2
                made.append(piece.part(offset, offset + len(text)))
                offset += len(text)
    shell.emit(tuple(made), span)
    return True


def _cat(shell: Interpreter, fields: list[Field], span: Span) -> Status:
    """Only known where something reads it."""
    paths = [field.literal for field in fields[1:]] or ["-"]
    if shell.capture is None:
        return True
    made: list[Piece] = []
    for path in paths:
        if path is None or (path.startswith("-") and path != "-"):
            shell.emit(None, span)
            return shell.undecided(span)
        text = shell.input if path == "-" else shell.file(path, span)
        if text is None:
            shell.report(f"not evaluated: what `{path}` holds", span)
            shell.emit(None, span)
            return shell.undecided(span)
        made.extend(text)
    shell.emit(tuple(made), span)
    return True


def _tee(shell: Interpreter, fields: list[Field], span: Span) -> Status:
    for field in fields[1:]:
        if field.literal and not field.text.startswith("-"):
            certain = not shell.guards() and not any(other.text == "-a" for other in fields)
            shell.state.files[field.text] = shell.input if certain else None
    shell.emit(shell.input, span)
    return True


def _which(shell: Interpreter, fields: list[Field], span: Span) -> Status:
    """`which iptables`, `command -v iptables`: whatever the folder, it is that command."""
    names = [field for field in fields[1:] if field.literal and not field.text.startswith("-")]
    if len(names) != 1:
        return _not_evaluated(shell, fields, span)
    name = names[0]
    shell.emit((*name.pieces, Piece("\n", span)), span)
    if shell.capture is None:
        return shell.undecided(span)
    shell.report(f"`{name.text}` is taken to be installed", span)
    return True


def _seq(shell: Interpreter, fields: list[Field], span: Span) -> Status:
    """`seq LAST`, `seq FIRST LAST`, `seq FIRST STEP LAST` of whole numbers."""
    words = [field.literal or "" for field in fields[1:]]
    if not 1 <= len(words) <= 3 or not all(_INTEGER.fullmatch(word) for word in words):
        shell.emit(None, span)
        return True
    numbers = [int(word) for word in words]
    first = numbers[0] if len(numbers) > 1 else 1
    step = numbers[1] if len(numbers) > 2 else 1
    last = numbers[-1] + (1 if step > 0 else -1)
    if step == 0 or abs(last - first) // abs(step) > MANY:
        shell.emit(None, span)
        return True
    shell.emit(tuple(Piece(f"{number}\n", span) for number in range(first, last, step)), span)
    return True


BUILTINS: Final[dict[str, Builtin]] = {
    **dict.fromkeys((":", "true", "export", "readonly", "umask", "wait", "ulimit", "hash"), _true),
    "false": _false,
    **dict.fromkeys(("exit", "return", "break", "continue"), _leave),
    **dict.fromkeys(("test", "["), _test),
    "set": _set,
    "shift": _shift,
    "unset": _unset,
    **dict.fromkeys(("local", "declare", "typeset"), _local),
    **dict.fromkeys(("read", "getopts", "mapfile", "readarray", "let"), _read),
    **dict.fromkeys((".", "source"), _source),
    **dict.fromkeys(("eval", "trap", "alias", "unalias", "shopt"), _not_evaluated),
    "echo": _echo,
    "printf": _printf,
    "cat": _cat,
    "seq": _seq,
    "tee": _tee,
    **dict.fromkeys(("which", "type"), _which),
}

_QUIET = """
    awk basename cd chmod chown cp cut date dirname egrep expr find fgrep grep head hostname id install
    kill ln logger ls lsmod mkdir mktemp mv ps pwd rm rmdir sed sleep sort stty tail touch tput tr tty uname
    uniq wc wget curl dig getent ping readlink realpath stat sync clear diff file md5sum who whoami
    log_begin_msg log_end_msg log_daemon_msg log_failure_msg log_success_msg log_warning_msg log_action_msg
    log_progress_msg log_action_begin_msg log_action_end_msg success failure action popd pushd
"""
QUIET: Final = frozenset(_QUIET.split())
"""Commands that leave the firewall alone and are not worth a word; their output and status are unknown."""
