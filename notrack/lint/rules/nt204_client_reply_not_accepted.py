"""NT204: the host's own questions are untracked, and the answers to them are not let in."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.accepts import added
from notrack.lint.admission import EPHEMERAL, Lost
from notrack.lint.finding import Fault, Fix
from notrack.lint.phrases import traffic
from notrack.lint.rule import Example, Rule
from notrack.lint.shadows import causes
from notrack.lint.shapes import Asks, asking
from notrack.lint.subject import Subject
from notrack.text.diagnostic import Severity


def check(subject: Subject) -> Iterator[Fault]:
    for view in subject.views:
        if view.untracks:
            for lost in view.admission.client_replies():
                if lost.leg.span is not None:
                    yield _fault(subject, lost)


def _fault(subject: Subject, lost: Lost) -> Fault:
    assert lost.leg.span is not None
    what = traffic(lost.leg.written)
    line, fix = _added(subject, lost)
    return Fault(
        lost.leg.span,
        f"the host's own questions get no answer: INPUT stops what comes untracked from {what}",
        "let the answers in from the servers that are asked, to the ports that questions come from"
        + (f": `{line}`" if line else ""),
        witness=lost.packets.witness(),
        fix=fix,
        notes=() if lost.view.host.ephemeral else ("that questions come from ports 32768 to 60999",),
        causes=causes(subject, lost.packets),
    )


def _added(subject: Subject, lost: Lost) -> tuple[str, Fix | None]:
    """The accept for answers of one protocol and some ports; a fix where the servers are named."""
    from notrack.lint.mending import UNTRACKED, Wording

    one = lost.leg.shape
    name = {6: "tcp", 17: "udp"}.get(one.protocols.least() if one.protocols else 0)
    if one.protocols.size() != 1 or name is None or asking(lost.leg.written) is not Asks.ANSWER:
        return "", None
    low, high = (lost.view.host.ephemeral or EPHEMERAL).spans[0]
    matches = [Wording(f"--dport {low}:{high}", f"{name} dport {low}-{high}")]
    if name == "tcp":
        matches.append(Wording("! --syn", "tcp flags & (fin | syn | rst | ack) != syn"))
    line, fix = added(subject, lost, *matches, UNTRACKED, safe=False)
    return line, fix if one.source != lost.view.family.whole else None


RULE = Rule(
    code="NT204",
    name="client-reply-not-accepted",
    severity=Severity.ERROR,
    summary="the answers to the host's own untracked questions are dropped",
    what="""
        Finds questions that the host sends untracked, with their answers untracked too, where INPUT drops
        the answers: it lets answers in as ESTABLISHED, which they never are, or has no rule for them.
    """,
    why="""
        Without tracking nothing remembers that the host asked. Its resolver, its clock or its updates time
        out one after another, while everything that others ask of the host works.
    """,
    limits="""
        Rules that untrack all of a protocol, or all of some hosts, are named only where INPUT lets no
        answer of that kind in at all. Answers are looked for at the ports 32768 to 60999, or at those of
        the host's facts.
    """,
    mending="""
        Where the NOTRACK rule names the servers, an accept for their answers is added, to the ephemeral
        ports and, for TCP, for no bare SYN; not safe, for whoever forges a server's address gets that far
        too. Else there is no fix: an accept by source port alone opens every port of the host.
    """,
    yields_to=("NT401", "NT603"),
    check=check,
    bad=(
        Example(
            "questions to name servers, and a stateful INPUT",
            """
            *raw
            -A OUTPUT -p udp --dport 53 -j CT --notrack
            -A PREROUTING -p udp --sport 53 -j CT --notrack  ### NT204
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -p tcp --dport 22 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "questions to one server",
            """
            *raw
            -A OUTPUT -d 9.9.9.9 -p udp --dport 53 -j CT --notrack
            -A PREROUTING -s 9.9.9.9 -p udp --sport 53 -j CT --notrack  ### NT204
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
            COMMIT
            """,
            fixed="""
            *raw
            -A OUTPUT -d 9.9.9.9 -p udp --dport 53 -j CT --notrack
            -A PREROUTING -s 9.9.9.9 -p udp --sport 53 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -s 9.9.9.9 -p udp --sport 53 --dport 9000:9999 -m conntrack --ctstate UNTRACKED -j ACCEPT
            -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
            COMMIT
            """,
            host='{"ephemeral": [[9000, 9999]]}',
        ),
        Example(
            "nft: all of TCP is untracked, and nothing but a service is let in",
            """
            table inet raw {
                chain pre {
                    type filter hook prerouting priority raw;
                    meta l4proto tcp notrack  ### NT204
                }
                chain out {
                    type filter hook output priority raw;
                    meta l4proto tcp notrack
                }
            }
            table inet filter {
                chain input {
                    type filter hook input priority filter; policy drop;
                    ct state established,related accept
                    meta l4proto { icmp, ipv6-icmp } accept
                    tcp dport { 22, 80 } accept
                }
            }
            """,
        ),
    ),
    good=(
        Example(
            "the answers are let in from the servers",
            """
            *raw
            -A OUTPUT -d 9.9.9.9 -p udp --dport 53 -j CT --notrack
            -A PREROUTING -s 9.9.9.9 -p udp --sport 53 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -s 9.9.9.9 -p udp --sport 53 --dport 32768:60999 -j ACCEPT
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "all of TCP is untracked, and the host asks web servers alone",
            """
            *raw
            -A PREROUTING -p tcp -j NOTRACK
            -A OUTPUT -p tcp -j NOTRACK
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m state --state ESTABLISHED -j ACCEPT
            -A INPUT -p tcp --dport 22 -j ACCEPT
            -A INPUT -p tcp --sport 80 ! --syn -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "a neighbour that only asks: everything of it is untracked",
            """
            *raw
            -A PREROUTING -s 10.0.0.9 -j CT --notrack
            -A OUTPUT -d 10.0.0.9 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -s 10.0.0.9 -p tcp --dport 9100 -j ACCEPT
            COMMIT
            """,
        ),
    ),
)
