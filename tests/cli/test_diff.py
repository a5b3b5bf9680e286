"""`notrack diff` as scripts and people use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

OLD = """\
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp --dport 22 -j ACCEPT
COMMIT
"""
NEW = OLD.replace("--dport 22", "-s 198.51.100.0/24 --dport 22")
NFT = """\
table inet filter {
  chain input {
    type filter hook input priority 0; policy drop;
    ct state related,established accept
    tcp dport 22 accept
  }
  chain forward { type filter hook forward priority 0; policy drop; }
  chain output { type filter hook output priority 0; policy accept; }
}
"""
SITE = "site s\ninterface wan = eth0 address 192.0.2.80/24\nservice ssh tcp 22 tracked\n"
HOST = {
    "schema_version": 1,
    "interfaces": [{"name": "eth0", "addresses": ["192.0.2.80/24"]}],
    "forwards_ipv4": False,
}
SAID = """\
tcp 22 from any but 198.51.100.0/24, to the host: dropped, was accepted
    tcp 203.0.113.9:40000 > 192.0.2.80:22 in eth0 to host flags syn
    before: accepted, by filter INPUT (old.v4:6): -A INPUT -p tcp --dport 22 -j ACCEPT
    after:  dropped, by the policy of filter INPUT (new.v4:2)
tcp 22, from the host to itself: dropped, was accepted
    tcp 192.0.2.80:40000 > 192.0.2.80:22 out lo flags syn
    before: accepted, by filter INPUT (old.v4:6): -A INPUT -p tcp --dport 22 -j ACCEPT
    after:  dropped, by the policy of filter INPUT (new.v4:2)

2 changes in IPv4: 2 of verdict
"""


def notrack(*words: str) -> subprocess.CompletedProcess[str]:
    """One run of the command in the present folder."""
    return subprocess.run(
        [sys.executable, "-m", "notrack", *words],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    files = {"old.v4": OLD, "new.v4": NEW, "rules.nft": NFT, "site.spec": SITE, "host.json": json.dumps(HOST)}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "both").mkdir()
    (tmp_path / "both" / "rules.v4").write_text(OLD)
    (tmp_path / "both" / "rules.v6").write_text(OLD)
    (tmp_path / "both" / "notes.txt").write_text("nothing here\n")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_a_change_with_its_packet_and_both_rules(folder: Path) -> None:
    done = notrack("diff", "old.v4", "new.v4", "--host", "host.json")
    assert (done.returncode, done.stdout) == (6, SAID)


def test_equal_rulesets(folder: Path) -> None:
    done = notrack("diff", "old.v4", "old.v4", "--host", "host.json")
    assert done.returncode == 0
    assert done.stdout == "Equal in IPv4: no packet changes its verdict, its tracking or its translation\n"


def test_across_formats_a_family_of_one_side_alone_is_named(folder: Path) -> None:
    done = notrack("diff", "old.v4", "rules.nft", "--host", "host.json")
    assert done.returncode == 0
    assert "IPv6 is not compared: the first ruleset says nothing about it" in done.stdout


def test_folders_and_commas_are_one_host(folder: Path) -> None:
    done = notrack("diff", "both", "rules.nft", "--host", "host.json")
    assert done.returncode == 0 and done.stdout.startswith("Equal in IPv4 and IPv6")
    done = notrack("diff", "both/rules.v4,both/rules.v6", "both")
    assert done.returncode == 0 and done.stdout.startswith("Equal in IPv4 and IPv6")


def test_a_site_is_compiled_and_tells_its_host(folder: Path) -> None:
    done = notrack("diff", "--brief", "both", "site.spec")
    assert done.returncode == 6
    assert "icmp" in done.stdout and "IPv6 addresses are not known" in done.stdout
    again = notrack("diff", "--brief", "site.spec", "rules.nft")
    assert again.returncode == 6 and "tcp 22, to the host" not in again.stdout.replace("tcp 22 to ", "")


def test_examples_are_equal_across_formats() -> None:
    for name in ("edge", "web-dns"):
        example = ROOT / "examples" / name
        done = notrack("diff", f"{example}/rules.v4,{example}/rules.v6", f"{example}/rules.nft")
        assert done.returncode == 0, done.stdout
        done = notrack("diff", f"{example}/rules.nft", f"{example}/site.spec")
        assert done.returncode == 0, done.stdout


def test_json(folder: Path) -> None:
    done = notrack("diff", "old.v4", "new.v4", "--host", "host.json", "--format", "json")
    found = json.loads(done.stdout)
    assert found["schema_version"] == 1 and found["equal"] is False and found["families"] == ["ipv4"]
    change, _ = found["changes"]
    assert (change["hook"], change["from"], change["to"]) == ("input", "accept", "drop")
    assert change["witness"]["destination_port"] == 22 and change["witness"]["source"] == "203.0.113.9"
    assert change["count"] > 2**31 and change["kind"] == "verdict" and change["way"] == "local in"
    done = notrack("diff", "old.v4", "old.v4", "--format", "json")
    assert json.loads(done.stdout)["equal"] is True


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["old.v4"], 2, "two rulesets, before and after"),
        (["old.v4", "new.v4", "rules.nft"], 2, "commas between them"),
        (["--live", "old.v4", "new.v4"], 2, "one ruleset beside --live"),
        (["old.v4", "missing.v4"], 3, "missing.v4"),
        (["old.v4", "empty"], 3, "there are no rules in empty"),
        (["old.v4", "both/notes.txt"], 3, "what kind of file"),
        (["old.v4", "site.spec,new.v4"], 3, "is a site"),
        (["old.v4", "new.v4", "--host", "site.spec"], 3, "no JSON"),
        (["old.v4", "both/rules.v6"], 2, "different families"),
    ],
)
def test_what_cannot_be_compared(folder: Path, words: list[str], status: int, said: str) -> None:
    done = notrack("diff", *words)
    assert done.returncode == status and said in done.stderr and "Traceback" not in done.stderr


def test_one_family_of_many(folder: Path) -> None:
    done = notrack("diff", "both", "rules.nft", "--family", "ipv6")
    assert done.returncode == 0 and done.stdout.startswith("Equal in IPv6:")
