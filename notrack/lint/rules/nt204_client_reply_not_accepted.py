"""NT204: the host's own questions are untracked, and the answers to them are not let in."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.admission import Lost
from notrack.lint.finding import Fault
from notrack.lint.phrases import traffic
from notrack.lint.rule import Example, Rule
from notrack.lint.shapes import Asks, asking, shape
from notrack.lint.subject import Subject
from notrack.packets.address import prefix_text, prefixes
from notrack.packets.intervals import IntervalSet
from notrack.text.diagnostic import Severity


def check(subject: Subject) -> Iterator[Fault]:
    for view in subject.views:
        if view.untracks:
            for lost in view.admission.client_replies():
                if lost.leg.span is not None:
                    yield _fault(lost)


def _fault(lost: Lost) -> Fault:
    assert lost.leg.span is not None
    line, what = _line(lost), traffic(lost.leg.written)
    return Fault(
        lost.leg.span,
        f"the host's own questions get no answer: INPUT stops what comes untracked from {what}",
        "let the answers in from the servers that are asked, to the ports that questions come from"
        + (f": `{line}`" if line else ""),
        witness=lost.packets.witness(),
        notes=() if lost.view.host.ephemeral else ("that questions come from ports 32768 to 60999",),
    )


def _line(lost: Lost) -> str:
    """The accept for one protocol and port, as iptables has it; empty where it would be none."""
    one, family = shape(lost.leg.written), lost.view.family
    name = {6: "tcp", 17: "udp"}.get(one.protocols.least() if one.protocols else 0)
    tables = [table.name for table in lost.view.ruleset.tables]
    if one.protocols.size() != 1 or name is None or asking(lost.leg.written) is not Asks.ANSWER:
        return ""
    if one.source_port.size() != 1 or any(" " in table for table in tables):
        return ""
    found = list(prefixes(one.source, family)) if len(one.source.spans) == 1 else []
    servers = prefix_text(*found[0], family) if len(found) == 1 and found[0][1] else "SERVERS"
    low, high = (lost.view.host.ephemeral or _EPHEMERAL).spans[0]
    flags = " ! --syn" if name == "tcp" else ""
    port = one.source_port.least()
    return f"-A INPUT -s {servers} -p {name} --sport {port} --dport {low}:{high}{flags} -j ACCEPT"


_EPHEMERAL = IntervalSet(((32768, 60999),))

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
        Rules that untrack all of a protocol, or all of some hosts, are named only where INPUT lets no answer
        of that kind in at all. Answers are looked for at the ports 32768 to 60999, or at those of the host's
        facts.
    """,
    mending="""
        There is no automatic fix. The accept that is missing should name the servers, the ephemeral ports
        and, for TCP, no bare SYN: an accept by source port alone opens every port of the host.
    """,
    yields_to=("NT401",),
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
