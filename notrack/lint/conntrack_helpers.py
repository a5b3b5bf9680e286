"""Protocols that open further connections, and what shows that a host relies on the helper of one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from notrack.lint.bounds import asks, bound, rules_of
from notrack.lint.entrances import entrances
from notrack.lint.exposure import EPHEMERAL
from notrack.lint.stopping import accepting
from notrack.lint.subject import Subject
from notrack.lint.view import View
from notrack.netfilter.guards import guard_set
from notrack.netfilter.ways import Way
from notrack.packets.fields import TCP_FLAGS, Field, Fragment, State
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import ConnectionSet, Fact, Hook, Rule, Table, Template, Verdict
from notrack.text.record import dataclass
from notrack.text.source import Span

_TCP, _UDP = 6, 17
CONTROL: dict[str, tuple[tuple[int, int], ...]] = {
    "ftp": ((_TCP, 21),),
    "tftp": ((_UDP, 69),),
    "sip": ((_UDP, 5060), (_TCP, 5060)),
    "irc": ((_TCP, 6667),),
    "pptp": ((_TCP, 1723),),
    "h323": ((_TCP, 1720), (_UDP, 1719)),
    "amanda": ((_UDP, 10080),),
    "sane": ((_TCP, 6566),),
    "netbios-ns": ((_UDP, 137),),
}
"""The protocol and port of each helper's control connection (`nf_conntrack_*` of the kernel)."""
_ALIASES = {"netbios_ns": "netbios-ns", "RAS": "h323", "Q.931": "h323"}
_RULE = re.compile(r"--helper\s+[\"']?([\w.-]+)")
_TYPE = re.compile(r"type\s+\"?([\w.-]+)\"?\s+protocol")
_MODULE = re.compile(r"^[^#\n]*\b(?:nf|ip)_conntrack_([a-z0-9_]+)\b", re.MULTILINE)
_UNLOADED = re.compile(r"\b(?:rmmod|blacklist|install|lsmod)\b|\s-r\b|--remove\b")
_NOT_WHO = tuple(field for field in Field if field not in (Field.IN, Field.SOURCE))
_PASSIVE = 10  # so many ports in a row, open to whoever comes, are taken for a passive range


@dataclass(frozen=True, slots=True)
class Reliance:
    """What shows that a helper is wanted. `packets`: those that a rule gives to it in some `hooks`, if a rule
    says so; `sure`: it is said by name. `span`: where."""

    name: str
    span: Span | None
    packets: PacketSet | None = None
    hooks: frozenset[Hook] = frozenset()
    sure: bool = True


def control(view: View, name: str) -> PacketSet:
    """The packets to the control port of a helper's protocol."""
    space = view.model.space
    whole = IntervalSet.single(Fragment.WHOLE)
    cubes = [
        space.cube(
            {
                Field.PROTOCOL: IntervalSet.single(protocol),
                Field.DESTINATION_PORT: IntervalSet.single(port),
                Field.FRAGMENT: whole,
                Field.SOURCE_PORT: EPHEMERAL,
            }
        )
        for protocol, port in CONTROL[name]
    ]
    return PacketSet(space, space.first(cubes))


def reliances(subject: Subject, view: View) -> Iterator[Reliance]:
    """Every helper that is given, matched, defined or loaded by name; FTP also where RELATED is let in and
    no passive range is open."""
    for table in view.ruleset.tables:
        if view.family in table.families:
            yield from _in_rules(view, table)
            for keeper in table.keepers:
                span = keeper.origin.span
                if span is not None and (found := _TYPE.search(span.text)) and (name := _known(found[1])):
                    yield Reliance(name, span)
    for document in subject.documents:
        for found in _MODULE.finditer(document.source.text):
            name = None if _UNLOADED.search(found[0]) else _known(found[1])
            if name is not None:
                yield Reliance(name, document.source.span(found.start(1), found.end(1)))
    related = next(
        (rule for rule in rules_of(view.ruleset, view.family) if _lets_related_in(view, rule)), None
    )
    if related is not None:
        yield Reliance("ftp", related.origin.span, sure=False)


