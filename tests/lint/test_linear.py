"""One rule for many: what the fix of NT608 writes does to every packet what the rules did before."""

from __future__ import annotations

import random

import pytest

from notrack.lint.fixes import Fixed, fixed
from notrack.lint.rules.nt608_linear import RULE
from notrack.netfilter.host import UNKNOWN_HOST
from notrack.netfilter.model import Model
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.ruleset.formats import read_all
from notrack.text.source import Source
from tests.lint.examples import linted


def mended(name: str, text: str) -> Fixed:
    (made,) = fixed((Source(name, text),), lambda sources: linted(sources, UNKNOWN_HOST), (RULE,))
    return made


def xtables(draw: random.Random) -> str:
    lines = ["*filter", ":INPUT DROP [0:0]", ":FORWARD DROP [0:0]", ":web - [0:0]"]
    for _ in range(draw.randint(8, 60)):
        protocol, side = draw.choice(("tcp", "udp")), draw.choice(("--dport", "--dport", "--sport"))
        low = draw.randint(1, 60)
        port = draw.choice((f"{low}", f"{low}:{low + draw.randint(0, 9)}", f"{low + 9000}"))
        match = draw.choice(("", f"-m {protocol} "))
        chain, verdict = draw.choice(("INPUT", "INPUT", "web")), draw.choice(("ACCEPT",) * 9 + ("DROP",))
        lines.append(f"-A {chain} -p {protocol} {match}{side} {port} -j {verdict}")
    lines += ["-A INPUT -j web", "COMMIT"]
    return "\n".join(lines) + "\n"


def nft(draw: random.Random) -> str:
    rules = []
    for _ in range(draw.randint(8, 60)):
        low = draw.randint(1, 60)
        port = draw.choice((f"{low}", f"{low}-{low + draw.randint(1, 9)}", f"{{ {low}, {low + 200} }}"))
        address = f"ip saddr 10.0.{low}.{draw.choice(('0/24', '128/25', '9'))}"
        match = draw.choice((f"tcp dport {port}", f"udp dport {port}", address))
        rules.append(f"    {match} {draw.choice(('accept',) * 9 + ('drop',))}")
    body = "\n".join(rules)
    chain = f"chain input {{\n    type filter hook input priority 0; policy drop;\n{body}\n  }}"
    return f"table inet t {{\n  {chain}\n}}\n"


def accepted(text: str, name: str, model: Model | None = None) -> tuple[Model, int]:
    ruleset = read_all((Source(name, text),)).ruleset
    made = Model(ruleset, Family.IPV4, space=model.space if model else None)
    return made, made.passage(Way.LOCAL_IN).accepted().diagram


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", ["xtables", "nft"])
def test_the_fix_changes_no_verdict(seed: int, kind: str) -> None:
    draw = random.Random(f"{kind}{seed}")
    text, name = (xtables(draw), "rules.v4") if kind == "xtables" else (nft(draw), "rules.nft")
    after = mended(name, text)
    assert after.changed == bool(after.applied)
    before, wanted = accepted(text, name)
    assert accepted(after.text, name, before)[1] == wanted
    assert len(after.text.splitlines()) <= len(text.splitlines())


def test_long_lists_of_ports_become_one_rule_for_each_fifteen() -> None:
    rules = "".join(f"-A INPUT -p tcp -m tcp --dport {2 * port} -j ACCEPT\n" for port in range(1, 41))
    text = f"*filter\n:INPUT DROP [0:0]\n{rules}COMMIT\n"
    after = mended("rules.v4", text)
    left = [line for line in after.text.splitlines() if line.startswith("-A")]
    assert [line.count(",") + 1 for line in left] == [15, 15, 10]
    assert mended("rules.v4", after.text).applied == ()
