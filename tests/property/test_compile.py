"""Any site that can be read is either refused with a reason or compiled; what is compiled holds together."""

from __future__ import annotations

from pathlib import Path

import pytest

from notrack.layout.output import TARGETS, emit
from notrack.packets.address import Family
from notrack.packets.intervals import IntervalSet
from notrack.plan.box import REACH_LOCAL, Flags, covered
from notrack.plan.leg import Hook, Stage, Verb
from notrack.plan.legs import keeps_tracking_on
from notrack.plan.paths import mirrored
from notrack.plan.planner import Plan, plan
from notrack.plan.view import as_json, as_text
from notrack.site import load_text
from notrack.text.diagnostic import Rejected
from tests.conftest import SOAK
from tests.property.random_sites import Sites

INSIDE = IntervalSet(((0x0A000000, 0x0AFFFFFF),))  # the translated side of the random sites
COUNT = 4000 if SOAK else 400


def plans(seed: int, count: int) -> list[tuple[str, Plan]]:
    sites = Sites(seed)
    found: list[tuple[str, Plan]] = []
    for _ in range(count):
        text = sites.text()
        try:
            site, _warnings = load_text(text, "random.spec", Path("."))
            found.append((text, plan(site)))
        except Rejected as rejected:
            assert rejected.diagnostics, text
            assert all(d.span is not None and d.message for d in rejected.diagnostics), text
    return found


@pytest.fixture(scope="module")
def some_plans() -> list[tuple[str, Plan]]:
    found = plans(20261121, COUNT)
    assert len(found) > COUNT // 4, "the generator makes too many sites that are refused"
    return found


def test_every_target_is_emitted_and_says_the_same_twice(some_plans: list[tuple[str, Plan]]) -> None:
    for text, found in some_plans:
        for target in TARGETS:
            output = emit(found, target)
            assert output.text.endswith("\n"), text
            assert output.text == emit(found, target).text, text
        beside = plan(found.site, coexist=True)
        assert "-j NOTRACK-" in emit(beside, "iptables", coexist=True).text, text
        assert as_text(found) and as_json(found), text


def test_a_family_in_which_nothing_is_tracked_names_no_state(some_plans: list[tuple[str, Plan]]) -> None:
    seen = 0
    for text, found in some_plans:
        for family, target in ((Family.IPV4, "iptables"), (Family.IPV6, "ip6tables")):
            alone = emit(found, target).text
            if found.families[family].tracking == "none" and "NOTRACK-" not in alone:
                seen += 1
                for word in ("--ctstate", "--notrack", "*nat", "-j CT"):
                    assert word not in alone, text
    assert seen > 10


def test_no_flow_is_untracked_one_way(some_plans: list[tuple[str, Plan]]) -> None:
    """What comes in untracked has its answers untracked on the way out, and the reverse."""
    for text, found in some_plans:
        for family_plan in found.families.values():
            incoming = [
                g.box for g in family_plan.legs if g.hook is Hook.RAW_IN and g.action.verb is Verb.UNTRACK
            ]
            outgoing = [
                g.box for g in family_plan.legs if g.hook is Hook.RAW_OUT and g.stage is Stage.UNTRACK
            ]
            for decision in family_plan.decisions:
                paths = decision.flow.paths
                if decision.tracked or decision.flow.kind in (
                    "route",
                    "forward",
                    "peer",
                    "icmp",
                    "trust",
                    "input",
                ):
                    continue
                if not incoming and not outgoing:
                    continue
                for box in paths.arriving:
                    wide = box.but(devices=(), flags=Flags.ANY)
                    assert covered(wide, incoming), (text, decision.flow.name)
                    assert covered(mirrored(wide), outgoing), (text, decision.flow.name)


def test_translation_never_meets_an_untracked_port(some_plans: list[tuple[str, Plan]]) -> None:
    """Whoever masquerade reaches finds nothing untracked at the ports that masquerade may use."""
    seen = 0
    for text, found in some_plans:
        if "snat" in text:  # its answers come to one address, and only there they could meet anything
            continue
        for family_plan in found.families.values():
            for protocol, (low, high) in family_plan.ranges.items():
                ports = IntervalSet(((low, high),))
                for leg in family_plan.legs:
                    box = leg.box
                    if leg.hook is not Hook.RAW_IN or leg.action.verb is not Verb.UNTRACK:
                        continue
                    if protocol in box.protocol and box.reach == REACH_LOCAL:
                        seen += 1
                        apart = box.destination_ports.isdisjoint(ports)
                        assert apart or box.sources() <= INSIDE, (text, box)
    assert seen > 10


def test_where_the_plan_says_tracking_some_rule_keeps_it_on(some_plans: list[tuple[str, Plan]]) -> None:
    for text, found in some_plans:
        for family_plan in found.families.values():
            on = any(keeps_tracking_on(leg) for leg in family_plan.legs)
            assert on == (family_plan.tracking != "none"), text
