"""What findings about half-tracked flows, and untracked ones that are stopped, say: with real packets."""

from __future__ import annotations

import pytest

from notrack.lint.collection import collected
from notrack.lint.engine import lint
from notrack.lint.fixes import fixed
from notrack.lint.subject import Subject
from notrack.ruleset.formats import read_all
from notrack.text.source import Source
from tests.kernel.facts import OWN
from tests.kernel.lab import Lab
from tests.kernel.ruletext import xt

RULES = [rule for rule in collected() if rule.code[:3] in ("NT1", "NT2")]
ASKED = "-A PREROUTING -p tcp -m tcp --dport 80 -j CT --notrack"
ANSWERED = "-A OUTPUT -p tcp -m tcp --sport 80 -j CT --notrack"
STATEFUL = "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
LO = "-A INPUT -i lo -j ACCEPT"
OPEN = "-A INPUT -p tcp -m tcp --dport 80 -j ACCEPT"
NEW = "-A INPUT -p tcp -m tcp --dport 80 -m conntrack --ctstate NEW -j ACCEPT"
DROP_IN, DROP_OUT = "INPUT DROP", "OUTPUT DROP"


def subject(text: str) -> Subject:
    return Subject(read_all([Source("rules.v4", text)]))


def codes(text: str) -> set[str]:
    return {one.code for one in lint(subject(text), RULES).findings}


def load(lab: Lab, backend: str, text: str) -> None:
    lab.load_any(backend, v4=text)


def mended(text: str) -> str:
    """The text after all fixes, the unsafe ones too."""

    def read(sources: object) -> Subject:
        return Subject(read_all(sources))  # type: ignore[arg-type]

    return fixed([Source("rules.v4", text)], read, RULES, unsafe=True)[0].text


@pytest.mark.parametrize("legs", ([ASKED], [ANSWERED], [ASKED, ANSWERED.replace("sport", "dport")]))
def test_half_tracked_flows_leave_entries_until_mended(lab: Lab, xtables: str, legs: list[str]) -> None:
    """NT101 and NT103: the table fills; after the fix it stays empty, and the service answers."""
    text = xt(raw=legs, filter=[DROP_IN, LO, STATEFUL, OPEN])
    assert codes(text) in ({"NT101"}, {"NT103"})
    load(lab, xtables, text)
    lab.host.listen("tcp", 80)
    lab.client.tcp(OWN[4], 80)
    assert lab.conntrack_count() == 1
    better = mended(text)
    assert codes(better) == set()
    lab.clear()
    load(lab, xtables, better)
    assert lab.client.tcp(OWN[4], 80).ok
    assert lab.conntrack_count() == 0


@pytest.mark.parametrize(
    ("code", "rules"),
    (
        ("NT201", [DROP_IN, LO, STATEFUL, "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT", NEW]),
        ("NT205", [DROP_IN, LO, STATEFUL, NEW]),
        ("NT202", [DROP_IN, DROP_OUT, LO, OPEN, "-A OUTPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT"]),
    ),
)
def test_a_service_is_dead_until_mended(lab: Lab, xtables: str, code: str, rules: list[str]) -> None:
    """NT201, NT202 and NT205: nobody is answered; after the fix everybody is."""
    text = xt(raw=[ASKED, ANSWERED], filter=rules)
    assert codes(text) == {code}
    load(lab, xtables, text)
    lab.host.listen("tcp", 80)
    assert not lab.client.tcp(OWN[4], 80).ok
    better = mended(text)
    assert codes(better) == set()
    load(lab, xtables, better)
    assert lab.client.tcp(OWN[4], 80).ok
    assert lab.conntrack_count() == 0


@pytest.mark.parametrize(
    ("asked", "drops", "works"),
    (
        (ASKED, "INPUT", True),  # PREROUTING untracks what is INVALID before INPUT sees it
        (ASKED, "OUTPUT", False),
        (ASKED.replace("-p tcp", "-i eth9 -p tcp", 1), "INPUT", False),
    ),
)
def test_local_connections_break_where_it_is_said(
    lab: Lab, xtables: str, asked: str, drops: str, works: bool
) -> None:
    """NT104: a drop of INVALID ends a local client's connection to a local service, or does not."""
    invalid = f"-A {drops} -m conntrack --ctstate INVALID -j DROP"
    text = xt(raw=[asked, ANSWERED], filter=[invalid, LO])
    assert ("NT104" in codes(text)) is not works
    load(lab, xtables, text)
    lab.host.listen("tcp", 80)
    assert lab.host.tcp("127.0.0.1", 80).ok is works
    if not works:
        load(lab, xtables, mended(text))
        lab.clear()
        load(lab, xtables, mended(text))
        assert lab.host.tcp("127.0.0.1", 80).ok
