"""Python's garbage collector, held back while a large tree is made."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """A stretch without the cyclic collector, which would walk a growing tree again and again and find
    nothing: it takes two fifths of the time of a large ruleset. Freezing and thawing makes the new objects
    old ones, so that the collector does not walk them all as soon as it is back. May be nested.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if gc.get_freeze_count() == 0:
            gc.freeze()
            gc.unfreeze()
        if was_on:
            gc.enable()
