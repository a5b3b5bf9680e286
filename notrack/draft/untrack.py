"""The smallest change that takes one service out of connection tracking, in somebody else's rules.

First the rules that untrack it are added, at the head of the raw table (or in an nft table of their own).
Then the two rulesets are compared as functions of packets; where a packet of the service would not get
through any more, the very rule that let it through gets a twin that asks for untracked packets of this
service, beside it. That goes on until the comparison finds no packet whose verdict changed.
"""

from __future__ import annotations

from collections.abc import Sequence

from notrack.draft.obstacles import Obstacle, answers_set, obstacles
from notrack.draft.peers import narrowed
from notrack.draft.raw import untracking
from notrack.draft.service import Asked
from notrack.draft.texts import Read, applied
from notrack.draft.twins import twins
from notrack.lint.collection import named
from notrack.lint.engine import lint
from notrack.lint.finding import Finding
from notrack.lint.subject import Subject
from notrack.netfilter.host import Host
from notrack.netfilter.model import Model
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.packets.budget import TooHard
from notrack.packets.fields import Field
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.proof.difference import TRANSLATION, VERDICT, Change, Difference, difference
from notrack.proof.difference_roles import Role
from notrack.ruleset.formats import Reading
from notrack.text.record import dataclass
from notrack.text.source import Source

_JUDGES = ("NT401", "NT402", "NT403", "NT501", "NT507")
_ROUNDS = 40  # twins that are added before it is given up; each lets through all that its rule let through


@dataclass(frozen=True, slots=True)
class Untracked:
    """The texts after the change, in their order. `refusals` not empty: nothing was changed, and why.

    `changes`: how the rules differ as functions of packets; `exposed`: packets that pass now and did not,
    which only tracking could tell from packets of a flow; `assumed`: what was taken for granted.
    """

    sources: tuple[Source, ...]
    changes: tuple[Difference, ...] = ()
    exposed: tuple[Change, ...] = ()
    refusals: tuple[Obstacle, ...] = ()
    assumed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


def untrack(sources: Sequence[Source], asked: Asked, host: Host, read: Read) -> Untracked:
    """The texts with the service out of tracking, or the reasons for which that cannot be."""
    before = read(sources)
    models = [Model(before.ruleset, family, host) for family in _families(before, asked)]
    try:
        first = obstacles(models, asked)
        asked, families = (asked, ()) if first else narrowed(models, asked)
    except TooHard as reason:
        first = (Obstacle(f"the rules are too hard to tell what they do with the service ({reason})", None),)
    if first:
        return Untracked(tuple(sources), refusals=first)
    if not families:
        message = "nothing lets this service in through tracking: there is nothing to take out of it"
        return Untracked(tuple(sources), refusals=(Obstacle(message, None),))
    edits = untracking(before, asked, families, host)
    if isinstance(edits, Obstacle):
        return Untracked(tuple(sources), refusals=(edits,))
    return _Search(before, tuple(sources), asked, families, host, read).run(applied(tuple(sources), edits))


def _families(reading: Reading, asked: Asked) -> tuple[Family, ...]:
    """The families that the rules speak of and the service has."""
    there = {family for table in reading.ruleset.tables for family in table.families}
    return tuple(
        family
        for family in Family
        if family in there and family in asked.families and asked.peers.family(family)
    )


@dataclass(frozen=True, slots=True)
class _State:
    """Texts on the way, the rules that they are, and how these differ from the rules before."""

    texts: tuple[Source, ...]
    now: Reading
    found: tuple[Difference, ...]


