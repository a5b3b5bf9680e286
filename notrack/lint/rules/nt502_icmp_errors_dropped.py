"""NT502: ICMP errors about untracked flows are dropped: large answers vanish."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from notrack.lint.errors import NAMES, Loss, losses
from notrack.lint.finding import Fault, Fix
from notrack.lint.phrases import traffic
from notrack.lint.rule import Example, Rule
from notrack.lint.shadows import causes
from notrack.lint.stopping import Decision, asks_state, stopping
from notrack.lint.subject import Subject
from notrack.lint.view import View
from notrack.netfilter.guards import guard_set
from notrack.packets.address import Family
from notrack.packets.fields import Field, State
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Among, Literal, Verdict
from notrack.text.diagnostic import Related, Severity
from notrack.text.source import Span

if TYPE_CHECKING:
    from notrack.lint.mending import Written


def check(subject: Subject) -> Iterator[Fault]:
    for view in subject.views:
        if not view.untracks and view.may_track:
            continue
        told: set[Span] = set()
        for loss in losses(view):
            for fault in _faults(subject, view, loss):
                if fault.span not in told:
                    told.add(fault.span)
                    yield fault


def _faults(subject: Subject, view: View, loss: Loss) -> Iterator[Fault]:
    """What stops the errors: one fault for each place."""
    space, left = view.model.space, loss.errors
    for _ in range(_MOST):
        witness = left.witness()
        decision = stopping(view, loss.way, witness) if witness is not None else None
        if witness is None or decision is None:
            return
        leg = loss.leg(witness.packet)
        span = decision.span or (leg.span if leg else None)
        if span is not None:
            flows = loss.flows & leg.on(loss.way) if leg is not None else loss.flows
            message = _message(view, flows, leg is not None, decision)
            related = _related(leg.span if leg else None, span)
            fix = _fix(subject, view.family, decision)
            late = causes(subject, left, State.INVALID)
            yield Fault(span, message, _help(view, decision), related, witness, fix, causes=late)
        if decision.rule is None:
            return
        left = left - PacketSet(space, guard_set(space, decision.rule.guard))


def _message(view: View, flows: PacketSet, untracked: bool, decision: Decision) -> str:
    error = NAMES[view.family]
    flow = f"{'untracked ' if untracked else ''}{traffic(flows)}"
    if asks_state(decision.rule, State.INVALID):
        return f"this drops the ICMP error `{error}` about {flow}: such an error is INVALID, never RELATED"
    return f"the ICMP error `{error}` about {flow} is dropped here: large packets vanish for good"


def _help(view: View, decision: Decision) -> str:
    rule = accept_line(view.family, decision)
    place = "in front of it" if decision.rule is not None else "in this chain"
    return f"accept it {place}: `{rule}`"


def accept_line(family: Family, decision: Decision) -> str:
    """The rule that lets the error in, in the words of the table."""
    if " " in decision.step.table.name:
        match = "icmp type { destination-unreachable, time-exceeded, parameter-problem }"
        if family is Family.IPV6:
            match = (
                "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem }"
            )
        return f"{match} accept"
    match = "-p icmp --icmp-type destination-unreachable"
    if family is Family.IPV6:
        match = "-p ipv6-icmp --icmpv6-type packet-too-big"
    return f"-A {decision.step.chain.name} {match} -j ACCEPT"


def _fix(subject: Subject, family: Family, decision: Decision) -> Fix | None:
    """The rule put in front of what stops the error, or at the end of the chain whose policy does."""
    from notrack.lint.mending import Wording, appended, before, deleted, find

    step = decision.step
    text = accept_line(family, decision).removeprefix(f"-A {step.chain.name} ")
    rule = Wording(None, text) if " " in step.table.name else Wording(text, None)
    edits = None
    if decision.rule is None:
        edits = appended(subject.documents, step.table, step.chain, rule)
    elif (written := find(subject.documents, decision.rule)) is not None:
        later = _accepted_later(subject, decision)
        body = later.body if later is not None else written.body.instead(rule)
        edits = before(written, body) if body is not None else None
        gone = deleted(later) if later is not None else ()
        edits = None if edits is None or gone is None else (*edits, *gone)
    return Fix("let the ICMP error in", edits) if edits else None


def _accepted_later(subject: Subject, decision: Decision) -> Written | None:
    """The rule behind the one that stops the error which is meant to let it in: it only stands too late."""
    from notrack.lint.mending import find

    rules = decision.step.chain.rules
    for rule in rules[rules.index(decision.rule) + 1 :] if decision.rule in rules else ():
        if rule.actions == (Verdict.ACCEPT,) and any(_is_error(literal) for literal in rule.guard):
            return find(subject.documents, rule)
    return None


def _is_error(literal: Literal) -> bool:
    """Whether a rule asks for ICMP errors by their types."""
    errors = (2, 3)  # packet too big; destination unreachable
    return (
        isinstance(literal, Among)
        and literal.field is Field.ICMP_TYPE
        and not literal.negated
        and any(kind in literal.values for kind in errors)
    )


def _related(place: Span | None, span: Span) -> tuple[Related, ...]:
    return (Related(place, "takes the flow out of tracking"),) if place is not None and place != span else ()


_MOST = 6  # places that are named for one part of the world

RULE = Rule(
    code="NT502",
    name="icmp-errors-dropped",
    severity=Severity.ERROR,
    summary="path-MTU errors about untracked flows are dropped",
    what="""
        Finds what stops the ICMP errors without which path-MTU discovery does not work (fragmentation
        needed; in IPv6 packet too big) where a flow is untracked in both directions and let through, to the
        host or through it: a drop of INVALID packets in front of the rules for ICMP, a drop of ICMP, or a
        policy without an exception. The same for connections to a host whose rules do without tracking.
    """,
    why="""
        Some path to a client carries smaller packets than yours: a tunnel, PPPoE, a mobile network. A
        router there drops the large packet and says so with an ICMP error. About a tracked flow this error
        is RELATED; about an untracked one it is INVALID, and `ESTABLISHED,RELATED` lets it not in. If it is
        lost, the sender never sends smaller packets: connections open, small answers come, large ones hang
        for ever.
    """,
    limits="""
        Silent where most senders' errors get through, where a limit decides, for datagrams that are always
        small (NTP, DHCP), for the answers to the host's own datagrams, and where neither NOTRACK nor a rule
        for answers shows that the rules are meant to work without states.
    """,
    mending="""
        The fix puts in the rule that the finding shows, in front of the rule that stops the error or at the
        end of the chain. It is safe: nothing else is let in.
    """,
    check=check,
    yields_to=("NT603",),
    bad=(
        Example(
            "a drop of INVALID packets in front",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 80 -j CT --notrack
            -A OUTPUT -p tcp --sport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -m conntrack --ctstate INVALID -j DROP  ### NT502
            -A INPUT -p icmp -j ACCEPT
            -A INPUT -p tcp --dport 80 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "no rule for ICMP at all, both families; ND is another matter",
            {
                "rules.v4": """
                *raw
                :PREROUTING ACCEPT [0:0]
                :OUTPUT ACCEPT [0:0]
                -A PREROUTING -p udp --dport 53 -j CT --notrack
                -A OUTPUT -p udp --sport 53 -j CT --notrack
                COMMIT
                *filter
                :INPUT DROP [0:0]  ### NT502
                -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
                -A INPUT -p icmp --icmp-type echo-request -j ACCEPT
                -A INPUT -p udp --dport 53 -j ACCEPT
                COMMIT
                """,
                "rules.v6": """
                *raw
                :PREROUTING ACCEPT [0:0]
                :OUTPUT ACCEPT [0:0]
                -A PREROUTING -p udp --dport 53 -j CT --notrack
                -A OUTPUT -p udp --sport 53 -j CT --notrack
                COMMIT
                *filter
                :INPUT ACCEPT [0:0]
                -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
                -A INPUT -p ipv6-icmp --icmpv6-type 133/0 -j ACCEPT
                -A INPUT -p ipv6-icmp --icmpv6-type 134/0 -j ACCEPT
                -A INPUT -p ipv6-icmp --icmpv6-type 135/0 -j ACCEPT
                -A INPUT -p ipv6-icmp --icmpv6-type 136/0 -j ACCEPT
                -A INPUT -p udp --dport 53 -j ACCEPT
                -A INPUT -j DROP  ### NT502
                COMMIT
                """,
            },
        ),
        Example(
            "through a router, nft",
            """
            table ip t {
              chain pre {
                type filter hook prerouting priority raw; policy accept;
                tcp dport 80 ip daddr 192.0.2.0/24 notrack
                tcp sport 80 ip saddr 192.0.2.0/24 notrack
              }
              chain forward {
                type filter hook forward priority filter; policy accept;
                ct state invalid drop  ### NT502
                ct state established,related,untracked accept
                icmp type destination-unreachable accept
                drop
              }
            }
            """,
        ),
        Example(
            "nothing is tracked, and only echo is let in",
            """
            *filter
            :INPUT DROP [0:0]  ### NT502
            :OUTPUT ACCEPT [0:0]
            -A INPUT -i lo -j ACCEPT
            -A INPUT -p tcp -m multiport --dports 22,80 -j ACCEPT
            -A INPUT -p tcp ! --syn --dport 32768:60999 -j ACCEPT
            -A INPUT -p icmp --icmp-type echo-request -j ACCEPT
            COMMIT
            """,
        ),
    ),
    good=(
        Example(
            "the errors first",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 80 -j CT --notrack
            -A OUTPUT -p tcp --sport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p icmp --icmp-type fragmentation-needed -j ACCEPT
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -m conntrack --ctstate INVALID -j DROP
            -A INPUT -p tcp --dport 80 -j ACCEPT
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "everything is tracked: the errors are RELATED",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -m conntrack --ctstate INVALID -j DROP
            -A INPUT -p tcp --dport 80 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "the untracked flow is not let in anyway; the errors have a limit; NTP is small",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p udp --dport 123 -j CT --notrack
            -A OUTPUT -p udp --sport 123 -j CT --notrack
            -A PREROUTING -p tcp --dport 23 -j CT --notrack
            -A OUTPUT -p tcp --sport 23 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -p udp --dport 123 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "SYNPROXY: only SYNs are untracked",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -p tcp --syn --dport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p tcp --dport 80 -m conntrack --ctstate INVALID,UNTRACKED -j SYNPROXY --mss 1460
            -A INPUT -m conntrack --ctstate INVALID -j DROP
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -p tcp --dport 80 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "errors by a rate",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            -A OUTPUT -p udp --sport 53 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p icmp -m limit --limit 10/second -j ACCEPT
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -p udp --dport 53 -j ACCEPT
            COMMIT
            """,
        ),
    ),
)
