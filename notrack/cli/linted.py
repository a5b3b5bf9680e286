"""Which files of the command line are one host, and what the linter is told about them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from notrack.cli.rulesfile import form
from notrack.lint.configuration import Configuration
from notrack.lint.subject import Subject
from notrack.netfilter.host import Host
from notrack.packets.address import Family
from notrack.ruleset.formats import Document, Include, Reading, read_all
from notrack.ruleset.recognition import RULES, Format, recognised
from notrack.text.diagnostic import Diagnostic, Rejected
from notrack.text.source import Source

_FAMILY = re.compile(r"(?i)(?:ip)?v?[46](?=\W|$)|\bip6?(?=tables)")
_LINTED = RULES | {Format.SITE}
_LEFTOVERS = re.compile(r".*(?:~|\.(?:bak|orig|swp|old|rpmsave|rpmnew|dpkg-\w+))$|\..*")


def files(names: Iterable[str], configuration: Configuration) -> Iterator[str]:
    """The names, with the files of rules in a directory for the directory itself."""
    for name in names:
        path = Path(name)
        if name == "-" or not path.is_dir():
            yield name
            continue
        for found in sorted(path.rglob("*")):
            inside = found.relative_to(path)
            if any(_LEFTOVERS.fullmatch(part) for part in inside.parts) or configuration.excludes(str(found)):
                continue
            if found.is_file() and _holds_rules(found):
                yield str(found)


def _holds_rules(path: Path) -> bool:
    """Whether a file in a directory is one to read: others are not asked for by name."""
    try:
        return form(path) in _LINTED
    except OSError:
        return False


def pair(name: str) -> str:
    """What two files have in common that are the IPv4 and the IPv6 half of one host's rules."""
    path = Path(name)
    return str(path.with_name(_FAMILY.sub("*", path.name)))


def hosts(names: Sequence[str], *, separate: bool, pairs: bool) -> list[list[str]]:
    """The files of each host: all together, each alone, or IPv4 and IPv6 halves together."""
    if separate:
        return [[name] for name in names]
    if not pairs:
        return [list(names)] if names else []
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(pair(name), []).append(name)
    return list(groups.values())


def subject(
    sources: Sequence[Source], host: Host, family: Family | None, include: Include
) -> tuple[Subject, tuple[Diagnostic, ...]]:
    """What is linted of some files of one host, and what was to be said when they were read."""
    specs = [source for source in sources if recognised(source.text) is Format.SITE]
    reading = read_all([source for source in sources if source not in specs], family, include)
    sites, told = [], list(reading.diagnostics)
    remarks: list[Diagnostic] = []
    for spec in specs:
        from notrack.site import load_text

        try:
            site, warnings = load_text(spec.text, spec.name, Path(spec.name).parent)
        except Rejected as rejected:
            told += rejected.diagnostics
        else:
            sites.append(site)
            remarks += warnings  # rules of the linter say them
    read = {document.source: document for document in reading.documents}
    documents = tuple(read.get(source) or Document(source, Format.SITE) for source in sources)
    whole = Reading(reading.ruleset, documents, reading.diagnostics)
    return Subject(whole, host, tuple(sites), tuple(remarks)), tuple(told)
