"""`# notrack: ignore[NT201] reason`: findings that the author of a file knows about.

On the line, on the line above it, or, in iptables rules, inside `--comment`. `ignore-file[...]` holds for the
whole file. Codes may be given by their beginning (`NT2`). A suppression that hides nothing is a finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from notrack.lint.finding import Finding
from notrack.text.record import dataclass
from notrack.text.source import Source, Span

_WORDS = re.compile(
    r"notrack:\s*(?P<what>ignore(?:-file)?)\b\s*(?:\[(?P<codes>[^\]\n]*)\])?[ \t]*(?P<reason>[^\"'\n]*)"
)
_CODE = re.compile(r"NT\d{0,3}")
_COMMENT = re.compile(r"\s*(?:#|//)")


@dataclass(frozen=True, slots=True)
class Suppression:
    """`line`: whose findings it hides, counted from 1; None: those of the whole file. `codes` empty: it names
    none that could be one, and hides nothing."""

    span: Span
    codes: tuple[str, ...]
    reason: str
    line: int | None

    def hides(self, finding: Finding) -> bool:
        if finding.span.source is not self.span.source:
            return False
        if self.line is not None and not finding.span.line <= self.line <= _last_line(finding.span):
            return False
        return finding.code.startswith(self.codes)


def _last_line(span: Span) -> int:
    """The last line on which a span has a character; `end` may stand at the beginning of the next."""
    end = max(span.start, span.end - 1)
    return span.source.position(end)[0]


def suppressions(source: Source) -> Iterator[Suppression]:
    """All of a file, in their order."""
    if "notrack:" not in source.text:
        return
    for found in _WORDS.finditer(source.text):
        start = source.text.rfind("\n", 0, found.start()) + 1
        before = source.text[start : found.start()]
        if not re.search(r"#|//|--comment|comment\s", before):
            continue
        codes = tuple(code.strip().upper() for code in (found["codes"] or "").split(",") if code.strip())
        sound = codes if all(_CODE.fullmatch(code) for code in codes) else ()
        span = source.span(found.start(), found.start() + len(found[0].rstrip()))
        line: int | None = span.line
        if found["what"] == "ignore-file":
            line = None
        elif _COMMENT.fullmatch(before.rstrip()):
            line = _below(source, span.line)
        yield Suppression(span, sound, found["reason"].strip().rstrip("\\ "), line)


def _below(source: Source, line: int) -> int:
    """The next line that is neither empty nor a comment."""
    last = source.text.count("\n") + 1
    number = line + 1
    while number < last and (not (text := source.line(number).strip()) or _COMMENT.match(text)):
        number += 1
    return min(number, last)


@dataclass(frozen=True, slots=True)
class Sifted:
    """Findings that are left, those that were hidden (each with what hid it), and what hid nothing."""

    kept: tuple[Finding, ...]
    hidden: tuple[tuple[Finding, Suppression], ...]
    unused: tuple[Suppression, ...]


def sift(findings: Sequence[Finding], sources: Sequence[Source]) -> Sifted:
    every = [one for source in sources for one in suppressions(source)]
    kept: list[Finding] = []
    hidden: list[tuple[Finding, Suppression]] = []
    used: set[int] = set()
    for finding in findings:
        hiding = [i for i, one in enumerate(every) if one.hides(finding)]
        used.update(hiding)
        if hiding:
            hidden.append((finding, every[hiding[0]]))
        else:
            kept.append(finding)
    return Sifted(tuple(kept), tuple(hidden), tuple(one for i, one in enumerate(every) if i not in used))
