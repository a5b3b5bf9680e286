"""NT606: one single rule keeps connection tracking on for the whole network namespace."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.finding import Fault
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.lint.view import View
from notrack.text.diagnostic import Related, Severity
from notrack.text.source import Span


def check(subject: Subject) -> Iterator[Fault]:
    if subject.host.tracking_elsewhere:
        return
    for view in subject.views:
        places = {keeper.origin.span: keeper for keeper in view.model.keepers}
        if len(places) != 1 or not view.untrackings or _is_proxy(view):
            continue
        (span, keeper), *_ = places.items()
        if span is not None:
            yield Fault(
                span,
                f"this is the only rule that keeps {view.family.label} tracking on ({keeper.what})",
                "if nothing here needs tracking, take this rule out: then no packet is tracked at all",
                tuple(Related(one, "untracks what this rule alone has tracked") for one in _untracking(view)),
                notes=() if subject.host.tracking_elsewhere is False else (_ASSUMED,),
            )


def _untracking(view: View) -> list[Span]:
    """The first rule that untracks."""
    spans = (one.visit.rule.origin.span for one in view.untrackings)
    return [span for span in spans if span is not None][:1]


def _is_proxy(view: View) -> bool:
    """Whether what needs tracking is SYNPROXY, which exists to hand connections over to it."""
    return any("synproxy" in keeper.origin.text.lower() for keeper in view.model.keepers)


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
        The kernel registers connection tracking when the first rule asks for it, for the whole namespace
        and for all packets of the family. Where one rule alone asks for it, taking that rule out ends all
        tracking, and the table cannot fill any more.
    """,
    limits="It knows the rules it was given. Other tables and the host's settings may need tracking too.",
    mending="There is no automatic fix: whether the rule is needed is for the operator to say.",
    check=check,
    yields_to=("NT602",),
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
        Example(
            "SYNPROXY, for which tracking is the purpose",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -p tcp --syn --dport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT ACCEPT [0:0]
            -A INPUT -p tcp --dport 80 -m conntrack --ctstate INVALID,UNTRACKED -j SYNPROXY --mss 1460
            COMMIT
            """,
        ),
    ),
)
