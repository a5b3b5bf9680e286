"""Random rulesets: every witness walks as its finding says. Random sites: what is compiled is not wrong."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from notrack.layout.output import emit
from notrack.lint.collection import collected
from notrack.lint.engine import lint
from notrack.lint.finding import Finding
from notrack.lint.subject import Subject
from notrack.netfilter.walk import Undetermined, walk
from notrack.netfilter.ways import Way
from notrack.packets.fields import State
from notrack.packets.packet import Packet
from notrack.plan.planner import plan
from notrack.ruleset.formats import read_all
from notrack.site import load_text
from notrack.text.diagnostic import Rejected
from notrack.text.source import Source
from tests.conftest import SOAK
from tests.kernel.differential.rulesets import random_case
from tests.property.random_sites import Sites

SEEDS = 1200 if SOAK else 60
SITES = 200 if SOAK else 12
RULES = tuple(rule for rule in collected() if rule.code[:3] in ("NT3", "NT4"))
NAMES = {"v4": "rules.v4", "v6": "rules.v6", "nft": "rules.nft"}
# A route from any to any without tracking lets answers in by their port, and a cache may be open: the site
# says so. Everything else that a site says is proven.
TOLD = ("NT303", "NT305", "NT405")


def way(packet: Packet) -> Way:
    if packet.in_interface is None:
        return Way.LOCAL_OUT
    return Way.LOCAL_IN if packet.out_interface is None else Way.FORWARD


def holds(subject: Subject, finding: Finding) -> bool:
    """Whether the witness does what the finding says."""
    witness = finding.fault.witness
    if witness is None:
        return finding.code == "NT404"
    facts = dict(witness.facts)
    try:
        went = walk(subject.ruleset, witness.packet, subject.host, way=way(witness.packet), facts=facts)
    except Undetermined:
        return True
    match finding.code:
        case "NT301" | "NT303" | "NT305":
            return went.verdict == "accept"
        case "NT302":
            return went.verdict == "accept" and went.state is State.INVALID
        case "NT306":
            return went.verdict in ("drop", "reject")
        case _:
            return went.state is State.UNTRACKED


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_witnesses_of_random_rulesets(first: int) -> None:
    for seed in range(first, first + 20):
        case = random_case(random.Random(seed))
        texts = case.texts(case.backends[-1])
        subject = Subject(read_all([Source(NAMES[key], text) for key, text in texts.items()]))
        result = lint(subject, RULES)
        assert [str(one.span) for one in result.findings if not holds(subject, one)] == [], seed
        assert not result.undecided


def compiled(seed: int) -> Iterator[tuple[str, str]]:
    sites = Sites(seed)
    while True:
        text = sites.text()
        try:
            site, _ = load_text(text)
            planned = plan(site)
        except Rejected:
            continue
        for target, name in (("iptables", "rules.v4"), ("ip6tables", "rules.v6"), ("nft", "rules.nft")):
            yield name, emit(planned, target).text


@pytest.mark.parametrize("seed", range(SITES))
def test_what_is_compiled_is_right(seed: int) -> None:
    texts = compiled(seed)
    for _ in range(3):
        name, text = next(texts)
        result = lint(Subject(read_all([Source(name, text)])), RULES)
        wrong = [(one.code, one.span.text) for one in result.findings if one.code not in TOLD]
        assert wrong == []
        assert not result.undecided
