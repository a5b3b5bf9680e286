"""NT506: SYNPROXY without all that it needs."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.finding import Fault
from notrack.lint.proxies import Incomplete, Lack, incomplete
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.text.diagnostic import Related, Severity

_SAID = {
    Lack.STATES: (
        "SYNPROXY must see SYNs (UNTRACKED) and the ACKs that answer it (INVALID): not both match",
        "match both: `--ctstate INVALID,UNTRACKED`",
    ),
    Lack.UNTRACKED: (
        "no rule takes these SYNs out of tracking, so none comes to SYNPROXY as UNTRACKED",
        "in raw: `-A PREROUTING -p tcp --syn --dport PORT -j CT --notrack`, for SYNs alone",
    ),
    Lack.WIDE: (
        "more than the SYNs is untracked here: SYNPROXY gets every later ACK too, and drops it",
        "untrack SYNs alone: `-p tcp --syn`",
    ),
    Lack.LOOSE: (
        "nf_conntrack_tcp_loose is 1: the ACK that should come to SYNPROXY is taken for a NEW connection",
        "set net.netfilter.nf_conntrack_tcp_loose=0",
    ),
    Lack.SYN: (
        "the SYNs for SYNPROXY are stopped here, in front of it",
        "put the SYNPROXY rule in front",
    ),
    Lack.HANDSHAKE: (
        "the ACKs that complete the handshake with SYNPROXY are INVALID, and stopped here in front of it",
        "put the SYNPROXY rule in front of this one",
    ),
    Lack.ESTABLISHED: (
        "connections that SYNPROXY hands over are stopped here: they are ESTABLISHED from then on",
        "let ESTABLISHED packets through",
    ),
    Lack.ANSWERS: (
        "answers on connections that SYNPROXY hands over are stopped here: they are ESTABLISHED",
        "let ESTABLISHED packets through in this direction too",
    ),
}


def check(subject: Subject) -> Iterator[Fault]:
    for view in subject.views:
        for one in incomplete(view):
            message, help = _SAID[one.lack]
            yield Fault(one.span, message, help, _related(one), one.witness)


def _related(one: Incomplete) -> tuple[Related, ...]:
    place = one.entry.span
    return (Related(place, "SYNPROXY"),) if place is not None and place != one.span else ()


RULE = Rule(
    code="NT506",
    name="synproxy-incomplete",
    severity=Severity.WARNING,
    summary="SYNPROXY does not get what it needs, or what it hands over is stopped",
    what="""
        Follows the packets of a port behind SYNPROXY: SYNs must be untracked (they alone) and come to the
        rule, so must the ACK that completes the handshake, which is INVALID; and what is handed over must
        be let through as ESTABLISHED, in both directions. Names the rule or policy in the way.
    """,
    why="""
        SYNPROXY answers SYNs in the server's place and opens the real connection only when the client has
        proved itself. If a part is missing no client gets through, or SYN floods fill the table as before:
        `INVALID -j DROP` in front of it eats every handshake.
    """,
    limits="""
        `nf_conntrack_tcp_loose` must be 0; that is asked of the host's facts, and where they do not tell,
        it is taken for right.
    """,
    mending="There is no automatic fix: the place of the rules is for the operator to choose.",
    check=check,
    bad=(
        Example(
            "a drop of INVALID in front",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -p tcp --syn --dport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate INVALID -j DROP  ### NT506
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            -A INPUT -p tcp --dport 80 -m conntrack --ctstate INVALID,UNTRACKED -j SYNPROXY --mss 1460
            COMMIT
            """,
        ),
        Example(
            "one state alone; SYNs that are tracked; nothing for what is handed over",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -p tcp --syn -m multiport --dports 80,8080 -j CT --notrack
            COMMIT
            *filter
            :INPUT ACCEPT [0:0]
            :FORWARD DROP [0:0]  ### NT506
            -A INPUT -p tcp --dport 80 -m conntrack --ctstate UNTRACKED -j SYNPROXY --mss 1460  ### NT506
            -A INPUT -p tcp --dport 443 -m conntrack --ctstate INVALID,UNTRACKED -j SYNPROXY  ### NT506
            -A FORWARD -p tcp --dport 8080 -m conntrack --ctstate INVALID,UNTRACKED -j SYNPROXY --mss 1460
            COMMIT
            """,
        ),
        Example(
            "the whole connection is untracked",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 80 -j CT --notrack  ### NT506
            COMMIT
            *filter
            :INPUT ACCEPT [0:0]
            -A INPUT -p tcp --dport 80 -m conntrack --ctstate INVALID,UNTRACKED -j SYNPROXY --mss 1460
            -A INPUT -m conntrack --ctstate INVALID -j DROP
            COMMIT
            """,
        ),
        Example(
            "nft, and the host knows its setting",
            """
            table ip t {
              chain pre {
                type filter hook prerouting priority raw; policy accept;
                tcp dport 80 tcp flags & (fin | syn | rst | ack) == syn notrack
              }
              chain input {
                type filter hook input priority filter; policy accept;
                tcp dport 80 ct state invalid,untracked synproxy mss 1460 wscale 7 sack-perm  ### NT506
                ct state invalid drop
              }
            }
            """,
            host='{"tcp_loose": true}',
        ),
    ),
    good=(
        Example(
            "all of it",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -p tcp --syn --dport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p tcp --dport 80 -m conntrack --ctstate INVALID,UNTRACKED -j SYNPROXY --mss 1460
            -A INPUT -m conntrack --ctstate INVALID -j DROP
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            -A INPUT -p tcp --dport 80 -m conntrack --ctstate NEW -j ACCEPT
            COMMIT
            """,
            host='{"tcp_loose": false}',
        ),
    ),
    looks_wrong=(
        Example(
            "a drop of INVALID for other ports stands in front; the policy accepts the rest",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -i eth0 -p tcp --syn --dport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT ACCEPT [0:0]
            -A INPUT -p tcp ! --dport 80 -m conntrack --ctstate INVALID -j DROP
            -A INPUT -i eth0 -p tcp --dport 80 -m conntrack --ctstate INVALID,UNTRACKED -j SYNPROXY --mss 1460
            -A INPUT -m conntrack --ctstate INVALID -j DROP
            COMMIT
            """,
        ),
    ),
)
