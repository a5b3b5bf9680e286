"""Rules as people count them, and which of them do the same."""

from __future__ import annotations

import re
from collections.abc import Iterator

from notrack.netfilter.guards import fields_of, guard_set
from notrack.packets.address import Family
from notrack.packets.fields import Field
from notrack.packets.space import Space
from notrack.ruleset.core import (
    NOWHERE,
    Action,
    Chain,
    ConnectionSet,
    Fact,
    Guard,
    Jump,
    Log,
    Nat,
    Notrack,
    OneOf,
    Origin,
    Rule,
    SetField,
    SetMark,
    Table,
    Template,
    Unknown,
    Verdict,
)
from notrack.ruleset.evaluation import has_own
from notrack.text.record import dataclass
from notrack.text.source import Span

_REFUSAL = re.compile(r"--reject-with \S+|reject with [^;#]*?(?= comment |[;#]|$)")


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One rule of the text, which may be several of the core. `number` counts from 0 within the chain."""

    chain: Chain
    number: int
    origin: Origin
    rules: tuple[Rule, ...]

    @property
    def span(self) -> Span | None:
        return self.origin.span

    @property
    def actions(self) -> tuple[Action, ...]:
        """What it does, without counters and logs."""
        return tuple(action for rule in self.rules for action in rule.actions if not isinstance(action, Log))

    @property
    def final(self) -> Action | None:
        """The last thing that it does."""
        return self.actions[-1] if self.actions else None

    @property
    def is_unguarded(self) -> bool:
        return len(self.rules) == 1 and not self.rules[0].guard


def entries(chain: Chain) -> tuple[Entry, ...]:
    """The rules of a chain; those of the core with one origin that follow each other are one."""
    groups: list[list[Rule]] = []
    for rule in chain.rules:
        known = groups and rule.origin != NOWHERE and groups[-1][0].origin == rule.origin
        if known:
            groups[-1].append(rule)
        else:
            groups.append([rule])
    return tuple(Entry(chain, number, group[0].origin, tuple(group)) for number, group in enumerate(groups))


def changed_fields(table: Table) -> frozenset[Field]:
    """The fields that rules of a table may change under later rules of it."""
    found: set[Field] = set()
    for chain in table.chains:
        for rule in chain.rules:
            for action in rule.actions:
                if isinstance(action, SetMark | SetField):
                    found.add(action.field)
                elif isinstance(action, Notrack | Template):
                    found.add(Field.STATE)
                elif isinstance(action, Unknown):
                    found |= {Field.MARK, Field.CT_MARK}
    return frozenset(found)


def duplicates(table: Table) -> Iterator[tuple[Entry, Entry]]:
    """Pairs of rules of one chain (the first, a later one) of which the later can do nothing: it matches the
    same packets and does the same."""
    if all(len(chain.rules) < 2 for chain in table.chains):
        return
    spaces = [Space(family) for family in Family if family in table.families]
    changing = changed_fields(table)
    harmless = _Harmless(table)
    for chain in table.chains:
        known: dict[object, Entry] = {}
        for entry in entries(chain):
            if not entry.actions or not all(harmless.repeated(action) for action in entry.actions):
                continue
            if any(has_own(rule.guard) or fields_of(rule.guard) & changing for rule in entry.rules):
                continue
            first = known.setdefault(_likeness(spaces, entry), entry)
            if first is not entry:
                yield first, entry


def _likeness(spaces: list[Space], entry: Entry) -> object:
    """What two rules have in common that match the same packets and do the same."""
    refusal = _REFUSAL.search(entry.origin.text) if entry.final is Verdict.REJECT else None
    does = tuple(
        (tuple(guard_set(space, rule.guard) for space in spaces), _plain(rule.actions))
        for rule in entry.rules
    )
    return does, refusal and refusal[0]


def _plain(actions: tuple[Action, ...]) -> tuple[Action, ...]:
    return tuple(action for action in actions if not isinstance(action, Log))


class _Harmless:
    """Which actions change nothing when they are done again."""

    def __init__(self, table: Table) -> None:
        self.chains = {chain.name: chain for chain in table.chains}
        self._known: dict[str, bool] = {}

    def repeated(self, action: Action) -> bool:
        if isinstance(action, Jump):
            return action.goto or self._chain(action.chain)
        return isinstance(action, Verdict | Nat | Notrack | Template | ConnectionSet)

    def _chain(self, name: str) -> bool:
        """Whether a chain may be gone through twice: it keeps no count, sets no mark and writes no log."""
        if name not in self._known:
            self._known[name] = False  # of a chain that calls itself
            chain = self.chains.get(name)
            self._known[name] = chain is not None and all(map(self._rule, chain.rules))
        return self._known[name]

    def _rule(self, rule: Rule) -> bool:
        silent = all(self.repeated(action) for action in rule.actions)
        return silent and not has_own(rule.guard)


def without(guard: Guard, fields: frozenset[Field], names: frozenset[str]) -> Guard | None:
    """The guard without the literals that ask for some fields or facts; None where it has none of them."""
    kept = tuple(
        literal for literal in guard if not (fields_of((literal,)) & fields or facts_of((literal,)) & names)
    )
    return None if len(kept) == len(guard) else kept


def facts_of(guard: Guard) -> set[str]:
    """The names of all facts that a guard rests on."""
    found: set[str] = set()
    for literal in guard:
        if isinstance(literal, Fact):
            found.add(literal.name)
        elif isinstance(literal, OneOf):
            for inner in literal.guards:
                found |= facts_of(inner)
    return found
