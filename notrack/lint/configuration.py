"""`notrack.toml`, or `[tool.notrack]` of `pyproject.toml`: what a repository of rules wants of the linter."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import field
from fnmatch import fnmatchcase
from typing import Any

from notrack.lint.selection import UnknownCode, matching
from notrack.text.diagnostic import Diagnostic, Rejected, Severity
from notrack.text.nearest import nearest
from notrack.text.record import dataclass
from notrack.text.source import Source

FAIL_ON = ("error", "warning", "info")
NAMES = ("notrack.toml", "pyproject.toml")


@dataclass(frozen=True, slots=True)
class Configuration:
    """`per_file_ignores`: patterns of file names with the codes that are not wanted there. `host`: a file of
    host facts, relative to the configuration. `exclude`: patterns of files in directories to leave alone."""

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    fail_on: str = "error"
    host: str | None = None
    exclude: tuple[str, ...] = ()
    per_file_ignores: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    name: str | None = None

    def ignored_in(self, path: str) -> tuple[str, ...]:
        """The codes that are not wanted in a file."""
        return tuple(
            code for pattern, codes in self.per_file_ignores.items() if _fits(path, pattern) for code in codes
        )

    def excludes(self, path: str) -> bool:
        return any(_fits(path, pattern) for pattern in self.exclude)


def _fits(path: str, pattern: str) -> bool:
    """Whether a pattern means a path: its end, beginning at a name, or the whole of it."""
    path = path.removeprefix("./")
    return fnmatchcase(path, pattern) or fnmatchcase(path, f"*/{pattern}")


DEFAULT = Configuration()


def configured(source: Source) -> Configuration | None:
    """What a file says; None of a `pyproject.toml` that says nothing. Raises `Rejected` with every fault."""
    import tomllib

    try:
        data: Any = tomllib.loads(source.text)
    except tomllib.TOMLDecodeError as error:
        raise Rejected((_broken(source, error),)) from None
    if source.name.endswith("pyproject.toml"):
        data = data.get("tool", {}).get("notrack")
        if data is None:
            return None
    return _Reader(source).read(data)


def _broken(source: Source, error: Exception) -> Diagnostic:
    place = re.search(r"at line (\d+), column (\d+)", str(error))
    offset = max(0, len(source.text) - 1)
    if place:
        line, column = int(place[1]), int(place[2])
        offset = sum(len(text) + 1 for text in source.text.split("\n")[: line - 1]) + column - 1
    message = re.sub(r"\s*\(at .*\)$", "", str(error))
    return Diagnostic(Severity.ERROR, f"this is no TOML: {message}", source.span(offset, offset + 1))


class _Reader:
    """Reads the keys; collects faults."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.faults: list[Diagnostic] = []

    def read(self, data: object) -> Configuration:
        values: dict[str, Any] = {"name": self.source.name}
        keys: dict[str, Callable[[str, object], object]] = {
            "select": self.codes,
            "ignore": self.codes,
            "exclude": self.words,
            "host": self.word,
            "fail-on": self.level,
            "per-file-ignores": self.patterns,
        }
        for key, value in data.items() if isinstance(data, dict) else ():
            if key not in keys:
                near = nearest(key, list(keys))
                hint = f"did you mean `{near}`?" if near else f"known keys: {', '.join(keys)}"
                self.fault(key, f"unknown key `{key}`", hint)
                continue
            values[key.replace("-", "_")] = keys[key](key, value)
        if not isinstance(data, dict):
            self.fault("notrack", "`notrack` must be a table", None)
        if self.faults:
            raise Rejected(tuple(self.faults))
        return Configuration(**values)

    def words(self, key: str, value: object) -> tuple[str, ...]:
        if isinstance(value, list) and all(isinstance(word, str) for word in value):
            return tuple(value)
        self.fault(key, f"`{key}` must be a list of strings", f'{key} = ["..."]')
        return ()

    def codes(self, key: str, value: object) -> tuple[str, ...]:
        found = self.words(key, value)
        for word in found:
            try:
                matching(word)
            except UnknownCode as unknown:
                self.fault(word, str(unknown), "`notrack rules` lists all of them")
        return found

    def word(self, key: str, value: object) -> str | None:
        if isinstance(value, str):
            return value
        self.fault(key, f"`{key}` must be a string", None)
        return None

    def level(self, key: str, value: object) -> str:
        if isinstance(value, str) and value in FAIL_ON:
            return value
        self.fault(key, f"`{key}` must be one of {', '.join(FAIL_ON)}", None)
        return DEFAULT.fail_on

    def patterns(self, key: str, value: object) -> Mapping[str, tuple[str, ...]]:
        if not isinstance(value, dict):
            self.fault(key, f"`{key}` must be a table", '"legacy/*.v4" = ["NT8"]')
            return {}
        return {pattern: self.codes(pattern, codes) for pattern, codes in value.items()}

    def fault(self, word: str, message: str, hint: str | None) -> None:
        """A fault at the place where a word first stands by itself."""
        found = re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", self.source.text)
        start, end = found.span() if found else (0, 0)
        self.faults.append(Diagnostic(Severity.ERROR, message, self.source.span(start, end), hint))
