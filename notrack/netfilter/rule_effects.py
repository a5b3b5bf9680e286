"""What single actions of rules do to a packet, as effects."""

from __future__ import annotations

from dataclasses import replace

from notrack.netfilter.effects import UNKNOWN_ZONES, Effects, Shift, Track, Unsure, mark_bits
from notrack.netfilter.host import Host
from notrack.netfilter.translation import with_kind
from notrack.packets.address import Family
from notrack.packets.fields import Field
from notrack.packets.intervals import IntervalSet
from notrack.ruleset.core import (
    Base,
    ChainType,
    Hook,
    SetField,
    SetMark,
    ShiftField,
    Template,
    Unknown,
)


def base_effects(
    effects: Effects, base: Base, host: Host, family: Family, *, answers: bool = False
) -> Effects:
    """What a base chain of type route did: a new destination makes the kernel look for a new way out."""
    if base.kind is not ChainType.ROUTE or base.hook is not Hook.OUTPUT:
        return effects
    facing = effects.mirrored() if answers else effects
    if not any(field is Field.DESTINATION for field, _ in facing.fields):
        return effects
    moved = replace(with_kind(facing, host, family), rerouted=True)
    return moved.mirrored() if answers else moved


def unknown_facts(action: Unknown) -> tuple[str, str]:
    """The two facts on which an action rests that was not understood."""
    return f"`{action.text}` ends the chain", f"`{action.text}` accepts"


def mark_effects(action: SetMark) -> Effects:
    return Effects(marks=((action.field, mark_bits(action)),))


def field_effects(action: SetField | ShiftField, hook: Hook, host: Host, family: Family) -> Effects:
    """A TTL that nobody knows is taken to be one with which a packet is still forwarded.

    A new destination at OUTPUT does not change the way of the packet, unless a chain of type route made it.
    """
    if isinstance(action, ShiftField):
        return Effects(fields=((action.field, Shift(action.by, action.low, action.high)),))
    unknown = Unsure(action.what, _FORWARDED_TTL if action.field is Field.TTL else None)
    made = Effects(fields=((action.field, action.value if action.value is not None else unknown),))
    return made if hook is Hook.OUTPUT else with_kind(made, host, family)


def template_effects(action: Template) -> Effects:
    return Effects(Track.TEMPLATE, action.what, UNKNOWN_ZONES if action.zones is None else action.zones)


_FORWARDED_TTL = IntervalSet(((2, 255),))
