"""What went wrong, where, and how to mend it."""

from __future__ import annotations

import enum

from notrack.text.record import dataclass
from notrack.text.source import Span


class Severity(enum.Enum):
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Related:
    """Another place that belongs to a diagnostic, with what it has to do with it."""

    span: Span
    message: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One fault: its primary place, what is wrong there, and how to mend it. Never holds colour codes."""

    severity: Severity
    message: str
    span: Span | None
    help: str | None = None
    related: tuple[Related, ...] = ()
    notes: tuple[str, ...] = ()  # e.g. a witness packet, one line each
    code: str | None = None  # of the linter's rule that found it


class Rejected(Exception):
    """Raised by a room that cannot go on; carries every fault that was found, in the order of the text."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        super().__init__(f"{len(diagnostics)} fault(s)")
        self.diagnostics = diagnostics
