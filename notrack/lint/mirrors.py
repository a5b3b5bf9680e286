"""The NOTRACK rule that is missing for the answers, as a line to add and as a fix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from notrack.lint.finding import Fix
from notrack.lint.flows import OF_ONE_PACKET, Leg
from notrack.lint.halves import Half
from notrack.netfilter.guards import answered, guard_set
from notrack.packets.fields import Field
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Hook
from notrack.text.source import Span

if TYPE_CHECKING:
    from notrack.lint.mending import Body, Written
    from notrack.lint.subject import Subject


def line(body: Body) -> str:
    """A rule as it is quoted in a message: on one line."""
    return " ".join(body.text.split())


def meant(half: Half) -> tuple[Span, ...]:
    """The rules that were to untrack the answers and do not: they come too late, or lack the option, or are
    never reached. Each is a fault of its own, and the cause of this one."""
    view = half.view
    space, ends = view.model.space, half.packets.exists((*OF_ONE_PACKET, Field.IN, Field.OUT)).may()
    found: list[Span] = []
    for rule in view.flows.failing[:_MANY]:
        taken = PacketSet(space, guard_set(space, answered(rule.guard, view.family))).may()
        if rule.origin.span and ends <= taken.exists((*OF_ONE_PACKET, Field.IN, Field.OUT)):
            found.append(rule.origin.span)
    return tuple(found)


_MANY = 100


def mirrored(subject: Subject, leg: Leg, hook: Hook) -> tuple[Written, Body] | None:
    """The rule of a leg as it is written, and its mirror for the answers at a hook."""
    from notrack.lint.mending import find

    written = find(subject.documents, leg.rule)
    body = written.body.mirrored(hook) if written else None
    return None if written is None or body is None else (written, body.fresh())


def adding(subject: Subject, leg: Leg, hook: Hook) -> tuple[str, Fix | None]:
    """The line that untracks the answers at a hook (empty where it cannot be told), and the fix."""
    found = mirrored(subject, leg, hook)
    if found is None:
        return "", None
    from notrack.lint.mending import answered as put_for_answers

    written, body = found
    edits = put_for_answers(subject.documents, written, body, hook)
    return line(body), Fix("untrack the answers too", edits) if edits else None


def replacing(subject: Subject, leg: Leg, partner: Leg) -> tuple[str, Fix | None]:
    """The line that stands for the answers to what a partner takes, in the place of a leg's rule."""
    from notrack.lint.mending import find, rewritten

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
