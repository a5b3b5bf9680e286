"""NT606: one single rule keeps connection tracking on for the whole network namespace."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.finding import Fault
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.text.diagnostic import Severity


def check(subject: Subject) -> Iterator[Fault]:
    if subject.host.tracking_elsewhere:
        return
    for view in subject.views:
        places = {keeper.origin.span: keeper for keeper in view.model.keepers}
        if len(places) != 1 or not view.untrackings:
            continue
        (span, keeper), *_ = places.items()
        if span is not None:
            yield Fault(
                span,
                f"this is the only rule that keeps {view.family.label} tracking on ({keeper.what})",
                "if nothing here needs tracking, take this rule out: then no packet is tracked at all",
                notes=() if subject.host.tracking_elsewhere is False else (_ASSUMED,),
            )


_ASSUMED = "that nothing outside these rules keeps tracking on"

RULE = Rule(
    code="NT606",
    name="keeps-tracking-on",
    severity=Severity.INFO,
    summary="one rule alone keeps connection tracking on",
    what="""
        Names the rule for which the kernel tracks every connection of the network namespace, if there is
        just one of them beside rules that take flows out of tracking.
    """,
    why="""
        The kernel registers connection tracking when the first rule asks for it, for the whole namespace and
        for all packets of the family. Where one rule alone asks for it, taking that rule out ends all
        tracking, and the table cannot fill any more.
    """,
    limits="It knows the rules it was given. Other tables and the host's settings may need tracking too.",
    mending="There is no automatic fix: whether the rule is needed is for the operator to say.",
    check=check,
    bad=(
        Example(
            "one state match in a file that untracks everything else",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            -A OUTPUT -p udp --sport 53 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p udp --dport 53 -j ACCEPT
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT  ### NT606
            COMMIT
            """,
        ),
    ),
    good=(
        Example(
            "nothing keeps tracking on",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p udp --dport 53 -j ACCEPT
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "one state match, and no rule that takes anything out of tracking: an ordinary stateful file",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -p tcp --dport 22 -j ACCEPT
            COMMIT
            """,
        ),
    ),
)
