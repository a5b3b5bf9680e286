"""Where fixes are made: rules in any text are found, changed as text, and put where they belong.

For an author of a rule of the linter it is three steps, the same for iptables-save text, native nft text and
shell scripts:

1. `find(subject.documents, rule)` gives the rule of the core as it is `Written`, or None where it does not
   stand in a text as such (a variable, an included file, a line that could not be read).
2. `written.body` is what it asks and does. A `Body` makes another: `mirrored(hook)`, `acting(ACCEPT)`,
   `instead(...)` (another rule of the same chain), `narrowed(UNTRACKED)`, `without(...)`, `asking(...)`,
   `moved(table, chain)`. What is not known in it (a variable of a script, a comment) goes along as it is.
   `body.text` is the line for a message.
3. A placing function gives `Edits` for a `Fix`: `after`, `before` (same chain), `answered` (the chain of
   another hook), `appended` (end of a chain), `rewritten` (in place), `deleted`, `characters`. Where no rule
   is there to begin with, `appended` takes a whole rule as a `Wording`.

Each step gives None where it cannot be done for certain; then the finding has no fix. Matches and targets
are `Wording`s: the same words in both languages.

    written = find(subject.documents, visit.rule)
    mirror = written.body.mirrored(Hook.OUTPUT) if written else None
    edits = answered(subject.documents, written, mirror, Hook.OUTPUT) if written and mirror else None
    fix = Fix("untrack the answers too", edits) if edits else None
"""

from __future__ import annotations

from notrack.lint.mending.body import Body
from notrack.lint.mending.index import all_written, find
from notrack.lint.mending.placing import (
    added_line,
    after,
    answered,
    appended,
    before,
    characters,
    deleted,
    rewritten,
)
from notrack.lint.mending.wording import ACCEPT, DROP, NOTRACK, UNTRACKED, Wording
from notrack.lint.mending.written import Edits, Written

__all__ = [
    "ACCEPT",
    "DROP",
    "NOTRACK",
    "UNTRACKED",
    "Body",
    "Edits",
    "Wording",
    "Written",
    "added_line",
    "after",
    "all_written",
    "answered",
    "appended",
    "before",
    "characters",
    "deleted",
    "find",
    "rewritten",
]
