"""Text to declarations: lists of tokens, a logical line each.

A logical line is a line and the deeper-indented lines below it. Comments and empty lines end nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from notrack.site.faults import Faults
from notrack.site.grammar import Grammar
from notrack.site.syntax import Atom
from notrack.text.record import dataclass
from notrack.text.source import Source, Span

KEYWORDS = (
    *("site", "include", "interface", "network", "ports", "service", "client", "peer", "route"),
    *("masquerade", "snat", "publish", "redirect", "trust", "block", "icmp"),
    *("ephemeral", "default", "log", "tracking", "expect"),
)

_CHUNK = re.compile(r'"[^"\n]*"|[,;=]|[^ \t\r,;="#]+|"[^\n]*|#.*')
_TAB = 8


@dataclass(slots=True)
class _Reader:
    source: Source
    grammar: Grammar
    faults: Faults
    types: dict[str, str]

    def line(self, start: int, text: str) -> list[Atom]:
        """The tokens of one physical line."""
        atoms = []
        for match in _CHUNK.finditer(text):
            chunk = match.group()
            if chunk[0] == "#":
                break
            atoms.append(Atom(self.type(chunk), chunk, self.source, start + match.start()))
        return atoms

    def type(self, chunk: str) -> str:
        found = self.types.get(chunk)
        if found is None:
            match = self.grammar.pattern.fullmatch(chunk)
            found = (match.lastgroup if match else None) or "JUNK"
            self.types[chunk] = found
        return found


def declarations(source: Source, grammar: Grammar, faults: Faults) -> Iterator[list[Atom]]:
    """The tokens of every declaration, never an empty list."""
    reader = _Reader(source, grammar, faults, dict(grammar.keywords))
    current: list[Atom] = []
    base = 0
    start = 0
    for text in source.text.split("\n"):
        atoms = reader.line(start, text)
        start += len(text) + 1
        if not atoms:
            continue
        indent = _indent(text)
        if current and indent > base and not _stray(current, atoms[0], faults):
            current.extend(atoms)
            continue
        if current:
            yield current
        current, base = atoms, indent
    if current:
        yield current


def _indent(text: str) -> int:
    width = 0
    for char in text:
        if char == " ":
            width += 1
        elif char == "\t":
            width += _TAB - width % _TAB
        else:
            break
    return width


def _stray(current: list[Atom], first: Atom, faults: Faults) -> bool:
    """Whether a deeper-indented line begins a declaration of its own, which it must not: reported."""
    if first.text not in KEYWORDS or (first.text == "icmp" and current[0].text == "expect"):
        return False
    above = current[0]
    faults.error(
        first.span,
        f"`{first.text}` begins a declaration, but this line is indented deeper than the one it follows",
        f"a deeper-indented line goes on with the declaration of line {above.span.line}: "
        "move this one as far left as that one",
    )
    return True


def end_of(atom: Atom) -> Span:
    """The place just behind a token: where something is missing."""
    return Span(atom.source, atom.end, atom.end)
