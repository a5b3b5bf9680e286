"""NT605: packets are taken out of a tracking that nothing here keeps on."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.entrances import early_rules
from notrack.lint.finding import Fault
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.lint.view import View
from notrack.ruleset.core import Notrack
from notrack.text.diagnostic import Related, Severity
from notrack.text.source import Span


def check(subject: Subject) -> Iterator[Fault]:
    if subject.host.tracking_elsewhere or subject.host.translators:
        return
    for view in subject.views:
        if view.model.tracks or not view.is_whole:
            continue
        spans = _untracking(view)
        if spans:
            others = tuple(Related(span, "and this one") for span in spans[1:4])
            yield Fault(
                spans[0],
                f"nothing keeps {view.family.label} tracking on: no packet is tracked even without NOTRACK",
                "the NOTRACK rules can go; they are of use only beside rules that need tracking",
                others,
                notes=() if subject.host.tracking_elsewhere is False else (_ASSUMED,),
            )


_ASSUMED = "that nothing outside these rules keeps tracking on"


def _untracking(view: View) -> list[Span]:
    return [
        rule.origin.span
        for table in view.ruleset.tables
        if view.family in table.families
        for _, rule, _ in early_rules(table)
        if rule.origin.span is not None and any(isinstance(action, Notrack) for action in rule.actions)
    ]


RULE = Rule(
    code="NT605",
    name="tracking-not-used",
    severity=Severity.INFO,
    summary="NOTRACK where nothing keeps tracking on",
    what="""
        Finds NOTRACK rules of a family for which no other rule asks for connection tracking: no state
        match, no translation, no helper. The first of them is named.
    """,
    why="""
        The kernel tracks connections of a family only while some rule needs it. With NOTRACK and plain
        rules alone the connection table stays empty: the NOTRACK rules cost time and change nothing. (On
        old kernels it was enough that the module was loaded.)
    """,
    limits="""
        It knows the rules that it was given. A file without any chain of input or forward is taken for a
        part of a ruleset, and passed over.
    """,
    mending="There is no automatic fix: on an old kernel the rules may be needed.",
    check=check,
    bad=(
        Example(
            "plain accepts beside NOTRACK",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p udp --dport 53 -j CT --notrack  ### NT605
            -A OUTPUT -p udp --sport 53 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p udp --dport 53 -j ACCEPT
            -A INPUT -p icmp -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "a table of both families, a state match of IPv4 alone",
            """
            table inet t {
              chain pre {
                type filter hook prerouting priority raw; policy accept;
                udp dport 53 notrack  ### NT605
              }
              chain input {
                type filter hook input priority filter; policy accept;
                udp dport 53 accept
              }
            }
            table ip u {
              chain input {
                type filter hook input priority filter; policy accept;
                ct state invalid drop
              }
            }
            """,
        ),
    ),
    good=(
        Example(
            "a state match keeps tracking on",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate ESTABLISHED,UNTRACKED -j ACCEPT
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "the raw rules alone: the others are in another file",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            -A OUTPUT -p udp --sport 53 -j CT --notrack
            COMMIT
            """,
        ),
        Example(
            "a rule in a chain that nothing calls keeps tracking on all the same",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            COMMIT
            *filter
            :INPUT ACCEPT [0:0]
            :spare - [0:0]
            -A spare -m state --state NEW -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "something else on the host tracks",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            COMMIT
            *filter
            :INPUT ACCEPT [0:0]
            -A INPUT -p udp --dport 53 -j ACCEPT
            COMMIT
            """,
            host='{"tracking_elsewhere": true}',
        ),
    ),
)
