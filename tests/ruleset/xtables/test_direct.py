"""Direct rules of firewalld, as a file and as it lists them."""

from __future__ import annotations

import pytest

from notrack.packets.address import Family
from notrack.ruleset import core
from notrack.ruleset.formats import Reading, read_any
from notrack.ruleset.recognition import Format, recognised
from notrack.text.diagnostic import Severity
from notrack.text.source import Source

V4, V6 = Family.IPV4, Family.IPV6
XML = """\
<?xml version="1.0" encoding="utf-8"?>
<!-- <rule ipv="ipv4" table="raw" chain="OUTPUT" priority="0">-j ACCEPT</rule> -->
<direct>
  <chain ipv="ipv4" table="raw" chain="blacklist"/>
  <rule priority="1" table="raw" ipv="ipv4" chain="PREROUTING">-p udp --dport 53 -j NOTRACK</rule>
  <rule ipv="ipv4" table="raw" chain="PREROUTING" priority="0">-s 192.0.2.0/24 -j blacklist</rule>
  <rule ipv='ipv4' table='raw' chain='blacklist' priority='0'>-m limit --limit 1/min -j LOG
    --log-prefix &quot;blacklisted: &quot;</rule>
  <rule ipv="ipv6" table="filter" chain="INPUT" priority="-5">-p tcp --dport 22 -j ACCEPT</rule>
  <passthrough ipv="ipv4">-t filter -I INPUT -p udp --dport 53 -j ACCEPT</passthrough>
</direct>
"""
LISTED = """\
ipv4 raw PREROUTING 1 -p udp --dport 53 -j NOTRACK
ipv4 raw PREROUTING 0 -s 192.0.2.0/24 -j ACCEPT
ipv6 filter INPUT -5 -p tcp --dport 22 -j ACCEPT
"""


def texts(found: Reading, table: str, chain: str, family: Family) -> list[str]:
    (one,) = (t for t in found.ruleset.tables if t.name == table and family in t.families)
    made = one.chain(chain)
    return [rule.origin.text for rule in made.rules] if made else []


def said(found: Reading) -> list[str]:
    """The messages but the first, which says what the file does not hold."""
    first, *rest = found.diagnostics
    assert first.severity is Severity.INFO and "zones of firewalld" in first.message
    return [one.message for one in rest]


@pytest.mark.parametrize("text", [XML, LISTED, XML.partition("\n")[2], "\n" + LISTED])
def test_it_is_known_by_what_stands_in_it(text: str) -> None:
    assert recognised(text) is Format.DIRECT


def test_other_xml_is_not_taken_for_it() -> None:
    assert recognised("<zone><service name='ssh'/></zone>") is None


def test_rules_stand_in_the_order_of_their_priorities() -> None:
    found = read_any(Source("direct.xml", XML))
    assert said(found) == []
    first, second = texts(found, "raw", "PREROUTING", V4)
    assert "blacklist" in first and "NOTRACK" in second
    assert len(texts(found, "raw", "blacklist", V4)) == 1
    assert len(texts(found, "filter", "INPUT", V4)) == 1
    assert len(texts(found, "filter", "INPUT", V6)) == 1
    assert not any(t.name == "raw" and V6 in t.families for t in found.ruleset.tables)


def test_a_listing_says_the_same() -> None:
    found = read_any(Source("rules", LISTED))
    assert said(found) == []
    assert texts(found, "raw", "PREROUTING", V4) == [LISTED.splitlines()[1], LISTED.splitlines()[0]]
    assert texts(found, "filter", "INPUT", V6) == [LISTED.splitlines()[2]]


def test_words_are_unescaped_and_unquoted() -> None:
    found = read_any(Source("direct.xml", XML))
    (table,) = (t for t in found.ruleset.tables if t.name == "raw")
    chain = table.chain("blacklist")
    assert chain is not None
    (rule,) = chain.rules
    (log,) = rule.actions
    assert isinstance(log, core.Log) and '"blacklisted: "' in log.text
    assert rule.origin.span is not None and rule.origin.span.text.startswith("<rule ipv='ipv4'")


def test_every_rule_knows_its_element() -> None:
    source = Source("direct.xml", XML)
    tree = read_any(source).documents[0].tree
    rules = [rule for _, rule in tree.rules()]  # type: ignore[union-attr]
    assert len(rules) == 5
    for rule in rules:
        assert rule.span is not None and rule.span.text.startswith(("<rule", "<passthrough"))
        assert all(rule.span_of(match) == rule.span for match in rule.matches)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('<rule ipv="ipv5" table="raw" chain="OUTPUT" priority="0">-j ACCEPT</rule>',
         "not read: no family 'ipv5'"),
        ('<rule ipv="eb" table="filter" chain="X" priority="0">-j ACCEPT</rule>',
         "not read: it is about bridged frames"),
        ('<rule ipv="ipv4" table="row" chain="OUTPUT" priority="0">-j ACCEPT</rule>', "no table 'row'"),
        ('<rule ipv="ipv4" table="raw" chain="OUTPUT" priority="0">-p tpc/ -j ACCEPT</rule>',
         "'tpc/' is no protocol"),
        ('<rule ipv="ipv4" table="raw" chain="OUTPUT" priority="0">-m comment --comment "a</rule>',
         "a quote is not closed here"),
        ('<rule ipv="ipv4" table="raw" chain="OUTPUT" priority="0">-j ACCEPT',
         "this element is not understood"),
        ("<rull/>", "this element is not understood"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(line: str, message: str) -> None:
    found = read_any(Source("direct.xml", f"<direct>\n{line}\n</direct>\n"))
    assert message in said(found)


def test_a_line_that_is_no_rule_is_told() -> None:
    assert said(read_any(Source("rules", LISTED + "ipv4 raw\n"))) == ["this is no direct rule"]


UFW = """\
*filter
:ufw-before-input - [0:0]
-A ufw-before-input -i lo -j ACCEPT
COMMIT
"""


def test_a_piece_of_a_table_is_called_one() -> None:
    (found,) = read_any(Source("before.rules", UFW), V4).diagnostics
    assert found.severity is Severity.WARNING and "no packet comes to these chains" in found.message
    assert found.span is not None and found.span.text == "-A ufw-before-input -i lo -j ACCEPT"
    whole = UFW.replace("COMMIT", "-A INPUT -j ufw-before-input\nCOMMIT")
    assert read_any(Source("rules.v4", whole), V4).diagnostics == ()
