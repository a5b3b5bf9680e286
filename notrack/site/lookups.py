"""What declared names stand for: each resolved once, and loops among them found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Generic, TypeVar

from notrack.site.faults import Faults
from notrack.site.scope import DEEPEST, Entry, Scope
from notrack.site.syntax import Atom
from notrack.text.diagnostic import Related
from notrack.text.record import dataclass

T = TypeVar("T")


@dataclass(slots=True)
class Lookups(Generic[T]):
    """The values of the names of one kind; every answer of None means that an error has been reported."""

    kind: str  # as messages call them: `network`, `ports`
    scope: Scope
    faults: Faults
    known: dict[str, T | None] = field(default_factory=dict)
    path: list[Atom] = field(default_factory=list)  # the names being resolved, to find loops

    def value(self, entry: Entry, used: Atom, resolve: Callable[[], T | None] | None) -> T | None:
        """What `entry` stands for, at its use `used`; without `resolve` its declaration was in error."""
        name = entry.name.text
        if name in self.known:
            self.faults.silent += self.known[name] is None
            return self.known[name]
        if resolve is None:
            self.faults.silent += 1
            return None
        if any(atom.text == name for atom in self.path):
            self._loop(name, used)
            return None
        if len(self.path) >= DEEPEST:
            self.faults.error(used.span, f"names nested deeper than {DEEPEST}", "name the members themselves")
            return None
        self.path.append(used)
        found = resolve()
        self.path.pop()
        self.known[name] = found
        return found

    def _loop(self, name: str, used: Atom) -> None:
        start = next(i for i, atom in enumerate(self.path) if atom.text == name)
        steps = [atom.text for atom in self.path[start:]] + [name]
        self.faults.error(
            used.span,
            f"{self.kind} `{name}` is made of itself: {' -> '.join(steps)}",
            "take one of these steps out",
            (Related(self.scope.entries[name].name.span, "declared here"),),
        )
