"""What others can reach: packets that begin something, who may send them, and what single rules let in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache

from notrack.lint.bounds import bound, rules_of
from notrack.lint.relevance import relevant
from notrack.lint.sample import crowd, named
from notrack.lint.view import View
from notrack.netfilter.model import Model
from notrack.netfilter.visits import Visit, survivors, visits
from notrack.netfilter.ways import Way
from notrack.packets import questions
from notrack.packets.fields import (
    MARK_BITS,
    NO_INTERFACE,
    PORT_PROTOCOLS,
    TCP_FLAGS,
    AddressType,
    Field,
    Fragment,
    State,
    bits_set,
    domain,
    interface_prefix,
    interface_value,
)
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.packets.witness import Witness
from notrack.ruleset.core import Hook, Nat, NatKind, Rule, Ruleset, Verdict
from notrack.text.record import dataclass

TCP, UDP = 6, 17
FILTERING = (Hook.INPUT, Hook.FORWARD)
EPHEMERAL = IntervalSet(((32768, 65535),))
"""Where own connections start from by default (32768-60999), and everything above it."""
REGISTERED = IntervalSet(((1024, 65535),))
"""Every port that needs no privilege: resolvers choose theirs among all of these."""
_NOBODY = IntervalSet(((0, 0xFFFFFF),))  # 0.0.0.0/8, and the like of IPv6
STARTING = IntervalSet(((32768, 60999),))
"""`ip_local_port_range` as it is by default."""
_BITS = TCP_FLAGS["fin"] | TCP_FLAGS["syn"] | TCP_FLAGS["rst"] | TCP_FLAGS["ack"]
SYN = bits_set(_BITS, TCP_FLAGS["syn"])
"""The flags of a TCP packet that opens a connection: SYN without ACK, RST and FIN."""
_INNER = ("lo", "docker", "br-", "veth", "cali", "virbr", "vnet", "lxc", "cni", "flannel", "kube", "cilium",
          "nodelocal", "dummy", "tap", "tun", "wg")  # fmt: skip


def opening(view: View, closer: Sequence[Rule] = ()) -> PacketSet:
    """Packets that begin something at a port: a bare SYN, or any packet of another protocol with ports.

    A listening TCP socket takes only a SYN without ACK, RST and FIN. Where tracking is on they are NEW. They
    bear no mark yet and are of no translated flow. What goes to a group is left out, and what comes from
    nobody. In large rulesets the packets have addresses of a sample, those that `closer` rules name among
    them.
    """
    if view.sample is None:
        return view.beginnings
    return beginnings(view, closer)


def beginnings(view: View, closer: Sequence[Rule] = ()) -> PacketSet:
    """`opening` as it is computed."""
    space = view.model.space
    whole = {
        Field.FRAGMENT: IntervalSet.single(Fragment.WHOLE),
        Field.DESTINATION_TYPE: IntervalSet(((AddressType.UNICAST, AddressType.LOCAL),)),
        Field.CT_SNAT: IntervalSet.single(0),
        Field.CT_DNAT: IntervalSet.single(0),
        Field.CT_DIRECTION: IntervalSet.single(0),
        Field.SOURCE: view.family.whole - _NOBODY,
        **sampled(view, closer),
    }
    if view.model.tracks:
        whole[Field.STATE] = IntervalSet.single(State.NEW)
    syn = {Field.PROTOCOL: IntervalSet.single(TCP), Field.FLAGS: SYN}
    others = {Field.PROTOCOL: PORT_PROTOCOLS - IntervalSet.single(TCP)}
    bare = [space.masked(field, (1 << MARK_BITS) - 1, 0) for field in (Field.MARK, Field.CT_MARK)]
    begin = space.join(space.cube(whole | syn), space.cube(whole | others))
    return PacketSet(space, space.all_of([begin, *bare]))


def from_anyone(packets: PacketSet) -> bool:
    """Whether the packets come from (nearly) everywhere: from more than half of the Internet."""
    return _everywhere(packets, Field.SOURCE)


def to_anyone(packets: PacketSet) -> bool:
    """Whether they go (nearly) everywhere."""
    return _everywhere(packets, Field.DESTINATION)


def _everywhere(packets: PacketSet, field: Field) -> bool:
    every = crowd(packets.space.family)
    return 2 * (packets.project(field) & every).size() > every.size()


def sampled(view: View, closer: Sequence[Rule] = ()) -> dict[Field, IntervalSet]:
    """Of large rulesets: the addresses that stand for all others."""
    if view.sample is None:
        return {}
    several = view.sample | named(closer, view.family)
    return {Field.SOURCE: several, Field.DESTINATION: several}


def ports(packets: PacketSet, field: Field, protocol: int) -> IntervalSet:
    """The ports that packets of one protocol have in a set."""
    those = packets & PacketSet.where(packets.space, Field.PROTOCOL, protocol)
    return those.project(field) if those else IntervalSet()


def at_ports(packets: PacketSet, protocol: int, values: IntervalSet) -> PacketSet:
    """The packets of a set that go to some ports of a protocol."""
    space = packets.space
    cube = {Field.PROTOCOL: IntervalSet.single(protocol), Field.DESTINATION_PORT: values}
    return packets & PacketSet(space, space.cube(cube))


def answer_ports(view: View, protocol: int) -> IntervalSet:
    """The ports to which answers to own questions come, and that hardly any service has.

    Of UDP all that need no privilege, for resolvers choose theirs among them; of TCP, where a bare SYN tells
    a question from an answer, those that connections start from.
    """
    return EPHEMERAL | (view.host.ephemeral or IntervalSet()) if protocol == TCP else REGISTERED


def is_service(values: IntervalSet) -> bool:
    """Whether source ports are those of a service: some, and none that connections usually start from."""
    return bool(values) and values.isdisjoint(STARTING)


def ordinary(packets: PacketSet) -> PacketSet:
    """The packets that are in a set when no fact holds that packets do not decide: an address is in no set
    that nobody knows, no rate is exceeded, no unknown target ends a chain."""
    space = packets.space
    free = {**dict.fromkeys(space.names.values(), 0), **dict.fromkeys(space.unknowns.values(), 0)}
    asked = questions.support(space, packets.diagram)
    chosen = {level: value for level, value in free.items() if level in asked}
    return PacketSet(space, questions.assign(space, packets.diagram, chosen))


def assumed(packets: PacketSet) -> tuple[str, ...]:
    """What `ordinary` takes for granted, as notes of a finding; at most three of them."""
    names = [name for name in packets.facts() if name in packets.space.names]
    return tuple(f"that `{name}` does not hold" for name in names[:3])


def example(packets: PacketSet, liked: Iterable[PacketSet] = ()) -> Witness | None:
    """A witness, of the first of the liked sets that has one in common with the packets."""
    return next((both for wish in liked if (both := packets & wish)), packets).witness()


@dataclass(frozen=True, slots=True)
class Opened:
    """A rule that lets packets in which would be stopped otherwise. `visit` is of the rule as one that does
    nothing (see `opened`)."""

    way: Way
    rule: Rule
    visit: Visit
    packets: PacketSet


def opened(view: View, way: Way, packets: PacketSet, rules: Sequence[Rule]) -> Iterator[Opened]:
    """What each of some accepting rules lets in of a set that would be stopped without all of them.

    A rule of a chain whose policy accepts, or in front of a wider one, opens nothing. Of two rules that open
    the same both are given.
    """
    made: dict[int, Rule] = {}
    silent = _silenced(view.ruleset, rules, made)
    found = [
        (visit, visit.matching())
        for visit in visits(relevant(view, silent, packets), way, packets)
        if id(visit.rule) in made and visit.hook in FILTERING
    ]
    space = view.model.space
    reached = PacketSet(space, space.first([matched.diagram for _, matched in found]))
    if not reached:
        return
    through = passing(relevant(view, view.ruleset, reached), way, reached)
    through = through - passing(relevant(view, silent, reached), way, reached)
    for visit, matched in found:
        if let := matched & through:
            yield Opened(way, made[id(visit.rule)], visit, let)


def passing(model: Model, way: Way, packets: PacketSet) -> PacketSet:
    """The packets of a set that come to the end of a way."""
    alive = survivors(model, way, packets).values()
    return PacketSet(model.space, model.space.first([one.diagram for one in alive]))


def _silenced(ruleset: Ruleset, rules: Sequence[Rule], made: dict[int, Rule]) -> Ruleset:
    """The ruleset with some rules that match and do nothing: what they keep on stays on. `made` is filled:
    the id of each such rule, and the rule as it was."""
    chosen = {id(rule) for rule in rules}

    def quiet(rule: Rule) -> Rule:
        if id(rule) not in chosen:
            return rule
        silent = replace(rule, actions=())
        made[id(silent)] = rule
        return silent

    return changed(ruleset, quiet)


def changed(ruleset: Ruleset, change: Callable[[Rule], Rule]) -> Ruleset:
    """The ruleset with every rule passed through a function."""
    return Ruleset(
        tuple(
            replace(
                table,
                chains=tuple(replace(one, rules=tuple(map(change, one.rules))) for one in table.chains),
            )
            for table in ruleset.tables
        )
    )


def accepts(rule: Rule) -> bool:
    return bool(rule.actions) and rule.actions[-1] is Verdict.ACCEPT


def strangers(view: View) -> PacketSet:
    """Packets that may come from anywhere: of interfaces that do not seem to lead to an inner network."""
    return PacketSet.where(view.model.space, Field.IN, outside(view))


def outside(view: View) -> IntervalSet:
    """The interfaces behind which the world may be.

    Known addresses tell it, or a rule that translates what leaves by one. Where rules name several
    interfaces and nothing tells them apart, none that is named counts: better silent than wrong.
    """
    every = domain(Field.IN, view.family).whole - IntervalSet.single(NO_INTERFACE) - inner()
    known = view.host.interfaces
    if known is not None:
        leading = [one.name for one in known if any(at.ip.is_global for at in one.addresses)]
        if leading:
            return IntervalSet.of((interface_value(name),) * 2 for name in leading)
        return every
    named, outward = _named(view)
    named = named & every
    if outward:
        return every - (named - outward)
    return every if len(named.spans) <= 1 else every - named


@cache
def inner() -> IntervalSet:
    """Interfaces that lead to containers, virtual machines or tunnels, by their usual names."""
    return IntervalSet.of(span for name in _INNER for span in interface_prefix(name))


def _named(view: View) -> tuple[IntervalSet, IntervalSet]:
    """The real interfaces that rules name, and those by which translated packets leave."""
    whole = domain(Field.IN, view.family).whole
    named: list[tuple[int, int]] = []
    outward: list[tuple[int, int]] = []
    for rule in rules_of(view.ruleset, view.family):
        for field in (Field.IN, Field.OUT):
            values = bound(rule.guard, field, view.family)
            if values == whole or values.size() > whole.size() // 2:
                continue
            named += values
            if field is Field.OUT and any(_leaves(action) for action in rule.actions):
                outward += values
    return IntervalSet.of(named), IntervalSet.of(outward)


def _leaves(action: object) -> bool:
    return isinstance(action, Nat) and action.kind in (NatKind.MASQUERADE, NatKind.SNAT)
