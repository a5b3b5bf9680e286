"""Reading the files that a site is made of."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from notrack.site.faults import Faults
from notrack.text.nearest import nearest
from notrack.text.source import Source, Span

_LARGEST = 64 * 2**20  # bytes; a site or a list of prefixes beyond that is a mistake


def read_source(path: Path, name: str, faults: Faults, at: Span | None = None) -> Source | None:
    """A file as a source called `name`, or None and an error at the place that asked for it.

    The main file (`at` None) may be a pipe; what a site names must be a regular file.
    """
    try:
        data = _read(path, at is not None)
    except _Unreadable as reason:
        faults.error(at, f"cannot read `{_printable(name)}`: {reason}", _hint(path, at is not None))
        return None
    return decoded(data, name, faults)


class _Unreadable(Exception):
    pass


def _read(path: Path, regular: bool) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise _Unreadable("it is a directory")
        if regular and not stat.S_ISREG(mode):
            raise _Unreadable("it is not a regular file")
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except ValueError:
        raise _Unreadable("no file can have that name") from None
    except OSError as error:
        raise _Unreadable((error.strerror or str(error)).lower()) from None
    if len(data) > _LARGEST:
        raise _Unreadable(f"it is larger than {_LARGEST >> 20} MiB")
    return data


def _hint(path: Path, named: bool) -> str | None:
    """The file in the same folder whose name is nearest."""
    try:
        names = os.listdir(path.parent)[:2000] if not path.exists() else []
    except (OSError, ValueError):
        names = []
    near = nearest(path.name, names)
    if near:
        return f"did you mean `{near}`?"
    return "a file is looked for beside the one that names it" if named else None


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def decoded(data: bytes, name: str, faults: Faults) -> Source | None:
    """Bytes as a source: UTF-8, with or without a byte order mark; None and an error for anything else."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        faults.error(Source(name, "").span(0, 0), "the file is UTF-16", "save it as UTF-8")
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig")
        rest = data[error.start : error.start + 200].decode("utf-8", "replace")
        source = Source(name, before + rest)
        byte = data[error.start]
        place = source.span(len(before), len(before) + 1)
        faults.error(place, f"byte 0x{byte:02x} is not UTF-8", "save the file as UTF-8")
        return None
    return checked(Source(name, text), faults)


def checked(source: Source, faults: Faults) -> Source | None:
    """The source itself, unless its text cannot be that of a person."""
    text = source.text
    nul = text.find("\0")
    if nul >= 0:
        faults.error(source.span(nul, nul + 1), "a NUL character", "is this a text file?")
        return None
    lone = text.find("\r")
    if lone >= 0 and "\n" not in text and text[lone + 1 :].strip():
        faults.error(
            source.span(lone, lone + 1), "the lines end in CR alone", "save the file with LF or CRLF ends"
        )
        return None
    return source
