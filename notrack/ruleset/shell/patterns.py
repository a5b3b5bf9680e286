"""Patterns of the shell, in `case` and in `${name%pattern}`."""

from __future__ import annotations

import fnmatch
from typing import Final

LONGEST: Final = 4096  # characters of a text
WIDEST: Final = 256  # characters of a pattern
STARS: Final = 8


def matches(text: str | None, pattern: str | None, wild: bool) -> bool | None:
    """Whether a text fits a pattern of `case`; None if either is not known."""
    if text is None or pattern is None:
        return None
    if not wild:
        return text == pattern
    return None if _too_hard(text, pattern) else fnmatch.fnmatchcase(text, pattern)


def trimmed(text: str, operation: str, pattern: str) -> str | None:
    """What `${text OPERATION pattern}` gives for `#`, `##`, `%`, `%%`, `/`, `//`; None for what is rarer."""
    if operation in ("/", "//"):
        old, _, new = pattern.partition("/")
        if not old or old[0] in "#%" or any(char in old + new for char in "*?[\\&"):
            return None
        return text.replace(old, new, 1 if operation == "/" else -1)
    if _too_hard(text, pattern) or len(text) > WIDEST or "\\" in pattern:
        return None
    ends = range(len(text) + 1)
    if operation in ("#", "##"):
        found = [end for end in ends if fnmatch.fnmatchcase(text[:end], pattern)]
        return text[(found[0] if operation == "#" else found[-1]) :] if found else text
    if operation in ("%", "%%"):
        found = [start for start in ends if fnmatch.fnmatchcase(text[start:], pattern)]
        return text[: found[-1] if operation == "%" else found[0]] if found else text
    return None


def _too_hard(text: str, pattern: str) -> bool:
    return len(text) > LONGEST or len(pattern) > WIDEST or pattern.count("*") > STARS
