"""Applies the fixes of findings to the texts they are about, as far as they prove themselves.

A fix counts only if the texts still read afterwards, its finding is gone, and no error or warning is there
that was not there before. Where one comes up that has a fix itself, that is made too. What does not pass is
left out, and the finding stays for people.
"""

from __future__ import annotations

import time
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import field

from notrack.lint.engine import lint
from notrack.lint.finding import Edit, Finding, Fix
from notrack.lint.rule import Rule
from notrack.lint.subject import Subject
from notrack.text.diagnostic import Severity
from notrack.text.record import dataclass
from notrack.text.source import Source

Read = Callable[[Sequence[Source]], Subject]
"""How sources become a subject: every attempt is read anew."""

ROUNDS = 20  # what one fix makes possible for another is done in the next round
ATTEMPTS = 60  # how often all rules are run in one call
SECONDS = 120  # after which nothing new is tried
_UNREADABLE = ("NT803", "NT804")  # findings about lines that cannot be read
FOLLOWING = 3  # how often what a fix brings up is mended before it is given up


@dataclass(frozen=True, slots=True)
class Fixed:
    """A source with its text after all fixes, and the findings that are mended by edits in it."""

    source: Source
    text: str
    applied: tuple[Finding, ...] = ()

    @property
    def changed(self) -> bool:
        return self.text != self.source.text


def fixed(
    sources: Sequence[Source],
    read: Read,
    rules: Sequence[Rule],
    *,
    unsafe: bool = False,
    wanted: Callable[[Finding], bool] = lambda finding: True,
) -> tuple[Fixed, ...]:
    """The sources with the fixes of the rules applied: the safe ones, or with `unsafe` all of them.

    `wanted` chooses among the findings (beside the suppressions in the texts). Findings are compared by all
    rules there are, not by the chosen ones alone. Nothing is written.
    """
    return _Mending(read, tuple(rules), unsafe, wanted).run(tuple(sources))


