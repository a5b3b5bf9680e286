"""The rules with which nftables itself is tested, from its Debian source package, against the same laws.

The package is fetched when the test runs (see tests/sources.py). NOTRACK_NFTABLES_SOURCE may name an
unpacked source tree instead.
"""

from __future__ import annotations

import os
import re
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.reader import read
from notrack.ruleset.nft.writer import write_item
from tests.sources import orig_tarball

FAMILIES = ("ip", "ip6", "inet")
LEAST = 0.95


def fetched() -> Path:
    """The folder `tests/py`."""
    given = os.environ.get("NOTRACK_NFTABLES_SOURCE")
    if given:
        return Path(given) / "tests/py"
    archive = orig_tarball("nftables")
    unpacked = archive.parent / "unpacked"
    if not unpacked.is_dir():
        with tarfile.open(archive) as tar:
            members = [member for member in tar if "/tests/py/" in member.name]
            tar.extractall(unpacked, members, filter="data")
    return next(iter(unpacked.glob("*/tests/py")))


@dataclass
class Group:
    """What one file says about one table: things to set up, and rules with what they are listed as."""

    place: str
    setup: list[str] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)


def groups(path: Path) -> list[Group]:
    """The tables of a test list in our families, each with the accepted rules of the list."""
    found: list[Group] = []
    for line in path.read_text().splitlines():
        head, rest = line[:1], line[1:]
        if head == "*":
            family, table, _ = rest.split(";", 2)
            if family in FAMILIES:
                found.append(Group(f"{family} {table}", [f"add table {family} {table}"]))
            continue
        if not line or head in "#-:":
            continue
        text, verdict, *_ = [*split(line), "", ""]
        text = re.sub(r"\\([&<>|])", r"\1", text)  # older lists shield these from a shell
        if verdict != "ok":
            continue
        for group in found:
            if head in "!?%":
                group.setup.append(prepared(head, text[1:], group.place))
            else:
                group.rules.append(text)
    return found


def split(line: str) -> list[str]:
    """The parts between semicolons; one inside braces or quotes parts nothing."""
    return [part.strip() for part in re.findall(r'(?:\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}|"[^"]*"|[^;])+', line)]


def prepared(head: str, text: str, place: str) -> str:
    """The command for a line that sets something up: a set, its elements, or an object."""
    name, _, rest = text.partition(" ")
    if head == "?":
        return f"add element {place} {name} {{ {rest} }}"
    if head == "!":
        settings = re.sub(r"\s+(flags|timeout|size|comment|elements)\b", r"; \1", rest)
        kind = "map" if re.search(r"^type[^;]*:|^typeof[^;]*:", settings) else "set"
        return f"add {kind} {place} {name} {{ {settings}; }}"
    body = rest.removeprefix("type ")
    kind, _, settings = body.partition(" ")
    if kind == "ct":
        second, _, settings = settings.partition(" ")
        kind = f"ct {second}"
    return f"add {kind} {place} {name} {settings if settings.startswith('{') else '{ ' + settings + '; }'}"


def parsed(text: str) -> t.Rule | None:
    """The rule, or None when the text is none or has a fault."""
    tree, _ = read(f"table ip x {{\n\tchain y {{\n\t\t{text}\n\t}}\n}}\n")
    rules = tree.tables[0].chains[0].rules if tree.tables and tree.tables[0].chains else ()
    return rules[0] if len(rules) == 1 else None


def usable(lab, group: Group) -> str:
    """The setup commands that nft accepts, one after the other."""
    kept: list[str] = []
    for command in group.setup:
        if lab.load("\n".join([*kept, command, ""])).ok:
            kept.append(command)
    return "\n".join(kept)


@pytest.fixture(scope="session")
def source() -> Path:
    return fetched()


@dataclass
class Score:
    accepted: int = 0
    same: int = 0
    unknown: int = 0
    wrong: list[tuple[str, str | None, str | None]] = field(default_factory=list)

    def __str__(self) -> str:
        share = 100 / max(self.accepted, 1)
        return (
            f"{self.accepted} accepted lines: {self.same} listed the same ({self.same * share:.2f}%), "
            f"{self.unknown} kept as unknown ({self.unknown * share:.2f}%)"
        )


def judge(lab, group: Group, score: Score) -> None:
    setup = usable(lab, group)
    rules = dict(enumerate(group.rules))
    original = lab.listings(setup, group.place, rules)
    trees = {number: parsed(rules[number]) for number in original}
    understood = {
        number: tree
        for number, tree in trees.items()
        if tree and not any(isinstance(part, t.Unknown) for part in tree.statements)
    }
    written = {number: write_item(tree) for number, tree in understood.items()}
    again = lab.listings(setup, group.place, written)
    for number, text in original.items():
        score.accepted += 1
        if number not in understood:
            score.unknown += 1
            score.wrong.append((rules[number], None, None))
        elif text == again.get(number) and parsed(written[number]) == trees[number]:
            score.same += 1
        else:
            score.wrong.append((rules[number], text, again.get(number)))


def test_the_rules_of_nftables_own_tests_read_and_list_the_same(lab, source: Path, capsys) -> None:
    scores = {family: Score() for family in FAMILIES}
    merged: dict[str, Group] = {}
    for folder in ("any", "ip", "ip6", "inet"):
        for path in sorted((source / folder).glob("*.t")):
            for number, group in enumerate(groups(path)):
                merged[f"{folder}/{path.name} {number}"] = group
    for group in merged.values():
        judge(lab, group, scores[group.place.split()[0]])
    with capsys.disabled():
        for family, score in scores.items():
            print(f"\n{family}: {score}")
            for wrong in score.wrong[:20]:
                print("   ", *wrong)
    accepted = sum(score.accepted for score in scores.values())
    same = sum(score.same for score in scores.values())
    assert accepted > 2000
    assert same >= LEAST * accepted


def test_a_line_of_a_list_is_parted_at_its_own_semicolons_only() -> None:
    assert split('%h type ct helper { type "ftp" protocol tcp; };ok') == [
        '%h type ct helper { type "ftp" protocol tcp; }',
        "ok",
    ]
    assert split("ct mark 0;ok;ct mark 0x00000000") == ["ct mark 0", "ok", "ct mark 0x00000000"]
