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

BACKENDS = ("legacy", "nft")
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_SUITE = "bookworm"
_VERSION = "1.8.9"

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
    """The folder of the lists, fetched with apt into a cache outside of the project. Nothing of the machine's
    own apt configuration is used or changed."""
    cache = Path(tempfile.gettempdir()) / f"notrack-test-sources-{os.getuid()}" / f"iptables-{_VERSION}"
    if not cache.is_dir():
        try:
            _fetch(cache)
        except (OSError, subprocess.SubprocessError, tarfile.TarError) as error:
            if os.environ.get("CI") == "true":
                pytest.fail(f"the iptables source package cannot be fetched: {error}")
            pytest.skip(f"the iptables source package cannot be fetched: {error}")
    return cache


def _fetch(cache: Path) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.parent) as name:
        folder = Path(name)
        for part in ("lists/partial", "cache/archives/partial", "lists.d"):
            (folder / part).mkdir(parents=True)
        sources = folder / "sources.list"
        sources.write_text(f"deb-src [signed-by={_KEYRING}] http://deb.debian.org/debian {_SUITE} main\n")
        options = {
            "Dir::Etc::SourceList": sources,
            "Dir::Etc::SourceParts": folder / "lists.d",
            "Dir::State::Lists": folder / "lists",
            "Dir::Cache": folder / "cache",
            "APT::Sandbox::User": "root",
        }
        apt = [
            "apt-get",
            "-q",
            *(word for key, value in options.items() for word in ("-o", f"{key}={value}")),
        ]
        for command in (["update"], ["source", "--download-only", "iptables"]):
            subprocess.run([*apt, *command], cwd=folder, check=True, capture_output=True, timeout=240)
        _unpack(next(folder.glob("iptables_*.orig.tar.*")), folder / "out")
        (folder / "out").rename(cache)


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
