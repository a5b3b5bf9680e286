"""What the kernel was seen to do, held by hand-made chains against trace and sets alike."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest

from notrack.netfilter.effects import Track
from notrack.netfilter.host import Host, HostInterface
from notrack.netfilter.model import Model
from notrack.netfilter.translation import answers_on_wire
from notrack.netfilter.visits import visits
from notrack.netfilter.walk import Trace, Undetermined, resettled, settle_kinds, walk, way_of
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.packets.fields import AddressType, Field, Fragment, State, interface_value
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet import Packet
from notrack.packets.packet_text import parse_packet
from notrack.ruleset.core import (
    XTABLES_PRIORITY,
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
    NatKind,
    Notrack,
    Rule,
    Ruleset,
    Table,
    Template,
    Unknown,
    Verdict,
)

ONE = IntervalSet.single
V4, V6 = Family.IPV4, Family.IPV6
ACCEPT, DROP, REJECT, RETURN = Verdict.ACCEPT, Verdict.DROP, Verdict.REJECT, Verdict.RETURN
PRE, IN, FWD, OUT, POST = Hook.PREROUTING, Hook.INPUT, Hook.FORWARD, Hook.OUTPUT, Hook.POSTROUTING
TCP, UDP = Among(Field.PROTOCOL, ONE(6)), Among(Field.PROTOCOL, ONE(17))
HOST = Host(
    interfaces=(
        HostInterface(
            "eth0", (ipaddress.ip_interface("198.51.100.1/24"), ipaddress.ip_interface("2001:db8:1::1/64"))
        ),
    ),
    forwards_ipv4=True,
)
SYN = "tcp 203.0.113.9:40000 > 198.51.100.1:80 in eth0"


def dport(*ports: int) -> Among:
    return Among(Field.DESTINATION_PORT, IntervalSet.of((port, port) for port in ports))


def sport(port: int) -> Among:
    return Among(Field.SOURCE_PORT, ONE(port))


def state(*states: State) -> Among:
    return Among(Field.STATE, IntervalSet.of((value, value) for value in states))


def rule(*parts: Literal | Action) -> Rule:
    literals = tuple(part for part in parts if isinstance(part, Literal))
    return Rule(literals, tuple(part for part in parts if not isinstance(part, Literal)))


def base(hook: Hook, priority: int, *rules: Rule, policy: Verdict = ACCEPT, nat: bool = False) -> Chain:
    kind = ChainType.NAT if nat else ChainType.FILTER
    return Chain(f"{hook.value} {priority}", rules, Base(hook, priority, kind, policy))


def ruleset(*chains: Chain, families: frozenset[Family] = frozenset((V4,))) -> Ruleset:
    return Ruleset((Table("t", families, chains),))


def raw(*rules: Rule, hook: Hook = PRE) -> Chain:
    return base(hook, XTABLES_PRIORITY["raw", hook], *rules)


def trace(rules: Ruleset, text: str, host: Host = HOST, flow: State | None = None, **facts: bool) -> Trace:
    """The trace of a packet, checked against the sets."""
    packet = replace(parse_packet(text), state=flow)
    found = walk(rules, packet, host, facts=facts)
    model = Model(rules, packet.family, host)
    values = packet.values()
    settle_kinds(values, packet, host, found.way)
    seen = replace(resettled(packet, values), state=found.state)
    if model.reassembles:
        seen = replace(seen, fragment=Fragment.WHOLE)
    passage = model.passage(found.way)
    assert passage.packets.has(seen, dict(facts))
    assert passage.accepted().has(seen, dict(facts)) == (found.verdict == "accept")
    assert (found.hook is None) or passage.reaching(found.hook).has(seen, dict(facts))
    return found


TRACKED = base(FWD, 0, rule(state(State.ESTABLISHED), ACCEPT))  # keeps tracking on, decides nothing here


def test_an_untracked_packet_is_untracked_and_nothing_else() -> None:
    for seen in State:
        found = trace(
            ruleset(
                raw(rule(TCP, dport(80), Notrack())), base(IN, 0, rule(state(seen), ACCEPT), policy=DROP)
            ),
            SYN,
        )
        assert found.state is State.UNTRACKED
        assert found.verdict == ("accept" if seen is State.UNTRACKED else "drop")
        assert found.effects.track.value == "untracked"


@pytest.mark.parametrize(
    ("priority", "untracked"), [(-300, True), (-201, True), (-200, False), (-150, False)]
)
def test_notrack_works_before_connection_tracking_alone(priority: int, untracked: bool) -> None:
    rules = ruleset(base(PRE, priority, rule(TCP, Notrack())), TRACKED)
    assert (trace(rules, SYN).state is State.UNTRACKED) == untracked


def test_a_late_notrack_turns_invalid_into_untracked() -> None:
    rules = ruleset(
        base(PRE, -150, rule(TCP, Notrack())),
        base(IN, 0, rule(state(State.INVALID), DROP)),
    )
    reset = SYN + " flags syn,ack"
    assert trace(rules, reset).state is State.UNTRACKED
    assert trace(rules, reset).verdict == "accept"
    assert trace(rules, SYN).state is State.NEW


@pytest.mark.parametrize(
    ("flags", "loose", "expected"),
    [
        ("syn", True, State.NEW),
        ("ack", True, State.NEW),
        ("psh,ack", None, State.NEW),
        ("ack", False, State.INVALID),
        ("syn,ack", True, State.INVALID),
        ("rst", True, State.INVALID),
        ("fin,ack", True, State.INVALID),
        ("none", True, State.INVALID),
        ("syn,fin", True, State.INVALID),
    ],
)
def test_the_first_packet_seen_of_a_tcp_flow(flags: str, loose: bool | None, expected: State) -> None:
    host = replace(HOST, tcp_loose=loose)
    rules = ruleset(TRACKED)
    assert trace(rules, f"{SYN} flags {flags}", host).state is expected
    model = Model(rules, V4, host)
    packet = replace(parse_packet(f"{SYN} flags {flags}"), state=expected)
    assert model.first_packets().has(packet)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("echo-request", State.NEW),
        ("echo-reply", State.INVALID),
        ("fragmentation-needed", State.INVALID),
        ("timestamp-request", State.NEW),
    ],
)
def test_icmp_of_no_known_flow(kind: str, expected: State) -> None:
    assert trace(ruleset(TRACKED), f"icmp {kind} 203.0.113.9 > 198.51.100.1 in eth0").state is expected


@pytest.mark.parametrize(
    "kind", ["neighbour-solicitation", "router-advertisement", "mld-listener-query", "mld2-listener-report"]
)
def test_neighbour_discovery_is_untracked_without_any_rule(kind: str) -> None:
    rules = ruleset(base(IN, 0, rule(state(State.UNTRACKED), DROP)), families=frozenset((V6,)))
    found = trace(rules, f"icmp {kind} fe80::9 > 2001:db8:1::1 in eth0")
    assert (found.state, found.verdict) == (State.UNTRACKED, "drop")
    echo = trace(rules, "icmp echo-request 2001:db8:9::9 > 2001:db8:1::1 in eth0")
    assert (echo.state, echo.verdict) == (State.NEW, "accept")


def test_tracking_is_a_matter_of_the_family() -> None:
    state_v4 = Table("filter", frozenset((V4,)), (TRACKED,))
    raw_v6 = Table("raw", frozenset((V6,)), (raw(rule(Notrack())),))
    both = Ruleset((state_v4, raw_v6))
    assert Model(both, V4).tracks
    assert not Model(both, V6).tracks
    inet = Table(
        "inet",
        frozenset(Family),
        (base(IN, 0, rule(Among(Field.FAMILY, ONE(4)), TRACKED.rules[0].guard[0])),),
    )
    assert Model(Ruleset((inet,)), V6).tracks


@pytest.mark.parametrize(
    ("part", "keeps"),
    [
        (state(State.NEW), True),
        (Fact("connlimit", tracking=True), True),
        (Fact("limit"), False),
        (Notrack(), False),
        (Template("CT --zone 1"), True),
        (Nat(NatKind.MASQUERADE), True),
        (Unknown("odd"), False),
        (REJECT, False),
        (Verdict.STOLEN, True),
    ],
)
def test_what_keeps_tracking_on(part: Literal | Action, keeps: bool) -> None:
    unreached = Ruleset((Table("t", frozenset((V4,)), (Chain("unreached", (rule(part),)),)),))
    assert Model(unreached, V4).tracks == keeps
    assert len(Model(unreached, V4).keepers) == int(keeps)
    assert Model(unreached, V4, Host(tracking_elsewhere=True)).tracks


def test_without_tracking_everything_is_untracked_and_no_nat_chain_is_asked() -> None:
    rules = ruleset(base(IN, 100, rule(DROP), nat=True), raw(rule(TCP, Notrack())))
    found = trace(rules, SYN)
    assert (found.state, found.verdict) == (State.UNTRACKED, "accept")
    passage = Model(rules, V4, HOST).passage(Way.LOCAL_IN)
    assert passage.untracked() == passage.packets


def test_an_accept_ends_one_base_chain_and_a_drop_is_final() -> None:
    rules = ruleset(base(IN, 0, rule(TCP, ACCEPT)), base(IN, 10, rule(TCP, DROP)))
    found = trace(rules, SYN)
    assert (found.verdict, found.hook) == ("drop", IN)
    assert [step.chain.name for step in found.steps] == ["input 0", "input 10"]
    swapped = ruleset(base(IN, 10, rule(TCP, ACCEPT)), base(IN, 0, rule(TCP, DROP)))
    assert [step.chain.name for step in trace(swapped, SYN).steps] == ["input 0"]


def test_jump_goto_return_and_policy() -> None:
    def with_(*rules: Rule) -> Ruleset:
        inner = Chain("inner", (rule(dport(80), RETURN), rule(DROP)))
        outer = Chain("outer", (rule(Jump("inner", goto=True)), rule(DROP)))
        return ruleset(inner, outer, base(IN, 0, *rules, policy=DROP))

    assert trace(with_(rule(Jump("inner")), rule(ACCEPT)), SYN).verdict == "accept"
    assert trace(with_(rule(Jump("inner", goto=True)), rule(ACCEPT)), SYN).verdict == "drop"  # the policy
    assert trace(with_(rule(Jump("outer")), rule(ACCEPT)), SYN).verdict == "accept"
    assert trace(with_(rule(RETURN), rule(ACCEPT)), SYN).verdict == "drop"
    assert trace(with_(rule(Jump("outer")), rule(ACCEPT)), SYN.replace(":80", ":81")).verdict == "drop"


def test_chains_may_be_nested_deeply() -> None:
    deep = [Chain(f"c{i}", (rule(Jump(f"c{i + 1}")),)) for i in range(700)]
    rules = ruleset(*deep, Chain("c700", (rule(TCP, DROP),)), base(IN, 0, rule(Jump("c0"))))
    assert trace(rules, SYN).verdict == "drop"


def test_chains_in_a_circle_do_not_hang() -> None:
    rules = ruleset(Chain("a", (rule(Jump("a")),)), base(IN, 0, rule(Jump("a"))))
    assert Model(rules, V4, HOST).passage(Way.LOCAL_IN).accepted()
    with pytest.raises(Undetermined, match="circle"):
        walk(rules, parse_packet(SYN), HOST)


def test_the_first_ct_wins() -> None:
    after = ruleset(raw(rule(Template("CT --zone 5")), rule(Notrack())))
    assert trace(after, SYN).state is State.NEW
    before = ruleset(raw(rule(Notrack()), rule(Template("CT --zone 5"))))
    assert trace(before, SYN).state is State.UNTRACKED
    for order in ((0, 1), (1, 0)):
        pair = (rule(Template("ct zone set 5", overrides=True)), rule(Notrack()))
        assert trace(ruleset(raw(*(pair[i] for i in order))), SYN).state is State.NEW


def test_a_late_zone_makes_an_invalid_packet_new() -> None:
    """nft attaches its template where there is no entry; a template looks NEW (found with real packets)."""
    zone = Template("ct zone set 5", overrides=True)
    rules = ruleset(base(PRE, 0, rule(zone)), base(IN, 0, rule(state(State.NEW), DROP)))
    found = walk(rules, parse_packet(f"{SYN} flags rst"), HOST)
    assert (found.verdict, found.hook) == ("drop", IN)
    dropped = Model(rules, V4, HOST).passage(Way.LOCAL_IN).dropped()
    assert State.INVALID in dropped.project(Field.STATE)


def test_of_equal_priority_the_last_made_runs_first() -> None:
    """Filter and nat chains alike (found with real packets)."""
    first = replace(base(IN, 0, rule(TCP, DROP)), name="first")
    second = replace(base(IN, 0, rule(TCP, REJECT)), name="second")
    assert trace(ruleset(first, second), SYN).verdict == "reject"
    drop = base(PRE, -100, rule(DROP), nat=True)
    redirect = base(PRE, -100, rule(TCP, Nat(NatKind.REDIRECT, None, ONE(81), "redirect")), nat=True)
    assert trace(ruleset(drop, replace(redirect, name="later")), SYN).verdict == "accept"
    assert trace(ruleset(redirect, replace(drop, name="later")), SYN).verdict == "drop"


def test_redirect_and_masquerade_take_the_address_of_their_interface() -> None:
    two = replace(
        HOST, interfaces=(HostInterface("eth9", (ipaddress.ip_interface("10.0.0.1/8"),)), *HOST.interfaces)
    )
    rules = ruleset(base(PRE, -100, rule(TCP, Nat(NatKind.REDIRECT, None, ONE(81), "redirect")), nat=True))
    found = trace(rules, SYN, two)
    assert found.values[Field.DESTINATION] == 0xC6336401
    assert found.assumed == ()
    elsewhere = trace(rules, SYN.replace("eth0", "ppp0"), two)
    assert [name for name, _ in elsewhere.assumed] == ["address of redirect"]


def test_raw_sees_no_state_but_invalid_and_its_own_untracked() -> None:
    rules = ruleset(
        raw(
            rule(state(State.NEW, State.ESTABLISHED), DROP), rule(Notrack()), rule(state(State.INVALID), DROP)
        ),
    )
    assert trace(rules, SYN).verdict == "accept"
    assert trace(ruleset(raw(rule(state(State.INVALID), DROP))), SYN).verdict == "drop"


def test_notrack_in_prerouting_alone_leaves_the_answers_tracked() -> None:
    rules = ruleset(raw(rule(TCP, dport(80), Notrack())), base(OUT, 0, rule(state(State.INVALID), DROP)))
    answer = trace(rules, "tcp 198.51.100.1:80 > 203.0.113.9:40000 out eth0 flags syn,ack")
    assert (answer.state, answer.verdict) == (State.INVALID, "drop")
    later = trace(rules, "tcp 198.51.100.1:80 > 203.0.113.9:40000 out eth0 flags ack")
    assert (later.state, later.verdict) == (State.NEW, "accept")


def test_an_icmp_error_about_an_untracked_flow_is_invalid() -> None:
    rules = ruleset(
        raw(rule(TCP, dport(80), Notrack())),
        base(IN, 0, rule(state(State.ESTABLISHED, State.RELATED), ACCEPT), rule(state(State.INVALID), DROP)),
    )
    assert trace(rules, "icmp fragmentation-needed 203.0.113.1 > 198.51.100.1 in eth0").verdict == "drop"


HALF = (
    raw(rule(TCP, dport(80), Notrack())),
    raw(rule(TCP, sport(80), Notrack()), hook=OUT),
    TRACKED,
)
LO = Among(Field.OUT, ONE(interface_value("lo")))


def test_loopback_is_half_tracked_by_symmetric_rules() -> None:
    question = "tcp 198.51.100.1:40000 > 198.51.100.1:80 out lo"
    answer = "tcp 198.51.100.1:80 > 198.51.100.1:40000 out lo flags syn,ack"
    assert trace(ruleset(*HALF), question).state is State.NEW  # PREROUTING's NOTRACK finds its entry
    assert trace(ruleset(*HALF), answer).state is State.UNTRACKED


def test_a_packet_untracked_in_output_stays_so_on_loopback() -> None:
    rules = ruleset(
        raw(rule(LO, Notrack()), hook=OUT), base(IN, 0, rule(state(State.UNTRACKED), ACCEPT), policy=DROP)
    )
    found = trace(rules, "tcp 198.51.100.1:40000 > 198.51.100.1:80 out lo")
    assert (found.state, found.verdict) == (State.UNTRACKED, "accept")


def test_loopback_passes_both_ways_of_hooks() -> None:
    lo_in = Among(Field.IN, ONE(interface_value("lo")))
    rules = ruleset(base(OUT, 0, rule(LO, ACCEPT), policy=DROP), base(PRE, 0, rule(lo_in, DROP)))
    found = trace(rules, "udp 127.0.0.1:5 > 127.0.0.1:53 out lo")
    assert (found.verdict, found.hook) == ("drop", PRE)


def dnat(address: str, port: int | None = None) -> Nat:
    ports = None if port is None else ONE(port)
    return Nat(NatKind.DNAT, ONE(int(ipaddress.ip_address(address))), ports, f"dnat {address}")


def test_the_nat_table_is_never_asked_about_an_untracked_packet() -> None:
    nat = base(PRE, -100, rule(TCP, dport(80), dnat("10.0.0.5", 8080)), nat=True)
    untracked = trace(ruleset(raw(rule(TCP, dport(80), Notrack())), nat), SYN)
    assert untracked.way is Way.LOCAL_IN
    assert untracked.effects.destination_nat is None
    with pytest.raises(Undetermined, match="say the way out"):
        trace(ruleset(nat), SYN)
    found = trace(ruleset(nat, base(FWD, 0, rule(dport(8080), ACCEPT), policy=DROP)), f"{SYN} out eth1")
    assert found.verdict == "accept"
    assert found.values[Field.DESTINATION] == 0x0A000005
    assert found.values[Field.DESTINATION_PORT] == 8080


def test_only_first_packets_are_translated_by_rules() -> None:
    nat = base(PRE, -100, rule(TCP, dport(80), Nat(NatKind.REDIRECT, None, ONE(8080), "redirect")), nat=True)
    assert trace(ruleset(nat), SYN).values[Field.DESTINATION_PORT] == 8080
    assert trace(ruleset(nat), SYN, flow=State.ESTABLISHED).effects.destination_nat is None
    assert trace(ruleset(nat), f"{SYN} flags syn,ack").effects.destination_nat is None


def test_nat_chains_run_where_the_kernel_translates_whatever_their_priority() -> None:
    rules = ruleset(
        base(PRE, -250, rule(TCP, Nat(NatKind.REDIRECT, None, ONE(8080), "redirect")), nat=True),
        base(PRE, -150, rule(dport(8080), DROP)),
        base(PRE, -50, rule(dport(80), DROP)),
    )
    found = trace(rules, SYN)
    assert found.verdict == "accept"
    assert found.values[Field.DESTINATION_PORT] == 8080


def test_after_one_translation_no_other_nat_chain_of_the_hook_is_asked() -> None:
    rules = ruleset(
        base(PRE, -100, rule(TCP, Nat(NatKind.REDIRECT, None, ONE(8080), "a")), nat=True),
        base(PRE, -90, rule(DROP), nat=True),
    )
    assert trace(rules, SYN).verdict == "accept"
    assert trace(rules, "udp 203.0.113.9:5 > 198.51.100.1:80 in eth0").verdict == "drop"


def test_sets_list_the_translations() -> None:
    masquerade = Nat(NatKind.MASQUERADE, text="MASQUERADE")
    eth1 = Among(Field.OUT, ONE(interface_value("eth1")))
    rules = ruleset(base(POST, 100, rule(eth1, masquerade), nat=True), raw(rule(UDP, Notrack())))
    ((effects, packets),) = Model(rules, V4, HOST).passage(Way.FORWARD).translated()
    assert effects.source_nat == masquerade
    assert packets.project(Field.OUT) == ONE(interface_value("eth1"))
    assert 17 not in packets.project(Field.PROTOCOL)
    assert packets.project(Field.STATE) == ONE(State.NEW)


def test_what_output_translates_to_the_host_itself_goes_by_loopback() -> None:
    redirect = Nat(NatKind.REDIRECT, None, ONE(8080), "redirect")
    rules = ruleset(
        base(OUT, -100, rule(TCP, dport(80), redirect), nat=True),
        base(IN, 0, rule(TCP, dport(8080), DROP)),
    )
    found = trace(rules, "tcp 198.51.100.1:40000 > 192.0.2.7:80 out eth0")
    assert (found.way, found.verdict, found.hook) == (Way.LOOPBACK, "drop", IN)
    assert found.values[Field.DESTINATION] == 0x7F000001
    left = Model(rules, V4, HOST).passage(Way.LOCAL_OUT).packets
    assert not left.has(
        replace(parse_packet("tcp 198.51.100.1:40000 > 192.0.2.7:80 out eth0"), state=State.NEW)
    )


def test_the_answer_to_a_masqueraded_flow_meets_a_notrack_for_a_service() -> None:
    """A LAN client that happens to use the service's port: its answer is never translated back."""
    masquerade = Nat(NatKind.MASQUERADE, text="MASQUERADE")
    eth0 = Among(Field.OUT, ONE(interface_value("eth0")))
    rules = ruleset(raw(rule(TCP, dport(8080), Notrack())), base(POST, 100, rule(eth0, masquerade), nat=True))
    model = Model(rules, V4, HOST)
    ((effects, packets),) = model.passage(Way.FORWARD).translated()
    answers = answers_on_wire(packets, effects)
    assert answers.project(Field.DESTINATION) == ONE(0xC6336401)
    assert answers.project(Field.IN) == ONE(interface_value("eth0"))
    lost = model.passage(Way.LOCAL_IN).untracked_by_rule() & answers
    assert lost.project(Field.DESTINATION_PORT) == ONE(8080)
    low = Nat(NatKind.MASQUERADE, None, IntervalSet(((1024, 2047),)), "MASQUERADE --to-ports 1024-2047")
    mended = ruleset(raw(rule(TCP, dport(8080), Notrack())), base(POST, 100, rule(eth0, TCP, low), nat=True))
    model = Model(mended, V4, HOST)
    ((effects, packets),) = model.passage(Way.FORWARD).translated()
    assert not model.passage(Way.LOCAL_IN).untracked_by_rule() & answers_on_wire(packets, effects)


