"""What is in force once iptables-restore has run a text: its commands one by one, as the loader does them.

What the loader would refuse is left out and told, and the rest goes on, so that a faulty text can be judged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from dataclasses import field
from itertools import product

from notrack.packets.address import Family
from notrack.ruleset.xtables.reader import BUILTIN
from notrack.ruleset.xtables.tree import Broken, Chain, Command, Line, Option, Rule, Ruleset, Table
from notrack.ruleset.xtables.words import split
from notrack.text.diagnostic import Diagnostic, Severity
from notrack.text.record import dataclass
from notrack.text.source import Span

Entry = Rule | Broken
Likeness = Callable[[Rule], Hashable]
_ADDRESSED = ("-s", "-d")


@dataclass(slots=True)
class LoadedChain:
    """A chain and its rules. `policy` is None for a user-defined one."""

    policy: str | None = None
    rules: list[Entry] = field(default_factory=list)
    span: Span | None = None


@dataclass(slots=True)
class LoadedTable:
    name: str
    chains: dict[str, LoadedChain]
    span: Span | None = None


class Loader:
    """Runs texts of one family, one after another. `like` maps rules to equal values if `-D` takes the one
    for the other."""

    def __init__(self, family: Family, like: Likeness) -> None:
        self.family = family
        self.like = like
        self.tables: dict[str, LoadedTable] = {}
        self.diagnostics: list[Diagnostic] = []

    def run(self, ruleset: Ruleset, *, noflush: bool) -> None:
        """Without `noflush` each section empties its table first, as iptables-restore does."""
        seen: set[str] = set()
        for section in ruleset.sections:
            if not isinstance(section, Table) or section.family not in (None, self.family):
                continue
            if section.committed:
                if not noflush and section.name in self.tables:
                    if section.name in seen:
                        self._say(
                            f"this section empties the table {section.name} that stands above",
                            section.header,
                            "only the last section of a table stays in force, unless --noflush is given",
                        )
                    del self.tables[section.name]
                seen.add(section.name)
                self._table(section.name, section.header)
                for line in section.lines:
                    self._line(section.name, line)

    def _table(self, name: str, span: Span | None = None) -> LoadedTable:
        if name not in self.tables:
            chains = {chain: LoadedChain("ACCEPT") for chain in BUILTIN.get(name, ())}
            self.tables[name] = LoadedTable(name, chains, span)
        return self.tables[name]

    def _chain(self, table: LoadedTable, name: str, span: Span | None) -> LoadedChain:
        """A chain that a line speaks of; one that nothing made is made (the reader told about it)."""
        return table.chains.setdefault(name, LoadedChain(span=span))

    def _line(self, section: str, line: Line) -> None:
        match line:
            case Chain():
                self._declared(self._table(section), line)
            case Rule():
                if line.family in (None, self.family):
                    self._rule(self._table(line.table or section), line)
            case Command():
                if line.family in (None, self.family):
                    self._command(self._table(line.table or section), line)
            case Broken():
                self._broken(self._table(section), line)

    def _declared(self, table: LoadedTable, line: Chain) -> None:
        chain = table.chains.get(line.name)
        if chain is None:
            table.chains[line.name] = LoadedChain(span=line.span)
        elif chain.policy is None:
            chain.rules.clear()
            chain.span = line.span
        else:
            chain.policy = line.policy or chain.policy
            chain.span = line.span

    def _broken(self, table: LoadedTable, line: Broken) -> None:
        """A line that nobody could read: if it says to which chain it belongs, it may do anything there."""
        words = split(line.text).texts
        at = next((i for i, word in enumerate(words) if word in ("-A", "-I", "--append", "--insert")), None)
        if at is None or at + 1 >= len(words) or words[at + 1] not in table.chains:
            return
        chain = table.chains[words[at + 1]]
        chain.rules.insert(len(chain.rules) if words[at] in ("-A", "--append") else 0, line)

    # Rules.

    def _rule(self, table: LoadedTable, line: Rule) -> None:
        chain = self._chain(table, line.chain, line.span)
        spread = _spread(line)
        match line.command:
            case "-A":
                chain.rules.extend(spread)
            case "-I":
                at = (line.number or 1) - 1
                if not 0 <= at <= len(chain.rules):
                    self._refused(f"{line.chain} has no place {line.number}", line.span)
                    at = len(chain.rules)
                for one in spread:  # each takes the place of the one before
                    chain.rules.insert(at, one)
            case "-R":
                if self._place(chain, line) is not None:
                    chain.rules[self._place(chain, line) or 0] = spread[0]
            case "-D" if line.number is not None:
                at_number = self._place(chain, line)
                if at_number is not None:
                    del chain.rules[at_number]
            case "-D":
                for one in spread:
                    self._delete(chain, one)

    def _place(self, chain: LoadedChain, line: Rule) -> int | None:
        at = (line.number or 0) - 1
        if 0 <= at < len(chain.rules):
            return at
        self._refused(f"{line.chain} has no rule {line.number or 0}", line.span)
        return None

    def _delete(self, chain: LoadedChain, line: Rule) -> None:
        wanted = self.like(line)
        for at, rule in enumerate(chain.rules):
            if isinstance(rule, Rule) and self.like(rule) == wanted:
                del chain.rules[at]
                return
        self._refused(f"{line.chain} has no such rule", line.span)

    # Chains.

    def _command(self, table: LoadedTable, line: Command) -> None:
        name = line.arguments[0] if line.arguments else None
        match line.name, name:
            case "-N", str():
                self._chain(table, name, line.span)
            case "-P", str() if len(line.arguments) > 1 and self._policed(table, line, name):
                table.chains[name].policy = line.arguments[1]
            case "-F", _:
                for chain in self._named(table, line, name):
                    table.chains[chain].rules.clear()
            case "-X", _:
                self._deleted(table, line, name)
            case "-E", str() if len(line.arguments) > 1 and self._named(table, line, name):
                self._renamed(table, name, line.arguments[1])

    def _policed(self, table: LoadedTable, line: Command, name: str) -> bool:
        if name in table.chains and table.chains[name].policy is not None:
            return True
        self._refused(f"{name} is no built-in chain of {table.name} and has no policy", line.span)
        return False

    def _named(self, table: LoadedTable, line: Command, name: str | None) -> tuple[str, ...]:
        if name is None:
            return tuple(table.chains)
        if name in table.chains:
            return (name,)
        self._refused(f"no chain {name} in this table", line.span)
        return ()

    def _deleted(self, table: LoadedTable, line: Command, name: str | None) -> None:
        for chain in self._named(table, line, name):
            loaded = table.chains[chain]
            if loaded.policy is not None:
                if name is not None:
                    self._refused(f"{name} is a built-in chain", line.span)
            elif loaded.rules:
                self._refused(f"{chain} is not empty", line.span)
            else:
                del table.chains[chain]

    def _renamed(self, table: LoadedTable, old: str, new: str) -> None:
        table.chains = {new if name == old else name: chain for name, chain in table.chains.items()}
        for chain in table.chains.values():
            for at, rule in enumerate(chain.rules):
                if isinstance(rule, Rule) and rule.target is not None and rule.target.name == old:
                    target = dataclasses.replace(rule.target, name=new)
                    chain.rules[at] = dataclasses.replace(rule, target=target)

    def _refused(self, message: str, span: Span | None) -> None:
        self._say(message, span, "iptables-restore refuses this line")

    def _say(self, message: str, span: Span | None, help: str) -> None:
        self.diagnostics.append(Diagnostic(Severity.WARNING, message, span, help))


def _spread(rule: Rule) -> tuple[Rule, ...]:
    """The rules that iptables makes of one with lists of addresses: one for each pair."""
    if not any(option.name in _ADDRESSED and "," in option.values[0] for option in rule.options):
        return (rule,)
    choices = [_choices(option) for option in rule.options]
    return tuple(dataclasses.replace(rule, options=options) for options in product(*choices))


def _choices(option: Option) -> tuple[Option, ...]:
    if option.name not in _ADDRESSED:
        return (option,)
    return tuple(dataclasses.replace(option, values=(word,)) for word in option.values[0].split(","))
