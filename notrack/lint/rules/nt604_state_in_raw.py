"""NT604: a match of the state where no packet has one yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from notrack.lint.entrances import early_rules
from notrack.lint.finding import Fault
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.packets.fields import Field, State
from notrack.packets.intervals import IntervalSet
from notrack.ruleset.core import Among, Guard, Notrack, OneOf, Table, Template
from notrack.ruleset.core import Rule as CoreRule
from notrack.text.diagnostic import Severity

_EVERY = IntervalSet(((State.NEW, State.UNTRACKED),))


def check(subject: Subject) -> Iterator[Fault]:
    for table in subject.ruleset.tables:
        possible = _possible(subject, table)
        for _, rule, _ in early_rules(table):
            span = rule.origin.span
            asked = _states(rule.guard)
            if span is None or asked == _EVERY:
                continue
            if asked.isdisjoint(possible):
                yield Fault(span, f"this rule never matches: {_WHY}", _HELP)
            elif State.INVALID in asked and _acts(rule):
                message = f"the state does not narrow this rule: it matches new and known connections; {_WHY}"
                yield Fault(span, message, _HELP)


_WHY = "here, before connection tracking, every packet is INVALID"
_HELP = "move the rule behind connection tracking (iptables: to `mangle` or `filter`), or leave the state out"


def _possible(subject: Subject, table: Table) -> IntervalSet:
    """The states that a packet may have before connection tracking.

    INVALID at first; UNTRACKED and, with a template, NEW once a rule has made it so.
    """
    actions = {
        type(action)
        for other in subject.ruleset.tables
        if other.families & table.families
        for _, rule, _ in early_rules(other)
        for action in rule.actions
    }
    found = [State.INVALID]
    found += [State.UNTRACKED] if Notrack in actions else []
    found += [State.NEW] if Template in actions else []
    return IntervalSet.of((state, state) for state in found)


def _states(guard: Guard) -> IntervalSet:
    """The states that a guard lets pass."""
    asked = _EVERY
    for literal in guard:
        if isinstance(literal, Among) and literal.field is Field.STATE:
            asked = asked & (_EVERY - literal.values if literal.negated else literal.values)
        elif isinstance(literal, OneOf) and not literal.negated:
            asked = asked & _union(_states(inner) for inner in literal.guards)
        elif isinstance(literal, Among) and literal.field in (
            Field.CT_DIRECTION,
            Field.CT_SNAT,
            Field.CT_DNAT,
        ):
            asked = asked & IntervalSet(((State.NEW, State.RELATED),))
    return asked


def _union(parts: Iterable[IntervalSet]) -> IntervalSet:
    return IntervalSet.of(span for part in parts for span in part.spans)


def _acts(rule: CoreRule) -> bool:
    return bool(rule.actions)


RULE = Rule(
    code="NT604",
    name="state-in-raw",
    severity=Severity.WARNING,
    summary="a match of the state before connection tracking",
    what="""
        Finds rules that ask for the state of a packet (`--ctstate`, `--state`, `ct state`, and what needs
        an entry: connmark, connbytes, `--ctdir`) in `raw` or in another chain before connection tracking.
    """,
    why="""
        Connection tracking has not seen the packet yet. Every packet is INVALID there, until a rule makes
        it UNTRACKED: a rule for NEW or ESTABLISHED never matches, one for INVALID matches all, known
        connections too.
    """,
    limits="""
        A packet on its way over `lo` carries its entry into PREROUTING; such a rule may match there, and it
        is named all the same. UNTRACKED is passed over where some rule untracks.
    """,
    mending="There is no automatic fix: the rule needs another place, or no state.",
    check=check,
    bad=(
        Example(
            "NEW and INVALID in raw",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A PREROUTING -p udp --dport 53 -m conntrack --ctstate NEW -j CT --notrack  ### NT604
            -A PREROUTING -m state --state INVALID -j DROP  ### NT604
            -A OUTPUT -m connmark --mark 1 -j ACCEPT  ### NT604
            COMMIT
            """,
        ),
        Example(
            "UNTRACKED where nothing untracks",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -m conntrack --ctstate UNTRACKED -j ACCEPT  ### NT604
            COMMIT
            """,
        ),
        Example(
            "nft, in a chain that an early base calls",
            """
            table inet t {
              chain bad {
                ct state != new drop  ### NT604
                ct state invalid drop  ### NT604
              }
              chain pre {
                type filter hook prerouting priority -300; policy accept;
                jump bad
              }
            }
            """,
        ),
    ),
    good=(
        Example(
            "behind connection tracking",
            """
            *mangle
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -m conntrack --ctstate INVALID -j DROP
            COMMIT
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            COMMIT
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "what was untracked just now leaves the chain",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -p udp --dport 53 -j CT --notrack
            -A PREROUTING -m conntrack --ctstate UNTRACKED -j ACCEPT
            -A PREROUTING -m rpfilter --invert -j DROP
            COMMIT
            """,
        ),
        Example(
            "priority mangle is behind connection tracking",
            """
            table inet t {
              chain pre {
                type filter hook prerouting priority mangle; policy accept;
                ct state invalid drop
              }
            }
            """,
        ),
    ),
)
