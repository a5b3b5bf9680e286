"""NT801: the target NOTRACK by its old name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from notrack.lint.finding import Fault, Fix
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.ruleset.shell.derived import located
from notrack.text.diagnostic import Severity

if TYPE_CHECKING:
    from notrack.lint.mending import Written


def check(subject: Subject) -> Iterator[Fault]:
    for document in subject.documents:
        if "NOTRACK" not in document.source.text:
            continue
        from notrack.lint.mending import all_written

        for written in all_written(document):
            target = written.rule.target if written.rule is not None else None
            if target is not None and target.name == "NOTRACK":
                yield Fault(
                    located(written.span),
                    "`NOTRACK` is the old name of a target that has been part of `CT` since Linux 3.8",
                    "write `-j CT --notrack`",
                    fix=_fix(written),
                )


def _fix(written: Written) -> Fix | None:
    from notrack.lint.mending import NOTRACK, rewritten

    body = written.body.acting(NOTRACK)
    edits = rewritten(written, body) if body is not None else None
    return Fix("write `-j CT --notrack`", edits) if edits else None


RULE = Rule(
    code="NT801",
    name="old-notrack",
    severity=Severity.INFO,
    summary="`-j NOTRACK`, the old name of `-j CT --notrack`",
    what="""
        Finds rules of iptables and ip6tables that name the target NOTRACK.
    """,
    why="""
        NOTRACK was a target of its own in the kernels of long ago. Today the kernel keeps the name as an
        alias for CT, and one day it may not; the two are listed differently, so that files which mix them
        are hard to search and to compare.
    """,
    limits="Both names work on every kernel that is maintained; those before 3.8 know NOTRACK alone.",
    mending="The fix writes `-j CT --notrack`. It is safe: the kernel does the very same.",
    check=check,
    bad=(
        Example(
            "a restore file: the target may stand before its matches, and behind counters",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p udp -m udp --dport 53 -j NOTRACK  ### NT801
            [7:512] -A OUTPUT -j NOTRACK -p udp -m comment --comment "its;  -j NOTRACK" --sport 53  ### NT801
            COMMIT
            """,
            fixed="""
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p udp -m udp --dport 53 -j CT --notrack
            [7:512] -A OUTPUT -j CT --notrack -p udp -m comment --comment "its;  -j NOTRACK" --sport 53
            COMMIT
            """,
        ),
        Example(
            "a script, with a loop and variables",
            """
            #!/bin/sh
            IPT="/sbin/iptables -w"
            for port in 53 123; do
              $IPT -t raw -A PREROUTING -p udp --dport "$port" -j NOTRACK  ### NT801
              $IPT -t raw -A OUTPUT -p udp --sport "$port" --jump NOTRACK  ### NT801
            done
            """,
            fixed="""
            #!/bin/sh
            IPT="/sbin/iptables -w"
            for port in 53 123; do
              $IPT -t raw -A PREROUTING -p udp --dport "$port" -j CT --notrack
              $IPT -t raw -A OUTPUT -p udp --sport "$port" -j CT --notrack
            done
            """,
        ),
    ),
    good=(
        Example(
            "the name of today",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            -A OUTPUT -p udp --sport 53 -j CT --notrack
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "the word in a comment, in the name of a chain",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            :MY-NOTRACK - [0:0]
            -A PREROUTING -p udp --dport 53 -m comment --comment "was -j NOTRACK" -j MY-NOTRACK
            -A MY-NOTRACK -j CT --notrack
            -A OUTPUT -p udp --sport 53 -j CT --notrack
            COMMIT
            """,
        ),
    ),
)
