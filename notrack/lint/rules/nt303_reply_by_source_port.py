"""NT303: answers accepted by their source port let in whoever sends from that port."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.exposure import TCP, UDP, at_ports, example, from_anyone
from notrack.lint.finding import Fault, Fix
from notrack.lint.rule import Example, Rule
from notrack.lint.source_ports import Unguarded, unguarded
from notrack.lint.subject import Subject
from notrack.lint.view import View
from notrack.netfilter.ways import Way
from notrack.packets.intervals import IntervalSet
from notrack.text.diagnostic import Severity


def check(subject: Subject) -> Iterator[Fault]:
    for view in subject.views:
        for found in unguarded(view):
            if (fault := _fault(subject, view, found)) is not None:
                yield fault


def _fault(subject: Subject, view: View, found: Unguarded) -> Fault | None:
    from notrack.lint.narrowing import mended

    span = found.rule.origin.span
    if span is None:
        return None
    sources = ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in list(found.sources)[:4])
    who = "whoever sends" if from_anyone(found.packets) else "whoever these addresses belong to, sending"
    where = "every local port" if found.way is Way.LOCAL_IN else "every port of the machines behind"
    line, edits = mended(subject, view, found)
    return Fault(
        span,
        f"answers are let in by their source port: {who} from port {sources} reaches {where}",
        _help(found, line),
        witness=example(found.packets, [at_ports(found.packets, *wish) for wish in _VICTIMS]),
        fix=Fix("let in answers alone", edits, safe=False) if edits else None,
        notes=found.notes,
    )


_VICTIMS = ((UDP, IntervalSet.single(161)), (TCP, IntervalSet.single(22)), (TCP, IntervalSet.single(3306)))


def _help(found: Unguarded, line: str | None) -> str:
    if found.needless:
        return "take the rule out: answers of tracked connections are let in before they come to it"
    parts = ["the state ESTABLISHED"] if found.tracked else ["the ports that own connections start from"]
    if not found.tracked and TCP in found.protocols:
        parts.append("no bare SYN")
    told = f"ask for {' and '.join(parts)}" + (f": `{line.strip()}`" if line else "")
    if not found.tracked and from_anyone(found.packets):
        told += "; and name the servers that are asked, if they are known"
    return told


RULE = Rule(
    code="NT303",
    name="reply-by-source-port",
    severity=Severity.ERROR,
    summary="answers are accepted by their source port, which anybody can send from",
    what="""
        Finds rules of INPUT and FORWARD that accept packets because they come from the port of a service
        (`--sport 53`, `udp sport { 53, 123 }`) and do not see to it that they are answers: neither the state
        ESTABLISHED, nor the ports that own connections start from, nor (for TCP) that it is no bare SYN. Only
        what no other rule lets in counts. In FORWARD only rules count that let in the whole world.
    """,
    why="""
        Everybody chooses the port that he sends from. `-A INPUT -p udp --sport 53 -j ACCEPT` lets a packet
        from port 53 reach the SNMP daemon; `-p tcp --sport 80` opens SSH and the database to whoever binds
        port 80 first. A named server does not close it for UDP, since its address can be forged.
    """,
    limits="""
        UDP answers count as guarded from port 1024 up, because resolvers choose their ports there; TCP
        without bare SYN counts as guarded at every port, else from 32768 up (and in the range that the host's
        facts give). Matches that no packet decides (sets, rates) count as not holding, so a rule that
        rests on one is passed over. A rule that names a few destination ports is one for a service.
    """,
    mending="""
        The fix is unsafe: it stops what was let in. It adds the state ESTABLISHED where the flow is tracked,
        or takes the rule out where an earlier one lets in all that is ESTABLISHED;
        where it is not, `--dport 1024:65535` for UDP, and `! --syn` with the ephemeral range for TCP. The
        servers' addresses are for the operator to add.
    """,
    check=check,
    bad=(
        Example(
            "a host without tracking: name servers, time servers and web servers answer",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp -j CT --notrack
            -A PREROUTING -p udp -j CT --notrack
            -A OUTPUT -p tcp -j CT --notrack
            -A OUTPUT -p udp -j CT --notrack
            COMMIT
            *filter
            :INPUT ACCEPT [0:0]
            -A INPUT -i lo -j ACCEPT
            -A INPUT -p tcp --dport 22 -j ACCEPT
            -A INPUT -p tcp --sport 80 -j ACCEPT  ### NT303
            -A INPUT -p udp --sport 53 -j ACCEPT  ### NT303
            -A INPUT -p udp -m multiport --sports 53,123 -j ACCEPT  ### NT303
            -A INPUT -s 192.0.2.53/32 -p udp --sport 53 -j ACCEPT  ### NT303
            -A INPUT -j REJECT --reject-with icmp-host-prohibited
            COMMIT
            """,
        ),
        Example(
            "a stateful host: the rule is not needed, and open all the same",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -p udp --sport 53 -j ACCEPT  ### NT303
            -A INPUT -s 9.9.9.9/32 -p tcp -m tcp --sport 853 -j ACCEPT  ### NT303
            COMMIT
            """,
        ),
        Example(
            "ports from 1024 up, but a bare SYN comes in",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p tcp --sport 443 --dport 1024:65535 -j ACCEPT  ### NT303
            COMMIT
            """,
        ),
        Example(
            "a chain of its own, for IPv6",
            {
                "rules.v6": """
                *filter
                :INPUT DROP [0:0]
                :answers - [0:0]
                -A INPUT -p ipv6-icmp -j ACCEPT
                -A INPUT -p udp --sport 53 -j answers
                -A answers -s 2620:fe::fe/128 -j ACCEPT  ### NT303
                COMMIT
                """
            },
        ),
        Example(
            "a router: every UDP port behind it is reached from port 53",
            """
            *filter
            :FORWARD DROP [0:0]
            -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A FORWARD -d 198.51.100.0/24 -p udp --sport 53 -j ACCEPT  ### NT303
            COMMIT
            """,
        ),
        Example(
            "nft, one rule for two protocols",
            """
            table inet filter {
              chain input {
                type filter hook input priority filter; policy drop;
                iifname "lo" accept
                meta l4proto { tcp, udp } th sport 53 accept  ### NT303
                udp sport { 123, 67 } counter accept  ### NT303
              }
            }
            """,
        ),
    ),
    good=(
        Example(
            "the server, the ephemeral ports, no bare SYN",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -s 9.9.9.9/32 -p udp --sport 53 --dport 32768:60999 -j ACCEPT
            -A INPUT -p tcp --sport 80 --dport 32768:60999 ! --syn -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "the state says that it is an answer",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p udp --sport 53 -m state --state ESTABLISHED -j ACCEPT
            -A INPUT -p tcp -m multiport --sports 80,443 -m state --state ESTABLISHED,RELATED -j ACCEPT
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "both ends have a port of their own: NTP, DHCP, IKE",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p udp --sport 123 --dport 123 -j ACCEPT
            -A INPUT -p udp --sport 67 --dport 68 -j ACCEPT
            -A INPUT -p udp -m multiport --sports 500,4500 -m multiport --dports 500,4500 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "the policy accepts: the rule lets in nothing",
            """
            *filter
            :INPUT ACCEPT [0:0]
            -A INPUT -p udp --sport 53 -j ACCEPT
            -A INPUT -p tcp --dport 3306 -j DROP
            COMMIT
            """,
        ),
        Example(
            "a bare SYN was dropped before, and resolvers choose their ports from 1024 up",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p tcp --dport 22 -j ACCEPT
            -A INPUT -p tcp --syn -j DROP
            -A INPUT -p tcp --sport 80 -j ACCEPT
            -A INPUT -p udp --sport 53 --dport 1024:65535 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "answers of one's own servers on their way out, and a port of either end",
            """
            *filter
            :INPUT DROP [0:0]
            :FORWARD DROP [0:0]
            :OUTPUT DROP [0:0]
            -A OUTPUT -p tcp --sport 80 -j ACCEPT
            -A FORWARD -s 192.168.10.0/24 -p tcp --sport 80 -j ACCEPT
            -A INPUT -p tcp --sport 1024:65535 --dport 22 -j ACCEPT
            -A INPUT -p udp -m multiport --ports 53 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "loopback",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -i lo -p udp --sport 53 -j ACCEPT
            -A INPUT -s 127.0.0.53/32 -p udp --sport 53 -j ACCEPT
            COMMIT
            """,
        ),
    ),
)
