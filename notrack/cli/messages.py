"""Diagnostics on standard error, in colour on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TextIO

from notrack.text.diagnostic import Diagnostic


def wants_colour(choice: str, stream: TextIO) -> bool:
    """`--color`, then NO_COLOR, FORCE_COLOR and CLICOLOR, then whether a terminal is there."""
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return os.environ.get("CLICOLOR") != "0" and stream.isatty()


def tell(diagnostics: Iterable[Diagnostic], color: str = "auto") -> None:
    """Print every diagnostic with its marked source line."""
    found = tuple(diagnostics)
    if not found:
        return
    from notrack.text.render import render

    colour = wants_colour(color, sys.stderr)
    for diagnostic in found:
        print(render(diagnostic, colour=colour), file=sys.stderr)


def note(text: str) -> None:
    print(f"notrack: {text}", file=sys.stderr)
