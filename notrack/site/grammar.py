"""The grammar, made ready once: terminals for the lexer, tables for the parser, tree nodes from rules."""

from __future__ import annotations

import functools
import json
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from notrack.resource import resource
from notrack.site.automaton import Automaton, Parser, Rule
from notrack.site.syntax import Addresses, Atom, Clause, Part, Statement
from notrack.text.record import dataclass

SOURCE, TABLES = "site.lark", "site.tables.json"


@dataclass(frozen=True, slots=True)
class Grammar:
    """`keywords`: text to terminal; `pattern`: all other terminals, one named group each."""

    keywords: Mapping[str, str]
    pattern: re.Pattern[str]
    start: Callable[[], Parser]

    def words(self, terminals: set[str]) -> set[str]:
        """The spelling of those of the terminals that have just one."""
        return {text for text, name in self.keywords.items() if name in terminals}


@functools.cache
def grammar() -> Grammar:
    """The tables that ship with the package; made anew (a fifth of a second) for another grammar."""
    folder = resource("grammar")
    text = (folder / SOURCE).read_text(encoding="utf-8")
    try:
        data = json.loads((folder / TABLES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        data = {}
    if data.get("grammar") != digest(text):
        from notrack.site.lalr import tables

        data = tables(text)
    rules = tuple(
        Rule(origin, name, size, tuple(tuple(one) for one in kept), nones, alone, inlined)
        for origin, name, size, kept, nones, alone, inlined in data["rules"]
    )
    automaton = Automaton(tuple(data["states"]), rules, data["first"], data["last"])
    build = _Tree().build
    return Grammar(data["keywords"], re.compile(data["pattern"]), lambda: Parser(automaton, build))


def digest(text: str) -> int:
    """What tells one grammar from another."""
    return zlib.crc32(text.encode())


def tables_text(text: str) -> str:
    """The file of tables for a grammar."""
    from notrack.site.lalr import tables

    return json.dumps({"grammar": digest(text), **tables(text)}, separators=(",", ":")) + "\n"


class _Tree:
    """One method a rule of the grammar; each gets the children and returns a node of the tree."""

    def build(self, name: str, children: list[Any]) -> Any:
        return getattr(self, name)(children)

    def start(self, children: list[Statement]) -> Statement:
        return children[0]

    def site(self, c: list[Any]) -> Statement:
        return Statement(c[0], c[1], name=c[1])

    def include(self, c: list[Any]) -> Statement:
        return Statement(c[0], c[1], atoms=(c[1],))

    def interface(self, c: list[Any]) -> Statement:
        devices, clauses = c[2], tuple(c[3:])
        return Statement(c[0], _last(devices, clauses), name=c[1], atoms=devices, clauses=clauses)

    def network(self, c: list[Any]) -> Statement:
        last = (c[2].excepted or c[2].items)[-1]
        return Statement(c[0], last, name=c[1], addresses=c[2])

    def ports(self, c: list[Any]) -> Statement:
        return Statement(c[0], c[2][-1], name=c[1], ports=c[2])

    def flow(self, c: list[Any]) -> Statement:
        parts, clauses = c[2] or (), tuple(c[3:])
        last = _part_end(parts[-1]) if parts else c[1]
        return Statement(c[0], _last((last,), clauses), name=c[1], parts=parts, clauses=clauses)

    def icmp(self, c: list[Any]) -> Statement:
        clauses = tuple(c[3:])
        return Statement(c[0], _last(c[2], clauses), name=c[1], atoms=c[2], clauses=clauses)

    def setting(self, c: list[Any]) -> Statement:
        atoms = tuple(atom for atom in c[1:] if atom is not None)
        return Statement(c[0], atoms[-1], atoms=atoms)

    ephemeral = default = log = tracking = setting

    def expect(self, c: list[Any]) -> Statement:
        clauses = tuple(c[4:])
        last = _last((_part_end(c[3]),), clauses)
        return Statement(c[0], last, atoms=(c[2],), parts=(c[3],), clauses=clauses, tracking=c[1])

    def part(self, c: list[Any]) -> Part:
        return Part(c[0], c[1] or ())

    def packet(self, c: list[Any]) -> Part:
        return Part(c[0], tuple(atom for atom in c[1:] if atom is not None))

    def gathered(self, children: list[Any]) -> tuple[Any, ...]:
        return tuple(children)

    traffic = protocols = icmp_types = devices = port_list = address_list = names = gathered

    def addresses(self, c: list[Any]) -> Addresses:
        return Addresses(c[0], (c[2] or ()) if len(c) > 2 else ())

    def address_clause(self, c: list[Any]) -> Clause:
        addresses, port = c[1], (c[2] if len(c) > 2 else None)
        if port is not None:
            return Clause(c[0], port[1][-1], addresses, port=port[0], ports=port[1])
        return Clause(c[0], (addresses.excepted or addresses.items)[-1], addresses)

    def port_clause(self, c: list[Any]) -> Clause:
        return Clause(c[0], c[1][1][-1], port=c[1][0], ports=c[1][1])

    def word_clause(self, c: list[Any]) -> Clause:
        atoms = () if len(c) == 1 else c[1] if isinstance(c[1], tuple) else (c[1],)
        return Clause(c[0], atoms[-1] if atoms else c[0], atoms=atoms)

    def rate_clause(self, c: list[Any]) -> Clause:
        return Clause(c[0], c[-1] or c[-2], atoms=tuple(c[1:-1]), per=c[-1])

    limit_clause = rate_clause

    def at_port(self, c: list[Any]) -> tuple[Atom, tuple[Atom, ...]]:
        return c[0], c[1]

    def per(self, c: list[Any]) -> Atom:
        word: Atom = c[1]
        return word


def _part_end(part: Part) -> Atom:
    return part.items[-1] if part.items else part.word


def _last(atoms: tuple[Atom, ...], clauses: tuple[Clause, ...]) -> Atom:
    return clauses[-1].last if clauses else atoms[-1]
