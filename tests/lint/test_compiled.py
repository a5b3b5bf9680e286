"""What the compiler writes is clean: the shipped examples hold nothing that the linter would have changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from notrack.lint.collection import collected
from notrack.lint.engine import lint
from notrack.netfilter.host import UNKNOWN_HOST
from notrack.text.diagnostic import Severity
from notrack.text.source import Source
from tests.lint.examples import linted

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(EXAMPLES.glob("*/rules.*"))


def test_there_are_examples() -> None:
    assert len(FILES) >= 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_compiled_rules_hold_no_error_and_no_warning(path: Path) -> None:
    subject = linted((Source(path.name, path.read_text()),), UNKNOWN_HOST)
    result = lint(subject, collected())
    found = [one for one in result.findings if one.rule.severity is not Severity.INFO]
    assert [(one.code, one.span.line, one.fault.message) for one in found] == []
    assert not result.undecided
