"""NT404: a match of the state UNTRACKED or INVALID in the nat table."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.entrances import entrances
from notrack.lint.finding import Fault, Fix
from notrack.lint.rule import Example, Rule
from notrack.lint.states import without_states
from notrack.lint.subject import Subject
from notrack.packets.fields import Field, State
from notrack.packets.intervals import IntervalSet
from notrack.ruleset.core import Among, ChainType, Guard
from notrack.ruleset.core import Rule as CoreRule
from notrack.text.diagnostic import Severity

_NEVER = IntervalSet(((State.INVALID, State.UNTRACKED),))
_SEEN = IntervalSet.of(((State.NEW, State.NEW), (State.RELATED, State.RELATED)))


def check(subject: Subject) -> Iterator[Fault]:
    for table in subject.ruleset.tables:
        leading = entrances(table)
        for chain in table.chains:
            bases = leading[chain.name]
            if bases and all(base.kind is ChainType.NAT for base in bases):
                for rule in chain.rules:
                    asked = _states(rule.guard)
                    if not asked.isdisjoint(_NEVER) and rule.origin.span is not None:
                        yield _fault(subject, rule, asked)


def _states(guard: Guard) -> IntervalSet:
    """The states that a guard names; none where it names those that it does not want."""
    for literal in guard:
        if isinstance(literal, Among) and literal.field is Field.STATE and not literal.negated:
            return literal.values
    return IntervalSet()


def _fault(subject: Subject, rule: CoreRule, asked: IntervalSet) -> Fault:
    assert rule.origin.span is not None
    dead = asked.isdisjoint(_SEEN)
    names = [state.name for state in (State.INVALID, State.UNTRACKED) if state in asked]
    body, edits = without_states(subject.documents, rule, ("invalid", "untracked"))
    what = "this rule never matches" if dead else f"{' and '.join(names)} never match here"
    return Fault(
        rule.origin.span,
        f"{what}: the nat table sees only first packets of tracked connections",
        "drop packets in the filter table, and leave tracked what is to be translated"
        + (f": `{body.text.strip()}`" if body else ""),
        fix=Fix("ask for no state that never comes", edits) if edits else None,
    )


RULE = Rule(
    code="NT404",
    name="state-in-nat",
    severity=Severity.WARNING,
    summary="a match of UNTRACKED or INVALID in the nat table",
    what="""
        Finds rules of the nat table (nft: of chains of type nat) that ask for packets of the state UNTRACKED
        or INVALID.
    """,
    why="""
        The nat table is asked about the first packet of a tracked connection, and about no other. An
        untracked packet never comes there, an invalid one neither: the rule translates, drops or counts
        nothing, and whoever wrote it believes that it does.
    """,
    limits="""
        A list of states that a rule does not want (`! --ctstate INVALID`) is passed over: it does no harm.
    """,
    mending="""
        The fix is safe, since the packets never come: it takes the two states out of the list, and the rule
        where nothing is left of it.
    """,
    check=check,
    bad=(
        Example(
            "untracked packets shall be translated, invalid ones dropped",
            """
            *raw
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 80 -j CT --notrack
            COMMIT
            *nat
            :PREROUTING ACCEPT [0:0]
            :POSTROUTING ACCEPT [0:0]
            -A PREROUTING -m conntrack --ctstate INVALID -j RETURN  ### NT404
            -A PREROUTING -p tcp --dport 443 -m state --state NEW,UNTRACKED -j REDIRECT  ### NT404
            -A POSTROUTING -o eth0 -j MASQUERADE
            COMMIT
            """,
        ),
        Example(
            "nft, in a chain that a nat base calls",
            """
            table inet gate {
              chain pick {
                ct state untracked dnat ip to 10.0.0.5  ### NT404
              }
              chain pre {
                type nat hook prerouting priority dstnat; policy accept;
                jump pick
              }
            }
            """,
        ),
    ),
    good=(
        Example(
            "the state is asked in the filter table",
            """
            *filter
            :FORWARD DROP [0:0]
            -A FORWARD -m conntrack --ctstate INVALID -j DROP
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
            "NEW is what the nat table sees, and all but INVALID is everything",
            """
            *nat
            :PREROUTING ACCEPT [0:0]
            :POSTROUTING ACCEPT [0:0]
            -A PREROUTING -p tcp --dport 80 -m conntrack --ctstate NEW -j DNAT --to-destination 10.0.0.5
            -A POSTROUTING -o eth0 -m conntrack ! --ctstate INVALID -j MASQUERADE
            COMMIT
            """,
        ),
        Example(
            "a chain at nat's priority that is none of type nat",
            """
            table inet filter {
              chain pre {
                type filter hook prerouting priority dstnat; policy accept;
                ct state invalid drop
              }
            }
            """,
        ),
    ),
)
