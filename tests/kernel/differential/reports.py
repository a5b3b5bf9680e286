"""A disagreement as people read it, and as a regression test ready to be kept."""

from __future__ import annotations

from dataclasses import fields

from tests.kernel.differential.agreement import Difference
from tests.kernel.differential.probes import Probe
from tests.kernel.differential.sessions import Session


def report(session: Session, minimal: Session, differences: list[Difference]) -> str:
    """The seed, the smallest ruleset, the packets, what both sides say, and a test."""
    lines = [f"seed {session.seed}, {session.backend}:"]
    for difference in differences:
        lines += _difference(difference)
    lines += [f"--- {name}\n{text}" for name, text in minimal.case.texts(minimal.backend).items()]
    lines += ["--- as a test", regression(minimal, f"seed_{session.seed}")]
    return "\n".join(lines)


def _difference(one: Difference) -> list[str]:
    lines = [f"  {one.what}"]
    seen, said = one.observation, one.expectation
    if seen is not None:
        lines.append(f"    packet: {probe_text(seen.probe)}")
        places = ", ".join(f"{at.where} as {at.packet}" for at in seen.arrivals) or "nowhere"
        lines.append(f"    kernel: state {seen.state or '?'}, refused {seen.refused}, arrived {places}")
    if said is not None and said.trace is not None:
        trace = said.trace
        lines.append(
            f"    model: {said.verdict} {said.where} {said.header}, state {said.state}, {trace.way.value}"
        )
        lines += [
            f"      {step.hook.value} {step.table.name} {step.chain.name}: "
            f"{step.rule.origin.text if step.rule else ''} => {step.result}"
            for step in trace.steps
        ]
    return lines


def probe_text(probe: Probe) -> str:
    """The probe as Python says it, without what is as usual."""
    said = [
        f"{field.name}={getattr(probe, field.name)!r}"
        for field in fields(probe)
        if field.name != "number" and getattr(probe, field.name) != field.default
    ]
    return f"Probe({', '.join([str(probe.number), *said])})"


def regression(session: Session, name: str) -> str:
    """A test function, to be named after what was wrong."""
    lines = [f"def test_{name}(bench: Bench) -> None:", "    agree(", "        bench,"]
    lines += [f'        "{session.backend}",', "        {"]
    for key, text in session.case.texts(session.backend).items():
        lines.append(f'            "{key}": """\\\n{text}""",')
    lines += ["        },", "        ["]
    lines += [f"            {probe_text(probe)}," for probe in session.probes]
    return "\n".join([*lines, "        ],", "    )", ""])
