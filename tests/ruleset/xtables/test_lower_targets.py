"""What targets do, unit by unit."""

from __future__ import annotations

import pytest

from notrack.netfilter.guards import holds
from notrack.packets.fields import Field, State
from notrack.packets.intervals import IntervalSet
from notrack.ruleset import core
from tests.ruleset.xtables.lowered import V4, V6, actions, packet, rules

V = core.Verdict


@pytest.mark.parametrize(
    ("target", "verdict"),
    [
        ("ACCEPT", V.ACCEPT),
        ("DROP", V.DROP),
        ("RETURN", V.RETURN),
        ("REJECT", V.REJECT),
        ("REJECT --reject-with icmp-port-unreachable", V.REJECT),
    ],
)
def test_verdicts(target: str, verdict: core.Verdict) -> None:
    assert actions(target) == (verdict,)


def test_a_rule_without_a_target_only_counts() -> None:
    (rule,) = rules("-p tcp --dport 80")
    assert rule.actions == () and rule.guard


@pytest.mark.parametrize("target", ["CT --notrack", "NOTRACK"])
def test_notrack(target: str) -> None:
    assert actions(target, table="raw", chain="PREROUTING") == (core.Notrack(),)


@pytest.mark.parametrize(
    ("target", "zones"),
    [
        ("CT", (0, 0)),
        ("CT --zone 5", (5, 5)),
        ("CT --zone-orig 5", (5, 0)),
        ("CT --zone-reply 6", (0, 6)),
        ("CT --zone mark", None),
        ("CT --helper ftp", (0, 0)),
        ("CT --timeout short", (0, 0)),
    ],
)
def test_any_other_ct_is_a_template(target: str, zones: tuple[int, int] | None) -> None:
    assert actions(target, table="raw", chain="PREROUTING") == (core.Template(f"-j {target}", zones=zones),)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("--set-xmark 0x5/0xff", (0xFF, 5)),
        ("--set-xmark 5", (0xFFFFFFFF, 5)),
        ("--set-mark 0x105/0xff", (0x1FF, 0x105)),
        ("--set-mark 1", (0xFFFFFFFF, 1)),
        ("--and-mark 0xf0", (0xFFFFFF0F, 0)),
        ("--or-mark 0x10", (0x10, 0x10)),
        ("--xor-mark 0x3", (0, 3)),
    ],
)
@pytest.mark.parametrize("name", ["MARK", "CONNMARK"])
def test_marks(name: str, target: str, expected: tuple[int, int]) -> None:
    """mark = (mark & ~mask) ^ value, as the kernel computes it."""
    field = Field.MARK if name == "MARK" else Field.CT_MARK
    (rule,) = rules(f"-j {name} {target}", table="mangle")
    assert rule.actions == (core.SetMark(field, *expected),)


def test_a_connection_mark_needs_an_entry() -> None:
    (rule,) = rules("-j CONNMARK --set-mark 1", table="mangle")
    for state in State:
        entry = state in (State.NEW, State.ESTABLISHED, State.RELATED)
        one = packet("tcp 203.0.113.9:1 > 192.0.2.80:80 in eth0", state)
        assert holds(rule.guard, one.values(), V4, lambda name: False) is entry


def test_restored_and_saved_marks_are_not_known() -> None:
    (restore,) = rules("-j CONNMARK --restore-mark --nfmask 0xff --ctmask 0xff", table="mangle")
    (save,) = rules("-j CONNMARK --save-mark --mask 0xf0", table="mangle")
    (one,), (other,) = restore.actions, save.actions
    assert isinstance(one, core.SetMark) and isinstance(other, core.SetMark)
    assert (one.field, one.mask, one.value) == (Field.MARK, 0xFF, None)
    assert (other.field, other.mask, other.value) == (Field.CT_MARK, 0xF0, None)
    assert one.what and other.what and one.what != other.what


def test_hops() -> None:
    assert actions("TTL --ttl-set 5", table="mangle") == (core.SetField(Field.TTL, 5),)
    assert actions("TTL --ttl-dec 1", table="mangle") == (core.ShiftField(Field.TTL, -1),)
    assert actions("HL --hl-inc 3", V6, table="mangle") == (core.ShiftField(Field.TTL, 3),)
    assert actions("HL --hl-set 255", V6, table="mangle") == (core.SetField(Field.TTL, 255),)