def unified(fixed: Fixed) -> str:
    """The change as a unified diff; empty where there is none."""
    import difflib

    name = fixed.source.name
    lines: list[str] = []
    before, after = (_lines(text) for text in (fixed.source.text, fixed.text))
    for line in difflib.unified_diff(before, after, name, name):
        lines.append(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n")
    return "".join(lines)


def _lines(text: str) -> list[str]:
    """The lines with their endings; a carriage return alone ends none."""
    parts = text.split("\n")
    return [f"{part}\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


@dataclass(frozen=True, slots=True)
class _State:
    """Texts with what is found in them."""

    sources: tuple[Source, ...]
    subject: Subject
    findings: tuple[Finding, ...]
    census: Counter[tuple[str, str]]  # findings by code and file
    faults: Counter[str]  # errors of the readers by file
    unread: frozenset[tuple[str, int]]  # lines with such errors
    undecided: frozenset[str]


@dataclass(slots=True)
class _Mending:
    read: Read
    rules: tuple[Rule, ...]
    unsafe: bool
    wanted: Callable[[Finding], bool]
    attempts: int = 0
    started: float = field(default_factory=time.monotonic)
    refused: set[tuple[object, ...]] = field(default_factory=set)

    def run(self, sources: tuple[Source, ...]) -> tuple[Fixed, ...]:
        state = self._state(sources)
        applied: dict[int, list[Finding]] = {at: [] for at in range(len(sources))}
        for _ in range(ROUNDS):
            chosen = self._chosen(state)
            if not chosen:
                break
            after, done = self._tried(state, chosen)
            for finding in done:
                for at in _touched(finding, state.sources):
                    applied[at].append(finding)
            if not done and self._spent:
                break
            state = after
        return tuple(
            Fixed(source, made.text, tuple(applied[at]))
            for at, (source, made) in enumerate(zip(sources, state.sources, strict=True))
        )

    @property
    def _spent(self) -> bool:
        return self.attempts >= ATTEMPTS or time.monotonic() > self.started + SECONDS

    def _state(self, sources: tuple[Source, ...]) -> _State:
        from notrack.lint.collection import collected

        self.attempts += 1
        subject = self.read(sources)
        result = lint(subject, collected())
        found = result.findings
        return _State(
            sources,
            subject,
            found,
            Counter(_code_of(one) for one in found),
            _faults(subject, found),
            _unread(subject),
            frozenset(rule.code for rule in result.undecided),
        )

    def _offers(self, state: _State) -> list[Finding]:
        """The findings that could be mended, in their order, less those whose fix was tried in vain."""
        codes = {rule.code for rule in self.rules}
        return [one for one in state.findings if one.code in codes and self._permitted(one)]

    def _chosen(self, state: _State) -> list[Finding]:
        """Fixes to try at once: at first those of lines that could not be read, which hide what they hold."""
        offers = self._offers(state)
        unread = [one for one in offers if _is_unread(one, state)]
        return _compatible(unread or offers, state.sources)

    def _tried(self, state: _State, chosen: list[Finding]) -> tuple[_State, list[Finding]]:
        """The state with as many of the fixes as prove themselves. What fails together is tried in halves."""
        if self._spent:
            self._refuse(chosen)
            return state, []
        after = self._state(_applied(state.sources, chosen))
        done = chosen
        for _ in range(FOLLOWING):
            if _proves(state, after, done):
                return after, done
            following = self._following(state, after, done)
            if not following or self._spent:
                break
            after = self._state(_applied(after.sources, following))
            done = [*done, *following]
        if len(chosen) == 1:
            self._refuse(chosen)
            return state, []
        one, other = _halves(chosen)
        first, some = self._tried(state, one)
        if some:
            return first, some  # the others' places are others now: they come again in the next round
        return self._tried(state, other)

    def _following(self, before: _State, after: _State, done: list[Finding]) -> list[Finding]:
        """Findings that came up with some fixes, if all of them can be mended in their turn."""
        left = _left(before, done)
        new = _new(after, left)
        new |= {key for one in done if after.census[key := _code_of(one)] > left[key]}
        if _reads_worse(before, after):
            return []
        found = [one for one in after.findings if _code_of(one) in new]
        tried = {_key(one, fix) for one in done if (fix := one.fault.fix)}
        if not all(self._permitted(one) and _key(one, one.fault.fix) not in tried for one in found):
            return []
        return _compatible(found, after.sources)

    def _permitted(self, one: Finding) -> bool:
        """Whether a finding has a fix that may be made and was not tried in vain."""
        fix = one.fault.fix
        if fix is None or not fix.edits or _key(one, fix) in self.refused:
            return False
        return (fix.safe or self.unsafe) and self.wanted(one)

    def _refuse(self, chosen: list[Finding]) -> None:
        self.refused |= {_key(one, fix) for one in chosen if (fix := one.fault.fix)}


def _halves(chosen: list[Finding]) -> tuple[list[Finding], list[Finding]]:
    """What to try apart: first one code and the others, then the halves of one code."""
    same = [one for one in chosen if one.code == chosen[0].code]
    if len(same) < len(chosen):
        return same, [one for one in chosen if one.code != chosen[0].code]
    return chosen[: len(chosen) // 2], chosen[len(chosen) // 2 :]


def _faults(subject: Subject, findings: Iterable[Finding]) -> Counter[str]:
    """What readers refuse, but for lines of which a finding says it."""
    said = {(one.span.source.name, one.span.line) for one in findings if one.code in _UNREADABLE}
    told = Counter(name for name, line in _refused(subject) if (name, line) not in said)
    unread = (one.source.name for one in subject.documents if one.tree is None)
    return told + Counter(unread)


def _unread(subject: Subject) -> frozenset[tuple[str, int]]:
    return frozenset(_refused(subject))


def _refused(subject: Subject) -> Iterator[tuple[str, int]]:
    """Files and lines that hold an error. One at no character is about the file as a whole."""
    for one in subject.reading.diagnostics:
        if one.severity is Severity.ERROR and one.span is not None and one.span.end > 0:
            yield one.span.source.name, one.span.line


def _is_unread(finding: Finding, state: _State) -> bool:
    return (finding.span.source.name, finding.span.line) in state.unread


def _proves(before: _State, after: _State, chosen: list[Finding]) -> bool:
    """Whether the findings are gone, nothing new is found, and everything still reads.

    A line that reads only now may show what it says: of that, nothing is held against its fix.
    """
    left = _left(before, chosen)
    shows = all(_is_unread(one, before) for one in chosen)
    own = {_code_of(one) for one in chosen}
    if (not shows and _new(after, left)) or any(after.census[key] > left[key] for key in own):
        return False
    return not _reads_worse(before, after) and after.undecided <= before.undecided


def _new(after: _State, left: Counter[tuple[str, str]]) -> set[tuple[str, str]]:
    """Codes and files of which there are more errors and warnings than may be. What is mere information comes
    and goes with the rules."""
    counted = {_code_of(one) for one in after.findings if one.rule.severity is not Severity.INFO}
    return {key for key in counted if after.census[key] > left[key]}


def _left(before: _State, gone: list[Finding]) -> Counter[tuple[str, str]]:
    """How many findings there may be of each code and file when some are gone. What came up on the way and
    was mended again was not there before."""
    left = Counter(before.census)
    left.subtract(Counter(_code_of(one) for one in gone if one in before.findings))
    return left


def _code_of(finding: Finding) -> tuple[str, str]:
    return finding.code, finding.span.source.name


def _reads_worse(before: _State, after: _State) -> bool:
    """Whether a reader has more to say against a file."""
    return any(count > before.faults[name] for name, count in after.faults.items())


def _key(finding: Finding, fix: Fix | None) -> tuple[object, ...]:
    """What tells a fix apart, wherever its place moves to."""
    edits = tuple((edit.span.source.name, edit.span.text, edit.text) for edit in fix.edits) if fix else ()
    return finding.code, finding.span.source.name, finding.span.text, fix and fix.title, edits


# Edits.


def _at(edit: Edit, sources: Sequence[Source]) -> int | None:
    """The number of the source that an edit is about."""
    for number, source in enumerate(sources):
        if edit.span.source is source or edit.span.source == source:
            return number
    return None


def _touched(finding: Finding, sources: Sequence[Source]) -> set[int]:
    fix = finding.fault.fix
    names = {edit.span.source.name for edit in (fix.edits if fix else ())}
    return {at for at, source in enumerate(sources) if source.name in names}


def _compatible(findings: Iterable[Finding], sources: Sequence[Source]) -> list[Finding]:
    """Findings whose edits do not meet: of those that do, the first is taken."""
    taken: dict[int, list[tuple[int, int]]] = {}
    chosen: list[Finding] = []
    for finding in findings:
        fix = finding.fault.fix
        edits = fix.edits if fix else ()
        placed = [(_at(edit, sources), (edit.span.start, edit.span.end)) for edit in edits]
        if any(at is None for at, _ in placed):
            continue
        if all(not _meets(stretch, taken.get(at or 0, [])) for at, stretch in placed):
            chosen.append(finding)
            for at, stretch in placed:
                insort(taken.setdefault(at or 0, []), stretch)
    return chosen


def _meets(stretch: tuple[int, int], others: list[tuple[int, int]]) -> bool:
    """Whether a stretch meets one of several that do not meet each other, in their order. Two insertions at
    one place do: which comes first would not be said."""
    start, end = stretch
    at = bisect_left(others, stretch)
    if at and others[at - 1][1] > start:
        return True
    following = others[at : at + 1]
    return following == [stretch] or any(low < end and start < high for low, high in following)


def _applied(sources: tuple[Source, ...], findings: Iterable[Finding]) -> tuple[Source, ...]:
    edits: dict[int, list[Edit]] = {}
    for finding in findings:
        fix = finding.fault.fix
        for edit in fix.edits if fix else ():
            place = _at(edit, sources)
            if place is not None:
                edits.setdefault(place, []).append(edit)
    return tuple(
        Source(source.name, edited(source.text, edits[at])) if at in edits else source
        for at, source in enumerate(sources)
    )


def edited(text: str, edits: Iterable[Edit]) -> str:
    """A text with edits that do not overlap."""
    pieces: list[str] = []
    at = 0
    for edit in sorted(edits, key=lambda one: (one.span.start, one.span.end)):
        pieces += [text[at : edit.span.start], edit.text]
        at = max(at, edit.span.end)
    return "".join((*pieces, text[at:]))
