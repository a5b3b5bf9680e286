"""Every witness of the rules on what is let in and on translation, taken through the rules one by one."""

from __future__ import annotations

import pytest

from notrack.lint.collection import named
from notrack.lint.engine import lint
from notrack.lint.finding import Finding
from notrack.lint.rule import Example
from notrack.lint.subject import Subject
from notrack.netfilter.walk import Trace, walk
from notrack.netfilter.ways import Way
from notrack.packets.fields import State
from notrack.packets.packet import Packet
from tests.lint.examples import case


def examples(*codes: str) -> list[object]:
    rules = [rule for code in codes if (rule := named(code))]
    assert len(rules) == len(codes)
    return [pytest.param(rule, one, id=f"{rule.code}-{one.title}") for rule in rules for one in rule.bad]


def found(rule: object, example: Example) -> tuple[Subject, tuple[Finding, ...]]:
    subject = case(example).subject
    findings = lint(subject, (rule,)).findings  # type: ignore[arg-type]
    assert findings
    return subject, findings


def way(packet: Packet) -> Way:
    if packet.in_interface is None:
        return Way.LOCAL_OUT
    return Way.LOCAL_IN if packet.out_interface is None else Way.FORWARD


def trace(subject: Subject, finding: Finding) -> Trace:
    witness = finding.fault.witness
    assert witness is not None
    return walk(
        subject.ruleset, witness.packet, subject.host, way=way(witness.packet), facts=dict(witness.facts)
    )


@pytest.mark.parametrize(("rule", "example"), examples("NT301", "NT302", "NT303", "NT305"))
def test_what_is_let_in_comes_in(rule: object, example: Example) -> None:
    subject, findings = found(rule, example)
    for finding in findings:
        went = trace(subject, finding)
        assert went.verdict == "accept"
        if finding.code in ("NT301", "NT305"):
            assert went.state is State.UNTRACKED
        if finding.code == "NT302":
            assert went.state is State.INVALID


@pytest.mark.parametrize(("rule", "example"), examples("NT301", "NT302", "NT303"))
def test_the_rule_found_is_the_one_that_accepts(rule: object, example: Example) -> None:
    subject, findings = found(rule, example)
    for finding in findings:
        steps = [step for step in trace(subject, finding).steps if step.rule is not None]
        accepted = [step.rule.origin.span for step in steps if step.result.endswith("accept") and step.rule]
        places = {other.span for other in findings}
        assert places & set(accepted), "this rule, or another one that opens the same"


@pytest.mark.parametrize(("rule", "example"), examples("NT306"))
def test_neighbour_discovery_is_dropped(rule: object, example: Example) -> None:
    subject, findings = found(rule, example)
    for finding in findings:
        went = trace(subject, finding)
        assert went.verdict in ("drop", "reject")
        last = [step for step in went.steps if step.rule is not None][-1]
        assert last.rule is not None and last.rule.origin.span == finding.span


@pytest.mark.parametrize(("rule", "example"), examples("NT304", "NT401", "NT402", "NT403"))
def test_what_is_untracked_is_untracked(rule: object, example: Example) -> None:
    subject, findings = found(rule, example)
    for finding in findings:
        went = trace(subject, finding)
        assert went.state is State.UNTRACKED
        assert went.effects.source_nat is None
        assert went.effects.destination_nat is None
