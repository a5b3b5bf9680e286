"""Large rulesets are asked about a sample of addresses: what is found in small ones is found in them, too."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from notrack.lint.collection import collected
from notrack.lint.engine import lint
from notrack.lint.rule import Example, Rule
from notrack.lint.sample import LARGE, crowd, public
from notrack.lint.subject import Subject
from notrack.packets.address import Family
from notrack.ruleset.core import Ruleset
from notrack.ruleset.formats import read_any
from notrack.text.source import Source
from tests.lint.examples import case

CODES = ("NT301", "NT302", "NT303", "NT305", "NT401", "NT402", "NT403")
RULES = [rule for rule in collected() if rule.code in CODES]
BAD = [pytest.param(rule, one, id=f"{rule.code}-{one.title}") for rule in RULES for one in rule.bad]
RIGHT = [
    pytest.param(rule, one, id=f"{rule.code}-{one.title}")
    for rule in RULES
    for one in (*rule.good, *rule.looks_wrong)
]


@cache
def padding() -> Ruleset:
    """Many rules for single hosts, in chains that run before all others."""
    hosts = {
        "ip": [f"ip saddr 45.{n // 250}.7.{n % 250} tcp dport {n + 1} accept" for n in range(LARGE)],
        "ip6": [f"ip6 saddr 2a00:{n:x}::7 tcp dport {n + 1} accept" for n in range(LARGE)],
    }
    text = ""
    for family, rules in hosts.items():
        lines = ["chain more {", *rules, "}"]
        for hook in ("input", "forward"):
            lines += [f"chain {hook} {{", f"type filter hook {hook} priority -10; policy accept;"]
            lines += ["jump more", "}"]
        text += "\n".join([f"table {family} padding {{", *lines, "}"]) + "\n"
    made = read_any(Source("padding.nft", text))
    assert not made.diagnostics
    return made.ruleset


def enlarged(example: Example) -> Subject:
    """The example beside many rules of no matter to it."""
    subject = case(example).subject
    reading = replace(subject.reading, ruleset=subject.ruleset + padding())
    return Subject(reading, subject.host)


@pytest.mark.parametrize(("rule", "example"), BAD)
def test_what_is_found_in_a_small_one(rule: Rule, example: Example) -> None:
    wanted = {(name, line) for name, line, code in case(example).wanted if code == rule.code}
    result = lint(enlarged(example), (rule,))
    assert {(one.span.source.name, one.span.line) for one in result.findings} == wanted
    assert not result.undecided


@pytest.mark.parametrize(("rule", "example"), RIGHT)
def test_what_is_right_in_a_small_one(rule: Rule, example: Example) -> None:
    result = lint(enlarged(example), (rule,))
    assert not result.findings
    assert not result.undecided


@pytest.mark.parametrize("family", Family)
def test_the_crowd_comes_from_all_over(family: Family) -> None:
    spans = crowd(family)
    assert spans <= public(family)
    assert spans.size() == 15
    low = public(family).least()
    eighth = family.whole.size() // 8 if family is Family.IPV4 else public(family).size() // 8
    assert len({(value - low) // eighth for value, _ in spans}) >= 6
