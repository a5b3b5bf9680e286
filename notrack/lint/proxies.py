"""SYNPROXY: which packets it is meant for, and whether all that it needs comes to it and from it.

It answers SYNs that nothing tracks, takes the ACK of the handshake, which connection tracking calls INVALID
(with `nf_conntrack_tcp_loose` 0), and hands the connection over: from then on it is ESTABLISHED.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

from notrack.lint.bounds import bound
from notrack.lint.entrances import entrances
from notrack.lint.entries import Entry, entries
from notrack.lint.flows import BACK
from notrack.lint.stopping import stopping
from notrack.lint.view import View
from notrack.netfilter.guards import fields_of, guard_set
from notrack.netfilter.visits import visits
from notrack.netfilter.ways import Way
from notrack.packets.fields import TCP_FLAGS, Field, Fragment, State
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.packets.witness import Witness
from notrack.ruleset.core import Fact, Hook, Rule, Table, Unknown, Verdict
from notrack.text.record import dataclass
from notrack.text.source import Span

_WAYS = {Hook.INPUT: Way.LOCAL_IN, Hook.FORWARD: Way.FORWARD}
_SYN, _ACK = TCP_FLAGS["syn"], TCP_FLAGS["ack"]


class Lack(enum.Enum):
    """What a proxy needs and has not."""

    STATES = "its rule matches not both INVALID and UNTRACKED packets"
    UNTRACKED = "no rule takes the SYNs out of tracking"
    WIDE = "more than the SYNs is taken out of tracking"
    LOOSE = "connection tracking takes up connections in the middle"
    SYN = "the SYNs do not come to it"
    HANDSHAKE = "the ACKs of the handshake do not come to it"
    ESTABLISHED = "the connections that it hands over are stopped"
    ANSWERS = "the answers on the connections that it hands over are stopped"


@dataclass(frozen=True, slots=True)
class Incomplete:
    """A proxy with what it lacks, and the place that must change."""

    entry: Entry
    lack: Lack
    span: Span
    witness: Witness | None = None


def incomplete(view: View) -> Iterator[Incomplete]:
    """Everything that the proxies of a view lack."""
    for table in view.ruleset.tables:
        if view.family not in table.families:
            continue
        for chain in table.chains:
            for entry in entries(chain):
                if entry.span is not None and any(_proxies(rule) for rule in entry.rules):
                    yield from _Proxy(view, table, entry, entry.span).lacks()


def _proxies(rule: Rule) -> bool:
    return any(
        action is Verdict.STOLEN or (isinstance(action, Unknown) and "synproxy" in action.text.lower())
        for action in rule.actions
    )


@dataclass(frozen=True, slots=True)
class _Proxy:
    view: View
    table: Table
    entry: Entry
    span: Span

    def lacks(self) -> Iterator[Incomplete]:
        bases = entrances(self.table)[self.entry.chain.name]
        ways = [_WAYS[hook] for hook in dict.fromkeys(base.hook for base in bases) if hook in _WAYS]
        if not ways:
            return
        states = bound(self.entry.rules[0].guard, Field.STATE, self.view.family)
        if State.INVALID not in states or State.UNTRACKED not in states:
            yield Incomplete(self.entry, Lack.STATES, self.span)
            return
        untracked = [way for way in ways if self.view.passage(way).untracked_by_rule(self._packets(_SYN))]
        if not untracked:
            yield Incomplete(self.entry, Lack.UNTRACKED, self.span, self._packets(_SYN).witness())
            return
        if self.view.host.tcp_loose:
            yield Incomplete(self.entry, Lack.LOOSE, self.span)
        for way in untracked:
            wide = list(self._wide(way))
            yield from wide or self._passing(way)

    def _wide(self, way: Way) -> Iterator[Incomplete]:
        """The rule that untracks the rest of the connection too."""
        packets = self.view.passage(way).untracked_by_rule(self._packets(_ACK))
        for leg in self.view.flows.legs if packets else ():
            both = packets.exists((Field.STATE,)) & leg.on(way)
            if both and leg.span is not None:
                yield Incomplete(self.entry, Lack.WIDE, leg.span, both.witness())
                return

    def _passing(self, way: Way) -> Iterator[Incomplete]:
        """What does not come to the proxy, or not from it."""
        for lack, flags, state in (
            (Lack.SYN, _SYN, State.UNTRACKED),
            (Lack.HANDSHAKE, _ACK, State.INVALID),
        ):
            packets = self._packets(flags, state)
            if not self._reached(way, packets):
                yield from self._stopped(way, packets, lack)
        going = self._packets(_ACK, State.ESTABLISHED)
        if not self._let(way, going):
            yield from self._stopped(way, going, Lack.ESTABLISHED)
        coming = going.mirror()
        if not self._let(BACK[way], coming):
            yield from self._stopped(BACK[way], coming, Lack.ANSWERS)

    def _packets(self, flags: int, state: State | None = None) -> PacketSet:
        """TCP packets that the rule names, with these flags and (as rules see them) this state."""
        space = self.view.model.space
        wanted = {
            Field.PROTOCOL: IntervalSet.single(6),
            Field.FLAGS: IntervalSet.single(flags),
            Field.FRAGMENT: IntervalSet.single(Fragment.WHOLE),
        }
        if state is not None:
            wanted[Field.STATE] = IntervalSet.single(state)
        plain = tuple(
            literal
            for literal in self.entry.rules[0].guard
            if not isinstance(literal, Fact) and fields_of((literal,)).isdisjoint((Field.STATE, Field.FLAGS))
        )
        return PacketSet(space, space.meet(space.cube(wanted), guard_set(space, plain)))

    def _reached(self, way: Way, packets: PacketSet) -> bool:
        """Whether any of the packets comes to the proxy's rule."""
        known = {id(rule) for rule in self.entry.rules}
        within = (
            packets if State.UNTRACKED not in packets.project(Field.STATE) else packets.exists((Field.STATE,))
        )
        return any(id(visit.rule) in known for visit in visits(self.view.model, way, within))

    def _let(self, way: Way, packets: PacketSet) -> bool:
        passage = self.view.passage(way)
        asked = packets & passage.packets
        return not asked or bool(passage.accepted(asked))

    def _stopped(self, way: Way, packets: PacketSet, lack: Lack) -> Iterator[Incomplete]:
        witness = (packets & self.view.passage(way).packets).witness()
        decision = stopping(self.view, way, witness) if witness is not None else None
        if decision is not None and decision.span is not None:
            yield Incomplete(self.entry, lack, decision.span, witness)
