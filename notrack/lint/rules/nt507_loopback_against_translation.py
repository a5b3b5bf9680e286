"""NT507: what goes by lo is untracked, and with it what OUTPUT would translate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from notrack.lint.bounds import bound, rules_of
from notrack.lint.exposure import opening, ordinary
from notrack.lint.finding import Fault
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.lint.view import Untracking, View
from notrack.netfilter.translation import LOOPBACK
from notrack.netfilter.visits import Visit, visits
from notrack.netfilter.ways import LOOPBACK_INTERFACE, Way
from notrack.packets.fields import Field
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Hook, Nat, NatKind
from notrack.ruleset.core import Rule as CoreRule
from notrack.text.diagnostic import Related, Severity

if TYPE_CHECKING:
    from notrack.lint.translations import Translations

_LO = IntervalSet.single(LOOPBACK_INTERFACE)
_TARGETS = (NatKind.DNAT, NatKind.REDIRECT)


def check(subject: Subject) -> Iterator[Fault]:
    for view in subject.views:
        if not view.untracks or not any(map(_translates, rules_of(view.ruleset, view.family))):
            continue
        from notrack.lint.translations import Translations

        made = Translations(view)
        for one in view.untrackings:
            if not _is_for_lo(one, view):
                continue
            translators = _translators(made, one)
            if translators:
                yield from _fault(one, translators)


def _translates(rule: CoreRule) -> bool:
    return any(isinstance(action, Nat) and action.kind in _TARGETS for action in rule.actions)


def _is_for_lo(one: Untracking, view: View) -> bool:
    """Whether it is a rule of OUTPUT about what leaves by lo, and nothing else."""
    rule = one.visit.rule
    if one.way is not Way.LOOPBACK or one.visit.hook is not Hook.OUTPUT or rule.origin.span is None:
        return False
    return bound(rule.guard, Field.OUT, view.family) == _LO


def _translators(made: Translations, one: Untracking) -> list[tuple[Visit, PacketSet]]:
    """The rules that would translate such packets if they were tracked, each with those packets."""
    asked = ordinary(one.packets) & opening(made.view)
    if not asked:
        return []
    return [
        (visit, packets)
        for visit in visits(made.twin, Way.LOOPBACK, asked)
        if visit.hook is Hook.OUTPUT
        and _translates(visit.rule)
        and (packets := ordinary(visit.matching()))
        and _is_own(made.view, packets)
    ]


def _is_own(view: View, packets: PacketSet) -> bool:
    """Whether the host has such an address for certain, so that the packets leave by lo."""
    from notrack.lint.translations import to_anyone

    if view.host.addresses(view.family) is not None or to_anyone(packets):
        return True
    return LOOPBACK[view.family] in packets.project(Field.DESTINATION)


def _fault(one: Untracking, translators: list[tuple[Visit, PacketSet]]) -> Iterator[Fault]:
    span = one.visit.rule.origin.span
    places = dict.fromkeys(visit.rule.origin.span for visit, _ in translators)
    if span is not None:
        yield Fault(
            span,
            "what the host sends to itself by lo is untracked here, and so never translated as OUTPUT says",
            "leave out what nat OUTPUT translates: accept those packets in front of this rule",
            tuple(Related(place, "would translate it") for place in places if place is not None),
            translators[0][1].witness(),
        )


RULE = Rule(
    code="NT507",
    name="loopback-against-translation",
    severity=Severity.ERROR,
    summary="NOTRACK by `-o lo` over connections that nat OUTPUT translates",
    what="""
        Finds NOTRACK rules for what leaves by `lo` (`-o lo`, `oifname "lo"`) where a rule of the nat table
        redirects or translates such connections in OUTPUT: a port that Docker publishes, a local proxy.
    """,
    why="""
        The nat table is never asked for an untracked packet. The host's own connections to the published
        port are refused, while everybody else's work.
    """,
    limits="""
        Other NOTRACK rules in the way of translation are NT401. A jump to a chain without a translation
        (Docker without any published port) is nothing to complain about.
    """,
    mending="There is no automatic fix: the rule to put in front depends on what is published.",
    check=check,
    bad=(
        Example(
            "a port that Docker publishes",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A OUTPUT -o lo -j CT --notrack  ### NT507
            COMMIT
            *nat
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            :DOCKER - [0:0]
            -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
            -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
            -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
            COMMIT
            """,
        ),
        Example(
            "nft, a proxy on the host",
            """
            table inet t {
              chain raw_out {
                type filter hook output priority raw; policy accept;
                oifname "lo" notrack  ### NT507
              }
              chain nat_out {
                type nat hook output priority dstnat; policy accept;
                tcp dport 80 redirect to :3128
              }
            }
            """,
        ),
    ),
    good=(
        Example(
            "the published port is left out",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A OUTPUT -o lo -p tcp --dport 8080 -j ACCEPT
            -A OUTPUT -o lo -j CT --notrack
            COMMIT
            *nat
            :OUTPUT ACCEPT [0:0]
            -A OUTPUT -m addrtype --dst-type LOCAL -p tcp --dport 8080 -j DNAT --to 172.17.0.2
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "Docker without a published port; a translation of what comes in",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A OUTPUT -o lo -j CT --notrack
            -A PREROUTING -i lo -j CT --notrack
            COMMIT
            *nat
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            :DOCKER - [0:0]
            -A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
            -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
            COMMIT
            """,
        ),
        Example(
            "an address that nobody knows to be the host's own",
            """
            *raw
            :OUTPUT ACCEPT [0:0]
            -A OUTPUT -o lo -j CT --notrack
            COMMIT
            *nat
            :OUTPUT ACCEPT [0:0]
            -A OUTPUT -d 203.0.113.7 -p tcp --dport 80 -j DNAT --to-destination 10.0.0.7
            COMMIT
            """,
        ),
        Example(
            "the translation is for others' addresses",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A OUTPUT -o lo -j CT --notrack
            COMMIT
            *nat
            :OUTPUT ACCEPT [0:0]
            -A OUTPUT -d 203.0.113.7 -p tcp --dport 80 -j DNAT --to-destination 10.0.0.7
            COMMIT
            """,
            host='{"interfaces": [{"name": "lo"}, {"name": "eth0", "addresses": ["192.0.2.1/24"]}]}',
        ),
    ),
)
