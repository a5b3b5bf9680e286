# ruff: noqa: E501
"""The nft readers never fall over: mutations of real text, and noise."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

from notrack.ruleset.nft.catalogue import words
from notrack.ruleset.nft.json_reader import read_json
from notrack.ruleset.nft.lower import lowered
from notrack.ruleset.nft.reader import read, read_rule
from notrack.ruleset.nft.writer import write
from notrack.text.diagnostic import Diagnostic, Rejected

SOAK = 10 if os.environ.get("NOTRACK_SOAK") == "1" else 1
INPUTS = 10_000 * SOAK
RULES = Path(__file__).parents[1] / "ruleset/nft/accepted.txt"
SEED = 20240607

BLOCKS = """\
table inet filter {
	set s { type ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/8 . 80-90 comment "x", } }
	map m { typeof ip saddr : verdict; elements = { 10.0.0.1 counter timeout 5s expires 3s : jump y } }
	ct helper h { type "ftp" protocol tcp; l3proto ip; }
	counter c { packets 0 bytes 0 }
	flowtable f { hook ingress priority 0; devices = { lo, eth0 }; flags offload; }
	chain y { type filter hook input device "x" priority mangle + 10; policy drop; comment "z" }
}
define x = { 1, 2 }
redefine y = $x
undefine x
include "z"
add rule ip x y index 3 accept # handle 7
delete element ip x y { 1 }
flush ruleset
rename chain ip x y z
""".splitlines()
WORDS = sorted(
    words(
        '{ } { } ( ) [ ] , . : ; = == != < > << >> & | ^ ! @ $ / - * + \\ # " '
        "0 1 65536 0x 99999999999999999999999 10.0.0.1 ::1 aa:bb:cc:dd:ee:ff "
        "table chain set map elements type typeof flags ip tcp dport meta ct vmap accept jump comment add "
        "delete update limit rate counter log dnat to set with priority hook policy handle include define"
    )
    | set("\n\t\r\0é")
)


def bases() -> list[str]:
    rules = [line for line in RULES.read_text().splitlines() if line and line[0] not in "#:="]
    return rules + BLOCKS


def mutated(text: str, rng: random.Random) -> str:
    for _ in range(rng.randint(1, 5)):
        at, end = sorted((rng.randint(0, len(text)), rng.randint(0, len(text))))
        match rng.randint(0, 4):
            case 0:
                text = text[:at] + rng.choice(WORDS) + text[at:]
            case 1:
                text = text[:at] + text[end:]
            case 2:
                text = text[:at] + rng.choice(WORDS) + text[end:]
            case 3:
                text = text[:end] + text[at:]
            case _:
                text = (
                    text[:at]
                    + chr(rng.choice((rng.randint(0, 127), rng.randint(0, 0xD7FF))))
                    + text[at + 1 :]
                )
    return text


def inputs(count: int) -> list[str]:
    rng = random.Random(SEED)
    known, found = bases(), []
    for _ in range(count):
        kind = rng.randint(0, 9)
        if kind == 0:
            found.append(
                "".join(rng.choice(WORDS) + rng.choice(("", " ")) for _ in range(rng.randint(1, 40)))
            )
        elif kind == 1:
            found.append(rng.randbytes(rng.randint(1, 60)).decode("latin-1"))
        elif kind == 2:
            found.append(mutated("\n".join(BLOCKS), rng))
        else:
            found.append(mutated(rng.choice(known), rng))
    return found


def test_no_text_makes_the_reader_fall_over() -> None:
    rng = random.Random(SEED)
    for text in inputs(INPUTS):
        if rng.random() < 0.7:
            text = f"table ip x {{\nchain y {{\n{text}\n}}\n}}\n"
        tree, found = read(text)
        assert all(isinstance(fault, Diagnostic) and fault.span is not None for fault in found)
        again, _ = read(write(tree))
        lowered(tree)
        if not found:
            assert again == tree, text


def test_what_was_read_with_faults_settles_when_written() -> None:
    """After one round the text may still hold faults, but no round changes the tree any more."""
    for text in inputs(1000 * SOAK):
        if text.count("{") != text.count("}"):
            continue  # what is never closed swallows the rest, another brace each time
        once = write(read(text)[0])
        assert write(read(once)[0]) == write(read(write(read(once)[0]))[0])


def test_no_rule_makes_the_reader_fall_over() -> None:
    refused = 0
    for text in inputs(2000 * SOAK):
        try:
            read_rule(text)
        except Rejected as rejected:
            assert rejected.diagnostics
            refused += 1
    assert 0 < refused < 2000 * SOAK


JSON_WORDS = sorted(
    words(
        "match left right op payload protocol field meta key set concat range prefix addr len map data vmap "
        "jump target counter packets bytes limit rate per log flags reject type snat dnat port family elem "
        "val stmt ct dir fib nftables table chain rule expr name hook prio policy handle"
    )
)


def shaken(node: object, rng: random.Random) -> object:
    """The node with some of its parts replaced, dropped or renamed."""
    if rng.random() < 0.06:
        return rng.choice(
            [None, True, -1, 1.5, "", "@x", [], {}, [[]], {"set": [[1, 2], 3]}, 10**400, *JSON_WORDS]
        )
    if isinstance(node, list):
        return [shaken(part, rng) for part in node if rng.random() > 0.03]
    if isinstance(node, dict):
        return {
            rng.choice(JSON_WORDS) if rng.random() < 0.03 else name: shaken(part, rng)
            for name, part in node.items()
            if rng.random() > 0.03
        }
    return node


LISTED = [
    {"table": {"family": "ip", "name": "x", "handle": 1}},
    {"set": {"family": "ip", "name": "s", "table": "x", "type": ["ipv4_addr", "mark"], "flags": ["timeout"],
             "timeout": 5, "elem": [{"elem": {"val": {"concat": ["10.0.0.1", 5]}, "expires": 3}}]}},
    {"map": {"family": "ip", "name": "m", "table": "x", "type": "mark", "map": "verdict",
             "elem": [[22, {"accept": None}], [{"range": [1, 2]}, {"jump": {"target": "y"}}]]}},
    {"limit": {"family": "ip", "name": "l", "table": "x", "rate": 10, "per": "second", "burst": 5}},
    {"ct helper": {"family": "ip", "name": "h", "table": "x", "type": "ftp", "protocol": "tcp", "l3proto": "ip"}},
    {"chain": {"family": "ip", "table": "x", "name": "y", "type": "filter", "hook": "input", "prio": 0,
               "policy": "accept", "dev": ["lo"]}},
    {"rule": {"family": "ip", "table": "x", "chain": "y", "comment": "c", "expr": [
        {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["new", "related"]}},
        {"match": {"op": "==", "left": {"&": [{"meta": {"key": "mark"}}, 3]}, "right": {"set": [1, {"range": [5, 9]}]}}},
        {"limit": {"rate": 1, "per": "second", "inv": True}},
        {"log": {"prefix": "x", "flags": ["tcp sequence", "tcp options"]}},
        {"set": {"op": "update", "elem": {"payload": {"protocol": "ip", "field": "saddr"}}, "set": "@s"}},
        {"mangle": {"key": {"meta": {"key": "mark"}}, "value": {"jhash": {"mod": 2, "expr": {"meta": {"key": "iif"}}}}}},
        {"dnat": {"addr": {"map": {"key": {"meta": {"key": "mark"}}, "data": "@m"}}, "flags": "random"}},
        "update @s { ip saddr : meta mark }"]}},
]  # fmt: skip


def test_no_json_makes_the_reader_fall_over() -> None:
    rng = random.Random(SEED)
    whole = 0
    for _ in range(INPUTS):
        text = json.dumps({"nftables": shaken(LISTED, rng)})
        if rng.random() < 0.1:
            text = mutated(text, rng)
        tree, found = read_json(text)
        whole += not found
        write(tree)
        lowered(tree)
    assert 0 < whole < INPUTS


def test_deep_json_makes_no_traceback() -> None:
    for text in ("[" * 100_000, '{"nftables": ' + "[" * 100_000, '{"a":' * 100_000):
        assert read_json(text)[1]
    node: object = 1
    for _ in range(300):
        node = {"concat": [node]}
    rule = {
        "rule": {"family": "ip", "table": "x", "chain": "y", "expr": [{"match": {"op": "==", "left": node}}]}
    }
    read_json(json.dumps({"nftables": [rule]}))


def test_noise_is_read_in_linear_time() -> None:
    for piece in ("{ ", "a:", "1.", ":", "(", "\\\n", "#\n", "tcp dport {1,", "$", '"', "1m"):
        start = time.monotonic()
        read(piece * 20_000)
        assert time.monotonic() - start < 10
