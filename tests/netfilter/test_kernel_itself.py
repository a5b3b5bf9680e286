"""What the kernel does to packets by itself, beside all rules: hops, routes, zones, devices."""

from __future__ import annotations

import ipaddress
import random

import pytest

from notrack.netfilter.answer import answer
from notrack.netfilter.effects import Effects, Shift, Unsure
from notrack.netfilter.host import Host, HostInterface
from notrack.netfilter.journey import journey
from notrack.netfilter.model import Model
from notrack.netfilter.routes import Route, ways_out
from notrack.netfilter.walk import Undetermined, walk
from notrack.netfilter.ways import Way
from notrack.packets import questions
from notrack.packets.address import Family
from notrack.packets.fields import Field, State, interface_value
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_text import parse_packet
from notrack.packets.space import Space
from notrack.ruleset.core import (
    Action,
    Among,
    Base,
    Chain,
    ChainType,
    Hook,
    Literal,
    Nat,
    NatKind,
    Rule,
    Ruleset,
    SetField,
    ShiftField,
    Table,
    Template,
    Verdict,
)

ONE = IntervalSet.single
V4 = frozenset((Family.IPV4,))
DROP = Verdict.DROP
ROUTES = (("0.0.0.0/0", "eth0"), ("10.0.0.0/8", "eth1"), ("10.1.0.0/16", "eth2"), ("10.1.2.0/24", ""))
HOST = Host(
    interfaces=(
        HostInterface("eth0", (ipaddress.ip_interface("198.51.100.1/24"),)),
        HostInterface("eth1", (ipaddress.ip_interface("10.0.0.1/8"),)),
    ),
    routes=tuple(Route(ipaddress.ip_network(network), name) for network, name in ROUTES),
    forwards_ipv4=True,
)


def rule(*parts: Literal | Action) -> Rule:
    literals = tuple(part for part in parts if isinstance(part, Among))
    return Rule(literals, tuple(part for part in parts if not isinstance(part, Among)))  # type: ignore[misc]


def chain(hook: Hook, priority: int, *rules: Rule, kind: ChainType = ChainType.FILTER, on: str = "") -> Chain:
    return Chain(f"{hook.value}{priority}", rules, Base(hook, priority, kind, device=on or None))


def ruleset(*chains: Chain) -> Ruleset:
    return Ruleset(tuple(Table(f"t{i}", V4, (one,)) for i, one in enumerate(chains)))


def among(field: Field, low: int, high: int | None = None) -> Among:
    return Among(field, IntervalSet(((low, low if high is None else high),)))


def spans(*networks: str) -> IntervalSet:
    nets = [ipaddress.ip_network(text) for text in networks]
    return IntervalSet.of((int(net.network_address), int(net.broadcast_address)) for net in nets)


@pytest.mark.parametrize(
    ("networks", "names"),
    [
        (["203.0.113.9/32"], ["eth0"]),
        (["10.0.0.9/32"], ["eth1"]),
        (["10.1.0.9/32"], ["eth2"]),
        (["10.0.0.0/15"], None),  # a part of it is dropped by its route
        (["10.1.0.0/23"], ["eth2"]),
        (["9.0.0.0/8", "10.0.0.0/16"], ["eth0", "eth1"]),
        (["10.1.2.3/32"], None),
    ],
)
def test_the_longest_prefix_says_the_way_out(networks: list[str], names: list[str] | None) -> None:
    found = ways_out(HOST.routes, spans(*networks), Family.IPV4)
    expected = None if names is None else IntervalSet.of((interface_value(n),) * 2 for n in names)
    assert found == expected
    assert ways_out(None, spans(*networks), Family.IPV4) is None
    assert ways_out(HOST.routes[1:] if HOST.routes else (), spans("9.9.9.9/32"), Family.IPV4) is None


def test_shifts_in_a_row_are_one_shift() -> None:
    draw = random.Random(1)
    for _ in range(300):
        first, second = (Shift(draw.randint(-300, 300)) for _ in range(2))
        both = second.behind(first)
        assert isinstance(both, Shift)
        assert all(both.of(value) == second.of(first.of(value)) for value in range(256))
    assert Shift(-3).behind(10) == 7
    unsure = Shift(-3).behind(Unsure("x", IntervalSet(((2, 9),))))
    assert isinstance(unsure, Unsure) and unsure.among == IntervalSet(((0, 6),)) and unsure.name != "x"


