"""The NOTRACK rule that is missing for the answers, as a line to add and as a fix."""

from __future__ import annotations

from notrack.lint.finding import Fix
from notrack.lint.flows import Leg
from notrack.lint.mending import Body, Written, answered, find, rewritten
from notrack.lint.subject import Subject
from notrack.ruleset.core import Hook


def line(body: Body) -> str:
    """A rule as it is quoted in a message: on one line."""
    return " ".join(body.text.split())


def mirrored(subject: Subject, leg: Leg, hook: Hook) -> tuple[Written, Body] | None:
    """The rule of a leg as it is written, and its mirror for the answers at a hook."""
    written = find(subject.documents, leg.rule)
    body = written.body.mirrored(hook) if written else None
    return None if written is None or body is None else (written, body.fresh())


def adding(subject: Subject, leg: Leg, hook: Hook) -> tuple[str, Fix | None]:
    """The line that untracks the answers at a hook (empty where it cannot be told), and the fix."""
    found = mirrored(subject, leg, hook)
    if found is None:
        return "", None
    written, body = found
    edits = answered(subject.documents, written, body, hook)
    return line(body), Fix("untrack the answers too", edits) if edits else None


def replacing(subject: Subject, leg: Leg, partner: Leg) -> tuple[str, Fix | None]:
    """The line that stands for the answers to what a partner takes, in the place of a leg's rule."""
    old = find(subject.documents, leg.rule)
    new = mirrored(subject, partner, leg.hook)
    if old is None or new is None:
        return "", None
    body = new[1] if old.chain == leg.hook.name or old.chain == new[0].chain else None
    if body is None:
        body = new[1].moved(old.table, old.chain)
    if body is None or type(old) is not type(new[0]):
        return line(new[1]), None
    edits = rewritten(old, body)
    return line(body), Fix("mirror the rule of PREROUTING", edits) if edits else None
