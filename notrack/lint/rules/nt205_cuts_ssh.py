"""NT205: no way is left to open an SSH connection to the host."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.accepts import widened
from notrack.lint.admission import Lost
from notrack.lint.finding import Fault
from notrack.lint.phrases import traffic
from notrack.lint.rule import Example, Rule
from notrack.lint.ssh import Cut, cut
from notrack.lint.subject import Subject
from notrack.netfilter.ways import Way
from notrack.text.diagnostic import Related, Severity


def check(subject: Subject) -> Iterator[Fault]:
    for found in cut(subject):
        yield _fault(subject, found)


def _fault(subject: Subject, found: Cut) -> Fault:
    line, fix = "", None
    if found.untracked and found.leg is not None:
        line, fix = widened(subject, Lost(found.view, Way.LOCAL_IN, found.packets, (found.leg,), found.rule))
    related = []
    if found.leg is not None and found.leg.span is not None and found.leg.span != found.span:
        related.append(Related(found.leg.span, "this untracks them"))
    return Fault(
        found.span, _message(found), _help(found, line), tuple(related), found.packets.witness(), fix
    )


def _message(found: Cut) -> str:
    what = traffic(found.packets)
    if found.untracked:
        return f"no SSH connection to the host can be opened: requests to {what} are UNTRACKED, never NEW"
    if found.leg is not None:
        return f"no SSH connection to the host can be opened: INPUT lets nothing in to {what}"
    return "no SSH connection to the host can be opened: nothing comes to this rule that it would let in"


def _help(found: Cut, line: str) -> str:
    if line:
        return f"accept UNTRACKED too: `{line}`; or leave SSH tracked"
    if found.untracked:
        return "let the untracked packets in by protocol and port, without a state; or leave SSH tracked"
    if found.leg is not None:
        return "let SSH in, from wherever you administer the host"
    return "put it in front of the rules that stop what it is for"


RULE = Rule(
    code="NT205",
    name="cuts-ssh",
    severity=Severity.ERROR,
    summary="no way is left to open an SSH connection to the host",
    what="""
        Finds rules under which nobody can open a connection to TCP port 22 of the host, although they speak
        of it: it is untracked and let in as NEW alone, or a rule that lets it in stands behind one that
        stops everything. If no other TCP port can be reached either, it may be any port.
    """,
    why="""
        One line, `raw PREROUTING --dport 22 -j NOTRACK`, on an ordinary stateful ruleset cuts SSH at once:
        the SYN is UNTRACKED, and neither NEW nor ESTABLISHED lets it in. Whoever loads it by SSH is out.
    """,
    limits="""
        INPUT must be a filter. Rules that never speak of port 22, and untrack nothing that they would let
        in, are passed over: such a host is administered otherwise. Where one family lets SSH in, a way is
        left. Whether the connection that loads the rules lives on is another question.
    """,
    mending="UNTRACKED is added to the states of the rule that lets SSH in, where there is one.",
    check=check,
    bad=(
        Example(
            "one NOTRACK rule in front of a stock ruleset",
            """
            *raw
            -A PREROUTING -p tcp -m tcp --dport 22 -j CT --notrack
            -A OUTPUT -p tcp -m tcp --sport 22 -j CT --notrack
            COMMIT
            *filter
            :INPUT ACCEPT [0:0]
            -A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -p icmp -j ACCEPT
            -A INPUT -i lo -j ACCEPT
            -A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT  ### NT205
            -A INPUT -j REJECT --reject-with icmp-host-prohibited
            COMMIT
            """,
            fixed="""
            *raw
            -A PREROUTING -p tcp -m tcp --dport 22 -j CT --notrack
            -A OUTPUT -p tcp -m tcp --sport 22 -j CT --notrack
            COMMIT
            *filter
            :INPUT ACCEPT [0:0]
            -A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -p icmp -j ACCEPT
            -A INPUT -i lo -j ACCEPT
            -A INPUT -p tcp -m state --state NEW,UNTRACKED -m tcp --dport 22 -j ACCEPT
            -A INPUT -j REJECT --reject-with icmp-host-prohibited
            COMMIT
            """,
        ),
        Example(
            "all of TCP is untracked, and the daemon listens elsewhere (nft)",
            """
            table inet raw {
                chain pre {
                    type filter hook prerouting priority raw;
                    meta l4proto tcp notrack
                }
                chain out {
                    type filter hook output priority raw;
                    meta l4proto tcp notrack
                }
            }
            table inet filter {
                chain input {
                    type filter hook input priority filter; policy drop;
                    meta l4proto { icmp, ipv6-icmp } accept
                    tcp dport 2222 ct state new accept  ### NT205
                }
            }
            """,
        ),
        Example(
            "the rule was added behind the one that rejects all the rest",
            """
            *filter
            :INPUT ACCEPT [0:0]
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -j REJECT --reject-with icmp-host-prohibited
            -A INPUT -p tcp --dport 22 -j ACCEPT  ### NT205
            COMMIT
            """,
        ),
    ),
    good=(
        Example(
            "SSH is let in from the office",
            """
            *raw
            -A PREROUTING -p tcp --dport 80 -j CT --notrack
            -A OUTPUT -p tcp --sport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -p tcp --dport 80 -j ACCEPT
            -A INPUT -s 198.51.100.0/24 -p tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "no rule for port 22, but a neighbour may do anything, and one more port is open",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p icmp -j ACCEPT
            -A INPUT -i lo -j ACCEPT
            -A INPUT -p tcp --dport 1331 -j ACCEPT
            -A INPUT -s 192.168.10.31 -j ACCEPT
            -A INPUT -p udp --sport 53 -j ACCEPT
            -A INPUT -j REJECT --reject-with icmp-host-prohibited
            COMMIT
            """,
        ),
        Example(
            "a desktop that lets nothing in: nobody speaks of SSH",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -i lo -j ACCEPT
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "port 22 is untracked, and INPUT lets everything in",
            """
            *raw
            -A PREROUTING -p tcp --dport 22 -j CT --notrack
            -A OUTPUT -p tcp --sport 22 -j CT --notrack
            COMMIT
            *filter
            :INPUT ACCEPT [0:0]
            -A INPUT -m conntrack --ctstate INVALID -j DROP
            COMMIT
            """,
        ),
    ),
)
