"""NT101: one direction of the host's own traffic is untracked, the other is tracked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from notrack.lint.finding import Fault, Fix
from notrack.lint.halves import Half, Kind
from notrack.lint.mirrors import adding, meant
from notrack.lint.phrases import traffic
from notrack.lint.rule import Example, Rule
from notrack.lint.shapes import Asks, asking
from notrack.lint.subject import Subject
from notrack.ruleset.core import Hook
from notrack.text.diagnostic import Related, Severity


def check(subject: Subject) -> Iterator[Fault]:
    for view in subject.views:
        for half in view.halves:
            if half.kind is Kind.ONE_WAY and half.leg.span is not None:
                yield _fault(subject, half)


def _fault(subject: Subject, half: Half) -> Fault:
    assert half.leg.span is not None
    line, fix = adding(subject, half.leg, _other(half))
    related = []
    if half.partner is not None and half.partner.span is not None:
        related.append(Related(half.partner.span, "this is not the other direction of it"))
    witness = half.packets.witness()
    notes = [f"that `{name}` holds" for name, holds in (witness.facts if witness else ()) if holds]
    if not half.view.model.tracks:
        notes.append("that something outside these rules keeps tracking on")
    return Fault(
        half.leg.span,
        _message(half),
        _help(half, line),
        tuple(related),
        witness,
        _offered(half, fix),
        tuple(notes),
        meant(half),
    )


def _offered(half: Half, fix: Fix | None) -> Fix | None:
    """The fix where no rule is meant for the answers; not safe where one is there for a part of them."""
    if fix is None or half.partner is not None:
        return None
    return replace(fix, safe=False) if half.partly else fix


def _other(half: Half) -> Hook:
    return Hook.OUTPUT if half.leg.hook is Hook.PREROUTING else Hook.PREROUTING


def _message(half: Half) -> str:
    what = traffic(half.packets)
    inward = half.leg.hook is Hook.PREROUTING
    here, there = ("come in", "leave") if inward else ("leave", "come in")
    asks = asking(half.packets)
    if asks is Asks.QUESTION:
        return f"requests to {what} {here} untracked, the answers {there} tracked: the table still fills"
    if asks is Asks.ANSWER:
        return f"answers from {what} {here} untracked, the requests {there} tracked: the table still fills"
    here, there = ("comes in", "leaves") if inward else ("leaves", "comes in")
    return f"{what} {here} untracked, what answers it {there} tracked: the table still fills"


def _help(half: Half, line: str) -> str:
    if half.partner is not None:
        return "make the two rules mirror each other: protocol, addresses, ports and interfaces exchanged"
    hook = _other(half).name
    if half.partly:
        text = f" (as in `{line}`)" if line else ""
        return f"{hook} untracks the other direction of a part of this alone: let both name the same{text}"
    return f"untrack the other direction in {hook} too" + (f": `{line}`" if line else "")


RULE = Rule(
    code="NT101",
    name="one-way-notrack",
    severity=Severity.ERROR,
    summary="requests are untracked and their answers are not, or the reverse",
    what="""
        Finds NOTRACK rules for what the host itself serves or asks for, where the answers to the packets
        that they take are tracked. Requests to a service come through PREROUTING and their answers leave
        through OUTPUT, so each NOTRACK rule needs its mirror in the other chain: source and destination,
        ports and interfaces exchanged.
    """,
    why="""
        Connection tracking sees one half of each connection. With NOTRACK in PREROUTING alone, the first
        answer is INVALID and the next ones are NEW: an entry appears all the same, the wrong way round, and
        the table fills as before. With NOTRACK in OUTPUT alone, an entry waits two minutes for an answer
        that it never sees, and a rule that drops INVALID kills the service.
    """,
    limits="""
        Where the host's own addresses are not known, a rule that untracks the answers of any of them counts
        as the mirror. Rules that could be for forwarded traffic, and are complete for that, are passed
        over. So are requests that no rule would let in in any state, a SYN that SYNPROXY answers, traffic
        to groups of hosts, and what nothing ever answers (syslog, SNMP traps, flow records, statsd).
    """,
    mending="""
        The mirrored rule is added. Safe where no rule is there for the answers at all; where one is there for
        a part of them, the whole may not be meant. Where one names something else, there is no fix.
    """,
    yields_to=("NT401", "NT506", "NT601", "NT602", "NT603", "NT610"),
    check=check,
    bad=(
        Example(
            "NOTRACK in PREROUTING alone",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            [7:420] -A PREROUTING -p tcp -m tcp --dport 80 -j CT --notrack  ### NT101
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -p tcp -m tcp --dport 80 -j ACCEPT
            COMMIT
            """,
            fixed="""
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            [7:420] -A PREROUTING -p tcp -m tcp --dport 80 -j CT --notrack
            [0:0] -A OUTPUT -p tcp -m tcp --sport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -p tcp -m tcp --dport 80 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "one of two ports is missing in OUTPUT, another rule has the wrong protocol",
            """
            *raw
            -A PREROUTING -p tcp -m multiport --dports 80,443 -j CT --notrack  ### NT101
            -A OUTPUT -p tcp --sport 80 -j CT --notrack
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            -A OUTPUT -p tcp --sport 53 -j CT --notrack  ### NT101
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            -A INPUT -p tcp -m multiport --dports 53,80,443 -j ACCEPT
            -A INPUT -p udp --dport 53 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "the host's own questions leave untracked, the answers come in tracked (IPv6)",
            {
                "rules.v6": """
                *raw
                -A OUTPUT -p udp --dport 53 -j CT --notrack  ### NT101
                COMMIT
                *filter
                :INPUT DROP [0:0]
                -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
                -A INPUT -p ipv6-icmp -j ACCEPT
                COMMIT
                """
            },
        ),
        Example(
            "nft: an output chain for one of two services",
            """
            table inet raw {
                chain prerouting {
                    type filter hook prerouting priority raw; policy accept;
                    udp dport 53 notrack
                    tcp dport { 80, 443 } notrack  ### NT101
                }
                chain output {
                    type filter hook output priority raw; policy accept;
                    udp sport 53 notrack
                }
            }
            table inet filter {
                chain input {
                    type filter hook input priority filter; policy drop;
                    ct state established,related accept
                    udp dport 53 accept
                    tcp dport { 80, 443 } accept
                    meta l4proto ipv6-icmp accept
                }
            }
            """,
        ),
        Example(
            "answers leave by any interface, and another interface lets the same service in",
            """
            *raw
            -A PREROUTING -i eth0 -p tcp --dport 80 -j CT --notrack
            -A OUTPUT -p tcp --sport 80 -j CT --notrack  ### NT101
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            -A INPUT -i eth0 -p tcp --dport 80 -j ACCEPT
            -A INPUT -i wg0 -j ACCEPT
            COMMIT
            """,
        ),
    ),
    good=(
        Example(
            "both directions, with a user chain",
            """
            *raw
            :SERVED - [0:0]
            -A PREROUTING -p tcp -j SERVED
            -A SERVED -p tcp -m multiport --dports 80,443 -j CT --notrack
            -A OUTPUT -p tcp -m multiport --sports 80,443 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            -A INPUT -p tcp -m multiport --dports 80,443 -j ACCEPT
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "a forwarded flow: both directions come through PREROUTING",
            """
            *raw
            -A PREROUTING -d 10.0.0.5 -p tcp --dport 8080 -j CT --notrack
            -A PREROUTING -s 10.0.0.5 -p tcp --sport 8080 -j CT --notrack
            COMMIT
            *filter
            :INPUT ACCEPT [0:0]
            :FORWARD DROP [0:0]
            -A FORWARD -d 10.0.0.5 -p tcp --dport 8080 -j ACCEPT
            -A FORWARD -s 10.0.0.5 -p tcp --sport 8080 -j ACCEPT
            -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "SYNPROXY: the SYN alone is untracked, one way, on purpose",
            """
            *raw
            -A PREROUTING -p tcp -m tcp --syn --dport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p tcp --dport 80 -m conntrack --ctstate INVALID,UNTRACKED -j SYNPROXY --sack-perm
            -A INPUT -m conntrack --ctstate INVALID -j DROP
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "either port in one match, and a rule in front of a drop that nothing answers",
            """
            *raw
            -A PREROUTING -p udp -m multiport --ports 53,123 -j CT --notrack
            -A OUTPUT -p udp -m multiport --ports 53,123 -j CT --notrack
            -A PREROUTING -s 203.0.113.0/24 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -s 203.0.113.0/24 -j DROP
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            -A INPUT -p udp -m multiport --ports 53,123 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "a DNS cache of the node on a virtual address: its own check of port 8080 never leaves the host",
            """
            *raw
            -A PREROUTING -d 169.254.20.10/32 -p udp -m udp --dport 53 -j CT --notrack
            -A PREROUTING -d 169.254.20.10/32 -p tcp -m tcp --dport 53 -j CT --notrack
            -A OUTPUT -s 169.254.20.10/32 -p tcp -m tcp --sport 8080 -j CT --notrack
            -A OUTPUT -d 169.254.20.10/32 -p tcp -m tcp --dport 8080 -j CT --notrack
            -A OUTPUT -d 169.254.20.10/32 -p udp -m udp --dport 53 -j CT --notrack
            -A OUTPUT -d 169.254.20.10/32 -p tcp -m tcp --dport 53 -j CT --notrack
            -A OUTPUT -s 169.254.20.10/32 -p udp -m udp --sport 53 -j CT --notrack
            -A OUTPUT -s 169.254.20.10/32 -p tcp -m tcp --sport 53 -j CT --notrack
            COMMIT
            *filter
            :INPUT ACCEPT [0:0]
            -A INPUT -d 169.254.20.10/32 -p udp -m udp --dport 53 -j ACCEPT
            -A INPUT -m conntrack --ctstate INVALID -j DROP
            COMMIT
            """,
        ),
        Example(
            "everything is untracked but what is named, in both directions",
            """
            table inet raw {
                chain prerouting {
                    type filter hook prerouting priority -300; policy accept;
                    tcp dport 22 accept
                    notrack
                }
                chain output {
                    type filter hook output priority -300; policy accept;
                    tcp sport 22 accept
                    notrack
                }
            }
            table inet filter {
                chain input {
                    type filter hook input priority 0; policy accept;
                    ct state invalid drop
                }
            }
            """,
        ),
    ),
)
