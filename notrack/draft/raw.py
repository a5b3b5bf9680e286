"""The rules that take a service out of tracking, at the places where they act before all others."""

from __future__ import annotations

import re

from notrack.draft.lines import Line, nft_matches, requests, xtables_matches
from notrack.draft.obstacles import Obstacle
from notrack.draft.service import Asked
from notrack.lint.finding import Edit
from notrack.lint.mending.lines import line_before, newline
from notrack.netfilter.host import Host
from notrack.packets.address import Family
from notrack.ruleset.formats import Document, Reading
from notrack.ruleset.nft import tree as nft
from notrack.ruleset.xtables import tree as xtables

_LOOPBACK = "lo"
MADE = "# made by notrack untrack"
"""Stands before a raw table where there was none."""
_HOOKS = ("PREROUTING", "OUTPUT")


def remark(asked: Asked) -> str:
    """The comment that all added rules carry: by it they are found again."""
    return f"notrack untrack: {asked.text}"


def untracking(
    reading: Reading, asked: Asked, families: tuple[Family, ...], host: Host
) -> tuple[Edit, ...] | Obstacle:
    """Edits that untrack the service in every family, or why there is no text to put them into."""
    edits: list[Edit] = []
    left = set(families)
    for document in reading.documents:
        if isinstance(document.tree, xtables.Ruleset):
            mine = [family for family in families if family in document.families and family in left]
            if len(mine) == 1 and len(document.families) == 1:
                edits += _in_restore(document, document.tree, asked, mine[0], host)
                left -= set(mine)
    native = next((one for one in reading.documents if isinstance(one.tree, nft.Ruleset)), None)
    if left and native is not None:
        edits.append(_own_table(native, asked, [family for family in families if family in left], host))
        left = set()
    if left:
        names = " and ".join(family.label for family in families if family in left)
        return Obstacle(
            f"there is no text into which rules of {names} can be put",
            None,
            help="give the rules as iptables-save or `nft list ruleset` print them",
        )
    return tuple(edits)


def _legs(asked: Asked, family: Family, host: Host) -> list[tuple[str, Line]]:
    """The hook and the matches of each rule: requests and answers, and requests over loopback, which are
    tracked where they leave and not where they come in."""
    local = host.forwards(family) is not False
    every = list(requests(asked, family, local=local))
    legs = [("PREROUTING", line) for line in every]
    legs += [("OUTPUT", line.mirrored) for line in every]
    if asked.devices and _LOOPBACK not in asked.devices:
        return legs
    inside = {_over_loopback(line): None for line in every}
    return legs + [("OUTPUT", line) for line in inside]


def _over_loopback(line: Line) -> Line:
    return Line(line.protocol, line.ports, False, line.peer, line.own, _LOOPBACK)


def _in_restore(
    document: Document, tree: xtables.Ruleset, asked: Asked, family: Family, host: Host
) -> list[Edit]:
    """At the head of the raw table: `CT` ends nothing, so that whatever stands there stays as it is."""
    section = tree.table("raw")
    words = f'-m comment --comment "{remark(asked)}" -j CT --notrack'
    legs = _legs(asked, family, host)
    lines = [f"-A {hook} {xtables_matches(line, hook, family)} {words}" for hook, line in legs]
    if section is None or section.footer is None:
        return [_new_section(document, lines)]
    first = next(iter(section.rules), None)
    place = first.span if first is not None and first.span is not None else section.footer
    if first is not None and first.counters is not None:
        lines = [f"[0:0] {line}" for line in lines]
    return [line_before(place, newline(document.source).join(lines))]


def _new_section(document: Document, lines: list[str]) -> Edit:
    """Behind all tables that are there: what they accept is in force before the first flow is untracked."""
    source = document.source
    end = len(source.text)
    head = "" if source.text.endswith("\n") or not source.text else newline(source)
    text = [
        MADE,
        "*raw",
        ":PREROUTING ACCEPT [0:0]",
        ":OUTPUT ACCEPT [0:0]",
        *lines,
        "COMMIT",
        "",
    ]
    return Edit(source.span(end, end), head + newline(source).join(text))


def table_name(asked: Asked) -> str:
    return "notrack_" + re.sub(r"\W+", "_", asked.text).strip("_")


def _own_table(document: Document, asked: Asked, families: list[Family], host: Host) -> Edit:
    """A table of our own behind everything else."""
    source = document.source
    family = "inet" if len(families) > 1 else {Family.IPV4: "ip", Family.IPV6: "ip6"}[families[0]]
    chains: dict[str, list[str]] = {hook: [] for hook in _HOOKS}
    for one in families:
        for hook, line in _legs(asked, one, host):
            rule = f'{nft_matches(line, hook, one)} notrack comment "{remark(asked)}"'
            if rule not in chains[hook]:
                chains[hook].append(rule)
    text = [f"table {family} {table_name(asked)} {{"]
    for hook in _HOOKS:
        text += [
            f"\tchain {hook.lower()} {{",
            f"\t\ttype filter hook {hook.lower()} priority raw; policy accept;",
        ]
        text += [f"\t\t{rule}" for rule in chains[hook]]
        text += ["\t}", *([""] if hook != _HOOKS[-1] else [])]
    end = len(source.text)
    head = "" if source.text.endswith("\n") or not source.text else newline(source)
    return Edit(source.span(end, end), head + newline(source).join([*text, "}", ""]))