def test_visits_name_the_packets_of_each_rule() -> None:
    shadowed = rule(TCP, dport(80), state(State.NEW), ACCEPT)
    rules = ruleset(
        raw(rule(TCP, dport(80), Notrack())),
        Chain("web", (shadowed, rule(DROP))),
        base(IN, 0, rule(TCP, Jump("web")), rule(UDP, ACCEPT)),
    )
    found = list(visits(Model(rules, V4, HOST), Way.LOCAL_IN))
    by_rule = {visit.rule: visit for visit in found}
    assert not by_rule[shadowed].matching(Track.UNTRACKED)
    assert by_rule[shadowed].arriving(Track.UNTRACKED).project(Field.DESTINATION_PORT) == ONE(80)
    assert by_rule[shadowed].callers == ("input 0", "web")
    assert by_rule[rule(UDP, ACCEPT)].matching().project(Field.PROTOCOL) == ONE(17)
    assert not by_rule[rule(UDP, ACCEPT)].matching(Track.UNTRACKED)


def test_prerouting_knows_no_way_out() -> None:
    rules = ruleset(raw(rule(Among(Field.OUT, ONE(interface_value("eth1"))), DROP)))
    assert trace(rules, f"{SYN} out eth1".replace("198.51.100.1", "192.0.2.7")).verdict == "accept"


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("198.51.100.1", AddressType.LOCAL),
        ("127.0.0.1", AddressType.LOCAL),
        ("224.0.0.251", AddressType.MULTICAST),
        ("255.255.255.255", AddressType.BROADCAST),
        ("198.51.100.255", AddressType.BROADCAST),
    ],
)
def test_multicast_and_broadcast_come_in_but_are_not_local(address: str, kind: AddressType) -> None:
    rules = ruleset(
        base(IN, 0, rule(Among(Field.DESTINATION_TYPE, ONE(AddressType.LOCAL)), ACCEPT), policy=DROP)
    )
    text = f"udp 203.0.113.9:68 > {address}:67 in eth0"
    if address == "127.0.0.1":
        text = f"udp 127.0.0.1:68 > {address}:67 out lo"
    found = trace(rules, text)
    assert (found.verdict == "accept") == (kind is AddressType.LOCAL)


