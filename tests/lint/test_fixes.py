"""Every fix that a rule offers for its own bad examples, and how fixes go together."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence

import pytest

from notrack.lint.collection import collected
from notrack.lint.engine import lint
from notrack.lint.finding import Edit, Fault, Finding, Fix
from notrack.lint.fixes import Fixed, edited, fixed, unified
from notrack.lint.rule import Example, Rule
from notrack.lint.subject import Subject
from notrack.netfilter.host import UNKNOWN_HOST, read_host
from notrack.ruleset.formats import read_all
from notrack.text.diagnostic import Severity
from notrack.text.source import Source
from tests.lint.examples import Case, case, files, linted

BAD = [pytest.param(rule, one, id=f"{rule.code}-{one.title}") for rule in collected() for one in rule.bad]
_COUNTERS = re.compile(r"\[\d+:\d+\]")
_COMMENT = re.compile(r'^\s*#.*$|--comment (?:"(?:[^"\\]|\\.)*"|\S+)', re.MULTILINE)


def mended(made: Case, rules: Sequence[Rule], unsafe: bool = True) -> tuple[Fixed, ...]:
    return fixed(made.sources, lambda sources: subject(made, sources), rules, unsafe=unsafe)


def subject(made: Case, sources: Sequence[Source]) -> Subject:
    host = UNKNOWN_HOST if made.host is None else read_host(made.host)
    return linted(sources, host)


@pytest.mark.parametrize(("rule", "example"), BAD)
def test_fixes_of_examples(rule: Rule, example: Example) -> None:
    made = case(example)
    before = lint(made.subject, collected())
    offered = [one for one in before.findings if one.code == rule.code and one.fault.fix]
    after = mended(made, (rule,))
    if not offered:
        assert all(not one.changed for one in after)
        assert example.fixed is None
        return
    relinted = lint(subject(made, [Source(one.source.name, one.text) for one in after]), collected())
    for one in relinted.findings:
        if one.code == rule.code and one.fault.fix is not None:
            assert brings_more(made, after, one)
    assert grave(relinted.findings, rule) <= grave(before.findings, rule)
    for one in after:
        edits = [edit for finding in offered for edit in finding.fault.fix.edits]  # type: ignore[union-attr]
        assert kept(_COUNTERS, one, edits)
        assert kept(_COMMENT, one, edits)
        nothing_else(one, edits)
    if example.fixed is not None:
        wanted = files(example.fixed)
        for one in after:
            text = wanted[one.source.name].rstrip("\n") + "\n"
            if {finding.code for finding in one.applied} <= {rule.code}:
                assert one.text == text
            else:  # what the fix brought up is mended too, and adds lines
                rest = iter(one.text.split("\n"))
                assert all(line in rest for line in text.split("\n"))


def brings_more(made: Case, after: Sequence[Fixed], left: Finding) -> bool:
    """Whether a fix that was not made would have brought up another error or warning."""
    assert left.fault.fix is not None
    edits = left.fault.fix.edits
    texts = {one.source.name: one.text for one in after}
    for name in {edit.span.source.name for edit in edits}:
        texts[name] = edited(texts[name], [edit for edit in edits if edit.span.source.name == name])
    found = lint(subject(made, [Source(name, text) for name, text in texts.items()]), collected()).findings
    before = lint(subject(made, [Source(one.source.name, one.text) for one in after]), collected()).findings
    return bool(grave(found, left.rule) - grave(before, left.rule))


def grave(findings: Sequence[Finding], rule: Rule) -> Counter[str]:
    """Errors and warnings, and the findings of the rule that is looked at."""
    return Counter(one.code for one in findings if one.rule.severity is not Severity.INFO or one.rule is rule)


def kept(pattern: re.Pattern[str], one: Fixed, edits: list[Edit]) -> bool:
    """Whether every find in the source is there afterwards, as often, but for those that an edit is about."""
    about = [edit.span for edit in edits if edit.span.source == one.source]
    before = [
        found[0]
        for found in pattern.finditer(one.source.text)
        if not any(span.start < found.end() and found.start() < span.end for span in about)
    ]
    return Counter(before) <= Counter(pattern.findall(one.text))


def nothing_else(one: Fixed, edits: list[Edit]) -> None:
    """Only lines that an edit is about are gone."""
    touched = {
        number
        for edit in edits
        if edit.span.source == one.source and (edit.span.end > edit.span.start or "\n" not in edit.text)
        for number in range(edit.span.line, edit.span.end_line + 1)
    }
    before, after = one.source.text.split("\n"), one.text.split("\n")
    for tag, low, high, _, _ in difflib.SequenceMatcher(None, before, after, False).get_opcodes():
        if tag in ("replace", "delete"):
            assert set(range(low + 1, high + 1)) <= touched, before[low:high]


@pytest.mark.parametrize("rule", collected(), ids=lambda rule: rule.code)
def test_nothing_right_is_changed(rule: Rule) -> None:
    for example in (*rule.good, *rule.looks_wrong):
        assert all(not one.changed for one in mended(case(example), (rule,)))


# How fixes go together.


def _rule(check: object) -> Rule:
    page = "x"
    return Rule(
        "NT999",
        "made-up",
        Severity.ERROR,
        page,
        page,
        page,
        page,
        page,
        check,
        (),
        (),
        (),  # type: ignore[arg-type]
    )


_TEXT = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j ACCEPT\nCOMMIT\n"


def _with(monkeypatch: pytest.MonkeyPatch, *rules: Rule) -> None:
    for room in ("collection", "selection"):
        monkeypatch.setattr(f"notrack.lint.{room}.collected", lambda: rules)


def _run(rules: Sequence[Rule], text: str = _TEXT, unsafe: bool = False) -> Fixed:
    (one,) = fixed((Source("rules.v4", text),), lambda s: Subject(read_all(tuple(s))), rules, unsafe=unsafe)
    return one


def _replacing(old: str, new: str, safe: bool = True) -> Rule:
    def check(subject: Subject) -> list[Fault]:
        source = subject.documents[0].source
        at = source.text.find(old)
        if at < 0:
            return []
        span = source.span(at, at + len(old))
        return [Fault(span, "m", "h", fix=Fix(f"{old} to {new}", (Edit(span, new),), safe))]

    return _rule(check)


def test_what_one_fix_makes_possible_is_done_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each edit covers two lines, so that neighbours meet and must wait for the next round."""
    line = "-A INPUT -j ACCEPT\n"

    def check(subject: Subject) -> list[Fault]:
        source = subject.documents[0].source
        starts = [found.start() for found in re.finditer(f"(?={line * 2})", source.text)]
        spans = [source.span(start, start + 2 * len(line)) for start in starts]
        return [Fault(span, "m", "h", fix=Fix("one", (Edit(span, line),))) for span in spans]

    rule = _rule(check)
    _with(monkeypatch, rule)
    one = _run((rule,), _TEXT.replace(line, line * 6))
    assert one.text == _TEXT
    assert len(one.applied) == 5


