"""The rules that are in force on a host: both backends of iptables, nft, and which sets they ask."""

from __future__ import annotations

import re
from collections.abc import Iterator

from notrack.host.system import Ran, System
from notrack.text.record import dataclass
from notrack.text.source import Source

_COMMANDS = {"ip": "iptables", "ip6": "ip6tables"}
_VARIANTS = ("legacy", "nft")
_TABLE = re.compile(r"^table (\S+) (\S+) \{$")
_SECTION = re.compile(r"^\*(\w+)$", re.MULTILINE)
_RULE = re.compile(r"^(?:-A |:\S+ (?!ACCEPT))", re.MULTILINE)
_NO_SUCH = 127


@dataclass(frozen=True, slots=True)
class LiveRules:
    """Texts by the command that gave them, and what could not be had, in words."""

    texts: tuple[tuple[str, str], ...]
    problems: tuple[str, ...] = ()

    def sources(self) -> tuple[Source, ...]:
        return tuple(Source(name, text) for name, text in self.texts)


def live_rules(system: System) -> LiveRules:
    """The rules in force in the network namespace of this process. Never raises.

    What iptables-nft made is read as iptables-nft-save tells it, for nft cannot show all its matches; nft's
    listing is cut down to the other tables.
    """
    texts: list[tuple[str, str]] = []
    problems: list[str] = []
    managed: set[tuple[str, str]] = set()
    for family, command in _COMMANDS.items():
        for name, ran in _saved(system, command):
            if ran.status:
                problems.append(f"{name}: {_said(ran)}")
                continue
            tables = _SECTION.findall(ran.out)
            if "-nft-" in name or "(nf_tables)" in ran.out:
                managed |= {(family, table) for table in tables}
            if _RULE.search(ran.out):
                texts.append((name, ran.out))
    listed = system.run(("nft", "list", "ruleset"))
    if listed.status == _NO_SUCH:
        if not texts and not managed:
            problems.append("nft: no such program")
    elif listed.status:
        problems.append(f"nft list ruleset: {_said(listed)}")
    else:
        native = without(listed.out, managed)
        if native.strip():
            texts.append(("nft list ruleset", native))
    problems += _sets(system, texts)
    return LiveRules(tuple(texts), tuple(problems))


def _saved(system: System, command: str) -> Iterator[tuple[str, Ran]]:
    """What the save commands of one family say: of both backends where they go by their own names."""
    found = [
        (f"{command}-{variant}-save", system.run((f"{command}-{variant}-save",))) for variant in _VARIANTS
    ]
    there = [(name, ran) for name, ran in found if ran.status != _NO_SUCH]
    if there:
        yield from there
        return
    plain = system.run((f"{command}-save",))
    if plain.status != _NO_SUCH:
        yield f"{command}-save", plain


def without(listing: str, managed: set[tuple[str, str]]) -> str:
    """A listing of nft without some tables, named by family and name."""
    kept: list[str] = []
    inside = False
    for line in listing.splitlines(keepends=True):
        if inside:
            inside = line.rstrip() != "}"
            continue
        found = _TABLE.match(line.rstrip())
        if found and (found[1], found[2]) in managed:
            inside = True
            continue
        if not line.startswith("# Warning: table "):
            kept.append(line)
    return "".join(kept)


def _sets(system: System, texts: list[tuple[str, str]]) -> list[str]:
    """Puts the contents of the sets that rules ask beside the rules; words about what is not to be had."""
    asked = {name for _, text in texts for name in re.findall(r"--match-set (\S+)", text)}
    if not asked:
        return []
    ran = system.run(("ipset", "save"))
    if ran.status:
        names = ", ".join(sorted(asked))
        said = "no such program" if ran.status == _NO_SUCH else _said(ran)
        return [f"ipset save: {said}: what is in {names} is not known, such a match may hold or not"]
    texts.append(("ipset save", ran.out))
    missing = asked - set(re.findall(r"^create (\S+)", ran.out, re.MULTILINE))
    return [f"set {name} is not known to ipset" for name in sorted(missing)]


def _said(ran: Ran) -> str:
    """The first line of what a program complained about."""
    lines = [line.strip() for line in (ran.err or ran.out).splitlines() if line.strip()]
    return lines[0] if lines else f"exit status {ran.status}"
