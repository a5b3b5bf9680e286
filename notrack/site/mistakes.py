"""What somebody probably meant who wrote what the grammar does not take."""

from __future__ import annotations

from notrack.site.faults import Faults
from notrack.site.grammar import Grammar
from notrack.site.syntax import Atom


def explain(atoms: list[Atom], at: int, expected: set[str], language: Grammar, faults: Faults) -> None:
    atom = atoms[min(at, len(atoms) - 1)]
    faults.error(atom.span, f"unexpected `{atom.text}`", ", ".join(sorted(expected)))
