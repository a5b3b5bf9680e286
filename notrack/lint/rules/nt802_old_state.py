"""NT802: the match `state` by its old name."""

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
        text = document.source.text
        if text.count("state") == text.count("ctstate"):
            continue
        from notrack.lint.mending import all_written

        for written in all_written(document):
            match = written.rule.match("state") if written.rule is not None else None
            option = match.option("--state") if match is not None else None
            if option is not None:
                states = option.values[0]
                yield Fault(
                    located(written.span),
                    "`-m state` is the old name of a match that has been part of `conntrack` for long",
                    f"write `-m conntrack {'! ' if option.negated else ''}--ctstate {states}`",
                    fix=_fix(written),
                )


def _fix(written: Written) -> Fix | None:
    from notrack.lint.mending import rewritten
    from notrack.lint.mending.xtables_body import XtablesBody

    if not isinstance(written.body, XtablesBody):
        return None
    body = written.body.renamed("state", "conntrack", {"--state": "--ctstate"})
    edits = rewritten(written, body) if body is not None else None
    return Fix("write `-m conntrack --ctstate`", edits) if edits else None


RULE = Rule(
    code="NT802",
    name="old-state",
    severity=Severity.INFO,
    summary="`-m state --state`, the old name of `-m conntrack --ctstate`",
    what="""
        Finds rules of iptables and ip6tables that use the match `state`.
    """,
    why="""
        `state` is kept for old files alone: it became a part of `conntrack`, which knows the same states and
        more (DNAT, SNAT). The kernel may be built without it, and then a whole restore file does not load.
    """,
    limits="Both match the same packets, UNTRACKED ones among them, wherever both are there.",
    mending="The fix writes `-m conntrack --ctstate`. It is safe: the same packets match.",
    check=check,
    bad=(
        Example(
            "as many files have it, negated once",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT  ### NT802
            [4:240] -A INPUT -p tcp -m state ! --state INVALID -m tcp --dport 22 -j ACCEPT  ### NT802
            COMMIT
            """,
            fixed="""
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            [4:240] -A INPUT -p tcp -m conntrack ! --ctstate INVALID -m tcp --dport 22 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "in a script, over two lines",
            """
            #!/bin/sh
            STATES=RELATED,ESTABLISHED
            iptables -A INPUT -m state \\  ### NT802
                --state $STATES -j ACCEPT
            iptables -P INPUT DROP
            """,
            fixed="""
            #!/bin/sh
            STATES=RELATED,ESTABLISHED
            iptables -A INPUT -m conntrack \\
                --ctstate $STATES -j ACCEPT
            iptables -P INPUT DROP
            """,
        ),
    ),
    good=(
        Example(
            "the name of today",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "the words in a comment, and in the name of a list",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m comment --comment "-m state --state NEW" -m conntrack --ctstate NEW -j ACCEPT
            -A INPUT -m recent --name state --rcheck -j DROP
            COMMIT
            """,
        ),
    ),
)
