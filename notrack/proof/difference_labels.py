"""What a person calls the same fate of a packet, whatever the rules are that bring it about."""

from __future__ import annotations

from notrack.netfilter.chains import End, Outcome
from notrack.netfilter.effects import Effects, Track, Unsure
from notrack.packets.fields import Field
from notrack.packets.intervals import IntervalSet
from notrack.ruleset.core import Hook
from notrack.text.record import dataclass

_TRANSLATED = (Field.SOURCE, Field.SOURCE_PORT, Field.DESTINATION, Field.DESTINATION_PORT)
_STATUS = (Field.CT_SNAT, Field.CT_DNAT)


@dataclass(frozen=True, slots=True)
class Translation:
    """New values by field: one each, or those among which the kernel chooses. Fields left out are kept.

    Two rules that give the same values are the same translation, whatever their words and formats.
    """

    changes: tuple[tuple[Field, IntervalSet | None], ...]

    def get(self, field: Field) -> IntervalSet | None:
        return dict(self.changes).get(field)

    @property
    def of_source(self) -> bool:
        return any(field in (Field.SOURCE, Field.SOURCE_PORT) for field, _ in self.changes)

    @property
    def of_destination(self) -> bool:
        return any(field in (Field.DESTINATION, Field.DESTINATION_PORT) for field, _ in self.changes)


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a packet: `verdict` is accept, drop, reject or stolen, `hook` where it ended if it did.

    `elsewhere`: it does not take the way that is looked at.
    """

    verdict: str
    hook: Hook | None = None
    tracked: bool = True
    translation: Translation | None = None
    elsewhere: bool = False

    @property
    def passes(self) -> bool:
        return self.verdict == "accept"


def fate_of(outcome: Outcome, *, tracks: bool) -> Fate:
    """The fate of an outcome; `tracks`: whether connections are tracked at all."""
    effects = outcome.effects
    tracked = tracks and effects.track is not Track.UNTRACKED
    moved = translation_of(effects) if tracked else None
    if outcome.end is End.ELSEWHERE:
        return Fate("accept", None, tracked, moved, elsewhere=True)
    if outcome.end is End.ON:
        return Fate("accept", None, tracked, moved)
    return Fate(outcome.end.value, outcome.hook, tracked)


def translation_of(effects: Effects) -> Translation | None:
    """The translation among some effects; None where addresses and ports stay as they are."""
    if effects.source_nat is None and effects.destination_nat is None:
        return None
    if not any(field in _STATUS for field, _ in effects.fields):
        return None
    changes: list[tuple[Field, IntervalSet | None]] = []
    for field, change in effects.fields:
        if field in _TRANSLATED:
            values = IntervalSet.single(change) if isinstance(change, int) else None
            changes.append((field, change.among if isinstance(change, Unsure) else values))
    return Translation(tuple(changes))


def either(one: Translation | None, other: Translation | None) -> Translation | None:
    """One of two translations: every value that either may give. What one of them keeps is told as well."""
    if one is None or other is None:
        return one or other
    known: dict[Field, IntervalSet | None] = {}
    for field, values in (*one.changes, *other.changes):
        before = known.get(field, values)
        known[field] = before | values if before is not None and values is not None else None
    return Translation(tuple(known.items()))
