"""`--fix` and `--diff`: what the linter's fixes make of files, and how it is written."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from notrack.cli.messages import note
from notrack.lint.fixes import Fixed


def written(several: Sequence[Fixed]) -> bool:
    """Writes the files that changed, each at once or not at all; False after it was told that one cannot be.

    Texts from standard input have no file to go to.
    """
    for one in several:
        if one.changed:
            try:
                _replace(Path(one.source.name).resolve(), one.text)
            except OSError as error:
                note(f"{one.source.name}: {error.strerror}")
                return False
    return True


def _replace(path: Path, text: str) -> None:
    """A new file in the place of the old one, with its owner and its mode."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        shutil.copystat(path, name)
        state = path.stat()
        with contextlib.suppress(PermissionError):
            os.chown(name, state.st_uid, state.st_gid)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
