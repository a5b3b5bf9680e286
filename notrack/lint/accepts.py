"""The accept that untracked packets lack, as a line to add or to change, and as a fix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from notrack.lint.admission import JUDGING, Lost
from notrack.lint.finding import Fix
from notrack.lint.mirrors import line
from notrack.netfilter.guards import guard_set
from notrack.packets.fields import Field, State
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Among, Rule, Verdict

if TYPE_CHECKING:
    from notrack.lint.mending import Wording
    from notrack.lint.subject import Subject

_ORDER = (State.INVALID, State.NEW, State.RELATED, State.ESTABLISHED)
_OPTIONS = (("--ctstate", "ct state"), ("--state", None))


def widened(subject: Subject, lost: Lost) -> tuple[str, Fix | None]:
    """The rule that accepts the packets as tracked ones, changed so that it accepts them untracked too.

    Safe where it lets nothing else in than what is lost.
    """
    from notrack.lint.mending import Wording, find, rewritten

    rule = lost.rule
    states = _states(rule) if rule is not None and rule.actions[-1] is Verdict.ACCEPT else None
    written = find(subject.documents, rule) if rule is not None and states is not None else None
    if written is None or states is None or rule is None:
        return "", None
    names = [state.name for state in _ORDER if state in states] + ["UNTRACKED"]
    value = Wording(",".join(names), "{ " + ", ".join(names).lower() + " }")
    for xtables, nft in _OPTIONS:
        body = written.body.asking(Wording(xtables, nft), value)
        if body is not None:
            edits = rewritten(written, body)
            safe = _is_narrow(lost, rule)
            return line(body), Fix("accept UNTRACKED too", edits, safe) if edits else None
    return "", None


def _states(rule: Rule | None) -> IntervalSet | None:
    """The states that a rule asks for, where it names them once, and UNTRACKED is none of them."""
    found = (
        [part for part in rule.guard if isinstance(part, Among) and part.field is Field.STATE] if rule else []
    )
    if len(found) != 1 or found[0].negated or State.UNTRACKED in found[0].values:
        return None
    return found[0].values


def _is_narrow(lost: Lost, rule: Rule) -> bool:
    """Whether all untracked packets for which the rule is are among those that are lost."""
    flows = lost.view.flows
    space = flows.space
    guard = tuple(part for part in rule.guard if not (isinstance(part, Among) and part.field is Field.STATE))
    new = PacketSet(space, guard_set(space, guard)).may() & flows.untracked(lost.way)
    new = new & flows.returning(lost.way)
    ends = (Field.SOURCE_PORT, Field.FLAGS, Field.SOURCE)
    return new <= lost.packets.exists((*ends, *_PACKET)) and new.project(Field.DESTINATION_PORT).size() < 4096


_PACKET = (Field.LENGTH, Field.TTL, Field.TOS, Field.MAC, Field.PACKET_TYPE, Field.MARK, Field.CT_MARK,
           Field.CT_DIRECTION, Field.CT_SNAT, Field.CT_DNAT, Field.STATE)  # fmt: skip


def accepting(subject: Subject, lost: Lost) -> str:
    """A line that would let the lost packets through, made of the NOTRACK rule's; empty where none can be."""
    from notrack.lint.mending import ACCEPT, find

    written = find(subject.documents, lost.leg.rule)
    if written is None:
        return ""
    body = written.body.acting(ACCEPT)
    moved = body.moved("filter", JUDGING[lost.way].name) if body is not None else None
    return line(moved.fresh()) if moved is not None else ""


def added(subject: Subject, lost: Lost, *matches: Wording, safe: bool) -> tuple[str, Fix | None]:
    """An accept for lost answers, made of the NOTRACK rule's matches and some more, to stand behind the rule
    that accepts them as tracked ones. The line is empty where none can be made."""
    from notrack.lint.mending import ACCEPT, after, find

    written = find(subject.documents, lost.leg.rule)
    body = written.body.acting(ACCEPT) if written is not None else None
    for match in matches:
        body = body.narrowed(match) if body is not None else None
    if body is None:
        return "", None
    rule = lost.view.admission.judge(lost.way, lost.packets, State.ESTABLISHED)
    anchor = find(subject.documents, rule) if rule is not None else None
    if anchor is None:
        moved = body.moved("filter", JUDGING[lost.way].name)
        return (line(moved.fresh()) if moved is not None else ""), None
    moved = body.moved(anchor.table, anchor.chain)
    if moved is None or type(moved) is not type(anchor.body) or rule is None or not _accepts(rule):
        return (line(moved.fresh()) if moved is not None else ""), None
    edits = after(anchor, moved)
    return line(moved.fresh()), Fix("let the untracked answers pass", edits, safe) if edits else None


def _accepts(rule: Rule) -> bool:
    return bool(rule.actions) and rule.actions[-1] is Verdict.ACCEPT
