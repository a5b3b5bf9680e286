"""NT504: a match that asks the connection, for packets that have none."""

from __future__ import annotations

import re
from collections.abc import Iterator

from notrack.lint.entrances import late_rules
from notrack.lint.finding import Fault
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.lint.view import View
from notrack.netfilter.effects import Track
from notrack.netfilter.guards import guard_set
from notrack.netfilter.visits import visits
from notrack.netfilter.ways import Way
from notrack.packets.fields import Field, State
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Among, Fact, Guard, Hook, Literal, Masked, OneOf
from notrack.ruleset.core import Rule as CoreRule
from notrack.text.diagnostic import Related, Severity
from notrack.text.source import Span

_ENTRY = {
    Field.CT_MARK: "the mark of the connection",
    Field.CT_DIRECTION: "the direction of the connection",
    Field.CT_SNAT: "the status of the connection",
    Field.CT_DNAT: "the status of the connection",
}
_TRACKED = IntervalSet(((State.NEW, State.RELATED),))
_ENTRYLESS = IntervalSet(((State.INVALID, State.UNTRACKED),))
_NAME = re.compile(r"^(?:-m (\S+)|(ct \S+))")
_WAYS = {
    Hook.INPUT: (Way.LOCAL_IN,),
    Hook.FORWARD: (Way.FORWARD,),
    Hook.OUTPUT: (Way.LOCAL_OUT,),
    Hook.PREROUTING: (Way.LOCAL_IN, Way.FORWARD),
    Hook.POSTROUTING: (Way.LOCAL_OUT, Way.FORWARD),
}


def check(subject: Subject) -> Iterator[Fault]:
    alive: set[Span] = set()
    found: dict[Span, Fault] = {}
    for view in subject.views:
        if not view.untracks or not view.model.tracks:
            continue
        for table in view.ruleset.tables:
            if view.family not in table.families:
                continue
            for _, rule, bases in late_rules(table):
                span = rule.origin.span
                asked = _asks(rule.guard)
                if span is None or asked is None or span in alive:
                    continue
                ways = dict.fromkeys(way for base in bases for way in _WAYS.get(base.hook, ()))
                seen = _judged(view, rule, tuple(ways))
                if seen is None:
                    alive.add(span)
                elif seen:
                    found.setdefault(span, _fault(view, span, asked, seen))
    yield from (fault for span, fault in found.items() if span not in alive)


def _asks(guard: Guard) -> str | None:
    """What a guard asks the connection for, beside its state."""
    for literal in guard:
        if isinstance(literal, Fact) and literal.tracking and (name := _NAME.match(literal.name)):
            return f"`{name[1] or name[2]}`"
        if isinstance(literal, Among | Masked) and literal.field in _ENTRY:
            return _ENTRY[literal.field]
        if isinstance(literal, OneOf):
            inner = next((word for one in literal.guards if (word := _asks(one)) is not None), None)
            if inner is not None:
                return inner
    return None


def _plain(guard: Guard) -> Guard:
    """The guard without what asks the connection, and without the demand that there is one."""
    return tuple(literal for literal in guard if not _needs_entry(literal))


def _needs_entry(literal: Literal) -> bool:
    if isinstance(literal, Among) and literal.field is Field.STATE:
        return literal.values == _TRACKED and not literal.negated
    if isinstance(literal, OneOf):
        return _asks((literal,)) is not None
    if isinstance(literal, Fact):
        return literal.tracking
    return isinstance(literal, Among | Masked) and literal.field in _ENTRY


def _judged(view: View, rule: CoreRule, ways: tuple[Way, ...]) -> PacketSet | None:
    """The untracked packets that come to a rule and are what it is about; None if tracked ones do too."""
    space = view.model.space
    packets = PacketSet(space, guard_set(space, _plain(rule.guard)))
    untracked = PacketSet.nothing(space)
    for way in ways:
        if not view.passage(way).untracked_by_rule(packets.exists((Field.STATE,))):
            if packets & view.passage(way).packets:
                return None
            continue
        for visit in visits(view.model, way, packets):
            if visit.rule is not rule:
                continue
            here = visit.arriving(Track.UNTRACKED) & packets
            rest = visit.arriving(Track.PLAIN) & packets
            if rest - PacketSet(space, space.among(Field.STATE, IntervalSet.single(State.UNTRACKED))):
                return None
            untracked = untracked | here
    return untracked


