"""The syntax tree of a shell script: the part of POSIX sh (and a little of bash) that firewall scripts use.

Words are not expanded: they keep their literal stretches, parameters and substitutions, each with the place
where it stands.
"""

from __future__ import annotations

import enum
from dataclasses import field

from notrack.text.record import dataclass
from notrack.text.source import Span

# Words.


@dataclass(frozen=True, slots=True)
class Literal:
    """Text that stands for itself. Its span may be longer than the text: `\\"` in quotes is one character."""

    text: str
    span: Span = field(repr=False, compare=False)
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    """`$name`, `${name}` or `${name OPERATION word}`; `index` is what stands in `${name[index]}`.

    The operations that are read are `:-`, `-`, `:=`, `=`, `:+`, `+`, `:?`, `?`, `#`, `##`, `%`, `%%`, `/` and
    `//`; any other is `other`, without a word.
    """

    name: str
    span: Span = field(repr=False, compare=False)
    quoted: bool = False
    operation: str | None = None
    word: Word | None = None
    index: str | None = None


@dataclass(frozen=True, slots=True)
class Substitution:
    """`$(...)` or backquotes; `body` is None where the inner text could not be read."""

    body: Sequence | None
    span: Span = field(repr=False, compare=False)
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A part of a word that no reading of text can know: arithmetic, `<(...)`, `$'...'` with odd escapes."""

    what: str
    span: Span = field(repr=False, compare=False)
    quoted: bool = False


Part = Literal | Parameter | Substitution | Unreadable


@dataclass(frozen=True, slots=True)
class Word:
    parts: tuple[Part, ...]
    span: Span = field(repr=False, compare=False)

    @property
    def literal(self) -> str | None:
        """The text, if the word is nothing but text."""
        if all(isinstance(part, Literal) for part in self.parts):
            return "".join(part.text for part in self.parts if isinstance(part, Literal))
        return None

    @property
    def bare(self) -> str | None:
        """The text, if the word is nothing but unquoted text: only such a word can be a keyword."""
        if all(isinstance(part, Literal) and not part.quoted for part in self.parts):
            return self.literal
        return None


# Commands.


@dataclass(frozen=True, slots=True)
class Assignment:
    """`name=word`, `name+=word`, `name=(words)`; `name[index]=word` has an index and is not evaluated."""

    name: str
    value: Word | None
    span: Span = field(repr=False, compare=False)
    elements: tuple[Word, ...] | None = None
    append: bool = False
    index: str | None = None


@dataclass(frozen=True, slots=True)
class Redirection:
    """`2>file`, `<<EOF`: of a here-document `body` is the text, with its parts where it is expanded."""

    operator: str
    target: Word
    descriptor: int | None
    span: Span = field(repr=False, compare=False)
    body: Word | None = None


@dataclass(frozen=True, slots=True)
class Simple:
    """Assignments, words and redirections: one command, or a mere assignment."""

    words: tuple[Word, ...]
    span: Span = field(repr=False, compare=False)
    assignments: tuple[Assignment, ...] = ()
    redirections: tuple[Redirection, ...] = ()


@dataclass(frozen=True, slots=True)
class Branch:
    condition: Sequence
    body: Sequence


@dataclass(frozen=True, slots=True)
class If:
    branches: tuple[Branch, ...]
    otherwise: Sequence | None
    span: Span = field(repr=False, compare=False)
    redirections: tuple[Redirection, ...] = ()


@dataclass(frozen=True, slots=True)
class For:
    """`words` is None for `for x; do`, which goes over the positional parameters."""

    name: str
    words: tuple[Word, ...] | None
    body: Sequence
    span: Span = field(repr=False, compare=False)
    redirections: tuple[Redirection, ...] = ()


@dataclass(frozen=True, slots=True)
class Loop:
    """`while` and, with `until`, `until`."""

    condition: Sequence
    body: Sequence
    span: Span = field(repr=False, compare=False)
    until: bool = False
    redirections: tuple[Redirection, ...] = ()


@dataclass(frozen=True, slots=True)
class Arm:
    """One `pattern|pattern) body`; `ending` is `;;`, `;&` or `;;&`."""

    patterns: tuple[Word, ...]
    body: Sequence
    span: Span = field(repr=False, compare=False)
    ending: str = ";;"


@dataclass(frozen=True, slots=True)
class Case:
    word: Word
    arms: tuple[Arm, ...]
    span: Span = field(repr=False, compare=False)
    redirections: tuple[Redirection, ...] = ()


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    body: Command
    span: Span = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Group:
    """`{ ... }`, or with `subshell` `( ... )`."""

    body: Sequence
    span: Span = field(repr=False, compare=False)
    subshell: bool = False
    redirections: tuple[Redirection, ...] = ()


@dataclass(frozen=True, slots=True)
class Opaque:
    """A command of which only the extent is known: `[[ ... ]]`, `(( ... ))`, what could not be read."""

    what: str
    span: Span = field(repr=False, compare=False)
    words: tuple[Word, ...] = ()
    redirections: tuple[Redirection, ...] = ()


Command = Simple | If | For | Loop | Case | Function | Group | Opaque


@dataclass(frozen=True, slots=True)
class Pipeline:
    commands: tuple[Command, ...]
    span: Span = field(repr=False, compare=False)
    negated: bool = False


class Joint(enum.Enum):
    AND = "&&"
    OR = "||"


@dataclass(frozen=True, slots=True)
class AndOr:
    """Pipelines with what joins each to the ones before it; `background`: followed by a single `&`."""

    first: Pipeline
    span: Span = field(repr=False, compare=False)
    rest: tuple[tuple[Joint, Pipeline], ...] = ()
    background: bool = False


@dataclass(frozen=True, slots=True)
class Sequence:
    """Commands one after the other: a script, a body, a condition."""

    items: tuple[AndOr, ...] = ()