@pytest.mark.parametrize(
    ("target", "before", "after"),
    [
        ("DSCP --set-dscp 46", 0, 184),
        ("DSCP --set-dscp-class EF", 3, 187),
        ("TOS --set-tos 0x10", 255, 0x10),
        ("TOS --set-tos Minimize-Delay", 0x83, 0x90),
        ("TOS --set-tos 0x40/0xfc", 0x03, 0x43),
    ],
)
def test_the_tos_octet(target: str, before: int, after: int) -> None:
    """Bits that the target keeps are kept, in one branch for each value that they may have."""
    values = packet("tcp 203.0.113.9:1 > 192.0.2.80:80 in eth0").values() | {Field.TOS: before}
    for rule in rules(f"-j {target}", table="mangle"):
        if holds(rule.guard, values, V4, lambda name: False):
            (action,) = rule.actions
            assert isinstance(action, core.SetField) and action.value is not None
            values[Field.TOS] = action.value
    assert values[Field.TOS] == after


def test_too_many_kept_bits_are_not_known() -> None:
    (action,) = actions("TOS --xor-tos 0x10", table="mangle")
    assert isinstance(action, core.SetField) and action.value is None


# Translation.


def span(*pairs: tuple[int, int]) -> IntervalSet:
    return IntervalSet.of(pairs)


@pytest.mark.parametrize(
    ("target", "kind", "addresses", "ports"),
    [
        ("DNAT --to-destination 10.8.0.5", "dnat", span((0x0A080005,) * 2), None),
        ("DNAT --to-destination 10.8.0.5:8080", "dnat", span((0x0A080005,) * 2), span((8080, 8080))),
        ("DNAT --to-destination 10.8.0.5-10.8.0.9", "dnat", span((0x0A080005, 0x0A080009)), None),
        ("DNAT --to-destination :8080", "dnat", None, span((8080, 8080))),
        ("DNAT --to-destination 10.8.0.5:80-90/80", "dnat", span((0x0A080005,) * 2), span((80, 90))),
        ("REDIRECT --to-ports 8080", "redirect", None, span((8080, 8080))),
        ("REDIRECT", "redirect", None, None),
    ],
)
def test_destinations(
    target: str, kind: str, addresses: IntervalSet | None, ports: IntervalSet | None
) -> None:
    (nat,) = actions(target, table="nat", chain="PREROUTING")
    assert isinstance(nat, core.Nat)
    assert (nat.kind.value, nat.addresses, nat.ports) == (kind, addresses, ports)
    assert nat.text == f"-j {target}"


@pytest.mark.parametrize(
    ("target", "addresses", "ports"),
    [
        ("SNAT --to-source 192.0.2.80", span((0xC0000250,) * 2), None),
        ("SNAT --to-source 192.0.2.80:1024-32767", span((0xC0000250,) * 2), span((1024, 32767))),
        ("MASQUERADE", None, None),
        ("MASQUERADE --to-ports 1024-32767", None, span((1024, 32767))),
        ("MASQUERADE --random", None, None),
    ],
)
def test_sources(target: str, addresses: IntervalSet | None, ports: IntervalSet | None) -> None:
    (nat,) = actions(target, table="nat", chain="POSTROUTING")
    assert isinstance(nat, core.Nat) and (nat.addresses, nat.ports) == (addresses, ports)


@pytest.mark.parametrize(
    ("word", "addresses", "ports"),
    [
        ("2001:db8::5", (0x20010DB8 << 96 | 5,) * 2, None),
        ("[2001:db8::5]:80", (0x20010DB8 << 96 | 5,) * 2, span((80, 80))),
        ("[2001:db8::5-2001:db8::9]:80-81", (0x20010DB8 << 96 | 5, 0x20010DB8 << 96 | 9), span((80, 81))),
    ],
)
def test_ipv6_destinations(word: str, addresses: tuple[int, int], ports: IntervalSet | None) -> None:
    (nat,) = actions(f"DNAT --to-destination {word}", V6, "nat", "PREROUTING")
    assert isinstance(nat, core.Nat) and (nat.addresses, nat.ports) == (span(addresses), ports)


