"""NT203: a rule asks for NEW or ESTABLISHED where only untracked packets come."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.finding import Fault
from notrack.lint.phrases import traffic
from notrack.lint.rule import Example, Rule
from notrack.lint.stateful import Idle, idle
from notrack.lint.subject import Subject
from notrack.text.diagnostic import Related, Severity


def check(subject: Subject) -> Iterator[Fault]:
    for view in subject.views:
        for found in idle(view):
            if found.rule.origin.span is not None:
                yield _fault(found)


def _fault(found: Idle) -> Fault:
    assert found.rule.origin.span is not None
    spans = [leg.span for leg in found.legs if leg.span is not None]
    return Fault(
        found.rule.origin.span,
        f"this never matches: {traffic(found.packets)} is untracked, so its state is UNTRACKED alone",
        "ask for UNTRACKED too, or for no state; or take the rule out",
        tuple(Related(span, "this untracks it") for span in spans[:3]),
        found.packets.witness(),
        causes=tuple(spans),
    )


RULE = Rule(
    code="NT203",
    name="state-never-matches",
    severity=Severity.WARNING,
    summary="a state match that only untracked packets come to",
    what="""
        Finds rules that ask for NEW, ESTABLISHED, RELATED or INVALID together with a protocol, port or
        address, all of whose packets NOTRACK rules took out of tracking.
    """,
    why="""
        The state of an untracked packet is UNTRACKED and nothing else. Such a rule looks as if it decided
        something and never does: an accept lets nobody in, a drop of INVALID guards nothing.
    """,
    limits="""
        What is told is that no packet that comes has the state; where other packets could come, because
        of an address or an interface, nothing is said. Where the rule is the cause that a service is dead,
        that is reported instead.
    """,
    mending="There is no automatic fix: what the rule was for is for the operator to say.",
    yields_to=("NT101", "NT102", "NT103", "NT201", "NT202", "NT204", "NT205", "NT401"),
    check=check,
    bad=(
        Example(
            "an accept by NEW behind one that works",
            """
            *raw
            -A PREROUTING -p tcp --dport 80 -j CT --notrack
            -A OUTPUT -p tcp --sport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -i lo -j ACCEPT
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            -A INPUT -p tcp --dport 80 -m conntrack --ctstate UNTRACKED -j ACCEPT
            -A INPUT -p tcp --dport 80 -m conntrack --ctstate NEW -j ACCEPT  ### NT203
            COMMIT
            """,
        ),
        Example(
            "nft, in a chain of its own (IPv6 as well)",
            """
            table inet raw {
                chain pre {
                    type filter hook prerouting priority raw;
                    udp dport 53 notrack
                }
                chain out {
                    type filter hook output priority raw;
                    oifname "lo" notrack
                    udp sport 53 notrack
                }
            }
            table inet filter {
                chain dns {
                    ct state established accept  ### NT203
                    ip saddr 10.0.0.0/8 accept
                    ip6 saddr fd00::/8 accept
                }
                chain input {
                    type filter hook input priority filter; policy drop;
                    iifname "eth0" udp dport 53 jump dns
                    meta l4proto ipv6-icmp accept
                    ct state established,related accept
                }
            }
            """,
        ),
    ),
    good=(
        Example(
            "the rule for all other flows",
            """
            *raw
            -A PREROUTING -p tcp --dport 80 -j CT --notrack
            -A OUTPUT -p tcp --sport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p tcp --dport 80 -j ACCEPT
            -A INPUT -p tcp -m conntrack --ctstate ESTABLISHED -j ACCEPT
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "NEW and UNTRACKED together, and a state for connections by lo, which are tracked",
            """
            *raw
            -A PREROUTING -i eth0 -p udp --dport 53 -j CT --notrack
            -A OUTPUT -o eth0 -p udp --sport 53 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -i eth0 -p udp --dport 53 -m conntrack --ctstate NEW,UNTRACKED -j ACCEPT
            -A INPUT -i lo -p udp --dport 53 -m conntrack --ctstate NEW -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "an interface on which the port is tracked",
            """
            *raw
            -A PREROUTING -i eth0 -p tcp --dport 80 -j CT --notrack
            -A OUTPUT -o eth0 -p tcp --sport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -i eth0 -p tcp --dport 80 -j ACCEPT
            -A INPUT -p tcp --dport 80 -m conntrack --ctstate NEW -j ACCEPT
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            COMMIT
            """,
        ),
    ),
)
