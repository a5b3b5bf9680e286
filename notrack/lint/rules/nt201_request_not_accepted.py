"""NT201: requests are untracked, and no rule lets them in as that."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.accepts import accepting, widened
from notrack.lint.admission import JUDGING, Lost
from notrack.lint.finding import Fault
from notrack.lint.phrases import traffic
from notrack.lint.rule import Example, Rule
from notrack.lint.shadows import causes
from notrack.lint.ssh import cut
from notrack.lint.subject import Subject
from notrack.netfilter.ways import Way
from notrack.ruleset.core import Verdict
from notrack.text.diagnostic import Related, Severity
from notrack.text.source import Span


def check(subject: Subject) -> Iterator[Fault]:
    told = {one.span for one in cut(subject)}
    for view in subject.views:
        if not view.untracks:
            continue
        for lost in view.admission.requests():
            fault = _fault(subject, lost)
            if fault is not None and fault.span not in told:
                yield fault


def _fault(subject: Subject, lost: Lost) -> Fault | None:
    span = lost.rule.origin.span if lost.rule is not None else lost.leg.span
    if span is None:
        return None
    related = [Related(leg.span, "this untracks them") for leg in lost.legs if leg.span not in (None, span)]
    line, fix = ("", None) if lost.later else widened(subject, lost)
    return Fault(
        span,
        _message(lost),
        _help(subject, lost, line),
        tuple(related[:3]),
        lost.packets.witness(),
        fix,
        causes=(*(leg.span for leg in lost.legs if leg.span is not None), *_shadowed(subject, lost)),
    )


def _shadowed(subject: Subject, lost: Lost) -> tuple[Span, ...]:
    """The rules that would let them through, if they came to them."""
    return causes(subject, lost.packets) if lost.never else ()


_WAYS = {Way.LOCAL_IN: "in", Way.LOCAL_OUT: "out", Way.FORWARD: "through"}


def _message(lost: Lost) -> str:
    what, word = traffic(lost.packets), _WAYS[lost.way]
    if lost.never:
        hook = JUDGING[lost.way].name
        return f"requests to {what} are untracked, and {hook} has no rule that lets them {word}"
    if lost.later:
        return f"this lets in the first packet alone: what follows to {what} is untracked, and stopped"
    if lost.rule is not None and lost.rule.actions[-1] is Verdict.ACCEPT:
        return f"this lets no untracked packet {word}: requests to {what} are UNTRACKED, never NEW"
    return f"this stops requests to {what}: they are UNTRACKED"


def _help(subject: Subject, lost: Lost, line: str) -> str:
    if lost.never:
        text = accepting(subject, lost)
        return "let them through, from wherever they may come" + (f": `{text}`" if text else "")
    if lost.later:
        return "let all packets to the port in, not the SYN alone"
    if line:
        return f"accept UNTRACKED too: `{line}`"
    return "let the untracked packets through by protocol and port, without a state"


RULE = Rule(
    code="NT201",
    name="request-not-accepted",
    severity=Severity.ERROR,
    summary="untracked requests that no rule lets through",
    what="""
        Finds flows that are untracked both ways and whose requests are stopped: the rule that should let
        them in asks for the state NEW, a rule drops what is UNTRACKED, only the SYN is let in, or there is
        no rule for a port that the NOTRACK rules name.
    """,
    why="""
        An untracked packet is UNTRACKED and nothing else: not NEW, not ESTABLISHED. `--ctstate NEW --dport
        80 -j ACCEPT` never matches once port 80 is untracked, and the service is dead.
    """,
    limits="""
        A drop of what would be dropped as a tracked packet too is taken for the operator's wish, unless a
        NOTRACK rule names the port, its answers are untracked as well, and nothing but the policy or a rule
        for all the rest stops it. Of a range of ports those that nobody may reach are not named.
    """,
    mending="""
        UNTRACKED is added to the states of the rule. Safe where the rule lets in nothing else by that.
    """,
    yields_to=("NT401", "NT306", "NT603"),
    check=check,
    bad=(
        Example(
            "the accept asks for NEW",
            """
            *raw
            -A PREROUTING -p tcp -m tcp --dport 80 -j CT --notrack
            -A OUTPUT -p tcp -m tcp --sport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
            [3:180] -A INPUT -p tcp -m tcp --dport 80 -m conntrack --ctstate NEW -j ACCEPT  ### NT201
            COMMIT
            """,
            fixed="""
            *raw
            -A PREROUTING -p tcp -m tcp --dport 80 -j CT --notrack
            -A OUTPUT -p tcp -m tcp --sport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
            [3:180] -A INPUT -p tcp -m tcp --dport 80 -m conntrack --ctstate NEW,UNTRACKED -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "no rule for one of the ports (IPv6)",
            {
                "rules.v6": """
                *raw
                -A PREROUTING -p tcp -m multiport --dports 80,443 -j CT --notrack  ### NT201
                -A OUTPUT -p tcp -m multiport --sports 80,443 -j CT --notrack
                COMMIT
                *filter
                :INPUT DROP [0:0]
                -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
                -A INPUT -p ipv6-icmp -j ACCEPT
                -A INPUT -p tcp --dport 80 -j ACCEPT
                -A INPUT -j REJECT
                COMMIT
                """
            },
        ),
        Example(
            "nft: only the SYN is let in, the rest was for `established`",
            """
            table inet raw {
                chain pre {
                    type filter hook prerouting priority raw;
                    tcp dport 443 notrack
                }
                chain out {
                    type filter hook output priority raw;
                    tcp sport 443 notrack
                }
            }
            table inet filter {
                chain input {
                    type filter hook input priority filter; policy drop;
                    ct state established,related accept
                    meta l4proto ipv6-icmp accept
                    tcp dport 443 tcp flags & (fin | syn | rst | ack) == syn accept  ### NT201
                }
            }
            """,
        ),
        Example(
            "what is UNTRACKED is dropped together with INVALID",
            """
            *raw
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            -A OUTPUT -p udp --sport 53 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate INVALID,UNTRACKED -j DROP  ### NT201
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            -A INPUT -p udp --dport 53 -j ACCEPT
            COMMIT
            """,
        ),
    ),
    good=(
        Example(
            "the accept asks for no state",
            """
            *raw
            -A PREROUTING -p tcp --dport 80 -j CT --notrack
            -A OUTPUT -p tcp --sport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -p tcp --dport 80 -j ACCEPT
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "NEW and UNTRACKED are named, from some hosts alone; others are dropped on purpose",
            """
            *raw
            -A PREROUTING -p udp -m udp --dport 53 -j CT --notrack
            -A OUTPUT -p udp -m udp --sport 53 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -s 10.0.0.0/8 -p udp -m udp --dport 53 -m conntrack --ctstate NEW,UNTRACKED -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "flows that a rule drops in any state: NOTRACK keeps them out of the table",
            """
            *raw
            -A PREROUTING -p tcp --dport 23 -j CT --notrack
            -A OUTPUT -p tcp --sport 23 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p tcp --dport 23 -j DROP
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -p tcp --dport 22 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "the policy lets everything in, and the accept overrides nothing",
            """
            *raw
            -A PREROUTING -p tcp --dport 80 -j CT --notrack
            -A OUTPUT -p tcp --sport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT ACCEPT [0:0]
            -A INPUT -p tcp --dport 80 -m conntrack --ctstate NEW -j ACCEPT
            -A INPUT -m conntrack --ctstate INVALID -j DROP
            COMMIT
            """,
        ),
    ),
)
