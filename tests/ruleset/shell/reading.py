"""Short ways to ask what a script does."""

from __future__ import annotations

from notrack.packets.address import Family
from notrack.ruleset.shell.actions import Script
from notrack.ruleset.shell.reader import read
from notrack.ruleset.shell.rulesets import as_rulesets
from notrack.ruleset.xtables.tree import Chain, Rule
from notrack.ruleset.xtables.writer import rule_text
from notrack.text.source import Source


def script(text: str, *arguments: str, files: dict[str, str] | None = None) -> Script:
    """The script called with these arguments (with none: called with none)."""

    def include(path: str) -> tuple[Source, ...] | None:
        return (Source(path, files[path]),) if files and path in files else None

    return read(Source("fw.sh", text), include, arguments)


def rules(text: str, *arguments: str, table: str = "filter", family: Family = Family.IPV4) -> list[str]:
    """The rules of one table once the script ran."""
    found = as_rulesets(script(text, *arguments)).of(family).table(table)
    lines = found.lines if found else ()
    return [
        rule_text(line) if isinstance(line, Rule) else repr(line)
        for line in lines
        if not isinstance(line, Chain)
    ]


def ports(text: str, *arguments: str) -> list[str]:
    """The ports of the rules: what most tests tell rules apart by."""
    return [line.split("--dport ")[1].split()[0] for line in rules(text, *arguments)]


def policies(text: str, *arguments: str) -> dict[str, str | None]:
    table = as_rulesets(script(text, *arguments)).of(Family.IPV4).table("filter")
    return {chain.name: chain.policy for chain in table.chains} if table else {}


def messages(text: str, *arguments: str) -> list[tuple[str, str]]:
    """What is said, and of which text."""
    return [
        (found.message, found.span.text if found.span else "")
        for found in script(text, *arguments).diagnostics
    ]
