"""NT401: packets are untracked that the nat table would translate."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.finding import Fault
from notrack.lint.forwarding import is_for_services
from notrack.lint.phrases import traffic
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.lint.translations import Conflict, Part
from notrack.lint.view import View
from notrack.text.diagnostic import Related, Severity
from notrack.text.source import Span


def check(subject: Subject) -> Iterator[Fault]:
    for view in subject.views:
        groups: dict[Span, list[Conflict]] = {}
        for found in _conflicts(view):
            span = found.untracking.visit.rule.origin.span
            if span is not None:
                groups.setdefault(span, []).append(found)
        for span, group in groups.items():
            yield _fault(span, group)


def _conflicts(view: View) -> Iterator[Conflict]:
    """The conflicts of a view but for those of a service's rule that is not local (NT403)."""
    made = view.translations
    for found in made.conflicts:
        if not (found.source and found.part is Part.QUESTIONS and is_for_services(made, found.untracking)):
            yield found


def _fault(span: Span, group: list[Conflict]) -> Fault:
    first = group[0]
    places = {one.translator.rule.origin.span for one in group} - {None}
    related = [Related(place, "this translation never happens") for place in places if place is not None]
    return Fault(
        span,
        _message(first),
        "untrack only what is not translated: leave tracked (`-j ACCEPT` in front of this rule) what the nat "
        "table asks for, and the answers to it",
        related=tuple(sorted(related, key=lambda one: one.span.start)),
        witness=first.packets.witness(),
    )


def _message(one: Conflict) -> str:
    if one.part is Part.ANSWERS:
        return "answers to translated connections are untracked here: they are never translated back"
    what = traffic(one.packets)
    if one.source:
        return f"{what} is untracked here and never translated: it leaves with its inner address"
    return f"{what} is untracked here, so the nat table never sees it and nothing is translated"


