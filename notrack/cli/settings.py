"""The configuration of a repository: found beside the files that are looked at, or above them."""

from __future__ import annotations

from pathlib import Path

from notrack.cli.messages import note, tell
from notrack.lint.configuration import DEFAULT, NAMES, Configuration, configured
from notrack.text.diagnostic import Rejected
from notrack.text.source import Source


def configuration(named: str | None, beside: str, color: str) -> Configuration | None:
    """What the named file says, or else the nearest one at or above a file or directory; None after faults
    were told."""
    try:
        if named is not None:
            text = Path(named).read_text(encoding="utf-8")
            return configured(Source(named, text)) or DEFAULT
        for path in _candidates(beside):
            found = configured(Source(str(path), path.read_text(encoding="utf-8")))
            if found is not None:
                return found
    except Rejected as rejected:
        tell(rejected.diagnostics, color)
        return None
    except (OSError, UnicodeDecodeError) as error:
        note(f"cannot read the configuration: {error}")
        return None
    return DEFAULT


def _candidates(beside: str) -> list[Path]:
    start = Path(beside if beside != "-" else ".").resolve()
    folders = [start, *start.parents] if start.is_dir() else list(start.parents)
    return [folder / name for folder in folders for name in NAMES if (folder / name).is_file()]
