"""NT304: a whole protocol is taken out of tracking."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.broad_untracking import Broad, broad
from notrack.lint.exposure import TCP
from notrack.lint.finding import Fault
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.netfilter.ways import Way
from notrack.text.diagnostic import Related, Severity


def check(subject: Subject) -> Iterator[Fault]:
    for view in subject.views:
        coming = list(broad(view, Way.LOCAL_IN))
        leaving = list(broad(view, Way.LOCAL_OUT)) if coming else []
        for found in coming:
            if (fault := _fault(found, leaving)) is not None:
                yield fault


def _fault(found: Broad, leaving: list[Broad]) -> Fault | None:
    span = found.untracking.visit.rule.origin.span
    if span is None:
        return None
    names = " and ".join("tcp" if protocol == TCP else "udp" for protocol in found.protocols)
    others = [one.untracking.visit.rule.origin.span for one in leaving if one.protocols == found.protocols]
    return Fault(
        span,
        f"no {names} packet is tracked any more, the answers to this host's own connections among them",
        "name the ports of the services that are meant, here and mirrored in OUTPUT; the rest stays tracked",
        related=tuple(Related(place, "and what leaves") for place in others if place is not None),
        witness=found.packets.witness(),
    )


RULE = Rule(
    code="NT304",
    name="everything-untracked",
    severity=Severity.WARNING,
    summary="a whole protocol is taken out of tracking",
    what="""
        Finds rules that untrack without naming a port or an address (`-p tcp -j NOTRACK`, a bare `notrack`)
        and leave nothing of TCP or UDP tracked.
    """,
    why="""
        With a whole protocol untracked the firewall cannot tell the answer to a connection of this host from
        a stranger's packet: everything the host asks needs an accept of its own, by server and port, and such
        accepts are easily too wide (NT303). Helpers, translation and every match of a state are lost as well.
        The busy services alone fill the table, and they have ports.
    """,
    limits="""
        If any packet of the protocol stays tracked (an earlier accept or return in `raw`, another interface),
        the rule is taken for a default with exceptions by choice, and nothing is said. What arrives over
        loopback does not count. OUTPUT alone is half a pair: NT101.
    """,
    mending="There is no automatic fix: which services are meant is for the operator to say.",
    check=check,
    bad=(
        Example(
            "both protocols, in both directions",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp -j NOTRACK  ### NT304
            -A PREROUTING -p udp -j NOTRACK  ### NT304
            -A OUTPUT -p tcp -j NOTRACK
            -A OUTPUT -p udp -j NOTRACK
            COMMIT
            *filter
            :INPUT ACCEPT [0:0]
            -A INPUT -p tcp --dport 22 -j ACCEPT
            -A INPUT -j REJECT --reject-with icmp-host-prohibited
            COMMIT
            """,
        ),
        Example(
            "everything that is not loopback, IPv6",
            {
                "rules.v6": """
                *raw
                :PREROUTING ACCEPT [0:0]
                :OUTPUT ACCEPT [0:0]
                -A PREROUTING ! -i lo -j CT --notrack  ### NT304
                -A OUTPUT ! -o lo -j CT --notrack
                COMMIT
                """
            },
        ),
        Example(
            "nft, without any condition",
            """
            table inet raw {
              chain pre {
                type filter hook prerouting priority raw; policy accept;
                notrack  ### NT304
              }
              chain out {
                type filter hook output priority raw; policy accept;
                notrack
              }
            }
            """,
        ),
    ),
    good=(
        Example(
            "the ports of services",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp -m multiport --dports 80,443 -j CT --notrack
            -A OUTPUT -p tcp -m multiport --sports 80,443 -j CT --notrack
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "untracked by default, tracked by choice",
            """
            table ip vyos_conntrack {
              chain PREROUTING {
                type filter hook prerouting priority -300; policy accept;
                counter jump FW_CONNTRACK
                counter jump NAT_CONNTRACK
                notrack
              }
              chain FW_CONNTRACK {
                ip saddr 10.0.0.0/8 accept
                return
              }
              chain NAT_CONNTRACK {
                return
              }
            }
            """,
        ),
        Example(
            "everything by default, but for one port of one protocol",
            """
            table inet raw {
              chain pre {
                type filter hook prerouting priority raw; policy accept;
                tcp dport 22 accept
                notrack
              }
            }
            """,
        ),
        Example(
            "one protocol by default, but for SSH",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 22 -j ACCEPT
            -A PREROUTING -p tcp -j CT --notrack
            -A OUTPUT -p tcp --sport 22 -j ACCEPT
            -A OUTPUT -p tcp -j CT --notrack
            COMMIT
            """,
        ),
        Example(
            "one interface, one protocol without ports",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -i eth1 -j CT --notrack
            -A OUTPUT -o eth1 -j CT --notrack
            -A PREROUTING -p gre -j CT --notrack
            -A OUTPUT -p gre -j CT --notrack
            COMMIT
            """,
        ),
    ),
    yields_to=("NT401", "NT403"),
)
