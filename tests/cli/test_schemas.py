"""The JSON that commands print against the schemas that the package ships."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.cli.test_commands import notrack
from tests.conftest import ROOT

SCHEMAS = ROOT / "notrack" / "schemas"
EXAMPLES = sorted(ROOT.glob("examples/*/site.spec"))
RULES = """\
*raw
-A PREROUTING -p udp --dport 53 -j CT --notrack
COMMIT
*filter
:INPUT DROP [0:0]
-A INPUT -p udp --dport 53 -m limit --limit 9/s -j ACCEPT
# notrack: ignore[NT606] known
-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
COMMIT
"""
DNS = "udp 203.0.113.9:4000 > 192.0.2.80:53 in eth0 to host"


def valid(name: str, text: str) -> Any:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    found = json.loads(text)
    jsonschema.validate(found, schema)
    return found


@pytest.mark.parametrize("name", sorted(path.stem for path in SCHEMAS.glob("*.json")))
def test_nothing_is_valid_that_says_nothing(name: str) -> None:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema_version": 2}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema_version": 1, "surprise": 1}, schema)


@pytest.mark.parametrize("spec", EXAMPLES, ids=lambda path: path.parent.name)
def test_plans_and_maps(spec: Path, tmp_path: Path) -> None:
    assert valid("plan", notrack("plan", "--format", "json", str(spec)).stdout)["flows"]
    where = tmp_path / "map.json"
    done = notrack("compile", str(spec), "--map", str(where), "-o", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert valid("map", where.read_text())["rules"]


def test_traces(tmp_path: Path) -> None:
    rules = tmp_path / "rules.v4"
    rules.write_text(RULES)
    alone = notrack("trace", str(rules), DNS, "--format", "json")
    assert valid("trace", alone.stdout)["tracking"] == "untracked"
    both = notrack("trace", str(rules), DNS, "--format", "json", "--reply", "--holds", "limit")
    assert valid("trace", both.stdout)["reply"]["verdict"] == "accept"


def test_differences(tmp_path: Path) -> None:
    rules, other = tmp_path / "rules.v4", tmp_path / "other.v4"
    rules.write_text(RULES)
    other.write_text(RULES.replace("9/s", "8/s").replace("--dport 53 -j", "--dport 54 -j"))
    found = valid("diff", notrack("diff", str(rules), str(other), "--format", "json").stdout)
    assert "verdict" in {change["kind"] for change in found["changes"]} and found["rests_on"]
    assert any(change["holding"] for change in found["changes"])


def test_expectations() -> None:
    spec = str(ROOT / "examples" / "edge" / "site.spec")
    assert valid("test", notrack("test", spec, "--format", "json").stdout)["failed"] == 0


def test_facts() -> None:
    assert valid("facts", notrack("facts").stdout)["interfaces"]


def test_findings(tmp_path: Path) -> None:
    rules = tmp_path / "rules.v4"
    rules.write_text(RULES)
    found = valid("lint", notrack("lint", str(rules), "--format", "json").stdout)
    assert [file["rules"] for file in found["files"]] == [3]
    assert {one["code"] for one in found["suppressed"]} == {"NT606"}
