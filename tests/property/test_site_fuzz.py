"""Whatever is read, the answer is a site or a list of errors: never another exception.

10,000 inputs with a fixed seed; `NOTRACK_SOAK=1` makes it 100,000.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.lark import from_lark
from lark import Lark

from notrack.resource import resource
from notrack.site import load_text
from notrack.site.faults import Faults
from notrack.site.files import decoded
from notrack.site.model import Site
from notrack.site.writer import unplaced, write
from notrack.text.diagnostic import Rejected
from notrack.text.render import render

TIMES = 10 if os.environ.get("NOTRACK_SOAK") else 1
SITES = Path(__file__).parents[1] / "site"
RIGHT = (SITES / "right" / "edge.spec").read_text(encoding="utf-8")
GRAMMAR = (resource("grammar") / "site.lark").read_text(encoding="utf-8")

MORE = """
ports b = 1-65535, ssh, any
network c = any except office, 0.0.0.0/0
network d = any except c
peer v proto vrrp, 50 with 10.8.0.2 at 224.0.0.18, broadcast on lan untracked
snat s from lan-net to any out wan as 192.0.2.80
redirect r tcp 80; udp 53 from lan-net on lan to port 3128 ipv4
publish p6 tcp any at 2001:db8:80::1 to 2001:db8::5 limit connections 9 per source
client n udp 123 from port 123 to any except lan-net out wan, lan
route t tcp b; sctp from any to any mss pmtu tracked helper ftp
default output accept without replies
log dropped 10/minute
ephemeral 1024-60999
tracking off
expect reject icmp echo-request from 2001:db8::1 to host on wan
expect drop proto gre from host to 192.0.2.9 out lan
include "nothing.spec"
"""


def check(text: str, folder: Path) -> bool:
    """Load; whatever comes out must hold together. Says whether it was a site."""
    site = None
    try:
        site, found = load_text(text, "fuzz.spec", folder)
    except Rejected as rejected:
        found = rejected.diagnostics
        assert found, "rejected without an error"
    else:
        _check_written(site, text, folder)
    for diagnostic in found:
        assert diagnostic.message
        assert render(diagnostic)
        if diagnostic.span is not None:
            span = diagnostic.span
            assert 0 <= span.start <= span.end <= len(span.source.text)
    return site is not None


def _check_written(site: Site, text: str, folder: Path) -> None:
    written = write(site)
    again, _ = load_text(written, "fuzz.spec", folder)
    assert unplaced(again) == unplaced(site), f"{text}\n--- written as ---\n{written}"


_TOKEN = re.compile(r'"[^"\n]*"|[^\s,;=]+|[,;=]|\n|[ \t]+')
_STRANGE = [
    '"', "#", "\t", "\r", "\n", "\0", "\u00a0", "\u2013", "\u201c", "\ufeff", "é", "\x0c", "\U0001f525",
    "::", "/",
    "-", "*", "!", "{", "}", "0", "999999999999", "10.0.0.0/8", "::1/128", "a" * 300, "any", "except", "\n  ",
]  # fmt: skip


def _mutated(text: str, words: list[str], chance: random.Random) -> str:
    """A text with a token or a character deleted, doubled, swapped, replaced or put in."""
    parts = _TOKEN.findall(text) if chance.random() < 0.7 else list(text)
    if not parts:
        return text
    at = chance.randrange(len(parts))
    kind = chance.randrange(6)
    if kind == 0:
        del parts[at]
    elif kind == 1:
        parts.insert(at, parts[at])
    elif kind == 2:
        other = chance.randrange(len(parts))
        parts[at], parts[other] = parts[other], parts[at]
    elif kind == 3:
        parts[at] = chance.choice(words)
    elif kind == 4:
        parts.insert(at, f" {chance.choice(words)} ")
    else:
        parts.insert(at, chance.choice(_STRANGE))
    return "".join(parts)


def _wrong() -> list[str]:
    """The wrong specs, without what they state about themselves."""
    files = sorted((SITES / "wrong").glob("*.spec"))
    return [re.sub(r" *# ! .*", "", path.read_text(encoding="utf-8")).rstrip() + "\n" for path in files]


def _inputs(count: int, seed: int) -> Iterator[str]:
    """Half of them right but for one change in some lines, half of them with more wrong than that."""
    chance = random.Random(seed)
    right = [f"{line}\n" for line in (RIGHT + MORE).split("\n") if line and not line.startswith("#")]
    names = "".join(line for line in right if re.match(r"interface|network|ports", line))
    lines = right * 4 + _wrong()
    words = sorted({word for word in _TOKEN.findall(GRAMMAR + RIGHT + MORE) if word.strip()})
    for number in range(count):
        if number % 2:
            chosen = [line for line in chance.sample(right, 2) if line not in names]
            yield names + _mutated("".join(chosen), words, chance)
            continue
        text = "".join(chance.sample(lines, chance.randint(1, 4)))
        for _ in range(chance.randint(1, 4)):
            text = _mutated(text, words, chance)
        yield text


@pytest.mark.parametrize("part", range(8))
def test_mutated_declarations(part: int, tmp_path: Path) -> None:
    (tmp_path / "abusers.txt").write_text("10.0.0.1\n")
    sites = sum(check(text, tmp_path) for text in _inputs(1000 * TIMES, part))
    assert 50 * TIMES < sites < 500 * TIMES, "mutations must get past the parser, and break something"


def test_random_bytes(tmp_path: Path) -> None:
    chance = random.Random(1)
    for _ in range(500 * TIMES):
        source = decoded(chance.randbytes(chance.randint(0, 80)), "fuzz.spec", Faults())
        if source is not None:
            check(source.text, tmp_path)


def test_random_characters(tmp_path: Path) -> None:
    chance = random.Random(2)
    alphabet = 'servicfromtanyp0189.:/-,;="# \n\t*!é\u2013'
    for _ in range(500 * TIMES):
        check("".join(chance.choices(alphabet, k=chance.randint(0, 60))), tmp_path)


@settings(
    derandomize=True,
    max_examples=1000 * TIMES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(st.data())
def test_the_grammar_run_backwards(data: st.DataObject) -> None:
    check(data.draw(_declarations()), Path("/nonexistent"))


def _declarations() -> st.SearchStrategy[str]:
    return _FROM_GRAMMAR


_FROM_GRAMMAR = from_lark(Lark(GRAMMAR, parser="lalr", lexer="basic", start="start"))