@dataclass
class _Search:
    before: Reading
    original: tuple[Source, ...]
    asked: Asked
    families: tuple[Family, ...]
    host: Host
    read: Read

    def run(self, texts: tuple[Source, ...]) -> Untracked:
        state = self.tried(texts)
        for _ in range(_ROUNDS):
            if isinstance(state, Obstacle):
                return self.refused(state)
            lost = next((change for one in state.found for change in _lost(one)), None)
            if lost is None:
                return self.settled(state)
            better = self.mended(state, lost)
            if better is None:
                return self.refused(_hopeless(lost))
            state = better
        return self.refused(
            Obstacle("too many rules let this service through by the state of its flows", None)
        )

    def tried(self, texts: tuple[Source, ...]) -> _State | Obstacle:
        """Texts as rules, compared with the rules before."""
        now = self.read(texts)
        found = self.compared(now)
        return found if isinstance(found, Obstacle) else _State(texts, now, found)

    def refused(self, reason: Obstacle) -> Untracked:
        return Untracked(self.original, refusals=(reason,))

    def compared(self, now: Reading) -> tuple[Difference, ...] | Obstacle:
        try:
            found = tuple(
                difference(self.before.ruleset, now.ruleset, family, self.host) for family in self.families
            )
        except TooHard as reason:
            return Obstacle(f"the rules are too hard to compare ({reason})", None)
        undecided = [words for one in found for words in one.undecided]
        return Obstacle(f"not decided whether all else stays: {undecided[0]}", None) if undecided else found

    def settled(self, state: _State) -> Untracked:
        """The change, unless it does more than to untrack the service."""
        if (fault := self.fault(state.now)) is not None:
            return self.refused(fault)
        changes = [change for one in state.found for change in one.changes]
        for change in changes:
            if change.kind == TRANSLATION and not self.from_the_service(change):
                return self.refused(Obstacle("the rules translate this packet", change.witness()))
        opened = _opened(state.found)
        for change in opened:
            if not self.only_tracking_tells(change):
                return self.refused(Obstacle("this packet was dropped and would pass", change.witness()))
        old = {line for source in self.original for line in source.text.splitlines()}
        lines = [line for source in state.texts for line in source.text.splitlines()]
        added = tuple(line for line in lines if line not in old and line.strip())
        granted = (_from_service_port(change) for change in changes if change.kind == VERDICT)
        assumed = tuple(dict.fromkeys(words for words in granted if words is not None))
        return Untracked(state.texts, state.found, opened, assumed=assumed, added=added)

    def fault(self, now: Reading) -> Obstacle | None:
        """What the linter finds in the new rules and not in the old ones, of what a comparison of single
        packets cannot see: a port that a translation may choose, a helper that loses its flows."""
        known = [(one.code, one.span.text) for one in self.findings(self.before)]
        for one in self.findings(now):
            if (one.code, one.span.text) in known:
                known.remove((one.code, one.span.text))
            else:
                return Obstacle(one.fault.message, one.fault.witness, one.span, one.fault.help)
        return None

    def findings(self, reading: Reading) -> tuple[Finding, ...]:
        rules = [rule for code in _JUDGES if (rule := named(code)) is not None]
        return lint(Subject(reading, self.host), rules).findings

    def mended(self, state: _State, lost: Change) -> _State | None:
        """One more rule, under which the lost packet passes and no other packet newly does."""
        for edits in twins(self.before, state.now, lost, self.asked, self.host):
            trial = self.tried(applied(state.texts, edits))
            if not isinstance(trial, Obstacle) and self.better(trial.found, lost):
                return trial
        return None

    def better(self, made: tuple[Difference, ...], lost: Change) -> bool:
        """Whether less is lost, and nothing passes that did not, beside what only tracking could tell."""
        witness = lost.witness()
        if witness is None:
            return False
        facts = dict(witness.facts)
        still = any(
            change.packets.has(witness.packet, facts)
            for one in made
            if one.family is lost.packets.space.family
            for change in _lost(one)
            if (change.role, change.way) == (lost.role, lost.way)
        )
        return not still and all(self.only_tracking_tells(change) for change in _opened(made))

    def only_tracking_tells(self, change: Change) -> bool:
        """Whether packets pass now only because nothing but tracking could tell them from those of a flow."""
        return change.role is Role.STRAY or self.from_the_service(change)

    def from_the_service(self, change: Change) -> bool:
        """Whether the host itself sends the packets from the service's ports: they are its answers, which
        nothing else looks like."""
        own = change.way in (Way.LOCAL_OUT, Way.LOOPBACK)
        return own and change.packets <= answers_set(change.packets.space, self.asked)


def _lost(one: Difference) -> list[Change]:
    """Packets that passed and would not. First those that open flows: what answers them follows."""
    found = [
        change
        for change in one.of_kind(VERDICT)
        if change.before.passes and not change.after.passes and not _guessed(change)
    ]
    return sorted(found, key=lambda change: _ORDER.index(change.role))


def _opened(found: Sequence[Difference]) -> tuple[Change, ...]:
    """Packets that pass and did not."""
    return tuple(
        change
        for one in found
        for change in one.of_kind(VERDICT)
        if change.after.passes and not _guessed(change)
    )


def _hopeless(lost: Change) -> Obstacle:
    """Why no rule can let a packet through again."""
    if lost.way is Way.FORWARD and lost.role in (Role.ANSWER, Role.LATER):
        return Obstacle(
            "a flow that is translated here may be given a port of the service: such an answer would be lost",
            lost.witness(),
            help="keep the translation away from that port first, as in `MASQUERADE --to-ports 1024-32767`",
        )
    message = "this packet passes now and would be dropped, and no rule beside those there mends it"
    return Obstacle(message, lost.witness())


_TCP = 6
_PRIVILEGED = IntervalSet(((1, 1023),))


def _from_service_port(change: Change) -> str | None:
    """What is assumed if these answers are not missed: they are answers to TCP connections started from the
    service's own port. On the host the service holds it; of others, none start from a port below 1024, and a
    translation gives such ports to such alone. (UDP programs do ask from their own port: time, names, IKE.)
    """
    if change.role is not Role.ANSWER:
        return None
    space = change.packets.space
    tcp = PacketSet.where(space, Field.PROTOCOL, _TCP)
    if change.way is Way.LOCAL_IN and change.packets <= tcp:
        return "the host itself starts no TCP connection from the service's port"
    low = tcp & PacketSet.where(space, Field.DESTINATION_PORT, _PRIVILEGED)
    if change.way is Way.FORWARD and change.packets <= low:
        return "no TCP connection that is translated here starts from a port below 1024"
    return None


def _guessed(change: Change) -> bool:
    """Whether only flows have such packets that are not there: what a helper brings to the service (a rule
    that gives it one is an obstacle), errors about flows that became tracked."""
    if change.role is Role.RELATED or _from_service_port(change) is not None:
        return True
    return change.role is Role.ERROR and change.after.passes


_ORDER = [Role.OPENING, Role.ANSWER, Role.LATER, Role.ERROR, Role.STRAY, Role.RELATED]
