"""Whether a host forwards, and rules for its own services that also catch what it forwards."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.bounds import asks, bound
from notrack.lint.entrances import entrances
from notrack.lint.exposure import accepts, to_anyone
from notrack.lint.translations import SOURCE_KINDS, Conflict, Part, Translations
from notrack.lint.view import Untracking, View
from notrack.netfilter.ways import Way
from notrack.packets.fields import Field, domain, interface_value
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Hook, Rule
from notrack.text.record import dataclass
from notrack.text.source import Span

_SCOPES = (Field.SOURCE, Field.DESTINATION, Field.SOURCE_TYPE, Field.DESTINATION_TYPE, Field.MARK, Field.MAC)
_LO = interface_value("lo")


@dataclass(frozen=True, slots=True)
class Stray:
    """A rule for a service of this host that takes forwarded packets; `translated`: what nat would do."""

    untracking: Untracking
    packets: PacketSet
    translated: Conflict | None


def strays(made: Translations) -> Iterator[Stray]:
    """Every such rule, where packets pass through the host."""
    view = made.view
    if view.host.forwards(view.family) is None and not evidence(view):
        return
    # where sources are translated, what comes from outside is for this host alone
    translates = any(nat.kind in SOURCE_KINDS for nat in made.nats)
    untranslated = {
        id(one.untracking.visit.rule): one
        for one in made.conflicts
        if one.source and one.part is Part.QUESTIONS
    }
    for one, packets in made.untracking(Way.FORWARD):
        if not made.names_ports(one) or made.is_answer(one):
            continue
        elsewhere = made.forwarded(packets, [one.visit.rule]) if to_anyone(packets) else None
        if not elsewhere:
            continue
        conflict = untranslated.get(id(one.visit.rule))
        if conflict is not None and is_for_services(made, one):
            yield Stray(one, conflict.packets, conflict)
        elif conflict is None and not translates and _is_local_pair(made, one):
            yield Stray(one, elsewhere, None)


def is_for_services(made: Translations, one: Untracking) -> bool:
    """Whether a rule that names ports is meant for services of this host: OUTPUT untracks the answers, or it
    names nothing but ports and nothing untracks the answers of other hosts."""
    if not made.names_ports(one):
        return False
    if _answered_by_host(made, one):
        return True
    return _by_port_alone(made.view, one.visit.rule) and not _answered_by_others(made, one)


def _is_local_pair(made: Translations, one: Untracking) -> bool:
    return _answered_by_host(made, one) and not _answered_by_others(made, one)


def _answered_by_host(made: Translations, one: Untracking) -> bool:
    here = [packets for mine, packets in made.untracking(Way.LOCAL_IN) if mine.visit.rule is one.visit.rule]
    return any(made.mirrored(packets, Way.LOCAL_OUT) for packets in here)


def _answered_by_others(made: Translations, one: Untracking) -> bool:
    passing = [packets for mine, packets in made.untracking(Way.FORWARD) if mine.visit.rule is one.visit.rule]
    return any(made.mirrored(packets, Way.FORWARD) for packets in passing)


def _by_port_alone(view: View, rule: Rule) -> bool:
    return not asks(rule.guard, *_SCOPES) and _is_wide(view, rule, Field.IN)


def _is_wide(view: View, rule: Rule, field: Field) -> bool:
    """Whether a rule leaves most of an interface field open."""
    whole = domain(field, view.family).whole
    return 2 * bound(rule.guard, field, view.family).size() > whole.size()


def evidence(view: View) -> Span | None:
    """A rule that has a meaning only where packets are forwarded: a translated source, or an accept in
    FORWARD that names the way out. A chain that INPUT shares says nothing."""
    for table in view.ruleset.tables:
        if view.family not in table.families:
            continue
        leading = entrances(table)
        for chain in table.chains:
            hooks = {base.hook for base in leading[chain.name]}
            for rule in chain.rules:
                if hooks and _tells(view, rule, hooks):
                    return rule.origin.span
    return None


def _tells(view: View, rule: Rule, hooks: set[Hook]) -> bool:
    kinds = [getattr(action, "kind", None) for action in rule.actions]
    if hooks == {Hook.POSTROUTING} and any(kind in SOURCE_KINDS for kind in kinds):
        return True
    named = bound(rule.guard, Field.OUT, view.family)
    return (
        hooks == {Hook.FORWARD} and accepts(rule) and not _is_wide(view, rule, Field.OUT) and _LO not in named
    )
