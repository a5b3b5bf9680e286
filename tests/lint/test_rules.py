"""Every rule of the linter against its own examples."""

from __future__ import annotations

import pytest

from notrack.lint.collection import collected
from notrack.lint.engine import lint
from notrack.lint.rule import Example, Rule
from tests.lint.examples import case

BAD = [pytest.param(rule, one, id=f"{rule.code}-{one.title}") for rule in collected() for one in rule.bad]
RIGHT = [
    pytest.param(rule, one, id=f"{rule.code}-{one.title}")
    for rule in collected()
    for one in (*rule.good, *rule.looks_wrong)
]


@pytest.mark.parametrize(("rule", "example"), BAD)
def test_what_is_marked_is_found(rule: Rule, example: Example) -> None:
    made = case(example)
    assert any(code == rule.code for _, _, code in made.wanted), "a bad example marks a line of its own rule"
    codes = {code for _, _, code in made.wanted} | {rule.code}
    result = lint(made.subject, collected())
    found = {(f.span.source.name, f.span.line, f.code) for f in result.findings if f.code in codes}
    assert found == made.wanted
    assert not result.undecided


@pytest.mark.parametrize(("rule", "example"), RIGHT)
def test_what_is_right_is_not_found(rule: Rule, example: Example) -> None:
    result = lint(case(example).subject, collected())
    assert [f for f in result.findings if f.code == rule.code] == []
    assert not result.undecided
