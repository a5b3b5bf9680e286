"""What a shell knows at a point of a script: variables, functions, parameters, the files that it wrote."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import field

from notrack.ruleset.shell import tree as t
from notrack.ruleset.shell.actions import Guard
from notrack.ruleset.shell.derived import Field, Piece, Pieces
from notrack.text.record import dataclass
from notrack.text.source import Span

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_SETS = re.compile(r"\+\+|--|(?<![=!<>])=(?!=)")
CHOICES = 8  # values of a variable that are told apart
Status = bool | Guard


@dataclass(frozen=True, slots=True)
class Variable:
    """A value, or with `elements` an array. `value` None: unset for certain."""

    value: Pieces | None
    elements: tuple[Field, ...] | None = None


@dataclass(slots=True)
class State:
    """Mutable; copied where a script may go two ways. `parameters` None: not known."""

    variables: dict[str, Variable] = field(default_factory=dict)
    functions: dict[str, t.Function | None] = field(default_factory=dict)
    parameters: tuple[Field, ...] | None = None
    files: dict[str, Pieces | None] = field(default_factory=dict)
    errexit: bool = False
    status: Status = True

    def copy(self) -> State:
        return dataclasses.replace(
            self,
            variables=dict(self.variables),
            functions=dict(self.functions),
            files=dict(self.files),
        )


def unknown(name: str, span: Span, choices: tuple[str, ...] = ()) -> Variable:
    """A variable whose value is not known, or is one of a few."""
    return Variable((Piece(f"${name}", span, known=False, choices=choices, splits=True),))


def joined(one: State, other: State, span: Span) -> State:
    """What is known after one of two ways, whichever it was."""
    made = one.copy()
    for name in one.variables.keys() | other.variables.keys():
        left, right = one.variables.get(name), other.variables.get(name)
        if left != right:
            choices = tuple(dict.fromkeys((*_choices(left), *_choices(right))))
            all_known = _choices(left) and _choices(right) and len(choices) <= CHOICES
            made.variables[name] = unknown(name, span, choices if all_known else ())
    for called in one.functions.keys() | other.functions.keys():
        first, second = one.functions.get(called), other.functions.get(called)
        if first is not second:
            made.functions[called] = first if second is None else second if first is None else None
    for path in one.files.keys() | other.files.keys():
        if one.files.get(path) != other.files.get(path):
            made.files[path] = None
    made.errexit = one.errexit or other.errexit
    if one.parameters != other.parameters:
        made.parameters = None
    return made


def _choices(variable: Variable | None) -> tuple[str, ...]:
    if variable is None or variable.value is None:
        return ()
    if all(piece.known for piece in variable.value):
        return ("".join(piece.text for piece in variable.value),)
    return variable.value[0].choices if len(variable.value) == 1 else ()


def assigned(node: object, functions: dict[str, t.Function | None]) -> set[str]:
    """The names of the variables that a part of a script may set, in functions that it calls as well."""
    names: set[str] = set()
    seen: set[str] = set()
    stack: list[object] = [node]
    while stack:
        item = stack.pop()
        match item:
            case t.Assignment(name=name):
                names.add(name)
            case t.For(name=name):
                names.add(name)
            case t.Parameter(name=name, operation=":=" | "="):
                names.add(name)
            case t.Opaque(what="arithmetic", span=span) | t.Unreadable(what="arithmetic", span=span):
                names.update(in_arithmetic(span.text))
            case t.Simple(words=words) if words:
                called = words[0].bare
                if called in ("read", "getopts", "unset", "local", "export", "let", "mapfile"):
                    names.update(word.literal or "" for word in words[1:])
                    names.update(*(in_arithmetic(word.span.text) for word in words[1:]))
                if called in functions and called not in seen:
                    seen.add(called)
                    stack.append(functions[called])
        stack.extend(_children(item))
    return names


def in_arithmetic(text: str) -> set[str]:
    """The variables that arithmetic may set: those in it, if it sets any."""
    return set(_NAME.findall(text)) if _SETS.search(text) else set()


def _children(item: object) -> Iterator[object]:
    if isinstance(item, tuple):
        yield from item
    elif dataclasses.is_dataclass(item) and not isinstance(item, Span):
        for part in dataclasses.fields(item):
            if part.name != "span":
                yield getattr(item, part.name)
