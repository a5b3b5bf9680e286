"""NT102: one direction of a forwarded flow is untracked, the other is tracked."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.finding import Fault
from notrack.lint.halves import Half, Kind
from notrack.lint.mirrors import adding, meant
from notrack.lint.phrases import peers, traffic
from notrack.lint.rule import Example, Rule
from notrack.lint.shapes import Asks, asking
from notrack.lint.subject import Subject
from notrack.ruleset.core import Hook
from notrack.text.diagnostic import Related, Severity


def check(subject: Subject) -> Iterator[Fault]:
    for view in subject.views:
        for half in view.halves:
            if half.kind is Kind.FORWARDED and half.leg.span is not None:
                yield _fault(subject, half)


def _fault(subject: Subject, half: Half) -> Fault:
    assert half.leg.span is not None
    line, fix = adding(subject, half.leg, Hook.PREROUTING)
    related = []
    if half.partner is not None and half.partner.span is not None:
        related.append(Related(half.partner.span, "this is not the other direction of it"))
    alone = not half.partly and half.partner is None
    return Fault(
        half.leg.span,
        _message(half),
        _help(half, line),
        tuple(related),
        half.packets.witness(),
        fix if alone else None,
        _notes(half),
        meant(half),
    )


def _notes(half: Half) -> tuple[str, ...]:
    forwards = half.view.host.forwards(half.view.family)
    return () if forwards else ("that the host forwards this, as its rules suggest",)


def _message(half: Half) -> str:
    what = traffic(half.packets)
    where = peers(half.packets)
    where = "" if where.strip() in what else where
    if asking(half.packets) is Asks.ANSWER:
        return f"forwarded answers from {what}{where} are untracked, the requests are tracked"
    return f"forwarded {what}{where} is untracked, the answers are tracked: the table still fills"


def _help(half: Half, line: str) -> str:
    if half.partner is not None:
        return "make the two rules mirror each other: protocol, addresses, ports and interfaces exchanged"
    if half.partly:
        return "PREROUTING untracks the answers to a part of this alone: let both rules name the same"
    return "forwarded answers come through PREROUTING too, never OUTPUT" + (f": add `{line}`" if line else "")


RULE = Rule(
    code="NT102",
    name="one-way-notrack-forward",
    severity=Severity.ERROR,
    summary="one direction of a forwarded flow is untracked, the other is not",
    what="""
        Finds NOTRACK rules for traffic that passes through the host, where the answers are tracked. Both
        directions of a forwarded flow come in from a network, so both need a rule in PREROUTING.
    """,
    why="""
        What is forwarded never passes OUTPUT: a NOTRACK there does nothing for it. Tracking then sees one
        half of each connection, makes an entry the wrong way round or calls packets INVALID, and a state
        rule in FORWARD stops them.
    """,
    limits="""
        Whether a rule is meant for forwarded traffic is taken from the host's facts, or else from its
        rules: FORWARD tells packets apart and lets these through, and INPUT does not. An answer may come in
        by any interface. What FORWARD would let through in no state is left out.
    """,
    mending="The mirrored rule is added to PREROUTING; this is safe.",
    yields_to=("NT401", "NT506", "NT601", "NT602", "NT603", "NT610"),
    check=check,
    bad=(
        Example(
            "a server behind the host: the answers are missing",
            """
            *raw
            -A PREROUTING -d 192.0.2.10 -p tcp --dport 80 -j CT --notrack  ### NT102
            COMMIT
            *filter
            :INPUT DROP [0:0]
            :FORWARD DROP [0:0]
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            -A FORWARD -d 192.0.2.10 -p tcp --dport 80 -j ACCEPT
            -A FORWARD -s 192.0.2.10 -p tcp --sport 80 -j ACCEPT
            COMMIT
            """,
            fixed="""
            *raw
            -A PREROUTING -d 192.0.2.10 -p tcp --dport 80 -j CT --notrack
            -A PREROUTING -s 192.0.2.10 -p tcp --sport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            :FORWARD DROP [0:0]
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            -A FORWARD -d 192.0.2.10 -p tcp --dport 80 -j ACCEPT
            -A FORWARD -s 192.0.2.10 -p tcp --sport 80 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "the answers are looked for in OUTPUT, where forwarded packets never come",
            """
            table inet raw {
                chain prerouting {
                    type filter hook prerouting priority raw; policy accept;
                    ip daddr 10.0.0.5 udp dport 5060 notrack  ### NT102
                }
                chain output {
                    type filter hook output priority raw; policy accept;
                    ip saddr 10.0.0.5 udp sport 5060 notrack
                }
            }
            table inet filter {
                chain forward {
                    type filter hook forward priority filter; policy drop;
                    ct state established,related accept
                    ip daddr 10.0.0.5 udp dport 5060 accept
                    ip saddr 10.0.0.5 udp sport 5060 accept
                }
            }
            """,
            host='{"interfaces": [{"name": "eth0", "addresses": ["192.0.2.1/24"]},'
            ' {"name": "eth1", "addresses": ["10.0.0.1/24"]}], "forwards_ipv4": true}',
        ),
        Example(
            "the two rules name different networks (IPv6)",
            {
                "rules.v6": """
                *raw
                -A PREROUTING -i eth0 -d 2001:db8:5::/64 -p udp --dport 53 -j CT --notrack
                -A PREROUTING -i eth1 -s 2001:db8:6::/64 -p udp --sport 53 -j CT --notrack  ### NT102
                COMMIT
                *filter
                :INPUT DROP [0:0]
                :FORWARD DROP [0:0]
                -A INPUT -p ipv6-icmp -j ACCEPT
                -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
                -A FORWARD -p udp --dport 53 -j ACCEPT
                -A FORWARD -p udp --sport 53 -j ACCEPT
                COMMIT
                """
            },
        ),
    ),
    good=(
        Example(
            "both directions in PREROUTING",
            """
            *raw
            -A PREROUTING -i eth0 -d 192.0.2.10 -p tcp --dport 80 -j CT --notrack
            -A PREROUTING -i eth1 -s 192.0.2.10 -p tcp --sport 80 -j CT --notrack
            COMMIT
            *filter
            :FORWARD DROP [0:0]
            -A FORWARD -d 192.0.2.10 -p tcp --dport 80 -j ACCEPT
            -A FORWARD -s 192.0.2.10 -p tcp --sport 80 -j ACCEPT
            -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "a host's own service on a router: its answers leave through OUTPUT",
            """
            *raw
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            -A OUTPUT -p udp --sport 53 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            :FORWARD DROP [0:0]
            -A INPUT -p udp --dport 53 -j ACCEPT
            -A FORWARD -i eth1 -o eth0 -j ACCEPT
            -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "traffic that FORWARD drops in any case",
            """
            *raw
            -A PREROUTING -d 192.0.2.66 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            :FORWARD DROP [0:0]
            -A INPUT -d 192.0.2.1 -p tcp --dport 22 -j ACCEPT
            -A INPUT -d 192.0.2.1 -m conntrack --ctstate ESTABLISHED -j ACCEPT
            -A FORWARD -d 192.0.2.66 -j DROP
            -A FORWARD -s 192.0.2.66 -j DROP
            -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "SYNPROXY in front of a server behind the host",
            """
            *raw
            -A PREROUTING -i eth0 -d 192.0.2.10 -p tcp --dport 80 --syn -j CT --notrack
            COMMIT
            *filter
            :FORWARD DROP [0:0]
            -A FORWARD -i eth0 -p tcp -m conntrack --ctstate INVALID,UNTRACKED -j SYNPROXY --mss 1460
            -A FORWARD -d 192.0.2.10 -p tcp --dport 80 -j ACCEPT
            -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT
            COMMIT
            """,
        ),
    ),
)