def _fault(view: View, span: Span, asked: str, packets: PacketSet) -> Fault:
    witness = packets.witness()
    legs = [leg for leg in view.flows.legs if any(packets & leg.on(way) for way in Way)]
    places = [leg.span for leg in legs if leg.span is not None][:2]
    return Fault(
        span,
        f"this rule asks for {asked}, but only untracked packets come to it, which have no connection",
        "ask for something that the packet itself tells, or leave the flow tracked",
        tuple(Related(place, "takes them out of tracking") for place in places),
        witness,
    )


RULE = Rule(
    code="NT504",
    name="tracking-match-on-untracked",
    severity=Severity.WARNING,
    summary="connmark, connlimit, connbytes and their kind, asked about untracked packets",
    what="""
        Finds rules that ask the connection for something (its mark, status, direction, helper, label,
        bytes, or how many there are: connmark, connlimit, connbytes, ctstatus, helper, `ct mark`, `ct
        count`) and that only untracked packets come to.
    """,
    why="""
        An untracked packet has no entry in the connection table. No mark, status or helper matches it, and
        connlimit counts connections that it never finds: the limit that should protect the port does
        nothing.
    """,
    limits="""
        Decided on the packets that really come to the rule. A rule that tracked packets reach as well is
        passed over. Rules by state are NT203, those before connection tracking NT604.
    """,
    mending="There is no automatic fix: `hashlimit` and `recent` work without connections.",
    check=check,
    yields_to=("NT203",),
    bad=(
        Example(
            "a limit of connections for an untracked port, and a mark",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 80 -j CT --notrack
            -A OUTPUT -p tcp --sport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            :OUTPUT ACCEPT [0:0]
            -A INPUT -p icmp -j ACCEPT
            -A INPUT -p tcp --syn --dport 80 -m connlimit --connlimit-above 20 -j REJECT  ### NT504
            -A INPUT -p tcp --dport 80 -j ACCEPT
            -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
            -A OUTPUT -p tcp --sport 80 -m connmark --mark 7 -j DROP  ### NT504
            COMMIT
            """,
        ),
        Example(
            "nft",
            """
            table inet t {
              chain pre {
                type filter hook prerouting priority raw; policy accept;
                udp dport 53 notrack
              }
              chain out {
                type filter hook output priority raw; policy accept;
                udp sport 53 notrack
              }
              chain input {
                type filter hook input priority filter; policy accept;
                udp dport 53 ct mark 1 drop  ### NT504
                udp dport 53 ct count over 100 drop  ### NT504
                udp dport 53 ct bytes > 1000000 drop  ### NT504
              }
            }
            """,
        ),
    ),
    good=(
        Example(
            "for a port that is tracked",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 80 -j CT --notrack
            -A OUTPUT -p tcp --sport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p icmp -j ACCEPT
            -A INPUT -p tcp --syn --dport 22 -m connlimit --connlimit-above 20 -j REJECT
            -A INPUT -p tcp -m multiport --dports 22,80 -j ACCEPT
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "the untracked port is untracked for some addresses alone",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -s 10.0.0.0/8 -p tcp --dport 80 -j CT --notrack
            -A OUTPUT -d 10.0.0.0/8 -p tcp --sport 80 -j CT --notrack
            COMMIT
            *filter
            :INPUT DROP [0:0]
            -A INPUT -p icmp -j ACCEPT
            -A INPUT -p tcp --syn --dport 80 -m connlimit --connlimit-above 20 -j REJECT
            -A INPUT -p tcp --dport 80 -j ACCEPT
            COMMIT
            """,
        ),
        Example(
            "marks restored for all packets: the untracked ones among them have none",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            COMMIT
            *mangle
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -j CONNMARK --restore-mark
            -A PREROUTING -m connmark --mark 3 -j ACCEPT
            COMMIT
            *filter
            :INPUT ACCEPT [0:0]
            -A INPUT -p icmp -j ACCEPT
            COMMIT
            """,
        ),
    ),
)
