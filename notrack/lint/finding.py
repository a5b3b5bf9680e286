"""What a rule of the linter says: where, what it means, a packet that proves it, and the change to make."""

from __future__ import annotations

from typing import TYPE_CHECKING

from notrack.text.diagnostic import Related
from notrack.text.record import dataclass
from notrack.text.source import Span

if TYPE_CHECKING:
    from notrack.lint.rule import Rule
    from notrack.packets.witness import Witness


@dataclass(frozen=True, slots=True)
class Edit:
    """The text of a span is replaced; an empty span is a place where the text is inserted."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Fix:
    """Edits that mend a finding, all of them or none. `safe`: no packet that was let through is stopped and
    none that was stopped is let through, save what the finding is about; else behaviour narrows.
    """

    title: str
    edits: tuple[Edit, ...]
    safe: bool = True


@dataclass(frozen=True, slots=True)
class Fault:
    """What the check of a rule yields.

    - `span`: the primary place, the one that must change;
    - `message`: what it means, in an operator's words; `help`: the change to make;
    - `related`: other places, each with what it has to do with it;
    - `witness`: a packet (with the facts that must hold) that shows it;
    - `notes`: what was assumed, e.g. that a match which no packet decides holds;
    - `causes`: places whose own findings may be the cause of this one (see `Rule.yields_to`).
    """

    span: Span
    message: str
    help: str
    related: tuple[Related, ...] = ()
    witness: Witness | None = None
    fix: Fix | None = None
    notes: tuple[str, ...] = ()
    causes: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault, and the rule that found it."""

    rule: Rule
    fault: Fault

    @property
    def code(self) -> str:
        return self.rule.code

    @property
    def span(self) -> Span:
        return self.fault.span
