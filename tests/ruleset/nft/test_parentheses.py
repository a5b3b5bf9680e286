"""Parentheses that count are written, whatever stands in them, and blanks where a word would run on."""

from __future__ import annotations

import random

import pytest

from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.reader import read_rule
from notrack.ruleset.nft.writer import write_item
from notrack.text.diagnostic import Rejected

COUNTING = [
    "(ip saddr map @zones) . tcp dport 5",
    "ip saddr . (tcp dport map @shifted) 10.7.0.1 . 7",
    "(ip saddr map @zones) map @weights 3",
    "(ip saddr map @zones) vmap { 4 : drop }",
    "meta mark set (1-2) | 4",
    "meta mark set (16 / fin) | 4",
    "meta mark set 7 / (8)",
    "meta mark set (ip saddr, ip daddr) map @zones",
    "meta mark set (1, 2) / (3-4)",
    "tcp dport { (1, 2) : accept }",
    "add @zones { (ip saddr, ip daddr) : 5 }",
    "ct mark / 8 1",
    "dnat to [0]:7",
    "dnat to [beef]-[feed]:7",
    "dnat to (10.0.0.0/24):8080",
    "dnat to (10.0.0.1, 10.0.0.2):8080",
    "queue to (symhash mod 2, 5)",
]
KEPT_PLAIN = [
    "dnat to $v4:80",
    "dnat to 10.0.0.1-10.0.0.7:80-90",
    "dnat to [2001:db8::1]-[2001:db8::7]:80",
    "dnat to ip saddr map { 10.0.0.1 : 10.0.0.2 }:80",
    "tcp flags & (syn | ack) == syn | ack",
    "tcp dport $low - $high",
]


@pytest.mark.parametrize("text", COUNTING)
def test_parentheses_that_count_are_written(text: str) -> None:
    rule = read_rule(text)
    assert read_rule(write_item(rule)) == rule


@pytest.mark.parametrize("text", KEPT_PLAIN)
def test_no_parentheses_come_without_need(text: str) -> None:
    assert write_item(read_rule(text)) == text


FIELDS = ("ip saddr", "tcp dport", "meta mark", "ct mark")
VALUES = ("0", "5", "beef", "fin", "$v", "lo", "10.0.0.1", "::1")


def expression(rng: random.Random, depth: int) -> str:
    if depth == 0 or rng.random() < 0.2:
        return rng.choice(FIELDS + VALUES)
    left, right = expression(rng, depth - 1), expression(rng, depth - 1)
    match rng.randint(0, 8):
        case 0 | 1 | 2:
            return f"({left})"
        case 3:
            return f"{left} . {right}"
        case 4:
            return f"{left},{right}"
        case 5:
            return f"{left} {rng.choice('-/')} {right}"
        case 6:
            return f"{left} / {rng.randint(0, 32)}"
        case 7:
            return f"{left} {rng.choice(('|', '&', '^', '<<'))} {right}"
        case _:
            return f"{left} map {rng.choice(('@m', f'{{ {right} : 5 }}'))}"


def rules(rng: random.Random) -> list[str]:
    one, other = expression(rng, 4), expression(rng, 3)
    return [
        f"meta mark set {one}",
        f"ip daddr . {one} {other}",
        f"dnat to {one} : {other}",
        f"tcp sport . {one} vmap {{ {other} : drop }}",
        f"update @s {{ {one} : {other} }}",
    ]


def test_whatever_is_read_is_read_again_from_what_was_written() -> None:
    rng, understood = random.Random(4711), 0
    for text in [text for _ in range(2000) for text in rules(rng)]:
        try:
            rule = read_rule(text)
        except Rejected:
            continue
        understood += 1
        assert _read(write_item(rule)) == rule, text
    assert understood > 2000


def _read(text: str) -> t.Rule | None:
    try:
        return read_rule(text)
    except Rejected:
        return None
