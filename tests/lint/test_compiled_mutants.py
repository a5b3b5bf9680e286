"""What the compiler writes is clean, and each rule that is taken out of it is missed under its code."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from notrack.lint.collection import collected
from notrack.lint.engine import lint
from notrack.lint.subject import Subject
from notrack.ruleset.formats import read_all
from notrack.text.source import Source

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(str(path.relative_to(EXAMPLES)) for path in EXAMPLES.glob("*/rules.*"))
RULES = [rule for rule in collected() if rule.code[:3] in ("NT1", "NT2")]


def codes(name: str, text: str) -> list[str]:
    result = lint(Subject(read_all([Source(name, text)])), RULES)
    assert not result.undecided
    return [finding.code for finding in result.findings]


@cache
def lines(name: str) -> tuple[str, ...]:
    return tuple((EXAMPLES / name).read_text().splitlines(keepends=True))


@pytest.mark.parametrize("name", FILES)
def test_what_the_compiler_writes_is_clean(name: str) -> None:
    assert codes(name, "".join(lines(name))) == []


def mutants() -> list[object]:
    """Rules of which one is taken out, with the codes one of which must say it."""
    legs = {"web-dns": ("NT101",), "router": ("NT101", "NT102", "NT106"), "resolver": ("NT101",)}
    made: list[object] = []
    for site, wanted in legs.items():
        name = f"{site}/rules.v4"
        for number, line in enumerate(lines(name)):
            if line.endswith("-j CT --notrack\n") and not _is_needless(line):
                made.append(pytest.param(name, number, wanted, id=f"{site}-{number + 1}"))
    accepts = {
        "router": {"FORWARD": "NT201 NT202", "INPUT": "NT201 NT204 NT205"},
        "resolver": {"OUTPUT": "NT201 NT202"},
    }
    for site, chains in accepts.items():
        name = f"{site}/rules.v4"
        for number, line in enumerate(lines(name)):
            found = re.match(r"-A (\w+) (.*)-j ACCEPT$", line)
            if found and found[1] in chains and _is_for_untracked(site, found[2]):
                made.append(
                    pytest.param(name, number, tuple(chains[found[1]].split()), id=f"{site}-{number + 1}")
                )
    return made


def _is_needless(line: str) -> bool:
    """Rules without which every flow is whole: for lo, for groups, and a tunnel's answers."""
    return "-o lo" in line or "224.0.0.18" in line or "--sport 3784" in line


def _is_for_untracked(site: str, asked: str) -> bool:
    served = {
        "router": r"port 179|dport 22 |port 3784|203\.0\.113\.(53|80/29) ",
        "resolver": r"port 53|ports 53|sport 22|type 0",
    }
    return "ctstate" not in asked and re.search(served[site], asked) is not None


@pytest.mark.parametrize(("name", "number", "wanted"), mutants())
def test_a_rule_that_is_taken_out_is_missed(name: str, number: int, wanted: tuple[str, ...]) -> None:
    text = lines(name)
    found = codes(name, "".join(text[:number] + text[number + 1 :]))
    assert found, text[number]
    assert set(found) <= set(wanted)
