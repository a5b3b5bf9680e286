"""Faults gathered while a site is read, so that one run shows them all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field

from notrack.text.diagnostic import Diagnostic, Related, Severity
from notrack.text.record import dataclass
from notrack.text.source import Span

_MOST = 200  # errors of one run; what comes behind them helps nobody


@dataclass(slots=True)
class Faults:
    """A growing list of diagnostics. `error` and `warn` never raise."""

    found: list[Diagnostic] = field(default_factory=list)
    errors: int = 0
    silent: int = 0  # answers withheld because of an error that has been reported elsewhere

    def error(
        self,
        span: Span | None,
        message: str,
        help: str | None = None,
        related: tuple[Related, ...] = (),
        notes: tuple[str, ...] = (),
    ) -> None:
        self.errors += 1
        if self.errors <= _MOST:
            self.found.append(Diagnostic(Severity.ERROR, message, span, help, related, notes))

    @property
    def mark(self) -> int:
        """Changes whenever something could not be made out."""
        return self.errors + self.silent

    def warn(
        self,
        span: Span,
        message: str,
        help: str | None = None,
        related: tuple[Related, ...] = (),
        code: str = "NT905",
    ) -> None:
        """Something that is taken, and probably not meant. `code` is that under which the linter says it."""
        self.found.append(Diagnostic(Severity.WARNING, message, span, help, related, code=code))

    def errors_in_order(self) -> tuple[Diagnostic, ...]:
        """Every error, those of one file in the order of its text; files in the order they were met."""
        errors = _sorted(d for d in self.found if d.severity is Severity.ERROR)
        if self.errors > _MOST:
            more = f"{self.errors - _MOST} more errors are not shown"
            errors.append(Diagnostic(Severity.ERROR, more, None))
        return tuple(errors)

    def warnings_in_order(self) -> tuple[Diagnostic, ...]:
        return tuple(_sorted(d for d in self.found if d.severity is not Severity.ERROR))


def _sorted(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    listed = list(diagnostics)
    files: dict[int, int] = {}
    for diagnostic in listed:
        if diagnostic.span is not None:
            files.setdefault(id(diagnostic.span.source), len(files))

    def place(diagnostic: Diagnostic) -> tuple[int, int]:
        if diagnostic.span is None:
            return -1, 0
        return files[id(diagnostic.span.source)], diagnostic.span.start

    return sorted(listed, key=place)
