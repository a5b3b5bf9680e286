"""A file and what it includes to a resolved site."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path

from notrack.site.faults import Faults
from notrack.site.files import checked, read_source
from notrack.site.model import Site
from notrack.site.parser import parse
from notrack.site.resolver import resolve
from notrack.site.scope import DEEPEST
from notrack.site.syntax import Atom, Broken, Statement
from notrack.text.diagnostic import Diagnostic, Rejected, Related
from notrack.text.record import dataclass
from notrack.text.source import Source


def load(path: str | Path) -> tuple[Site, tuple[Diagnostic, ...]]:
    """Read a site file with all that it includes: the site, and warnings about it.

    Raises `Rejected` with every error, an unreadable file among them.
    """
    faults = Faults()
    where = Path(path)
    source = read_source(where, str(path), faults)
    if source is None:
        raise Rejected(faults.errors_in_order())
    reading = _Reading(faults)
    reading.chain.append((_key(where), str(path)))
    return _finished(reading, source, where.parent, where.stem)


def load_text(text: str, name: str = "-", base_dir: str | Path = ".") -> tuple[Site, tuple[Diagnostic, ...]]:
    """As `load`, for a text that is at hand; `name` is for messages, files are looked for in `base_dir`."""
    faults = Faults()
    source = checked(Source(name, text.removeprefix("\ufeff")), faults)
    if source is None:
        raise Rejected(faults.errors_in_order())
    return _finished(_Reading(faults), source, Path(base_dir), Path(name).stem if name != "-" else "site")


@dataclass(slots=True)
class _Reading:
    """Files being read: `chain` is the way from the main file to the present one, to find loops."""

    faults: Faults
    folders: dict[int, Path] = field(default_factory=dict)
    chain: list[tuple[object, str]] = field(default_factory=list)
    seen: dict[object, Atom] = field(default_factory=dict)
    sources: list[Source] = field(default_factory=list)  # kept alive: folders are known by their ids

    def statements(self, source: Source, folder: Path) -> Iterator[Statement | Broken]:
        """The declarations of a source, those of included files in the place of their line."""
        self.folders[id(source)] = folder
        self.sources.append(source)
        for statement in parse(source, self.faults):
            if isinstance(statement, Statement) and statement.keyword.text == "include":
                yield from self._included(statement.atoms[0], folder)
            else:
                yield statement

    def _included(self, atom: Atom, folder: Path) -> Iterator[Statement | Broken]:
        if not atom.value.strip():
            self.faults.error(atom.span, "the name of the file is empty", 'write `include "other.spec"`')
            return
        path = folder / atom.value
        key = _key(path)
        name = str(path) if folder != Path(".") else atom.value
        if any(known == key for known, _ in self.chain):
            steps = [step for _, step in self.chain] + [name]
            self.faults.error(
                atom.span, "this file includes itself", f"take one step out: {' -> '.join(steps)}"
            )
            return
        if len(self.chain) > DEEPEST:
            self.faults.error(
                atom.span, f"files included deeper than {DEEPEST}", "include them from one file"
            )
            return
        if key in self.seen:
            self._again(atom, self.seen[key])
            return
        self.seen[key] = atom
        source = read_source(path, name, self.faults, atom.span)
        if source is not None:
            self.chain.append((key, name))
            yield from self.statements(source, path.parent)
            self.chain.pop()

    def _again(self, atom: Atom, first: Atom) -> None:
        """A file is read once, however many others ask for it; twice from one file is a slip."""
        if atom.source is first.source:
            related = (Related(first.span, "the first time"),)
            self.faults.warn(
                atom.span, "this file is included twice", "it counts once: take one line out", related
            )


def _key(path: Path) -> object:
    """What tells files apart: device and inode, or the path where there is no file."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return str(path)
    return status.st_dev, status.st_ino


def _finished(
    reading: _Reading, source: Source, folder: Path, stem: str
) -> tuple[Site, tuple[Diagnostic, ...]]:
    statements = list(reading.statements(source, folder))
    if not statements and not reading.faults.errors:
        # It would compile to rules that drop everything: most likely it was cut off on its way here.
        reading.faults.error(
            source.span(0, 0), "there is no declaration in this file", "a site begins with `site NAME`"
        )
    site = resolve(statements, _site_name(stem), reading.folders, reading.faults)
    if site is None or reading.faults.errors:
        raise Rejected(reading.faults.errors_in_order())
    return site, reading.faults.warnings_in_order()


def _site_name(stem: str) -> str:
    """The name of a site without a `site` line: that of its file, as far as it can be a name."""
    words = re.findall(r"[a-z0-9]+", stem.lower())
    name = "-".join(words).lstrip("0123456789-")
    return name or "site"
