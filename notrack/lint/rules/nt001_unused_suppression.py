"""NT001: a suppression that hides nothing."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.finding import Edit, Fault, Fix
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.lint.suppression import Suppression
from notrack.text.diagnostic import Severity


def check(subject: Subject) -> Iterator[Fault]:
    """Nothing: what is unused is known when all other rules have run, and the engine asks `fault` then."""
    return iter(())


def fault(unused: Suppression) -> Fault:
    if not unused.codes:
        message = "this suppression names no code of the linter, and hides nothing"
        return Fault(unused.span, message, "write the codes in brackets: `notrack: ignore[NT201] the reason`")
    codes = ", ".join(unused.codes)
    where = "in this file" if unused.line is None else "here"
    return Fault(
        unused.span,
        f"nothing is found {where} under {codes}: this suppression hides nothing",
        "take it out, or move it to the line (or the line above) that it is meant for",
        fix=_fix(unused),
    )


def _fix(unused: Suppression) -> Fix | None:
    """Takes the whole line out if the suppression stands alone on it."""
    source, span = unused.span.source, unused.span
    start = source.text.rfind("\n", 0, span.start) + 1
    end = source.text.find("\n", span.end)
    if source.text[start : span.start].strip() != "#" or end < 0:
        return None
    return Fix("take the suppression out", (Edit(source.span(start, end + 1), ""),))


RULE = Rule(
    code="NT001",
    name="unused-suppression",
    severity=Severity.WARNING,
    summary="a suppression hides nothing",
    what="""
        Reports each `notrack: ignore[...]` and `notrack: ignore-file[...]` under whose codes nothing is found
        at its place, and those that name no code.
    """,
    why="""
        A suppression that was left behind hides the next fault of its kind that comes to the line. One with a
        typing error hides nothing, and its author believes that it does.
    """,
    limits="Only the codes that were selected are looked at: with --select, others are not called unused.",
    mending="Safe: a suppression alone on its line is taken out with the line.",
    check=check,
    bad=(
        Example(
            "there is nothing to hide",
            """
            *filter
            :INPUT DROP [0:0]
            # notrack: ignore[NT302] the load balancer needs it  ### NT001
            -A INPUT -p udp --dport 53 -j ACCEPT
            COMMIT
            """,
            fixed="""
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p udp --dport 53 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "it names no code",
            """
            table inet filter {
                chain input {
                    type filter hook input priority filter; policy accept;
                    udp dport 53 accept # notrack: ignore the rest  ### NT001
                }
            }
            """,
        ),
    ),
    good=(
        Example(
            "the suppression hides a finding",
            """
            *raw
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            -A OUTPUT -p udp --sport 53 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p udp --dport 53 -j ACCEPT
            # notrack: ignore[NT606] taken out with the next release
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "the words stand in a comment of the rule itself",
            """
            *raw
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            -A OUTPUT -p udp --sport 53 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p udp --dport 53 -j ACCEPT
            -A INPUT -m state --state ESTABLISHED -m comment --comment "notrack: ignore[NT606]" -j ACCEPT
            COMMIT
            """,
        ),
    ),
)
