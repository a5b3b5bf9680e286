"""Facts: the order of the hooks, and where NOTRACK works."""

from __future__ import annotations

import pytest

from tests.kernel import packet
from tests.kernel.facts import FAR, OWN, STATES, STRANGER, state_rules, states
from tests.kernel.lab import Lab, LabError
from tests.kernel.ruletext import chain, nft, xt


@pytest.mark.parametrize(
    ("priority", "works"),
    [(-399, True), (-300, True), (-201, True), (-200, False), (-199, False), (-150, False), (0, False)],
)
def test_notrack_works_only_before_tracking(lab: Lab, priority: int, works: bool) -> None:
    """Tracking is at priority -200: an nft `notrack` later than that is accepted without a word, its
    counter climbs, and the flow is tracked all the same."""
    lab.load_nft(
        nft(
            chain("prerouting", priority, 'udp dport 53 counter notrack comment "notrack"'),
            chain("input", 10, *state_rules("nft", "", "udp dport 53", "in")),
        )
    )
    lab.client.udp_send(OWN[4], 53)  # no server: an answer would leave an entry of its own
    assert lab.hits("nft", "notrack") == 1
    assert states(lab, "nft", "in") == {"UNTRACKED" if works else "NEW": 1}
    assert [one.dport for one in lab.entries()] == ([] if works else [53])


@pytest.mark.parametrize("place", [("prerouting", -150), ("input", -10)])
def test_late_notrack_turns_invalid_into_untracked(lab: Lab, place: tuple[str, int]) -> None:
    """After tracking, `notrack` finds an entry and leaves it; an INVALID packet has none, and becomes
    UNTRACKED: `ct state invalid drop` then misses it."""
    late = chain(*place, "tcp dport 80 notrack")
    witness = chain("input", 10, *state_rules("nft", "", "tcp dport 80", "in"))
    unasked = packet.tcp(STRANGER[4], 5555, OWN[4], 80, "SA")
    lab.load_nft(nft(witness))
    lab.client.send(unasked)
    assert states(lab, "nft", "in") == {"INVALID": 1}
    lab.clear()
    lab.load_nft(nft(late, witness))
    lab.client.send(unasked)
    assert states(lab, "nft", "in") == {"UNTRACKED": 1}


@pytest.mark.parametrize(
    "place", [("input", 0), ("postrouting", 100), ("forward", 0), ("prerouting", 0), ("output", -100)]
)
def test_nft_accepts_notrack_anywhere(lab: Lab, place: tuple[str, int]) -> None:
    """nft takes `notrack` in every hook, useless as it is there."""
    lab.load_nft(nft(chain(*place, "udp dport 53 notrack")))
    assert "notrack" in lab.host.run("nft", "list", "ruleset").out


@pytest.mark.parametrize("table", ["filter", "mangle", "nat"])
@pytest.mark.parametrize("target", ["CT --notrack", "NOTRACK", "CT"])
def test_iptables_refuses_ct_outside_raw(lab: Lab, xtables: str, table: str, target: str) -> None:
    """Both iptables backends refuse CT outside `raw`; the kernel says only `Invalid argument`."""
    line = f"-A OUTPUT -p udp -j {target}"
    lab.load(xtables, xt(raw=[line]))
    with pytest.raises(LabError, match=r"Invalid argument|failed"):
        lab.load(xtables, xt(**{table: [line]}))
    done = lab.host.run(xtables, "-t", table, *line.split(), check=False)
    assert done.code in (1, 4) and "raw" not in done.err


def test_prerouting_knows_no_way_out(lab: Lab, xtables: str) -> None:
    """Both iptables backends refuse `-o` in PREROUTING: there is no routing decision yet."""
    done = lab.host.run(xtables, "-t", "raw", "-A", "PREROUTING", "-o", "eth1", "-j", "ACCEPT", check=False)
    assert done.code != 0 and "Can't use -o with PREROUTING" in done.err


def test_fib_knows_the_way_out_in_prerouting(lab: Lab) -> None:
    """nft's `fib daddr oif` asks the routing table itself, so it tells the way out even there."""
    lab.load_nft(
        nft(
            chain(
                "prerouting",
                "raw",
                'meta l4proto icmp fib daddr oifname "eth1" counter comment "by fib"',
                'meta l4proto icmp oifname "eth1" counter comment "by oifname"',
            )
        )
    )
    assert lab.client.ping(FAR[4])
    assert (lab.hits("nft", "by fib"), lab.hits("nft", "by oifname")) == (1, 0)


@pytest.mark.parametrize("dst", ["224.0.0.251", "255.255.255.255", "192.0.2.255", "ff02::fb"])
def test_local_matches_no_group_and_no_broadcast(lab: Lab, backend: str, dst: str) -> None:
    """`--dst-type LOCAL` and `fib daddr type local` match the host's unicast addresses alone."""
    line = "-A PREROUTING -p udp --dport 5353 -m addrtype --dst-type LOCAL -m comment --comment local"
    text = xt(
        raw=[line, line.replace("-m addrtype --dst-type LOCAL", "").replace("comment local", "comment any")]
    )
    lab.load_any(
        backend,
        v4=text,
        v6=text,
        nft=nft(
            chain(
                "prerouting",
                "raw",
                'udp dport 5353 fib daddr type local counter comment "local"',
                'udp dport 5353 counter comment "any"',
            )
        ),
    )
    family = 6 if ":" in dst else 4
    lab.client.send(packet.udp(STRANGER[family], 5353, dst, 5353))
    assert (lab.hits(backend, "local"), lab.hits(backend, "any")) == (0, 1)
    lab.client.send(packet.udp(STRANGER[family], 5353, OWN[family], 5353))
    assert (lab.hits(backend, "local"), lab.hits(backend, "any")) == (1, 2)


