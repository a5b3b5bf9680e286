"""Where emitted rules break the plan: the packet, the rule at fault, what the plan asks for instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from notrack.netfilter.guards import holds
from notrack.netfilter.tracking import Keeper
from notrack.packets.address import Family
from notrack.packets.fields import Field
from notrack.packets.packet_set import PacketSet
from notrack.packets.witness import Witness
from notrack.plan.planner import FamilyPlan
from notrack.proof.functions import Place, mounted
from notrack.proof.safety import Breach
from notrack.ruleset.core import Chain, Jump, Log, Origin, Rule, Ruleset, Table, Verdict
from notrack.text.diagnostic import Diagnostic
from notrack.text.record import dataclass


@dataclass(frozen=True, slots=True)
class Side:
    """What one side does with the packet at the place: a word, and the rule (or declaration) that does it."""

    does: str
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """A broken promise. `wants` and `does` are None where no single rule is at fault."""

    target: str
    family: Family
    what: str
    place: str = ""
    packet: Witness | None = None
    wants: Side | None = None
    does: Side | None = None


def unread_fault(target: str, family: Family, told: Diagnostic) -> Fault:
    """The reader does not understand what was emitted."""
    return Fault(target, family, told.message, does=Side("not understood", Origin(told.span)))


def tracking_fault(target: str, plan: FamilyPlan, keepers: Sequence[Keeper]) -> Fault:
    """Tracking is on where the plan says that nothing is tracked, or off where something must be."""
    if keepers:
        what = "the rules keep connection tracking on, and the plan says that nothing is tracked"
        return Fault(target, plan.family, what, does=Side(keepers[0].what, keepers[0].origin))
    return Fault(
        target, plan.family, "no rule keeps connection tracking on, and the plan says that flows are"
    )


def difference_fault(target: str, place: Place, packets: PacketSet, wanted: Ruleset, found: Ruleset) -> Fault:
    """The text and the plan differ at a place, about these packets."""
    witness = packets.witness()
    assert witness is not None
    wants = deciding(wanted, place, witness)
    does = deciding(found, place, witness)
    what = "the rules do something else with a packet than the plan asks for"
    return Fault(target, packets.space.family, what, str(place), witness, wants, does)


def breach_fault(target: str, breach: Breach, found: Ruleset, wanted: Ruleset) -> Fault:
    """A property of safety does not hold."""
    witness = breach.packets.witness()
    assert witness is not None
    does = deciding(found, breach.place, witness)
    wants = deciding(wanted, breach.place, witness)
    return Fault(target, breach.packets.space.family, breach.what, str(breach.place), witness, wants, does)


def deciding(ruleset: Ruleset, place: Place, witness: Witness) -> Side:
    """What becomes of a packet at a place, and the rule that decides it."""
    values, facts = witness.packet.values(), dict(witness.facts)
    for item in mounted(ruleset, place, witness.packet.family):
        for rule, word in _steps(item.table, item.chain, values, facts, witness.packet.family, ()):
            return Side(word, rule.origin)
        assert item.chain.base is not None
        if item.chain.base.policy is Verdict.DROP:
            return Side("dropped by the policy", item.chain.origin)
    return Side("left as it is")


def _steps(
    table: Table,
    chain: Chain,
    values: Mapping[Field, int],
    facts: Mapping[str, bool],
    family: Family,
    inside: tuple[str, ...],
) -> Iterator[tuple[Rule, str]]:
    """The first rule that does something to a packet."""
    for rule in chain.rules:
        if not holds(rule.guard, values, family, lambda name: facts.get(name, False)):
            continue
        for action in rule.actions:
            if isinstance(action, Jump):
                target = table.chain(action.chain)
                if target is not None and target.name not in inside:
                    yield from _steps(table, target, values, facts, family, (*inside, target.name))
            elif action is Verdict.RETURN:
                return
            elif not isinstance(action, Log):
                yield rule, _word(action)


def _word(action: object) -> str:
    if isinstance(action, Verdict):
        return {"accept": "accepted", "drop": "dropped", "reject": "rejected"}.get(action.value, action.value)
    text = getattr(action, "text", None) or getattr(action, "what", None)
    return str(text) if text else "untracked"
