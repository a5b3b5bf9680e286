"""What is linted: one host's rules as they were read, in force, and as the kernel would work with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from functools import cached_property
from typing import TYPE_CHECKING

from notrack.lint.view import View
from notrack.netfilter.host import UNKNOWN_HOST, Host
from notrack.packets.address import Family
from notrack.ruleset.core import Chain, Rule, Ruleset, Table
from notrack.ruleset.formats import Document, Reading
from notrack.text.record import dataclass

if TYPE_CHECKING:
    from notrack.lint.entries import Entry
    from notrack.lint.shadows import Shadows
    from notrack.site.model import Site
    from notrack.text.diagnostic import Diagnostic


@dataclass
class Subject:
    """One host. Everything is computed when it is asked for, once."""

    reading: Reading
    host: Host = UNKNOWN_HOST
    sites: tuple[Site, ...] = field(default=())
    remarks: tuple[Diagnostic, ...] = field(default=())  # what the site language warned about

    @property
    def ruleset(self) -> Ruleset:
        return self.reading.ruleset

    @property
    def documents(self) -> tuple[Document, ...]:
        return self.reading.documents

    @cached_property
    def views(self) -> tuple[View, ...]:
        """The rules as each family meets them; families without a table are left out."""
        there = {family for table in self.ruleset.tables for family in table.families}
        return tuple(View(self.ruleset, family, self.host) for family in Family if family in there)

    @cached_property
    def shadows(self) -> Shadows:
        """The rules that nothing comes to, and whether all were decided."""
        from notrack.lint.shadows import of

        return of(self)

    @cached_property
    def duplicates(self) -> tuple[tuple[Table, Entry, Entry], ...]:
        """Pairs of rules of one chain that do the same, the later one last."""
        from notrack.lint.entries import duplicates

        return tuple(
            (table, first, again) for table in self.ruleset.tables for first, again in duplicates(table)
        )

    def rules(self) -> Iterator[tuple[Table, Chain, Rule]]:
        """Every rule of the core, in chains that nothing reaches too."""
        for table in self.ruleset.tables:
            for chain in table.chains:
                for rule in chain.rules:
                    yield table, chain, rule
