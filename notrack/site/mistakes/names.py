"""The first two words of a declaration: its keyword and its name."""

from __future__ import annotations

import re

from notrack.site.lexer import KEYWORDS
from notrack.site.mistakes.forms import MEANT
from notrack.site.mistakes.junk import junk
from notrack.site.mistakes.wrong import CLAUSES, FLOWS, PROTOCOLS, Answer, Wrong, shortened
from notrack.site.syntax import Atom
from notrack.text.nearest import nearest
from notrack.text.source import Span

_NAMED = FLOWS | {"site", "interface", "network", "ports", "icmp"}
_NO_NAME = (*PROTOCOLS, "ADDRESS", "NUMBER", "RANGE", "FROM", "TO", "ON", "OUT", "WITH")
_RULE = "names are lower-case words with `-`, and begin with a letter"


def bad_keyword(atom: Atom, atoms: list[Atom]) -> Answer:
    """The first word is none that begins a declaration."""
    text = shortened(atom.text)
    if text == "port" and any(other.type == "EQUAL" for other in atoms):
        return "unknown word `port`", "did you mean `ports`?"
    if text.lower() in KEYWORDS:
        return f"unknown word `{text}`", f"keywords are lower case: `{text.lower()}`"
    if atom.type == "JUNK":
        return _bad_start(atom, text)
    if atom.type in (*CLAUSES, *PROTOCOLS, "COMMA", "EXCEPT", "PORT"):
        return (
            f"`{text}` cannot begin a declaration",
            "indent the line to go on with the declaration above it",
        )
    if atom.type == "SEMICOLON":
        return "`;` cannot begin a declaration", "comments start with `#`"
    meant = MEANT.get(text.lower()) or nearest(text, KEYWORDS)
    known = f"a declaration begins with one of: {', '.join(KEYWORDS)}"
    return f"unknown word `{text}`", f"did you mean `{meant}`?" if meant else known


def _bad_start(atom: Atom, text: str) -> Answer:
    if text.startswith("["):
        return f"`{text}`: there are no sections", "every declaration is a line of its own"
    if text in ("}", "{"):
        return f"`{text}`: there are no blocks", "indent the lines that go on with a declaration deeper"
    _, message, help = junk(atom)
    return message, help


def junk_or_name(wrong: Wrong, atom: Atom) -> tuple[Span, str, str | None]:
    """Place, fault and help of a chunk that is no token; in the place of a name it is a bad name."""
    span, message, help = junk(atom)
    if wrong.at == 1 and wrong.keyword in _NAMED and span == atom.span and atom.text[0] != '"':
        return span, f"`{shortened(atom.text)}` cannot be a name", f"{_RULE}{_meant(atom.text)}"
    return span, message, help


def _meant(text: str) -> str:
    plain = "-".join(re.findall(r"[a-z0-9]+", text.lower())).lstrip("0123456789-")
    return f": `{plain}`" if 0 < len(plain) <= 40 else ""


def bad_name(wrong: Wrong) -> Answer | None:
    """The name of a declaration is missing or cannot be one."""
    if wrong.at != 1 or wrong.keyword not in _NAMED:
        return None
    keyword, atom = wrong.keyword, wrong.atom
    if atom is None or atom.type == "EQUAL":
        return f"`{keyword}` without a name", wrong.form
    if atom.type in _NO_NAME and keyword != "site":
        return f"`{keyword}` without a name: {wrong.said} stands in its place", wrong.form
    if atom.type == "STRING":
        bare = shortened(atom.value.lower()) or "NAME"
        return f"the name {shortened(atom.text)} stands in quotes", f"write it without: `{keyword} {bare}`"
    if atom.text in wrong.language.keywords:
        return (
            f"{wrong.said} is a word of the language and cannot be a name",
            f"choose another one, as `my-{atom.text}`",
        )
    return f"{wrong.said} cannot be a name", f"{_RULE}{_meant(atom.text)}"
