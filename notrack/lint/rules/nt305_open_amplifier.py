"""NT305: a service that floods others is untracked and open to anyone."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.amplifiers import NAMES, Amplifier, amplifiers
from notrack.lint.finding import Fault
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.text.diagnostic import Related, Severity


def check(subject: Subject) -> Iterator[Fault]:
    for view in subject.views:
        groups: dict[int, list[Amplifier]] = {}
        for found in amplifiers(view):
            groups.setdefault(id(found.rule), []).append(found)
        for group in groups.values():
            if (fault := _fault(group)) is not None:
                yield fault


def _fault(group: list[Amplifier]) -> Fault | None:
    first = group[0]
    span = first.rule.origin.span
    if span is None:
        return None
    numbers = sorted({port for one in group for port, _ in one.ports})
    names = ", ".join(f"{NAMES[number]} ({number})" for number in numbers)
    others = {one.other.origin.span for one in group if one.other is not None}
    return Fault(
        span,
        f"{names}: untracked and open to anyone; one small forged question makes a flood for somebody else",
        "name the networks that may ask (`-s`), here and where the packets are untracked",
        related=tuple(Related(place, "together with this rule") for place in others if place is not None),
        witness=first.packets.witness(),
        notes=first.notes,
    )


RULE = Rule(
    code="NT305",
    name="open-amplifier",
    severity=Severity.WARNING,
    summary="a service that can be made to flood others is untracked and open to anyone",
    what="""
        Finds UDP services whose answers are far larger than the questions (memcached, CLDAP, SSDP, NTP,
        chargen, portmap, SNMP and their kind; memcached over TCP, too) where the rules untrack them and let
        in questions from everywhere.
    """,
    why="""
        The sender of a UDP packet is easily forged. Whoever asks such a service in the name of a victim has
        it flood the victim, up to fifty thousand times the size of the question. Untracked, nothing on this
        host counts or limits these packets any more, and nobody sees them in the table.
    """,
    limits="""
        DNS is not among them: a name server is commonly meant for everybody. A port counts only where a rule
        names it; whole protocols and blanket accepts are NT304 and NT301. What a rate, a set or another match
        lets through that no packet decides does not count as open. A public time server is reported, too:
        suppress it with a reason once its monitoring queries are off.
    """,
    mending="There is no automatic fix: who may ask is for the operator to say.",
    check=check,
    bad=(
        Example(
            "memcached accepted from everywhere",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p udp --dport 11211 -j CT --notrack
            -A OUTPUT -p udp --sport 11211 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p udp --dport 11211 -j ACCEPT  ### NT305
            -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "no rule of the filter names it: the rule that untracks it does",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp -m tcp --dport 80 -j NOTRACK
            -A PREROUTING -p tcp -m tcp --dport 11211 -j NOTRACK  ### NT305
            -A OUTPUT -p tcp -m tcp --sport 80 -j NOTRACK
            -A OUTPUT -p tcp -m tcp --sport 11211 -j NOTRACK
            COMMIT
            *filter
            :INPUT ACCEPT [0:0]
            -A INPUT -m state --state ESTABLISHED,RELATED,UNTRACKED -j ACCEPT
            -A INPUT -j REJECT --reject-with icmp-host-prohibited
            COMMIT
            """,
        ),
        Example(
            "nft, several at once, both families",
            """
            table inet fw {
              chain pre {
                type filter hook prerouting priority raw; policy accept;
                udp dport { 53, 123, 389 } notrack
              }
              chain out {
                type filter hook output priority raw; policy accept;
                udp sport { 53, 123, 389 } notrack
              }
              chain input {
                type filter hook input priority filter; policy drop;
                udp dport { 53, 123, 389 } accept  ### NT305
              }
            }
            """,
        ),
    ),
    good=(
        Example(
            "only the own network may ask",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p udp --dport 11211 -j CT --notrack
            -A OUTPUT -p udp --sport 11211 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -s 10.0.0.0/8 -p udp --dport 11211 -j ACCEPT
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "an authoritative name server is meant for everybody",
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
            COMMIT
            """,
        ),
        Example(
            "untracked for all, let in for few; and the answers to this host's own questions",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p udp --dport 161 -j CT --notrack
            -A OUTPUT -p udp --sport 161 -j CT --notrack
            -A PREROUTING -p udp --sport 123 --dport 123 -j CT --notrack
            -A OUTPUT -p udp --sport 123 --dport 123 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -s 192.0.2.10/32 -p udp --dport 161 -j ACCEPT
            -A INPUT -p udp --sport 123 --dport 123 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "limited by a rate, or dropped by the filter",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -p udp -m multiport --dports 123,11211 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p udp --dport 123 -m limit --limit 100/sec -j ACCEPT
            -A INPUT -s 10.0.0.0/8 -j ACCEPT
            COMMIT
            """,
        ),
    ),
)
