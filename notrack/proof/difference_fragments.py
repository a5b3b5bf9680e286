"""Later fragments, where one of two rulesets alone puts fragments together: it tracks, the other does not.

That ruleset sees whole packets only. Under the other, a packet arrives if its first fragment passes, which
has ports, and the later ones, which have none.
"""

from __future__ import annotations

from collections.abc import Iterator

from notrack.netfilter.ways import Way
from notrack.packets import questions
from notrack.packets.diagram import EMPTY
from notrack.packets.fields import Field, Fragment
from notrack.proof.difference_labels import Fate
from notrack.proof.difference_roles import Role
from notrack.proof.difference_slices import Slices

_ONLY_IN_HEADS = (
    Field.SOURCE_PORT, Field.DESTINATION_PORT, Field.ICMP_TYPE, Field.ICMP_CODE, Field.FLAGS, Field.FRAGMENT,
    Field.LENGTH,
)  # fmt: skip


def lost_fragments(slices: Slices, view: Way) -> Iterator[tuple[Fate, Fate, int]]:
    """Later fragments of packets that pass whole under one ruleset, and under the other but for them."""
    one, other = slices.sides
    if one.model.reassembles == other.model.reassembles or view in (Way.LOCAL_OUT, Way.LOOPBACK):
        return
    space = slices.space
    states = next(slices.cast.pairs(Role.OPENING, view, one, other))[0]
    whole, parts = (one, other) if one.model.reassembles else (other, one)
    values = slices.values(parts.fates(view), states)
    level = space.levels[Field.FRAGMENT][0]
    passing = slices.passing_all(slices.values(whole.fates(view), states))
    heads = space.meet(
        questions.assign(space, passing, {level: Fragment.WHOLE}),
        questions.assign(space, slices.passing_all(values), {level: Fragment.FIRST}),
    )
    tails = space.meet(space.among(Field.FRAGMENT, Fragment.LATER), parts.headers(view))
    expected = space.meet(space.exists(space.may(heads), _ONLY_IN_HEADS), tails)
    leaves = questions.leaves(space, values)
    for leaf, where in questions.regions(space, values, leaves).items():
        fate = slices.labels.known[leaf]
        lost = space.meet(where, expected)
        if not fate.passes and lost != EMPTY:
            arrived = Fate("accept", tracked=whole.tracks)
            yield (arrived, fate, lost) if whole is one else (fate, arrived, lost)
