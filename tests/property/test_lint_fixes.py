"""Fixes never fall over and never lose a line: mutations of every example of the linter's rules."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from notrack.lint.collection import collected
from notrack.lint.engine import lint
from notrack.lint.fixes import edited, fixed
from notrack.lint.mending import (
    ACCEPT,
    NOTRACK,
    UNTRACKED,
    Edits,
    Wording,
    Written,
    after,
    all_written,
    answered,
    before,
    deleted,
    rewritten,
)
from notrack.lint.subject import Subject
from notrack.ruleset import core
from notrack.ruleset.core import Hook
from notrack.ruleset.formats import Document, document
from notrack.ruleset.xtables import tree as xtables
from notrack.text.diagnostic import Severity
from notrack.text.source import Source
from tests.conftest import SOAK
from tests.lint.examples import case, linted

TEXTS = sorted(
    {
        (source.name, source.text)
        for rule in collected()
        for example in (*rule.bad, *rule.good, *rule.looks_wrong)
        for source in case(example).sources
        if not source.name.endswith(".spec")
    }
)
WORDS = (
    "\n", "\r\n", " ", "\t", '"', "'", "#", ";", "{", "}", "$", "`", "\\\n", "!", "[1:2] ", "-j", "-A INPUT ",
    "NOTRACK", "\u2013", "\u201c", "\u201d", "\u00a0", "-m state --state NEW ", "COMMIT\n", "*raw\n", "$IPT ",
    "EOF\n", "# x\n", "-t raw ", "notrack", "accept;", "iptables ", "-p tcp ", "\0", "\ufeff", "\ud7ff",
)  # fmt: skip
TEXTUAL = ("NT801", "NT802", "NT803", "NT804", "NT806", "NT807")


def mutated(text: str, rng: random.Random) -> str:
    for _ in range(rng.randint(0, 4)):
        at = rng.randint(0, len(text))
        match rng.randint(0, 3):
            case 0:
                text = text[:at] + rng.choice(WORDS) + text[at:]
            case 1:
                text = text[:at] + text[at + rng.randint(0, 20) :]
            case 2:
                text = text.replace("\n", "\r\n") if rng.random() < 0.3 else text
            case _:
                text = text.rstrip("\n") if rng.random() < 0.5 else text + rng.choice(WORDS)
    return text


def texts(seed: int, count: int) -> list[tuple[str, str]]:
    rng = random.Random(seed)
    return [(name, mutated(text, rng)) for name, text in rng.choices(TEXTS, k=count)]


def errors(found: Document) -> int:
    return sum(1 for one in found.diagnostics if one.severity is Severity.ERROR)


# Every operation of mending, on every rule.


def operations(documents: tuple[Document, ...], rule: Written) -> list[tuple[str, int, Edits | None]]:
    """What can be done to a rule: a name, by how many the rules get more, and the edits."""
    body = rule.body
    changed = [body.acting(ACCEPT), body.acting(NOTRACK), body.narrowed(UNTRACKED)]
    changed += [body.without(Wording("--ctstate", "ct state")), body.moved("filter", "INPUT")]
    new = body.instead(Wording("-p icmp -j ACCEPT", "meta l4proto icmp accept"))
    mirror = body.mirrored(Hook.OUTPUT)
    found = [("changed", 0, rewritten(rule, one)) for one in changed if one is not None]
    found.append(("deleted", -1, deleted(rule)))
    if new is not None:
        found += [("after", 1, after(rule, new)), ("before", 1, before(rule, new))]
    if mirror is not None:
        found.append(("answered", 1, answered(documents, rule, mirror, Hook.OUTPUT)))
    return found


def test_mending_does_what_it_says() -> None:
    done: Counter[str] = Counter()
    for name, text in texts(11, 4000 if SOAK else 400):
        found = document(Source(name, text))
        if isinstance(found.tree, xtables.Ruleset) and any(not one.header for one in found.tree.tables):
            continue  # rules in no table: the first one opens it, so that none may go
        rules = all_written(found)
        for rule in rules[:12]:
            for what, more, edits in operations((found,), rule):
                if edits is None:
                    continue
                made = document(Source(name, edited(text, edits)))
                if not errors(found) and made.format is found.format:  # what is faulty may be so twice
                    assert not errors(made), (what, text, made.source.text)
                    assert len(all_written(made)) == len(rules) + more, (what, text, made.source.text)
                lost = Counter(bare(text)) - Counter(bare(made.source.text))
                assert sum(lost.values()) <= 1 + rule.span.text.count("\n"), (what, text, made.source.text)
                done[what] += 1
    assert min(done[what] for what in ("changed", "deleted", "after", "before", "answered")) > 30


def bare(text: str) -> list[str]:
    return text.replace("\r", "").split("\n")


# Fixes of whole texts.


@pytest.fixture
def textual(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules about text alone: they are quick."""
    some = tuple(rule for rule in collected() if rule.code in TEXTUAL)
    for room in ("collection", "selection"):
        monkeypatch.setattr(f"notrack.lint.{room}.collected", lambda: some)