def test_translation_comes_between_mangle_and_filter(lab: Lab, backend: str) -> None:
    """raw (-300) and mangle (-150) see the address that was asked for, DNAT is at -100, filter (0)
    sees the translated one; SNAT at +100 is after mangle POSTROUTING."""
    count = "-m comment --comment"
    lab.load_any(
        backend,
        v4=xt(
            raw=[f"-A PREROUTING -p tcp --syn -d {OWN[4]} {count} raw"],
            mangle=[
                f"-A PREROUTING -p tcp --syn -d {OWN[4]} {count} mangle",
                f"-A POSTROUTING -p tcp --syn -s {STRANGER[4]} -d {FAR[4]} {count} post",
            ],
            nat=[
                f"-A PREROUTING -p tcp --dport 80 -j DNAT --to-destination {FAR[4]}",
                "-A POSTROUTING -o eth1 -j MASQUERADE",
            ],
            filter=[f"-A FORWARD -p tcp --syn -s {STRANGER[4]} -d {FAR[4]} {count} filter"],
        ),
        nft=nft(
            chain("prerouting", "raw", f'tcp flags syn ip daddr {OWN[4]} counter comment "raw"'),
            chain("prerouting", "mangle", f'tcp flags syn ip daddr {OWN[4]} counter comment "mangle"'),
            chain("prerouting", "dstnat", f"tcp dport 80 dnat ip to {FAR[4]}", kind="nat"),
            chain(
                "forward",
                "filter",
                f'tcp flags syn ip saddr {STRANGER[4]} ip daddr {FAR[4]} counter comment "filter"',
            ),
            chain(
                "postrouting",
                "mangle",
                f'tcp flags syn ip saddr {STRANGER[4]} ip daddr {FAR[4]} counter comment "post"',
            ),
            chain("postrouting", "srcnat", 'oifname "eth1" masquerade', kind="nat"),
        ),
    )
    lab.server.listen("tcp", 80)
    connection = lab.client.tcp(OWN[4], 80, src=STRANGER[4], sport=5555)
    assert connection.seen == ("10.8.0.1", 5555)
    assert [lab.hits(backend, name) for name in ("raw", "mangle", "filter", "post")] == [1, 1, 1, 1]


def test_an_answer_may_leave_by_another_interface(lab: Lab, backend: str) -> None:
    """Asked on eth1 from an address that is routed by eth0, the host answers by eth0: a reply leg
    that names `-o eth1` misses it, and the answer is tracked."""
    lab.load_any(
        backend,
        v4=xt(
            raw=[
                "-A PREROUTING -p udp --dport 53 -j CT --notrack",
                "-A OUTPUT -o eth1 -p udp --sport 53 -j CT --notrack",
            ],
            filter=state_rules(backend, "OUTPUT", "-p udp --sport 53"),
        ),
        nft=nft(
            chain("prerouting", "raw", "udp dport 53 notrack"),
            chain("output", "raw", 'oifname "eth1" udp sport 53 notrack'),
            chain("output", "filter", *state_rules(backend, "OUTPUT", "udp sport 53")),
        ),
    )
    lab.host.listen("udp", 53)
    assert lab.server.udp(OWN[4], 53).ok
    assert (states(lab, backend, "OUTPUT"), lab.conntrack_count()) == ({"UNTRACKED": 1}, 0)
    catcher = lab.client.sniff()
    lab.server.send(packet.udp(STRANGER[4], 5555, OWN[4], 53))
    assert [one.dport for one in catcher.packets() if one.proto == packet.UDP] == [5555]
    assert states(lab, backend, "OUTPUT") == {"UNTRACKED": 1, "NEW": 1}
    assert lab.conntrack_count() == 1


def test_reserved_words_of_nft(lab: Lab) -> None:
    """nft 1.0.6 refuses these as names of tables and of chains; a longer name is fine."""
    for name in ("notrack", "dnat", "snat", "masquerade", "fwd"):
        for text in (f"table inet {name} {{\n}}\n", f"table inet t {{\n chain {name} {{\n }}\n}}\n"):
            with pytest.raises(LabError, match="syntax error"):
                lab.load_nft(text)
            lab.load_nft(text.replace(name, f"{name}_"))


def test_states_are_exclusive(lab: Lab, backend: str) -> None:
    """One packet has one state."""
    lab.load_any(
        backend,
        v4=xt(filter=state_rules(backend, "INPUT", "-p icmp")),
        nft=nft(chain("input", "filter", *state_rules(backend, "INPUT", "meta l4proto icmp"))),
    )
    assert lab.client.ping(OWN[4])
    assert states(lab, backend, "INPUT") == {"NEW": 1} and len(STATES) == 5