def _in_rules(view: View, table: Table) -> Iterator[Reliance]:
    hooks = entrances(table)
    for chain in table.chains:
        for rule in chain.rules:
            yield from _named(view, rule, frozenset(base.hook for base in hooks[chain.name]))


def _named(view: View, rule: Rule, hooks: frozenset[Hook]) -> Iterator[Reliance]:
    for action in rule.actions:
        if isinstance(action, Template) and (found := _RULE.search(action.what)):
            if name := _known(found[1]):
                space = view.model.space
                asks = space.among(Field.SOURCE_PORT, EPHEMERAL)
                given = PacketSet(space, space.meet(guard_set(space, rule.guard), asks))
                given = given.exists((Field.STATE,))
                yield Reliance(name, rule.origin.span, given, hooks)
        elif isinstance(action, ConnectionSet) and action.what.startswith("ct helper set"):
            return  # the object that it names tells the type
    for literal in rule.guard:
        if isinstance(literal, Fact) and (found := _RULE.search(literal.name)) and (name := _known(found[1])):
            yield Reliance(name, rule.origin.span)


def _known(name: str) -> str | None:
    """The helper of a name; `ftp-2121` is ftp, as in lists of ports."""
    plain = _ALIASES.get(name, name)
    return next((one for one in (plain, plain.partition("-")[0]) if one in CONTROL), None)


def _lets_related_in(view: View, rule: Rule) -> bool:
    """Whether a rule accepts TCP that is RELATED, and not just whatever the state is."""
    if rule.actions[-1:] != (Verdict.ACCEPT,):
        return False
    left = bound(rule.guard, Field.STATE, view.family)
    tcp = _TCP in bound(rule.guard, Field.PROTOCOL, view.family)
    return tcp and State.RELATED in left and left.size() < len(State)


def without_passive_range(view: View, way: Way, hook: Hook, asking: PacketSet) -> PacketSet:
    """Those of the clients in `asking` (by their address and way in) to whom no rule opens a range of high
    ports for new connections, helper or not.

    A rule that lets in whatever is untracked opens none: it was not made for the data connections.
    """
    space = view.model.space
    opening = {
        Field.PROTOCOL: IntervalSet.single(_TCP),
        Field.FLAGS: IntervalSet.single(TCP_FLAGS["syn"]),
        Field.FRAGMENT: IntervalSet.single(Fragment.WHOLE),
        Field.DESTINATION_PORT: IntervalSet(((1024, 65535),)),
        Field.SOURCE_PORT: EPHEMERAL,
    }
    packets = PacketSet(space, space.cube(opening))
    left = asking.exists(_NOT_WHO) - _to_ranges(view.flows.verdicts.accepted(way, packets, State.NEW))
    asked = packets & left & PacketSet(space, space.among(Field.STATE, State.UNTRACKED))
    untracked = _to_ranges(view.passage(way).accepted(asked))
    witness = (view.passage(way).accepted(asked & untracked)).witness()
    decision = accepting(view, way, witness, hook) if witness is not None else None
    rule = decision.rule if decision is not None else None
    meant = rule is not None and asks(rule.guard, Field.DESTINATION_PORT)
    return left - untracked if meant else left


def _to_ranges(packets: PacketSet) -> PacketSet:
    """Who sends to a range of many ports in a row, in a set of packets."""
    ports = packets.project(Field.DESTINATION_PORT) if packets else IntervalSet()
    wide = IntervalSet(tuple((low, high) for low, high in ports if high - low + 1 >= _PASSIVE))
    return (packets & PacketSet(packets.space, packets.space.among(Field.DESTINATION_PORT, wide))).exists(
        _NOT_WHO
    )