def test_a_fix_after_which_the_text_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = _replacing("-j ACCEPT", "-j")
    _with(monkeypatch, rule)
    assert not _run((rule,)).changed


def test_a_fix_that_mends_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = _replacing("ACCEPT", "ACCEPT ")
    _with(monkeypatch, rule)
    assert not _run((rule,)).changed


def _other(rule: Rule, code: str) -> Rule:
    return Rule(**{name: getattr(rule, name) for name in _FIELDS} | {"code": code})


def test_a_fix_that_brings_another_finding_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(subject: Subject) -> list[Fault]:
        source = subject.documents[0].source
        return [Fault(source.span(0, 1), "m", "h")] if "-j DROP" in source.text else []

    rule = _replacing("-j ACCEPT", "-j DROP")
    _with(monkeypatch, rule, _other(_rule(check), "NT998"))
    assert not _run((rule,)).changed


def test_a_finding_that_a_fix_brings_is_mended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    rule, other = _replacing("-j ACCEPT", "-j DROP"), _other(_replacing("-j DROP", "-j RETURN"), "NT998")
    _with(monkeypatch, rule, other)
    one = _run((rule,))
    assert one.text == _TEXT.replace("-j ACCEPT", "-j RETURN")
    assert [finding.code for finding in one.applied] == ["NT999", "NT998"]


