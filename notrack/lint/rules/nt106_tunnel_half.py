"""NT106: of a tunnel both ends of which send to one port, one direction alone is untracked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from notrack.lint.finding import Fault, Fix
from notrack.lint.mirrors import line, mirrored
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.lint.tunnels import Tunnel, half_tunnels
from notrack.ruleset.core import Hook
from notrack.text.diagnostic import Related, Severity

if TYPE_CHECKING:
    from notrack.lint.mending import Body


def check(subject: Subject) -> Iterator[Fault]:
    for view in subject.views:
        for tunnel in half_tunnels(view):
            yield from _faults(subject, tunnel)


def _faults(subject: Subject, tunnel: Tunnel) -> Iterator[Fault]:
    main = tunnel.answers or tunnel.leg
    if main.span is None or tunnel.leg.span is None:
        return
    came = tunnel.leg.hook is Hook.PREROUTING
    does = "the host itself sends" if came else "comes in"
    text, fix = _mended(subject, tunnel)
    hook = "OUTPUT" if came else "PREROUTING"
    other = Related(tunnel.leg.span, "this untracks one direction")
    yield Fault(
        main.span,
        f"{tunnel.name} goes to port {tunnel.port} both ways, from any port: what {does} is tracked",
        f"untrack port {tunnel.port} as destination in {hook} too" + (f": `{text}`" if text else ""),
        (other,) if main is not tunnel.leg else (),
        tunnel.packets.witness(),
        fix,
    )


def _mended(subject: Subject, tunnel: Tunnel) -> tuple[str, Fix | None]:
    from notrack.lint.mending import answered, find, rewritten

    hook = Hook.OUTPUT if tunnel.leg.hook is Hook.PREROUTING else Hook.PREROUTING
    if tunnel.answers is not None:
        old = find(subject.documents, tunnel.answers.rule)
        body = _to_port(old.body) if old else None
        edits = rewritten(old, body) if old and body else None
    else:
        made = mirrored(subject, tunnel.leg, hook)
        body = _to_port(made[1]) if made else None
        edits = answered(subject.documents, made[0], body, hook) if made and body else None
    if body is None:
        return "", None
    return line(body), Fix("untrack both directions by their destination", edits) if edits else None


def _to_port(body: Body) -> Body | None:
    """The rule with the port as destination, where it is named once, as source."""
    if body.text.count("sport") != 1 or "dport" in body.text:
        return None
    return replace(body, text=body.text.replace("sport", "dport"))


RULE = Rule(
    code="NT106",
    name="tunnel-half",
    severity=Severity.WARNING,
    summary="a tunnel such as VXLAN is untracked in one direction alone",
    what="""
        Finds NOTRACK rules for VXLAN, Geneve, GUE, GTP-U, BFD and their kind where only what comes in, or
        only what the host sends, leaves tracking. Mostly they are written like those of a service: to the
        port in PREROUTING, from the port in OUTPUT.
    """,
    why="""
        Both ends of such a tunnel send *to* the well-known port, each from a port that is chosen by a hash of
        what is inside. Nothing ever leaves from that port, so a rule for the answers matches nothing, and
        every port that the host sends from makes one more entry that is never answered.
    """,
    limits="""
        Known by their UDP ports: 2152, 3784, 3785, 4341, 4784, 4789, 4790, 6080, 6081, 6635, 6784, 8472. A
        tunnel on a port of one's own is not recognised; where its rules look like those of a service, they
        are taken for one.
    """,
    mending="""
        The rule for answers is changed into one by destination, or the missing one is added. Safe: tracking
        alone changes.
    """,
    check=check,
    bad=(
        Example(
            "VXLAN with the rules of a service",
            """
            *raw
            -A PREROUTING -p udp -m udp --dport 4789 -j CT --notrack
            -A OUTPUT -p udp -m udp --sport 4789 -j CT --notrack  ### NT106
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -s 10.0.0.0/24 -p udp -m udp --dport 4789 -j ACCEPT
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            COMMIT
            """,
            fixed="""
            *raw
            -A PREROUTING -p udp -m udp --dport 4789 -j CT --notrack
            -A OUTPUT -p udp -m udp --dport 4789 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -s 10.0.0.0/24 -p udp -m udp --dport 4789 -j ACCEPT
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "nft: Geneve from the peers, nothing for what is sent",
            """
            table inet raw {
                chain pre {
                    type filter hook prerouting priority raw;
                    ip saddr 10.0.0.0/24 udp dport 6081 notrack  ### NT106
                }
                chain out {
                    type filter hook output priority raw;
                    tcp sport 80 notrack
                }
            }
            table inet filter {
                chain input {
                    type filter hook input priority filter; policy drop;
                    ct state established accept
                    udp dport 6081 accept
                    meta l4proto ipv6-icmp accept
                }
            }
            """,
        ),
    ),
    good=(
        Example(
            "both directions by their destination",
            """
            *raw
            -A PREROUTING -s 10.0.0.0/24 -p udp --dport 4789 -j CT --notrack
            -A OUTPUT -d 10.0.0.0/24 -p udp --dport 4789 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -s 10.0.0.0/24 -p udp --dport 4789 -j ACCEPT
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "WireGuard sends from the port to which it listens: a service's rules are right",
            """
            *raw
            -A PREROUTING -p udp --dport 51820 -j CT --notrack
            -A OUTPUT -p udp --sport 51820 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p udp --dport 51820 -j ACCEPT
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "all of a service's rules, and those by destination as well",
            """
            *raw
            -A PREROUTING -p udp --dport 8472 -j CT --notrack
            -A OUTPUT -p udp --sport 8472 -j CT --notrack
            -A OUTPUT -p udp --dport 8472 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p udp --dport 8472 -j ACCEPT
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            COMMIT
            """,
        ),
    ),
)
