"""Whether anything of a protocol is still tracked, and the rules that take all of it out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from notrack.lint.bounds import asks, bound
from notrack.lint.entrances import is_early
from notrack.lint.exposure import TCP, UDP, ordinary
from notrack.lint.view import Untracking, View
from notrack.netfilter.effects import Track
from notrack.netfilter.model import Model
from notrack.netfilter.visits import survivors
from notrack.netfilter.ways import Way
from notrack.packets.fields import Field, domain
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Jump, Rule, Ruleset, Table
from notrack.text.record import dataclass

_NARROW = (
    Field.SOURCE_PORT,
    Field.DESTINATION_PORT,
    Field.SOURCE,
    Field.DESTINATION,
    Field.FLAGS,
    Field.ICMP_TYPE,
)


@dataclass(frozen=True, slots=True)
class Broad:
    """A rule that leaves nothing of some protocols tracked, and what it takes."""

    untracking: Untracking
    protocols: tuple[int, ...]
    packets: PacketSet


def broad(view: View, way: Way) -> Iterator[Broad]:
    """The rules of a way that untrack without naming anybody or any port, where they leave no packet of TCP
    or UDP tracked on it. A bare rule behind jumps is the default of a chain that tracks by choice."""
    candidates = [one for one in view.untrackings if one.way is way and _unnarrowed(one)]
    if not candidates:
        return
    gone = [protocol for protocol in (TCP, UDP) if not _left(view, way, protocol)]
    for one in candidates:
        named = bound(one.visit.rule.guard, Field.PROTOCOL, view.family)
        protocols = tuple(protocol for protocol in (TCP, UDP) if protocol in named)
        if protocols and all(protocol in gone for protocol in protocols):
            space = view.model.space
            cut = PacketSet(space, space.among(Field.PROTOCOL, protocols[0]))
            yield Broad(one, protocols, ordinary(one.packets) & cut)


def _left(view: View, way: Way, protocol: int) -> bool:
    """Whether any packet of a protocol is tracked on a way."""
    space = view.model.space
    early = Model(_early(view.ruleset), view.family, view.host, space=space)
    asked = PacketSet(space, space.among(Field.PROTOCOL, protocol))
    return any(
        effects.track is not Track.UNTRACKED and ordinary(packets)
        for effects, packets in survivors(early, way, asked).items()
    )


def _early(ruleset: Ruleset) -> Ruleset:
    """What runs before connection tracking alone."""

    def kept(table: Table) -> Table:
        chains = tuple(one for one in table.chains if one.base is None or is_early(one.base))
        return replace(table, chains=chains)

    return Ruleset(tuple(map(kept, ruleset.tables)))


def _unnarrowed(one: Untracking) -> bool:
    rule, chain = one.visit.rule, one.visit.chain
    wide = all(_is_wide(rule, side, one) for side in (Field.IN, Field.OUT))
    if asks(rule.guard, *_NARROW) or not one.packets or not wide:
        return False
    before = chain.rules[: next(i for i, other in enumerate(chain.rules) if other is rule)]
    jumps = any(other.actions and isinstance(other.actions[-1], Jump) for other in before)
    return bool(rule.guard) or not jumps


def _is_wide(rule: Rule, side: Field, one: Untracking) -> bool:
    """Whether a rule leaves most interfaces open."""
    family = one.packets.space.family
    return 2 * bound(rule.guard, side, family).size() > domain(side, family).whole.size()
