"""The odd rulesets of `odd_flows.txt`: just the codes that are asked for are found in each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from notrack.lint.collection import collected
from notrack.lint.engine import lint
from notrack.lint.subject import Subject
from notrack.ruleset.formats import read_all
from notrack.text.source import Source

RULES = [rule for rule in collected() if rule.code[:3] in ("NT1", "NT2")]


def cases() -> Iterator[object]:
    text = (Path(__file__).parent / "odd_flows.txt").read_text()
    for case in re.split(r"^=== ", text, flags=re.MULTILINE)[1:]:
        head, _, rest = case.partition("\n")
        codes, _, title = head.partition(": ")
        files = re.split(r"^--- (.*)\n", rest, flags=re.MULTILINE)[1:]
        sources = tuple(
            Source(name, body.strip("\n") + "\n") for name, body in zip(files[::2], files[1::2], strict=True)
        )
        yield pytest.param([] if codes == "none" else codes.split(), sources, id=title)


@pytest.mark.parametrize(("wanted", "sources"), list(cases()))
def test_just_these_codes(wanted: list[str], sources: tuple[Source, ...]) -> None:
    result = lint(Subject(read_all(sources)), RULES)
    assert sorted(finding.code for finding in result.findings) == wanted
    assert not result.undecided
