"""What the legs of one family are made from."""

from __future__ import annotations

from notrack.packets.address import Family
from notrack.plan.decisions import Claim
from notrack.plan.flow import Decision
from notrack.plan.ground import Ground
from notrack.plan.paths import site_origin
from notrack.site.model import Origin
from notrack.text.record import dataclass


@dataclass(frozen=True, slots=True)
class Frame:
    """What the legs of one family are made from. `tracking`: whether anything there needs tracking.

    `others`: whether rules of others stay, which may turn tracking on and translate.
    """

    ground: Ground
    decisions: tuple[Decision, ...]
    claims: tuple[Claim, ...]
    translated: int  # the first so many claims are translation's
    tracking: bool
    others: bool

    @property
    def family(self) -> Family:
        return self.ground.family

    @property
    def untracked(self) -> list[Decision]:
        return [d for d in self.decisions if not d.tracked]

    def essential(self, what: str) -> tuple[Origin, ...]:
        return (Origin("always", what, site_origin(self.ground, what).span),)