def test_fragments_come_whole_where_something_tracks() -> None:
    chains = (
        raw(rule(UDP, dport(53), ACCEPT), rule(UDP, DROP)),
        base(IN, 0, rule(UDP, dport(53), ACCEPT), policy=DROP),
    )
    later = "udp 203.0.113.9:5 > 198.51.100.1:53 in eth0 fragment later"
    first = "udp 203.0.113.9:5 > 198.51.100.1:53 in eth0 fragment first"
    assert trace(ruleset(*chains), later).hook is PRE
    assert trace(ruleset(*chains), first).verdict == "accept"
    whole = Model(ruleset(*chains, TRACKED), V4, HOST).passage(Way.LOCAL_IN).packets
    assert whole.project(Field.FRAGMENT) == ONE(Fragment.WHOLE)
    reassembling = Model(ruleset(*chains, base(FWD, 0, rule(Fact("socket", reassembles=True)))), V4, HOST)
    assert (reassembling.tracks, reassembling.reassembles) == (False, True)


def test_input_of_ipv4_sees_whole_packets_and_that_of_ipv6_fragments() -> None:
    chains = (base(IN, 0, rule(UDP, dport(53), ACCEPT), policy=DROP),)
    v4 = trace(ruleset(*chains), "udp 203.0.113.9:5 > 198.51.100.1:53 in eth0 fragment later")
    assert v4.verdict == "accept"
    rules = ruleset(*chains, families=frozenset((V6,)))
    v6 = trace(rules, "udp [2001:db8:9::9]:5 > [2001:db8:1::1]:53 in eth0 fragment later")
    assert (v6.verdict, v6.hook) == ("drop", IN)
    forwarded = trace(
        ruleset(base(FWD, 0, rule(UDP, dport(53), ACCEPT), policy=DROP)),
        "udp 203.0.113.9:5 > 192.0.2.1:53 in eth0 out eth1 fragment later",
    )
    assert forwarded.verdict == "drop"


