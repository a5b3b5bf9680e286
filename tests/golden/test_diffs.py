"""Differences as they are printed: one folder a case, two rulesets in, text out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.test_diff import notrack

CASES = sorted(path for path in (Path(__file__).parent / "diff").iterdir() if path.is_dir())


@pytest.mark.parametrize("case", CASES, ids=lambda path: str(path.name))
def test_difference(case: Path, update_golden: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(case)
    (before,) = (path.name for path in case.glob("before.*"))
    (after,) = (path.name for path in case.glob("after.*"))
    host = ["--host", "host.json"] if (case / "host.json").exists() else []
    done = notrack("diff", before, after, *host)
    assert done.returncode == 6, done.stderr
    expected = case / "expected.txt"
    if update_golden:
        expected.write_text(done.stdout)
    assert done.stdout == expected.read_text()
