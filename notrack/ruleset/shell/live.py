"""The live tables of iptables, as its commands leave them one by one: what is there for certain, what may be.

A command answers as the real one does: True, done; False, refused; None where that is not known.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Hashable
from dataclasses import field
from itertools import product
from typing import Final

from notrack.packets.address import Family
from notrack.ruleset.shell.actions import Guard
from notrack.ruleset.shell.arguments import MARK
from notrack.ruleset.xtables.catalogue import VERDICTS, target_named
from notrack.ruleset.xtables.reader import BUILTIN
from notrack.ruleset.xtables.tree import Broken, Command, Option, Rule
from notrack.text.record import dataclass
from notrack.text.source import Span

When = tuple[Guard, ...]
Answer = bool | None
NAME_MAXIMUM: Final = 28  # characters of the name of a chain
# Targets that the kernel takes in some tables only.
_AT_HOME: Final = {
    **dict.fromkeys(("CT", "NOTRACK"), ("raw",)),
    **dict.fromkeys(("DNAT", "SNAT", "MASQUERADE", "REDIRECT", "NETMAP"), ("nat",)),
    "REJECT": ("filter",),
    **dict.fromkeys(("TPROXY", "TTL", "HL", "DSCP", "TOS", "ECN", "CHECKSUM"), ("mangle",)),
}
_NO_IN: Final = frozenset(("OUTPUT", "POSTROUTING"))
_NO_OUT: Final = frozenset(("INPUT", "PREROUTING"))
_OF_AN_EXTENSION: Final = re.compile(r"[A-Z][A-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Entry:
    """A rule that is there if all of `when` holds."""

    rule: Rule | Broken
    when: When = ()


@dataclass(slots=True)
class Chain:
    """`policy` None: a user-defined chain. `policies` were set since, each if its guards hold. `span`: what
    made the chain or set its policy."""

    policy: str | None = None
    rules: list[Entry] = field(default_factory=list)
    policies: list[tuple[str, When]] = field(default_factory=list)
    certain: bool = True
    span: Span | None = None


@dataclass(slots=True)
class Table:
    name: str
    chains: dict[str, Chain]

    def copy(self) -> Table:
        chains = {
            name: Chain(chain.policy, list(chain.rules), list(chain.policies), chain.certain, chain.span)
            for name, chain in self.chains.items()
        }
        return Table(self.name, chains)


class Tables:
    """All tables of one family. `like` maps two rules to equal values if `-D` takes one for the other, and
    `unless` turns guards round: it gives some that hold when not all of the others do."""

    def __init__(
        self, family: Family, like: Callable[[Rule], Hashable], unless: Callable[[When], When]
    ) -> None:
        self.family = family
        self.like = like
        self.unless = unless
        self.tables: dict[str, Table] = {}
        self.refusal = ""

    def table(self, name: str) -> Table | None:
        """The table; it comes into being when it is first asked for."""
        if name not in BUILTIN:
            return None
        if name not in self.tables:
            self.tables[name] = Table(name, {chain: Chain("ACCEPT") for chain in BUILTIN[name]})
        return self.tables[name]

    def run(self, name: str, line: Rule | Command, when: When) -> Answer:
        """One command. After False `refusal` says why."""
        table = self.table(line.table or name)
        if table is None:
            return self.refused(f"there is no table {name}")
        if line.family not in (None, self.family):
            return self.refused("this is for the other family")
        if isinstance(line, Rule):
            return self._rule(table, line, when)
        return self._command(table, line, when)

    def refused(self, why: str) -> bool:
        self.refusal = why
        return False

    # Rules.

    def _rule(self, table: Table, line: Rule, when: When) -> Answer:
        chain = table.chains.get(line.chain)
        if chain is None:
            return self.refused(f"there is no chain {line.chain} in {table.name}")
        if line.command in ("-D", "-C") and line.number is None:
            return self._matching(chain, line, when)
        if line.command == "-D":
            return self._at(chain, line, None, when)
        if (wrong := self._unfit(table, line)) is not None:
            return self.refused(wrong)
        spread = [
            dataclasses.replace(rule, command="-A", number=None, table=None, family=None)
            for rule in spread_of(line)
        ]
        if line.command == "-R":
            return self._at(chain, line, spread, when)
        at = len(chain.rules) if line.command == "-A" else (line.number or 1) - 1
        if not 0 <= at <= len(chain.rules):
            return self.refused(f"{line.chain} has no place {line.number}")
        for rule in spread:
            chain.rules.insert(at, Entry(rule, when))
            at += line.command == "-A"
        return True

    def _unfit(self, table: Table, line: Rule) -> str | None:
        """Why a rule cannot be in its chain."""
        if line.option("-i") is not None and line.chain in _NO_IN:
            return f"-i cannot be used in {line.chain}"
        if line.option("-o") is not None and line.chain in _NO_OUT:
            return f"-o cannot be used in {line.chain}"
        target = line.target
        if target is None or target.name.startswith("$"):
            return None
        chain = table.chains.get(target.name)
        if chain is not None and target.name not in VERDICTS:
            return None if chain.policy is None else f"{target.name} is a built-in chain, nothing jumps to it"
        if target.goto:
            return f"there is no chain {target.name}"
        if target.name in VERDICTS:
            inhibited = table.name == "nat" and target.name == "DROP"
            return "the nat table does not filter: DROP is refused" if inhibited else None
        if target_named(target.name, self.family) is None and not _OF_AN_EXTENSION.fullmatch(target.name):
            return f"there is no chain {target.name}"
        if table.name not in _AT_HOME.get(target.name, (table.name,)):
            return f"{target.name} works in the table {_AT_HOME[target.name][0]} only"
        return None

    def _at(self, chain: Chain, line: Rule, instead: list[Rule] | None, when: When) -> Answer:
        """-D and -R by number."""
        at = (line.number or 0) - 1
        if not 0 <= at < len(chain.rules):
            return self.refused(f"{line.chain} has no rule {line.number}")
        old = chain.rules[at]
        made = [Entry(rule, when) for rule in instead or ()]
        if when:
            made.append(Entry(old.rule, old.when + self.unless(when)))
        chain.rules[at : at + 1] = made
        return None if old.when else True

    def _matching(self, chain: Chain, line: Rule, when: When) -> Answer:
        """-D and -C of a rule by what it says."""
        answers = [self._first(chain, rule, when, delete=line.command == "-D") for rule in spread_of(line)]
        if False in answers:
            return self.refused(f"there is no such rule in {line.chain}")
        return None if None in answers else True

    def _first(self, chain: Chain, rule: Rule, when: When, delete: bool) -> Answer:
        wanted = self.like(rule)
        waiting: When = ()
        found: Answer = False
        for at, entry in enumerate(list(chain.rules)):
            if not isinstance(entry.rule, Rule) or self.like(entry.rule) != wanted:
                continue
            at = chain.rules.index(entry)
            if not delete:
                if not entry.when:
                    return True
                found = None
                continue
            gone = waiting + when
            if not waiting and not when:
                chain.rules.pop(at)
            else:  # it stays if the one before it was there, or if this command does not run
                chain.rules[at] = Entry(entry.rule, entry.when + (waiting or self.unless(gone)))
            if not entry.when:
                return True
            waiting, found = entry.when, None
        if found is False and (_veiled(rule) or any(_veiled(entry.rule) for entry in chain.rules)):
            return None
        return found

    # Chains.

    def _command(self, table: Table, line: Command, when: When) -> Answer:
        name = line.arguments[0] if line.arguments else None
        if name is not None and line.name not in ("-N",) and name not in table.chains:
            return self.refused(f"there is no chain {name} in {table.name}")
        match line.name:
            case "-N" if name is not None:
                return self._new(table, name, when, line.span)
            case "-P" if name is not None and len(line.arguments) > 1:
                return self.policy(table, name, line.arguments[1], when, line.span)
            case "-F":
                for chain in [table.chains[name]] if name is not None else table.chains.values():
                    self.flush(chain, when)
            case "-X":
                return self._delete(table, name, when)
            case "-E" if name is not None and len(line.arguments) > 1:
                return self._rename(table, name, line.arguments[1], when)
        return None if name is not None and not table.chains[name].certain else True

    def _new(self, table: Table, name: str, when: When, span: Span | None) -> Answer:
        if name in table.chains:
            if table.chains[name].certain:
                return self.refused(f"the chain {name} is there already")
            table.chains[name].certain = not when
            return None
        if name[:1] in ("-", "!") or len(name) > NAME_MAXIMUM or name in VERDICTS or " " in name:
            return self.refused(f"{name!r} cannot be the name of a chain")
        table.chains[name] = Chain(certain=not when, span=span)
        return True

    def policy(self, table: Table, name: str, policy: str, when: When, span: Span | None = None) -> Answer:
        """Sets the policy of a built-in chain."""
        chain = table.chains[name]
        if chain.policy is None:
            return self.refused(f"{name} is no built-in chain and has no policy")
        if policy not in ("ACCEPT", "DROP"):
            return self.refused(f"{policy!r} is no policy")
        if table.name == "nat" and policy == "DROP":
            return self.refused("the nat table does not filter: DROP is refused")
        if when:
            chain.policies.append((policy, when))
        else:
            chain.policy, chain.policies, chain.span = policy, [], span
        return True

    def flush(self, chain: Chain, when: When) -> None:
        """Takes all rules out of a chain."""
        if not when:
            chain.rules.clear()
            return
        kept: list[Entry] = []
        for entry in chain.rules:
            if not any(guard in entry.when for guard in when) or len(when) > 1:
                kept.append(Entry(entry.rule, entry.when + self.unless(when)))
        chain.rules = kept

    def _delete(self, table: Table, name: str | None, when: When) -> Answer:
        names = [name] if name is not None else list(table.chains)
        answer: Answer = True
        for one in names:
            chain = table.chains[one]
            if chain.policy is not None:
                if name is not None:
                    return self.refused(f"{one} is a built-in chain")
                continue
            if chain.rules or self._used(table, one):
                certain = any(not entry.when for entry in chain.rules) or self._used(table, one)
                answer = self.refused(f"{one} is not empty, or in use") if certain else None
            elif when:
                chain.certain = False
            else:
                del table.chains[one]
        return answer

    def _used(self, table: Table, name: str) -> bool:
        return any(
            isinstance(entry.rule, Rule) and entry.rule.target is not None and entry.rule.target.name == name
            for chain in table.chains.values()
            for entry in chain.rules
        )

    def _rename(self, table: Table, old: str, new: str, when: When) -> Answer:
        if table.chains[old].policy is not None or new in table.chains:
            return self.refused(f"{old} cannot be renamed to {new}")
        if when:
            return None
        table.chains = {new if name == old else name: chain for name, chain in table.chains.items()}
        for name, chain in table.chains.items():
            chain.rules = [_redirected(entry, name, old, new) for entry in chain.rules]
        return True


def spread_of(rule: Rule) -> list[Rule]:
    """The rules that iptables makes of one with lists of addresses: one for each pair."""
    if not any(option.name in ("-s", "-d") and "," in "".join(option.values) for option in rule.options):
        return [rule]
    return [dataclasses.replace(rule, options=options) for options in product(*map(_choices, rule.options))]


def _choices(option: Option) -> list[Option]:
    if option.name not in ("-s", "-d"):
        return [option]
    return [dataclasses.replace(option, values=(word,)) for word in option.values[0].split(",")]


def _veiled(rule: Rule | Broken) -> bool:
    return not isinstance(rule, Rule) or rule.match(MARK) is not None


def _redirected(entry: Entry, chain: str, old: str, new: str) -> Entry:
    """A rule of `chain` once the chain `old` is called `new`."""
    rule = entry.rule
    if not isinstance(rule, Rule):
        return entry
    target = rule.target
    if target is not None and target.name == old:
        target = dataclasses.replace(target, name=new)
    return Entry(dataclasses.replace(rule, chain=chain, target=target), entry.when)