def test_unknown_things_may_do_anything_and_equal_text_is_one_fact() -> None:
    rules = ruleset(
        base(IN, 0, rule(Fact("limit 3/second"), ACCEPT), rule(Fact("limit 3/second", negated=True), DROP)),
        base(IN, 10, rule(Unknown("odd target"))),
        TRACKED,
    )
    assert trace(rules, SYN, **{"limit 3/second": True}).verdict == "accept"
    found = walk(rules, parse_packet(SYN), HOST)
    assert (found.verdict, found.assumed) == ("drop", (("limit 3/second", False),))
    accepted = Model(rules, V4, HOST).passage(Way.LOCAL_IN).accepted()
    assert not accepted.must()
    assert accepted.may()
    assert set(accepted.facts()) == {"limit 3/second", "`odd target` ends the chain", "`odd target` accepts"}


def test_answers_are_the_mirrored_passage() -> None:
    rules = ruleset(
        raw(rule(TCP, sport(80), Notrack()), hook=OUT), base(OUT, 0, rule(UDP, sport(53), DROP)), TRACKED
    )
    direct = Model(rules, V4, HOST)
    answers = Model(rules, V4, HOST, answers=True, space=direct.space)
    for name in ("accepted", "dropped", "untracked", "untracked_by_rule"):
        once = getattr(direct.passage(Way.LOCAL_OUT), name)()
        assert getattr(answers.passage(Way.LOCAL_OUT), name)().mirror() == once
    assert answers.passage(Way.LOCAL_OUT).dropped().project(Field.DESTINATION_PORT) == ONE(53)


