"""Ports as written to exact sets: numbers, ranges, names of `ports`, well-known service names."""

from __future__ import annotations

from dataclasses import field

from notrack.packets.intervals import EMPTY, Interval, IntervalSet
from notrack.site.faults import Faults
from notrack.site.lookups import Lookups
from notrack.site.model import ALL_PORTS
from notrack.site.scope import Entry, Scope
from notrack.site.syntax import Atom
from notrack.site.tables.service_names import SERVICE_PORTS
from notrack.text.nearest import nearest
from notrack.text.record import dataclass

_PORT_HINT = "ports are from 1 to 65535"


@dataclass(slots=True)
class PortBook:
    """Resolves ports; every answer of None means that an error has been reported."""

    scope: Scope
    faults: Faults
    names: Lookups[IntervalSet] = field(init=False)

    def __post_init__(self) -> None:
        self.names = Lookups("ports", self.scope, self.faults)

    def resolve(self, atoms: tuple[Atom, ...]) -> IntervalSet | None:
        """The union of a list of ports; a range that lies in front of its end is an error."""
        parts = [self._item(atom) for atom in atoms]
        if any(part is None for part in parts):
            return None
        return IntervalSet.of(span for part in parts for span in part or EMPTY)

    def single(self, atom: Atom) -> int | None:
        """The one port that an atom stands for."""
        ports = self._item(atom)
        if ports is None:
            return None
        if ports.size() != 1:
            self.faults.error(
                atom.span, f"one port is wanted here, not `{atom.text}`", "write a single number"
            )
            return None
        return ports.least()

    def list(self, entry: Entry, used: Atom) -> IntervalSet | None:
        """What a `ports` name stands for."""
        statement = entry.statement
        work = None if statement is None else lambda: self.resolve(statement.ports)
        return self.names.value(entry, used, work)

    def _item(self, atom: Atom) -> IntervalSet | None:
        if atom.type == "ANY":
            return ALL_PORTS
        if atom.type == "WORD":
            return self._name(atom)
        bounds = self.bounds(atom)
        return IntervalSet((bounds,)) if bounds else None

    def bounds(self, atom: Atom) -> Interval | None:
        """A number or a range as lowest and highest port."""
        words = atom.text.split("-")
        numbers = [int(word[:9]) for word in words]
        for number, word in zip(numbers, words, strict=True):
            if not 1 <= number <= 65535:
                self.faults.error(atom.span, f"there is no port {word[:20]}", _PORT_HINT)
                return None
        if numbers[-1] < numbers[0]:
            self.faults.error(
                atom.span, f"the range `{atom.text}` is empty", f"write `{numbers[-1]}-{numbers[0]}`"
            )
            return None
        return numbers[0], numbers[-1]

    def _name(self, atom: Atom) -> IntervalSet | None:
        entry = self.scope.entries.get(atom.text)
        port = SERVICE_PORTS.get(atom.text)
        if port is not None and (entry is None or entry.kind != "ports"):
            return IntervalSet.single(port)
        if entry is not None:
            found = self.scope.find(atom, "ports")
            return self.list(found, atom) if found else None
        own = [entry.name.text for entry in self.scope.of_kind("ports")]
        near = nearest(atom.text, own) or nearest(atom.text, SERVICE_PORTS)
        help = (
            f"did you mean `{near}`?" if near else f"write the number, or declare `ports {atom.text} = 8000`"
        )
        self.faults.error(atom.span, f"unknown port `{atom.text}`", help)
        return None
