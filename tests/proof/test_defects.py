"""What the proof has found in the plan and in the layout: each defect by the site that showed it."""

from __future__ import annotations

from pathlib import Path

from notrack.layout.output import emit
from notrack.netfilter.walk import walk
from notrack.packets.address import Family
from notrack.packets.fields import State
from notrack.packets.packet_text import parse_packet
from notrack.plan.planner import Plan, plan
from notrack.proof.readback import proven, read_back
from notrack.report.proof import fault_diagnostics
from notrack.site import load_text
from notrack.text.render import render_all

HEAD = """site defects
interface wan = eth0 address 192.0.2.80/24
interface lan = eth1 address 10.8.0.1/24
network lan-net = 10.8.0.0/24
"""


def proven_plan(text: str, *, coexist: bool = False) -> Plan:
    site, _ = load_text(HEAD + text, "defects.spec", Path("."))
    found = plan(site, coexist=coexist)
    proof = proven(
        found, [emit(found, target, coexist=coexist) for target in ("iptables", "ip6tables", "nft")]
    )
    assert proof.holds, render_all(fault_diagnostics(proof))
    return found


def state(found: Plan, words: str, target: str = "iptables", *, coexist: bool = False) -> State:
    text = read_back(emit(found, target, coexist=coexist))
    assert text is not None
    return walk(text.ruleset, parse_packet(words)).state


def test_an_address_that_only_translation_uses_is_not_taken_for_an_own_one() -> None:
    """What was untracked at 192.0.2.81 named it and did not ask whether it is local: it may be an alias that
    somebody else answers for."""
    found = proven_plan(
        "trust partner from 172.16.1.0/24\nservice web tcp 80\n"
        "snat alias from lan-net out wan as 192.0.2.81\n"
        "route lan-out from lan-net to any on lan out wan\n"
    )
    for target in ("iptables", "nft"):
        lines = [line for line in emit(found, target).text.splitlines() if "192.0.2.81" in line]
        asked = [line for line in lines if "notrack" in line and ("-d 192" in line or "daddr 192" in line)]
        assert all("LOCAL" in line or "type local" in line for line in asked)
    assert state(found, "tcp 172.16.1.9:40000 > 192.0.2.81:80 in eth0 out eth1") is not State.UNTRACKED


def test_a_route_s_helper_leaves_alone_what_is_for_the_host_itself() -> None:
    """iptables gave the helper to packets for an untracked service of the host, and tracked them so."""
    found = proven_plan(
        "service control tcp 21\nroute ftp tcp 21 from any to any helper ftp\nservice x tcp 9 tracked\n"
    )
    helped = [line for line in emit(found, "iptables").text.splitlines() if "--helper" in line]
    assert helped and all("! --dst-type LOCAL" in line for line in helped)


def test_a_client_s_helper_keeps_to_ports_from_which_nothing_is_served() -> None:
    """An answer of the untracked service at 8081 to a client's port 69 looked like a question to TFTP."""
    found = proven_plan("service cache udp 8081\nclient boot udp 69 to lan-net helper tftp\n")
    assert state(found, "udp 192.0.2.80:8081 > 10.8.0.9:69 out eth1") is State.UNTRACKED
    assert state(found, "udp 192.0.2.80:40000 > 10.8.0.9:69 out eth1") is State.NEW


def test_any_except_some_asks_no_group() -> None:
    """`to any except` holds every group, so answers were taken from anybody, the excepted ones too."""
    found = proven_plan("network others = any except lan-net\nclient ask tcp 22 to others untracked\n")
    words = "tcp {}:22 > 192.0.2.80:40000 in {} to host flags ack"
    assert state(found, words.format("10.8.0.9", "eth1")) is State.NEW
    assert state(found, words.format("203.0.113.9", "eth0")) is State.UNTRACKED


def test_what_may_be_an_answer_to_what_is_redirected_stays_tracked_both_ways() -> None:
    """Beside `any to any` a forwarded flow from port 80 was untracked, and its answers were redirected."""
    found = proven_plan("redirect proxy tcp 80 on lan to port 3128\nroute all from any to any\n")
    there = state(found, "tcp 203.0.113.9:80 > 10.8.0.9:40000 in eth0 out eth1 flags syn")
    assert (
        there is state(found, "tcp 10.8.0.9:40000 > 203.0.113.9:80 in eth1 out eth0 flags syn") is State.NEW
    )


def test_beside_others_loopback_shares_packets_as_the_wire_does() -> None:
    """On loopback the untracked service took the question of a tracked one, which kept the answer."""
    found = proven_plan(
        "service one udp 8080 from lan-net tracked\nservice two udp 8080-8082\n", coexist=True
    )
    there = state(found, "udp 10.8.0.1:40000 > 192.0.2.80:8080 out lo", coexist=True)
    assert there is state(found, "udp 192.0.2.80:8080 > 10.8.0.1:40000 out lo", coexist=True) is State.NEW
    assert state(found, "udp 10.8.0.1:40000 > 192.0.2.80:8081 out lo", coexist=True) is State.UNTRACKED


def test_above_its_rate_a_redirect_does_not_leave_its_packets_to_the_next() -> None:
    """With one rule it did, with several it did not."""
    found = proven_plan(
        "redirect slow tcp 80 on lan to port 3128 limit 5/minute\nredirect fast tcp 80 on lan to port 3129\n"
        "service x tcp 22 tracked\n"
    )
    text = read_back(emit(found, "iptables"))
    assert text is not None
    trace = walk(text.ruleset, parse_packet("tcp 10.8.0.9:40000 > 203.0.113.9:80 in eth1 out eth0 flags syn"))
    assert trace.effects.destination_nat is None  # the rate is assumed to be used up
    assert Family.IPV4 in found.families


def test_a_rate_for_each_source_is_one_for_a_declaration_that_is_tracked_in_part() -> None:
    """No defect of the rules: the proof took the two halves of such a service for two limits."""
    found = proven_plan(
        "service all tcp 443 from 198.51.100.0/24 tracked\n"
        "service part tcp 443; udp 179 from 198.51.100.0/24 on lan limit 5/minute per source\n"
    )
    text = emit(found, "iptables").text
    assert text.count("--hashlimit-name part-5-min") == 2


def test_a_set_of_tuples_asks_whether_addresses_are_local_where_one_of_them_may_not_be() -> None:
    """The rule asked as the first of its members does, which names an own address and need not ask."""
    found = proven_plan(
        "".join(f"publish p{n} tcp {5000 + n} on wan to 10.8.0.5 port 443\n" for n in range(5))
        + "publish everywhere tcp 8443; udp 8443 to 10.8.0.5 port 443\n"
        "redirect proxy tcp 80; udp 80 on lan to port 3128\nservice web tcp 22\n"
    )
    lines = emit(found, "nft").text.splitlines()
    start = next(at for at, line in enumerate(lines) if "chain raw_output" in line)
    wide = [line for line in lines[start : start + 20] if "everywhere" in line and "8443" in line]
    tuples = [line for line in lines[start : start + 20] if " . th dport . " in line]
    assert all("fib daddr type local" in line for line in wide)
    assert all("everywhere" not in line or "fib daddr type local" in line for line in tuples)