def test_which_way_a_packet_takes() -> None:
    def way(text: str, host: Host = HOST) -> Way:
        return way_of(parse_packet(text), host)

    assert way(SYN) is Way.LOCAL_IN
    assert way(f"{SYN} out eth1") is Way.FORWARD
    assert way("udp 198.51.100.1:5 > 9.9.9.9:53 out eth0") is Way.LOCAL_OUT
    assert way("udp 198.51.100.1:5 > 198.51.100.1:53") is Way.LOOPBACK
    assert way(f"{SYN} to host", Host()) is Way.LOCAL_IN
    with pytest.raises(Undetermined, match="to host"):
        way(SYN, Host())
    with pytest.raises(Undetermined, match="in IF"):
        way("udp 203.0.113.9:5 > 9.9.9.9:53")


def test_a_host_that_does_not_forward_forwards_nothing() -> None:
    closed = replace(HOST, forwards_ipv4=False)
    assert not Model(ruleset(TRACKED), V4, closed).passage(Way.FORWARD).packets
    assert Model(ruleset(TRACKED), V4, Host()).passage(Way.FORWARD).packets


def test_unknown_addresses_leave_the_way_open() -> None:
    known = Model(ruleset(TRACKED), V4, HOST).passage(Way.LOCAL_IN).packets
    open_ = Model(ruleset(TRACKED), V4).passage(Way.LOCAL_IN).packets
    own = ipaddress.ip_address("198.51.100.1")
    groups = IntervalSet(((0xE0000000, 0xEFFFFFFF),))
    assert int(own) in known.project(Field.DESTINATION)
    assert (known.project(Field.DESTINATION) & IntervalSet(((0x0B000000, 0xC0000000),))) == IntervalSet.of(
        ((0x7F000000, 0x7FFFFFFF),)
    )
    assert groups <= known.project(Field.DESTINATION)
    assert 0x09090909 in open_.project(Field.DESTINATION)
    assert Packet(V4, 6, 1, 2).values()[Field.STATE] == State.NEW
