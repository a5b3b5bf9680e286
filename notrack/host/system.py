"""The system as this program may touch it, and its twin in memory for tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Protocol

from notrack.text.record import dataclass

_PATIENCE = 60.0  # seconds, for a program that was called


@dataclass(frozen=True, slots=True)
class Ran:
    """A program's end: its exit status (127: there is no such program) and what it wrote."""

    status: int
    out: str = ""
    err: str = ""


class System(Protocol):
    """What the rest of the program knows of the system. No method raises."""

    def read(self, path: str) -> str | None:
        """A file's text; None if it is not there or cannot be read."""
        ...

    def names(self, path: str) -> tuple[str, ...]:
        """The names in a directory, sorted; none if it cannot be read."""
        ...

    def run(self, words: Sequence[str], stdin: str = "") -> Ran:
        """Calls a program, without a shell."""
        ...


class LiveSystem:
    """This machine, in the network namespace of this process."""

    def read(self, path: str) -> str | None:
        try:
            return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
        except (OSError, ValueError):
            return None

    def names(self, path: str) -> tuple[str, ...]:
        try:
            return tuple(sorted(os.listdir(path)))
        except (OSError, ValueError):
            return ()

    def run(self, words: Sequence[str], stdin: str = "") -> Ran:
        try:
            done = subprocess.run(
                list(words),
                input=stdin,
                capture_output=True,
                text=True,
                errors="surrogateescape",
                timeout=_PATIENCE,
                env={**os.environ, "LC_ALL": "C"},
                check=False,
            )
        except FileNotFoundError:
            return Ran(127, err=f"{words[0]}: no such program")
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            return Ran(126, err=str(error))
        return Ran(done.returncode, done.stdout, done.stderr)


@dataclass(slots=True)
class Twin:
    """A system in memory: files by path, programs by their words joined with blanks. `ran` tells what was
    called."""

    files: Mapping[str, str] = field(default_factory=dict)
    programs: Mapping[str, Ran | str] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def names(self, path: str) -> tuple[str, ...]:
        start = path.rstrip("/") + "/"
        inside = {name[len(start) :].partition("/")[0] for name in self.files if name.startswith(start)}
        return tuple(sorted(inside))

    def run(self, words: Sequence[str], stdin: str = "") -> Ran:
        line = " ".join(words)
        self.ran.append(line)
        found = self.programs.get(line, Ran(127, err=f"{words[0]}: no such program"))
        return Ran(0, found) if isinstance(found, str) else found
