"""NT607: the same rule twice in one chain."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.entries import Entry
from notrack.lint.finding import Fault, Fix
from notrack.lint.owners import is_generated
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.text.diagnostic import Related, Severity


def check(subject: Subject) -> Iterator[Fault]:
    for table, first, again in subject.duplicates:
        span = again.span
        if span is None or is_generated(table, again.chain):
            continue
        chain = f"chain {again.chain.name} of table {table.name}"
        if first.span is None or first.span == span:
            yield Fault(span, f"{chain} gets this very rule more than once", "add it once, outside the loop")
        else:
            yield Fault(
                span,
                f"{chain} holds this rule twice: line {first.span.line} does the same already",
                "take this one out",
                (Related(first.span, "the same rule, in front"),),
                fix=_fix(subject, again),
            )


def _fix(subject: Subject, again: Entry) -> Fix | None:
    """The later rule taken out, if nothing but the rule goes: no comment, and no packets that it counted."""
    from notrack.lint.mending import deleted, find
    from notrack.lint.remarks import says_more

    written = find(subject.documents, again.rules[0])
    if written is None or says_more(written):
        return None
    edits = deleted(written)
    return Fix("take the later one out", edits) if edits else None


RULE = Rule(
    code="NT607",
    name="duplicate-rule",
    severity=Severity.WARNING,
    summary="a rule that the chain holds already",
    what="""
        Finds a rule that matches the same packets as an earlier one of its chain and does the same, however
        it is spelled: another order of the matches, a port by its name, another comment.
    """,
    why="""
        The later of the two never does anything. Duplicates grow where a script adds rules without looking
        (`-A` at every start), and each costs time for every packet. Whoever deletes one of them believes
        that it is gone.
    """,
    limits="""
        Rules that log, count or set marks are passed over, and so are those with a limit, whose second copy
        counts for itself, and chains that a program writes. That a rule is covered by other rules is NT603.
    """,
    mending="""
        The fix takes the later rule out. It is safe: that rule never decides anything. There is none where
        it has a comment or has counted packets, and none for a command in a loop.
    """,
    check=check,
    bad=(
        Example(
            "spelled in another way",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -p udp --dport domain -j CT --notrack
            -A PREROUTING -p udp -m udp --dport 53 -j NOTRACK  ### NT607
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -s 192.0.2.0/24 -p tcp --dport 22 -m comment --comment "ssh" -j ACCEPT
            -A INPUT -m state --state ESTABLISHED -j ACCEPT
            -A INPUT -p tcp -m multiport --dports 22 -s 192.0.2.7/24 -j ACCEPT  ### NT607
            COMMIT
            """,
        ),
        Example(
            "nft, both families",
            """
            table inet t {
              chain input {
                type filter hook input priority filter; policy drop;
                tcp dport { 80, 443 } counter accept
                udp dport 53 accept
                meta l4proto tcp th dport { 443, 80 } accept  ### NT607
              }
            }
            """,
        ),
        Example(
            "ip6tables, the same jump twice",
            {
                "rules.v6": """
                *filter
                :INPUT DROP [0:0]
                :checks - [0:0]
                -A checks -s 2001:db8::/32 -j ACCEPT
                -A INPUT -j checks
                -A INPUT -p tcp --dport 80 -j ACCEPT
                -A INPUT -j checks  ### NT607
                COMMIT
                """
            },
        ),
        Example(
            "a loop that adds it again",
            """
            #!/bin/sh
            for port in 80 443; do
              iptables -A INPUT -i lo -j ACCEPT  ### NT607
              iptables -A INPUT -p tcp --dport $port -j ACCEPT
            done
            """,
        ),
    ),
    good=(
        Example(
            "rules that differ",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p tcp --dport 80 -j ACCEPT
            -A INPUT -p tcp --dport 81 -j ACCEPT
            -A INPUT -p tcp --dport 82 -j REJECT
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "each limit counts for itself, and each log line tells another place",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p icmp -m limit --limit 5/second -j ACCEPT
            -A INPUT -j LOG --log-prefix "in "
            -A INPUT -p icmp -m limit --limit 5/second -j ACCEPT
            -A INPUT -j LOG --log-prefix "in "
            COMMIT
            """,
        ),
        Example(
            "the mark was changed in between",
            """
            *mangle
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -m mark --mark 1 -j ACCEPT
            -A PREROUTING -p tcp -j MARK --set-mark 1
            -A PREROUTING -m mark --mark 1 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "the same words in two chains, and for two families",
            """
            *filter
            :INPUT DROP [0:0]
            :FORWARD DROP [0:0]
            -A INPUT -p tcp --dport 80 -j ACCEPT
            -A FORWARD -p tcp --dport 80 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "rules of Docker",
            """
            *filter
            :FORWARD DROP [0:0]
            :DOCKER - [0:0]
            -A FORWARD -j DOCKER
            -A DOCKER -p tcp --dport 80 -j ACCEPT
            -A DOCKER -p tcp --dport 80 -j ACCEPT
            COMMIT
            """,
        ),
    ),
)
