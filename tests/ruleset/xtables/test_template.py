"""A line that is read by the template of another is read as it would be alone."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from notrack.packets.address import Family
from notrack.ruleset.xtables.reader import read
from notrack.ruleset.xtables.tree import Line, Match, Option, Rule, Target
from notrack.text.source import Source, Span

SHAPES = [
    "-A {chain} -s {net} -p tcp -m tcp --dport {port} -j ACCEPT",
    "-A {chain} ! -s {net} -p tcp --dport {port} ! --syn -j DROP",
    "-A {chain} -p tcp --dport {port} -s {net} -d {net}",
    "-A {chain} -p {proto} -m multiport --dports {port},{port} -j {chain}",
    "-A {chain} -m comment --comment {word} -j RETURN",
    '-A {chain} -m comment --comment "{word} {word}" -s {net} -j RETURN',
    '-A {chain} -m comment --comment "-{word}" -s {net} -j RETURN',
    "-A {chain} -m state --state {state} -j ACCEPT",
    "-A {chain} -p icmp -m icmp --icmp-type {number} -j ACCEPT",
    "-A {chain} -p tcp -m tcp --tcp-flags {flags} {flags} -j DROP",
    "-A {chain} -m set --match-set {word} src,dst -j SET --add-set {word} src --timeout {number}",
    "-A {chain} -j LOG --log-prefix {word} --log-level {number}",
    "-A {chain} -i {word} -o {word}+ -m limit --limit {number}/sec -j DNAT --to-destination {net}",
    "-A {chain} -m recent --update --seconds {number} --name {word} --rsource -j DROP",
    "-A {chain} -p tcp --dport={port} -j ACCEPT",
    "-A {chain} -p{proto} --dport {port} -j ACCEPT",
    "-I {chain} {number} -s {net} -j DROP",
    "-A {chain} -s {net} -c {number} {number} -j DROP",
    "[{number}:{number}] -A {chain} -s {net} -j DROP",
    "-4 -A {chain} -s {net} -j DROP",
    "-A {chain} -t raw -s {net} -j DROP",
    "-A {chain} -m {word} --what {number} -j DROP",
    "-A {chain} -m statistic --mode random --probability 0.{number} -j {chain}",
    "-A {chain} -m conntrack --ctstate {state} --ctdir ORIGINAL -g {chain}",
]
VALUES = {
    "chain": ["INPUT", "FORWARD", "a", "ACCEPT", "-x"],
    "net": ["10.0.0.1", "10.0.0.0/8", "192.0.2.1/255.255.0.0", "2001:db8::1", "300.1.1.1", "!",
            "host.example"],
    "port": ["80", "1:100", "ssh", "70000", "0", "http-alt"],
    "proto": ["tcp", "udp", "sctp", "17", "nonsense/"],
    "word": ["eth0", "bad", "x" * 20, "-dash", "tcp"],
    "state": ["NEW", "RELATED,ESTABLISHED", "FRESH"],
    "number": ["1", "20", "300", "x"],
    "flags": ["SYN", "SYN,ACK", "ALL", "WHAT"],
}


def drawn(draw: random.Random, form: str) -> str:
    out = form
    for name, values in VALUES.items():
        while "{" + name + "}" in out:
            weights = [5, 4, *([1] * (len(values) - 2))]
            out = out.replace("{" + name + "}", draw.choices(values, weights)[0], 1)
    return out


def places(line: Line) -> Iterator[object]:
    """The place of every part, which equality does not ask for."""
    if not isinstance(line, Rule):
        return
    parts: list[Option | Match | Target] = [*line.options, *line.matches]
    parts += [line.target] if line.target else []
    for part in parts:
        yield part.at
        if not isinstance(part, Option):
            yield from (option.at for option in part.options)


def _within(inner: Span, outer: Span) -> bool:
    return outer.start <= inner.start <= outer.end


@pytest.mark.parametrize("family", [*Family, None])
@pytest.mark.parametrize("seed", range(5))
def test_each_line_is_read_as_if_it_were_alone(seed: int, family: Family | None) -> None:
    draw = random.Random(seed)
    lines = [drawn(draw, draw.choice(SHAPES)) for _ in range(400)]
    tree, problems = read(Source("all", "*filter\n" + "\n".join(lines) + "\nCOMMIT\n"), family)
    found = tree.tables[0].lines
    assert len(found) == len(lines)
    for text, line in zip(lines, found, strict=True):
        alone, told = read(Source("one", f"*filter\n{text}\nCOMMIT\n"), family or tree.family)
        if family is None and tree.family is None:
            continue  # alone it may tell its family
        assert alone.tables[0].lines == (line,), text
        assert list(places(alone.tables[0].lines[0])) == list(places(line))
        assert line.span is not None and line.span.text.endswith(text.partition("] ")[2] or text)
        here = {one.message for one in problems if one.span and _within(one.span, line.span)}
        assert {one.message for one in told if "no chain" not in one.message} <= here, text
