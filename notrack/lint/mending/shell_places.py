"""The simple commands of a script, and what each of them is part of."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from functools import lru_cache

from notrack.ruleset.shell.parser import parse
from notrack.ruleset.shell.tree import AndOr, Case, Command, For, Function, Group, If, Loop, Sequence, Simple
from notrack.text.record import dataclass
from notrack.text.source import Source, Span


@dataclass(frozen=True, slots=True)
class ShellPlace:
    """`alone`: the command is a statement of its own, and nothing hangs on its success. `only`: no other
    statement stands beside it, so that it must not go. `top`: no loop, branch or function is around it."""

    command: Simple
    within: AndOr
    alone: bool
    only: bool
    top: bool


@lru_cache(maxsize=8)
def shell_places(source: Source) -> tuple[ShellPlace, ...]:
    """Every simple command in the order of the text; those inside `$(...)` are left out."""
    sequence, _ = parse(source)
    return tuple(sorted(_places(sequence, True, True), key=lambda place: place.command.span.start))


def enclosing(source: Source, span: Span) -> ShellPlace | None:
    """The simple command in which a stretch of a script lies."""
    if source.name != span.source.name or source.text != span.source.text:
        return None
    places = shell_places(source)
    at = bisect.bisect_right(places, span.start, key=lambda place: place.command.span.start) - 1
    if at < 0 or places[at].command.span.end < span.end:
        return None
    return places[at]


def _places(sequence: Sequence, alone: bool, top: bool) -> Iterator[ShellPlace]:
    for item in sequence.items:
        pipelines = (item.first, *(pipeline for _, pipeline in item.rest))
        one = alone and len(pipelines) == 1 and not item.background and not item.first.negated
        for pipeline in pipelines:
            for command in pipeline.commands:
                if isinstance(command, Simple):
                    single = one and len(pipeline.commands) == 1
                    yield ShellPlace(command, item, single, not top and len(sequence.items) == 1, top)
                else:
                    yield from _inside(command)


def _inside(command: Command) -> Iterator[ShellPlace]:
    match command:
        case If(branches=branches, otherwise=otherwise):
            for branch in branches:
                yield from _places(branch.condition, False, False)
                yield from _places(branch.body, True, False)
            if otherwise is not None:
                yield from _places(otherwise, True, False)
        case For(body=body) | Group(body=body):
            yield from _places(body, True, False)
        case Loop(condition=condition, body=body):
            yield from _places(condition, False, False)
            yield from _places(body, True, False)
        case Case(arms=arms):
            for arm in arms:
                yield from _places(arm.body, True, False)
        case Function(body=body):
            yield from _inside(body)
