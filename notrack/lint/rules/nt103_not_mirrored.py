"""NT103: OUTPUT repeats what PREROUTING matches, instead of its mirror."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.finding import Fault
from notrack.lint.halves import Half, Kind
from notrack.lint.mirrors import meant, replacing
from notrack.lint.phrases import peers, traffic
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.text.diagnostic import Related, Severity


def check(subject: Subject) -> Iterator[Fault]:
    for view in subject.views:
        for half in view.halves:
            if half.kind is Kind.REPEATED and half.leg.span is not None:
                yield _fault(subject, half)


def _fault(subject: Subject, half: Half) -> Fault:
    assert half.leg.span is not None and half.partner is not None
    line, fix = replacing(subject, half.leg, half.partner)
    asked = half.partner.span
    return Fault(
        half.leg.span,
        _message(half),
        "exchange source and destination" + (f": `{line}`" if line else ""),
        (Related(asked, "the rule whose mirror was meant"),) if asked is not None else (),
        half.packets.witness(),
        fix,
        causes=meant(half),
    )


def _message(half: Half) -> str:
    assert half.partner is not None
    what = traffic(half.partner.written)
    where = peers(half.partner.written)
    where = "" if where.strip() in what else where
    return (
        f"this repeats PREROUTING instead of mirroring it: what answers {what}{where} is tracked, and what"
        " this takes has tracked answers"
    )


RULE = Rule(
    code="NT103",
    name="not-mirrored",
    severity=Severity.ERROR,
    summary="OUTPUT repeats PREROUTING's match instead of its mirror",
    what="""
        Finds a NOTRACK rule in OUTPUT that has the same addresses or ports on the same side as one in
        PREROUTING: `-s X` in both, or `--dport N` in both. What comes in to port 80 leaves *from* port 80.
    """,
    why="""
        Neither rule sees the other direction of what the other one takes. Two kinds of flows are half
        tracked then: those to the service, whose answers are tracked, and those that the host opens to the
        same port elsewhere. The table fills as if nothing were untracked.
    """,
    limits="""
        Both rules must leave flows half tracked: where the mirrored rules are there as well (a host that is
        server and client of one protocol), nothing is said. Tunnels such as VXLAN, whose both directions go
        to one port, belong to NT106.
    """,
    mending="""
        The rule in OUTPUT is replaced by the mirror of that in PREROUTING; safe, for it changes tracking
        alone.
    """,
    yields_to=("NT401", "NT601", "NT602", "NT603", "NT610"),
    check=check,
    bad=(
        Example(
            "the same port on the same side",
            """
            *raw
            -A PREROUTING -p tcp -m tcp --dport 80 -j NOTRACK
            -A OUTPUT -p tcp -m tcp --dport 80 -j NOTRACK  ### NT103
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -p tcp -m tcp --dport 80 -j ACCEPT
            COMMIT
            """,
            fixed="""
            *raw
            -A PREROUTING -p tcp -m tcp --dport 80 -j NOTRACK
            -A OUTPUT -p tcp -m tcp --sport 80 -j NOTRACK
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -p tcp -m tcp --dport 80 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "ports are mirrored in one pair, the address of a neighbour is not",
            """
            *raw
            -A PREROUTING -p tcp --dport 80 -j CT --notrack
            -A PREROUTING -p tcp -s 192.168.10.1 -j CT --notrack
            -A OUTPUT -p tcp --sport 80 -j CT --notrack
            -A OUTPUT -p tcp -s 192.168.10.1 -j CT --notrack  ### NT103
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED,UNTRACKED -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "nft, with an address on the wrong side",
            """
            table ip6 raw {
                chain pre {
                    type filter hook prerouting priority raw;
                    ip6 saddr 2001:db8::/32 udp dport 53 notrack
                }
                chain out {
                    type filter hook output priority raw;
                    ip6 saddr 2001:db8::/32 udp sport 53 notrack  ### NT103
                }
            }
            table ip6 filter {
                chain input {
                    type filter hook input priority filter; policy drop;
                    ct state established accept
                    meta l4proto ipv6-icmp accept
                    udp dport 53 accept
                }
            }
            """,
        ),
    ),
    good=(
        Example(
            "source and destination exchanged",
            """
            *raw
            -A PREROUTING -s 192.168.10.0/24 -p tcp --dport 80 -j CT --notrack
            -A OUTPUT -d 192.168.10.0/24 -p tcp --sport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            -A INPUT -p tcp --dport 80 -j ACCEPT
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "a name server that asks others too: every rule has its mirror",
            """
            *raw
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            -A PREROUTING -p udp --sport 53 -j CT --notrack
            -A OUTPUT -p udp --dport 53 -j CT --notrack
            -A OUTPUT -p udp --sport 53 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p udp --dport 53 -j ACCEPT
            -A INPUT -s 9.9.9.9 -p udp --sport 53 --dport 1024:65535 -j ACCEPT
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "VXLAN: both directions go to one port",
            """
            *raw
            -A PREROUTING -p udp --dport 4789 -j CT --notrack
            -A OUTPUT -p udp --dport 4789 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -s 10.0.0.0/24 -p udp --dport 4789 -j ACCEPT
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "both ports named at once, the same in both chains",
            """
            *raw
            -A PREROUTING -p udp --sport 5353 --dport 5353 -j CT --notrack
            -A OUTPUT -p udp --sport 5353 --dport 5353 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p udp --dport 5353 -j ACCEPT
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            COMMIT
            """,
        ),
    ),
)
