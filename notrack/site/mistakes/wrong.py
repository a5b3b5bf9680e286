"""A declaration that does not parse, and the token at which that shows."""

from __future__ import annotations

from notrack.site.clauses import ALLOWED
from notrack.site.grammar import Grammar
from notrack.site.mistakes.forms import FORMS
from notrack.site.syntax import Atom
from notrack.text.record import dataclass

Answer = tuple[str, str | None]  # what is wrong, and how to mend it

FLOWS = frozenset(ALLOWED) - {"interface", "expect", "icmp"}
PROTOCOLS = ("TCP", "UDP", "SCTP", "PROTO")
FLAGS = ("TRACKED", "UNTRACKED", "IPV4", "IPV6")  # clauses of one word
ADDRESSES = ("FROM", "TO", "WITH", "AT", "AS", "EXCEPT", "OWN_ADDRESS")
CLAUSES = (
    *("FROM", "TO", "WITH", "AT", "AS", "OWN_ADDRESS", "ON", "OUT", "LIMIT", "HELPER", "MSS", "FLAGS"),
    *FLAGS,
)
_LISTS = {
    **dict.fromkeys(ADDRESSES, "addresses"),
    **dict.fromkeys(("ON", "OUT"), "interfaces"),
    **dict.fromkeys(("PORT", "TCP", "UDP", "SCTP"), "ports"),
    "PROTO": "protocols",
    "FLAGS": "flags",
}
_AFTER_EQUALS = {"interface": "devices", "network": "addresses", "ports": "ports"}


@dataclass(frozen=True, slots=True)
class Wrong:
    """The tokens, which of them made no sense (`at`; their count: the end), and what could stand there."""

    atoms: list[Atom]
    at: int
    expected: set[str]
    language: Grammar

    @property
    def atom(self) -> Atom | None:
        return self.atoms[self.at] if self.at < len(self.atoms) else None

    @property
    def text(self) -> str:
        return self.atom.text if self.atom is not None else ""

    @property
    def type(self) -> str:
        return self.atom.type if self.atom is not None else "$END"

    @property
    def said(self) -> str:
        """The token as a message names it."""
        return f"`{shortened(self.text)}`" if self.atom is not None else "end of the declaration"

    @property
    def before(self) -> Atom:
        return self.atoms[self.at - 1]

    @property
    def following(self) -> str:
        return self.atoms[self.at + 1].type if self.at + 1 < len(self.atoms) else "$END"

    @property
    def keyword(self) -> str:
        return self.atoms[0].text

    @property
    def form(self) -> str:
        return f"write it as in `{FORMS[self.keyword]}`"

    @property
    def ends_clause(self) -> bool:
        """Whether the declaration or a clause of it ends here."""
        return self.atom is None or self.type in CLAUSES

    @property
    def list(self) -> str | None:
        """What the list holds whose member the token before is, if that is in one."""
        for i in range(self.at - 1, 0, -1):
            kind = self.atoms[i].type
            if kind == "EQUAL":
                return _AFTER_EQUALS.get(self.keyword)
            if kind in _LISTS:
                return _LISTS[kind]
            if kind in (*CLAUSES, "SEMICOLON", "PER"):
                return None
        return "ICMP types" if self.keyword == "icmp" and self.at > 2 else None


def shortened(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
