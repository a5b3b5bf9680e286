"""A random ruleset as a tree that can be written for a backend, and made smaller.

Every part of a rule knows how xtables and how nft say it; a ruleset all of whose parts know both can be
loaded on all three backends, which must then agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

XT_TABLES = ("raw", "mangle", "nat", "filter")
FAMILIES = {"ip": (4,), "ip6": (6,), "inet": (4, 6), "netdev": (4, 6)}


@dataclass(frozen=True, slots=True)
class Part:
    """A match or what a rule does. `nft` None: only xtables can say it; `xt` None: only nft."""

    xt: str | None
    nft: str | None


@dataclass(frozen=True, slots=True)
class Rule:
    """Matches, then what the rule does (nothing: it counts). `calls` are the chains that it may lead to."""

    matches: tuple[Part, ...]
    action: Part
    calls: tuple[str, ...] = ()

    def xt(self, chain: str) -> str:
        words = [part.xt for part in (*self.matches, self.action)]
        return " ".join(["-A", chain, *(word for word in words if word)])

    def nft(self) -> str:
        words = [part.nft for part in (*self.matches, self.action)]
        return " ".join(word for word in words if word) or "counter"


@dataclass(frozen=True, slots=True)
class Hooked:
    """Where a base chain hangs."""

    hook: str
    priority: int
    kind: str = "filter"
    policy: str = "accept"
    device: str = ""


@dataclass(frozen=True, slots=True)
class Chain:
    name: str
    rules: tuple[Rule, ...] = ()
    base: Hooked | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table; `sets` are declarations of nft, written before the chains."""

    family: str
    name: str
    chains: tuple[Chain, ...]
    sets: tuple[str, ...] = ()

    @property
    def families(self) -> tuple[int, ...]:
        return FAMILIES[self.family]


@dataclass(frozen=True, slots=True)
class Case:
    """A whole ruleset."""

    tables: tuple[Table, ...]

    def families(self) -> tuple[int, ...]:
        return tuple(sorted({family for table in self.tables for family in table.families}))

    def texts(self, backend: str) -> dict[str, str]:
        """The files for a backend: `v4` and `v6`, or `nft`."""
        if backend == "nft":
            return {"nft": "".join(map(_nft_table, self.tables))}
        return {
            key: text
            for key, family in (("v4", "ip"), ("v6", "ip6"))
            if (text := "".join(_xt_table(table) for table in self.tables if table.family == family))
        }

    def says_state(self, family: int) -> bool:
        """Whether a rule of the family asks for the state, so that watching it changes nothing."""
        return any(
            "ctstate" in (part.xt or "") or "ct state" in (part.nft or "")
            for table in self.tables
            if family in table.families
            for chain in table.chains
            for rule in chain.rules
            for part in rule.matches
        )

    @property
    def backends(self) -> tuple[str, ...]:
        """The backends that can load it."""
        parts = [
            part
            for table in self.tables
            for chain in table.chains
            for rule in chain.rules
            for part in (*rule.matches, rule.action)
        ]
        xtables = all(part.xt is not None for part in parts) and all(
            table.name in XT_TABLES and table.family != "inet" for table in self.tables
        )
        nft = all(part.nft is not None for part in parts)
        return ("iptables-legacy", "iptables-nft") * xtables + ("nft",) * nft

    def size(self) -> int:
        return sum(len(table.chains) + sum(len(c.rules) for c in table.chains) for table in self.tables)


@dataclass(frozen=True, slots=True)
class Written:
    """A ruleset as text, `v4`, `v6` or `nft`: what a case comes down to once it is a regression test."""

    written: dict[str, str]

    def families(self) -> tuple[int, ...]:
        if "nft" in self.written:
            words = [line.split()[1] for line in self.written["nft"].splitlines() if line.startswith("table")]
            return tuple(sorted({family for word in words for family in FAMILIES[word]}))
        return tuple(family for family in (4, 6) if f"v{family}" in self.written)

    def texts(self, backend: str) -> dict[str, str]:
        return self.written

    def says_state(self, family: int) -> bool:
        if "nft" not in self.written:
            return "ctstate" in self.written.get(f"v{family}", "")
        return self.families() == (family,) and "ct state" in self.written["nft"]


Loadable = Case | Written


def _xt_table(table: Table) -> str:
    heads = [
        f":{chain.name} {chain.base.policy.upper() if chain.base else '-'} [0:0]" for chain in table.chains
    ]
    rules = [rule.xt(chain.name) for chain in table.chains for rule in chain.rules]
    return "\n".join([f"*{table.name}", *heads, *rules, "COMMIT", ""])


def _nft_table(table: Table) -> str:
    lines = [f"table {table.family} {table.name} {{"]
    lines += [f"  chain {chain.name} {{\n  }}" for chain in table.chains if chain.base is None]
    lines += [f"  {line}" for line in table.sets]
    for chain in table.chains:
        lines.append(f"  chain {chain.name} {{")
        if chain.base is not None:
            base = chain.base
            hook = f'{base.hook} device "{base.device}"' if base.device else base.hook
            lines.append(f"    type {base.kind} hook {hook} priority {base.priority}; policy {base.policy};")
        lines += [f"    {rule.nft()}" for rule in chain.rules]
        lines.append("  }")
    return "\n".join([*lines, "}", ""])


def smaller(case: Case) -> Iterator[Case]:
    """Rulesets that are one step simpler, the boldest steps first."""
    for i, table in enumerate(case.tables):
        yield replace(case, tables=case.tables[:i] + case.tables[i + 1 :])
        for less in _smaller_tables(table):
            yield replace(case, tables=(*case.tables[:i], less, *case.tables[i + 1 :]))


def _smaller_tables(table: Table) -> Iterator[Table]:
    for i, chain in enumerate(table.chains):
        for less in _smaller_chains(chain):
            yield replace(table, chains=(*table.chains[:i], less, *table.chains[i + 1 :]))
    called = {name for chain in table.chains for rule in chain.rules for name in rule.calls}
    for i, chain in enumerate(table.chains):
        if chain.name not in called and not chain.rules:
            yield replace(table, chains=table.chains[:i] + table.chains[i + 1 :])
    text = _nft_table(replace(table, sets=()))
    for i, line in enumerate(table.sets):
        if f"@{line.split()[1]}" not in text:
            yield replace(table, sets=table.sets[:i] + table.sets[i + 1 :])


def _smaller_chains(chain: Chain) -> Iterator[Chain]:
    rules = chain.rules
    if len(rules) > 3:
        half = len(rules) // 2
        yield replace(chain, rules=rules[half:])
        yield replace(chain, rules=rules[:half])
    for i in range(len(rules)):
        yield replace(chain, rules=rules[:i] + rules[i + 1 :])
    if chain.base is not None and chain.base.policy == "drop":
        yield replace(chain, base=replace(chain.base, policy="accept"))
    for i, rule in enumerate(rules):
        for j in range(len(rule.matches)):
            less = replace(rule, matches=rule.matches[:j] + rule.matches[j + 1 :])
            yield replace(chain, rules=(*rules[:i], less, *rules[i + 1 :]))
