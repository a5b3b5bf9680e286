"""NT104: connections of the host to itself are half tracked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from notrack.lint.finding import Fault, Fix
from notrack.lint.loopback import Inside, half_inside, translates_output
from notrack.lint.phrases import traffic
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.lint.view import View
from notrack.ruleset.core import Hook
from notrack.text.diagnostic import Severity

if TYPE_CHECKING:
    from notrack.lint.mending import Written


def check(subject: Subject) -> Iterator[Fault]:
    for view in subject.views:
        for found in half_inside(view):
            if found.rule.origin.span is not None:
                yield _fault(subject, view, found)


def _fault(subject: Subject, view: View, found: Inside) -> Fault:
    assert found.rule.origin.span is not None
    from notrack.lint.mending import find

    written = find(subject.documents, found.rule)
    fix = None
    if written is not None and not translates_output(view):
        fix = _hurting(written) if found.hurts else _late(subject, written) if found.whole else None
    return Fault(
        found.rule.origin.span,
        _message(found),
        _help(found, written),
        witness=found.packets.witness(),
        fix=fix,
    )


def _message(found: Inside) -> str:
    if found.needless:
        return "what goes by lo has its entry from OUTPUT already: NOTRACK does nothing to it in PREROUTING"
    what = traffic(found.packets)
    if found.hurts:
        return f"the host's own connections to its {what} by lo are half tracked, and break as INVALID"
    return f"by lo, {what} leaves untracked, and the other direction of it, which leaves too, is tracked"


def _help(found: Inside, written: Written | None) -> str:
    if not found.needless and not found.hurts:
        return (
            "both directions of a connection by lo pass OUTPUT: untrack both there, or all that leaves by lo"
        )
    text = _OUTPUT if written is None or written.body.text.lstrip("i").startswith(("-", "p")) else _NFT
    return f"untrack all that leaves by lo, in front of the other rules: `{text}`"


_OUTPUT = "-A OUTPUT -o lo -j CT --notrack"
_NFT = 'oifname "lo" notrack'


def _late(subject: Subject, written: Written) -> Fix | None:
    """The mirror of a rule for all of lo: the same in OUTPUT."""
    from notrack.lint.mending import answered

    body = written.body.mirrored(Hook.OUTPUT)
    edits = answered(subject.documents, written, body.fresh(), Hook.OUTPUT) if body else None
    return Fix("untrack what leaves by lo", edits, safe=False) if edits else None


def _hurting(written: Written) -> Fix | None:
    """A rule for all of lo in front of the one that untracks half of it."""
    from notrack.lint.mending import before

    body = replace(written.body.fresh(), text=_lo_text(written))
    edits = before(written, body) if body.text else None
    return Fix("untrack what leaves by lo", edits, safe=False) if edits else None


def _lo_text(written: Written) -> str:
    text = written.body.text
    if text.startswith("-A OUTPUT "):
        return _OUTPUT
    return _NFT if written.table.partition(" ")[2] else ""


RULE = Rule(
    code="NT104",
    name="loopback-half-tracked",
    severity=Severity.WARNING,
    summary="connections of the host to itself are half tracked",
    what="""
        Finds NOTRACK rules about lo or loopback addresses that untrack one direction alone, NOTRACK for lo
        in PREROUTING without the same in OUTPUT, and rules for a service by which a local client's
        connection to it breaks, because a rule stops INVALID packets by lo.
    """,
    why="""
        Both directions of a connection by lo leave through OUTPUT first. `OUTPUT --sport 80` untracks the
        server's packets alone: the client's SYN makes an entry that never sees an answer, and the client's
        next packets are INVALID. In PREROUTING it is too late, for a packet keeps the entry that it has.
    """,
    limits="""
        A service whose rules leave local connections half tracked is named only where that breaks them;
        otherwise it costs an entry for each, and nothing is said.
    """,
    mending="""
        `OUTPUT -o lo` NOTRACK is added where the rule is about all of lo, or where connections break. Not
        safe: what leaves by lo is UNTRACKED then, and must be let through as that; nor is it translated.
        There is no fix where something translates in OUTPUT.
    """,
    check=check,
    bad=(
        Example(
            "NOTRACK for lo in PREROUTING alone",
            """
            *raw
            -A PREROUTING -i lo -j CT --notrack  ### NT104
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -i lo -j ACCEPT
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            COMMIT
            """,
            fixed="""
            *raw
            -A PREROUTING -i lo -j CT --notrack
            -A OUTPUT -o lo -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -i lo -j ACCEPT
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "a local client of a local service, and a drop of INVALID",
            """
            *raw
            -A PREROUTING -p tcp --dport 80 -j CT --notrack
            -A OUTPUT -p tcp --sport 80 -j CT --notrack  ### NT104
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A OUTPUT -m conntrack --ctstate INVALID -j DROP
            -A INPUT -i lo -j ACCEPT
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            -A INPUT -p tcp --dport 80 -j ACCEPT
            COMMIT
            """,
            fixed="""
            *raw
            -A PREROUTING -p tcp --dport 80 -j CT --notrack
            -A OUTPUT -o lo -j CT --notrack
            -A OUTPUT -p tcp --sport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A OUTPUT -m conntrack --ctstate INVALID -j DROP
            -A INPUT -i lo -j ACCEPT
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            -A INPUT -p tcp --dport 80 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "INPUT drops INVALID, and PREROUTING untracks what comes by eth0 alone",
            """
            *raw
            -A PREROUTING -i eth0 -p tcp --dport 80 -j CT --notrack
            -A OUTPUT -p tcp --sport 80 -j CT --notrack  ### NT104
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate INVALID -j DROP
            -A INPUT -i lo -j ACCEPT
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            -A INPUT -i eth0 -p tcp --dport 80 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "nft: one direction by lo",
            """
            table inet raw {
                chain out {
                    type filter hook output priority raw;
                    oifname "lo" tcp sport 6379 notrack  ### NT104
                }
            }
            table inet filter {
                chain input {
                    type filter hook input priority filter; policy drop;
                    iifname "lo" accept
                    ct state established accept
                    meta l4proto ipv6-icmp accept
                }
            }
            """,
        ),
    ),
    good=(
        Example(
            "all of lo, in both chains",
            """
            *raw
            -A PREROUTING -i lo -j CT --notrack
            -A OUTPUT -o lo -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -i lo -j ACCEPT
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "lo in OUTPUT alone: what leaves untracked stays so in PREROUTING",
            """
            *raw
            -A PREROUTING -p tcp --dport 80 -j CT --notrack
            -A OUTPUT -o lo -j CT --notrack
            -A OUTPUT -p tcp --sport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate INVALID -j DROP
            -A INPUT -i lo -j ACCEPT
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            -A INPUT -p tcp --dport 80 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "INPUT drops INVALID, but PREROUTING untracks what has no entry before it: a local client works",
            """
            *raw
            -A PREROUTING -p tcp --dport 80 -j CT --notrack
            -A OUTPUT -p tcp --sport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate INVALID -j DROP
            -A INPUT -i lo -j ACCEPT
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            -A INPUT -p tcp --dport 80 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "both directions to a loopback address",
            """
            *raw
            -A OUTPUT -d 127.0.0.1 -p tcp --dport 11211 -j CT --notrack
            -A OUTPUT -s 127.0.0.1 -p tcp --sport 11211 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -i lo -j ACCEPT
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            COMMIT
            """,
        ),
    ),
)
