"""NT601: a rule that takes packets out of tracking stands where they have been tracked already."""

from __future__ import annotations

import re
from collections.abc import Iterator

from notrack.lint.entrances import TRACKING_HOOKS, is_nft, late_rules, place_of
from notrack.lint.finding import Edit, Fault, Fix
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.netfilter.tracking import keeps
from notrack.ruleset.core import Base, Chain, Log, Notrack, Table, Verdict
from notrack.ruleset.core import Rule as CoreRule
from notrack.text.diagnostic import Related, Severity


def check(subject: Subject) -> Iterator[Fault]:
    for table in subject.ruleset.tables:
        for chain, rule, bases in late_rules(table):
            span = rule.origin.span
            if span is None or not any(isinstance(action, Notrack) for action in rule.actions):
                continue
            if is_nft(table):
                fix = _fix(chain)
                yield Fault(span, _message(bases), _help(bases), _related(table, chain, bases), fix=fix)
            else:
                message = f"the table `{table.name}` takes no NOTRACK: iptables refuses it and the table"
                yield Fault(span, message, "move the rule to the table `raw`, to PREROUTING or OUTPUT")


def _message(bases: tuple[Base, ...]) -> str:
    at = place_of(bases[0])
    return f"this `notrack` comes too late: it runs in {at}, behind connection tracking at -200"


def _help(bases: tuple[Base, ...]) -> str:
    if all(base.hook in TRACKING_HOOKS for base in bases):
        return f"let the chain run earlier: `type filter hook {bases[0].hook.value} priority raw;`"
    return "move the rule to a chain of `type filter hook prerouting priority raw` (or output)"


def _fix(chain: Chain) -> Fix | None:
    """The chain at the priority `raw`, if it is there for nothing but to untrack."""
    place = chain.origin.span
    if chain.base is None or chain.base.hook not in TRACKING_HOOKS or place is None:
        return None
    if any(_does_more(rule) for rule in chain.rules):
        return None
    found = _PRIORITY.search(place.text)
    if found is None:
        return None
    start, end = (place.start + at for at in found.span(1))
    edit = Edit(place.source.span(start, end), "raw")
    return Fix("let the chain run before connection tracking", (edit,), safe=False)


def _does_more(rule: CoreRule) -> bool:
    """Whether a rule does anything but to untrack, or asks what only connection tracking tells."""
    others = [action for action in rule.actions if not isinstance(action, Notrack | Log)]
    return any(action is not Verdict.ACCEPT for action in others) or keeps(rule) is not None


def _related(table: Table, chain: Chain, bases: tuple[Base, ...]) -> tuple[Related, ...]:
    if chain.base is not None:
        return ()
    return tuple(
        Related(one.origin.span, f"packets come here from {place_of(one.base)}")
        for one in table.chains
        if one.base is not None and one.base in bases and one.origin.span is not None
    )


_PRIORITY = re.compile(r"\bpriority\s+([^;{}\n]+?)\s*;")

RULE = Rule(
    code="NT601",
    name="notrack-too-late",
    severity=Severity.ERROR,
    summary="a `notrack` that runs behind connection tracking",
    what="""
        Finds `notrack` in a chain that runs behind connection tracking: in the hooks input, forward and
        postrouting, or in prerouting and output at a priority of -200 or above (`mangle`, `dstnat`,
        `filter`, 0). The hook and the priority decide, not the chain's type or name. In iptables it finds
        `CT --notrack` outside the table `raw`.
    """,
    why="""
        Connection tracking looks at a packet at priority -200 of prerouting and output. What comes later
        cannot take it out again: nft accepts the rule, its counter climbs, and every flow is tracked all
        the same. It even does harm: an INVALID packet becomes UNTRACKED, and `ct state invalid drop` misses
        it. iptables refuses such a rule when it is loaded, and with it the whole table.
    """,
    limits="""
        A chain that nothing jumps to is passed over, and so is one that is reached from an early chain too.
        At exactly -200 the order depends on which was registered first; it is treated as too late.
    """,
    mending="""
        Where a chain of prerouting or output does nothing but untrack, the fix gives it the priority `raw`
        (-300). It is not safe: the packets really leave tracking then, and must be let through as such, in
        both directions. Rules of other chains have to be moved by hand.
    """,
    check=check,
    bad=(
        Example(
            "priority mangle",
            """
            table inet t {
              chain prerouting {
                type filter hook prerouting priority mangle; policy accept;
                udp dport 53 notrack  ### NT601
              }
              chain output {
                type filter hook output priority mangle; policy accept;
                udp sport 53 notrack  ### NT601
              }
              chain input {
                type filter hook input priority filter; policy accept;
                ct state established accept
              }
            }
            """,
            fixed="""
            table inet t {
              chain prerouting {
                type filter hook prerouting priority raw; policy accept;
                udp dport 53 notrack
              }
              chain output {
                type filter hook output priority raw; policy accept;
                udp sport 53 notrack
              }
              chain input {
                type filter hook input priority filter; policy accept;
                ct state established accept
              }
            }
            """,
        ),
        Example(
            "the input hook, and a chain that only it calls",
            """
            table ip t {
              chain untrack {
                udp dport 53 notrack  ### NT601
              }
              chain input {
                type filter hook input priority -300; policy accept;
                iifname "eth0" jump untrack
                udp sport 53 counter notrack accept  ### NT601
              }
            }
            """,
        ),
        Example(
            "just at connection tracking's own priority",
            """
            table inet t {
              chain output {
                type route hook output priority -200; policy accept;
                udp sport 53 notrack  ### NT601
              }
            }
            """,
            fixed="""
            table inet t {
              chain output {
                type route hook output priority raw; policy accept;
                udp sport 53 notrack
              }
            }
            """,
        ),
        Example(
            "iptables, the wrong table",
            """
            *mangle
            :PREROUTING ACCEPT [0:0]
            -A PREROUTING -p udp --dport 53 -j CT --notrack  ### NT601
            COMMIT
            """,
        ),
    ),
    good=(
        Example(
            "priority raw",
            """
            table inet t {
              chain prerouting {
                type filter hook prerouting priority raw; policy accept;
                udp dport 53 notrack
              }
              chain output {
                type filter hook output priority raw; policy accept;
                udp sport 53 notrack
              }
              chain input {
                type filter hook input priority filter; policy accept;
                ct state invalid drop
              }
            }
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "-201 is early enough, and so is -500; type route hooks before tracking as well",
            """
            table inet t {
              chain prerouting {
                type filter hook prerouting priority -201; policy accept;
                udp dport 53 notrack
              }
              chain first {
                type filter hook prerouting priority -500; policy accept;
                udp dport 123 notrack
              }
              chain output {
                type route hook output priority -300; policy accept;
                udp sport { 53, 123 } notrack
              }
            }
            """,
        ),
        Example(
            "a chain that an early base calls too, and one that nothing calls",
            """
            table inet t {
              chain untrack {
                udp dport 53 notrack
              }
              chain spare {
                udp dport 54 notrack
              }
              chain early {
                type filter hook prerouting priority raw; policy accept;
                jump untrack
              }
              chain late {
                type filter hook prerouting priority mangle; policy accept;
                jump untrack
              }
            }
            """,
        ),
    ),
)
