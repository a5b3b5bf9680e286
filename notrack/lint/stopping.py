"""Which rule or policy decides about one packet: the place to look at when it should decide otherwise."""

from __future__ import annotations

from notrack.lint.bounds import bound
from notrack.lint.view import View
from notrack.netfilter.walk import Step, Undetermined, walk
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.packets.fields import Field, State
from notrack.packets.witness import Witness
from notrack.ruleset.core import Hook, Rule, Verdict
from notrack.text.record import dataclass
from notrack.text.source import Span

_STOPS = (Verdict.DROP, Verdict.REJECT)


@dataclass(frozen=True, slots=True)
class Decision:
    """The last rule that a packet matched before its fate was sealed, or the chain whose policy did it
    (`rule` None)."""

    step: Step
    span: Span | None

    @property
    def rule(self) -> Rule | None:
        return self.step.rule

    @property
    def hook(self) -> Hook:
        return self.step.hook

    @property
    def where(self) -> str:
        """The chain in words."""
        return f"chain {self.step.chain.name} of table {self.step.table.name}"


def stopping(view: View, way: Way, witness: Witness) -> Decision | None:
    """What stops a packet; None where nothing does, or where that cannot be told."""
    steps = _steps(view, way, witness, "drop", "reject")
    if not steps:
        return None
    step = steps[-1]
    if step.rule is None:
        return Decision(step, step.chain.origin.span)
    inner = next((one for one in reversed(steps) if one.rule and _ends(one.rule)), step)
    return Decision(inner, inner.rule.origin.span if inner.rule else None)


def accepting(view: View, way: Way, witness: Witness, hook: Hook) -> Decision | None:
    """The rule of a hook that lets a packet through; None where a policy does, or nothing."""
    steps = [step for step in _steps(view, way, witness, "accept") if step.hook is hook]
    chosen = [step for step in steps if step.rule and step.rule.actions[-1:] == (Verdict.ACCEPT,)]
    if not chosen or chosen[-1].rule is None:
        return None
    return Decision(chosen[-1], chosen[-1].rule.origin.span)


def _ends(rule: Rule) -> bool:
    return bool(rule.actions) and rule.actions[-1] in _STOPS


def _steps(view: View, way: Way, witness: Witness, *verdicts: str) -> tuple[Step, ...]:
    try:
        trace = walk(view.ruleset, witness.packet, view.host, way=way, facts=dict(witness.facts))
    except Undetermined:
        return ()
    return trace.steps if trace.verdict in verdicts else ()


def asks_state(rule: Rule | None, *states: State) -> bool:
    """Whether a rule is there for packets of certain states: it asks for one of these, and not for all."""
    if rule is None:
        return False
    left = bound(rule.guard, Field.STATE, Family.IPV4)
    return left.size() < len(State) and any(state in left for state in states)
