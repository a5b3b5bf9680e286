"""What the documentation shows of a command is what it prints."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from notrack.cli.main import DIFFERENT, DONE, FINDINGS
from tests.cli.test_diff import notrack
from tests.conftest import ROOT

_BLOCK = re.compile(r"^```(file \S+|run)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


PAGES = sorted(path.name for path in (ROOT / "docs").glob("*.md") if "```run\n" in path.read_text())


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_what_is_printed(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = 0
    for head, text in _BLOCK.findall((ROOT / "docs" / page).read_text()):
        if head.startswith("file "):
            (tmp_path / head.removeprefix("file ")).write_text(text)
            continue
        command, _, shown = text.partition("\n")
        words, _, target = command.removeprefix("$ notrack ").partition(" > ")
        done = notrack(*shlex.split(words))
        assert done.returncode in (DONE, FINDINGS, DIFFERENT), done.stderr
        assert done.stdout.startswith(shown), done.stdout + done.stderr
        if target:
            (tmp_path / target).write_text(done.stdout)
        runs += 1
    assert runs
