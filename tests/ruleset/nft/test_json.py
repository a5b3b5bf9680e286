"""The JSON of `nft -j list ruleset` gives a tree that lists the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.json_reader import read_json
from notrack.ruleset.nft.lower import lowered
from notrack.ruleset.nft.reader import read
from notrack.ruleset.nft.writer import write
from notrack.text.diagnostic import Severity
from notrack.text.source import Source

HERE = Path(__file__).parent

# What the JSON of nft 1.0.6 itself loses or garbles.
LOST = (
    "rt0 addr",  # written as a segment of another header
    "snat ip interval",  # written without `interval`
    "numgen random mod 10 offset",
)
SETS_ONLY_PACKETS_FILL = ("@seen", "@pairs", "@marks", "meter ")  # the flag dynamic is lost


def accepted(family: str) -> list[str]:
    families: tuple[str, ...] = ()
    found = []
    for line in (HERE / "accepted.txt").read_text().splitlines():
        if line.startswith("= "):
            families = tuple(line[2:].split())
        elif line and line[0] not in "#:" and family in families:
            found.append(line)
    lost = LOST + SETS_ONLY_PACKETS_FILL
    return [line for line in found if not any(word in line for word in lost)]


SETUP = [
    "add set T four { type ipv4_addr; }",
    "add set T six { type ipv6_addr; }",
    'add set T ports { type inet_service; flags interval; elements = { 22, 80-90 comment "web" }; }',
    "add chain T other",
    "add map T verdicts { type inet_service : verdict; elements = { 22 : accept, 23 : jump other }; }",
    "add map T hosts { type ipv4_addr : ipv4_addr; elements = { 10.0.0.1 : 10.0.0.2 }; }",
    "add set T names { type ifname . mark; elements = { eth0 . 1 }; }",
    "add counter T hits",
    "add quota T month { over 25 mbytes; }",
    "add limit T slow { rate 10/second; }",
    'add ct helper T ftp { type "ftp" protocol tcp; }',
    "add ct timeout T short { protocol tcp; policy = { established : 100 }; }",
    "add synproxy T shield { mss 1460; wscale 7; timestamp sack-perm; }",
    "add chain T base { type filter hook prerouting priority raw; policy drop; }",
]


@pytest.mark.parametrize("family", ["ip", "ip6", "inet"])
def test_json_lists_the_same(lab, family: str) -> None:
    place = f"{family} x"
    lines = [f"add table {place}", *(line.replace(" T ", f" {place} ") for line in SETUP)]
    rules = accepted(family)
    lines += [f"add chain {place} c{i}; add rule {place} c{i} {rule}" for i, rule in enumerate(rules)]
    text = "\n".join([*lines, ""])
    tree, found = read_json(lab.load(text, "-j").listing)
    assert found == ()
    assert lab.load(write(tree)).errors == ""
    assert lab.listing(write(tree)) == lab.listing(text)
    assert read(write(tree)) == (tree, ())


def test_json_and_text_give_the_same_tree_where_they_hold_the_same(lab) -> None:
    text = (
        "table inet filter {\n\tset ports {\n\t\ttype inet_service\n\t\tflags interval\n"
        "\t\telements = { 22, 80-90 }\n\t}\n"
        '\n\tchain input {\n\t\ttype filter hook input priority 5; policy drop;\n\t\tiifname "lo" accept\n'
        "\t\tct state established,related accept\n"
        '\t\ttcp dport @ports counter packets 0 bytes 0 accept comment "x"\n'
        "\t\tudp dport 53 notrack\n\t}\n}\n"
    )
    assert read_json(lab.load(text, "-j").listing)[0] == read(text)[0]


def test_tables_of_iptables_nft_are_marked() -> None:
    rule = {
        "family": "ip",
        "table": "raw",
        "chain": "OUTPUT",
        "expr": [{"xt": {"type": "target", "name": "CT"}}],
    }
    listing = [
        {"table": {"family": "ip", "name": "raw"}},
        {"chain": {"family": "ip", "table": "raw", "name": "OUTPUT"}},
        {"rule": rule},
    ]
    tree, found = read_json(json.dumps({"nftables": listing}))
    assert found == () and tree.tables[0].owner == "iptables-nft"
    assert tree.tables[0].chains[0].rules[0].statements == (t.Xt("target", "CT"),)


def test_what_is_unknown_is_kept() -> None:
    listing = [
        {"table": {"family": "ip", "name": "x"}},
        {"gizmo": {"family": "ip", "table": "x"}},
        {"chain": {"family": "ip", "table": "x", "name": "y"}},
        {"rule": {"family": "ip", "table": "x", "chain": "y", "expr": [{"frob": 5}, {"accept": None}]}},
    ]
    tree, found = read_json(json.dumps({"nftables": listing}))
    assert [fault.severity for fault in found] == [Severity.WARNING] * 2
    assert tree.commands[0] == t.UnknownItem('{"gizmo": {"family": "ip", "table": "x"}}')
    assert tree.tables[0].chains[0].rules[0].statements == (t.Unknown('{"frob": 5}'), t.Verdict("accept"))


def test_a_fault_in_the_json_has_its_place() -> None:
    _, found = read_json('{"nftables": [\n  {"table": }]}')
    assert [(fault.span.line, fault.span.column) for fault in found] == [(2, 13)]
    assert read_json("[]")[1][0].severity is Severity.ERROR
    assert read_json('{"nftables": 5}')[1][0].help is not None


@pytest.mark.parametrize("parts", [[], ["192.0.2.5"]])
def test_a_translation_map_whose_data_is_half_a_pair_is_lowered(parts: list[str]) -> None:
    """`dnat ip to ... map` with a concatenation of less than an address and a port."""
    data = {"map": {"key": {"meta": {"key": "mark"}}, "data": {"set": [[1, {"concat": parts}]]}}}
    place = {"family": "ip", "table": "t"}
    chain = {**place, "name": "c", "type": "nat", "hook": "prerouting", "prio": -100, "policy": "accept"}
    made = [
        {"table": {"family": "ip", "name": "t"}},
        {"chain": chain},
        {"rule": {**place, "chain": "c", "expr": [{"dnat": {"family": "ip", "addr": data}}]}},
    ]
    tree, _ = read_json(Source("rules.json", json.dumps({"nftables": made})))
    lowered(tree)
