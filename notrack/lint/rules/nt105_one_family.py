"""NT105: one family of addresses untracks what the other tracks."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.families import Alone, alone
from notrack.lint.finding import Fault
from notrack.lint.phrases import traffic
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.text.diagnostic import Severity


def check(subject: Subject) -> Iterator[Fault]:
    if len(subject.views) != 2:
        return
    one, other = subject.views
    for view, twin in ((one, other), (other, one)):
        for found in alone(view, twin):
            if found.leg.span is not None:
                yield _fault(found)


def _fault(found: Alone) -> Fault:
    assert found.leg.span is not None
    here, there = found.view.family.label, found.twin.family.label
    return Fault(
        found.leg.span,
        f"{traffic(found.leg.written)} is untracked for {here}, tracked for {there}, whose rules let it in",
        f"write the same NOTRACK rules, in both directions, for {there}",
        witness=found.packets.witness(),
    )


RULE = Rule(
    code="NT105",
    name="one-family",
    severity=Severity.WARNING,
    summary="untracked for IPv4 and tracked for IPv6, or the reverse",
    what="""
        Where the rules of both families are given: finds NOTRACK rules for a protocol or a port that the
        other family lets in and tracks.
    """,
    why="""
        The two families share one connection table. A busy service that is untracked for IPv4 alone fills it
        by IPv6, and whoever looks at the IPv4 rules does not see why.
    """,
    limits="""
        Both families' rules must be given, the other family must track at all and let the traffic in.
        Rules that name the addresses of others have no twin that could be told. ICMP is passed over. Rules
        that leave flows half tracked are reported for that.
    """,
    mending="There is no automatic fix: the rules of the other family may stand in another file.",
    check=check,
    bad=(
        Example(
            "two files, NOTRACK in one",
            {
                "rules.v4": """
                *raw
                -A PREROUTING -p udp --dport 53 -j CT --notrack  ### NT105
                -A OUTPUT -p udp --sport 53 -j CT --notrack
                COMMIT
                *filter
                :INPUT DROP [0:0]
                -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
                -A INPUT -p udp --dport 53 -j ACCEPT
                COMMIT
                """,
                "rules.v6": """
                *filter
                :INPUT DROP [0:0]
                -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
                -A INPUT -p ipv6-icmp -j ACCEPT
                -A INPUT -p udp --dport 53 -j ACCEPT
                COMMIT
                """,
            },
        ),
        Example(
            "nft: a raw table for IPv6 alone, beside an inet filter",
            """
            table ip6 raw {
                chain pre {
                    type filter hook prerouting priority raw;
                    tcp dport { 80, 443 } notrack  ### NT105
                }
                chain out {
                    type filter hook output priority raw;
                    tcp sport { 80, 443 } notrack
                }
            }
            table inet filter {
                chain input {
                    type filter hook input priority filter; policy drop;
                    ct state established accept
                    meta l4proto ipv6-icmp accept
                    tcp dport { 80, 443 } accept
                }
            }
            """,
        ),
    ),
    good=(
        Example(
            "the same in both families",
            """
            table inet raw {
                chain pre {
                    type filter hook prerouting priority raw;
                    tcp dport 80 notrack
                }
                chain out {
                    type filter hook output priority raw;
                    tcp sport 80 notrack
                }
            }
            table inet filter {
                chain input {
                    type filter hook input priority filter; policy drop;
                    ct state established accept
                    meta l4proto ipv6-icmp accept
                    tcp dport 80 accept
                }
            }
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "IPv6 does not let the service in",
            {
                "rules.v4": """
                *raw
                -A PREROUTING -p udp --dport 53 -j CT --notrack
                -A OUTPUT -p udp --sport 53 -j CT --notrack
                COMMIT
                *filter
                :INPUT DROP [0:0]
                -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
                -A INPUT -p udp --dport 53 -j ACCEPT
                COMMIT
                """,
                "rules.v6": """
                *filter
                :INPUT DROP [0:0]
                -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
                -A INPUT -p ipv6-icmp -j ACCEPT
                COMMIT
                """,
            },
        ),
        Example(
            "IPv6 tracks nothing at all",
            {
                "rules.v4": """
                *raw
                -A PREROUTING -p udp --dport 53 -j CT --notrack
                -A OUTPUT -p udp --sport 53 -j CT --notrack
                COMMIT
                *filter
                :INPUT DROP [0:0]
                -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
                -A INPUT -p udp --dport 53 -j ACCEPT
                COMMIT
                """,
                "rules.v6": """
                *filter
                :INPUT DROP [0:0]
                -A INPUT -p ipv6-icmp -j ACCEPT
                -A INPUT -p udp --dport 53 -j ACCEPT
                COMMIT
                """,
            },
        ),
        Example(
            "the file of one family alone is given",
            """
            *raw
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            -A OUTPUT -p udp --sport 53 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            -A INPUT -p udp --dport 53 -j ACCEPT
            COMMIT
            """,
        ),
    ),
)
