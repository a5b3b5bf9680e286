"""Stretches of rules that differ in one thing alone, and how many rules would do.

Rules of a stretch that do the same may change places: none of them can hide another. So they need not follow
each other directly, as long as no rule that does something else stands between them. Rules that do different
things must, and their values must be apart: then one map does what they do.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise

from notrack.lint.entrances import is_nft
from notrack.lint.entries import Entry, entries
from notrack.packets.fields import Field
from notrack.packets.intervals import IntervalSet
from notrack.ruleset.core import Action, Among, Jump, Literal, Log, Notrack, Rule, Table, Verdict
from notrack.ruleset.evaluation import has_own
from notrack.text.record import dataclass

PORTS = (Field.DESTINATION_PORT, Field.SOURCE_PORT)
ADDRESSES = (Field.SOURCE, Field.DESTINATION)
INTERFACES = (Field.IN, Field.OUT)
MULTIPORT = 15  # ports that `-m multiport` takes; a range counts as two
_LEAST = {**dict.fromkeys(PORTS, 5), **dict.fromkeys(ADDRESSES, 12), **dict.fromkeys(INTERFACES, 8)}


class Form(enum.Enum):
    """What would hold the values."""

    MULTIPORT = "multiport"
    IPSET = "ipset"
    SET = "set"
    MAP = "verdict map"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rules of one chain that differ in one field, their values, and the form for them."""

    table: Table
    field: Field
    form: Form
    entries: tuple[Entry, ...]

    @property
    def values(self) -> IntervalSet:
        return IntervalSet.of(span for entry in self.entries for span in value(entry, self.field))


def stretches(table: Table) -> Iterator[Stretch]:
    """Every stretch that is long enough, the longest first within each chain; no rule is in two of them."""
    nft = is_nft(table)
    for chain in table.chains:
        found = [*_alike(table, entries(chain), nft), *(_mapped(table, entries(chain)) if nft else ())]
        found.sort(key=lambda one: -len(one.entries))
        taken: set[int] = set()
        for one in found:
            left = tuple(entry for entry in one.entries if entry.number not in taken)
            if len(left) == len(one.entries):
                taken |= {entry.number for entry in left}
                yield one


def value(entry: Entry, field: Field) -> IntervalSet:
    """The values that a rule asks for in a field."""
    found = [part.values for part in entry.rules[0].guard if isinstance(part, Among) and part.field is field]
    return found[0] if found else IntervalSet()


def slots(values: IntervalSet) -> int:
    """How much of a multiport match the values take."""
    return sum(1 if low == high else 2 for low, high in values)


def _alike(table: Table, every: tuple[Entry, ...], nft: bool) -> Iterator[Stretch]:
    """Rules that do the same."""
    for action, run in groupby(every, key=_same_action):
        if action is None:
            continue
        groups: dict[tuple[Field, frozenset[Literal]], list[Entry]] = {}
        for entry in run:
            for field, rest in _asked(entry.rules[0], nft):
                groups.setdefault((field, rest), []).append(entry)
        for (field, _), group in groups.items():
            form = Form.SET if nft else Form.MULTIPORT if field in PORTS else Form.IPSET
            made = Stretch(table, field, form, tuple(group))
            if len(group) >= _LEAST[field] and _saves(made):
                yield made


def _saves(made: Stretch) -> bool:
    """Whether the other form takes at most half as many rules."""
    if made.form is not Form.MULTIPORT:
        return True
    return 2 * -(-slots(made.values) // MULTIPORT) <= len(made.entries)


def _same_action(entry: Entry) -> Action | None:
    """What a rule does, if rules that do it may change places; None for others."""
    final = _final(entry)
    if final is None or isinstance(final, Jump):
        return None
    return final


def _final(entry: Entry) -> Action | None:
    """The only thing that a rule does, counters left aside."""
    if len(entry.rules) != 1 or has_own(entry.rules[0].guard):
        return None
    logs = (action.text for action in entry.rules[0].actions if isinstance(action, Log))
    if any(not text.startswith("counter") for text in logs) or len(entry.actions) != 1:
        return None
    final = entry.actions[0]
    refuses = final is Verdict.REJECT  # with one error or another: the core does not tell
    return final if isinstance(final, Verdict | Jump | Notrack) and not refuses else None


def _asked(rule: Rule, nft: bool) -> Iterator[tuple[Field, frozenset[Literal]]]:
    """Every field that a rule asks for once and not negated, with all else that it asks for."""
    for field in (*PORTS, *ADDRESSES, *(INTERFACES if nft else ())):
        mine = {part for part in rule.guard if isinstance(part, Among) and part.field is field}
        if len(mine) == 1 and not next(iter(mine)).negated:
            yield field, frozenset(rule.guard) - mine


def _mapped(table: Table, every: tuple[Entry, ...]) -> Iterator[Stretch]:
    """Rules right behind each other that do different things for different values."""
    run: list[Entry] = []
    shared: dict[Field, frozenset[Literal]] = {}
    for entry in (*every, None):
        asked = dict(_asked(entry.rules[0], True)) if entry is not None and _final(entry) else {}
        both = {field: rest for field, rest in asked.items() if shared.get(field) == rest}
        fits = entry is not None and all(_apart(entry, other, both) for other in run)
        if run and both and fits and entry is not None:
            run.append(entry)
            shared = both
            continue
        yield from _as_map(table, run, shared)
        run = [entry] if entry is not None and asked else []
        shared = asked


def _apart(entry: Entry, other: Entry, fields: Iterable[Field]) -> bool:
    return all(value(entry, field).isdisjoint(value(other, field)) for field in fields)


def _as_map(table: Table, run: list[Entry], fields: Iterable[Field]) -> Iterator[Stretch]:
    different = any(one.actions != other.actions for one, other in pairwise(run))
    for field in fields:
        if different and len(run) >= _LEAST[field] and field not in INTERFACES:
            yield Stretch(table, field, Form.MAP, tuple(run))
            return
