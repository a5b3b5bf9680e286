"""What nft rules become in the core."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from pathlib import Path

from notrack.packets.address import Family
from notrack.packets.fields import Field, Fragment, bits_set, interface_prefix, interface_value
from notrack.packets.intervals import IntervalSet
from notrack.ruleset import core
from notrack.ruleset.nft.lower import lowered
from notrack.ruleset.nft.reader import read

TCP, UDP = (
    core.Among(Field.PROTOCOL, IntervalSet.single(6)),
    core.Among(Field.PROTOCOL, IntervalSet.single(17)),
)
V4, V6 = core.Among(Field.FAMILY, IntervalSet.single(4)), core.Among(Field.FAMILY, IntervalSet.single(6))
ACCEPT, DROP = core.Verdict.ACCEPT, core.Verdict.DROP


def table(text: str) -> core.Table:
    tree, found = read(text)
    assert found == ()
    made, diagnostics = lowered(tree)
    assert diagnostics == ()
    return made.tables[0]


def rules(body: str, before: str = "") -> list[tuple[core.Guard, tuple[core.Action, ...]]]:
    made = table(f"table inet x {{\n{before}\nchain other {{\n}}\nchain y {{\n{body}\n}}\n}}\n").chain("y")
    assert made is not None
    return [(rule.guard, rule.actions) for rule in made.rules]


def ports(*pairs: tuple[int, int], negated: bool = False) -> core.Among:
    return core.Among(Field.DESTINATION_PORT, IntervalSet.of(pairs), negated)


def address(text: str) -> tuple[int, int]:
    net = ipaddress.ip_network(text)
    return int(net.network_address), int(net.broadcast_address)


def test_names_stand_for_the_numbers_that_the_files_of_a_system_give_them() -> None:
    assert rules("tcp dport { www, sieve } accept\nmeta l4proto ipip drop\nmeta l4proto ipv4 drop") == [
        ((TCP, ports((80, 80), (4190, 4190))), (ACCEPT,)),
        ((core.Among(Field.PROTOCOL, IntervalSet.single(94)),), (DROP,)),
        ((core.Among(Field.PROTOCOL, IntervalSet.single(4)),), (DROP,)),
    ]


def test_a_port_of_an_unknown_name_is_one_of_its_protocol_all_the_same() -> None:
    assert rules("udp dport my-own accept\ntcp dport != my-own drop") == [
        ((UDP, core.Fact("udp dport my-own")), (ACCEPT,)),
        ((TCP, core.Fact("tcp dport my-own", negated=True)), (DROP,)),
    ]


def test_of_a_target_of_iptables_its_name_tells_what_it_may_do() -> None:
    body = 'xt target "MASQUERADE"\nxt target "DNAT"\nxt target "TCPMSS"\nxt target "CT"'
    assert [actions for _, actions in rules(body)] == [
        (core.Nat(core.NatKind.MASQUERADE, text='xt target "MASQUERADE"'),),
        (core.Unknown('xt target "DNAT" (inet x y, rule 2)', tracking=True),),
        (core.Log('xt target "TCPMSS"'),),
        (core.Unknown('xt target "CT" (inet x y, rule 4)', tracking=True),),
    ]


def test_ports_addresses_and_interfaces_are_exact() -> None:
    sets = "set web { type inet_service; flags interval; elements = { 80, 8000-8100 }; }"
    assert rules("tcp dport { ssh, 80-90 } accept\nudp dport != 53 drop\ntcp dport @web accept", sets) == [
        ((TCP, ports((22, 22), (80, 90))), (ACCEPT,)),
        ((UDP, ports((53, 53), negated=True)), (DROP,)),
        ((TCP, ports((80, 80), (8000, 8100))), (ACCEPT,)),
    ]
    source = core.Among(Field.SOURCE, IntervalSet.of([address("10.0.0.0/8")]))
    daddr = core.Among(Field.DESTINATION, IntervalSet.of([address("2001:db8::/32")]), True)
    assert rules("ip saddr 10.0.0.0/8 drop\nip6 daddr != 2001:db8::/32 drop") == [
        ((V4, source), (DROP,)),
        ((V6, daddr), (DROP,)),
    ]
    lo = core.Among(Field.IN, IntervalSet.single(interface_value("lo")))
    eth = core.Among(Field.OUT, interface_prefix("eth"), True)
    assert rules('iif lo accept\noifname != "eth*" drop') == [((lo,), (ACCEPT,)), ((eth,), (DROP,))]


def test_states() -> None:
    def state(*numbers: int, negated: bool = False) -> core.Among:
        return core.Among(Field.STATE, IntervalSet.of((n, n) for n in numbers), negated)

    body = (
        "ct state new,untracked accept\nct state { established, related } accept\nct state != invalid accept"
    )
    assert [guard for guard, _ in rules(body)] == [(state(0, 4),), (state(1, 2),), (state(3, negated=True),)]


def test_flags_without_an_operator_are_any_of_them() -> None:
    def flags(values: IntervalSet, negated: bool = False) -> core.Guard:
        return (TCP, core.Among(Field.FLAGS, values, negated))

    body = (
        "tcp flags syn drop\ntcp flags == syn drop\ntcp flags & (fin|syn|rst|ack) == syn drop\n"
        "tcp flags syn / fin,syn,rst,ack drop\ntcp flags { syn, ack } drop"
    )
    assert [guard for guard, _ in rules(body)] == [
        flags(bits_set(2, 0), True),
        flags(IntervalSet.single(2)),
        flags(bits_set(23, 2)),
        flags(bits_set(23, 2)),
        flags(IntervalSet.of([(2, 2), (16, 16)])),
    ]


def test_a_verdict_map_is_one_rule_for_each_verdict() -> None:
    made = rules("tcp dport vmap { 22 : accept, 23 : drop, 80-90 : accept, 5 : jump other } counter")
    assert made == [
        ((TCP, ports((22, 22), (80, 90))), (ACCEPT,)),
        ((TCP, ports((23, 23))), (DROP,)),
        ((TCP, ports((5, 5))), (core.Jump("other"),)),
    ]


def test_behind_a_verdict_map_only_continue_goes_on() -> None:
    made = rules("tcp dport vmap { 22 : drop, 23 : continue } accept")
    assert made[1] == ((TCP, ports((23, 23))), (ACCEPT,))


def test_a_rule_that_acts_between_matches_is_several() -> None:
    assert rules("udp dport 53 notrack iifname lo accept") == [
        ((UDP, ports((53, 53))), (core.Notrack(),)),
        ((UDP, ports((53, 53)), core.Among(Field.IN, IntervalSet.single(interface_value("lo")))), (ACCEPT,)),
    ]


def test_concatenations() -> None:
    body = "ip saddr . tcp dport { 10.0.0.1 . 22, 10.0.0.0/24 . 80-90 } accept"

    def pair(net: str, low: int, high: int) -> core.Guard:
        return (core.Among(Field.SOURCE, IntervalSet.of([address(net)])), ports((low, high)))

    either = core.OneOf((pair("10.0.0.1", 22, 22), pair("10.0.0.0/24", 80, 90)))
    assert rules(body) == [((V4, TCP, either), (ACCEPT,))]


def test_what_may_match_is_a_fact_and_ct_keeps_tracking_on() -> None:
    sets = "set seen { type ipv4_addr; flags dynamic; }"
    body = 'limit rate 5/second accept\nct count over 5 drop\nip saddr @seen drop\nct helper "ftp" accept'
    guards = [guard for guard, _ in rules(body, sets)]
    assert guards == [
        (core.Fact("limit rate 5/second", own=True),),
        (core.Fact("ct count over 5", tracking=True, own=True),),
        (V4, core.Fact("ip saddr @seen", own=True)),
        (core.Fact('ct helper "ftp"', tracking=True),),
    ]


def test_marks() -> None:
    body = "mark & 0xff == 0x10 mark set mark & 0xffffff00 | 0x20\nct mark set 5\nmeta mark set ct mark"
    assert rules(body) == [
        ((core.Masked(Field.MARK, 0xFF, 0x10),), (core.SetMark(Field.MARK, 0xFF, 0x20),)),
        ((), (core.SetMark(Field.CT_MARK, 0xFFFFFFFF, 5),)),
        ((), (core.SetMark(Field.MARK, 0xFFFFFFFF, None, "ct mark", tracking=True),)),
    ]


def test_a_mark_from_a_map_is_known_and_needs_no_tracking() -> None:
    body = "meta mark set tcp dport map { 80 : 0x1, 90 : 0x1, 443 : 0x2 } accept"
    mark = Field.MARK
    first, second, last = rules(body)
    assert first == ((TCP, ports((80, 80), (90, 90))), (core.SetMark(mark, 0xFFFFFFFF, 1),))
    assert second == ((TCP, ports((443, 443))), (core.SetMark(mark, 0xFFFFFFFF, 2),))
    assert last == ((core.OneOf((first[0], second[0])),), (ACCEPT,))
    kept = rules("meta mark set meta mark map { 1 : 2, 2 : 3 }")
    assert [action for _, (action,) in kept] == [
        core.SetMark(mark, 0xFFFFFFFF, None, "meta mark map { 1 : 2, 2 : 3 }")
    ]


def test_ports_beside_their_protocol_are_ports() -> None:
    both = "meta l4proto . th dport { tcp . 80, udp . 53 } accept"
    pairs = tuple(
        (core.Among(Field.PROTOCOL, IntervalSet.single(proto)), ports((port, port)))
        for proto, port in ((6, 80), (17, 53))
    )
    assert rules(both) == [((core.OneOf(pairs),), (ACCEPT,))]
    ((guard, _),) = rules("meta l4proto . th dport { 50 . 80 } accept")
    assert [type(literal) for literal in guard] == [core.Fact]


def test_fragments() -> None:
    later = IntervalSet.single(Fragment.LATER)
    assert [guard for guard, _ in rules("ip frag-off & 0x1fff != 0 drop\nfrag frag-off > 0 accept")] == [
        (V4, core.Among(Field.FRAGMENT, later)),
        (V6, core.Among(Field.FRAGMENT, later)),
    ]


def test_translations() -> None:
    made = rules("meta l4proto tcp dnat ip to 10.0.0.1:80\nmeta l4proto tcp masquerade to :1024-2000")
    nat, masquerade = (actions[0] for _, actions in made)
    assert nat.kind is core.NatKind.DNAT and nat.ports == IntervalSet.single(80)
    assert nat.addresses == IntervalSet.of([address("10.0.0.1")])
    assert masquerade.kind is core.NatKind.MASQUERADE and masquerade.ports == IntervalSet.of([(1024, 2000)])


def test_a_translation_through_a_map_is_for_its_keys_alone() -> None:
    made = rules(
        "dnat ip to tcp dport map { 80 : 10.0.0.1, 443 : 10.0.0.2 }\nmeta mark set tcp dport map { 5 : 6 }"
    )
    assert [guard for guard, _ in made] == [
        (V4, TCP, ports((80, 80))),
        (V4, TCP, ports((443, 443))),
        (TCP, ports((5, 5))),
    ]


def test_what_nft_asks_before_a_statement_is_asked() -> None:
    sets = "set seen { type ipv4_addr; flags dynamic; }"
    body = (
        "reject with tcp reset\nreject with icmp port-unreachable\ndnat ip6 to fe80::1\nreject\n"
        "add @seen { ip saddr } accept"
    )
    assert [guard for guard, _ in rules(body, sets)] == [(TCP,), (V4,), (V6,), (), (V4,)]


def test_what_is_unknown_is_an_unknown_action() -> None:
    tree, _ = read("table ip x {\nchain y {\ntcp dport 5 frob 7\ngizmo\n}\n}\n")
    chain = lowered(tree)[0].tables[0].chain("y")
    assert [rule.actions for rule in chain.rules] == [(core.Unknown("frob 7"),), (core.Unknown("gizmo"),)]


def test_bases_families_and_keepers() -> None:
    text = (
        'table inet x {\nct helper ftp { type "ftp" protocol tcp; }\n'
        "chain y { type filter hook prerouting priority raw - 5; policy drop; }\n}\n"
    )
    made = table(text)
    assert made.families == frozenset(Family)
    assert made.chains[0].base == core.Base(core.Hook.PREROUTING, -305, core.ChainType.FILTER, DROP)
    assert [keeper.what for keeper in made.keepers] == ["ct helper ftp"]
    assert lowered(read("table bridge b {\n}\ntable arp a {\n}\n")[0])[0] == core.Ruleset()


def test_commands_run_in_their_order() -> None:
    text = (
        "add table ip x\nadd chain ip x y\nadd rule ip x y accept\ninsert rule ip x y drop\n"
        "add rule ip x y index 0 return\n"
        "add set ip x s { type inet_service; }\nadd element ip x s { 1, 2 }\n"
        "delete element ip x s { 2 }\nadd rule ip x y tcp dport @s drop\n"
        "table ip gone {\n}\ndelete table ip gone\n"
    )
    made, _ = lowered(read(text)[0])
    assert [found.name for found in made.tables] == ["ip x"]
    chain = made.tables[0].chain("y")
    assert [rule.actions[0] for rule in chain.rules] == [DROP, core.Verdict.RETURN, ACCEPT, DROP]
    assert chain.rules[3].guard == (TCP, ports((1, 1)))
    assert lowered(read(text + "flush ruleset\n")[0])[0] == core.Ruleset()


def test_variables_and_includes_are_put_in() -> None:
    text = (
        "define ssh = 22\ndefine web = { 80, $ssh }\ndefine prio = -10\ntable ip x {\nchain y {\n"
        "type filter hook input priority $prio\ntcp dport { $web, 443 } accept\ntcp dport $web drop\n}\n}\n"
    )
    made = table(text)
    chain = made.chains[0]
    assert chain.base is not None and chain.base.priority == -10
    assert [rule.guard[1] for rule in chain.rules] == [
        ports((22, 22), (80, 80), (443, 443)),
        ports((22, 22), (80, 80)),
    ]
    _, found = lowered(read("define web = 80\ntable ip x {\nchain y {\ntcp dport $wab drop\n}\n}\n")[0])
    assert [(fault.span.text, fault.help) for fault in found] == [("$wab", "did you mean `$web`?")]


def test_a_define_ends_with_its_block() -> None:
    text = "table ip x {\ndefine a = 1\n}\ntable ip y {\nchain z {\ntcp dport $a drop\n}\n}\n"
    assert len(lowered(read(text)[0])[1]) == 1


def test_every_accepted_rule_has_a_place_in_the_core() -> None:
    lines = (Path(__file__).parent / "accepted.txt").read_text().splitlines()
    for line in (line for line in lines if line and line[0] not in "#:="):
        tree, found = read(f"table inet x {{\nchain y {{\n{line}\n}}\n}}\n")
        assert found == ()
        chain = lowered(tree)[0].tables[0].chain("y")
        assert chain.rules
        assert all(rule.origin.span is not None for rule in chain.rules)
        assert any(part.tracking for part in tracked(chain)) or not line.startswith(('ct helper "', "ct id"))


def tracked(chain: core.Chain) -> list[core.Fact]:
    return [part for rule in chain.rules for part in rule.guard if isinstance(part, core.Fact)]


def test_a_zone_of_both_directions_or_of_one() -> None:
    body = "ct zone set 5\nct original zone set 6\nct reply zone set 7\nct zone set meta mark"
    zones = [actions[0].zones for _, actions in rules(body) if isinstance(actions[0], core.Template)]
    assert zones == [(5, 5), (6, 0), (0, 7), None]


def test_a_frame_may_be_called_one_for_the_host() -> None:
    assert rules("meta pkttype set host") == [((), (core.SetField(Field.PACKET_TYPE, 0),))]


def test_synproxy_takes_syns_and_acks_and_lets_others_go_on() -> None:
    """The SYN and the ACK of a good cookie end here, a bad ACK is dropped; a FIN or RST alone goes on."""
    made = rules("tcp dport 80 ct state invalid,untracked synproxy mss 1460 accept")
    flags = [
        next(part.values for part in guard if isinstance(part, core.Among) and part.field is Field.FLAGS)
        for guard, _ in made
    ]
    assert [actions for _, actions in made] == [
        (core.Verdict.STOLEN,),
        (core.Verdict.STOLEN,),
        (DROP,),
        (ACCEPT,),
    ]
    assert flags[0] == bits_set(0x02, 0x02)
    assert flags[1] == flags[2] == bits_set(0x12, 0x10)
    assert flags[3] == bits_set(0x12, 0)


def test_a_protocol_behind_the_ports_is_the_protocol_of_the_ports() -> None:
    body = "th dport { 22, 80 } meta l4proto tcp accept\nth dport 22 counter meta l4proto tcp accept"
    first, *rest = rules(body)
    assert first == ((ports((22, 22), (80, 80)), TCP), (ACCEPT,))
    assert rest[0][0] == (core.Fact("th dport 22"),)  # it counts other packets too


def test_later_fragments_of_ipv6_by_their_offset() -> None:
    later = (V6, core.Among(Field.FRAGMENT, IntervalSet.single(Fragment.LATER)))
    for match in ("frag frag-off > 0", "frag frag-off != 0", "frag frag-off & 0x1fff != 0"):
        assert rules(f"{match} accept") == [(later, (ACCEPT,))]


def test_bits_of_addresses_and_ports_are_exact_where_they_are_few_numbers() -> None:
    (guard, _), (negated, _) = rules(
        "ip saddr & 255.255.255.253 == 10.0.0.1 accept\ntcp dport & 0xff00 != 0x1000 accept"
    )
    source = IntervalSet.of([address("10.0.0.1"), address("10.0.0.3")])
    assert guard == (V4, core.Among(Field.SOURCE, source))
    assert negated == (TCP, ports((0x1000, 0x10FF), negated=True))
    ((never, _),) = rules("ip saddr & 255.255.0.0 == 10.0.0.1 accept")
    assert never == (V4, core.Among(Field.SOURCE, IntervalSet()))
    ((suffix, _),) = rules("ip6 saddr & ::ffff:ffff:ffff:ffff == ::1 accept")
    assert suffix[0] == V6 and isinstance(suffix[1], core.Fact)


def test_of_the_keys_that_cover_all_numbers_one_is_always_taken() -> None:
    assert rules("numgen random mod 1 vmap { 0 : goto other }") == [((), (core.Jump("other", True),))]
    first, second, third = rules("numgen inc mod 3 vmap { 0 : accept, 1 : drop, 2 : goto other }")
    (one,) = first[0]
    assert isinstance(one, core.Fact) and one.own and not one.negated
    assert second[0][0] == replace(one, negated=True) and len(second[0]) == 2
    assert all(isinstance(literal, core.Fact) and literal.negated for literal in third[0])
    assert len(third[0]) == 2
    some = rules("numgen random mod 3 vmap { 0 : accept, 1 : drop }")
    assert [len(guard) for guard, _ in some] == [1, 1]  # a third packet goes on behind the map
