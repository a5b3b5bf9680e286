"""The grammar by itself."""

from __future__ import annotations

import json
import re

import pytest
from lark import Lark
from lark.lexer import PatternStr

from notrack.resource import resource
from notrack.site.automaton import Unexpected
from notrack.site.clauses import ALLOWED
from notrack.site.faults import Faults
from notrack.site.grammar import TABLES, digest, grammar, tables_text
from notrack.site.lexer import KEYWORDS
from notrack.site.mistakes.forms import FORMS
from notrack.site.parser import parse
from notrack.site.syntax import Atom, Statement
from notrack.site.tables.helper_names import HELPERS
from notrack.site.tables.icmp_names import ICMP_TYPES, NEVER_DECLARED
from notrack.site.tables.protocol_names import PROTOCOLS
from notrack.site.tables.service_names import SERVICE_PORTS
from notrack.text.source import Source

TEXT = (resource("grammar") / "site.lark").read_text(encoding="utf-8")


def test_no_text_fits_two_terminals() -> None:
    interegular = pytest.importorskip("interegular")
    terminals = Lark(TEXT, parser="lalr", lexer="basic").terminals
    loose = [t for t in terminals if not isinstance(t.pattern, PatternStr) and not t.name.startswith("__")]
    machines = {t.name: interegular.parse_pattern(t.pattern.to_regexp()).to_fsm() for t in loose}
    names = sorted(machines)
    assert len(names) == 8
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            assert machines[first].isdisjoint(machines[second]), f"{first} and {second} share a text"


def test_lark_agrees_in_its_strict_mode() -> None:
    pytest.importorskip("interegular")
    Lark(TEXT, parser="lalr", lexer="basic", strict=True)


def test_every_fixed_word_is_a_word() -> None:
    words = [word for word in grammar().keywords if word not in ",;="]
    assert all(re.fullmatch(r"[a-z]+[46]?", word) for word in words)


def test_the_keywords_of_the_grammar_are_those_that_errors_know() -> None:
    rule = re.search(r"^start:(.*)$", TEXT, re.M)
    assert rule is not None
    flows = re.search(r"^\?flow_keyword:(.*)$", TEXT, re.M)
    assert flows is not None
    rules = {word.strip() for word in rule[1].split("|")} - {"flow"}
    assert set(KEYWORDS) == rules | {word.strip().lower() for word in flows[1].split("|")}
    assert set(FORMS) == set(KEYWORDS)
    assert set(ALLOWED) <= set(KEYWORDS)


@pytest.mark.parametrize("keyword", sorted(set(FORMS) - {"default"}))
def test_the_form_that_an_error_shows_parses(keyword: str) -> None:
    faults = Faults()
    text = FORMS[keyword].replace("NAME", "name").replace("NETWORK", "net").replace("INTERFACE", "wan")
    (found,) = parse(Source("form", text), faults)
    assert isinstance(found, Statement), faults.found


@pytest.mark.parametrize("table", [HELPERS, ICMP_TYPES, NEVER_DECLARED, PROTOCOLS, SERVICE_PORTS])
def test_names_in_tables_can_be_written(table: dict[str, object]) -> None:
    language = grammar()
    for name in table:
        match = language.pattern.fullmatch(name)
        assert match is not None
        assert match.lastgroup == "WORD"
        assert name not in language.keywords or name in ("ipv6", "redirect"), name


def test_numbers_in_tables_are_in_range() -> None:
    assert all(1 <= port <= 65535 for port in SERVICE_PORTS.values())
    assert all(1 <= number <= 254 for number in PROTOCOLS.values())


def test_the_tables_that_ship_are_those_of_the_grammar() -> None:
    """`python scripts/site_tables.py` writes them anew."""
    shipped = (resource("grammar") / TABLES).read_text(encoding="utf-8")
    assert json.loads(shipped)["grammar"] == digest(TEXT)
    assert shipped == tables_text(TEXT)


def test_a_parser_that_refused_a_token_goes_on_as_before() -> None:
    atoms = [Atom(name, "x", Source("s", "x"), 0) for name in ("SERVICE", "WORD", "TCP", "NUMBER")]
    parser = grammar().start()
    for atom in atoms:
        parser.feed_token(atom)
    before = parser.accepts()
    with pytest.raises(Unexpected):
        parser.feed_token(Atom("EQUAL", "=", Source("s", "="), 0))
    assert parser.accepts() == before and "$END" in before
    assert parser.feed_eof().keyword.type == "SERVICE"
