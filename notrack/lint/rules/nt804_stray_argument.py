"""NT804: a word of a rule that belongs to no option."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.finding import Fault
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.ruleset.formats import Document
from notrack.ruleset.recognition import Format
from notrack.ruleset.xtables import tree as x
from notrack.text.diagnostic import Severity


def check(subject: Subject) -> Iterator[Fault]:
    for document in subject.documents:
        if document.format is Format.SHELL or _is_broken(document):
            from notrack.lint.stray_words import faults

            yield from faults(document)


def _is_broken(document: Document) -> bool:
    """Whether a line of a restore file was refused."""
    if not isinstance(document.tree, x.Ruleset):
        return False
    return any(
        isinstance(line, x.Broken)
        for section in document.tree.sections
        for line in (section.lines if isinstance(section, x.Table) else (section,))
    )


RULE = Rule(
    code="NT804",
    name="stray-argument",
    severity=Severity.ERROR,
    summary="a word of a rule that belongs to no option",
    what="""
        Finds words of iptables rules, in restore files and in scripts, that stand there without the option
        they belong to: an address without `-s`, a target without `-j`, the rest of a list in which there is
        a blank, a comment of several words without quotes.
    """,
    why="""
        iptables refuses such a line. From a restore file nothing at all is loaded then, and a script goes on
        without the rule, often with a policy of DROP.
    """,
    limits="""
        A command whose options come out of variables that are not known is left alone. What was meant is a
        guess where the message says `or`.
    """,
    mending="""
        A blank in a list, missing quotes and a missing blank before `-j` are mended safely. With
        --unsafe-fixes `-j` and `-p` are put before a target and a protocol. For addresses and ports there is
        no fix: which end of the flow is meant only the operator knows.
    """,
    check=check,
    bad=(
        Example(
            "an address, a list, a comment, a target",
            """
            *filter
            :INPUT ACCEPT [0:0]
            -A INPUT -p tcp 192.0.2.7 --dport 80 -j ACCEPT  ### NT804
            [2:80] -A INPUT -m conntrack --ctstate ESTABLISHED, RELATED -j ACCEPT  ### NT804
            -A INPUT -p tcp --dport 22 -m comment --comment only from home -j ACCEPT  ### NT804
            -A INPUT -p tcp --dport 80 -m comment --comment 'the web' -j ACCEPT  ### NT804
            -A INPUT -p udp --dport 53 ACCEPT  ### NT804
            COMMIT
            """,
            fixed="""
            *filter
            :INPUT ACCEPT [0:0]
            -A INPUT -p tcp 192.0.2.7 --dport 80 -j ACCEPT
            [2:80] -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
            -A INPUT -p tcp --dport 22 -m comment --comment "only from home" -j ACCEPT
            -A INPUT -p tcp --dport 80 -m comment --comment "the web" -j ACCEPT
            -A INPUT -p udp --dport 53 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "a script",
            """
            #!/bin/sh
            IPT=/sbin/iptables
            for port in 80 443; do
              $IPT -A INPUT -p tcp 192.0.2.7 --sport $port -j ACCEPT  ### NT804
            done
            $IPT -A INPUT -p icmp-j ACCEPT  ### NT804
            """,
            fixed="""
            #!/bin/sh
            IPT=/sbin/iptables
            for port in 80 443; do
              $IPT -A INPUT -p tcp 192.0.2.7 --sport $port -j ACCEPT
            done
            $IPT -A INPUT -p icmp -j ACCEPT
            """,
        ),
        Example(
            "and a typographic dash on the same line",
            """
            #!/bin/sh
            iptables –A INPUT -p tcp 192.0.2.7 –-sport 80 -j ACCEPT  ### NT803, NT804
            """,
        ),
    ),
    good=(
        Example(
            "every word has its option",
            """
            *filter
            :INPUT ACCEPT [0:0]
            -A INPUT -p tcp -s 192.0.2.7 --dport 80 -j ACCEPT
            -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "options out of variables, old negations, options that take several words",
            """
            #!/bin/sh
            FROM="-s 192.0.2.7"
            iptables -A INPUT -p tcp $FROM --dport 80 -j ACCEPT
            iptables -A INPUT $TO 192.0.2.8 -p tcp --dport 80 -j ACCEPT
            iptables -A INPUT -p tcp --tcp-flags SYN,ACK,FIN,RST SYN -m set --match-set home src -j ACCEPT
            iptables -w 5 -I INPUT 1 -p udp --dport 53 -m comment --comment "only from home" -j ACCEPT
            """,
        ),
    ),
)
