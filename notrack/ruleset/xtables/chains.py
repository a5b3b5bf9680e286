"""What only a whole text tells: rules of chains, and jumps to chains, that nothing makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from notrack.packets.address import Family
from notrack.ruleset.xtables.catalogue import VERDICTS, target_named
from notrack.ruleset.xtables.checks import Checks
from notrack.ruleset.xtables.tree import Chain, Command, Rule, Table
from notrack.text.diagnostic import Diagnostic, Severity

Builtin = Mapping[str, tuple[str, ...]]


def unknown_chains(
    tables: Sequence[Table], builtin: Builtin, family: Family | None, checks: Checks
) -> Iterator[Diagnostic]:
    """A warning for each chain and target that is not there, at the first rule that names it."""
    kinds: dict[tuple[str, Family | None], list[Table]] = {}
    for table in tables:
        kinds.setdefault((table.name, table.family), []).append(table)
    chains = {kind: _chains(builtin.get(kind[0], ()), same) for kind, same in kinds.items()}
    for table in tables:
        there = chains[table.name, table.family]
        known: set[str] = set(VERDICTS) | there
        for line in table.lines:
            if isinstance(line, Rule) and line.table in (None, table.name):
                if line.chain not in there:
                    near = checks.suggestion(line.chain, there)
                    there.add(line.chain)
                    message = f"no chain {line.chain!r} in this table"
                    yield Diagnostic(Severity.WARNING, message, line.span, near)
                if line.target is not None and line.target.name not in known:
                    yield from _unknown_target(line, line.family or table.family or family, known, checks)


def _unknown_target(
    rule: Rule, family: Family | None, known: set[str], checks: Checks
) -> Iterator[Diagnostic]:
    target = rule.target
    assert target is not None
    if target.goto or target_named(target.name, family) is None:
        message = f"no chain and no known target {target.name!r}"
        near = checks.suggestion(target.name, known)
        yield Diagnostic(Severity.WARNING, message, rule.span_of(target), near)
    else:
        known.add(target.name)


def _chains(builtin: tuple[str, ...], tables: list[Table]) -> set[str]:
    return set(builtin).union(*(_declared(table) for table in tables))


def _declared(table: Table) -> Iterator[str]:
    for line in table.lines:
        if isinstance(line, Chain):
            yield line.name
        elif isinstance(line, Command) and line.name in ("-N", "-E"):
            yield from line.arguments[-1:]
