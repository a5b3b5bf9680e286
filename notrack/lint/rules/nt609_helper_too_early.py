"""NT609: a helper is given to a flow that has no entry yet."""

from __future__ import annotations

import re
from collections.abc import Iterator

from notrack.lint.entrances import TRACKING_HOOKS, entrances, place_of
from notrack.lint.finding import Fault
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.ruleset.core import CONNTRACK_PRIORITY, Base, ConnectionSet, Table
from notrack.ruleset.core import Rule as CoreRule
from notrack.text.diagnostic import Severity
from notrack.text.source import Span

_HELPER = re.compile(r"ct helper set\b")


def check(subject: Subject) -> Iterator[Fault]:
    for table in subject.ruleset.tables:
        for span, bases in _setters(table):
            if bases and all(_is_too_early(base) for base in bases):
                yield Fault(
                    span,
                    f"this helper is never given: in {place_of(bases[0])} the packet has no entry yet",
                    "move the rule behind connection tracking: a prerouting or output chain of priority -199"
                    " or later (`filter`), or a chain of input or forward",
                )


def _setters(table: Table) -> Iterator[tuple[Span, tuple[Base, ...]]]:
    found = None
    for chain in table.chains:
        for rule in chain.rules:
            if rule.origin.span is not None and _sets_helper(rule):
                found = found or entrances(table)
                yield rule.origin.span, found[chain.name]


def _sets_helper(rule: CoreRule) -> bool:
    return any(isinstance(action, ConnectionSet) and _HELPER.match(action.what) for action in rule.actions)


def _is_too_early(base: Base) -> bool:
    return base.hook in TRACKING_HOOKS and base.priority <= CONNTRACK_PRIORITY


RULE = Rule(
    code="NT609",
    name="helper-too-early",
    severity=Severity.ERROR,
    summary="`ct helper set` before connection tracking",
    what="Finds `ct helper set` of nft in a prerouting or output chain at priority -200 or before.",
    why="""
        nft gives a helper to the entry that the packet has. Before connection tracking it has none, and the
        statement does nothing, without a word: FTP data, SIP calls and their kind never become RELATED. It
        works at -199 and later, up to the input hook, while the flow's first packet is on its way. (The
        target `CT --helper` of iptables is another thing: it belongs into `raw`.)
    """,
    limits="A chain that is reached from a later base chain too is passed over.",
    mending="There is no automatic fix: the other rules of the chain may need its place.",
    check=check,
    bad=(
        Example(
            "beside the notrack rules",
            """
            table inet t {
              ct helper ftp-std {
                type "ftp" protocol tcp;
              }
              chain pre {
                type filter hook prerouting priority raw; policy accept;
                tcp dport 21 ct helper set "ftp-std"  ### NT609
              }
              chain input {
                type filter hook input priority filter; policy accept;
                ct state related accept
              }
            }
            """,
        ),
        Example(
            "by a map, in a chain that it jumps to, just at -200",
            """
            table ip t {
              ct helper ftp-std {
                type "ftp" protocol tcp;
              }
              chain helpers {
                ct helper set tcp dport map { 21 : "ftp-std" }  ### NT609
              }
              chain out {
                type filter hook output priority -200; policy accept;
                jump helpers
              }
            }
            """,
        ),
    ),
    good=(
        Example(
            "behind connection tracking",
            """
            table inet t {
              ct helper ftp-std {
                type "ftp" protocol tcp;
              }
              chain pre {
                type filter hook prerouting priority filter; policy accept;
                tcp dport 21 ct helper set "ftp-std"
              }
            }
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "the input hook at a low priority, and -199",
            """
            table inet t {
              ct helper ftp-std {
                type "ftp" protocol tcp;
              }
              chain input {
                type filter hook input priority -300; policy accept;
                tcp dport 21 ct helper set "ftp-std"
              }
              chain out {
                type filter hook output priority -199; policy accept;
                tcp dport 21 ct helper set "ftp-std"
              }
            }
            """,
        ),
        Example(
            "the target of iptables belongs into raw",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 21 -j CT --helper ftp
            COMMIT
            """,
        ),
    ),
)
