"""Rules in any format, read and brought into force: one host from one text or from several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING

from notrack.packets.address import Family
from notrack.ruleset import core
from notrack.ruleset.recognition import Format, families, recognised
from notrack.ruleset.xtables import tree as xtables
from notrack.ruleset.xtables.backend import Backend
from notrack.text.diagnostic import Diagnostic, Severity
from notrack.text.record import dataclass
from notrack.text.source import Source

_NFT = (Format.NFT, Format.NFT_JSON)
Include = Callable[[str], tuple[Source, ...] | None]
"""The sources that an `include` of nft names, in order; None where there is no such file."""

if TYPE_CHECKING:
    from notrack.ruleset.ipset.tree import Collection, Set
    from notrack.ruleset.nft import tree as nft
    from notrack.ruleset.shell.actions import Script

    Tree = xtables.Ruleset | nft.Ruleset | Script | Collection


@dataclass(frozen=True, slots=True)
class Document:
    """One text as it was read. `format` None: nobody knows; `tree` None: it holds no rules that can be read.

    `families` are those of a text for iptables-restore. `diagnostics` are the reader's.
    """

    source: Source
    format: Format | None
    tree: Tree | None = None
    families: tuple[Family, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """A host's rules in the core, the texts that they come from, and everything that was to be said."""

    ruleset: core.Ruleset
    documents: tuple[Document, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = field(default=())

    @property
    def refused(self) -> bool:
        """Whether some text could not be read as rules at all."""
        return any(document.tree is None for document in self.documents)


def read_any(source: Source, family: Family | None = None, include: Include | None = None) -> Reading:
    """One text of any format. Never raises."""
    return read_all((source,), family, include)


def read_all(
    sources: Sequence[Source], family: Family | None = None, include: Include | None = None
) -> Reading:
    """Several texts as one host, loaded in their order. `family` is that of restore texts that do not tell
    theirs (or tell it wrongly). Of two restore texts of a family the second adds to the first, as with
    `--noflush`. Never raises.
    """
    documents = tuple(document(source, family, include) for source in sources)
    ruleset, lowering = in_force(documents)
    read = (one for found in documents for one in found.diagnostics)
    return Reading(ruleset, documents, (*read, *lowering))


def document(source: Source, family: Family | None = None, include: Include | None = None) -> Document:
    """Reads one text."""
    form = recognised(source.text)
    if form is Format.XTABLES:
        return _restore(source, family)
    if form in (Format.NFT, Format.NFT_JSON):
        return _nft(source, form, include)
    if form is None:
        message, hint = (
            "nothing here tells what kind of file this is",
            "rules begin with `*filter` or `table`",
        )
        return _unread(source, None, message, hint)
    if form is Format.SHELL:
        return _shell(source, include)
    if form is Format.IPSET:
        return _ipset(source)
    if form is Format.DIRECT:
        return _direct(source, family)
    if form is Format.DISPLAY:
        message = "this is what `iptables -L` prints, which does not tell all of a rule"
        return _unread(source, form, message, "print the rules with `iptables-save`, or with `iptables -S`")
    return _unread(source, form, f"this holds no rules: it looks like a file of the kind {form.value}", None)


def _unread(source: Source, form: Format | None, message: str, hint: str | None) -> Document:
    problem = Diagnostic(Severity.ERROR, message, source.span(0, 0), hint)
    return Document(source, form, diagnostics=(problem,))


def _restore(source: Source, family: Family | None) -> Document:
    from notrack.ruleset.xtables.reader import read

    found, told = families(source.text, source.name)
    mixed = len(found) > 1
    if family is not None:
        found, told = (family,), True
    tree, diagnostics = read(source, None if mixed else found[0])
    if not told:
        message = "nothing here tells IPv4 from IPv6: read as IPv4"
        diagnostics = (Diagnostic(Severity.INFO, message, source.span(0, 0)), *diagnostics)
    return Document(source, Format.XTABLES, tree, found, diagnostics)


def _nft(source: Source, form: Format, include: Include | None) -> Document:
    if form is Format.NFT_JSON:
        from notrack.ruleset.nft.json_reader import read_json

        tree, diagnostics = read_json(source)
    else:
        from notrack.ruleset.nft.reader import read

        tree, diagnostics = read(source, include)
    return Document(source, form, tree, (), diagnostics)


def _shell(source: Source, include: Include | None) -> Document:
    from notrack.ruleset.shell.reader import read_started

    script = read_started(source, include)
    return Document(source, Format.SHELL, script, (), script.diagnostics)


def _direct(source: Source, family: Family | None) -> Document:
    from notrack.ruleset.xtables.direct import read

    tree, diagnostics = read(source)
    message = "these are direct rules alone: what the zones of firewalld do is not read"
    hint = "the running rules are in `iptables-save` or `nft list ruleset`"
    told = Diagnostic(Severity.INFO, message, source.span(0, 0), hint)
    families = tuple(Family) if family is None else (family,)
    return Document(source, Format.DIRECT, tree, families, (told, *diagnostics))


def _ipset(source: Source) -> Document:
    from notrack.ruleset.ipset.reader import read

    if source.text.lstrip("\ufeff \t\r\n").startswith("<"):
        return _unread(source, Format.IPSET, "sets in XML are not read", "print them with `ipset save`")
    tree, diagnostics = read(source)
    return Document(source, Format.IPSET, tree, (), diagnostics)


def in_force(documents: Sequence[Document]) -> tuple[core.Ruleset, tuple[Diagnostic, ...]]:
    """What documents, loaded one after another, put in force.

    What the two kinds of iptables hold stands beside each other in the kernel. A listing of nft repeats what
    iptables-nft made: where its saved form is there too, those tables are read from that alone.
    """
    sets = _ipsets(documents)
    parts = [_lowered(trees, family, sets) for family in Family for trees in _beside(documents, family)]
    if any(found.format in _NFT for found in documents):
        parts += _nft_lowered(documents)
    for found in documents:
        if found.format is Format.SHELL and found.tree is not None:
            from notrack.ruleset.shell.rulesets import lowered as shell_lowered

            parts.append(shell_lowered(found.tree, sets))  # type: ignore[arg-type]
    tables = tuple(table for ruleset, _ in parts for table in ruleset.tables)
    return core.Ruleset(tables), tuple(dict.fromkeys(one for _, told in parts for one in told))


def _ipsets(documents: Sequence[Document]) -> Mapping[str, Set]:
    if not any(found.format is Format.IPSET for found in documents):
        return {}
    from notrack.ruleset.ipset.tree import Collection, in_force

    return in_force(
        line for found in documents if isinstance(found.tree, Collection) for line in found.tree.lines
    )


def _nft_lowered(documents: Sequence[Document]) -> list[tuple[core.Ruleset, tuple[Diagnostic, ...]]]:
    from notrack.ruleset.nft import tree as nft
    from notrack.ruleset.nft.lower import lowered
    from notrack.ruleset.nft.repeated import without_repeated

    commands = [
        command
        for found in documents
        if isinstance(found.tree, nft.Ruleset)
        for command in found.tree.commands
    ]
    if not commands:
        return []
    kept, repeated = without_repeated(tuple(commands), frozenset(_saved_tables(documents)))
    ruleset, diagnostics = lowered(nft.Ruleset(kept))
    return [(ruleset, (*repeated, *diagnostics))]


def _lowered(
    trees: Sequence[xtables.Ruleset], family: Family, sets: Mapping[str, Set]
) -> tuple[core.Ruleset, tuple[Diagnostic, ...]]:
    from notrack.ruleset.xtables.lower import lower

    return lower(trees, family, sets=sets)


def _beside(documents: Sequence[Document], family: Family) -> tuple[list[xtables.Ruleset], ...]:
    """The restore texts of a family, those of each iptables by themselves where both are told of."""
    trees = [
        found.tree
        for found in documents
        if isinstance(found.tree, xtables.Ruleset) and family in found.families
    ]
    if {Backend.LEGACY, Backend.NFT} <= {tree.backend for tree in trees}:
        legacy = [tree for tree in trees if tree.backend is Backend.LEGACY]
        return legacy, [tree for tree in trees if tree.backend is not Backend.LEGACY]
    return (trees,) if trees else ()


def _saved_tables(documents: Sequence[Document]) -> Iterator[tuple[Family, str]]:
    """The tables that iptables-nft may have made, of the restore texts."""
    for found in documents:
        if isinstance(found.tree, xtables.Ruleset) and found.tree.backend is not Backend.LEGACY:
            for table in found.tree.tables:
                for family in (table.family,) if table.family else found.families:
                    yield family, table.name
