"""Rules with fewer states in their list."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from notrack.ruleset.core import Rule
from notrack.ruleset.formats import Document

if TYPE_CHECKING:
    from notrack.lint.mending import Body, Edits

_STATES = re.compile(
    r"(?P<negated>!\s+)?(?P<option>--(?:ct)?state|ct state)\s+(?P<names>\{[^}]*\}|[\w,]+)", re.ASCII
)


def without_states(
    documents: tuple[Document, ...], rule: Rule, gone: Collection[str]
) -> tuple[Body | None, Edits | None]:
    """The rule without some states (in small letters), and the edits that make it so. A rule of which no
    state is left is taken out. Nothing is given where the list is negated or does not hold them."""
    from notrack.lint.mending import Wording, deleted, find, rewritten

    written = find(documents, rule)
    found = _STATES.search(written.body.text) if written else None
    if written is None or found is None or found["negated"]:
        return None, None
    names = [name.strip() for name in found["names"].strip("{} ").split(",")]
    kept = [name for name in names if name.lower() not in gone]
    if len(kept) == len(names):
        return None, None
    if not kept:
        return None, deleted(written)
    listed = ",".join(kept)
    braced = f"{{ {', '.join(kept)} }}" if found["names"].startswith("{") else listed
    body = written.body.asking(Wording(found["option"], "ct state"), Wording(listed, braced))
    return body, rewritten(written, body) if body else None
