"""The way back: texts without what was added to take a service out of tracking, all else byte for byte."""

from __future__ import annotations

import re

from notrack.draft.raw import MADE, remark, table_name
from notrack.draft.service import Asked
from notrack.draft.twins import ERRORS
from notrack.text.source import Source

_ANY = re.compile(r'"notrack untrack: (?!errors")')
_EMPTY = re.compile(rf"^{re.escape(MADE)}\r?\n\*raw\r?\n(?::.*\n)*COMMIT\r?\n?", re.MULTILINE)
"""A raw table that was made for such services, and holds no rule any more."""


def undone(source: Source, asked: Asked) -> Source:
    """The text without every rule that carries the comment of this service, and without tables made for it.

    Rules for ICMP errors serve all services that were untracked so: they go with the last one.
    """
    text = _without_table(source.text, asked)
    text = _without_lines(text, f'"{remark(asked)}"')
    if not _ANY.search(text):
        text = _without_lines(text, f'"{ERRORS}"')
    return Source(source.name, _EMPTY.sub("", text))


def _without_lines(text: str, mark: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if mark not in line)


def _without_table(text: str, asked: Asked) -> str:
    """Without the nft table of the service."""
    name = re.escape(table_name(asked))
    found = re.search(
        rf"^table (?:ip|ip6|inet) {name} {{\r?\n(?:[ \t].*\n|\r?\n)*}}\r?\n?", text, re.MULTILINE
    )
    return text if found is None else text[: found.start()] + text[found.end() :]
