"""The hooks with the real pre-commit program, on a repository made for the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

BAD = """\
*raw
-A PREROUTING -p udp --dport 53 -j NOTRACK
COMMIT
*filter
:INPUT DROP [0:0]
-A INPUT -p udp --dport 53 -j ACCEPT
-A INPUT -p tcp --dport 22 -j ACCEPT
-A INPUT -m state --state ESTABLISHED -j ACCEPT
COMMIT
"""
NOT_OURS = (
    "tests",
    "docs",
    "benchmarks",
    ".git",
    ".venv",
    "__pycache__",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
)


@pytest.fixture(scope="module")
def hooks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project as a repository that others name in their configuration."""
    copy = tmp_path_factory.mktemp("hooks") / "notrack"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*NOT_OURS))
    commit(copy)
    return copy


@pytest.fixture
def repository(tmp_path: Path, hooks: Path) -> Path:
    head = git(hooks, "rev-parse", "HEAD").stdout.strip()
    (tmp_path / ".pre-commit-config.yaml").write_text(
        f"repos:\n- repo: {hooks}\n  rev: {head}\n  hooks:\n  - id: notrack-fix\n  - id: notrack-lint\n"
    )
    (tmp_path / "rules.v4").write_text(BAD)
    (tmp_path / "README.md").write_text("iptables -A INPUT --nonsense\n")
    commit(tmp_path)
    return tmp_path


def commit(folder: Path) -> None:
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "first")


def git(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(
        ["git", *words], cwd=folder, env=clean, capture_output=True, text=True, check=True, timeout=60
    )


def run(repository: Path, hook: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(
        [sys.executable, "-m", "pre_commit", "run", hook, "--all-files"],
        cwd=repository,
        env=clean,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_hooks_find_and_mend(repository: Path) -> None:
    found = run(repository, "notrack-lint")
    assert found.returncode == 1, found.stdout + found.stderr
    assert "error[NT101]" in found.stdout and "README" not in found.stdout
    mended = run(repository, "notrack-fix")
    assert mended.returncode == 1 and "files were modified by this hook" in mended.stdout
    text = (repository / "rules.v4").read_text()
    assert "-A OUTPUT -p udp --sport 53 -j CT --notrack" in text
    assert run(repository, "notrack-lint").returncode == 0
