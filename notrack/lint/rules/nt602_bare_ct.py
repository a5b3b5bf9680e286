"""NT602: the target CT without what it should do, or with what it then does not do."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.entrances import is_nft
from notrack.lint.finding import Fault
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.ruleset.core import Notrack, Template
from notrack.ruleset.core import Rule as CoreRule
from notrack.ruleset.xtables.words import split
from notrack.text.diagnostic import Severity

_BARE = "-j CT"
_IGNORED = ("--zone", "--zone-orig", "--zone-reply", "--helper", "--timeout", "--ctevents", "--expevents")


def check(subject: Subject) -> Iterator[Fault]:
    for table, _, rule in subject.rules():
        span = rule.origin.span
        if span is None or is_nft(table):
            continue
        if any(isinstance(action, Template) and action.what == _BARE for action in rule.actions):
            yield Fault(
                span,
                "`-j CT` alone untracks nothing: it turns tracking on, and no later NOTRACK rule works",
                "write `-j CT --notrack`",
            )
        elif ignored := _ignored(rule):
            yield Fault(
                span,
                f"with `--notrack`, `{ignored}` does nothing: the packet is not tracked, so it has no entry",
                f"take `{ignored}` away, or `--notrack` if the flow is to be tracked with it",
            )


def _ignored(rule: CoreRule) -> str | None:
    """The option beside `--notrack` that has no effect."""
    if not any(isinstance(action, Notrack) for action in rule.actions):
        return None
    words = split(rule.origin.text).texts
    jumps = [at for at, word in enumerate(words) if word in ("-j", "--jump")]
    behind = words[jumps[-1] + 1 :] if jumps else ()
    if "CT" not in behind[:1]:
        return None
    return next((word for word in behind if word in _IGNORED), None)


RULE = Rule(
    code="NT602",
    name="bare-ct",
    severity=Severity.ERROR,
    summary="`-j CT` without `--notrack`, or with options that it makes useless",
    what="""
        Finds `-j CT` without any option, and `-j CT --notrack` together with `--zone`, `--helper`,
        `--timeout` or an option for events.
    """,
    why="""
        CT does nothing by itself but to give the packet an empty template: connection tracking is switched
        on for the whole family, the packet is tracked, and no later NOTRACK rule can change that. Nearly
        always `--notrack` was forgotten. With `--notrack` the kernel looks at no other option: the packet
        gets no entry that could have a zone, a helper or a timeout.
    """,
    limits="Only iptables has the target. Other options of CT without `--notrack` are fine.",
    mending="There is no automatic fix: whether the flow is to be tracked is for the operator to say.",
    check=check,
    bad=(
        Example(
            "the option was forgotten",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p udp --dport 53 -j CT  ### NT602
            -A OUTPUT -p udp --sport 53 -j CT --notrack
            COMMIT
            """,
        ),
        Example(
            "a zone and a helper for what is not tracked",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p udp --dport 53 -j CT --notrack --zone 1  ### NT602
            -A OUTPUT -p tcp --sport 2121 -m comment --comment "-j CT" -j CT --helper ftp --notrack  ### NT602
            COMMIT
            """,
        ),
        Example(
            "in a script, both families",
            """
            #!/bin/sh
            for ipt in iptables ip6tables; do
              $ipt -t raw -A PREROUTING -p udp --dport 53 -j CT  ### NT602
            done
            """,
        ),
    ),
    good=(
        Example(
            "each does one thing",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            -A OUTPUT -p udp --sport 53 -j CT --notrack
            -A PREROUTING -p tcp --dport 2121 -j CT --helper ftp
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "a zone for one interface; a comment that speaks of a helper",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -i eth1 -j CT --zone 5
            -A PREROUTING -i eth0 -p udp --dport 53 -m comment --comment "no --helper here" -j CT --notrack
            -A OUTPUT -o eth0 -p udp --sport 53 -j CT --notrack
            COMMIT
            """,
        ),
    ),
)
