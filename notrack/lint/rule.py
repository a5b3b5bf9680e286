"""A rule of the linter: its manual page, its check and the examples that are its tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING

from notrack.lint.finding import Fault
from notrack.text.diagnostic import Severity
from notrack.text.record import dataclass

if TYPE_CHECKING:
    from notrack.lint.subject import Subject

MARK = "###"
"""In an example, `### NT101` at the end of a line says that this line must be found under that code.

The mark and the blanks before it are no part of the text that is linted.
"""


@dataclass(frozen=True, slots=True)
class Example:
    """Rules, with what must be found in them.

    `text` is one file, or several by their names (one host). Indentation that all lines share is taken off.
    `host` is the JSON of host facts, where they matter. `fixed`: the text (or texts) after all fixes of the
    rule; None where the examples' tests shall only see that the finding is gone.
    """

    title: str
    text: str | Mapping[str, str]
    host: str | None = None
    fixed: str | Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that the linter finds.

    - `summary`: one line; `what`, `why`, `limits`: the manual page, plain paragraphs;
    - `mending`: what its fix does and whether it is safe, or why there is none;
    - `check`: yields the faults of a subject; may raise `TooHard`, which makes the rule undecided there;
    - `bad`: each must yield exactly the findings that its lines are marked with;
    - `good`: nothing may be found; `looks_wrong`: nothing may be found although people would expect it;
    - `yields_to`: codes whose finding at this one's place, or at one of its causes, says it all.
    """

    code: str
    name: str
    severity: Severity
    summary: str
    what: str
    why: str
    limits: str
    mending: str
    check: Callable[[Subject], Iterable[Fault]] = field(repr=False)
    bad: tuple[Example, ...] = field(repr=False)
    good: tuple[Example, ...] = field(repr=False)
    looks_wrong: tuple[Example, ...] = field(repr=False)
    yields_to: tuple[str, ...] = ()
