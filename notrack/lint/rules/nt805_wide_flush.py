"""NT805: a script flushes more than it means."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.finding import Fault
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.ruleset.recognition import Format
from notrack.text.diagnostic import Severity


def check(subject: Subject) -> Iterator[Fault]:
    for document in subject.documents:
        if document.format is Format.SHELL:
            from notrack.lint.flushes import faults

            yield from faults(document)


RULE = Rule(
    code="NT805",
    name="wide-flush",
    severity=Severity.WARNING,
    summary="a script flushes more than it means, or something else",
    what="""
        Finds, in scripts: `conntrack -F` where only some flows are taken out of tracking; `iptables -F` on
        the table filter or nat in a script that puts rules into raw alone; `-F` that takes out rules which
        the script itself has put in before; and `iptables -F` beside a comment that says it empties the
        table of connections.
    """,
    why="""
        `conntrack -F` forgets every connection of the host. Translated ones break for good, and those that
        are let through only because they are established are dropped. `iptables -F` empties a whole table:
        what Docker, fail2ban or a VPN put there is gone, while the policies stay. And it never touches
        connection tracking.
    """,
    limits="""
        A script that builds a whole firewall anew flushes on purpose, and so does one that only takes rules
        away: both are left alone. Commands that may run or not are not looked at.
    """,
    mending="There is no automatic fix: what should be flushed is for the operator to say.",
    check=check,
    bad=(
        Example(
            "every connection is forgotten for the sake of one service",
            """
            #!/bin/sh
            iptables -t raw -A PREROUTING -p udp --dport 53 -j CT --notrack
            iptables -t raw -A OUTPUT -p udp --sport 53 -j CT --notrack
            conntrack -F  ### NT805
            """,
        ),
        Example(
            "the filter rules of everybody go, for a script about raw",
            """
            #!/bin/sh
            iptables -F  ### NT805
            iptables -t raw -F
            iptables -t raw -A PREROUTING -p udp --dport 53 -j CT --notrack
            iptables -t raw -A OUTPUT -p udp --sport 53 -j CT --notrack
            """,
        ),
        Example(
            "the comment says something else; rules flushed behind their making",
            """
            #!/bin/sh
            iptables -t raw -F  # flush conntrack table  ### NT805
            iptables -A INPUT -p tcp --dport 22 -j ACCEPT
            iptables -A INPUT -p tcp --dport 80 -j ACCEPT
            iptables -F INPUT  ### NT805
            """,
        ),
    ),
    good=(
        Example(
            "only the entries of what is untracked",
            """
            #!/bin/sh
            iptables -t raw -A PREROUTING -p udp --dport 53 -j CT --notrack
            iptables -t raw -A OUTPUT -p udp --sport 53 -j CT --notrack
            conntrack -D -p udp --dport 53
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "a whole firewall is built anew",
            """
            #!/bin/sh
            # connection tracking
            iptables -t raw -F
            for table in filter nat mangle raw; do
              iptables -t $table -F
              iptables -t $table -X
            done
            iptables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            iptables -A INPUT -p tcp --dport 22 -j ACCEPT
            iptables -P INPUT DROP
            """,
        ),
        Example(
            "everything is untracked, so every entry may go",
            """
            #!/bin/sh
            iptables -t raw -A PREROUTING -j CT --notrack
            iptables -t raw -A OUTPUT -j CT --notrack
            conntrack -F
            """,
        ),
        Example(
            "a script that switches the firewall off",
            """
            #!/bin/sh
            iptables -P INPUT ACCEPT
            iptables -F
            iptables -t nat -F
            iptables -t raw -F
            conntrack -F
            """,
        ),
    ),
)
