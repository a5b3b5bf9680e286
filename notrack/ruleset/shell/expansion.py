"""Words to the fields that a command gets: parameters put in, split where the shell splits."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Final, Protocol

from notrack.ruleset.shell import tree as t
from notrack.ruleset.shell.derived import LONGEST, Field, Piece, Pieces
from notrack.ruleset.shell.patterns import trimmed
from notrack.ruleset.shell.state import State, Variable, in_arithmetic, unknown
from notrack.text.source import Span

_BRACES: Final = re.compile(r"(.*?)\{([^{}]*)\}(.*)", re.DOTALL)
_RANGE: Final = re.compile(r"(-?\d{1,6})\.\.(-?\d{1,6})", re.ASCII)
MANY: Final = 10_000  # words that one list may become
WORK: Final = 50_000_000  # characters that one script may put together
GROUPS: Final = 8  # `{a,b}` in one word
PIECES: Final = 4096  # of one value
Run = tuple[Piece, bool] | None  # a piece, and whether it is quoted; None ends a field


class Shell(Protocol):
    """What expansion asks of the interpreter."""

    state: State
    bash: bool

    def report(self, message: str, span: Span, help: str | None = None) -> None:
        """Says that something is not evaluated."""

    def output(self, body: t.Sequence | None, span: Span) -> Pieces:
        """What a command substitution gives, without line ends at its end."""


class Expander:
    """Expands the words of one shell."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.left = WORK  # characters that may still be put together

    def fields(self, words: tuple[t.Word, ...]) -> list[Field]:
        """The fields of several words; a bound on their number keeps loops finite."""
        made: list[Field] = []
        for word in words:
            for plain in self._braced(word):
                made.extend(self._fields(plain))
            if len(made) > MANY:
                self.shell.report(f"not evaluated: more than {MANY} words", word.span)
                return made[:MANY]
        return made

    def pieces(self, word: t.Word) -> Pieces:
        """The text of a word where the shell does not split: assignments, redirections."""
        return self._bounded(self.document(word), word.span)

    def document(self, word: t.Word) -> Pieces:
        """The text of a here-document, however long."""
        made: list[Piece] = []
        for run in self._runs(word):
            made.append(Piece(" ", word.span) if run is None else _whole(run[0]))
        return tuple(piece for piece in made if piece.text)

    def single(self, word: t.Word) -> Field:
        """A word as one field, unsplit."""
        return Field(self.pieces(word), word.span)

    def _fields(self, word: t.Word) -> Iterator[Field]:
        current: list[Piece] = []
        started = False
        for run in self._runs(word):
            if run is None:
                if started:
                    yield self._field(current, word)
                current, started = [], False
            elif run[1] or not run[0].known:
                piece = _whole(run[0]) if run[1] else run[0]
                if piece.text:
                    current.append(piece)
                started = True
            else:
                for number, (hard, piece) in enumerate(self._split(run[0])):
                    if number:
                        if started or hard:
                            yield self._field(current, word)
                        current, started = [], False
                    if piece.text:
                        current.append(piece)
                        started = True
        if started:
            yield self._field(current, word)

    def _field(self, pieces: list[Piece], word: t.Word) -> Field:
        return Field(self._bounded(tuple(pieces), word.span), word.span)

    def _bounded(self, pieces: Pieces, span: Span) -> Pieces:
        """The pieces, or one that is not known where they are too much to go on with."""
        size = sum(len(piece.text) for piece in pieces)
        self.left -= size
        if self.left > 0 and size <= LONGEST and len(pieces) <= PIECES:
            return pieces
        self.shell.report("not evaluated: this value grows too long", span)
        return (Piece("a very long value", span, known=False),)

    def _split(self, piece: Piece) -> list[tuple[bool, Piece]]:
        """A piece cut at the separators; an empty first or last part stands for one at that end. Before each
        part: whether a separator other than a blank stands there, which ends an empty field too."""
        separators = self._separators()
        if not separators:
            return [(False, piece)]
        blank = "".join(char for char in separators if char in " \t\n")
        hard = "".join(char for char in separators if char not in " \t\n")
        around = f"[{re.escape(blank)}]" if blank else "(?!)"
        one = f"[{re.escape(hard)}]" if hard else "(?!)"
        parts: list[tuple[bool, Piece]] = []
        start, before = 0, False
        for found in re.finditer(f"{around}*({one}){around}*|{around}+", piece.text):
            parts.append((before, piece.part(start, found.start())))
            start, before = found.end(), found.group(1) is not None
        return [*parts, (before, piece.part(start, len(piece.text)))]

    def _separators(self) -> str:
        variable = self.shell.state.variables.get("IFS")
        if variable is None or variable.value is None or not all(piece.known for piece in variable.value):
            return " \t\n"
        return "".join(piece.text for piece in variable.value)

    # Parts of words.

    def _runs(self, word: t.Word) -> Iterator[Run]:
        for part in word.parts:
            match part:
                case t.Literal(text=text, span=span):
                    yield Piece(text, span), True
                case t.Parameter():
                    yield from self._parameter(part)
                    if part.quoted and "@" not in (part.name, part.index):
                        yield Piece("", part.span), True  # `""` is a word, if an empty one
                case t.Substitution(body=body, span=span, quoted=quoted):
                    for piece in self.shell.output(body, span):
                        yield piece.used_at(span), quoted
                    if quoted:
                        yield Piece("", span), True
                case t.Unreadable(what=what, span=span, quoted=quoted):
                    self.shell.report(f"not evaluated: {what}", span)
                    for name in in_arithmetic(span.text) if what == "arithmetic" else ():
                        self.shell.state.variables[name] = unknown(name, span)
                    yield Piece(span.text, span, known=False), quoted

    def _parameter(self, part: t.Parameter) -> Iterator[Run]:
        fields = self._many(part)
        if fields is not None and part.operation is None:
            for number, field in enumerate(fields):
                if number:
                    yield self._joint(part) if part.quoted and "*" in (part.name, part.index) else None
                for piece in field.pieces:
                    yield piece.used_at(part.span), part.quoted
            return
        value, is_set = self._value(part)
        if part.operation is not None:
            yield from self._operated(part, value, is_set)
            return
        if value is None and not is_set:
            self._report_unset(part)
            value = _unknown(part)
        for piece in value or ():
            yield piece.used_at(part.span), part.quoted

    def _joint(self, part: t.Parameter) -> Run:
        """What stands between the fields of `"$*"`."""
        return Piece(self._separators()[:1], part.span), True

    def _many(self, part: t.Parameter) -> tuple[Field, ...] | None:
        """The fields of `$@`, `$*` and `${array[@]}`; None for what is one value, or not known."""
        if part.name in ("@", "*"):
            return self.shell.state.parameters
        if part.index in ("@", "*"):
            variable = self.shell.state.variables.get(part.name)
            return variable.elements if variable else None
        return None

    def _value(self, part: t.Parameter) -> tuple[Pieces | None, bool]:
        """The value, None if there is none; and whether that is for certain what the shell has."""
        name = part.name
        state = self.shell.state
        if name.isdigit() or name in ("@", "*", "#"):
            return self._positional(part)
        if name in "?$!-":
            return _unknown(part), True
        variable = state.variables.get(name)
        if variable is None:
            return None, False
        if variable.elements is not None:
            index = part.index or "0"
            if index.isdecimal() and index.isascii() and len(index) < 7:
                number = int(index)
                return (variable.elements[number].pieces if number < len(variable.elements) else None), True
            return _unknown(part), True
        if part.index not in (None, "0", "@", "*"):
            return _unknown(part), True
        return variable.value, True

    def _positional(self, part: t.Parameter) -> tuple[Pieces | None, bool]:
        parameters = self.shell.state.parameters
        if part.name == "0":
            return _unknown(part), True
        if parameters is None:
            return None, False
        splitting = [number for number, field in enumerate(parameters, 1) if field.splits]
        if splitting and (part.name == "#" or (part.name.isdigit() and int(part.name[:6]) > splitting[0])):
            return _unknown(part), True
        if part.name == "#":
            return (Piece(str(len(parameters)), part.span),), True
        if not part.name.isdigit():
            joint = Piece(self._separators()[:1], part.span)
            pieces = [piece for field in parameters for piece in (*field.pieces, joint)]
            return tuple(pieces[:-1]) or None, True
        number = int(part.name[:6])
        return (parameters[number - 1].pieces if number <= len(parameters) else None), True

    def _operated(self, part: t.Parameter, value: Pieces | None, is_set: bool) -> Iterator[Run]:
        """`${name:-word}` and its kind."""
        operation = part.operation or ""
        sign = operation[-1:]
        if sign not in "-=+?":
            yield from self._changed(part, value)
            return
        if value is not None and not all(piece.known for piece in value):
            yield _unknown(part)[0], part.quoted
            return
        if not is_set and sign in "-=+":
            taken = "unset" if part.name.isdigit() or part.name in "@*#" else "unset by the environment"
            self.shell.report(f"`{part.name}` is taken to be {taken}", part.span)
        text = "".join(piece.text for piece in value) if value is not None else None
        present = bool(text) if operation.startswith(":") else text is not None
        if sign == "+":
            if present and part.word is not None:
                yield from self._inner(part, part.word)
        elif present:
            for piece in value or ():
                yield piece.used_at(part.span), part.quoted
        elif sign == "?":
            self._report_unset(part)
            yield _unknown(part)[0], part.quoted
        elif part.word is not None:
            if sign == "=":
                self.shell.state.variables[part.name] = Variable(self.pieces(part.word))
            yield from self._inner(part, part.word)

    def _changed(self, part: t.Parameter, value: Pieces | None) -> Iterator[Run]:
        """`${name%pattern}`, `${name//text/text}` and their kind."""
        pattern = self.single(part.word).literal if part.word is not None else None
        if value is not None and pattern is not None and all(piece.known for piece in value):
            text = trimmed("".join(piece.text for piece in value), part.operation or "", pattern)
            if text is not None:
                place = value[0].place if value else part.span
                yield Piece(text, part.span, place), part.quoted
                return
        self.shell.report(f"not evaluated: `{part.span.text}`", part.span)
        yield Piece(part.span.text, part.span, known=False, splits=True), part.quoted

    def _inner(self, part: t.Parameter, word: t.Word) -> Iterator[Run]:
        """The word in `${name:-word}`: it is split unless it is quoted, or all is."""
        for inner in word.parts:
            for run in self._runs(t.Word((inner,), word.span)):
                if run is None:
                    yield None
                    continue
                literal = isinstance(inner, t.Literal)
                yield run[0].used_at(part.span), part.quoted or (inner.quoted if literal else run[1])

    def _report_unset(self, part: t.Parameter) -> None:
        if part.name.isdigit() or part.name in "@*#":
            message = f"not evaluated: `${part.name}`, what the script is called with"
        else:
            message = f"not evaluated: nothing in the script sets `{part.name}`"
        self.shell.report(message, part.span)

    # What bash alone does.

    def _braced(self, word: t.Word) -> list[t.Word]:
        """`{a,b}` and `{1..9}`, which only bash expands."""
        if not self.shell.bash or word.span.text.count("{") > GROUPS:
            return [word]
        for number, part in enumerate(word.parts):
            if isinstance(part, t.Literal) and not part.quoted and "{" in part.text:
                return self._brace_words(word, number, part)
        return [word]

    def _brace_words(self, word: t.Word, number: int, part: t.Literal) -> list[t.Word]:
        found = _BRACES.fullmatch(part.text)
        items = _brace_items(found.group(2)) if found else None
        if found is None or items is None:
            return [word]
        made: list[t.Word] = []
        for item in items:
            literal = dataclasses.replace(part, text=f"{found.group(1)}{item}{found.group(3)}")
            inner = t.Word((*word.parts[:number], literal, *word.parts[number + 1 :]), word.span)
            made.extend(self._braced(inner) if len(made) < MANY else [])
        return made


def _brace_items(text: str) -> list[str] | None:
    counted = _RANGE.fullmatch(text)
    if counted is None:
        return text.split(",") if "," in text else None
    low, high = int(counted.group(1)), int(counted.group(2))
    if abs(high - low) > MANY:
        return None
    step = 1 if high >= low else -1
    return [str(number) for number in range(low, high + step, step)]


def _unknown(part: t.Parameter) -> Pieces:
    return (Piece(part.span.text, part.span, known=False, splits=True),)


def _whole(piece: Piece) -> Piece:
    """A piece that will not be split."""
    return dataclasses.replace(piece, splits=False) if piece.splits else piece


def has_pattern(word: t.Word) -> bool:
    """Whether a word may stand for the names of files."""
    return any(
        isinstance(part, t.Literal) and not part.quoted and any(char in part.text for char in "*?[")
        for part in word.parts
    )
