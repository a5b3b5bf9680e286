"""`notrack test` and `notrack trace` of a site, as scripts and people use them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SITE = """\
site s
interface wan = eth0 address 192.0.2.80/24
service web tcp 80 on wan
client up tcp 443
expect untracked accept tcp from 203.0.113.9 to host port 80 on wan
expect drop tcp from 203.0.113.9 to host port 22 on wan
"""


def notrack(*words: str) -> subprocess.CompletedProcess[str]:
    """One run of the command in the present folder."""
    return subprocess.run(
        [sys.executable, "-m", "notrack", *words],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
    )  # fmt: skip


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "site.spec"
    path.write_text(SITE)
    return path


def test_all_hold(spec: Path) -> None:
    done = notrack("test", "site.spec")
    assert (done.returncode, done.stdout) == (
        0, "2 expectations hold, 2 packets, on the model (iptables and nft)\n",
    )  # fmt: skip
    done = notrack("test", "--verbose", "site.spec")
    assert done.stdout.startswith("ok      site.spec:5: expect untracked accept tcp from 203.0.113.9 to host")


def test_a_failure_shows_the_line_the_packet_and_its_way(spec: Path) -> None:
    spec.write_text(SITE + "expect accept udp from 203.0.113.9 to host port 53 on wan  # not served\n")
    done = notrack("test", "site.spec")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0] == "FAILED  site.spec:7: expect accept udp from 203.0.113.9 to host port 53 on wan"
    assert lines[1] == (
        "  udp 203.0.113.9:40000 > 192.0.2.80:53 in eth0 to host (iptables and nft):"
        " dropped, but `accept` is expected"
    )
    assert any("DROPPED in input, by the policy of filter INPUT" in line for line in lines)
    assert lines[-1] == "1 of 3 expectations failed, on the model (iptables and nft)"


def test_json(spec: Path) -> None:
    done = notrack("test", "--format", "json", "site.spec")
    found = json.loads(done.stdout)
    assert found["schema_version"] == 1 and found["failed"] == 0 and found["kernel"] is None
    one = found["expectations"][0]
    assert (one["file"], one["line"], one["holds"]) == ("site.spec", 5, True)
    assert {(p["rules"], p["verdict"], p["tracking"]) for p in one["packets"]} == {
        ("iptables", "accept", "untracked"),
        ("nft", "accept", "untracked"),
    }


def test_no_expectation_at_all(spec: Path) -> None:
    spec.write_text("site s\nservice web tcp 80\n")
    done = notrack("test", "site.spec")
    assert done.returncode == 0 and "There are no expectations" in done.stdout


def test_a_faulty_site(spec: Path) -> None:
    spec.write_text("site s\nservise web tcp 80\n")
    done = notrack("test", "site.spec")
    assert done.returncode == 3 and "servise" in done.stderr and not done.stdout


def test_rules_that_do_not_do_what_is_expected_are_not_printed(spec: Path) -> None:
    spec.write_text(SITE + "expect accept udp from 203.0.113.9 to host port 53 on wan\n")
    for words in ((), ("--to", "nft"), ("-o", "out")):
        done = notrack("compile", *words, "site.spec")
        assert done.returncode == 1 and not done.stdout
        assert "FAILED  site.spec:7" in done.stderr and "DROPPED in input" in done.stderr
    assert not Path("out").exists()
    assert notrack("compile", "--to", "sysctl", "site.spec").returncode == 0
    spec.write_text(SITE)
    assert notrack("compile", "site.spec").returncode == 0


def test_trace_of_a_site_rests_on_the_sites_own_facts(spec: Path) -> None:
    done = notrack("trace", "site.spec", "--reply", "tcp 203.0.113.9:4000 > 192.0.2.80:80 in eth0")
    assert done.returncode == 0, done.stderr
    assert "compiled rules.v4:" in done.stdout and "The answer" in done.stdout
    assert "for the host itself" in done.stdout
    done = notrack("trace", "--backend", "nft", "site.spec", "tcp 203.0.113.9:4000 > 192.0.2.80:22 in eth0")
    assert "compiled rules.nft:" in done.stdout and "DROPPED in input" in done.stdout


def test_trace_says_which_rules_it_wants(spec: Path) -> None:
    done = notrack("trace", "--live")
    assert done.returncode == 2 and "say the packet alone" in done.stderr
    done = notrack("trace", "--live", "site.spec", "tcp 203.0.113.9:4000 > 192.0.2.80:80 in eth0")
    assert done.returncode == 2
    done = notrack("trace", "tcp 203.0.113.9:4000 > 192.0.2.80:80 in eth0")
    assert done.returncode == 2
