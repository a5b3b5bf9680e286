"""`notrack lint`, `explain` and `rules` as scripts and people use them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from notrack.lint.collection import collected
from tests.cli.test_commands import notrack
from tests.conftest import ROOT

KEEPER = """\
*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p udp --dport 53 -j CT --notrack
-A OUTPUT -p udp --sport 53 -j CT --notrack
COMMIT
*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p udp --dport 53 -j ACCEPT
-A INPUT -p icmp -j ACCEPT
-A INPUT -p tcp --dport 22 -j ACCEPT
-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
COMMIT
"""
AT = 13  # the line of the rule that keeps tracking on
CLEAN = "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.v4"
    path.write_text(KEEPER)
    return path


def linted(*words: str, **more: Any) -> Any:
    done = notrack("lint", "--format", "json", "--select", "NT606,NT001", *words, **more)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def test_findings_go_to_standard_output_and_the_summary_elsewhere(rules: Path) -> None:
    done = notrack("lint", str(rules), "--select", "NT606")
    assert done.returncode == 0
    assert done.stdout.startswith("info[NT606]: this is the only rule that keeps IPv4 tracking on")
    assert f"{rules}:{AT}:1" in done.stdout and "^^^" in done.stdout
    assert done.stderr == "notrack: 1 information in 1 file\n"


@pytest.mark.parametrize(("level", "status"), [("info", 1), ("warning", 0), ("error", 0)])
def test_the_exit_status_follows_the_severity(rules: Path, level: str, status: int) -> None:
    assert notrack("lint", str(rules), "--select", "NT606", "--fail-on", level).returncode == status
    wanted = ("lint", str(rules), "--select", "NT606", "--fail-on", level, "--exit-zero")
    assert notrack(*wanted).returncode == 0


def test_concise_is_one_line_a_finding(rules: Path) -> None:
    done = notrack("lint", str(rules), "--select", "NT606", "--format", "concise")
    assert done.stdout.startswith(f"{rules}:{AT}:1: NT606 ") and done.stdout.count("\n") == 1


def test_annotations_name_file_and_line(rules: Path) -> None:
    done = notrack("lint", str(rules), "--select", "NT606", "--format", "github")
    head, _, text = done.stdout.partition("::this")
    assert head.startswith(f"::notice file={rules},line={AT},endLine={AT},col=1,")
    assert "%0A" in text and text.count("\n") == 1


def test_sarif_is_valid_and_never_fails(rules: Path) -> None:
    done = notrack("lint", str(rules), "--format", "sarif", "--fail-on", "info")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    jsonschema.validate(found, json.loads((ROOT / "notrack/schemas/sarif.json").read_text()))
    (run,) = found["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == [rule.code for rule in collected()]
    keeper = next(one for one in run["results"] if one["ruleId"] == "NT606")
    assert run["tool"]["driver"]["rules"][keeper["ruleIndex"]]["id"] == "NT606"
    assert keeper["locations"][0]["physicalLocation"]["region"]["startLine"] == AT


def test_a_sarif_finding_keeps_its_fingerprint_when_lines_are_added_above(rules: Path) -> None:
    def fingerprint() -> Any:
        found = json.loads(notrack("lint", str(rules), "--select", "NT606", "--format", "sarif").stdout)
        (one,) = found["runs"][0]["results"]
        return one["partialFingerprints"]

    before = fingerprint()
    rules.write_text("# a new line\n" + KEEPER)
    assert fingerprint() == before


def test_a_suppressed_finding_is_told_apart(rules: Path) -> None:
    lines = KEEPER.splitlines()
    lines.insert(AT - 1, "# notrack: ignore[NT606] until the next release")
    rules.write_text("\n".join(lines) + "\n")
    found = linted(str(rules))
    assert found["findings"] == []
    assert [(one["code"], one["reason"]) for one in found["suppressed"]] == [
        ("NT606", "until the next release")
    ]
    sarif = json.loads(notrack("lint", str(rules), "--select", "NT606", "--format", "sarif").stdout)
    (one,) = sarif["runs"][0]["results"]
    assert one["suppressions"] == [{"kind": "inSource", "justification": "until the next release"}]
    assert "1 suppressed" in notrack("lint", str(rules), "--select", "NT606").stderr


def test_a_suppression_of_a_code_that_was_not_looked_for_is_not_called_unused(rules: Path) -> None:
    rules.write_text("# notrack: ignore-file[NT302] known\n" + KEEPER)
    assert [one["code"] for one in linted(str(rules))["findings"]] == ["NT606"]


def test_codes_are_chosen_by_beginning_name_and_case(rules: Path) -> None:
    for words in (["--select", "nt6"], ["--select", "keeps-tracking-on"], ["--select", "NT606,NT001"]):
        assert "NT606" in notrack("lint", str(rules), *words).stdout
    assert "NT606" not in notrack("lint", str(rules), "--ignore", "NT6").stdout


def test_an_unknown_code_is_wrong_usage_with_a_hint(rules: Path) -> None:
    done = notrack("lint", str(rules), "--select", "keeps-traking-on")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean keeps-tracking-on?" in done.stderr


def test_standard_input_has_a_name(rules: Path) -> None:
    done = notrack("lint", "-", "--select", "NT606", "--stdin-filename", "web1.v4", stdin=KEEPER)
    assert "--> web1.v4:13:1" in done.stdout


def test_nothing_to_lint_is_wrong_usage() -> None:
    assert notrack("lint").returncode == 2


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = notrack("lint", str(tmp_path / "none.v4"))
    assert (done.returncode, done.stdout) == (3, "") and "No such file" in done.stderr


def test_a_line_that_cannot_be_read_is_shown_and_the_rest_is_linted(rules: Path) -> None:
    rules.write_text(KEEPER.replace("-A INPUT -p icmp -j ACCEPT", "-A INPUT -p icmp --nonsense 7 8 9"))
    done = notrack("lint", str(rules), "--select", "NT606")
    assert done.returncode == 3
    assert "--nonsense" in done.stderr and "NT606" in done.stdout


def test_a_directory_is_one_host_and_only_rules_are_read(tmp_path: Path, rules: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing to see\n")
    (tmp_path / "rules.v4.bak").write_text(KEEPER)
    (tmp_path / ".hidden.v4").write_text(KEEPER)
    (tmp_path / "rules.v6").write_text(CLEAN)
    (tmp_path / "sets.conf").write_text("create office hash:net\nadd office 198.51.100.0/24\n")
    found = linted(str(tmp_path))
    assert [Path(one["file"]).name for one in found["files"]] == ["rules.v4", "rules.v6", "sets.conf"]


def test_files_are_one_host_unless_they_are_told_apart(tmp_path: Path, rules: Path) -> None:
    (other := tmp_path / "more.v4").write_text("*filter\n-A INPUT -m state --state NEW -j DROP\nCOMMIT\n")
    names = (str(rules), str(other))
    assert linted(*names)["findings"] == []  # two rules of one host keep tracking on
    assert [one["code"] for one in linted("--separate", *names)["findings"]] == ["NT606"]
    assert [one["code"] for one in linted("--pairs", *names)["findings"]] == ["NT606"]


def test_the_report_goes_into_a_file(tmp_path: Path, rules: Path) -> None:
    out = tmp_path / "report.json"
    done = notrack("lint", str(rules), "--format", "json", "--output", str(out))
    assert done.stdout == "" and json.loads(out.read_text())["schema_version"] == 1
    assert notrack("lint", str(rules), "--output", str(tmp_path / "no/where")).returncode == 4


def test_many_findings_of_a_code_are_named_by_their_places(rules: Path) -> None:
    unused = "".join(
        f"# notrack: ignore[NT302] {i}\n-A INPUT -s 10.0.0.{i} -j ACCEPT\n" for i in range(1, 15)
    )
    rules.write_text(KEEPER.replace("-A INPUT -p icmp", unused + "-A INPUT -p icmp"))
    done = notrack("lint", str(rules), "--select", "NT001,NT302")
    assert done.stdout.count("warning[NT001]") == 10
    assert "NT001 unused-suppression: 4 more" in done.stdout
    everything = notrack("lint", str(rules), "--select", "NT001,NT302", "--show-all")
    assert everything.stdout.count("warning[NT001]") == 14


class TestConfiguration:
    def test_the_nearest_file_wins(self, tmp_path: Path, rules: Path) -> None:
        inside = tmp_path / "hosts"
        inside.mkdir()
        moved = inside / "rules.v4"
        moved.write_text(KEEPER)
        (tmp_path / "notrack.toml").write_text('ignore = ["NT606"]\n')
        assert "NT606" not in notrack("lint", str(moved)).stdout
        (inside / "pyproject.toml").write_text('[tool.notrack]\nselect = ["NT606"]\nfail-on = "info"\n')
        assert notrack("lint", str(moved)).returncode == 1
        (inside / "pyproject.toml").write_text("[tool.other]\n")
        assert "NT606" not in notrack("lint", str(moved)).stdout

    def test_the_command_line_wins(self, tmp_path: Path, rules: Path) -> None:
        (tmp_path / "notrack.toml").write_text('select = ["NT302"]\nfail-on = "info"\n')
        done = notrack("lint", str(rules), "--select", "NT606", "--fail-on", "error")
        assert "NT606" in done.stdout and done.returncode == 0

    def test_files_have_codes_of_their_own(self, tmp_path: Path, rules: Path) -> None:
        (tmp_path / "notrack.toml").write_text('[per-file-ignores]\n"*.v4" = ["NT6"]\n')
        assert "NT606" not in notrack("lint", str(rules)).stdout
        (tmp_path / "notrack.toml").write_text('[per-file-ignores]\n"*.v6" = ["NT6"]\n')
        assert "NT606" in notrack("lint", str(rules)).stdout

    def test_facts_of_the_host_beside_it(self, tmp_path: Path, rules: Path) -> None:
        (tmp_path / "notrack.toml").write_text('host = "facts.json"\n')
        (tmp_path / "facts.json").write_text('{"schema_version": 1, "tracking_elsewhere": true}')
        assert "NT606" not in notrack("lint", str(rules)).stdout

    @pytest.mark.parametrize(
        ("text", "line", "message"),
        [
            ('ignore = ["NT606"]\nfail_on = "info"\n', 2, "did you mean `fail-on`?"),
            ('fail-on = "sometimes"\n', 1, "must be one of error, warning, info"),
            ('select = ["NT999"]\n', 1, "no rule is called 'NT999'"),
            ("select = [\n", 1, "this is no TOML"),
            ('select = "NT606"\n', 1, "must be a list of strings"),
        ],
    )
    def test_a_fault_is_shown_at_its_place(
        self, tmp_path: Path, rules: Path, text: str, line: int, message: str
    ) -> None:
        (tmp_path / "notrack.toml").write_text(text)
        done = notrack("lint", str(rules))
        assert (done.returncode, done.stdout) == (2, "")
        assert f"notrack.toml:{line}:" in done.stderr and message in done.stderr


class TestManual:
    def test_a_page_has_all_its_parts(self) -> None:
        text = notrack("explain", "nt606").stdout
        for part in (
            "NT606 keeps-tracking-on (info)",
            "What it finds",
            "Why it matters",
            "Limits",
            "Mending",
        ):
            assert part in text
        assert "###" not in text

    def test_an_unknown_code_names_the_nearest(self) -> None:
        done = notrack("explain", "NT6066")
        assert done.returncode == 2 and "did you mean NT606?" in done.stderr

    def test_all_rules_are_listed(self) -> None:
        lines = notrack("rules").stdout.splitlines()
        assert [line.split()[0] for line in lines] == [rule.code for rule in collected()]
        assert len(json.loads(notrack("rules", "--format", "json").stdout)) == len(lines)

    def test_the_documentation_is_the_same_text(self, request: pytest.FixtureRequest) -> None:
        page = ROOT / "docs" / "rules.md"
        text = notrack("rules", "--format", "markdown").stdout
        if request.config.getoption("--update-golden"):
            page.write_text(text)
        assert page.read_text() == text, "run the tests with --update-golden"
