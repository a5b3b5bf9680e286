"""The shipped reference rulesets: in each is found what stands beside it, and nothing else."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from notrack.cli.linted import subject
from notrack.lint.collection import collected
from notrack.lint.engine import lint
from notrack.netfilter.host import UNKNOWN_HOST, read_host
from notrack.resource import resource
from notrack.text.diagnostic import Severity
from notrack.text.source import Source

BESIDE = ("expected.toml", "host.json")
FOLDERS = sorted(path.parent for path in resource("rulesets").glob("*/expected.toml"))


def sources(folder: Path) -> list[Source]:
    return [
        Source(path.name, path.read_text()) for path in sorted(folder.iterdir()) if path.name not in BESIDE
    ]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_what_is_expected_is_found(folder: Path) -> None:
    expected = tomllib.loads((folder / "expected.toml").read_text())
    facts = folder / "host.json"
    host = read_host(facts.read_text()) if facts.exists() else UNKNOWN_HOST
    made, _ = subject(sources(folder), host, None, lambda name: None)
    result = lint(made, collected())
    found = [(one.code, one.span.source.name, one.span.line) for one in result.findings]
    assert sorted(found) == sorted((f["code"], f["file"], f["line"]) for f in expected.get("finding", ()))
    assert result.undecided == ()
    severe = [one for one in result.findings if one.rule.severity is not Severity.INFO]
    assert result.findings if not folder.name.startswith("good-") else not severe


def test_there_are_enough_of_all_formats() -> None:
    assert len(FOLDERS) >= 40
    names = {path.suffix for folder in FOLDERS for path in folder.iterdir()}
    assert {".v4", ".v6", ".nft", ".sh", ".json", ".spec"} <= names
