"""From whom rules let a service in: nobody else's packets need to be untracked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from notrack.draft.obstacles import requests_set
from notrack.draft.service import Asked
from notrack.netfilter.model import Model
from notrack.netfilter.ways import Way
from notrack.packets.address import ANY, AddressSet, Family, prefixes
from notrack.packets.fields import AddressType, Field, State
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet

_MANY = 16  # prefixes; of more peers than that nobody wants a rule each


def narrowed(models: Sequence[Model], asked: Asked) -> tuple[Asked, tuple[Family, ...]]:
    """The service for the peers that get in today, where they are a few networks; and the families in which
    any do. What others send is dropped before it becomes an entry, so nothing is lost.
    """
    accepted = {model.family: _accepted(model, asked) for model in models}
    left = tuple(family for family in accepted if accepted[family])
    if asked.peers != ANY:
        return asked, left
    peers = {
        family: family.whole if _too_many(accepted[family], family) else accepted[family] for family in left
    }
    nobody = IntervalSet()
    few = AddressSet(peers.get(Family.IPV4, nobody), peers.get(Family.IPV6, nobody))
    return replace(asked, peers=few), left


def _accepted(model: Model, asked: Asked) -> IntervalSet:
    """The sources of packets that open a tracked flow of the service, over whichever interface."""
    if not model.tracks:
        return IntervalSet()
    space = model.space
    new = requests_set(space, asked).diagram
    new = space.all_of(
        (new, space.among(Field.STATE, State.NEW), space.among(Field.SOURCE_TYPE, AddressType.UNICAST))
    )
    passage = model.passage(Way.LOCAL_IN)
    return passage.accepted(within=PacketSet(space, new)).may().project(Field.SOURCE)


def _too_many(addresses: IntervalSet, family: Family) -> bool:
    """Whether the peers are so many networks, or so nearly everybody, that they are not worth a rule each."""
    count = sum(1 for _ in zip(range(_MANY + 1), prefixes(addresses, family), strict=False))
    return count > _MANY or family.whole - addresses == IntervalSet()
