"""Every line of iptables' own extension test lists is read, written back and listed alike by the kernel."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from notrack.packets.address import Family
from notrack.ruleset.xtables.reader import read
from notrack.ruleset.xtables.tree import Rule
from notrack.ruleset.xtables.writer import rule_text, write, write_kept
from notrack.text.source import Source

Load = Callable[[str, str, str], tuple[str | None, str]]

_TOOLS = {Family.IPV4: "iptables", Family.IPV6: "ip6tables"}
_LISTS = {"libipt_": (Family.IPV4,), "libip6t_": (Family.IPV6,), "libxt_": (Family.IPV4, Family.IPV6)}


@dataclass(frozen=True)
class Case:
    """One accepted line: where it goes, what it says, what it becomes when it is read and written."""

    family: Family
    table: str
    chain: str
    line: str
    written: str | None
    exact: bool
    native: bool  # the list is meant for this family: libxt_ lists are run for IPv4 alone

    @property
    def original(self) -> str:
        return f"-A {self.chain} {self.line}".rstrip()


def cases(folder: Path) -> Iterator[Case]:
    for file in sorted(folder.glob("*.t")):
        families = next((found for prefix, found in _LISTS.items() if file.name.startswith(prefix)), ())
        if file.name == "iptables.t":
            families = (Family.IPV4, Family.IPV6)
        for table, chain, line in _accepted(file.read_text()):
            for family in families:
                yield _case(family, table, chain, line, families[0] is family)


def _accepted(text: str) -> Iterator[tuple[str, str, str]]:
    table, chain = "filter", "INPUT"
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":"):
            chain = line[1:].split(",")[0].strip()
        elif line and line[0] not in "#@%":
            fields = line.split(";")
            if len(fields) >= 3 and fields[2].strip() == "OK":
                yield table, chain, fields[0].strip()


def _case(family: Family, table: str, chain: str, line: str, native: bool) -> Case:
    text = f"*{table}\n-A {chain} {line}\nCOMMIT\n"
    ruleset, diagnostics = read(Source("list", text), family)
    assert write_kept(ruleset) == text
    lines = ruleset.tables[0].lines
    rule = lines[0] if isinstance(lines[0], Rule) else None
    return Case(family, table, chain, line, rule_text(rule) if rule else None, not diagnostics, native)


@pytest.fixture(scope="module")
def every(extension_lists: Path) -> tuple[Case, ...]:
    return tuple(cases(extension_lists))


def test_the_lists_are_there(every: tuple[Case, ...]) -> None:
    assert sum(case.native for case in every) > 500
    assert {case.family for case in every} == set(Family)


def test_what_was_written_is_read_as_an_equal_tree(every: tuple[Case, ...]) -> None:
    for case in every:
        if case.written is not None:
            text = f"*{case.table}\n{case.written}\nCOMMIT\n"
            first, _ = read(Source("original", text), case.family)
            again, _ = read(Source("written", write(first)), case.family)
            assert again == first
            assert write(again) == text


def test_ninety_nine_of_a_hundred_lines_are_read_exactly_and_list_alike(
    every: tuple[Case, ...], load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    """*Read* is: no part unknown, and written back it lists the same. A line that this kernel does not load
    at all is judged by the reader alone when its list is meant for the family, else it is not counted."""
    groups: dict[tuple[Family, str, str], list[Case]] = defaultdict(list)
    for case in every:
        groups[case.family, case.table, case.chain].append(case)
    loaded: set[Case] = set()
    different: dict[Case, str] = {}
    for (family, table, _), group in groups.items():
        for backend in ("legacy", "nft"):
            run = _Runner(load, _TOOLS[family], backend, table)
            for batch, before, after in run.compared(group):
                loaded.update(batch)
                if before != after:
                    different.update((case, f"{backend}: {before!r} became {after!r}") for case in batch)
    counted = [case for case in every if case.native or case in loaded]
    exact = [case for case in counted if case.exact and case not in different]
    unknown = [case for case in counted if not case.exact and case.written is not None]
    refused = [case for case in counted if case.written is None]
    with capsys.disabled():
        share = len(exact) / len(counted)
        print(
            f"\n{len(counted)} accepted lines, {len(loaded)} of them loaded: "
            f"{len(exact)} read exactly ({share:.2%}), {len(unknown)} kept as unknown "
            f"({len(unknown) / len(counted):.2%}), {len(refused)} refused, {len(different)} listed otherwise"
        )
    told = [f"{case.original!r} -> {case.written!r} {different.get(case, '')}" for case in counted]
    worst = [text for case, text in zip(counted, told, strict=True) if case not in set(exact)]
    assert len(loaded) > 700
    assert not refused, "\n".join(worst)
    assert not different, "\n".join(worst)
    assert share >= 0.99, "\n".join(worst)


@dataclass(frozen=True)
class _Runner:
    """Loads cases of one table in batches; halves a batch only if it does not load."""

    load: Load
    tool: str
    backend: str
    table: str

    def compared(self, group: Iterable[Case]) -> Iterator[tuple[list[Case], str, str]]:
        readable = [case for case in group if case.written is not None]
        for batch, before in self._loaded(readable):
            after = self._listing(case.written or "" for case in batch)
            if before == after or len(batch) == 1:
                yield batch, before, after or "nothing: it does not load"
                continue
            for case in batch:
                alone = self._listing([case.original]) or "", self._listing([case.written or ""]) or ""
                yield [case], *alone

    def _loaded(self, batch: list[Case]) -> Iterator[tuple[list[Case], str]]:
        listing = self._listing(case.original for case in batch) if batch else None
        if listing is not None:
            yield batch, listing
        elif len(batch) > 1:
            middle = len(batch) // 2
            yield from self._loaded(batch[:middle])
            yield from self._loaded(batch[middle:])

    def _listing(self, rules: Iterable[str]) -> str | None:
        text = "\n".join((f"*{self.table}", *rules, "COMMIT", ""))
        listing, _ = self.load(text, self.tool, self.backend)
        return re.sub(r"\[\d+:\d+\]", "[0:0]", listing) if listing is not None else None


@pytest.mark.parametrize("backend", ["legacy", "nft"])
@pytest.mark.parametrize("family", list(Family))
def test_a_saved_ruleset_is_written_byte_for_byte(
    every: tuple[Case, ...], load: Load, family: Family, backend: str
) -> None:
    """Printed anew, not copied: the order and the spelling are those of iptables-save."""
    for table in ("filter", "nat", "mangle", "raw"):
        wanted = [case for case in every if (case.family, case.table, case.native) == (family, table, True)]
        for _, saved in _Runner(load, _TOOLS[family], backend, table)._loaded(wanted):
            ruleset, diagnostics = read(Source("saved", saved), family)
            assert write(ruleset).splitlines() == saved.splitlines()
            assert write_kept(ruleset) == saved
            assert not [fault.message for fault in diagnostics]
