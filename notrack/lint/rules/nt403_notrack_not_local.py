"""NT403: a NOTRACK for a service of this host that takes forwarded packets, too."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.finding import Fault, Fix
from notrack.lint.forwarding import Stray, evidence, strays
from notrack.lint.phrases import traffic
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.lint.view import View
from notrack.text.diagnostic import Related, Severity


def check(subject: Subject) -> Iterator[Fault]:
    for view in subject.views:
        if view.host.forwards(view.family) is False or not view.untracks:
            continue
        for found in strays(view.translations):
            if (fault := _fault(subject, view, found)) is not None:
                yield fault


def _fault(subject: Subject, view: View, found: Stray) -> Fault | None:
    from notrack.lint.mending import Wording, find, rewritten

    rule = found.untracking.visit.rule
    span = rule.origin.span
    if span is None:
        return None
    written = find(subject.documents, rule)
    local = Wording("-m addrtype --dst-type LOCAL", "fib daddr type local")
    body = written.body.narrowed(local) if written else None
    edits = rewritten(written, body) if written and body else None
    what = traffic(found.packets)
    if found.translated is not None:
        end = "it leaves with its inner address, never translated"
    else:
        end = "the answers are tracked, so the connection is half tracked"
    return Fault(
        span,
        f"this takes {what} of other hosts, too, that is only forwarded here: {end}",
        "take only what is for this host" + (f": `{body.text.strip()}`" if body else ""),
        related=_related(view, found),
        witness=found.packets.witness(),
        fix=Fix("take only what is for this host", edits) if edits else None,
        notes=_notes(view),
    )


def _related(view: View, found: Stray) -> tuple[Related, ...]:
    if found.translated is not None and (place := found.translated.translator.rule.origin.span) is not None:
        return (Related(place, "would translate it"),)
    place = evidence(view)
    return (Related(place, "shows that this host forwards"),) if place is not None else ()


def _notes(view: View) -> tuple[str, ...]:
    known = view.host.forwards(view.family)
    return () if known else ("that the host forwards, as its rules suggest",)


RULE = Rule(
    code="NT403",
    name="notrack-not-local",
    severity=Severity.ERROR,
    summary="a NOTRACK by port alone, on a host that forwards",
    what="""
        Finds rules in PREROUTING that untrack a service of this host by its port and so take forwarded
        packets to the same port of other hosts as well. That the host forwards is a fact of the host, or is
        seen from its rules: a masquerade or SNAT, an accept in FORWARD that names the way out.
    """,
    why="""
        PREROUTING sees what is forwarded before routing decides about it. A client behind this gateway that
        opens a connection to somebody else's port 8080 is untracked by a rule for the gateway's own port
        8080: it leaves with its private address and gets no answer; without translation, half of the
        connection is tracked and a state rule in FORWARD stops it.
    """,
    limits="""
        A pair of rules in PREROUTING alone, one for each direction, is meant for forwarded flows and is
        passed over. So is a rule that names the destination, or the outer interface of a gateway that
        translates, and what FORWARD would not let through.
    """,
    mending="""
        The fix is safe: it adds `-m addrtype --dst-type LOCAL` (nft: `fib daddr type local`). Naming the
        host's address (`-d`) does as well. Broadcast and multicast are no longer taken.
    """,
    check=check,
    bad=(
        Example(
            "a gateway with a service of its own",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 443 -j CT --notrack  ### NT403
            -A OUTPUT -p tcp --sport 443 -j CT --notrack
            COMMIT
            *nat
            :POSTROUTING ACCEPT [0:0]
            -A POSTROUTING -o eth0 -j MASQUERADE
            COMMIT
            """,
            fixed="""
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 443 -m addrtype --dst-type LOCAL -j CT --notrack
            -A OUTPUT -p tcp --sport 443 -j CT --notrack
            COMMIT
            *nat
            :POSTROUTING ACCEPT [0:0]
            -A POSTROUTING -o eth0 -j MASQUERADE
            COMMIT
            """,
        ),
        Example(
            "a router that translates nothing",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p udp --dport 53 -j CT --notrack  ### NT403
            -A OUTPUT -p udp --sport 53 -j CT --notrack
            COMMIT
            *filter
            :FORWARD DROP [0:0]
            -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A FORWARD -i eth1 -o eth0 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "nft, both families, on a host that is known to forward",
            """
            table inet fw {
              chain pre {
                type filter hook prerouting priority raw; policy accept;
                tcp dport { 80, 443 } notrack  ### NT403
              }
              chain out {
                type filter hook output priority raw; policy accept;
                tcp sport { 80, 443 } notrack
              }
              chain forward {
                type filter hook forward priority filter; policy accept;
                ct state invalid drop
              }
            }
            """,
            host='{"forwards_ipv4": true, "forwards_ipv6": true}',
        ),
    ),
    good=(
        Example(
            "only what is for the host",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 443 -m addrtype --dst-type LOCAL -j CT --notrack
            -A OUTPUT -p tcp --sport 443 -j CT --notrack
            COMMIT
            *nat
            :POSTROUTING ACCEPT [0:0]
            -A POSTROUTING -o eth0 -j MASQUERADE
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "an ordinary server: nothing says that it forwards",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 80 -j CT --notrack
            -A OUTPUT -p tcp --sport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            :FORWARD DROP [0:0]
            :services - [0:0]
            -A INPUT -j services
            -A FORWARD -j services
            -A services -p tcp --dport 80 -j ACCEPT
            -A services -m conntrack --ctstate ESTABLISHED -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "a gateway whose rule names the outer interface: nothing from there is for others",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -i eth0 -p tcp --dport 443 -j CT --notrack
            -A OUTPUT -o eth0 -p tcp --sport 443 -j CT --notrack
            COMMIT
            *nat
            :POSTROUTING ACCEPT [0:0]
            -A POSTROUTING -s 10.8.0.0/24 -o eth0 -j MASQUERADE
            COMMIT
            """,
        ),
        Example(
            "a router with both directions in PREROUTING",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 80 -j CT --notrack
            -A PREROUTING -p tcp --sport 80 -j CT --notrack
            COMMIT
            *filter
            :FORWARD DROP [0:0]
            -A FORWARD -i eth1 -o eth0 -j ACCEPT
            -A FORWARD -i eth0 -o eth1 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "the address says that it is local; FORWARD lets nothing through",
            {
                "rules.v4": """
                *raw
                :PREROUTING ACCEPT [0:0]
                :OUTPUT ACCEPT [0:0]
                -A PREROUTING -d 198.51.100.1/32 -p tcp --dport 80 -j CT --notrack
                -A OUTPUT -s 198.51.100.1/32 -p tcp --sport 80 -j CT --notrack
                COMMIT
                *nat
                :POSTROUTING ACCEPT [0:0]
                -A POSTROUTING -o eth0 -j MASQUERADE
                COMMIT
                """,
                "rules.v6": """
                *raw
                :PREROUTING ACCEPT [0:0]
                :OUTPUT ACCEPT [0:0]
                -A PREROUTING -p tcp --dport 80 -j CT --notrack
                -A OUTPUT -p tcp --sport 80 -j CT --notrack
                COMMIT
                *filter
                :FORWARD DROP [0:0]
                COMMIT
                """,
            },
            host='{"forwards_ipv4": true, "forwards_ipv6": true}',
        ),
    ),
    yields_to=("NT401",),
)
