"""One packet through every hook, rule by rule: the same semantics as the model's, on single values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from notrack.netfilter import tracking, ways
from notrack.netfilter.chains import (
    End,
    base_effects,
    field_effects,
    mark_effects,
    template_effects,
    unknown_facts,
)
from notrack.netfilter.effects import (
    NONE,
    ONE_HOP,
    TRACKED_ANEW,
    Change,
    Effects,
    Track,
    Unsure,
    UnsureBit,
    changed,
)
from notrack.netfilter.fragments import misread
from notrack.netfilter.guards import holds
from notrack.netfilter.host import UNKNOWN_HOST, Host, address_types, group_addresses
from notrack.netfilter.translation import (
    LEAVES,
    LOOPBACK_NETWORK,
    nat_choices,
    nat_effects,
    rerouted,
    strays,
    unchanging,
    without_status,
)
from notrack.netfilter.ways import STAGES, Mounted, Stage, Way
from notrack.packets.address import Family
from notrack.packets.diagram import allow_frames
from notrack.packets.fields import (
    NO_DIRECTION,
    NO_INTERFACE,
    AddressType,
    Field,
    Fragment,
    PacketType,
    State,
    interface_name,
)
from notrack.packets.packet import Packet
from notrack.ruleset.core import (
    Action,
    Among,
    Base,
    Chain,
    ChainType,
    Fact,
    Hook,
    Jump,
    Literal,
    Nat,
    Notrack,
    Origin,
    Rule,
    Ruleset,
    SetField,
    SetMark,
    ShiftField,
    Table,
    Template,
    Unknown,
    Verdict,
)

_LAST = (1 << 31) - 1
NO_WAY_OUT = "no way out for what comes from loopback"
ROUTING = "routing"
"""The name of the table that stands for what the kernel itself drops when it routes."""


class Undetermined(Exception):
    """The way of the packet cannot be told; the message says what would tell it."""


@dataclass(frozen=True, slots=True)
class Step:
    """A rule that the packet matched, or the end of a base chain (`rule` None), and what came of it."""

    hook: Hook
    table: Table
    chain: Chain
    rule: Rule | None
    result: str


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


@dataclass(slots=True)
class _Walk:
    ruleset: Ruleset
    host: Host
    family: Family
    tracks: bool
    way: Way
    values: dict[Field, int]
    facts: Mapping[str, bool]
    default: bool
    whole: bool = False  # fragments are put together
    effects: Effects = NONE
    steps: list[Step] = field(default_factory=list)
    assumed: dict[str, bool] = field(default_factory=dict)
    numbers: set[str] = field(default_factory=set)
    lost: bool = False  # nobody knows which way it leaves
    early: bool = False
    inside: list[str] = field(default_factory=list)  # the chains of one table that wait for each other

    def truth(self, name: str) -> bool:
        if name in self.facts:
            return self.facts[name]
        return self.assumed.setdefault(name, self.default)

    def number(self, name: str) -> None:
        """A number of which nothing is known has come into play."""
        self.assumed.setdefault(name, False)
        self.numbers.add(name)

    def add(self, effects: Effects) -> None:
        self.effects = self.effects.then(effects)
        self.values = changed(self.values, effects)
        for _, change in effects.fields:
            if isinstance(change, Unsure):
                self.number(change.name)
        for _, bits in effects.marks:
            for bit in bits:
                if isinstance(bit, UnsureBit):
                    self.number(bit.name)

    def base(self, item: Mounted, hook: Hook) -> End:
        """What a base chain does with the packet: ON, or the end of its way."""
        base = item.chain.base
        assert base is not None
        before, self.effects = self.effects, NONE
        end = self.chain(item.table, item.chain, hook)
        if end in (End.ON, End.RETURN):
            self.steps.append(Step(hook, item.table, item.chain, None, f"policy {base.policy.value}"))
            end = End.ON if base.policy is Verdict.ACCEPT else End.DROP
        if end in (End.ON, End.ACCEPT):
            end = self.sent_on(item, hook, base)
        self.effects = before.then(self.effects)
        return end

    def sent_on(self, item: Mounted, hook: Hook, base: Base) -> End:
        """What the type of a base chain adds to what its rules did."""
        made = base_effects(self.effects, base, self.host, self.family)
        astray = base.kind is ChainType.ROUTE and hook is Hook.OUTPUT and strays(made, self.family)
        if astray and self.values[Field.SOURCE] in LOOPBACK_NETWORK and not self.truth(LEAVES):
            self.effects = NONE
            self.steps.append(Step(hook, item.table, item.chain, None, NO_WAY_OUT))
            return End.DROP
        for name, change in made.fields:
            if (name, change) not in self.effects.fields:  # the kind of a new destination
                self.values[name] = _value(self, change)
        self.effects = made
        return End.ON

    def passes(self, item: Mounted) -> bool:
        """Whether the packet comes to a chain that hangs on one device."""
        if item.device is None:
            return True
        side, device, fact = item.device
        if device is not None and self.values[side] == device:
            return True
        lo = ways.LOOPBACK_INTERFACE
        return not (device == lo or (device is not None and self.values[side] == lo)) and self.truth(fact)

    def chain(self, table: Table, chain: Chain, hook: Hook) -> End:
        if chain.name in self.inside:
            raise Undetermined(f"chain {chain.name} of table {table.name} jumps to itself, in a circle")
        self.inside.append(chain.name)
        try:
            for rule in chain.rules:
                if self.matches(table, rule, hook):
                    end = self.rule(table, chain, rule, hook)
                    if end is not End.ON:
                        return end
            return End.ON
        finally:
            self.inside.pop()

    def matches(self, table: Table, rule: Rule, hook: Hook) -> bool:
        later = table.misreads_fragments and self.values[Field.FRAGMENT] == Fragment.LATER
        guard = (misread(rule.guard) if later else None) or rule.guard
        if self.lost and hook in (Hook.POSTROUTING, Hook.EGRESS):
            guard = tuple(_by_guess(literal) for literal in guard)
        return holds(guard, self.values, self.family, self.truth)

    def rule(self, table: Table, chain: Chain, rule: Rule, hook: Hook) -> End:
        at = len(self.steps)
        results: list[str] = []
        end = End.ON
        for action in rule.actions:
            text, end = self.action(table, action, hook)
            results.append(text)
            if end is not End.ON:
                break
        self.steps.insert(at, Step(hook, table, chain, rule, ", ".join(results) or "counted"))
        return end

    def action(self, table: Table, action: Action, hook: Hook) -> tuple[str, End]:
        """A word for what an action did, and whether the packet goes on in the chain."""
        if isinstance(action, Verdict):
            return action.value, End(action.value)
        if isinstance(action, Jump):
            return self.jump(table, action, hook)
        if isinstance(action, Notrack):
            if self.values[Field.STATE] != State.INVALID:
                return "notrack without effect", End.ON
            self.add(Effects(Track.UNTRACKED))
            return "untracked", End.ON
        if isinstance(action, Template):
            return self.template(action), End.ON
        if isinstance(action, SetMark):
            self.add(mark_effects(action))
            return f"{action.field.value} {self.values[action.field]:#x}", End.ON
        if isinstance(action, SetField | ShiftField):
            self.add(field_effects(action, hook, self.host, self.family))
            return f"{action.field.value} {self.values[action.field]}", End.ON
        if isinstance(action, Nat):
            return self.translated(action, hook)
        if isinstance(action, Unknown):
            ends, accepts = unknown_facts(action)
            if not self.truth(ends):
                return f"{action.text}: not known", End.ON
            return f"{action.text}: not known", End.ACCEPT if self.truth(accepts) else End.DROP
        return action.text if hasattr(action, "text") else action.what, End.ON

    def jump(self, table: Table, action: Jump, hook: Hook) -> tuple[str, End]:
        target = table.chain(action.chain)
        word = "goto" if action.goto else "jump"
        if target is None:
            return f"{word} {action.chain}, which is not there", End.RETURN if action.goto else End.ON
        end = self.chain(table, target, hook)
        if end in (End.ON, End.RETURN):
            end = End.RETURN if action.goto else End.ON
        return f"{word} {action.chain}", end

    def translated(self, nat: Nat, hook: Hook) -> tuple[str, End]:
        text = nat.text or nat.kind.value
        if self.values[Field.CT_DIRECTION] == NO_DIRECTION:
            return f"{text} without effect", End.ACCEPT
        effects = self.chosen(nat, hook)
        same = unchanging(effects)
        if same is not None and all(self.values[field] == value for field, value in same.items()):
            effects = without_status(effects)
        loop = self.values[Field.SOURCE] in LOOPBACK_NETWORK
        if strays(effects, self.family) and loop and not self.truth(LEAVES):
            return f"{text}: {NO_WAY_OUT}", End.DROP
        self.add(effects)
        return text, End.ACCEPT

    def chosen(self, nat: Nat, hook: Hook) -> Effects:
        for side, interface, effects in nat_choices(nat, self.host, self.family, hook):
            if self.values[side] == interface:
                return effects
        return nat_effects(nat, self.host, self.family, hook)

    def template(self, action: Template) -> str:
        states = (State.INVALID, State.UNTRACKED) if action.overrides else (State.INVALID,)
        if self.values[Field.STATE] not in states:
            return f"{action.what} without effect"
        self.add(template_effects(action))
        return action.what


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
    journey = _Walk(ruleset, host, family, tracks, way, values, facts or {}, default, whole=whole)
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


def _travel(journey: _Walk, state: State) -> tuple[End, Hook | None]:
    """Through all stages; where and how the packet ended, or ON and None."""
    original = dict(journey.values)
    journey.values[Field.STATE] = State.INVALID
    at = -1
    while (at := at + 1) < len(STAGES[journey.way]):
        stage = STAGES[journey.way][at]
        journey.early = stage.early and not stage.again
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


def _put_together(journey: _Walk, stage: Stage) -> bool:
    """Makes a fragment whole where that happens; False for a later one."""
    here = stage.hook is Hook.INPUT and journey.family is Family.IPV4
    if here or (journey.whole and not stage.raw):
        if journey.values[Field.FRAGMENT] == Fragment.LATER:
            return False
        journey.values[Field.FRAGMENT] = Fragment.WHOLE
    return True


def _seen(journey: _Walk, stage: Stage, original: Mapping[Field, int]) -> End:
    """The chains of a stage, and what they see; what they alone see otherwise is put back behind them."""
    for name in (Field.IN, Field.OUT):
        journey.values[name] = original[name]
    seen = ways.seen_at(stage, journey.way)
    kept = dict(journey.values)
    if not any(True for _ in _in_order(journey, stage)):
        return End.ON
    for name, value in seen.items():
        if isinstance(value, int) or name in ways.observed(journey.ruleset, journey.family)[0]:
            journey.values[name] = _value(journey, value)
    end = _stage(journey, stage)
    if stage.hook is Hook.EGRESS:
        journey.values |= {name: kept[name] for name in (Field.MAC, Field.LENGTH)}
    return end


def _value(journey: _Walk, change: Change) -> int:
    if isinstance(change, int):
        return change
    assert isinstance(change, Unsure)
    journey.number(change.name)
    return change.among.least() if change.among else 0


def _tracked(journey: _Walk, stage: Stage, state: State, original: Mapping[Field, int]) -> End:
    """Connection tracking, where templates have done their work."""
    if stage.again:
        if journey.effects.track is Track.TEMPLATE:
            if journey.truth(TRACKED_ANEW):
                return End.DROP
            journey.effects = journey.effects.tracked_anew()
            journey.values[Field.CT_DIRECTION] = original[Field.CT_DIRECTION]
            journey.values[Field.STATE] = _value(journey, dict(journey.effects.fields)[Field.STATE])
        return End.ON
    if journey.tracks and journey.effects.track is not Track.UNTRACKED:
        journey.values[Field.STATE] = state
        journey.values[Field.CT_DIRECTION] = original[Field.CT_DIRECTION]
    journey.effects = journey.effects.as_entry()
    return End.ON


def _stage(journey: _Walk, stage: Stage) -> End:
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


def _in_order(journey: _Walk, stage: Stage) -> Iterator[Mounted]:
    for part in ways.in_order(ways.mounted(journey.ruleset, stage, journey.family)):
        yield from part


def _route(journey: _Walk, original: dict[Field, int]) -> End:
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
        original[Field.OUT] = _value(journey, change)
    return End.ON


_OTHER_WAYS = {
    (Way.LOCAL_OUT, AddressType.LOCAL): Way.LOOPBACK,  # the hooks so far are the same
    (Way.LOOPBACK, AddressType.UNICAST): Way.LOCAL_OUT,
    (Way.FORWARD, AddressType.LOCAL): Way.LOCAL_IN,
}
"""The way of a packet with a new destination of some kind."""
_HINTS = {
    Way.LOCAL_IN: "after its translation the packet is for somebody else: say the way out, `out IF`",
    Way.FORWARD: "the packet is for the host itself: leave `out` away, or say `to host`",
    Way.LOCAL_OUT: "the packet does not leave the host: say `out lo`",
    Way.LOOPBACK: "the packet leaves the host: say the way out, `out IF`",
}


def _by_guess(literal: Literal) -> Literal:
    """A match of the way out of a packet of which it is not known."""
    if not isinstance(literal, Among) or literal.field is not Field.OUT:
        return literal
    names = [f"{interface_name(low) or ''}{'*' * (low != high)}" for low, high in literal.values]
    return Fact(f"the packet leaves by {' or '.join(names)}", literal.negated)


def _unforwarded(journey: _Walk, verdict: Verdict, why: str) -> End:
    """What routing itself does with a packet, as a step that people can read."""
    rule = Rule((), (verdict,), Origin(text=why))
    chain = Chain("forwarding", (rule,), Base(Hook.PREROUTING, _LAST))
    table = Table(ROUTING, frozenset((journey.family,)), (chain,))
    journey.steps.append(Step(Hook.PREROUTING, table, chain, rule, verdict.value))
    return End(verdict.value)


def way_of(packet: Packet, host: Host) -> Way:
    """The way that a packet takes, from its interfaces, its addresses and what is known of the host."""
    into, out = packet.in_interface, packet.out_interface
    if out == "lo" or into == "lo":
        return Way.LOOPBACK
    if into and out:
        return Way.FORWARD
    local = kind_of(packet.destination, packet.family, host)
    if into or packet.local:
        if packet.local or local in (AddressType.LOCAL, AddressType.MULTICAST, AddressType.BROADCAST):
            return Way.LOCAL_IN
        raise Undetermined("where the packet goes is not known: say `to host` or `out IF`")
    if out:
        return Way.LOCAL_OUT
    if local is AddressType.LOCAL and kind_of(packet.source, packet.family, host) is AddressType.LOCAL:
        return Way.LOOPBACK
    raise Undetermined("say where the packet comes in, `in IF`, or that the host sends it, `out IF`")


def kind_of(address: int, family: Family, host: Host) -> AddressType | None:
    """What kind of address it is to the host; None where its facts do not tell."""
    local, maybe_local, broadcast, maybe_broadcast = address_types(host, family)
    if address in group_addresses(family):
        return AddressType.MULTICAST
    if address in local:
        return AddressType.LOCAL
    if address in broadcast:
        return AddressType.BROADCAST
    return None if address in maybe_local | maybe_broadcast else AddressType.UNICAST


def settle_kinds(values: dict[Field, int], packet: Packet, host: Host, way: Way) -> None:
    """Fill in the kinds of the two addresses and of the frame: as known, otherwise as the way asks."""
    source = kind_of(packet.source, packet.family, host)
    target = kind_of(packet.destination, packet.family, host)
    if packet.local:
        target = target or AddressType.LOCAL
    ours = way in (Way.LOCAL_OUT, Way.LOOPBACK)
    values[Field.SOURCE_TYPE] = source or (AddressType.LOCAL if ours else AddressType.UNICAST)
    here = way is Way.LOCAL_IN or (way is Way.LOOPBACK and packet.out_interface in (None, "lo"))
    kind = target or (AddressType.LOCAL if here else AddressType.UNICAST)
    values[Field.DESTINATION_TYPE] = kind
    frames = {AddressType.MULTICAST: PacketType.MULTICAST, AddressType.BROADCAST: PacketType.BROADCAST}
    if packet.packet_type is None:
        values[Field.PACKET_TYPE] = PacketType.HOST if ours else frames.get(kind, PacketType.HOST)
    if ours:
        values[Field.IN] = NO_INTERFACE


def resettled(packet: Packet, values: Mapping[Field, int]) -> Packet:
    """The packet with the kinds that `settle_kinds` found."""
    return replace(
        packet,
        source_type=AddressType(values[Field.SOURCE_TYPE]),
        destination_type=AddressType(values[Field.DESTINATION_TYPE]),
        packet_type=PacketType(values[Field.PACKET_TYPE]),
    )
