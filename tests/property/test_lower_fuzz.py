"""The lowering never raises: every option of the catalogue with right, odd and absent values."""

from __future__ import annotations

import random

import pytest

from notrack.packets.address import Family
from notrack.ruleset import core
from notrack.ruleset.xtables.catalogue import matches, targets
from notrack.ruleset.xtables.lower import lower
from notrack.ruleset.xtables.reader import BUILTIN, read
from notrack.ruleset.xtables.tree import Match, Option, Rule, Ruleset, Table, Target
from notrack.text.source import Source

VALUES = (
    "", "0", "1", "80", "53:54", ":", "1:2:3", "65536", "-1", "0x10/0xff", "1/2/3", "tcp", "all", "ip", "59",
    "10.0.0.1", "10.0.0.0/8", "1.1.1.1,2.2.2.2", "::1", "[::1]:80", "[::1]-[::2]:1-2", "10.0.0.1-10.0.0.9",
    "10.0.0.9-10.0.0.1", "10.0.0.1:80-90/80", ":80", "eth0", "eth+", "+", "SYN,ACK", "ALL", "NONE", "NEW",
    "SNAT,DNAT", "LOCAL,UNICAST", "BROADCAST", "any", "255/0", "echo-request", "EF", "64", "frag,auth",
    "src,dst", "REPLY", "ORIGINAL", "Minimize-Delay", "02:00:00:00:00:01", "a b",
    '"', "\u00e9", "x" * 300, "unicast",
)  # fmt: skip
WORDS = (
    "-A", "INPUT", "-I", "OUTPUT", "-D", "FORWARD", "-s", "-d", "-p",
    "-m", "tcp", "udp", "multiport", "--dport", "--dports", "--syn", "-j", "ACCEPT",
    "CT", "--notrack", "!", "-f", "-i", "-t", "raw", "-4", "-6",
    "-N", "own", "-X", "-F", "-P", "DROP", "-E", "conntrack", "--ctstate",
    "NEW", "SNAT", "--to-source", "-g", "-R", "1", "-Z", "COMMIT",
)  # fmt: skip
LINES = 4000


def options(form_options: tuple[object, ...], rng: random.Random) -> tuple[Option, ...]:
    chosen = rng.sample(list(form_options), min(len(form_options), rng.randrange(4)))
    return tuple(
        Option(form.name, tuple(rng.choices(VALUES, k=rng.randrange(3))), rng.random() < 0.3)  # type: ignore[attr-defined]
        for form in chosen
    )


def rule(rng: random.Random) -> Rule:
    base = tuple(
        Option(name, (rng.choice(VALUES),), rng.random() < 0.3)
        for name in ("-s", "-d", "-i", "-o", "-p", "-f")
        if rng.random() < 0.3
    )
    found = rng.choice(matches())
    target = rng.choice(targets())
    commands = ("-A", "-A", "-A", "-I", "-D", "-R", "-C")
    return Rule(
        rng.choice(("INPUT", "OUTPUT", "PREROUTING", "POSTROUTING", "own", "no such")),
        base,
        (Match(found.name, options(found.options, rng)),),
        rng.choice((Target(target.name, options(target.options, rng)), Target("own"), None)),
        rng.choice(commands),
        rng.choice((None, 1, 2, 99)),
    )  # fmt: skip


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("table", list(BUILTIN))
def test_any_tree_is_lowered(family: Family, table: str) -> None:
    """Trees that no reader would make, with values that no loader would take."""
    rng = random.Random(f"{family} {table}")
    lines = tuple(rule(rng) for _ in range(LINES // 10))
    made, _ = lower(Ruleset(family, (Table(table, lines),)), family)
    assert [one.name for one in made.tables] == [table]
    appended = sum(line.command == "-A" for line in lines)
    kept = {one.origin.text for chain in made.tables[0].chains for one in chain.rules}
    assert appended and kept and all(isinstance(one, core.Table) for one in made.tables)


@pytest.mark.parametrize("family", list(Family))
def test_any_text_is_lowered(family: Family) -> None:
    """Words of rules in any order."""
    rng = random.Random(str(family))
    for _ in range(LINES // 20):
        lines = [" ".join(rng.choices((*WORDS, *VALUES), k=rng.randrange(1, 9))) for _ in range(6)]
        tree, _ = read(Source("fuzz", "\n".join(["*filter", *lines, "COMMIT", ""])), family)
        lower(tree, family, noflush=rng.random() < 0.5)
