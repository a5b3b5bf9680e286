"""What a written rule says beside what it asks and does: comments, and packets that it counted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from notrack.lint.mending import Written

_COUNTED = re.compile(r"\[(?!0:0\])\d+:\d+\]\s*$")
_COUNTER = re.compile(r"\bcounter\b")


def has_counted(one: Written) -> bool:
    """Whether packets have been counted for this rule alone, or are to be."""
    before = one.source.text[: one.span.start].rpartition("\n")[2]
    return bool(_COUNTED.search(before) or _COUNTER.search(one.body.text))


def has_comment(one: Written) -> bool:
    """Whether it has a comment of its own, or one stands behind it on its line."""
    behind = one.source.text[one.span.end :].partition("\n")[0]
    return "comment" in one.body.text or "#" in behind


def says_more(one: Written) -> bool:
    """Whether something gets lost with the rule that no other rule tells."""
    return has_counted(one) or has_comment(one)
