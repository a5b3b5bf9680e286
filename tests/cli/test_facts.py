"""`notrack facts` prints what `--host` reads."""

from __future__ import annotations

import json
from pathlib import Path

from notrack.netfilter.host import read_host
from tests.cli.test_commands import notrack


def test_what_is_printed_is_read_back(tmp_path: Path) -> None:
    done = notrack("facts")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["schema_version"] == 1
    assert "lo" in [interface["name"] for interface in found["interfaces"]]
    assert read_host(done.stdout).interfaces is not None
    (tmp_path / "host.json").write_text(done.stdout)
    (tmp_path / "rules.v4").write_text("*filter\nCOMMIT\n")
    packet = "tcp 127.0.0.1:40000 > 127.0.0.1:80"
    words = ("trace", str(tmp_path / "rules.v4"), "--host", str(tmp_path / "host.json"), packet)
    assert notrack(*words).returncode == 0


def test_facts_takes_no_files() -> None:
    assert notrack("facts", "x").returncode == 2
