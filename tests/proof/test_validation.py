"""The proof of a compile: what holds is proven, what is broken is told with its packet and its rule."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from notrack.cli import main as cli
from notrack.layout import output
from notrack.layout.output import Output, emit
from notrack.packets.address import Family
from notrack.packets.budget import Budget
from notrack.packets.intervals import IntervalSet
from notrack.plan.leg import Action, Hook, Leg, Stage, Verb
from notrack.plan.planner import Plan, plan
from notrack.proof.readback import proven
from notrack.proof.validation import Proof
from notrack.report.proof import explained, fault_diagnostics
from notrack.site import load_text
from notrack.text.diagnostic import Rejected
from notrack.text.render import render_all
from tests.conftest import ROOT, SOAK
from tests.property.random_sites import Sites

TARGETS = ("iptables", "ip6tables", "nft")
HEAD = """site tested
interface wan = eth0 address 192.0.2.80/24
interface lan = eth1 address 10.8.0.1/24
network lan-net = 10.8.0.0/24
"""
MASQUERADE = "masquerade lan-out from lan-net out wan\nroute out-way from lan-net to any on lan out wan\n"


def planned(text: str, *, coexist: bool = False) -> Plan:
    site, _ = load_text(HEAD + text, "tested.spec", Path("."))
    return plan(site, coexist=coexist)


def proof_of(found: Plan, *targets: str, coexist: bool = False) -> Proof:
    return proven(found, [emit(found, target, coexist=coexist) for target in targets or TARGETS])


def without(found: Plan, dropped: Callable[[Leg], bool]) -> Plan:
    """The plan without some legs: text and legs then agree about a plan that is wrong."""
    families = {
        family: replace(one, legs=tuple(leg for leg in one.legs if not dropped(leg)))
        for family, one in found.families.items()
    }
    return replace(found, families=families)


@pytest.mark.parametrize("coexist", [False, True])
@pytest.mark.parametrize(
    "folder", sorted((ROOT / "examples").glob("*/site.spec")), ids=lambda p: p.parent.name
)
def test_every_example_is_proven(folder: Path, coexist: bool) -> None:
    site, _ = load_text(folder.read_text(), str(folder), folder.parent)
    found = plan(site, coexist=coexist)
    proof = proof_of(found, coexist=coexist)
    assert proof.holds, render_all(fault_diagnostics(proof))
    assert {(one.target, one.family) for one in proof.shown} == {
        ("iptables", Family.IPV4), ("ip6tables", Family.IPV6), ("nft", Family.IPV4), ("nft", Family.IPV6),
    }  # fmt: skip


def test_random_sites_are_proven() -> None:
    """A failure here is a defect of the plan, of the layout or of a reader."""
    sites, seen = Sites(2026), 0
    for _ in range(1500 if SOAK else 40):
        text = sites.text()
        for coexist in (False, True):
            try:
                site, _warnings = load_text(text, "random.spec", Path("."))
                found = plan(site, coexist=coexist)
            except Rejected:
                continue
            proof = proof_of(found, coexist=coexist)
            assert proof.holds, text + render_all(fault_diagnostics(proof))
            seen += 1
    assert seen > 20


# What breaks it.


def broken(found: Plan, target: str, old: str, new: str) -> Proof:
    text = emit(found, target).text
    assert old in text
    return proven(found, [Output(target, text.replace(old, new, 1))])


def test_a_wrong_port_is_told_with_a_packet_the_rule_and_the_declaration() -> None:
    found = planned("service web tcp 80 from lan-net\n")
    rule = "-A INPUT -s 10.8.0.0/24 -p tcp -m tcp --dport 80"
    proof = broken(found, "iptables", rule, rule[:-1] + "1")
    (fault,) = proof.faults
    assert fault.packet is not None and fault.place == "input"
    assert fault.packet.packet.destination_port in (80, 81)
    text = render_all(fault_diagnostics(proof))
    assert "packet: tcp" in text and "service web asks for it" in text and "tested.spec:5" in text
    assert "dropped by the policy" in text or "--dport 81" in text


@pytest.mark.parametrize(
    ("target", "old", "new"),
    [
        ("iptables", "--ctstate RELATED,ESTABLISHED", "--ctstate ESTABLISHED"),
        ("iptables", ":INPUT DROP", ":INPUT ACCEPT"),
        ("iptables", "-j CT --notrack", "-j ACCEPT"),
        ("iptables", "MASQUERADE", "ACCEPT"),
        ("nft", "policy drop", "policy accept"),
        ("nft", "masquerade to :", "masquerade to :1-"),
        ("nft", "notrack accept", "accept"),
        ("nft", "hook postrouting", "hook input"),
    ],
)
def test_a_broken_text_is_refused(target: str, old: str, new: str) -> None:
    found = planned("service web tcp 80; udp 443\n" + MASQUERADE)
    if new.endswith("-"):
        text = emit(found, target).text
        at = text.index(old) + len(old)
        proof = proven(found, [Output(target, f"{text[:at]}1{text[at:]}")])
    else:
        proof = broken(found, target, old, new)
    assert proof.faults


def test_text_that_the_reader_does_not_know_is_refused() -> None:
    found = planned("service web tcp 80\n")
    assert broken(found, "iptables", "-m tcp --dport 80", "-m tcpp --dport 80").faults
    assert broken(found, "nft", "tcp dport 80", "tcp deport 80").faults


def test_tracking_that_is_on_where_nothing_is_tracked_is_refused() -> None:
    found = planned("default output accept without replies\nservice web tcp 80\ntracking off\n")
    assert found.families[Family.IPV4].tracking == "none"
    proof = broken(found, "iptables", "COMMIT", "-A INPUT -m conntrack --ctstate NEW -j LOG\nCOMMIT")
    assert any("keep connection tracking on" in fault.what for fault in proof.faults)


# Properties: text and legs agree, and both are wrong.


def breach(found: Plan, dropped: Callable[[Leg], bool]) -> str:
    wrong = without(found, dropped)
    assert wrong != found
    proof = proof_of(wrong, "nft")
    assert proof.faults and all(fault.packet is not None for fault in proof.faults)
    return " ".join(fault.what for fault in proof.faults)


def test_half_a_service_is_a_breach() -> None:
    found = planned("service web tcp 80\n")
    told = breach(found, lambda leg: leg.hook is Hook.RAW_OUT and leg.stage is Stage.UNTRACK)
    assert "what comes in is untracked, its answer is tracked" in told
    told = breach(found, lambda leg: leg.hook is Hook.RAW_IN and leg.stage is Stage.UNTRACK)
    assert "what comes in is tracked, its answer is untracked" in told


def test_half_a_route_is_a_breach() -> None:
    found = planned("service x tcp 22 tracked\nroute through tcp 443 from lan-net to any untracked\n")
    back = IntervalSet.single(443)
    told = breach(found, lambda leg: leg.hook is Hook.RAW_IN and leg.box.source_ports == back)
    assert "what is forwarded is untracked, its answer is tracked" in told


def test_half_a_loopback_flow_is_a_breach() -> None:
    found = planned("service web tcp 80\nredirect proxy tcp 81 on lan to port 3128\n")
    port = IntervalSet.single(3128)

    def answers(leg: Leg) -> bool:
        return (
            leg.hook is Hook.RAW_OUT and leg.stage is Stage.KEEP_TRANSLATED and leg.box.source_ports == port
        )

    assert "on loopback one direction is untracked" in breach(found, answers)


def test_an_untracked_packet_that_should_be_translated_is_a_breach() -> None:
    found = planned("service web tcp 80\npublish shop tcp 80 on wan to 10.8.0.5\n")
    told = breach(found, lambda leg: leg.stage is Stage.KEEP_TRANSLATED)
    assert "an untracked packet should be translated" in told


def test_a_translated_answer_at_an_untracked_port_is_a_breach() -> None:
    found = planned("service web tcp 40000\n" + MASQUERADE)

    def ranges(leg: Leg) -> bool:
        return leg.hook is Hook.NAT_POST and leg.action.ports is not None

    assert "the answer to a translated packet is untracked" in breach(found, ranges)


def test_more_than_the_plan_exposes_is_a_breach() -> None:
    found = planned("service web tcp 80\nclient ask udp 53 to 9.9.9.9 untracked\n")
    family = found.families[Family.IPV4]
    legs = tuple(
        replace(leg, box=leg.box.but(destination_ports=IntervalSet(((1, 65535),))))
        if leg.origins[0].name == "ask" and leg.hook in (Hook.INPUT, Hook.RAW_IN)
        else leg
        for leg in family.legs
    )
    wrong = replace(found, families={**found.families, Family.IPV4: replace(family, legs=legs)})
    told = [fault.what for fault in proof_of(wrong, "iptables").faults]
    assert any("passes untracked, and no untracked flow" in what for what in told)


def test_formats_that_disagree_before_tracking_are_told() -> None:
    """A helper of a route that also meets what is for the host itself: iptables tracks it, nft does not."""
    found = planned("service web tcp 21\nroute ftp tcp 21 from any to any helper ftp\n")
    family = found.families[Family.IPV4]
    legs = tuple(
        replace(leg, box=leg.box.but(reach=frozenset(type(next(iter(leg.box.reach))))))
        if leg.action.verb is Verb.HELPER
        else leg
        for leg in family.legs
    )
    wrong = replace(found, families={**found.families, Family.IPV4: replace(family, legs=legs)})
    assert not proof_of(wrong, "iptables", "nft").holds
    assert proof_of(found, "iptables", "nft").holds


# Counters.


def test_limits_are_part_of_the_proof() -> None:
    found = planned("service web tcp 80 limit 5/minute per source; service x tcp 81\n".replace("; ", "\n"))
    for target, old, new in (
        ("iptables", "5/min", "6/min"),
        ("iptables", "--hashlimit-burst 5", "--hashlimit-burst 9"),
        ("iptables", "--hashlimit-mode srcip", "--hashlimit-mode dstip"),
        ("nft", "limit rate 5/minute", "limit rate 5/hour"),
        ("nft", "ip saddr limit", "ip daddr limit"),
    ):
        assert broken(found, target, old, new).faults, new


def test_a_limit_that_counts_twice_is_not_one_limit() -> None:
    """Two rules with a limit each let twice as much through as one limit for both."""
    found = planned("service web tcp 80; udp 80 limit 5/minute\n")
    text = emit(found, "iptables").text
    lines = [line for line in text.splitlines() if line.startswith("-A limit-web")]
    assert len(lines) == 1
    spread = text.replace(
        "-j limit-web", f"{lines[0].split('--comment')[0].split('limit-web ')[1]}--comment web -j ACCEPT"
    )
    assert spread.count("-m limit") == 3
    assert proven(found, [Output("iptables", spread)]).faults


# The command.


def notrack(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "notrack", *words], capture_output=True, text=True, cwd=ROOT, timeout=60
    )


def test_explain_proof_says_what_was_proven_and_what_it_rests_on() -> None:
    done = notrack("compile", "examples/edge/site.spec", "--to", "nft", "--explain-proof")
    assert done.returncode == 0
    assert done.stdout == (ROOT / "examples/edge/rules.nft").read_text()
    for words in (
        "nft, IPv4: proven", "nft, IPv6: proven", "192.0.2.80", "a rate of 20/second",
        "nothing translated comes back", "It rests on this",
    ):  # fmt: skip
        assert words in done.stderr


def test_explain_proof_of_all_targets_says_that_they_agree(tmp_path: Path) -> None:
    done = notrack("compile", "examples/router/site.spec", "-o", str(tmp_path), "--explain-proof")
    assert done.returncode == 0 and "The formats agree" in done.stderr


@pytest.mark.parametrize("words", [[], ["--to", "nft"], ["-o", "OUT"], ["--coexist"]])
def test_a_failed_proof_prints_no_rules(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken_emit(found: Plan, target: str, *, coexist: bool = False) -> Output:
        made = emit(found, target, coexist=coexist)
        return replace(made, text=made.text.replace("443", "444"))

    monkeypatch.setattr(output, "emit", broken_emit)
    folder = tmp_path / "out"
    chosen = [str(folder) if word == "OUT" else word for word in words]
    status = cli.main(["compile", str(ROOT / "examples/web-dns/site.spec"), *chosen])
    told = capsys.readouterr()
    assert status == cli.FINDINGS and told.out == "" and not folder.exists()
    assert "packet: " in told.err and "the plan asks for" in told.err and "service web" in told.err
    assert "no rules were printed" in told.err


def test_what_cannot_be_decided_is_not_proven() -> None:
    lines = [f"service s{n} tcp {1000 + 3 * n} from 10.{n}.{n % 7}.0/24, 10.{n}.9.{n}" for n in range(250)]
    found = planned("\n".join([*lines, "client ask tcp 9 to 9.9.9.9 untracked", ""]))
    proof = proven(found, [emit(found, "iptables")], Budget(seconds=60, nodes=1, edges=1))
    assert not proof.holds and proof.undecided
    (told,) = fault_diagnostics(proof)
    assert "undecided" in told.message


def test_an_action_of_the_plan_has_one_meaning_in_both_formats() -> None:
    found = planned("service web tcp 80\n" + MASQUERADE)
    proof = proof_of(found)
    assert proof.holds and not any(one.composed for one in proof.shown)
    assert "agree" in explained(proof, agreed=True) and "agree" not in explained(proof, agreed=False)
    assert Action(Verb.ACCEPT) in {leg.action for leg in found.families[Family.IPV4].legs}
