"""The names of a site: who declared each, and which were ever used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field

from notrack.site.faults import Faults
from notrack.site.syntax import Atom, Broken, Statement
from notrack.text.diagnostic import Related
from notrack.text.nearest import nearest
from notrack.text.record import dataclass

DEEPEST = 100  # names within names, files within files
RESERVED_FLOWS = ("input", "forward", "output")  # the plan calls what nobody declared by these


@dataclass(frozen=True, slots=True)
class Entry:
    """A declared name; `statement` is None where its declaration could not be read."""

    kind: str
    name: Atom
    statement: Statement | None


@dataclass(slots=True)
class Scope:
    faults: Faults
    entries: dict[str, Entry] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def declare(self, statement: Statement | Broken) -> bool:
        """Take the name of a declaration in; False, and an error, when it is taken already."""
        name = statement.name
        if name is None or statement.keyword.text == "site":
            return True
        whole = statement if isinstance(statement, Statement) else None
        first = self.entries.setdefault(name.text, Entry(statement.keyword.text, name, whole))
        if first.name is not name:
            self.faults.error(
                name.span,
                f"`{name.text}` is declared twice",
                "a name stands for one declaration of any kind: choose another one",
                (Related(first.name.span, "declared here first"),),
            )
            return False
        if whole is not None and name.text in RESERVED_FLOWS:
            self.faults.error(
                name.span,
                f"`{name.text}` cannot be a name",
                f"the plan calls what no declaration names `{name.text}`: choose another one",
            )
        return True

    def find(self, name: Atom, kind: str) -> Entry | None:
        """The entry of that kind, marked as used; None, after an error, when there is none.

        An entry that could not be read is found without an error, whatever its kind.
        """
        entry = self.entries.get(name.text)
        self.used.add(name.text)
        if entry is not None and (
            entry.kind == kind or (entry.statement is None and entry.kind not in _KINDS)
        ):
            return entry
        if entry is not None:
            self._other_kind(name, kind, entry)
        else:
            self._unknown(name, kind)
        return None

    def of_kind(self, kind: str) -> Iterator[Entry]:
        return (entry for entry in self.entries.values() if entry.kind == kind)

    def _other_kind(self, name: Atom, kind: str, entry: Entry) -> None:
        hint = _KIND_HINTS.get((entry.kind, kind)) or _known(self, kind) or _declare(kind, "NAME")
        self.faults.error(
            name.span,
            f"`{name.text}` is {with_article(entry.kind)}, not {with_article(kind)}",
            hint,
            (Related(entry.name.span, "declared here"),),
        )

    def _unknown(self, name: Atom, kind: str) -> None:
        near = nearest(name.text, [entry.name.text for entry in self.of_kind(kind)])
        help = f"did you mean `{near}`?" if near else _declare(kind, name.text)
        self.faults.error(name.span, f"unknown {kind} `{name.text}`", help)


_KINDS = frozenset(
    {
        *("network", "ports", "interface", "service", "client", "peer", "route", "masquerade", "snat"),
        *("publish", "redirect", "trust", "block", "icmp"),
    }
)

_KIND_HINTS = {
    ("interface", "network"): "addresses are wanted here; the interface itself goes behind `on` or `out`",
    ("network", "interface"): "an interface is wanted here; addresses go behind `from`, `to` or `with`",
    ("ports", "network"): "addresses are wanted here; ports go behind `tcp` or `udp`",
    ("network", "ports"): "ports are wanted here; addresses go behind `from`, `to` or `with`",
}


def with_article(kind: str) -> str:
    if kind == "ports":
        return "a list of ports"
    return f"an {kind}" if kind[0] in "aeio" else f"a {kind}"


def _declare(kind: str, name: str) -> str:
    example = {"network": "192.0.2.0/24", "interface": "eth0", "ports": "80, 443"}[kind]
    return f"declare it: `{kind} {name} = {example}`"


def _known(scope: Scope, kind: str) -> str | None:
    names = [entry.name.text for entry in scope.of_kind(kind)][:8]
    return f"known: {', '.join(names)}" if names else None
