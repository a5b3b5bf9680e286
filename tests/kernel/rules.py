"""Loading rules into a namespace, and reading back what the kernel made of them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from tests.kernel.node import LabError, Node
from tests.kernel.ruletext import xt

BACKENDS = ("iptables-legacy", "iptables-nft", "nft")
XTABLES = ("iptables-legacy", "iptables-nft")


@dataclass(frozen=True, slots=True)
class Counter:
    """One rule that counts."""

    family: str
    table: str
    chain: str
    comment: str
    packets: int
    rule: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the connection table."""

    family: int
    proto: str
    state: str
    timeout: int
    src: str
    dst: str
    sport: int
    dport: int
    reply_src: str
    reply_dst: str
    reply_sport: int
    reply_dport: int
    replied: bool
    assured: bool
    line: str


def tool(backend: str, family: int, what: str) -> str:
    """`iptables-legacy-restore` and its kin."""
    variant = backend.removeprefix("iptables-")
    return f"{'ip6tables' if family == 6 else 'iptables'}-{variant}-{what}"


def restore(node: Node, backend: str, family: int, text: str, *options: str) -> None:
    """Load one family's text. Raises `LabError` with the tool's message."""
    if backend not in XTABLES:
        raise LabError(f"unknown backend {backend}")
    node.run(tool(backend, family, "restore"), *options, text=text)


def clear(node: Node) -> None:
    """Remove every rule of every backend, and every entry of the connection table."""
    node.run("nft", "flush", "ruleset")
    for family, names in ((4, "ip_tables_names"), (6, "ip6_tables_names")):
        tables = node.run("cat", f"/proc/self/net/{names}").out.split()
        if tables:
            restore(node, "iptables-legacy", family, xt(**dict.fromkeys(tables, ())))
    for name in ("ipv4", "ipv6"):
        node.run("conntrack", "-F", "-f", name, check=False)


def counters(node: Node, backend: str) -> list[Counter]:
    """All counting rules of both families."""
    if backend == "nft":
        return _nft_counters(json.loads(node.run("nft", "-j", "list", "ruleset").out))
    return [
        counter
        for family in (4, 6)
        for counter in _xtables_counters(node.run(tool(backend, family, "save"), "-c").out, family)
    ]


def _xtables_counters(text: str, family: int) -> list[Counter]:
    found: list[Counter] = []
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        rule = re.match(r"\[(\d+):\d+\] -A (\S+) ?(.*)", line)
        if rule:
            packets, chain, rest = rule.groups()
            comment = re.search(r'--comment ("[^"]*"|\S+)', rest)
            text_of = comment.group(1).strip('"') if comment else ""
            found.append(Counter(f"ip{family}", table, chain, text_of, int(packets), rest))
    return found


def _nft_counters(listing: dict[str, Any]) -> list[Counter]:
    found: list[Counter] = []
    for item in listing["nftables"]:
        rule = item.get("rule")
        for part in rule["expr"] if rule else ():
            if isinstance(part, dict) and isinstance(part.get("counter"), dict):
                packets = part["counter"]["packets"]
                found.append(
                    Counter(
                        rule["family"], rule["table"], rule["chain"], rule.get("comment", ""),
                        packets, json.dumps(rule["expr"]),
                    )
                )  # fmt: skip
                break
    return found


def conntrack_count(node: Node) -> int:
    """How many entries the connection table of the namespace holds, both families."""
    return int(node.sysctl("net.netfilter.nf_conntrack_count"))


def entries(node: Node) -> list[Entry]:
    """The connection table, both families."""
    return [
        _entry(line, family)
        for family in (4, 6)
        for line in node.run("conntrack", "-L", "-f", f"ipv{family}").out.splitlines()
    ]


def _entry(line: str, family: int) -> Entry:
    pairs: dict[str, list[str]] = {}
    for key, value in re.findall(r"(\w+)=(\S+)", line):
        pairs.setdefault(key, []).append(value)
    words = line.split()
    state = words[3] if "=" not in words[3] and "[" not in words[3] else ""

    def at(key: str, index: int) -> str:
        values = pairs.get(key, [])
        return values[index] if len(values) > index else ""

    return Entry(
        family, words[0], state, int(words[2]),
        at("src", 0), at("dst", 0), int(at("sport", 0) or 0), int(at("dport", 0) or 0),
        at("src", 1), at("dst", 1), int(at("sport", 1) or 0), int(at("dport", 1) or 0),
        "[UNREPLIED]" not in line, "[ASSURED]" in line, line,
    )  # fmt: skip
