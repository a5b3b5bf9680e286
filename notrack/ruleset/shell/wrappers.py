"""Commands that run another one here and now: `sudo`, `env X=y`, `timeout 5`."""

from __future__ import annotations

import re
from typing import Final

from notrack.ruleset.shell.derived import Field

_ASSIGNED: Final = re.compile(r"[A-Za-z_]\w*=.*", re.ASCII | re.DOTALL)
# Of each wrapper: its options that take a value, and how many words stand before the command.
_WRAPPERS: Final[dict[str, tuple[str, int]]] = {
    "sudo": ("ugUpCTRrtDh", 0),
    "doas": ("uC", 0),
    "command": ("", 0),
    "builtin": ("", 0),
    "exec": ("a", 0),
    "env": ("uCS", 0),
    "nice": ("n", 0),
    "ionice": ("cnp", 0),
    "nohup": ("", 0),
    "setsid": ("", 0),
    "time": ("fo", 0),
    "chronic": ("", 0),
    "stdbuf": ("ioe", 0),
    "timeout": ("ks", 1),
    "busybox": ("", 0),
    "eatmydata": ("", 0),
    "flock": ("wE", 1),
}


def unwrapped(fields: list[Field]) -> list[Field] | None:
    """The command that really runs; None where there is none (`exec 2>log`). What only asks for a command
    (`command -v x`) comes back as `which x`."""
    for _ in range(16):
        name = fields[0].literal.rpartition("/")[2] if fields and fields[0].literal else ""
        if name not in _WRAPPERS:
            return fields
        if name in ("command", "type") and len(fields) > 1 and fields[1].literal in ("-v", "-V"):
            return [Field.of("which", fields[0].span), *fields[2:]]
        inner = _behind(fields[1:], *_WRAPPERS[name])
        if not inner:
            return None
        fields = inner
    return fields


def _behind(fields: list[Field], valued: str, words: int) -> list[Field]:
    """What follows the options and first words of a wrapper."""
    index = 0
    while index < len(fields):
        text = fields[index].text
        if text == "--":
            index += 1
            break
        if _ASSIGNED.fullmatch(text):
            index += 1
        elif text.startswith("-") and len(text) > 1:
            index += 2 if len(text) == 2 and text[1] in valued else 1
        else:
            break
    return fields[index + words :]
