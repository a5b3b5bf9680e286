"""NT202: the answers of an untracked service are not let out, or not through."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.accepts import added
from notrack.lint.admission import JUDGING, Lost
from notrack.lint.finding import Fault
from notrack.lint.phrases import traffic
from notrack.lint.rule import Example, Rule
from notrack.lint.shadows import causes
from notrack.lint.subject import Subject
from notrack.netfilter.ways import Way
from notrack.text.diagnostic import Severity


def check(subject: Subject) -> Iterator[Fault]:
    for view in subject.views:
        if view.untracks:
            for lost in view.admission.replies():
                if lost.leg.span is not None:
                    yield _fault(subject, lost)


def _fault(subject: Subject, lost: Lost) -> Fault:
    assert lost.leg.span is not None
    hook = JUDGING[lost.way].name
    word = "out" if lost.way is Way.LOCAL_OUT else "through"
    from notrack.lint.mending import UNTRACKED

    line, fix = added(subject, lost, UNTRACKED, safe=True)
    return Fault(
        lost.leg.span,
        f"requests are let in, but {hook} stops the untracked answers from {traffic(lost.packets)}",
        f"let them {word} by their port, in front of what stops them" + (f": `{line}`" if line else ""),
        witness=lost.packets.witness(),
        fix=fix,
        causes=causes(subject, lost.packets),
    )


RULE = Rule(
    code="NT202",
    name="reply-not-accepted",
    severity=Severity.ERROR,
    summary="the answers of an untracked service are not let out",
    what="""
        Finds flows that are untracked both ways, whose requests are let in (or through), and whose answers
        are stopped in OUTPUT (or FORWARD).
    """,
    why="""
        Where OUTPUT or FORWARD lets answers through as ESTABLISHED alone, untracked ones never pass: they
        are UNTRACKED. The service gets each request, and nobody gets an answer.
    """,
    limits="""
        Answers that no state would let through are named only where nothing but a policy, or a rule for all
        the rest, stops them.
    """,
    mending="""
        An accept for the untracked answers is added behind the rule that lets tracked ones through. Safe:
        it lets nothing else pass. Where there is no such rule, the operator knows where it belongs.
    """,
    yields_to=("NT401", "NT603"),
    check=check,
    bad=(
        Example(
            "OUTPUT lets out what is ESTABLISHED",
            """
            *raw
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            -A OUTPUT -p udp --sport 53 -j CT --notrack  ### NT202
            COMMIT
            *filter
            :INPUT DROP [0:0]
            :OUTPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            -A INPUT -p udp --dport 53 -j ACCEPT
            -A OUTPUT -m conntrack --ctstate NEW,ESTABLISHED,RELATED -j ACCEPT
            COMMIT
            """,
            fixed="""
            *raw
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            -A OUTPUT -p udp --sport 53 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            :OUTPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            -A INPUT -p udp --dport 53 -j ACCEPT
            -A OUTPUT -m conntrack --ctstate NEW,ESTABLISHED,RELATED -j ACCEPT
            -A OUTPUT -p udp --sport 53 -m conntrack --ctstate UNTRACKED -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "nft: a forwarded service, whose answers are for `established`",
            """
            table inet raw {
                chain pre {
                    type filter hook prerouting priority raw;
                    ip daddr 10.0.0.5 tcp dport 8080 notrack
                    ip saddr 10.0.0.5 tcp sport 8080 notrack  ### NT202
                }
            }
            table inet filter {
                chain input {
                    type filter hook input priority filter; policy drop;
                    meta l4proto ipv6-icmp accept
                    ct state established accept
                }
                chain forward {
                    type filter hook forward priority filter; policy drop;
                    ct state established,related accept
                    ip daddr 10.0.0.5 tcp dport 8080 accept
                }
            }
            """,
        ),
        Example(
            "a stateless OUTPUT without a rule for one service",
            """
            *raw
            -A PREROUTING -p tcp --dport 80 -j CT --notrack
            -A PREROUTING -p tcp --dport 443 -j CT --notrack
            -A OUTPUT -p tcp --sport 80 -j CT --notrack
            -A OUTPUT -p tcp --sport 443 -j CT --notrack  ### NT202
            COMMIT
            *filter
            :INPUT DROP [0:0]
            :OUTPUT DROP [0:0]
            -A INPUT -p tcp -m multiport --dports 80,443 -j ACCEPT
            -A OUTPUT -p tcp --sport 80 ! --syn -j ACCEPT
            -A OUTPUT -j REJECT
            COMMIT
            """,
        ),
    ),
    good=(
        Example(
            "answers are let out by their port",
            """
            *raw
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            -A OUTPUT -p udp --sport 53 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            :OUTPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            -A INPUT -p udp --dport 53 -j ACCEPT
            -A OUTPUT -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT
            -A OUTPUT -p udp --sport 53 -j ACCEPT
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "OUTPUT lets ESTABLISHED out first, and its policy everything else",
            """
            *raw
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            -A OUTPUT -p udp --sport 53 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            :OUTPUT ACCEPT [0:0]
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            -A INPUT -p udp --dport 53 -j ACCEPT
            -A OUTPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            -A OUTPUT -p tcp --dport 25 -j REJECT
            COMMIT
            """,
        ),
        Example(
            "answers by `UNTRACKED` to one network, from which alone requests are let in",
            """
            *raw
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            -A OUTPUT -p udp --sport 53 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            :OUTPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            -A INPUT -s 10.0.0.0/8 -p udp --dport 53 -j ACCEPT
            -A OUTPUT -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT
            -A OUTPUT -d 10.0.0.0/8 -p udp --sport 53 -m conntrack --ctstate UNTRACKED -j ACCEPT
            COMMIT
            """,
        ),
    ),
)
