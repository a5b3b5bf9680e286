"""What became of the expectations of a site, as text for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from notrack.proof.expectation import Check, Verdict
from notrack.report.trace import as_text as trace_text
from notrack.site.model import Expectation
from notrack.text.record import dataclass

SCHEMA_VERSION = 1
_FORMS = {"iptables": "iptables", "nft": "nft"}


@dataclass(frozen=True, slots=True)
class Probe:
    """What the real kernel did with a packet of an expectation under one form of the rules."""

    form: str
    packet: str
    seen: str
    faults: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """An expectation with what the model says, and what the kernel did if it was asked."""

    verdict: Verdict
    probes: tuple[Probe, ...] = ()

    @property
    def holds(self) -> bool:
        return self.verdict.holds and all(not probe.faults for probe in self.probes)


def as_text(
    tested: Sequence[Outcome], forms: Sequence[str], kernel: str | None, *, every: bool = False
) -> str:
    """Failed expectations with the whole way of a packet (`every`: the others in a line each), and a sum."""
    lines: list[str] = []
    for one in tested:
        if not one.holds:
            lines += _failed(one)
        elif every:
            lines.append(f"ok      {_place(one.verdict.expectation)}: {_words(one.verdict.expectation)}")
    return "\n".join([*lines, *_sum(tested, forms, kernel)]) + "\n"


def _place(expectation: Expectation) -> str:
    span = expectation.origin.span
    return f"{span.source.name}:{span.line}"


def _words(expectation: Expectation) -> str:
    return " ".join(expectation.origin.span.text.split("#")[0].split())


def _failed(one: Outcome) -> Iterator[str]:
    expectation = one.verdict.expectation
    yield f"FAILED  {_place(expectation)}: {_words(expectation)}"
    failed = [(form, check) for form, check in one.verdict.checks if not check.holds]
    for (_, check), forms in _alike(failed):
        yield f"  {check.packet} ({' and '.join(forms)}): {'; '.join(check.faults)}"
        yield from _way(check)
    for probe in one.probes:
        if probe.faults:
            yield f"  {probe.packet} (kernel, {probe.form}): {'; '.join(probe.faults)}"
            yield from (f"    {note}" for note in probe.notes)
    model = not failed and next((check for _, check in one.verdict.checks if check.journey), None)
    if model:
        yield "  The model says otherwise:"
        yield from _way(model)
    yield ""


def _alike(failed: Sequence[tuple[str, Check]]) -> Iterator[tuple[tuple[str, Check], list[str]]]:
    """Failures, those of one packet that differ by the form of the rules alone told once."""
    seen: dict[tuple[str, tuple[str, ...]], list[tuple[str, Check]]] = {}
    for form, check in failed:
        seen.setdefault((str(check.packet), check.faults), []).append((form, check))
    for alike in seen.values():
        yield alike[0], [form for form, _ in alike]


def _way(check: Check) -> Iterator[str]:
    if check.journey is not None:
        yield from (f"    {line}".rstrip() for line in trace_text(check.journey).splitlines()[1:])


def _sum(tested: Sequence[Outcome], forms: Sequence[str], kernel: str | None) -> Iterator[str]:
    if not tested:
        yield "There are no expectations: write `expect accept tcp from 203.0.113.9 to host port 80 on wan`"
        return
    failed = sum(not one.holds for one in tested)
    packets = sum(len({str(check.packet) for _, check in one.verdict.checks}) for one in tested)
    where = f"on the model ({' and '.join(forms)})" + (f" and on {kernel}" if kernel else "")
    count = f"{len(tested)} expectation{'s' if len(tested) > 1 else ''}"
    if failed:
        yield f"{failed} of {count} failed, {where}"
    else:
        holds = "hold" if len(tested) > 1 else "holds"
        yield f"{count} {holds}, {packets} packet{'s' if packets > 1 else ''}, {where}"


def as_json(tested: Sequence[Outcome], forms: Sequence[str], kernel: str | None) -> dict[str, object]:
    """The expectations as the command line promises them."""
    return {
        "schema_version": SCHEMA_VERSION,
        "failed": sum(not one.holds for one in tested),
        "rules": list(forms),
        "kernel": kernel,
        "expectations": [_json(one) for one in tested],
    }


def _json(one: Outcome) -> dict[str, object]:
    expectation = one.verdict.expectation
    span = expectation.origin.span
    return {
        "file": span.source.name,
        "line": span.line,
        "text": _words(expectation),
        "holds": one.holds,
        "packets": [
            {
                "packet": check.packet.to_json(),
                "rules": form,
                "verdict": check.journey.trace.verdict if check.journey else None,
                "tracking": check.journey.trace.state.name.lower() if check.journey else None,
                "faults": list(check.faults),
            }
            for form, check in one.verdict.checks
        ],
        "kernel": [
            {"packet": probe.packet, "rules": probe.form, "seen": probe.seen, "faults": list(probe.faults)}
            for probe in one.probes
        ],
    }