def test_that_only_by_fixes_that_may_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    rule, other = _replacing("-j ACCEPT", "-j DROP"), _replacing("-j DROP", "-j RETURN", safe=False)
    _with(monkeypatch, rule, _other(other, "NT998"))
    assert not _run((rule,)).changed
    assert _run((rule,), unsafe=True).changed


_FIELDS = (
    "code name severity summary what why limits mending check bad good looks_wrong yields_to".split()  # noqa: SIM905
)


def test_unsafe_fixes_wait_to_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = _replacing("-j ACCEPT", "-j DROP", safe=False)
    _with(monkeypatch, rule)
    assert not _run((rule,)).changed
    assert _run((rule,), unsafe=True).changed


def test_fixes_that_never_end_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(subject: Subject) -> list[Fault]:
        source = subject.documents[0].source
        count = source.text.count("RETURN")
        here = source.span(0, 0)
        edit = Edit(source.span(28, 28), "-A INPUT -j RETURN\n")
        return [Fault(here, "m", "h", fix=Fix("more", (edit,)))] if count < 1000 else []

    rule = _rule(check)
    _with(monkeypatch, rule)
    assert not _run((rule,)).changed


def test_of_fixes_that_meet_the_first_wins() -> None:
    text = "\n".join(
        (*_TEXT.split("\n")[:2], "-A INPUT -p tcp -m state --state NEW -j NOTRACK", "COMMIT", "")
    )
    codes = [rule for rule in collected() if rule.code in ("NT801", "NT802")]
    one = _run(
        codes, text.replace("*filter", "*raw").replace(":INPUT", ":PREROUTING").replace("INPUT", "PREROUTING")
    )
    assert "-m conntrack --ctstate NEW -j CT --notrack" in one.text
    assert [finding.code for finding in one.applied] == ["NT801", "NT802"]


def test_edits_in_any_order_give_one_text() -> None:
    source = Source("x", "abcdef")
    edits = [Edit(source.span(4, 5), "E"), Edit(source.span(0, 1), ""), Edit(source.span(2, 2), "-")]
    assert edited(source.text, edits) == "b-cdEf"


def test_the_diff_shows_a_missing_line_end() -> None:
    one = Fixed(Source("a", "x\r\ny"), "x\r\nz")
    cut = "\\ No newline at end of file\n"
    assert unified(one) == f"--- a\n+++ a\n@@ -1,2 +1,2 @@\n x\r\n-y\n{cut}+z\n{cut}"
    assert unified(Fixed(Source("a", "x"), "x")) == ""


def test_carriage_returns_and_the_missing_last_line_end_stay() -> None:
    codes = [rule for rule in collected() if rule.code == "NT801"]
    text = "*raw\r\n:PREROUTING ACCEPT [0:0]\r\n-A PREROUTING -p udp -j NOTRACK\r\nCOMMIT"
    assert _run(codes, text).text == text.replace("NOTRACK", "CT --notrack")


def test_a_line_with_two_faults_is_mended_as_far_as_it_can_be() -> None:
    rules = [rule for rule in collected() if rule.code in ("NT803", "NT804")]
    text = "#!/bin/sh\niptable \u2013A INPUT -p tcp 192.0.2.7 --sport 80 -j ACCEPT\n"
    (one,) = fixed((Source("a.sh", text),), lambda sources: linted(sources, UNKNOWN_HOST), rules)
    assert one.text == "#!/bin/sh\niptables -A INPUT -p tcp 192.0.2.7 --sport 80 -j ACCEPT\n"


def test_one_place_that_needs_two_fixes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a chain that lacks a rule for each family: the second shows when the first is mended."""

    def check(subject: Subject) -> list[Fault]:
        source = subject.documents[0].source
        at = source.text.index("COMMIT")
        for line in ("-A INPUT -p udp -j DROP\n", "-A INPUT -p tcp -j DROP\n"):
            if line not in source.text:
                fix = Fix("add it", (Edit(source.span(at, at), line),))
                return [Fault(source.span(0, 7), "m", "h", fix=fix)]
        return []

    rule = _rule(check)
    _with(monkeypatch, rule)
    one = _run((rule,))
    assert one.text == _TEXT.replace("COMMIT", "-A INPUT -p udp -j DROP\n-A INPUT -p tcp -j DROP\nCOMMIT")
