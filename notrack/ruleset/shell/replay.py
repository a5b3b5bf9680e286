"""Runs the actions of a script one after the other on a machine without rules."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import field
from typing import Final

from notrack.packets.address import Family
from notrack.ruleset.nft import tree as nft
from notrack.ruleset.shell.actions import (
    Action,
    Condition,
    Guard,
    NftText,
    Other,
    RestoreText,
    Script,
    XtablesCommand,
)
from notrack.ruleset.shell.derived import located
from notrack.ruleset.shell.ipsets import IpSets
from notrack.ruleset.shell.live import Answer, Entry, Table, Tables, When
from notrack.ruleset.shell.nft_marks import conditional, outdated
from notrack.ruleset.xtables import tree as xtables
from notrack.ruleset.xtables.header_lowering import header_literals
from notrack.ruleset.xtables.match_lowering import match_literals
from notrack.ruleset.xtables.target_lowering import target_text
from notrack.ruleset.xtables.words import split
from notrack.text.diagnostic import Diagnostic, Severity
from notrack.text.record import dataclass
from notrack.text.source import Span

REPEATS: Final = 10_000
_FATAL: Final = "the script ends here under `set -e`"
Backend = tuple[Family, str | None]


@dataclass(slots=True)
class Machine:
    """What the script has done so far: the tables of each family and backend, the nft commands."""

    script: Script
    tables: dict[Backend, Tables] = field(default_factory=dict)
    nft: tuple[nft.Node, ...] = ()
    ipsets: IpSets = field(default_factory=IpSets)
    answers: dict[int, Answer] = field(default_factory=dict)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    closed: When = ()  # what must hold for the script to have come this far
    ended: bool = False
    _likeness: dict[Family, _Likeness] = field(default_factory=dict)
    _known: dict[int, When | None] = field(default_factory=dict)
    _made: int = 0

    def run(self) -> None:
        """All actions in their order."""
        for action in self.script.actions:
            if self.ended:
                return
            when = self._when(action.when)
            if when is not None:
                self._act(action, when)

    def _when(self, guards: When) -> When | None:
        """The guards that are still open; None if one does not hold."""
        open_ones = [self._open(guard) for guard in guards]
        if None in open_ones:
            return None
        flat = [guard for one in open_ones if one is not None for guard in one]
        return tuple(dict.fromkeys((*self.closed, *flat)))

    def _open(self, guard: Guard) -> When | None:
        """What of a guard is not decided: nothing if it holds, None if it does not."""
        if guard.condition.all_of:
            parts = self._parts(guard.condition)
            if parts is None or not parts:
                return () if (parts is None) is guard.negated else None
            if not guard.negated:
                return parts
            return (parts[0].inverse,) if len(parts) == 1 else (guard,)
        holds = self._holds(guard)
        return (guard,) if holds is None else () if holds else None

    def _parts(self, condition: Condition) -> When | None:
        """The open parts of a condition that is several at once. Remembered: such conditions form chains."""
        if condition.number not in self._known:
            found = [self._open(part) for part in condition.all_of]
            flat = tuple(dict.fromkeys(guard for one in found if one is not None for guard in one))
            self._known[condition.number] = None if None in found else flat
        return self._known[condition.number]

    def _holds(self, guard: Guard) -> Answer:
        action = guard.condition.action
        if action is not None and self.answers.get(action) is not None:
            return self.answers[action] is not guard.negated
        if guard in self.script.assumed:
            return False
        return True if guard.inverse in self.script.assumed else None

    def unless(self, when: When) -> When:
        """Guards that hold where not all of these do."""
        if len(when) == 1:
            return (when[0].inverse,)
        self._made += 1
        first = when[0].condition
        return (Guard(Condition(-self._made, f"all of it: {first.text}", first.span, None, when), True),)

    def _act(self, action: Action, when: When) -> None:
        answer: Answer = None
        match action:
            case XtablesCommand():
                answer = self._command(action, when)
            case RestoreText():
                answer = self._restore(action, when)
            case NftText():
                answer = self._nft(action, when)
            case Other(kind="ipset"):
                answer = self.ipsets.run(action, certain=not when)
        self.answers[action.number] = answer
        if action.fatal and answer is False:
            self._say(_FATAL, action.span)
            if not when:
                self.ended = True
            else:
                self.closed += self.unless(when)

    def _of(self, family: Family, backend: str | None) -> Tables:
        key = (family, backend)
        if key not in self.tables:
            likeness = self._likeness.setdefault(family, _Likeness(family))
            self.tables[key] = Tables(family, likeness.of, self.unless)
        return self.tables[key]

    # iptables.

    def _command(self, action: XtablesCommand, when: When) -> Answer:
        tables = self._of(action.family, action.backend)
        line = action.line
        if isinstance(line, xtables.Broken):
            return False
        if line is None:
            return True
        answer = tables.run(action.table, line, when)
        rounds = 0
        while action.repeated and answer and rounds < REPEATS:
            answer = tables.run(action.table, line, when)
            rounds += 1
        if answer is False and isinstance(line, xtables.Rule) and line.command in ("-A", "-I", "-R"):
            self._say(f"iptables refuses this: {tables.refusal}", line.span or action.span)
        return answer

    def _restore(self, action: RestoreText, when: When) -> Answer:
        if action.ruleset is None:
            return True
        if action.test:
            return None
        tables = self._of(action.family, action.backend)
        for section in action.ruleset.sections:
            if isinstance(section, xtables.Broken):
                return False
            if not isinstance(section, xtables.Table) or action.only not in (None, section.name):
                continue
            if not section.committed:
                continue
            if self._section(tables, section, action, when) is False:
                return False
        return True

    def _section(self, tables: Tables, section: xtables.Table, action: RestoreText, when: When) -> Answer:
        """One table of a restore text: all of it, or nothing."""
        table = tables.table(section.name)
        if table is None:
            return False
        before = table.copy()
        if not action.noflush:
            self._emptied(tables, table, when)
        for line in section.lines:
            if self._line(tables, table, line, action, when) is False:
                tables.tables[section.name] = before
                return False
        return True

    def _emptied(self, tables: Tables, table: Table, when: When) -> None:
        for chain in table.chains.values():
            tables.flush(chain, when)
        if not when:
            table.chains = {name: chain for name, chain in table.chains.items() if chain.policy is not None}

    def _line(
        self, tables: Tables, table: Table, line: xtables.Line, action: RestoreText, when: When
    ) -> Answer:
        match line:
            case xtables.Chain():
                return self._declared(tables, table, line, when)
            case xtables.Rule() | xtables.Command():
                if line.family not in (None, action.family):
                    return True
                answer = tables.run(table.name, line, when)
                if answer is False:
                    self._say(f"iptables-restore refuses this: {tables.refusal}", line.span or action.span)
                return answer
            case xtables.Broken():
                return self._broken(table, line, action, when)
        return True

    def _declared(self, tables: Tables, table: Table, line: xtables.Chain, when: When) -> Answer:
        chain = table.chains.get(line.name)
        if chain is None:
            return tables.run(table.name, xtables.Command("-N", (line.name,), span=line.span), when)
        if chain.policy is None:
            tables.flush(chain, when)
        elif line.policy is not None:
            return tables.policy(table, line.name, line.policy, when, line.span)
        return True

    def _broken(self, table: Table, line: xtables.Broken, action: RestoreText, when: When) -> Answer:
        """A line that the loader refuses; one that is not known stays, in the chain that it names."""
        text = action.text
        if text is None or line.span is None or not text.unknown_in(line.span):
            return False
        words = split(line.text).texts
        named = words[1] if len(words) > 1 else ""
        if words[:1] in (["-A"], ["-I"]) and named in table.chains:
            rules = table.chains[named].rules
            rules.insert(len(rules) if words[0] == "-A" else 0, Entry(line, when))
        return True

    # nft.

    def _nft(self, action: NftText, when: When) -> Answer:
        if action.faulty:
            return False
        if action.ruleset is None or action.check:
            return True
        commands = action.ruleset.commands
        if when:
            self.nft = outdated(self.nft, commands, self.unless(when))
            commands = conditional(commands, when)
        self._flushed(action, when)
        self.nft += commands
        return True

    def _flushed(self, action: NftText, when: When) -> None:
        """`flush ruleset` takes the tables of iptables along, if iptables is iptables-nft."""
        commands = action.ruleset.commands if action.ruleset else ()
        if not any(isinstance(command, nft.Remove) and command.kind == "ruleset" for command in commands):
            return
        for (_, backend), tables in self.tables.items():
            if backend == "legacy" or not any(
                chain.rules for table in tables.tables.values() for chain in table.chains.values()
            ):
                continue
            if backend == "nft" and not when:
                tables.tables.clear()
                continue
            self._say("this removes the rules above where iptables is iptables-nft", action.span)
            condition = Condition(-(10**6), "iptables is iptables-nft", action.span)
            for table in tables.tables.values():
                for chain in table.chains.values():
                    tables.flush(chain, (*when, Guard(condition)))

    def _say(self, message: str, span: Span) -> None:
        self.diagnostics.append(Diagnostic(Severity.WARNING, message, located(span)))


class _Likeness:
    """What two rules have in common if `-D` takes one for the other: what they mean."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self._known: dict[tuple[object, ...], Hashable] = {}

    def of(self, rule: xtables.Rule) -> Hashable:
        key = (rule.options, rule.matches, rule.target)
        if key not in self._known:
            guard = [header_literals(option, self.family) for option in rule.options]
            guard += [match_literals(match, self.family) for match in rule.matches]
            target = rule.target and target_text(rule.target)
            self._known[key] = (tuple(guard), target, rule.comment)
        return self._known[key]
