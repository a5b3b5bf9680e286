"""NT610: a rule that untracks packets which a zone, helper or timeout keeps tracked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field

from notrack.lint.entrances import early_rules
from notrack.lint.finding import Fault
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.lint.view import View
from notrack.netfilter.effects import Track
from notrack.netfilter.visits import Visit, visits
from notrack.netfilter.ways import Way
from notrack.packets.fields import Field, interface_value
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Hook, Notrack, Template
from notrack.ruleset.core import Rule as CoreRule
from notrack.text.diagnostic import Related, Severity
from notrack.text.record import dataclass
from notrack.text.source import Span

_BEHIND = (Hook.INPUT, Hook.FORWARD, Hook.POSTROUTING)


@dataclass
class _Case:
    """What becomes of the packets of one NOTRACK rule, over all ways and families."""

    works: bool = False
    kept: PacketSet | None = None
    by: list[CoreRule] = field(default_factory=list)


def check(subject: Subject) -> Iterator[Fault]:
    cases: dict[Span, _Case] = {}
    for view in subject.views:
        if _has_both(view):
            _judge(view, cases)
    for span, case in cases.items():
        if case.works or case.kept is None:
            continue
        names = list(dict.fromkeys(_name(rule) for rule in case.by))
        places = dict.fromkeys(rule.origin.span for rule in case.by if rule.origin.span is not None)
        yield Fault(
            span,
            f"this rule untracks nothing: its packets stay tracked because of `{names[0]}`",
            "put the NOTRACK rule in front of it (in nft: let `ct zone set` not match these packets)",
            tuple(Related(place, "this rule keeps them tracked") for place in places),
            case.kept.witness(),
        )


def _has_both(view: View) -> bool:
    kinds = {
        type(action)
        for table in view.ruleset.tables
        if view.family in table.families
        for _, rule, _ in early_rules(table)
        for action in rule.actions
    }
    return Notrack in kinds and Template in kinds


def _judge(view: View, cases: dict[Span, _Case]) -> None:
    """Looks at every NOTRACK rule of a family, on each way."""
    for way in Way:
        if way is Way.LOOPBACK:
            continue  # its packets were judged on their way out
        real = _real_interfaces(view, way)
        seen: list[tuple[Span, PacketSet]] = []
        templates: list[tuple[CoreRule, PacketSet]] = []
        for visit in visits(view.model, way):
            if visit.hook in _BEHIND:
                break
            span = visit.rule.origin.span
            matched = visit.matching() & real
            if any(isinstance(action, Template) for action in visit.rule.actions):
                templates.append((visit.rule, visit.matching()))
            elif span is not None and matched and _untracks_first(visit):
                seen.append((span, matched))
        for span, matched in seen:
            case = cases.setdefault(span, _Case())
            case.works |= _untracks(view, way, matched)
            by = [rule for rule, packets in templates if not packets.isdisjoint(matched)]
            if by:
                case.by += by
                case.kept = case.kept or matched


def _untracks_first(visit: Visit) -> bool:
    """Whether it is a NOTRACK rule that does more than to repeat an earlier one."""
    if not any(isinstance(action, Notrack) for action in visit.rule.actions):
        return False
    return visit.matching(Track.UNTRACKED) != visit.matching()


def _untracks(view: View, way: Way, packets: PacketSet) -> bool:
    """Whether any of the packets goes on untracked."""
    return bool(view.passage(way).untracked_by_rule(packets.exists([Field.STATE])))


def _real_interfaces(view: View, way: Way) -> PacketSet:
    """The packets that come in (or leave) by an interface that the host has; all, where nobody knows."""
    everything = PacketSet.everything(view.model.space)
    if view.host.interfaces is None:
        return everything
    names = IntervalSet.of((interface_value(one.name),) * 2 for one in view.host.interfaces)
    side = Field.OUT if way is Way.LOCAL_OUT else Field.IN
    return PacketSet.where(view.model.space, side, names)


def _name(rule: CoreRule) -> str:
    return next(action.what for action in rule.actions if isinstance(action, Template)).removeprefix("-j ")


RULE = Rule(
    code="NT610",
    name="first-ct-wins",
    severity=Severity.ERROR,
    summary="a NOTRACK rule that a zone, helper or timeout makes useless",
    what="""
        Finds NOTRACK rules all of whose packets got a zone, a helper or a timeout from an earlier CT rule,
        and nft `notrack` rules beside a `ct zone set` that takes the same packets, in either order.
    """,
    why="""
        The first CT rule wins: a packet that carries a zone, a helper or a timeout is not touched by a
        later NOTRACK. In nft `ct zone set` even takes back what `notrack` did before it. The packets are
        tracked.
    """,
    limits="""
        A NOTRACK rule that works for some packets, and not for others that have a zone, is passed over: a
        zone for one interface is a known habit. Where the host's interfaces are known, only they count.
    """,
    mending="There is no automatic fix: which of the two is wanted is for the operator to say.",
    check=check,
    bad=(
        Example(
            "a helper and a zone in front",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 21 -j CT --helper ftp
            -A PREROUTING -p tcp -m multiport --dports 20,21 -s 192.0.2.0/24 -d 192.0.2.1 -j CT --zone 7
            -A PREROUTING -p tcp --dport 21 -j CT --notrack  ### NT610
            -A OUTPUT -j CT --zone 3
            -A OUTPUT -p udp --sport 53 -j NOTRACK  ### NT610
            COMMIT
            """,
        ),
        Example(
            "nft: the zone wins in either order",
            """
            table inet t {
              chain pre {
                type filter hook prerouting priority raw; policy accept;
                udp dport 53 notrack  ### NT610
                iifname "eth0" tcp dport 80 notrack  ### NT610
                ct zone set 1
              }
              chain out {
                type filter hook output priority raw; policy accept;
                ct zone set 1
                udp sport 53 notrack  ### NT610
              }
            }
            """,
        ),
        Example(
            "the only interface has a zone",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -i eth0 -j CT --zone 1
            -A PREROUTING -p udp --dport 53 -j CT --notrack  ### NT610
            COMMIT
            """,
            host='{"interfaces": [{"name": "lo"}, {"name": "eth0", "addresses": ["192.0.2.1/24"]}]}',
        ),
    ),
    good=(
        Example(
            "NOTRACK first",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            -A PREROUTING -j CT --zone 1
            -A OUTPUT -p udp --sport 53 -j CT --notrack
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "a zone for one interface",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -i eth1 -j CT --zone 5
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            -A OUTPUT -p udp --sport 53 -j CT --notrack
            COMMIT
            """,
        ),
        Example(
            "a helper for one port, and everything else untracked",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 21 -j CT --helper ftp
            -A PREROUTING -j CT --notrack
            -A OUTPUT -p tcp --sport 21 -j ACCEPT
            -A OUTPUT -j CT --notrack
            COMMIT
            """,
        ),
        Example(
            "nft: zones for another interface than the untracked one",
            """
            table inet t {
              chain pre {
                type filter hook prerouting priority raw; policy accept;
                iifname "eth0" udp dport 53 notrack
                iifname "eth1" ct zone set 1
              }
            }
            """,
        ),
    ),
)
