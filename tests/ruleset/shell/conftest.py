"""Runs scripts in throw-away network namespaces, loads rulesets into others, to compare what is listed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

TOOLS = ("iptables", "ip6tables")
SCRIPTS = Path(__file__).parent / "scripts"
STUBS = ("modprobe", "sysctl", "service", "systemctl", "ssh", "sudo")
_PATH = re.compile(r"(?<![\w.])/(?:usr/)?sbin/(ip6?tables|modprobe)")
_COUNTERS = re.compile(r"\[\d+:\d+\]")


@dataclass(frozen=True)
class Lab:
    """A folder of stand-ins that choose the backend; scripts find it first in their PATH."""

    folder: Path

    def shims(self, backend: str) -> Path:
        place = self.folder / backend
        if not place.is_dir():
            place.mkdir()
            for tool in TOOLS:
                for part in ("", "-restore", "-save"):
                    real = shutil.which(f"{tool}-{backend}{part}")
                    assert real is not None
                    stand_in = place / f"{tool}{part}"
                    stand_in.write_text(f'#!/bin/sh\nexec {real} "$@"\n')
                    stand_in.chmod(0o755)
            for name in STUBS:
                (place / name).write_text("#!/bin/sh\nexit 0\n")
                (place / name).chmod(0o755)
        return place

    def run(self, commands: str, backend: str, script: Path | None = None) -> str:
        """What shell commands print in a namespace of their own, with a script at `$SCRIPT`."""
        shims = self.shims(backend)
        environment = {
            "PATH": f"{shims}:{os.environ['PATH']}",
            "XTABLES_LOCKFILE": str(self.folder / "lock"),
            "SCRIPT": str(script or ""),
            "LC_ALL": "C.UTF-8",
        }
        done = subprocess.run(
            ["unshare", "-n", "sh", "-c", commands],
            env=environment,
            cwd=self.folder,
            capture_output=True,
            timeout=120,
            check=False,
        )
        return done.stdout.decode(errors="replace")

    def after_script(self, path: Path, backend: str, arguments: tuple[str, ...], listing: str) -> str:
        """What `listing` prints once the script ran."""
        shims = self.shims(backend)
        text = _PATH.sub(lambda found: f"{shims}/{found.group(1)}", path.read_text())
        copy = self.folder / f"{backend}-{path.name}"
        copy.write_text(text)
        shell = "bash" if text.startswith("#!/bin/bash") else "sh"
        flag = " -e" if text.startswith("#!/bin/sh -e") else ""
        words = " ".join(arguments)
        return self.run(f"{shell}{flag} $SCRIPT {words} >/dev/null 2>&1; {listing}", backend, copy)

    def after_load(self, text: str, backend: str, tool: str, listing: str) -> str:
        """What `listing` prints once `tool` loaded a text from its standard input; it must load."""
        file = self.folder / "rules"
        file.write_text(text)
        return self.run(f"{tool} < {file} || echo refused to load; {listing}", backend)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    made = Lab(tmp_path_factory.mktemp("shell"))
    if os.geteuid() != 0 or not all(shutil.which(f"{tool}-legacy") for tool in TOOLS):
        if os.environ.get("CI") == "true":
            pytest.fail("root and both iptables backends are needed")
        pytest.skip("needs root and both iptables backends")
    return made


def saved(text: str) -> dict[str, list[str]]:
    """The lines of each table of a save text, chains and rules without counters; empty tables left out."""
    tables: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("*"):
            name = line[1:]
            tables[name] = []
        elif line.startswith((":", "-")) or line == "refused to load":
            tables.setdefault(name, []).append(_COUNTERS.sub("", line).strip())
    return {name: sorted_chains(lines) for name, lines in tables.items() if not _empty(lines)}


def sorted_chains(lines: list[str]) -> list[str]:
    """Chains in the order of their names, rules in their own within each chain."""
    chains = sorted(line for line in lines if line.startswith(":"))
    rules = [line for line in lines if not line.startswith(":")]
    return chains + sorted(rules, key=lambda line: line.split()[1])


def _empty(lines: list[str]) -> bool:
    return all(line.startswith(":") and line.endswith(" ACCEPT") for line in lines)
