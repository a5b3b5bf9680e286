"""NT302: packets that belong to no connection are let in."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.exposure import TCP, assumed, from_anyone, opened, ordinary, sampled, strangers
from notrack.lint.finding import Fault, Fix
from notrack.lint.rule import Example, Rule
from notrack.lint.states import without_states
from notrack.lint.subject import Subject
from notrack.lint.untracked_opening import accepting
from notrack.lint.view import View
from notrack.netfilter.effects import Track
from notrack.netfilter.ways import Way
from notrack.packets.fields import TCP_FLAGS, AddressType, Field, Fragment, State
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Rule as CoreRule
from notrack.text.diagnostic import Severity
from notrack.text.source import Span


def check(subject: Subject) -> Iterator[Fault]:
    for view in subject.views:
        rules = list(accepting(view, State.INVALID))
        if not rules or not view.model.tracks:
            continue
        for way in (Way.LOCAL_IN, Way.FORWARD):
            for found in opened(view, way, _strays(view, rules), rules):
                let = ordinary(found.packets & found.visit.matching(Track.PLAIN))
                if let and from_anyone(let) and (span := found.rule.origin.span) is not None:
                    yield _fault(subject, span, found.rule, let, assumed(found.packets))


def _fault(subject: Subject, span: Span, rule: CoreRule, let: PacketSet, notes: tuple[str, ...]) -> Fault:
    body, edits = without_states(subject.documents, rule, ("invalid",))
    return Fault(
        span,
        "packets that belong to no connection are let in here (state INVALID)",
        "take INVALID out of the states" + (f": `{body.text.strip()}`" if body else ""),
        witness=let.witness(),
        fix=Fix("accept INVALID packets no more", edits, safe=False) if edits else None,
        notes=notes,
    )


def _strays(view: View, rules: list[CoreRule]) -> PacketSet:
    """TCP packets from anywhere that are INVALID: an answer that nobody asked for."""
    space = view.model.space
    flags = TCP_FLAGS["syn"] | TCP_FLAGS["ack"]
    cube = {
        Field.STATE: IntervalSet.single(State.INVALID),
        Field.PROTOCOL: IntervalSet.single(TCP),
        Field.CT_SNAT: IntervalSet.single(0),
        Field.CT_DNAT: IntervalSet.single(0),
        Field.FLAGS: IntervalSet.single(flags),
        Field.FRAGMENT: IntervalSet.single(Fragment.WHOLE),
        Field.DESTINATION_TYPE: IntervalSet(((AddressType.UNICAST, AddressType.LOCAL),)),
        **sampled(view, rules),
    }
    return PacketSet(space, space.cube(cube)) & strangers(view)


RULE = Rule(
    code="NT302",
    name="invalid-accepted",
    severity=Severity.ERROR,
    summary="packets of the state INVALID are let in",
    what="""
        Finds accept rules of INPUT and FORWARD whose states hold INVALID, that name no port and let in what
        comes from anywhere and is let in by nothing else.
    """,
    why="""
        INVALID is what connection tracking can make nothing of: answers that nobody asked for, packets with
        impossible flags, damaged ones. An accept for them takes the firewall out of the way of scans and of
        forged packets; no connection needs it. It is often copied together with UNTRACKED, as if the two were
        the same.
    """,
    limits="""
        An accept for a named port, for ICMP (errors about untracked flows are INVALID), for named peers, or
        for an interface that does not seem to lead to the world is not reported, nor one that overrides
        nothing. SYNPROXY takes INVALID packets without accepting them.
    """,
    mending="""
        The fix is unsafe: it stops what was let in. It takes INVALID out of the list of states, and the rule
        where nothing is left of the list.
    """,
    check=check,
    bad=(
        Example(
            "four states in one rule, as it is copied from page to page",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp -m tcp --dport 80 -j NOTRACK
            -A OUTPUT -p tcp -m tcp --sport 80 -j NOTRACK
            COMMIT
            *filter
            :INPUT ACCEPT [0:0]
            -A INPUT -i lo -j ACCEPT
            -A INPUT -m state --state ESTABLISHED,RELATED,INVALID,UNTRACKED -j ACCEPT  ### NT302
            -A INPUT -j REJECT --reject-with icmp-host-prohibited
            COMMIT
            """,
            fixed="""
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp -m tcp --dport 80 -j NOTRACK
            -A OUTPUT -p tcp -m tcp --sport 80 -j NOTRACK
            COMMIT
            *filter
            :INPUT ACCEPT [0:0]
            -A INPUT -i lo -j ACCEPT
            -A INPUT -m state --state ESTABLISHED,RELATED,UNTRACKED -j ACCEPT
            -A INPUT -j REJECT --reject-with icmp-host-prohibited
            COMMIT
            """,
        ),
        Example(
            "nft: a forwarding chain for both families",
            """
            table inet fw {
              chain forward {
                type filter hook forward priority filter; policy drop;
                ct state { established, related, invalid } accept  ### NT302
              }
            }
            """,
        ),
        Example(
            "IPv6, a rule of its own",
            {
                "rules.v6": """
                *filter
                :INPUT DROP [0:0]
                -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
                -A INPUT -m conntrack --ctstate INVALID -j ACCEPT  ### NT302
                COMMIT
                """
            },
        ),
        Example(
            "everything but new connections",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m state ! --state NEW -j ACCEPT  ### NT302
            -A INPUT -p tcp --dport 22 -j ACCEPT
            COMMIT
            """,
        ),
    ),
    good=(
        Example(
            "INVALID is dropped",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -m conntrack --ctstate INVALID -j DROP
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "SYNPROXY takes what is INVALID or UNTRACKED",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -p tcp -m tcp --dport 80 --syn -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p tcp -m tcp --dport 80 -m conntrack --ctstate INVALID,UNTRACKED -j SYNPROXY --mss 1460
            -A INPUT -m conntrack --ctstate INVALID -j DROP
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "errors about untracked flows are INVALID",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p icmp -m conntrack --ctstate INVALID,RELATED -j ACCEPT
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "the policy accepts: the rule overrides nothing",
            """
            *filter
            :INPUT ACCEPT [0:0]
            -A INPUT -m conntrack --ctstate INVALID,ESTABLISHED -j ACCEPT
            -A INPUT -p tcp --dport 3306 -m conntrack --ctstate NEW -j DROP
            COMMIT
            """,
        ),
        Example(
            "everything is untracked: nothing is INVALID here",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp -j CT --notrack
            -A OUTPUT -p tcp -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p tcp -m conntrack --ctstate INVALID,UNTRACKED -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "the inner network is trusted with everything",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -s 10.0.0.0/8 -m conntrack --ctstate INVALID,ESTABLISHED -j ACCEPT
            -A INPUT -m conntrack --ctstate NEW,ESTABLISHED,RELATED,INVALID,UNTRACKED -i lo -j ACCEPT
            COMMIT
            """,
        ),
    ),
)
