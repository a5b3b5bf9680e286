"""New commands in scripts, and old ones taken out."""

from __future__ import annotations

from notrack.lint.finding import Edit
from notrack.lint.mending.lines import indentation, is_alone, line_after, line_before, line_deleted
from notrack.lint.mending.written import Edits, ShellCommand


def next_to(rule: ShellCommand, text: str, behind: bool) -> Edits | None:
    """A command behind or before another one, which must be a statement of its own."""
    if not rule.alone:
        return None
    span = rule.span
    if is_alone(span, ";"):
        line = indentation(span.source, span.start) + text
        return (line_after(span, line) if behind else line_before(span, line),)
    at = span.end if behind else span.start
    return (Edit(span.source.span(at, at), f"; {text}" if behind else f"{text}; "),)


def deleted(rule: ShellCommand) -> Edits | None:
    """The command taken out, if the shell can do without it there."""
    if not rule.alone or rule.only:
        return None
    if is_alone(rule.span, ";", comment=""):
        return (line_deleted(rule.span),)
    span = rule.span
    source = span.source
    end = span.end
    while source.text[end : end + 1] in (" ", "\t"):
        end += 1
    if source.text[end : end + 1] == ";" and source.text[end + 1 : end + 2] != ";":
        end += 1
        while source.text[end : end + 1] in (" ", "\t"):
            end += 1
        return (Edit(source.span(span.start, end), ""),)
    return (Edit(source.span(span.start, span.end), ":"),)
