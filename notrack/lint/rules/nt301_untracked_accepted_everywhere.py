"""NT301: an accept for everything that is untracked opens what nobody meant to open."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.exposure import TCP, UDP, assumed, at_ports, example
from notrack.lint.finding import Fault
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.lint.untracked_opening import STRAY, Excess, excesses
from notrack.lint.view import View
from notrack.packets.fields import Field
from notrack.packets.intervals import IntervalSet
from notrack.text.diagnostic import Related, Severity


def check(subject: Subject) -> Iterator[Fault]:
    for view in subject.views:
        by_rule: dict[int, list[Excess]] = {}
        for found in excesses(view):
            by_rule.setdefault(id(found.opened.rule), []).append(found)
        for group in by_rule.values():
            if (fault := _fault(view, group)) is not None:
                yield fault


def _fault(view: View, group: list[Excess]) -> Fault | None:
    first = group[0]
    span = first.opened.rule.origin.span
    if span is None:
        return None
    related: dict[object, Related] = {}
    for one in group:
        place = one.untracking.visit.rule.origin.span
        if place is not None:
            related.setdefault(place, Related(place, "what this rule untracks is let in there"))
    reached = first.packets.project(Field.DESTINATION_PORT)
    what = "any port" if reached.size() > STRAY else _ports(reached)
    return Fault(
        span,
        f"every packet that is untracked is let in here, whatever it is for: anyone reaches {what}",
        "name the services beside the state (`-p tcp --dport 80 -m conntrack --ctstate NEW,UNTRACKED "
        "-j ACCEPT`), and of replies the server, the ephemeral ports and `! --syn`",
        related=tuple(related.values()),
        witness=example(first.packets, [at_ports(first.packets, *wish) for wish in _VICTIMS]),
        notes=assumed(first.opened.packets),
    )


def _ports(values: IntervalSet) -> str:
    texts = [str(low) if low == high else f"{low}-{high}" for low, high in values]
    return f"port {texts[0]}" if len(texts) == 1 else f"ports {', '.join(texts[:6])}"


_VICTIMS = ((UDP, IntervalSet.single(161)), (TCP, IntervalSet.single(3306)), (TCP, IntervalSet.single(22)))

RULE = Rule(
    code="NT301",
    name="untracked-accepted-everywhere",
    severity=Severity.ERROR,
    summary="an accept for everything untracked opens far more than the services that were meant",
    what="""
        Finds accept rules for the state UNTRACKED that name no port (`-m conntrack --ctstate UNTRACKED -j
        ACCEPT`, `ct state established,related,untracked accept`), where the rules in `raw` untrack packets
        from anyone to any port, or to a service that trusts whoever reaches it (a database, a cache, a file
        service), and where nothing but this rule lets them in.
    """,
    why="""
        Such an accept turns every rule in `raw` into a permission. A NOTRACK for the answers of name servers
        (`-p udp --sport 53`) beside it lets any host of the Internet reach every UDP port of this machine, or
        (in FORWARD) of the machines behind it: it only has to send from port 53. The next NOTRACK rule that
        somebody adds opens its port to the world, too, without any change in `filter`.
    """,
    limits="""
        Where all that is untracked goes to a few named ports of services that are commonly public, the accept
        opens just these, and nothing is said; nor about packets of named peers, nor about interfaces that do
        not seem to lead to the world. Facts that no packet decides (sets, rates) count as not holding.
    """,
    mending="""
        There is no automatic fix: which services are meant is for the operator to say. Accept each by its
        port, `--dport 80 -m conntrack --ctstate NEW,UNTRACKED`, and answers by server and ephemeral ports.
    """,
    check=check,
    bad=(
        Example(
            "answers of name servers untracked by their source port, and everything untracked accepted",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            -A PREROUTING -p udp --sport 53 -j CT --notrack
            -A OUTPUT -p udp --dport 53 -j CT --notrack
            -A OUTPUT -p udp --sport 53 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m state --state RELATED,ESTABLISHED,UNTRACKED -j ACCEPT  ### NT301
            -A INPUT -p tcp --dport 22 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "a router before name servers: every UDP port behind it is open to whoever sends from port 53",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -d 198.51.100.53/32 -p udp --dport 53 -j CT --notrack
            -A PREROUTING -s 198.51.100.53/32 -p udp --sport 53 -j CT --notrack
            -A PREROUTING -s 198.51.100.53/32 -p udp --dport 53 -j CT --notrack
            -A PREROUTING -d 198.51.100.53/32 -p udp --sport 53 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            :FORWARD DROP [0:0]
            -A FORWARD -m state --state RELATED,ESTABLISHED,UNTRACKED -j ACCEPT  ### NT301
            -A FORWARD -d 198.51.100.53/32 -p tcp --dport 53 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "a chain for what is untracked, which accepts it all",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p udp --sport 123 -j CT --notrack
            -A OUTPUT -p udp --dport 123 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            :untracked - [0:0]
            -A INPUT -m conntrack --ctstate UNTRACKED -j untracked
            -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
            -A untracked -s 10.0.0.0/8 -j ACCEPT
            -A untracked -j ACCEPT  ### NT301
            COMMIT
            """,
        ),
        Example(
            "several services untracked, a cache among them",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp -m multiport --dports 80,443,11211 -j NOTRACK
            -A OUTPUT -p tcp -m multiport --sports 80,443,11211 -j NOTRACK
            COMMIT
            *filter
            :INPUT ACCEPT [0:0]
            -A INPUT -i lo -j ACCEPT
            -A INPUT -m state --state UNTRACKED -j ACCEPT  ### NT301
            -A INPUT -m state --state ESTABLISHED,RELATED -j ACCEPT
            -A INPUT -j REJECT --reject-with icmp-host-prohibited
            COMMIT
            """,
        ),
        Example(
            "IPv6: a whole protocol",
            {
                "rules.v6": """
                *raw
                :PREROUTING ACCEPT [0:0]
                :OUTPUT ACCEPT [0:0]
                -A PREROUTING -p tcp -j CT --notrack
                -A OUTPUT -p tcp -j CT --notrack
                COMMIT
                *filter
                :INPUT DROP [0:0]
                -A INPUT -p ipv6-icmp -j ACCEPT
                -A INPUT -m conntrack --ctstate UNTRACKED,ESTABLISHED -j ACCEPT  ### NT301
                COMMIT
                """
            },
        ),
        Example(
            "nft, both families at once, by a verdict map",
            """
            table inet fw {
              chain raw {
                type filter hook prerouting priority raw; policy accept;
                udp sport { 53, 123 } notrack
              }
              chain rawout {
                type filter hook output priority raw; policy accept;
                udp dport { 53, 123 } notrack
              }
              chain input {
                type filter hook input priority filter; policy drop;
                icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
                ct state vmap { established : accept, related : accept, untracked : accept }  ### NT301
                tcp dport 22 accept
              }
            }
            """,
        ),
    ),
    good=(
        Example(
            "each service accepted by its port, answers by server and ephemeral ports",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            -A PREROUTING -s 9.9.9.9/32 -p udp --sport 53 -j CT --notrack
            -A OUTPUT -p udp --sport 53 -j CT --notrack
            -A OUTPUT -d 9.9.9.9/32 -p udp --dport 53 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p udp --dport 53 -m conntrack --ctstate NEW,UNTRACKED -j ACCEPT
            -A INPUT -s 9.9.9.9/32 -p udp --sport 53 --dport 32768:60999 -j ACCEPT
            -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "a blanket accept, but just the web server's ports are untracked: it opens nothing else",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp -m multiport --dports 80,443 -j CT --notrack
            -A OUTPUT -p tcp -m multiport --sports 80,443 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED,UNTRACKED -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "a chain whose policy accepts: the accept overrides nothing",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -p udp --sport 53 -j CT --notrack
            COMMIT
            *filter
            :INPUT ACCEPT [0:0]
            -A INPUT -m conntrack --ctstate UNTRACKED -j ACCEPT
            -A INPUT -m conntrack --ctstate INVALID -j DROP
            COMMIT
            """,
        ),
        Example(
            "what is untracked comes from a network of one's own",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -s 10.20.0.0/16 -j CT --notrack
            -A OUTPUT -d 10.20.0.0/16 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate UNTRACKED -j ACCEPT
            -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "answers of name servers for ports that no service has, without a bare SYN",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp --sport 53 ! --syn -j CT --notrack
            -A OUTPUT -p tcp --dport 53 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate UNTRACKED,ESTABLISHED -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "loopback alone is untracked",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -i lo -j CT --notrack
            -A OUTPUT -o lo -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate UNTRACKED -j ACCEPT
            -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
            COMMIT
            """,
        ),
    ),
)
