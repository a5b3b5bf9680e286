"""Texts with edits made in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from notrack.lint.finding import Edit
from notrack.ruleset.formats import Reading
from notrack.text.source import Source

Read = Callable[[Sequence[Source]], Reading]
"""How texts become one host's rules: every attempt is read anew."""


def applied(sources: tuple[Source, ...], edits: Sequence[Edit]) -> tuple[Source, ...]:
    """The texts after edits that do not overlap; those at one place in the order in which they are given."""
    made: list[Source] = []
    for source in sources:
        mine = [edit for edit in edits if edit.span.source.name == source.name]
        text = source.text
        mine.reverse()  # of two at one place the first shall stand first
        for edit in sorted(mine, key=lambda edit: edit.span.start, reverse=True):
            text = text[: edit.span.start] + edit.text + text[edit.span.end :]
        made.append(Source(source.name, text) if mine else source)
    return tuple(made)
