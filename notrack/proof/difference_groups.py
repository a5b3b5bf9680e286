"""Changes gathered as a person would tell them: a flow once, with both its directions and all its packets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import field, replace

from notrack.netfilter.ways import Way
from notrack.packets.budget import TooHard
from notrack.packets.diagram import EMPTY
from notrack.packets.fields import Field
from notrack.packets.packet_set import PacketSet
from notrack.packets.space import Space
from notrack.proof.difference import TRACKING, TRANSLATION, VERDICT, Change, Difference
from notrack.proof.difference_boxes import Box, cover, summary
from notrack.proof.difference_labels import Fate, Translation, either
from notrack.proof.difference_openers import answerable, flow, mirrored
from notrack.proof.difference_roles import Role
from notrack.proof.difference_sides import BACK
from notrack.ruleset.core import Hook
from notrack.text.record import dataclass

MOST = 40  # boxes of one change; what they do not hold is summed up
Said = tuple[str, str, bool | None, bool | None, Translation | None, Translation | None]
_ROLES = (Role.OPENING, Role.ANSWER, Role.LATER, Role.RELATED, Role.STRAY, Role.ERROR, Role.TRACKED_ERROR)


@dataclass(frozen=True, slots=True)
class Group:
    """One line of a difference: a box of packets with one change.

    `both`: the answers change alike. `packets` are those of `change` in the box; none of an earlier group's
    need be among them, though boxes may overlap.
    """

    change: Change
    box: Box
    packets: PacketSet
    both: bool = False

    @property
    def hook(self) -> Hook:
        return self.change.hook

    @property
    def way(self) -> Way:
        return self.change.way

    def witness(self) -> Change:
        """The change, cut down to the packets of the group."""
        one = self.change
        return Change(one.kind, one.role, one.way, one.hook, one.before, one.after, self.packets, one.domain)


def groups(found: Difference) -> list[Group]:
    """The changes of a family as few lines as they allow; opening packets first, verdicts before the rest."""
    by_key: dict[Said, list[Change]] = {}
    for change in gathered(found.changes):
        by_key.setdefault(said(change), []).append(change)
    order = {VERDICT: 0, TRANSLATION: 1, TRACKING: 2}
    keys = sorted(by_key, key=lambda key: order[key[0]])
    return [group for key in keys for group in _Telling(by_key[key]).groups()]


def gathered(changes: Iterable[Change]) -> list[Change]:
    """The changes, those of translations made one where they are about the same packets: which target of
    several a packet gets is for facts to decide.
    """
    kept = [change for change in changes if change.kind != TRANSLATION]
    alike: dict[tuple[Role, Way], list[tuple[int, Change]]] = {}
    for change in changes:
        if change.kind == TRANSLATION:
            space = change.packets.space
            packets = space.meet(space.may(change.packets.diagram), space.well_formed)
            same = alike.setdefault((change.role, change.way), [])
            for at, (others, other) in enumerate(same):
                if _comparable(other, change) and space.meet(others, packets) != EMPTY:
                    same[at] = space.join(others, packets), _merged(other, change)
                    break
            else:
                same.append((packets, change))
    return kept + [change for same in alike.values() for _, change in same]


def _comparable(one: Change, other: Change) -> bool:
    """Whether there is a translation on the same sides of both."""
    pairs = ((one.before, other.before), (one.after, other.after))
    return all((a.translation is None) == (b.translation is None) for a, b in pairs)


def _merged(one: Change, other: Change) -> Change:
    before, after = (
        Fate("accept", translation=either(a.translation, b.translation))
        for a, b in ((one.before, other.before), (one.after, other.after))
    )
    return replace(one, before=before, after=after, packets=one.packets | other.packets)


def said(change: Change) -> Said:
    """What a person says about a change: changes of which the same is said are told together."""
    before, after, kind = change.before, change.after, change.kind
    if kind == VERDICT:
        return kind, f"{before.verdict} {after.verdict}", None, _untracked(before, after), None, None
    if kind == TRACKING:
        return kind, "", before.tracked, after.tracked, None, None
    return kind, "", None, None, before.translation, after.translation


def _untracked(before: Fate, after: Fate) -> bool | None:
    """Whether what passes now and did not before is tracked."""
    return after.tracked if after.passes and not before.passes else None


@dataclass(slots=True)
class _Telling:
    """The changes of which the same is said; `told` are the flows, by way, that some line holds already."""

    changes: list[Change]
    told: dict[Way, int] = field(default_factory=dict)

    @property
    def space(self) -> Space:
        return self.changes[0].packets.space

    def groups(self) -> Iterator[Group]:
        for role in _ROLES:
            played = [change for change in self.changes if change.role is role]
            lines = [line for change in played for line in self.lines(change)]
            if role is Role.OPENING:
                lines.sort(key=lambda line: not _asks(line.box))
            for line in lines:
                yield from self.line(line)

    def lines(self, change: Change) -> Iterator[Group]:
        """The boxes of what no earlier line holds of a change; the last may be a summary."""
        space = self.space
        left = space.minus(change.packets.diagram, self.told.get(change.way, EMPTY))
        domain = change.domain
        between = space.meet(change.packets.diagram, answerable(space))
        if change.role is not Role.OPENING and between != EMPTY:
            left, domain = space.meet(left, between), space.meet(domain, answerable(space))
        if space.meet(left, space.well_formed) == EMPTY:
            return
        try:
            made = cover(space, left, domain, MOST)
        except TooHard:
            yield Group(change, summary(space, left), PacketSet(space, left))
            return
        for box, packets in made.boxes:
            yield Group(change, box, PacketSet(space, space.meet(packets, left)))
        if made.rest != EMPTY:
            rest = space.meet(left, made.rest)
            yield Group(change, summary(space, rest), PacketSet(space, rest))

    def line(self, line: Group) -> Iterator[Group]:
        """The line, if it says anything new, and with its other direction if that changes alike."""
        space, way = self.space, line.way
        flows = flow(space, line.packets.diagram)
        new = space.minus(line.packets.diagram, self.told.get(way, EMPTY))
        if new == EMPTY or (not _asks(line.box) and space.meet(new, answerable(space)) == EMPTY):
            return  # of what is sent from a port that was told, what goes to groups says nothing new
        self.tell(way, flows)
        both = line.change.role is Role.OPENING and self.answered(line, flows)
        yield Group(line.change, line.box, line.packets, both)

    def answered(self, line: Group, flows: int) -> bool:
        """Whether the other direction changes alike, as far as it plays a part; it is told then as well."""
        space, back = self.space, BACK[line.way]
        other = mirrored(space, flows, line.way)
        answers = [one for one in self.changes if one.way is back and one.role is Role.ANSWER]
        found = space.first([space.meet(flow(space, one.packets.diagram), other) for one in answers])
        if found == EMPTY:
            return False
        self.tell(back, other)
        return True

    def tell(self, way: Way, flows: int) -> None:
        self.told[way] = self.space.join(self.told.get(way, EMPTY), flows)


def _asks(box: Box) -> bool:
    """Whether the box names what is asked for, and not where it is answered from."""
    return box.get(Field.DESTINATION_PORT) is not None or box.get(Field.SOURCE_PORT) is None
