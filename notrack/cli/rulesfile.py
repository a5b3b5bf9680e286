"""Files of rules from the command line, as sources."""

from __future__ import annotations

import sys
from pathlib import Path

from notrack.cli.messages import note
from notrack.ruleset.formats import Include
from notrack.ruleset.recognition import Format, recognised
from notrack.text.source import Source

_HEAD = 65536  # octets; what they do not tell, nothing behind them will
_LARGEST = 256 * 2**20  # octets; no ruleset is larger


def sources(names: list[str]) -> list[Source] | None:
    """The files (`-`: standard input) as sources; None after the first that cannot be read was told."""
    found: list[Source] = []
    for name in names:
        try:
            data = sys.stdin.buffer.read(_LARGEST) if name == "-" else _octets(Path(name))
        except (OSError, ValueError) as error:
            note(f"cannot read {name!r}: {getattr(error, 'strerror', None) or error}")
            return None
        found.append(Source(name, data.decode("utf-8", "surrogateescape")))
    return found


def _octets(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LARGEST)


def form(path: Path) -> Format | None:
    """What the beginning of a file looks like, for files that were not asked for by name. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return None if b"\0" in head else recognised(head.decode("utf-8", "surrogateescape"))


def including(names: list[str]) -> Include:
    """Finds what nft's `include` names: beside the files, or where a whole path says."""
    folders = list(dict.fromkeys(Path(name).parent for name in names if name != "-")) or [Path()]

    def include(pattern: str) -> tuple[Source, ...] | None:
        import glob

        for folder in folders:
            matched = sorted(glob.glob(str(folder / pattern)))
            if matched:
                return tuple(sources(matched) or ())
        return () if glob.has_magic(pattern) else None

    return include