def test_a_shift_is_taken_back_in_sets() -> None:
    draw = random.Random(2)
    for _ in range(100):
        space = Space(Family.IPV4)
        level = space.levels[Field.TTL][0]
        values = IntervalSet.of(sorted(draw.sample(range(256), 2)) for _ in range(3))  # type: ignore[misc]
        by = draw.choice((-1, 1, -64, 200, draw.randint(-255, 255)))
        moved = questions.shifted(space, space.among(Field.TTL, values), level, by, 0, 255)
        before = IntervalSet.of((v, v) for v in range(256) if Shift(by).of(v) in values)
        assert moved == space.among(Field.TTL, before)


@pytest.mark.parametrize("early", [(), (SetField(Field.TTL, None, "a map"),), (ShiftField(Field.TTL, -5),)])
def test_hops_in_trace_and_sets(early: tuple[Action, ...]) -> None:
    rules = ruleset(
        chain(Hook.PREROUTING, -150, Rule((), early)),
        chain(Hook.FORWARD, 0, rule(among(Field.TTL, 0, 9), DROP)),
    )
    passage = Model(rules, Family.IPV4, HOST).passage(Way.FORWARD)
    lost = passage.space.project(passage.dropped().diagram, Field.TTL)
    taken = passage.space.project(passage.packets.diagram, Field.TTL)
    if early and isinstance(early[0], ShiftField):
        assert (lost.spans, taken.spans) == (((7, 15),), ((7, 255),))
    elif early:
        assert (lost.spans, taken.spans) == (((0, 255),), ((0, 255),))
        assert passage.dropped() & passage.accepted().may()
    else:
        assert (lost.spans, taken.spans) == (((2, 10),), ((2, 255),))
        sent = "udp 9.9.9.9:1 > 10.0.0.5:2 in eth0 out eth1 ttl"
        traces = [walk(rules, parse_packet(f"{sent} {ttl}"), HOST) for ttl in (1, 2, 10, 11)]
        assert [trace.verdict for trace in traces] == ["reject", "drop", "drop", "accept"]
        assert [trace.ended_by_routing for trace in traces] == [True, False, False, False]


def moved(to: str) -> Ruleset:
    nat = Nat(NatKind.DNAT, spans(to), None, f"dnat to {to}")
    by = rule(Among(Field.OUT, ONE(interface_value("eth1"))), DROP)
    output = chain(Hook.OUTPUT, -100, rule(among(Field.PROTOCOL, 17), nat), kind=ChainType.NAT)
    return ruleset(output, chain(Hook.POSTROUTING, 0, by))


DNS = "udp 198.51.100.1:4000 > 9.9.9.9:53 out eth0"


@pytest.mark.parametrize(("to", "verdict"), [("10.0.0.5/32", "drop"), ("10.1.0.5/32", "accept")])
def test_a_new_destination_gets_its_way_out(to: str, verdict: str) -> None:
    rules = moved(to)
    assert walk(rules, parse_packet(DNS), HOST).verdict == verdict
    passage = Model(rules, Family.IPV4, HOST).passage(Way.LOCAL_OUT)
    first = Model(rules, Family.IPV4, HOST, space=passage.space).first_packets()
    asked = {Field.PROTOCOL: ONE(17), Field.DESTINATION: spans("9.9.9.9/32")}
    udp = passage.packets & first & type(first)(passage.space, passage.space.cube(asked))
    assert bool(udp & passage.accepted()) == (verdict == "accept")


def test_what_ends_in_output_is_not_routed_anew() -> None:
    before = (table.chains[0] for table in moved("10.0.0.5/32").tables)
    rules = ruleset(*before, chain(Hook.OUTPUT, 0, rule(DROP)))
    trace = walk(rules, parse_packet(DNS), HOST)
    assert (trace.verdict, trace.hook) == ("drop", Hook.OUTPUT)
    passage = Model(rules, Family.IPV4, HOST).passage(Way.LOCAL_OUT)
    leaves = questions.leaves(passage.space, passage.function.diagram)
    found = [passage.algebra.outcome(leaf) for leaf in leaves]
    assert [one.effects for one in found if one.effects.rerouted] == [trace.effects]


def test_routes_tell_where_a_packet_goes_that_does_not_say_it() -> None:
    nat = Nat(NatKind.DNAT, spans("10.1.0.5/32"), None, "dnat to 10.1.0.5")
    rules = ruleset(
        chain(Hook.PREROUTING, -100, rule(among(Field.DESTINATION_PORT, 99), nat), kind=ChainType.NAT),
        chain(Hook.FORWARD, 0, rule(among(Field.OUT, interface_value("eth2")), DROP)),
    )
    sent = {
        "udp 9.9.9.9:1 > 10.0.0.5:53 in eth0": (Way.FORWARD, "accept"),
        "udp 9.9.9.9:1 > 10.1.0.7:53 in eth0": (Way.FORWARD, "drop"),
        "udp 9.9.9.9:1 > 10.0.0.1:99 in eth0": (Way.FORWARD, "drop"),
        "udp 9.9.9.9:1 > 10.0.0.1:53 in eth0": (Way.LOCAL_IN, "accept"),
    }
    for text, expected in sent.items():
        trace = walk(rules, parse_packet(text), HOST)
        assert (trace.way, trace.verdict) == expected, text
    asked = parse_packet("udp 9.9.9.9:1 > 10.0.0.5:53 in eth0")
    found = answer(asked, walk(rules, asked, HOST), rules, HOST)
    assert found is not None and found[0].in_interface == "eth1"
    with pytest.raises(Undetermined, match="out IF"):
        walk(rules, parse_packet("udp 9.9.9.9:1 > 10.1.2.7:53 in eth0"), HOST)


