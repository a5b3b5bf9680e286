"""Flows that are untracked one way or both: random raw tables, and witnesses that do what findings say."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import pytest

from notrack.lint.engine import lint
from notrack.lint.finding import Finding
from notrack.lint.raw import HOOK
from notrack.lint.rule import Example
from notrack.lint.rules import (
    nt101_one_way_notrack,
    nt102_one_way_notrack_forward,
    nt103_not_mirrored,
    nt104_loopback_half_tracked,
    nt106_tunnel_half,
    nt201_request_not_accepted,
    nt202_reply_not_accepted,
    nt203_state_never_matches,
    nt204_client_reply_not_accepted,
    nt205_cuts_ssh,
)
from notrack.lint.subject import Subject
from notrack.lint.view import View
from notrack.netfilter.answer import answer
from notrack.netfilter.chains import End
from notrack.netfilter.effects import Track
from notrack.netfilter.tracking import whole_packets
from notrack.netfilter.walk import Trace, walk
from notrack.netfilter.ways import Way
from notrack.packets.fields import Field, State
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.formats import read_all
from notrack.text.source import Source
from tests.lint.examples import case

ONE_WAY = (nt101_one_way_notrack.RULE, nt102_one_way_notrack_forward.RULE, nt103_not_mirrored.RULE)
NOT_LET = (
    nt201_request_not_accepted.RULE,
    nt202_reply_not_accepted.RULE,
    nt203_state_never_matches.RULE,
    nt204_client_reply_not_accepted.RULE,
    nt205_cuts_ssh.RULE,
)
OTHERS = (nt104_loopback_half_tracked.RULE, nt106_tunnel_half.RULE)
FILTER = """*filter
:INPUT DROP [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -j ACCEPT
-A INPUT -p udp -j ACCEPT
COMMIT
"""


@dataclass(frozen=True)
class Pair:
    """A NOTRACK rule of PREROUTING and its mirror in OUTPUT."""

    asked: str
    answered: str


def pair(draw: random.Random, number: int) -> Pair:
    """Ports of their own for each number, so that no pair covers a leg of another."""
    protocol = draw.choice(("tcp", "udp"))
    low = 9000 + 100 * number
    kind = draw.randrange(5)
    ports = {
        0: ("--dport {0}", "--sport {0}"),
        1: ("--dport {0}:{1}", "--sport {0}:{1}"),
        2: ("-m multiport --dports {0},{1},{2}", "-m multiport --sports {0},{1},{2}"),
        3: ("--sport {0}", "--dport {0}"),
        4: ("-m multiport --ports {0},{1}", "-m multiport --ports {0},{1}"),
    }[kind]
    there, back = (text.format(low, low + 9, low + 17) for text in ports)
    ends = draw.choice(
        (
            ("", ""),
            ("-s 10.0.0.0/8 ", "-d 10.0.0.0/8 "),
            ("-d 192.0.2.1 ", "-s 192.0.2.1 "),
            ("! -s 10.6.0.0/16 ", "! -d 10.6.0.0/16 "),
            ("-i eth0 ", "-o eth0 "),
            ("-m set --match-set friends src ", "-m set --match-set friends dst "),
            ("-m addrtype --dst-type LOCAL ", "-m addrtype --src-type LOCAL "),
            ("-m addrtype --dst-type LOCAL ", ""),
        )
    )
    return Pair(
        f"-A PREROUTING {ends[0]}-p {protocol} {there} -j CT --notrack",
        f"-A OUTPUT {ends[1]}-p {protocol} {back} -j CT --notrack",
    )


def table(draw: random.Random, lines: list[str]) -> str:
    """The lines in any order, some of them in chains of their own."""
    draw.shuffle(lines)
    declared: list[str] = []
    made: list[str] = []
    for i, one in enumerate(lines):
        if draw.random() < 0.3:
            hook, rest = one.split(" ", 2)[1:]
            declared.append(f":c{i} - [0:0]")
            jump = draw.choice(
                (f"-A {hook} -j c{i}", f"-A {hook} -p {rest.split('-p ')[1].split()[0]} -j c{i}")
            )
            made += [jump, f"-A c{i} {rest}"]
        else:
            made.append(one)
    return "\n".join(["*raw", *declared, *made, "COMMIT", ""])


def subject(text: str) -> Subject:
    return Subject(read_all([Source("rules.v4", text)]))


@pytest.mark.parametrize("seed", range(30))
def test_mirrored_pairs_are_whole(seed: int) -> None:
    draw = random.Random(seed)
    pairs = [pair(draw, number) for number in range(draw.randrange(1, 7))]
    text = table(draw, [line for one in pairs for line in (one.asked, one.answered)]) + FILTER
    result = lint(subject(text), (*ONE_WAY, *OTHERS))
    assert [(one.code, one.span.text) for one in result.findings] == []
    assert not result.undecided


@pytest.mark.parametrize("seed", range(40))
def test_a_missing_leg_is_found_at_the_other(seed: int) -> None:
    draw = random.Random(1000 + seed)
    pairs = [pair(draw, number) for number in range(draw.randrange(1, 7))]
    lonely = pairs[0].asked if draw.random() < 0.5 else pairs[0].answered
    lines = [lonely, *[line for one in pairs[1:] for line in (one.asked, one.answered)]]
    result = lint(subject(table(draw, lines) + FILTER), ONE_WAY)
    assert [one.code for one in result.findings] == ["NT101"]
    assert result.findings[0].span.text.split(" ", 2)[2] == lonely.split(" ", 2)[2]


@pytest.mark.parametrize("seed", range(30))
def test_what_raw_rules_take_is_what_the_model_says(seed: int) -> None:
    draw = random.Random(2000 + seed)
    lines = [
        line for number in range(5) for one in (pair(draw, number),) for line in (one.asked, one.answered)
    ]
    for hook in ("PREROUTING", "OUTPUT"):
        lines.insert(draw.randrange(6), f"-A {hook} -p tcp --dport 9200:9300 -j {draw.choice(VERDICTS)}")
    view = subject(table(draw, lines) + FILTER).views[0]
    for way in Way:
        made = view.raw(HOOK[way])
        assert made is not None
        quick = [
            (id(one.visit.rule), one.visit.callers, one.packets.diagram) for one in view._plain(way, made)
        ]
        slow = [(id(one.visit.rule), one.visit.callers, one.packets.diagram) for one in view._visited(way)]
        assert quick == slow
        if way is not Way.LOOPBACK:  # there PREROUTING untracks INVALID packets as well, later
            assert view.flows.untracked(way) == untracked(view, way)


VERDICTS = ("ACCEPT", "DROP", "RETURN", "CT --zone 5", "CT --helper ftp")


def untracked(view: View, way: Way) -> PacketSet:
    """What goes on untracked, from the passage of the whole model."""
    ended = view.passage(way).where(
        lambda outcome: (
            outcome.effects.track is Track.UNTRACKED
            and (outcome.end is End.ON or outcome.hook is not HOOK[way])
        )
    )
    space = view.model.space
    return (ended & PacketSet(space, whole_packets(space))).exists((Field.STATE,)) & view.flows.ground(way)


# Witnesses.

BAD = [pytest.param(rule, one, id=f"{rule.code}-{one.title}") for rule in ONE_WAY for one in rule.bad]


@pytest.mark.parametrize(("rule", "example"), BAD)
def test_one_direction_of_the_witness_is_tracked(rule, example: Example) -> None:  # type: ignore[no-untyped-def]
    made = case(example).subject
    for finding in lint(made, (rule,)).findings:
        trace = traced(made, finding)
        assert trace.state is State.UNTRACKED
        assert finding.fault.witness is not None
        back = answer(finding.fault.witness.packet, trace, made.ruleset, made.host)
        assert back is not None
        assert back[1].state is not State.UNTRACKED


STOPPED = [
    pytest.param(rule, one, id=f"{rule.code}-{one.title}")
    for rule in NOT_LET
    if rule.code != "NT203"
    for one in rule.bad
]


@pytest.mark.parametrize(("rule", "example"), STOPPED)
def test_the_witness_is_stopped(rule, example: Example) -> None:  # type: ignore[no-untyped-def]
    made = case(example).subject
    for finding in lint(made, (rule,)).findings:
        assert traced(made, finding).verdict in ("drop", "reject")


@pytest.mark.parametrize("example", [pytest.param(one, id=one.title) for one in NOT_LET[2].bad])
def test_the_witness_passes_by_the_rule(example: Example) -> None:
    made = case(example).subject
    for finding in lint(made, (NOT_LET[2],)).findings:
        trace = traced(made, finding)
        assert trace.state is State.UNTRACKED
        spans = [step.rule.origin.span for step in trace.steps if step.rule is not None]
        assert finding.span not in spans


def traced(made: Subject, finding: Finding) -> Trace:
    """The way of a finding's witness, as its own interfaces tell it."""
    witness = finding.fault.witness
    assert witness is not None
    packet = replace(witness.packet, state=None)
    into, out = packet.in_interface, packet.out_interface
    way = Way.FORWARD if into and out else Way.LOCAL_IN if into else Way.LOCAL_OUT
    return walk(made.ruleset, packet, made.host, way=way, facts=dict(witness.facts))
