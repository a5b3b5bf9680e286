"""The whole process: how it starts and ends, and what it does not import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RULES = "\n".join(
    [
        "*filter",
        ":INPUT DROP [0:0]",
        ":FORWARD DROP [0:0]",
        ":OUTPUT ACCEPT [0:0]",
        *(f"-A INPUT -s 192.0.2.{n}/32 -p tcp -m state --state NEW -j ACCEPT" for n in range(200)),
        "COMMIT",
        "",
    ]
)


@pytest.fixture
def rules(tmp_path: Path) -> str:
    path = tmp_path / "rules.v4"
    path.write_text(RULES)
    return str(path)


def _run(*words: str, shell: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *words]
    if shell:
        command = ["sh", "-c", f'"$@" {shell}', "sh", *command]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_all_of_a_long_output_arrives_in_a_pipe(rules: str) -> None:
    done = _run("-m", "notrack", "lint", "--show-all", "--format", "concise", rules, "--exit-zero")
    assert done.returncode == 0
    assert done.stdout.count("NT802") == 200 and done.stdout.endswith("\n")
    assert done.stderr.startswith("notrack: ")


def test_the_exit_status_is_that_of_the_command(rules: str) -> None:
    assert _run("-m", "notrack", "lint", "--fail-on", "info", rules).returncode == 1
    assert _run("-m", "notrack", "lint", "/nowhere/rules.v4").returncode == 3
    assert _run("-m", "notrack", "--nothing").returncode == 2


@pytest.mark.parametrize("closed", (">&-", "2>&-", ">&- 2>&-"))
def test_closed_outputs_are_no_fault(rules: str, closed: str) -> None:
    done = _run("-m", "notrack", "lint", "--fail-on", "info", rules, shell=closed)
    assert done.returncode == 1 and "Traceback" not in done.stderr


def test_a_file_for_iptables_needs_no_other_reader(rules: str) -> None:
    """Each of these is many milliseconds of every run."""
    code = (
        "import sys; from notrack.cli.main import main; main(['lint', sys.argv[1]]);"
        "print(*sorted(sys.modules), file=sys.stderr)"
    )
    loaded = _run("-c", code, rules).stderr.split()
    assert "notrack.lint.engine" in loaded
    rooms = ("notrack.ruleset.nft", "notrack.ruleset.ipset", "notrack.site", "notrack.plan", "notrack.proof")
    others = [name for name in loaded if name.startswith(rooms)]
    others += [name for name in loaded if name in ("tomllib", "json", "shutil", "notrack.ruleset.shell.tree")]
    assert others == []
