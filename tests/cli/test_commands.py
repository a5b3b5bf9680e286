"""The command line as scripts use it: streams, exit status, files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SPEC = "examples/edge/site.spec"


def notrack(*words: str, stdin: str = "", cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "notrack", *words],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=60,
    )


def test_compile_prints_rules_alone_on_standard_output() -> None:
    done = notrack("compile", SPEC)
    assert done.returncode == 0
    assert done.stdout == (ROOT / "examples/edge/rules.v4").read_text()
    assert "IPv6 is not in this output" in done.stderr


@pytest.mark.parametrize(("target", "name"), [("ip6tables", "rules.v6"), ("nft", "rules.nft")])
def test_compile_to_another_target_says_nothing_on_standard_error(target: str, name: str) -> None:
    done = notrack("compile", SPEC, "--to", target)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (ROOT / "examples/edge" / name).read_text()


def test_compile_into_a_directory_writes_every_target(tmp_path: Path) -> None:
    done = notrack("compile", SPEC, "-o", str(tmp_path / "out"))
    assert (done.returncode, done.stdout) == (0, "")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "rules.v4",
        "rules.v6",
        "rules.nft",
        "sysctl.conf",
        "modprobe.conf",
    }
    assert "nf_conntrack_max = 200000" in (tmp_path / "out/sysctl.conf").read_text()
    assert "nf_conntrack_tcp_timeout_established = 10800" in (tmp_path / "out/sysctl.conf").read_text()


def test_standard_input_reads_like_a_file() -> None:
    done = notrack("compile", "-", stdin="site s\nservice web tcp 80\n")
    assert done.returncode == 0 and "--dport 80" in done.stdout


def test_a_wrong_site_prints_no_rules_and_ends_with_three() -> None:
    done = notrack("compile", "-", stdin="site s\nservice web tcp 80 from offce\nservise dns udp 53\n")
    assert (done.returncode, done.stdout) == (3, "")
    assert "2:25" in done.stderr and "3:1" in done.stderr and "Traceback" not in done.stderr


def test_a_conflict_shows_the_packet_and_ends_with_three() -> None:
    text = "site s\npublish shop tcp 443 to 10.8.0.5\nservice web tcp 443 untracked\n"
    done = notrack("plan", "-", stdin=text)
    assert (done.returncode, done.stdout) == (3, "")
    assert "packet: tcp " in done.stderr


def test_a_missing_file_is_told_without_a_traceback() -> None:
    done = notrack("compile", "nowhere.spec")
    assert done.returncode == 3 and "nowhere.spec" in done.stderr and "Traceback" not in done.stderr


def test_wrong_usage_ends_with_two() -> None:
    assert notrack("compile", SPEC, "--to", "pf").returncode == 2
    assert notrack("compile", SPEC, "--to", "nft", "-o", "x").returncode == 2
    assert notrack().returncode == 2


def test_a_directory_that_cannot_be_written_ends_with_four(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = notrack("compile", SPEC, "-o", str(tmp_path / "file"))
    assert done.returncode == 4 and "file" in done.stderr and "Traceback" not in done.stderr


def test_the_map_names_every_declaration_of_a_merged_rule(tmp_path: Path) -> None:
    done = notrack("compile", SPEC, "--map", str(tmp_path / "map.json"))
    assert done.returncode == 0
    mapped = json.loads((tmp_path / "map.json").read_text())
    assert mapped["schema_version"] == 1
    emitted = [line for line in done.stdout.splitlines() if line.startswith("-A ")]
    assert [rule["rule"] for rule in mapped["rules"]] == emitted
    merged = next(rule for rule in mapped["rules"] if "3 of: dns, files, web" in rule["rule"])
    assert {d["name"] for d in merged["declarations"]} == {"dns", "files", "web"}
    assert all(d["line"] > 0 and d["file"] == SPEC for d in merged["declarations"])


def test_the_plan_as_json_has_the_promised_keys() -> None:
    done = notrack("plan", SPEC, "--format", "json")
    found = json.loads(done.stdout)
    assert found["schema_version"] == 1 and found["site"] == "edge"
    assert found["tracking"] == {"ipv4": "partial", "ipv6": "partial"}
    web = next(
        f for f in found["flows"] if f["name"] == "web" and f["protocol"] == "tcp" and f["family"] == "ipv4"
    )
    assert web["ports"] == ["80", "443", "8000-8010"] and web["tracked"] is False
    assert web["kind"] == "service" and web["file"] == SPEC and web["line"] == 17
    assert {"output", "lan-net-out", "shop"} <= {f["name"] for f in found["flows"]}


def test_help_has_examples() -> None:
    for words in (["--help"], ["compile", "--help"], ["plan", "--help"]):
        done = notrack(*words)
        assert done.returncode == 0 and "examples:" in done.stdout


def test_colour_only_when_asked() -> None:
    text = "servise web tcp 80\n"
    assert "\x1b[" not in notrack("plan", "-", stdin=text).stderr
    assert "\x1b[" in notrack("plan", "-", "--color", "always", stdin=text).stderr


def test_a_closed_pipe_is_no_news() -> None:
    done = subprocess.run(
        f"{sys.executable} -m notrack compile {SPEC} --to nft | head -1",
        shell=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )
    assert "Traceback" not in done.stderr and "Broken" not in done.stderr


def test_the_targets_of_the_command_line_are_those_of_the_layout() -> None:
    from notrack.cli import compile as command
    from notrack.layout import output

    assert command._TARGETS == output.TARGETS == tuple(output.FILES)
