"""NT306: a drop of untracked packets kills neighbour discovery."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.bounds import asks, bound, rules_of
from notrack.lint.exposure import ordinary, sampled
from notrack.lint.finding import Fault, Fix
from notrack.lint.relevance import relevant
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.lint.view import View
from notrack.netfilter.visits import visits
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.packets.fields import ICMP_PROTOCOL, Field, Fragment, State
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Rule as CoreRule
from notrack.ruleset.core import Verdict
from notrack.text.diagnostic import Severity

_NEIGHBOURS = IntervalSet(((135, 136),))
_ENDS = (Verdict.DROP, Verdict.REJECT)


def check(subject: Subject) -> Iterator[Fault]:
    for view in subject.views:
        if view.family is not Family.IPV6:
            continue
        if not any(_stops_untracked(rule, view) for rule in rules_of(view.ruleset, view.family)):
            continue
        asked = _discovery(view)
        for way, what in ((Way.LOCAL_IN, "from"), (Way.LOCAL_OUT, "to")):
            for visit in visits(relevant(view, view.ruleset, asked), way, asked):
                span = visit.rule.origin.span
                if span is None or not _stops_untracked(visit.rule, view):
                    continue
                if stopped := ordinary(visit.matching()):
                    yield Fault(
                        span,
                        f"neighbour discovery {what} other hosts ends here: it is always UNTRACKED, "
                        "and IPv6 is dead without it",
                        "accept ICMPv6 neighbour discovery (types 133 to 136) before this rule",
                        witness=stopped.witness(),
                        fix=_fix(subject, view, visit.rule),
                    )


def _discovery(view: View) -> PacketSet:
    """Questions for a neighbour, and the answers."""
    space = view.model.space
    cube = {
        Field.PROTOCOL: IntervalSet.single(ICMP_PROTOCOL[Family.IPV6]),
        Field.ICMP_TYPE: _NEIGHBOURS,
        Field.TTL: IntervalSet.single(255),
        Field.FRAGMENT: IntervalSet.single(Fragment.WHOLE),
        **sampled(view),
    }
    return PacketSet(space, space.cube(cube))


def _stops_untracked(rule: CoreRule, view: View) -> bool:
    """Whether a rule drops packets because of their state, UNTRACKED ones among them."""
    if not rule.actions or rule.actions[-1] not in _ENDS:
        return False
    states = bound(rule.guard, Field.STATE, view.family)
    return State.UNTRACKED in states and states.size() < len(State)


def _fix(subject: Subject, view: View, rule: CoreRule) -> Fix | None:
    """The rule for everything but ICMPv6."""
    from notrack.lint.mending import Wording, find, rewritten

    written = find(subject.documents, rule)
    if written is None or "vmap" in written.body.text or asks(rule.guard, Field.PROTOCOL):
        return None
    body = written.body.narrowed(Wording("! -p ipv6-icmp", "meta l4proto != ipv6-icmp"))
    edits = rewritten(written, body) if body else None
    alone = bound(rule.guard, Field.STATE, view.family) == IntervalSet.single(State.UNTRACKED)
    return Fix("leave ICMPv6 out", edits, safe=alone) if edits else None


RULE = Rule(
    code="NT306",
    name="untracked-dropped-v6",
    severity=Severity.ERROR,
    summary="a drop of untracked packets kills IPv6 neighbour discovery",
    what="""
        Finds rules that drop or reject packets because they are UNTRACKED and so stop neighbour
        solicitations and advertisements, coming in or leaving.
    """,
    why="""
        The kernel never tracks neighbour discovery: such packets are UNTRACKED without any rule. Dropped,
        nobody finds the link address of this host any more, and it finds nobody's; after some minutes IPv6
        is dead, the operator's own connection included. IPv4 knows no such thing, so the rule was fine
        there.
    """,
    limits="""
        Only rules that name the state are found; discovery that ends at a policy or another drop is NT503.
    """,
    mending="""
        The fix takes ICMPv6 out of what the rule drops. It is safe where the rule asks for UNTRACKED alone;
        with other states beside it INVALID ICMPv6 goes on to the rules behind, and the fix is unsafe.
    """,
    check=check,
    yields_to=("NT604",),
    bad=(
        Example(
            "untracked packets dropped in front of everything",
            {
                "rules.v6": """
                *filter
                :INPUT DROP [0:0]
                -A INPUT -m conntrack --ctstate UNTRACKED -j DROP  ### NT306
                -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
                -A INPUT -p ipv6-icmp -j ACCEPT
                COMMIT
                """
            },
            fixed={
                "rules.v6": """
                *filter
                :INPUT DROP [0:0]
                -A INPUT -m conntrack --ctstate UNTRACKED ! -p ipv6-icmp -j DROP
                -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
                -A INPUT -p ipv6-icmp -j ACCEPT
                COMMIT
                """
            },
        ),
        Example(
            "nft: one rule of a table for both families, and one for what leaves",
            """
            table inet fw {
              chain input {
                type filter hook input priority filter; policy drop;
                ct state { invalid, untracked } drop  ### NT306
                icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
              }
              chain output {
                type filter hook output priority filter; policy accept;
                ct state untracked counter reject  ### NT306
              }
            }
            """,
        ),
        Example(
            "everything that is none of three states",
            {
                "rules.v6": """
                *filter
                :INPUT ACCEPT [0:0]
                -A INPUT -m conntrack ! --ctstate NEW,ESTABLISHED,RELATED -j REJECT  ### NT306
                COMMIT
                """
            },
        ),
    ),
    good=(
        Example(
            "discovery accepted first",
            {
                "rules.v6": """
                *filter
                :INPUT DROP [0:0]
                -A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 135 -j ACCEPT
                -A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 136 -j ACCEPT
                -A INPUT -m conntrack --ctstate UNTRACKED -j DROP
                COMMIT
                """
            },
        ),
    ),
    looks_wrong=(
        Example(
            "IPv4 has no neighbour discovery",
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -m conntrack --ctstate UNTRACKED -j DROP
            COMMIT
            """,
        ),
        Example(
            "only TCP is dropped, and what is forwarded",
            """
            table inet fw {
              chain input {
                type filter hook input priority filter; policy accept;
                meta l4proto tcp ct state untracked drop
              }
              chain forward {
                type filter hook forward priority filter; policy accept;
                ct state untracked drop
              }
            }
            """,
        ),
    ),
)
