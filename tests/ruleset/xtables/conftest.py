"""Throw-away network namespaces for rules, and the extension test lists of the iptables source package."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sources import orig_tarball

BACKENDS = ("legacy", "nft")

Load = Callable[[str, str, str], tuple[str | None, str]]


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """`load(text, tool, backend)`: what `tool`-save lists after `tool`-restore of the text, in a namespace
    of its own and without comment lines; or None and the message, if the text does not load."""
    if os.geteuid() != 0 or shutil.which("iptables-legacy-restore") is None:
        pytest.skip("needs root and iptables")
    folder = tmp_path_factory.mktemp("load")
    environment = {**os.environ, "XTABLES_LOCKFILE": str(folder / "lock")}

    def run(text: str, tool: str, backend: str) -> tuple[str | None, str]:
        file = folder / "rules"
        file.write_text(text, newline="")
        script = f"{tool}-{backend}-restore < {file} && {tool}-{backend}-save"
        done = subprocess.run(
            ["unshare", "-n", "sh", "-c", script],
            env=environment,
            capture_output=True,
            timeout=60,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode != 0:
            return None, done.stderr
        lines = [line for line in done.stdout.splitlines() if not line.startswith("#")]
        return "\n".join(lines) + "\n", done.stderr

    return run


@pytest.fixture(scope="session")
def extension_lists() -> Path:
    """The folder of the lists, unpacked beside the fetched source package."""
    archive = orig_tarball("iptables")
    cache = archive.parent / "extensions"
    if not cache.is_dir():
        with tempfile.TemporaryDirectory(dir=archive.parent) as name:
            _unpack(archive, Path(name) / "out")
            (Path(name) / "out").rename(cache)
    return cache


def _unpack(archive: Path, folder: Path) -> None:
    folder.mkdir()
    with tarfile.open(archive) as package:
        for member in package:
            name = Path(member.name)
            if member.isfile() and name.parent.name == "extensions" and name.suffix == ".t":
                content = package.extractfile(member)
                assert content is not None
                (folder / name.name).write_bytes(content.read())
    if not any(folder.iterdir()):
        raise OSError(f"no lists in {archive.name} ({hashlib.sha256(archive.read_bytes()).hexdigest()})")
