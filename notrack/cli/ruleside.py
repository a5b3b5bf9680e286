"""The rules of one host as the command line names them: files of rules, a folder, a site file, this host."""

from __future__ import annotations

import os
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from notrack.cli.messages import note, tell
from notrack.cli.rulesfile import form, including, sources
from notrack.netfilter.host import UNKNOWN_HOST, Host
from notrack.packets.address import AddressSet, Family
from notrack.ruleset.core import Ruleset
from notrack.ruleset.formats import Document, read_all
from notrack.ruleset.recognition import RULES, Format, recognised
from notrack.text.diagnostic import Severity
from notrack.text.record import dataclass
from notrack.text.source import Source

if TYPE_CHECKING:
    from notrack.plan.planner import Plan
    from notrack.report.difference import Compared

NOBODY = AddressSet()


@dataclass(frozen=True, slots=True)
class Side:
    """Rules that were read, the families that they speak of, and what they say of the host, if they do.

    `own`: addresses that surely are the host's, where not all of its own are known.
    """

    ruleset: Ruleset
    families: tuple[Family, ...]
    hosts: dict[Family, Host] = field(default_factory=dict)
    formats: frozenset[Format] = field(default_factory=frozenset)
    own: AddressSet = NOBODY

    @property
    def host(self) -> Host:
        """The facts, where both families know the same."""
        known = list(dict.fromkeys(self.hosts.values()))
        return known[0] if len(known) == 1 else UNKNOWN_HOST


def side(
    names: list[str], color: str, *, family: Family | None = None, backend: str | None = None
) -> Side | None:
    """The rules of some files, told apart by content; None after their faults were told.

    A site file is compiled in memory, for `backend` (iptables if none is said), and tells its own facts.
    """
    listed = files(names)
    texts = sources(listed) if listed is not None else None
    if texts is None:
        return None
    forms = {source: recognised(source.text) for source in texts}
    specs = [source for source in texts if forms[source] is Format.SITE or source.name.endswith(".spec")]
    if specs:
        if len(texts) > 1:
            note(f"{specs[0].name} is a site: it is compared by itself, without other files beside it")
            return None
        return _site(specs[0], color, backend or "iptables")
    reading = read_all(texts, family, including(listed or []))
    tell(reading.diagnostics, color)
    if any(one.severity is Severity.ERROR for one in reading.diagnostics):
        return None
    formats = frozenset(document.format for document in reading.documents if document.format is not None)
    return Side(reading.ruleset, _families(reading.ruleset, reading.documents), formats=formats)


def _site(source: Source, color: str, backend: str) -> Side | None:
    from notrack.cli.sitefile import planned_text
    from notrack.proof.sitehost import site_hosts

    found = planned_text(source, color)
    if found is None:
        return None
    ruleset = compiled(found, backend)
    own = NOBODY
    for interface in found.site.interfaces:
        own |= interface.addresses
    return Side(ruleset, tuple(Family), site_hosts(found.site), frozenset((Format.SITE,)), own)


def compiled(plan: Plan, backend: str, *, coexist: bool = False) -> Ruleset:
    """What a plan compiles to, read back from its text."""
    from notrack.layout.output import FILES, emit

    targets = ("nft",) if backend == "nft" else ("iptables", "ip6tables")
    texts = [Source(f"compiled {FILES[name]}", emit(plan, name, coexist=coexist).text) for name in targets]
    return read_all(texts).ruleset


def files(names: list[str]) -> list[str] | None:
    """The files that names mean: several with commas, the rules in a folder. None after a fault was told."""
    found: list[str] = []
    for name in names:
        parts = [name] if name == "-" or os.path.exists(name) else [part for part in name.split(",") if part]
        if not parts:
            note("a side is a file, several with commas between them, or a folder: this one names none")
            return None
        for part in parts:
            try:
                inside = _inside(Path(part)) if part != "-" and os.path.isdir(part) else [part]
            except OSError as error:
                note(f"cannot read {error.filename or part}: {error.strerror}")
                return None
            if not inside:
                note(f"there are no rules in {part}")
                return None
            found += inside
    return found


def _inside(folder: Path) -> list[str]:
    """The files of rules in a folder; of the compiler's output, which says all twice, the iptables half."""
    pair = [folder / "rules.v4", folder / "rules.v6"]
    halves = [str(path) for path in pair if path.is_file()]
    if halves:
        return halves
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not _is_leftover(path.name)]
    return [str(path) for path in files if form(path) in RULES]


def _is_leftover(name: str) -> bool:
    return name.startswith(".") or name.endswith(("~", ".bak", ".old"))


def _families(ruleset: Ruleset, documents: tuple[Document, ...]) -> tuple[Family, ...]:
    named = {family for document in documents for family in document.families}
    named |= {family for table in ruleset.tables for family in table.families}
    return tuple(family for family in Family if family in named)


def live(color: str) -> Side | None:
    """The rules and the facts of this host; None after it was told why they cannot be had."""
    from notrack.cli.liverules import in_force

    found = in_force()
    if found is None:
        return None
    texts, host = found
    reading = read_all(texts)
    tell([one for one in reading.diagnostics if one.severity is not Severity.INFO], color)
    formats = frozenset(document.format for document in reading.documents if document.format is not None)
    return Side(reading.ruleset, tuple(Family), dict.fromkeys(Family, host), formats)


def compared(
    before: Side, after: Side, hosts: dict[Family, Host], only: Family | None = None
) -> Compared | None:
    """The difference in each family that both sides speak of, or in one; None if there is none to compare."""
    from notrack.proof.difference import difference
    from notrack.report.difference import Compared, families

    both, left_out = families(before.families, after.families)
    if only is not None:
        both, left_out = [only], []
    if not both:
        return None
    found = tuple(difference(before.ruleset, after.ruleset, family, hosts[family]) for family in both)
    return Compared(before.ruleset, after.ruleset, hosts, found, tuple(left_out))
