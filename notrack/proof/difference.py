"""Two rulesets compared as functions: every packet whose verdict, tracking or translation differs.

The meaning of the verdict is what becomes of a packet end to end, on its whole way; where a rule stands, in
which chain or format, is none of it. What packets are to their flows, and which states they have under each
ruleset, is said in `difference_roles`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from notrack.netfilter.host import UNKNOWN_HOST, Host
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.packets.budget import Budget, TooHard
from notrack.packets.diagram import EMPTY, FULL
from notrack.packets.fields import Field
from notrack.packets.packet_set import PacketSet
from notrack.packets.space import Space
from notrack.packets.witness import Witness
from notrack.proof.difference_fragments import lost_fragments
from notrack.proof.difference_labels import Fate
from notrack.proof.difference_names import spelled
from notrack.proof.difference_openers import Openers, answerable
from notrack.proof.difference_roles import Cast, Role
from notrack.proof.difference_sides import BACK, Labels, Side
from notrack.proof.difference_slices import Slices
from notrack.ruleset.core import Hook, Ruleset
from notrack.text.record import dataclass

VERDICT, TRACKING, TRANSLATION = "verdict", "tracking", "translation"
_KINDS = (VERDICT, TRACKING, TRANSLATION)
_COUNTED = (
    Field.PROTOCOL, Field.ICMP_TYPE, Field.SOURCE, Field.SOURCE_PORT, Field.DESTINATION,
    Field.DESTINATION_PORT,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """Packets of one role on one way that have one fate before and another after.

    `kind` is verdict, tracking (they pass in both) or translation (so too); `hook` is where the fate of the
    one that does not pass is sealed, or where tracking or translation are decided. `packets` are as they come
    in or leave their sender, without a state: `role` and the two rulesets say that. `domain` holds all
    packets that could play the role on the way.
    """

    kind: str
    role: Role
    way: Way
    hook: Hook
    before: Fate
    after: Fate
    packets: PacketSet
    domain: int = FULL

    def witness(self) -> Witness | None:
        """One of the packets, and the facts that must hold for it to be one."""
        return PacketSet(self.packets.space, self.packets._well_formed()).witness()

    def count(self) -> int:
        """How many combinations of protocol, addresses and ports have such a packet."""
        return self.packets.may().count(_COUNTED)


@dataclass(frozen=True, slots=True)
class Difference:
    """All changes of one family. No change and nothing `undecided`: the rulesets are equal, proven.

    `facts`: what the packets alone do not decide and the comparison rests on; equal names were taken for
    equal facts.
    """

    family: Family
    changes: tuple[Change, ...]
    undecided: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        return not self.changes and not self.undecided

    def of_kind(self, kind: str) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.kind == kind)


def difference(
    before: Ruleset,
    after: Ruleset,
    family: Family,
    host: Host = UNKNOWN_HOST,
    budget: Budget | None = None,
) -> Difference:
    """Every packet of a family whose fate differs between two rulesets on one host.

    Never raises: what would cost more than the budget (its time is that of one way through the host) is named
    in `undecided`.
    """
    space = Space(family, budget or _BUDGET)
    labels = Labels(space, {})
    sides = tuple(Side(spelled(one, family), host, space, labels) for one in (before, after))
    cast = Cast(space, tcp_loose=host.tcp_loose is not False)
    run = _Run(Slices(space, labels, cast, (sides[0], sides[1])))
    changes: list[Change] = []
    undecided: list[str] = []
    for view in Way:
        space.meter.restart()
        hard: dict[str, list[str]] = {}
        for role in Role:
            try:
                changes += run.changes(role, view)
            except TooHard as reason:
                hard.setdefault(str(reason), []).append(role.value)
        undecided += [f"{view.value}, {_several(roles)}: {reason}" for reason, roles in hard.items()]
    return Difference(family, tuple(changes), tuple(undecided), tuple(space.names))


_BUDGET = Budget(seconds=60.0)


def _several(roles: list[str]) -> str:
    return "all packets" if len(roles) == len(Role) else f"{', '.join(roles)} packets"


class _Run:
    def __init__(self, slices: Slices) -> None:
        self.slices = slices
        self.space = slices.space
        self.openers = Openers(slices)
        self._domains: dict[tuple[Role, Way], int] = {}

    def changes(self, role: Role, view: Way) -> Iterator[Change]:
        """The changes of one role on one way; equal ones of several comparisons are one."""
        found: dict[tuple[str, Hook, Fate, Fate], int] = {}
        if role in (Role.ERROR, Role.TRACKED_ERROR) and not self.shifted(role, view):
            return
        for before, after, packets in self.pairs(role, view):
            for kind, hook in _kinds(before, after, view):
                if kind is not VERDICT and role not in _TRACKED_ROLES:
                    continue
                if kind is TRACKING:
                    packets = self.space.minus(packets, self.slices.sides[0].never)
                if kind is TRANSLATION and role is not Role.OPENING:
                    continue
                key = (kind, hook, _told(kind, before), _told(kind, after))
                found[key] = self.space.join(found.get(key, EMPTY), packets)
        for (kind, hook, old, new), packets in found.items():
            inside = self.space.meet(packets, self.space.well_formed)
            if inside != EMPTY:
                packets_of = PacketSet(self.space, packets)
                yield Change(kind, role, view, hook, old, new, packets_of, self.domain(role, view))

    def pairs(self, role: Role, view: Way) -> Iterator[tuple[Fate, Fate, int]]:
        """Two fates that differ, and the packets that have them."""
        if role in (Role.ANSWER, Role.LATER):
            yield from self.openers.pairs(role, view)
        else:
            yield from self.slices.pairs(role, view)
        if role is Role.OPENING:
            yield from lost_fragments(self.slices, view)

    def domain(self, role: Role, view: Way) -> int:
        """All packets that play a role on a way."""
        if (role, view) not in self._domains:
            found = self.slices.domain(role, view)
            if role in (Role.ANSWER, Role.LATER):
                found = self.space.meet(found, answerable(self.space))
            self._domains[role, view] = found
        return self._domains[role, view]

    def shifted(self, role: Role, view: Way) -> bool:
        """Whether the tracking of some flow with packets on the way changes as an error's role says."""
        lost = role is Role.ERROR
        return any(
            old.passes and new.passes and (old.tracked, new.tracked) == (lost, not lost)
            for way in (view, BACK[view])
            for old, new, _ in self.slices.pairs(Role.OPENING, way)
        )


def _told(kind: str, fate: Fate) -> Fate:
    """A fate without what a change of this kind does not speak of."""
    if kind == VERDICT:
        return replace(fate, translation=None)
    if kind == TRACKING:
        return Fate("accept", tracked=fate.tracked)
    return Fate("accept", translation=fate.translation)


_TRACKED_ROLES = (Role.OPENING, Role.ANSWER, Role.LATER)
_ENTERS = {Way.LOCAL_IN: Hook.PREROUTING, Way.FORWARD: Hook.PREROUTING}


def _kinds(before: Fate, after: Fate, view: Way) -> Iterator[tuple[str, Hook]]:
    """In which regards two fates differ, and at which hook."""
    enters = _ENTERS.get(view, Hook.OUTPUT)
    if before.verdict != after.verdict:
        yield VERDICT, after.hook or before.hook or enters
        return
    if not before.passes:
        return
    if before.tracked != after.tracked:
        yield TRACKING, enters
    if before.translation != after.translation:
        source = all(one is None or not one.of_destination for one in (before.translation, after.translation))
        leaves = Hook.INPUT if view is Way.LOCAL_IN else Hook.POSTROUTING
        yield TRANSLATION, leaves if source else enters