def test_without_routes_the_way_out_is_a_guess() -> None:
    found = journey(moved("10.0.0.5/32"), parse_packet(DNS))
    assert found.trace.verdict == "accept"
    assert [(one.fact, one.otherwise) for one in found.guesses] == [("the packet leaves by eth1", "drop")]
    assert "way out to the destination of dnat to 10.0.0.5/32" in found.unknown
    passage = Model(moved("10.0.0.5/32"), Family.IPV4).passage(Way.LOCAL_OUT)
    udp = passage.space.among(Field.PROTOCOL, 17)
    new = passage.space.among(Field.STATE, State.NEW)
    chosen = type(passage.packets)(passage.space, passage.space.meet(udp, new)) & passage.packets
    assert chosen & passage.accepted().may() and chosen & passage.dropped().may()
    assert not chosen & passage.accepted().must()


def test_an_answer_comes_in_where_the_packet_left() -> None:
    rules = moved("10.1.0.5/32")
    asked = parse_packet(DNS)
    found = answer(asked, walk(rules, asked, HOST), rules, HOST)
    assert found is not None and found[0].in_interface == "eth2" and found[1].state is State.ESTABLISHED
    with pytest.raises(Undetermined):
        answer(asked, walk(rules, asked), rules)


@pytest.mark.parametrize(
    ("asking", "answering", "state"),
    [
        ((5, 5), (5, 5), State.ESTABLISHED),
        ((5, 5), (0, 0), State.NEW),
        ((5, 0), (0, 0), State.ESTABLISHED),
        ((0, 0), (0, 5), State.NEW),
        ((5, 5), None, State.ESTABLISHED),
    ],
)
def test_an_answer_in_another_zone_is_a_stranger(
    asking: tuple[int, int], answering: tuple[int, int] | None, state: State
) -> None:
    def zone(name: str, zones: tuple[int, int] | None) -> Rule:
        return rule(among(Field.IN, interface_value(name)), Template(f"zone {zones}", zones=zones))

    rules = ruleset(chain(Hook.PREROUTING, -300, zone("eth0", asking), zone("eth1", answering)))
    asked = parse_packet("udp 9.9.9.9:4000 > 10.0.0.5:53 in eth0 out eth1")
    found = answer(asked, walk(rules, asked, HOST), rules, HOST)
    assert found is not None and found[1].state is state


def test_a_packet_that_only_looks_new_has_no_answer_of_its_own() -> None:
    late = Template("ct zone set 5", overrides=True, zones=(5, 5))
    rules = ruleset(chain(Hook.PREROUTING, -150, rule(late)))
    asked = parse_packet("tcp 9.9.9.9:4000 > 10.0.0.5:53 in eth0 out eth1 flags syn,ack")
    trace = walk(rules, asked, HOST)
    assert trace.state is State.NEW
    found = answer(asked, trace, rules, HOST)
    assert found is not None and found[1].state is not State.ESTABLISHED


def test_a_chain_of_a_device_sees_what_comes_in_by_it_and_may_see_the_rest() -> None:
    rules = ruleset(chain(Hook.INGRESS, 0, rule(DROP), on="eth0"))
    passage = Model(rules, Family.IPV4, HOST).passage(Way.LOCAL_IN)
    space = passage.space
    by = type(passage.packets)(space, space.among(Field.IN, interface_value("eth0"))) & passage.packets
    assert by <= passage.dropped(Hook.INGRESS).must()
    own = space.among(Field.DESTINATION, spans("10.0.0.1/32"))
    rest = (passage.packets - by) & type(by)(space, own)
    assert rest <= passage.accepted().may() and rest <= passage.dropped().may()
    traced = journey(rules, parse_packet("udp 9.9.9.9:1 > 10.0.0.1:2 in eth1 to host"), HOST)
    assert traced.trace.verdict == "accept" and [one.otherwise for one in traced.guesses] == ["drop"]
    held = Effects() == traced.trace.effects
    assert held and traced.unknown == ()
