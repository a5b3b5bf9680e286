"""The script reader never falls over and always ends: mutations of real scripts, and noise."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from notrack.ruleset.shell.derived import Derived
from notrack.ruleset.shell.parser import parse
from notrack.ruleset.shell.reader import read, read_started
from notrack.ruleset.shell.rulesets import as_rulesets, lowered
from notrack.ruleset.xtables.writer import write
from notrack.text.diagnostic import Severity
from notrack.text.render import render
from notrack.text.source import Source

SOAK = 10 if os.environ.get("NOTRACK_SOAK") == "1" else 1
INPUTS = 10_000 * SOAK
SEED = 20250311
SLOWEST = 5.0  # seconds for one small text, on a busy machine
SCRIPTS = [
    path.read_text() for path in sorted((Path(__file__).parents[1] / "ruleset/shell/scripts").glob("*.sh"))
]
_PLAIN = """
$ ${ ${x:- } $( ) ` ' " \\ ; ;; & && | || < << <<- <<E > >> ( (( )) { } [ [[ ]] ! # = += 1 é
-A -D -I -t -j if then elif else fi for in do done while until case esac function set -e shift
exit return break continue iptables ip6tables iptables-restore nft add -f - eval . f() f
$@ "$@" $* $# $? $1 ${x%%y} X=$X$X X=a$X. 999999999 $((1+1)) <(x) <<<x &> 2>&1 {a,b} {1..99999}
"""
WORDS = [
    *_PLAIN.split(),
    *("\n", "\t", "\r\n", "\0", "\u2013", "\u201c", "\ufeff", "A=(", "${A[@]}", "${A[9]}"),
]


def mutated(text: str, rng: random.Random) -> str:
    for _ in range(rng.randint(1, 6)):
        at, end = sorted((rng.randint(0, len(text)), rng.randint(0, len(text))))
        end = min(end, at + 80)
        match rng.randint(0, 4):
            case 0:
                text = text[:at] + rng.choice(WORDS) + text[at:]
            case 1:
                text = text[:at] + text[end:]
            case 2:
                text = text[:at] + " " + rng.choice(WORDS) + " " + text[end:]
            case 3:
                text = text[:end] + text[at:]
            case _:
                text = (
                    text[:at]
                    + chr(rng.choice((rng.randint(0, 127), rng.randint(0, 0xD7FF))))
                    + text[at + 1 :]
                )
    return text


def noise(rng: random.Random) -> str:
    if rng.random() < 0.3:
        return bytes(rng.randrange(256) for _ in range(rng.randint(0, 200))).decode("latin-1")
    return rng.choice((" ", "")).join(rng.choice(WORDS) for _ in range(rng.randint(0, 80)))


def inputs(count: int) -> list[str]:
    rng = random.Random(SEED)
    pieces = [text for script in SCRIPTS for text in (script, *script.split("\n\n"))]
    return [
        noise(rng) if rng.random() < 0.3 else mutated(rng.choice(pieces)[: rng.choice((400, 4000))], rng)
        for _ in range(count)
    ]


def test_no_text_makes_it_fall_over() -> None:
    slow: list[tuple[float, str]] = []
    for number, text in enumerate(inputs(INPUTS)):
        source = Source("x.sh", text)
        begin = time.process_time()
        script = read(source) if number % 2 else read_started(source)
        rulesets = as_rulesets(script)
        for ruleset in rulesets.xtables:
            assert write(ruleset).endswith("\n") or not ruleset.sections
        if number % 10 == 0:
            lowered(script)
            for diagnostic in script.diagnostics[:20]:
                assert render(diagnostic)
        for diagnostic in script.diagnostics:
            span = diagnostic.span
            assert span is None or not isinstance(span.source, Derived)
            assert span is None or 0 <= span.start <= span.end <= len(span.source.text)
        spent = time.process_time() - begin
        if spent > SLOWEST:
            slow.append((spent, text))
    assert not slow


def grown(text: str) -> float:
    begin = time.process_time()
    script = read(Source("x.sh", text))
    as_rulesets(script)
    return time.process_time() - begin


def test_what_grows_without_bound_is_cut_short_and_told() -> None:
    double = "X=a\n" + "for i in 1 2 3 4 5 6 7 8 9 10; do for j in 1 2 3 4 5 6 7 8 9; do X=$X$X; done; done\n"
    words = "for a in $L; do for b in $L; do for c in $L; do : ; done; done; done"
    lists = f'L="{" ".join(map(str, range(60)))}"\n{words}\niptables -A INPUT -j ACCEPT\n'
    recursion = "f() { f; f; }\nf\niptables -A INPUT -j ACCEPT\n"
    braces = "#!/bin/bash\necho " + "{a,b}" * 40 + "\n"
    deep = "(" * 500 + "\n" + "if x; then " * 500 + "\n" + "$(" * 500 + "\n" + "${x:-" * 500
    for text in (double, lists, recursion, braces, deep, "while :; do f=$f$f; done; " * 200):
        assert grown(text) < 20
    told = [found.message for found in read(Source("x.sh", lists)).diagnostics]
    assert "not evaluated: more than 10000 rounds" in told
    assert len(read(Source("x.sh", lists)).actions) == 1
    assert any("grows too long" in found.message for found in read(Source("x.sh", double)).diagnostics)


def test_every_syntax_fault_is_an_error_at_its_place() -> None:
    for text, at in (("echo 'x\n", 5), ("if true; then\n", 14), ("a\n)\n", 2), ("x=$(a\n", 2), ("done\n", 0)):
        _, faults = parse(Source("x.sh", text))
        assert [fault.severity for fault in faults] == [Severity.ERROR], text
        assert faults[0].span is not None
        assert faults[0].span.start == at, text
