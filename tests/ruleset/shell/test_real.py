"""Whole scripts, run for real in a namespace by both backends: the tables must be those that we say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from notrack.packets.address import Family
from notrack.ruleset.nft.writer import write as write_nft
from notrack.ruleset.shell.actions import Script
from notrack.ruleset.shell.reader import read
from notrack.ruleset.shell.rulesets import as_rulesets, is_certain
from notrack.ruleset.xtables.tree import Rule
from notrack.ruleset.xtables.writer import write
from notrack.text.source import Source
from tests.ruleset.shell.conftest import SCRIPTS, Lab, saved

ALL = sorted(SCRIPTS.glob("*.sh"))
TOOL = {Family.IPV4: "iptables", Family.IPV6: "ip6tables"}


def script_of(path: Path) -> tuple[Script, tuple[str, ...]]:
    text = path.read_text()
    called = re.search(r"^# test: arguments (.*)$", text, re.M)
    arguments = tuple(called.group(1).split()) if called else ()
    return read(Source(path.name, text), None, arguments), arguments


RUN = [path for path in ALL if "# test: read" not in path.read_text()]


def test_there_are_enough_scripts() -> None:
    assert len(ALL) >= 20


@pytest.mark.parametrize("backend", ["legacy", "nft"])
@pytest.mark.parametrize("path", RUN, ids=lambda path: path.stem)
def test_iptables_lists_what_we_say(path: Path, backend: str, lab: Lab) -> None:
    script, arguments = script_of(path)
    rulesets = as_rulesets(script)
    for family, tool in TOOL.items():
        ruleset = rulesets.of(family)
        assert all(is_certain(line) for _, line in ruleset.rules() if isinstance(line, Rule))
        listing = f"{tool}-save"
        real = lab.after_script(path, backend, arguments, listing)
        ours = lab.after_load(write(ruleset), backend, f"{tool}-restore", listing)
        assert saved(ours) == saved(real), f"{tool}\n{write(ruleset)}"


@pytest.mark.parametrize("path", [path for path in RUN if "nft" in path.stem], ids=lambda path: path.stem)
def test_nft_lists_what_we_say(path: Path, lab: Lab) -> None:
    script, arguments = script_of(path)
    real = lab.after_script(path, "nft", arguments, "nft list ruleset")
    ours = lab.after_load(write_nft(as_rulesets(script).nft), "nft", "nft -f -", "nft list ruleset")
    assert ours == real
    assert "chain" in real
