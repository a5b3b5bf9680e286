"""One packet through every hook, rule by rule: the same semantics as the model's, on single values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from notrack.netfilter import tracking, ways
from notrack.netfilter.algebra import End
from notrack.netfilter.course import Course, Step
from notrack.netfilter.effects import ONE_HOP, TRACKED_ANEW, Effects, Track, Unsure
from notrack.netfilter.host import UNKNOWN_HOST, Host
from notrack.netfilter.routes import ways_out
from notrack.netfilter.start import Undetermined, kind_of, resettled, settle_kinds, way_of
from notrack.netfilter.translation import LEAVES, LOOPBACK, LOOPBACK_NETWORK, rerouted, to_loopback
from notrack.netfilter.ways import STAGES, Mounted, Stage, Way
from notrack.packets.address import Family
from notrack.packets.diagram import allow_frames
from notrack.packets.fields import NO_INTERFACE, AddressType, Field, Fragment, PacketType, State
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet import Packet
from notrack.ruleset.core import Base, Chain, Hook, Origin, Rule, Ruleset, Table, Verdict
from notrack.text.record import dataclass

__all__ = [
    "ROUTING",
    "Step",
    "Trace",
    "Undetermined",
    "kind_of",
    "resettled",
    "settle_kinds",
    "walk",
    "way_of",
]

_LAST = (1 << 31) - 1
ROUTING = "routing"
"""The name of the table that stands for what the kernel itself drops when it routes."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A packet's whole way. `verdict` is accept, drop, reject or stolen; `hook` where it ended, if it did.

    `state` is the one that rules see behind connection tracking, UNTRACKED where nothing is tracked.
    `assumed` holds the facts that were guessed; the verdict rests on them. `numbers` are those among them
    that are no facts but values of which nothing is known.
    """

    way: Way
    verdict: str
    hook: Hook | None
    state: State
    steps: tuple[Step, ...]
    effects: Effects
    values: Mapping[Field, int]
    assumed: tuple[tuple[str, bool], ...] = ()
    numbers: frozenset[str] = frozenset()

    @property
    def ended_by_routing(self) -> bool:
        """Whether no rule ended it: the kernel does not forward such packets. To sets they go no such way."""
        return bool(self.steps) and self.steps[-1].table.name == ROUTING


def walk(
    ruleset: Ruleset,
    packet: Packet,
    host: Host = UNKNOWN_HOST,
    *,
    way: Way | None = None,
    facts: Mapping[str, bool] | None = None,
    default: bool = False,
) -> Trace:
    """The way of one packet. Its `state` is that of its flow, None: the first packet that is seen of it.

    `facts` says which named facts hold, `default` what is assumed of the others. Raises `Undetermined` where
    neither the packet nor the host's facts tell which way it takes.
    """
    allow_frames(5 * max((len(table.chains) for table in ruleset.tables), default=0))
    family = packet.family
    values = packet.values()
    way = way if way is not None else way_of(packet, host)
    if way is Way.LOOPBACK and packet.out_interface is None:
        values[Field.OUT] = ways.LOOPBACK_INTERFACE
    settle_kinds(values, packet, host, way)
    tracks = bool(host.tracking_elsewhere) or any(True for _ in tracking.keepers(ruleset, family))
    own = way not in (Way.LOCAL_IN, Way.FORWARD)
    whole = own or tracks or any(True for _ in tracking.reassemblers(ruleset, family))
    if whole and (own or not ways.raw(ruleset, family)):
        values[Field.FRAGMENT] = Fragment.WHOLE
    journey = Course(ruleset, host, family, tracks, way, values, facts or {}, default, whole=whole)
    state = packet.state
    if state is None:
        state = tracking.first_state(values, family, host.tcp_loose is not False)
    end, hook = _travel(journey, state)
    seen = State(journey.values[Field.STATE]) if tracks else State.UNTRACKED
    if tracks and journey.early and journey.effects.track is not Track.UNTRACKED:
        seen = state  # it ended before connection tracking
    verdict = "accept" if end is End.ON else end.value
    assumed = tuple(journey.assumed.items())
    steps = tuple(journey.steps)
    effects = journey.effects.as_entry() if journey.early else journey.effects
    numbers = frozenset(journey.numbers)
    return Trace(journey.way, verdict, hook, seen, steps, effects, journey.values, assumed, numbers)


def _travel(journey: Course, state: State) -> tuple[End, Hook | None]:
    """Through all stages; where and how the packet ended, or ON and None."""
    original = dict(journey.values)
    journey.values[Field.STATE] = State.INVALID
    at = -1
    while (at := at + 1) < len(STAGES[journey.way]):
        stage = STAGES[journey.way][at]
        journey.early = stage.early and not stage.again
        if _misaddressed(journey, stage):
            return _unforwarded(journey, Verdict.DROP, "::1 does not come in by a link"), stage.hook
        if not _put_together(journey, stage):  # it goes on as a part of what the first fragment stands for
            end = _route(journey, original) if stage.hook is Hook.PREROUTING else End.ON
            return end, stage.hook if end is not End.ON else None
        end = _seen(journey, stage, original)
        if end is not End.ON:
            return end, stage.hook
        if stage.tracked_behind:
            end = _tracked(journey, stage, state, original)
        elif stage.routed_behind:
            end = _route(journey, original)
        if end is not End.ON:
            return end, stage.hook
    return End.ON, None


def _misaddressed(journey: Course, stage: Stage) -> bool:
    """Whether the kernel drops a packet when it comes in (`ip6_rcv`), behind the hooks of devices."""
    arriving = stage.hook is Hook.PREROUTING and stage.raw and not stage.again
    ends = (journey.values[Field.SOURCE], journey.values[Field.DESTINATION])
    return arriving and journey.family is Family.IPV6 and LOOPBACK[Family.IPV6] in ends


def _put_together(journey: Course, stage: Stage) -> bool:
    """Makes a fragment whole where that happens; False for a later one."""
    here = stage.hook is Hook.INPUT and journey.family is Family.IPV4
    if here or (journey.whole and not stage.raw):
        if journey.values[Field.FRAGMENT] == Fragment.LATER:
            return False
        journey.values[Field.FRAGMENT] = Fragment.WHOLE
    return True


def _seen(journey: Course, stage: Stage, original: Mapping[Field, int]) -> End:
    """The chains of a stage, and what they see; what they alone see otherwise is put back behind them."""
    for name in (Field.IN, Field.OUT, Field.BRIDGE_OUT):
        journey.values[name] = original[name]
    seen = ways.seen_at(stage, journey.way)
    kept = dict(journey.values)
    if not any(True for _ in _in_order(journey, stage)):
        return End.ON
    for name, value in seen.items():
        if isinstance(value, int) or name in ways.observed(journey.ruleset, journey.family)[0]:
            journey.values[name] = journey.value(value)
    end = _stage(journey, stage)
    if stage.hook is Hook.EGRESS:
        journey.values |= {name: kept[name] for name in (Field.MAC, Field.LENGTH)}
    return end


def _tracked(journey: Course, stage: Stage, state: State, original: Mapping[Field, int]) -> End:
    """Connection tracking, where templates have done their work."""
    if stage.again:
        if journey.effects.track is Track.TEMPLATE:
            if journey.truth(TRACKED_ANEW):
                return End.DROP
            journey.effects = journey.effects.tracked_anew()
            journey.values[Field.CT_DIRECTION] = original[Field.CT_DIRECTION]
            journey.values[Field.STATE] = journey.value(dict(journey.effects.fields)[Field.STATE])
        return End.ON
    if journey.tracks and journey.effects.track is not Track.UNTRACKED:
        journey.values[Field.STATE] = state
        journey.values[Field.CT_DIRECTION] = original[Field.CT_DIRECTION]
    journey.effects = journey.effects.as_entry()
    return End.ON


def _stage(journey: Course, stage: Stage) -> End:
    translated = False
    for item in _in_order(journey, stage):
        if not journey.passes(item):
            continue
        if item.translates:
            new = journey.values[Field.STATE] == State.NEW
            if not journey.tracks or not new or stage.again or translated:
                continue
        before = (journey.effects.source_nat, journey.effects.destination_nat)
        end = journey.base(item, stage.hook)
        if item.translates:
            translated = before != (journey.effects.source_nat, journey.effects.destination_nat)
        if end is not End.ON:
            return end
    return End.ON


def _in_order(journey: Course, stage: Stage) -> Iterator[Mounted]:
    for part in ways.in_order(ways.mounted(journey.ruleset, stage, journey.family)):
        yield from part


def _route(journey: Course, original: dict[Field, int]) -> End:
    """Whether the packet, translated or not, still goes the way that was said; what changes by the way.

    DROP and REJECT: the kernel forwards no such packet.
    """
    kind = AddressType(journey.values[Field.DESTINATION_TYPE])
    moved = journey.effects.rerouted or journey.effects.destination_nat is not None
    if kind not in ways.ROUTED[journey.way]:
        known = moved or journey.way is Way.LOCAL_OUT
        other = _OTHER_WAYS.get((journey.way, kind)) if known else None
        if other is None:
            raise Undetermined(_HINTS[journey.way])
        journey.way = other
    if journey.way is Way.FORWARD and original[Field.OUT] == NO_INTERFACE:
        original[Field.OUT] = _by_routes(journey)
    if _looped(journey):
        return _unforwarded(journey, Verdict.DROP, "for 127.0.0.0/8 nothing comes in by a link")
    if journey.way is Way.FORWARD:
        if journey.values[Field.PACKET_TYPE] != PacketType.HOST:
            return _unforwarded(journey, Verdict.DROP, "came in a frame for a group: not forwarded")
        if journey.values[Field.TTL] not in ways.LIVING_TTL:
            return _unforwarded(journey, Verdict.REJECT, "its TTL is used up: not forwarded")
        if ways.hops_count(journey.ruleset, journey.family):
            journey.add(ONE_HOP)
        else:
            journey.values[Field.TTL] -= 1
    elif journey.way is Way.LOCAL_OUT and journey.effects.rerouted:
        before = journey.effects
        journey.effects = rerouted(before, journey.host, journey.family)
        change = dict(journey.effects.fields)[Field.OUT]
        journey.lost = isinstance(change, Unsure)
        original[Field.OUT] = journey.value(change)
    return End.ON


def _by_routes(journey: Course) -> int:
    """The interface by which a packet leaves that does not say it."""
    target = IntervalSet.single(journey.values[Field.DESTINATION])
    found = ways_out(journey.host.routes, target, journey.family)
    if found is None or found.size() != 1:
        raise Undetermined(_HINTS[Way.LOCAL_IN])
    return found.least()


def _looped(journey: Course) -> bool:
    """Whether a translation sends a packet from a link to 127.0.0.0/8, where it does not come to."""
    arriving = journey.way is Way.LOCAL_IN and journey.family is Family.IPV4
    if not arriving or journey.values[Field.DESTINATION] not in LOOPBACK_NETWORK:
        return False
    return to_loopback(journey.ruleset) and not journey.truth(LEAVES)


_OTHER_WAYS = {
    (Way.LOCAL_OUT, AddressType.LOCAL): Way.LOOPBACK,  # the hooks so far are the same
    (Way.LOOPBACK, AddressType.UNICAST): Way.LOCAL_OUT,
    (Way.FORWARD, AddressType.LOCAL): Way.LOCAL_IN,
    (Way.LOCAL_IN, AddressType.UNICAST): Way.FORWARD,  # if the host's routes tell by which interface
}
"""The way of a packet with a new destination of some kind."""
_HINTS = {
    Way.LOCAL_IN: "the packet is for somebody else: say the way out, `out IF`",
    Way.FORWARD: "the packet is for the host itself: leave `out` away, or say `to host`",
    Way.LOCAL_OUT: "the packet does not leave the host: say `out lo`",
    Way.LOOPBACK: "the packet leaves the host: say the way out, `out IF`",
}


def _unforwarded(journey: Course, verdict: Verdict, why: str) -> End:
    """What routing itself does with a packet, as a step that people can read."""
    rule = Rule((), (verdict,), Origin(text=why))
    chain = Chain("forwarding", (rule,), Base(Hook.PREROUTING, _LAST))
    table = Table(ROUTING, frozenset((journey.family,)), (chain,))
    journey.steps.append(Step(Hook.PREROUTING, table, chain, rule, verdict.value))
    return End(verdict.value)
