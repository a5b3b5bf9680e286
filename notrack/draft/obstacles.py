"""Why a service cannot be taken out of tracking in some rules, each reason with the packet that shows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from notrack.draft.service import Asked
from notrack.netfilter.model import Model
from notrack.netfilter.visits import visits
from notrack.netfilter.ways import Way
from notrack.packets.diagram import FULL
from notrack.packets.fields import AddressType, Field
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.packets.space import Space
from notrack.packets.witness import Witness
from notrack.ruleset.core import ConnectionSet, Hook, Template
from notrack.text.record import dataclass
from notrack.text.source import Span


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What is in the way: a packet that shows it, and the rule at fault, where there is one."""

    message: str
    witness: Witness | None
    span: Span | None = None
    help: str | None = None


def obstacles(models: Sequence[Model], asked: Asked) -> tuple[Obstacle, ...]:
    """Everything that is in the way, in the rules as each family meets them. May raise `TooHard`."""
    if not models:
        return (Obstacle("these rules hold nothing of the service's address family", None),)
    return tuple(one for model in models for one in _of_family(model, asked))


def _of_family(model: Model, asked: Asked) -> Iterator[Obstacle]:
    if not model.tracks:
        return
    service = requests_set(model.space, asked)
    for way in (Way.LOCAL_IN, Way.FORWARD, Way.LOOPBACK):
        for effects, packets in model.passage(way).translated():
            if hit := packets & service:
                nat = effects.destination_nat or effects.source_nat
                words = nat.text or nat.kind.value if nat else "a translation"
                yield Obstacle(
                    f"the rules translate this packet ({words}): untracked, it would not be any more",
                    hit.witness(),
                    help="take the service out of the translation first, or leave it tracked",
                )
                break
    yield from _helpers(model, service)


def _helpers(model: Model, service: PacketSet) -> Iterator[Obstacle]:
    """Rules that give a flow of the service something that only tracking has."""
    for way in (Way.LOCAL_IN, Way.LOOPBACK):
        for visit in visits(model, way, within=service):
            if visit.hook not in (Hook.PREROUTING, Hook.OUTPUT):
                break
            what = next(
                (one.what for one in visit.rule.actions if isinstance(one, Template | ConnectionSet)), None
            )
            if what is not None and (hit := visit.matching() & service):
                yield Obstacle(
                    f"a rule gives this packet's flow what only tracked flows have ({what})",
                    hit.witness(),
                    visit.rule.origin.span,
                    "take that rule out first, or leave the service tracked",
                )
                return


def requests_set(space: Space, asked: Asked) -> PacketSet:
    """All packets to the service, as they come in."""
    return PacketSet(space, _ends(space, asked, answers=False))


def answers_set(space: Space, asked: Asked) -> PacketSet:
    """All packets from the service's ports, as they leave."""
    return PacketSet(space, _ends(space, asked, answers=True))


def _ends(space: Space, asked: Asked, *, answers: bool) -> int:
    port = Field.SOURCE_PORT if answers else Field.DESTINATION_PORT
    own = Field.SOURCE if answers else Field.DESTINATION
    peer = Field.DESTINATION if answers else Field.SOURCE
    parts = [
        space.all_of((space.among(Field.PROTOCOL, one.protocol), space.having(port, one.ports)))
        for one in asked.traffic
    ]
    # What the host sends is its own, whatever the address.
    local = FULL if answers else space.among(Field.DESTINATION_TYPE, IntervalSet.single(AddressType.LOCAL))
    if asked.own is not None:
        local = space.among(own, asked.own.family(space.family))
    return space.all_of((space.first(parts), local, space.among(peer, asked.peers.family(space.family))))
