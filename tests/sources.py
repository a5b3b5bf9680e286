"""Source packages of this machine's own Debian archive, fetched when a test needs their test lists.

Nothing of the machine's apt configuration is changed: only the address of its archive is read from it. What
is fetched lies in a temporary folder, is never copied into the project, and serves later runs.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_SUITE = "bookworm"  # the release whose tools the project is held to

_ADDRESS = re.compile(r"^(?:deb\s+(?:\[[^]]*\]\s+)?|URIs:\s*)(\S+/debian)/?(?:\s|$)", re.MULTILINE)


class NotFetched(Exception):
    """Why there is no source package. `absent`: the archive itself answers that it does not hold it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.absent = "404" in reason


def orig_tarball(package: str) -> Path:
    """The upstream tarball of a source package; the test that asks fails in CI, or skips, if there is none.

    An archive that does not hold the file cannot be helped by anybody: that skips in CI as well.
    """
    try:
        return _cached(package)
    except NotFetched as error:
        if os.environ.get("CI") == "true" and not error.absent:
            pytest.fail(f"the source package {package} cannot be fetched: {error}")
        pytest.skip(f"the source package {package} cannot be fetched: {error}")


def _cached(package: str) -> Path:
    folder = Path(tempfile.gettempdir()) / f"notrack-sources-{os.getuid()}" / package
    found = sorted(folder.glob(f"{package}_*.orig.tar.*"))
    if not found:
        _download(package, folder)
        found = sorted(folder.glob(f"{package}_*.orig.tar.*"))
    if not found:
        raise NotFetched("no upstream tarball came with it")
    return found[0]


def _download(package: str, folder: Path) -> None:
    for part in ("lists/partial", "cache/archives/partial", "empty"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "sources.list").write_text(f"deb-src [signed-by={_KEYRING}] {archive()} {_SUITE} main\n")
    options = {
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": folder / "empty",
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-q", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
    for command in (["update"], ["source", "--download-only", package]):
        try:
            done = subprocess.run([*apt, *command], cwd=folder, capture_output=True, text=True, timeout=240)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotFetched(str(error)) from error
        if done.returncode:
            raise NotFetched(done.stderr.strip()[-500:])


def archive() -> str:
    """The address of the Debian archive that this machine installs its own packages from."""
    for path in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]:
        if not path.is_file():
            continue
        for match in re.finditer(
            r"^(?:deb\s+(?:\[[^]]*\]\s+)?|URIs:\s*)(\S+/debian)/?(?:\s|$)", path.read_text(), re.M
        ):
            return match.group(1)
    raise NotFetched("no Debian archive in /etc/apt")