RULE = Rule(
    code="NT401",
    name="notrack-on-translated-flow",
    severity=Severity.ERROR,
    summary="packets are untracked that the nat table would translate",
    what="""
        Finds rules that untrack packets (or the answers to them) of flows which a rule for DNAT, REDIRECT,
        SNAT or MASQUERADE would translate. It is decided exactly: the same rules without any NOTRACK are
        asked what they would translate, and what of that is untracked here.
    """,
    why="""
        Translation belongs to connection tracking: the nat table is never asked about an untracked packet,
        and an untracked answer is never translated back. A published port is refused by the gateway itself,
        its rule in the nat table counts nothing; clients of an inner network leave with private addresses
        and get no answer.
    """,
    limits="""
        The host's own packets that a masquerade meets are passed over, since they have the address that they
        would get. Where a rule names addresses and nothing tells where they are, routing is given the benefit
        of the doubt. An address that a DNS cache on a node of Kubernetes answers at is untracked on purpose.
        Facts that no packet decides count as not holding. A NOTRACK for a service of this host that also
        catches forwarded flows is NT403; one that takes an answer by chance is NT402; `-o lo` is NT507.
    """,
    mending="There is no automatic fix: either the NOTRACK or the translation is not meant.",
    check=check,
    bad=(
        Example(
            "a published port",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 80 -m addrtype --dst-type LOCAL -j CT --notrack  ### NT401
            -A OUTPUT -p tcp --sport 80 -j CT --notrack
            COMMIT
            *nat
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -i eth0 -p tcp --dport 80 -j DNAT --to-destination 10.0.0.5:8080
            COMMIT
            """,
        ),
        Example(
            "the inner server's answers",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -s 10.0.0.5/32 -p tcp --sport 8080 -j CT --notrack  ### NT401
            COMMIT
            *nat
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -d 198.51.100.1/32 -p tcp --dport 80 -j DNAT --to-destination 10.0.0.5:8080
            COMMIT
            """,
        ),
        Example(
            "a port redirected to another, whose answers leave untracked",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 8080 -j CT --notrack
            -A OUTPUT -p tcp --sport 8080 -j CT --notrack  ### NT401
            COMMIT
            *nat
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 8080
            COMMIT
            """,
        ),
        Example(
            "an inner network untracked on a gateway that masquerades it",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -s 192.168.1.0/24 -p udp -j CT --notrack  ### NT401
            COMMIT
            *nat
            :POSTROUTING ACCEPT [0:0]
            -A POSTROUTING -o eth0 -j MASQUERADE
            COMMIT
            """,
        ),
        Example(
            "everything that comes from the world, on a masquerading gateway",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -i eth0 -j CT --notrack  ### NT401
            COMMIT
            *nat
            :POSTROUTING ACCEPT [0:0]
            -A POSTROUTING -s 192.168.1.0/24 -o eth0 -j MASQUERADE
            COMMIT
            """,
        ),
        Example(
            "IPv6: a service of the cluster reached from this host",
            {
                "rules.v6": """
                *raw
                :PREROUTING ACCEPT [0:0]
                :OUTPUT ACCEPT [0:0]
                -A PREROUTING -p udp --sport 53 --dport 1024:65535 -j CT --notrack  ### NT401
                -A OUTPUT -p udp --dport 53 -j CT --notrack  ### NT401
                COMMIT
                *nat
                :OUTPUT ACCEPT [0:0]
                -A OUTPUT -d fd00::53/128 -p udp --dport 53 -j DNAT --to-destination [fd00:1::7]:53
                COMMIT
                """
            },
        ),
        Example(
            "nft, a redirect for a transparent proxy",
            """
            table ip gate {
              chain raw {
                type filter hook prerouting priority raw; policy accept;
                tcp dport { 80, 443 } notrack  ### NT401
                tcp sport { 80, 443 } notrack
              }
              chain nat {
                type nat hook prerouting priority dstnat; policy accept;
                iifname "lan0" tcp dport 80 redirect to :3128
              }
            }
            """,
        ),
    ),
    good=(
        Example(
            "what is translated stays tracked",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p udp --dport 53 -m addrtype --dst-type LOCAL -j CT --notrack
            -A OUTPUT -p udp --sport 53 -j CT --notrack
            COMMIT
            *nat
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 80 -j DNAT --to-destination 10.0.0.5:8080
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "the same port, at another address and by another interface",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -d 198.51.100.2/32 -p tcp --dport 80 -j CT --notrack
            -A OUTPUT -s 198.51.100.2/32 -p tcp --sport 80 -j CT --notrack
            COMMIT
            *nat
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -d 198.51.100.1/32 -p tcp --dport 80 -j DNAT --to-destination 10.0.0.5:80
            COMMIT
            """,
        ),
        Example(
            "an accept in raw keeps the published port tracked",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 443 -j ACCEPT
            -A PREROUTING -p tcp --dport 1:1023 -m addrtype --dst-type LOCAL -j CT --notrack
            -A OUTPUT -p tcp --sport 443 -j ACCEPT
            -A OUTPUT -p tcp --sport 1:1023 -j CT --notrack
            COMMIT
            *nat
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 443 -j DNAT --to-destination 10.0.0.5
            COMMIT
            """,
        ),
        Example(
            "a DNS cache on a node goes past kube-proxy's translation on purpose",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -d 10.96.0.10/32 -p udp -m udp --dport 53 -j CT --notrack
            -A OUTPUT -s 10.96.0.10/32 -p udp -m udp --sport 53 -j CT --notrack
            -A OUTPUT -d 10.96.0.10/32 -p udp -m udp --dport 53 -j CT --notrack
            COMMIT
            *nat
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            :KUBE-SERVICES - [0:0]
            :KUBE-SEP-A - [0:0]
            -A PREROUTING -j KUBE-SERVICES
            -A OUTPUT -j KUBE-SERVICES
            -A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m udp --dport 53 -j KUBE-SEP-A
            -A KUBE-SEP-A -p udp -j DNAT --to-destination 10.244.0.4:53
            COMMIT
            """,
        ),
        Example(
            "a service that a server behind it asks, and connections of the host to that server",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -s 10.8.0.5/32 -p tcp --dport 1:11211 -j CT --notrack
            -A OUTPUT -d 10.8.0.5/32 -p tcp --sport 1:11211 -j CT --notrack
            COMMIT
            *nat
            :OUTPUT ACCEPT [0:0]
            -A OUTPUT -d 192.0.2.80/32 -p tcp --dport 8443 -j DNAT --to-destination 10.8.0.5:443
            COMMIT
            """,
        ),
        Example(
            "a masquerade beside services of the gateway's own address",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -d 198.51.100.1/32 -p tcp -m multiport --dports 80,443 -j CT --notrack
            -A OUTPUT -s 198.51.100.1/32 -p tcp -m multiport --sports 80,443 -j CT --notrack
            COMMIT
            *nat
            :POSTROUTING ACCEPT [0:0]
            -A POSTROUTING -o eth0 -j MASQUERADE
            COMMIT
            """,
        ),
        Example(
            "a trusted network beside its own masquerade, and a published port at an address in it",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 443 -j ACCEPT
            -A PREROUTING -s 10.8.0.0/24 -m addrtype --dst-type LOCAL -j CT --notrack
            -A OUTPUT -o lo -j ACCEPT
            -A OUTPUT -d 10.8.0.0/24 -j CT --notrack
            COMMIT
            *nat
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            :POSTROUTING ACCEPT [0:0]
            -A PREROUTING -d 10.8.0.1/32 -p tcp --dport 443 -j DNAT --to-destination 10.8.1.5
            -A OUTPUT -d 10.8.0.1/32 -p tcp --dport 443 -j DNAT --to-destination 10.8.1.5
            -A POSTROUTING -s 10.8.0.0/24 -o eth0 -j MASQUERADE
            COMMIT
            """,
        ),
        Example(
            "traffic between inner networks, which never leaves by the outer interface",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -s 192.168.1.0/24 -d 192.168.2.0/24 -j CT --notrack
            -A PREROUTING -s 192.168.2.0/24 -d 192.168.1.0/24 -j CT --notrack
            COMMIT
            *nat
            :POSTROUTING ACCEPT [0:0]
            -A POSTROUTING -o eth0 -j MASQUERADE
            COMMIT
            """,
        ),
    ),
)