def test_netmap_translates_before_routing_the_destination_and_behind_it_the_source() -> None:
    network = span((0x0A010000, 0x0A0100FF))
    (before,) = actions("NETMAP --to 10.1.0.0/24", table="nat", chain="PREROUTING")
    (behind,) = actions("NETMAP --to 10.1.0.0/24", table="nat", chain="POSTROUTING")
    assert isinstance(before, core.Nat) and isinstance(behind, core.Nat)
    assert (before.kind, before.addresses) == (core.NatKind.DNAT, network)
    assert (behind.kind, behind.addresses) == (core.NatKind.SNAT, network)


# Targets that answer for themselves, and the others.


def test_synproxy_takes_handshakes_and_lets_the_rest_go_on() -> None:
    made = rules("-p tcp --dport 80 -j SYNPROXY --mss 1460")
    assert [rule.actions for rule in made] == [(V.STOLEN,), (V.STOLEN,), (V.DROP,)]
    text = "tcp 203.0.113.9:1 > 192.0.2.80:80 in eth0 flags "

    def taken(flags: str, cookie: bool) -> list[bool]:
        values = packet(text + flags).values()
        return [holds(rule.guard, values, V4, lambda name: cookie) for rule in made]

    assert taken("syn", False) == [True, False, False]
    assert taken("ack", True) == [False, True, True]
    assert taken("ack", False) == [False, False, True]
    assert taken("syn,ack", True) == taken("rst,ack", True) == [False, False, False]
    facts = [literal for rule in made for literal in rule.guard if isinstance(literal, core.Fact)]
    assert facts and all(fact.tracking for fact in facts)


def test_tproxy_accepts_and_marks_or_drops() -> None:
    taken, rest = rules(
        "-p tcp -j TPROXY --on-port 3129 --tproxy-mark 0x1/0x1", table="mangle", chain="INPUT"
    )
    assert taken.actions == (core.SetMark(Field.MARK, 1, 1), V.ACCEPT)
    assert rest.actions == (V.DROP,)
    assert any(isinstance(one, core.Fact) and one.reassembles for one in taken.guard)


@pytest.mark.parametrize("target", ["QUEUE", "NFQUEUE --queue-num 3 --queue-bypass", "NOBODYKNOWS --x 5"])
def test_what_may_do_anything_is_unknown(target: str) -> None:
    (action,) = actions(target)
    assert isinstance(action, core.Unknown) and action.text == f"-j {target}" and not action.tracking


@pytest.mark.parametrize(
    "target",
    ["LOG --log-prefix x", "NFLOG", "TRACE", "TEE --gateway 10.0.0.1", "TCPMSS --clamp-mss-to-pmtu",
     "SET --add-set bad src", "AUDIT --type drop", "CLASSIFY --set-class 1:1"],
)  # fmt: skip
def test_what_changes_nothing_for_later_rules(target: str) -> None:
    assert actions(target, table="mangle") == (core.Log(f"-j {target}"),)


def test_connsecmark_keeps_tracking_on() -> None:
    (rule,) = rules("-j CONNSECMARK --save", table="mangle")
    assert rule.actions == (core.ConnectionSet("-j CONNSECMARK --save"),)


def test_prefix_translation_needs_no_connection() -> None:
    (rule,) = rules("-j SNPT --src-pfx fd00::/48 --dst-pfx 2001:db8::/48", V6, "mangle", "POSTROUTING")
    fields = [action.field for action in rule.actions if isinstance(action, core.SetField)]
    assert fields == [Field.SOURCE, Field.SOURCE_TYPE]


def test_every_rule_knows_its_text() -> None:
    (rule,) = rules("-p tcp -m tcp --dport 80 -j ACCEPT")
    assert rule.origin.text == "-A INPUT -p tcp -m tcp --dport 80 -j ACCEPT"
    assert rule.origin.span is not None and rule.origin.span.line == 2


@pytest.mark.parametrize("target", ["CONNMARK --nfmask 0xff", "SNAT", "NETMAP"])
def test_a_target_that_is_half_said_keeps_tracking_on_all_the_same(target: str) -> None:
    (rule,) = rules(f"-j {target}", table="nat", chain="POSTROUTING")
    (action,) = rule.actions
    assert isinstance(action, core.Nat) or (isinstance(action, core.Unknown) and action.tracking)