@pytest.mark.usefixtures("textual")
def test_fixes_of_mutated_texts() -> None:
    rules = [rule for rule in collected() if rule.code in TEXTUAL]
    mended = 0
    for name, text in texts(12, 3000 if SOAK else 250):
        source = Source(name, text)
        (one,) = fixed((source,), read, rules, unsafe=True)
        mended += one.changed
        assert one.changed == bool(one.applied)
        assert lines(text) == lines(one.text) - added(text, one.text), (text, one.text)
        assert text.count("#") == one.text.count("#"), (text, one.text)
        (again,) = fixed((Source(name, one.text),), read, rules, unsafe=True)
        assert not again.changed, (text, one.text, again.text)
        left = lint(read((Source(name, one.text),)), rules).findings
        assert len(left) <= len(lint(read((source,)), rules).findings) + unread(source)
    assert mended > 50


def lines(text: str) -> int:
    """Lines of a text; what goes on behind a backslash is one."""
    return text.replace("\\\r\n", "").replace("\\\n", "").count("\n")


def added(before: str, after: str) -> int:
    """The line end that a last line without one gets when something is put behind it."""
    return int(not before.endswith("\n") and after.count("\n") > before.count("\n"))


def unread(source: Source) -> int:
    """Lines that could not be read may hold what is found once they can."""
    return 10 * errors(document(source))


def read(sources: tuple[Source, ...] | list[Source]) -> Subject:  # type: ignore[misc]
    from notrack.netfilter.host import UNKNOWN_HOST

    return linted(sources, UNKNOWN_HOST)


def test_the_same_rules_hold_after_fixes_of_their_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """These fixes change no chain of the core; new names mean what the old ones did, and in the end the same
    policies and tables are there."""
    names = [rule for rule in collected() if rule.code in ("NT801", "NT802", "NT806", "NT807")]
    for room in ("collection", "selection"):
        monkeypatch.setattr(f"notrack.lint.{room}.collected", lambda: tuple(names))
    changed = 0
    rng = random.Random(13)
    signs = ("-j NOTRACK", "-m state", " -P ", "*raw")
    old = [(name, text) for name, text in TEXTS if any(sign in text for sign in signs)]
    for name, text in rng.choices(old, k=1000 if SOAK else 100):
        source = Source(name, mutated(text, rng))
        (one,) = fixed((source,), read, names)
        if one.changed:
            before, made = (read((one.source,)), read((Source(name, one.text),)))
            if "-m shell" in repr(before.ruleset):
                continue  # facts that quote the script
            assert placeless(before.ruleset) == placeless(made.ruleset)
            changed += 1
    assert changed > 30


def placeless(ruleset: core.Ruleset) -> object:
    """What a ruleset says, wherever it says it."""
    return {
        (table.name, table.families): [
            (chain.name, chain.base, [(rule.guard, rule.actions) for rule in chain.rules])
            for chain in table.chains
        ]
        for table in ruleset.tables
    }
