"""What is read and written back lists the same; reading what was written gives an equal tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.reader import read, read_rule
from notrack.ruleset.nft.writer import write, write_item
from notrack.text.diagnostic import Severity
from tests.ruleset.nft.conftest import normal

HERE = Path(__file__).parent


@dataclass
class Lines:
    setup: list[str] = field(default_factory=list)
    rules: dict[str, list[str]] = field(default_factory=dict)  # by family


def lines() -> Lines:
    found, families = Lines(), ("ip",)
    for line in (HERE / "accepted.txt").read_text().splitlines():
        if line.startswith(": "):
            found.setup.append(line[2:])
        elif line.startswith("= "):
            families = tuple(line[2:].split())
        elif line and not line.startswith("#"):
            for family in families:
                found.rules.setdefault(family, []).append(line)
    return found


LINES = lines()


def distinct() -> Iterator[str]:
    yield from dict.fromkeys(rule for rules in LINES.rules.values() for rule in rules)


@pytest.mark.parametrize("text", list(distinct()))
def test_a_rule_that_nft_accepts_is_wholly_understood(text: str) -> None:
    rule = read_rule(text)
    assert read_rule(write_item(rule)) == rule
    assert rule.span is not None and rule.span.text == text


@pytest.mark.parametrize("family", ["ip", "ip6", "inet"])
def test_written_back_the_kernel_lists_the_same(lab, family: str) -> None:
    place = f"{family} x"
    setup = "\n".join([f"add table {place}", *(line.replace(" T ", f" {place} ") for line in LINES.setup)])
    rules = dict(enumerate(LINES.rules[family]))
    original = lab.listings(setup, place, rules)
    refused = [rule for number, rule in rules.items() if number not in original]
    assert not refused
    written = {number: write_item(read_rule(rule)) for number, rule in rules.items()}
    again = lab.listings(setup, place, written)
    different = [
        (rules[number], text, again.get(number))
        for number, text in original.items()
        if text != again.get(number)
    ]
    assert not different


@pytest.mark.parametrize("family", ["ip", "ip6", "inet"])
def test_the_listing_of_the_kernel_is_wholly_understood(lab, family: str) -> None:
    place = f"{family} x"
    setup = "\n".join([f"add table {place}", *(line.replace(" T ", f" {place} ") for line in LINES.setup)])
    adds = [
        f"add chain {place} c{i}; add rule {place} c{i} {rule}" for i, rule in enumerate(LINES.rules[family])
    ]
    for options in ((), ("-a",), ("-n",)):
        listing = lab.load("\n".join([setup, *adds, ""]), *options).listing
        tree, found = read(listing)
        assert [f"{fault.span}: {fault.message}" for fault in found] == []
        assert read(write(tree)) == (tree, ())
        if not options:
            assert lab.listing(write(tree)) == normal(listing)


def test_nothing_accepted_is_kept_as_unknown() -> None:
    for text in distinct():
        assert not any(isinstance(part, t.Unknown) for part in read_rule(text).statements)


def test_severities_of_an_unknown_word_and_of_a_mistake_differ() -> None:
    _, found = read("table ip x {\n\tchain y {\n\t\tfrobnicate 5\n\t\ttcp dport accept\n\t}\n}\n")
    assert [fault.severity for fault in found] == [Severity.WARNING, Severity.ERROR]
