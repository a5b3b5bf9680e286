"""What a script does to the firewall, in its order: the commands that run for certain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from notrack.lint.mending.shell_places import ShellPlace, enclosing, shell_places
from notrack.packets.address import Family
from notrack.ruleset.nft import tree as nft
from notrack.ruleset.shell.actions import Action, Guard, NftText, RestoreText, Script, XtablesCommand
from notrack.ruleset.shell.derived import located, spoken
from notrack.ruleset.xtables import tree as x
from notrack.text.record import dataclass
from notrack.text.source import Source, Span

Host = tuple[Family, str | None]  # tables of a family and, where the command names one, of a backend


@dataclass(frozen=True, slots=True)
class Untracking:
    """A rule that takes packets out of tracking; `rule` is that of iptables. `narrow`: an nft rule that asks
    for something."""

    span: Span
    rule: x.Rule | None
    narrow: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A rule that is put into a chain, or a command about a chain or a table."""

    span: Span
    family: Family
    backend: str | None
    table: str
    line: x.Rule | x.Command

    @property
    def adds(self) -> bool:
        return isinstance(self.line, x.Rule) and self.line.command in ("-A", "-I", "-R")

    @property
    def chain(self) -> str | None:
        """The chain that it is about; None: all of the table."""
        if isinstance(self.line, x.Rule):
            return self.line.chain
        return self.line.arguments[0] if self.line.arguments else None

    @property
    def target(self) -> str:
        target = self.line.target if isinstance(self.line, x.Rule) else None
        return target.name if target is not None else ""


def running(script: Script) -> Iterator[Action]:
    """The actions that run for certain, if no command of the firewall fails but those that are refused."""
    refused: set[int] = set()
    for action in script.actions:
        if isinstance(action, XtablesCommand) and isinstance(action.line, x.Broken):
            refused.add(action.number)
        if all(_holds(guard, refused) for guard in action.when):
            yield action


def _holds(guard: Guard, refused: set[int]) -> bool:
    condition = guard.condition
    if guard.negated:
        return condition.action in refused
    if condition.all_of:
        return all(_holds(part, refused) for part in condition.all_of)
    return condition.action is not None and condition.action not in refused


def steps(script: Script) -> Iterator[Step]:
    """The commands of iptables that run for certain, each with its place in the script."""
    for action in running(script):
        if isinstance(action, XtablesCommand):
            line = action.line
            if isinstance(line, x.Rule | x.Command):
                table = line.table or action.table
                yield Step(command_span(script, action), action.family, action.backend, table, line)


def command_span(script: Script, action: XtablesCommand) -> Span:
    """Where a command is given: where it stands, or in the call of the function that passes it on."""
    span = action.line.span if action.line is not None else None
    place = enclosing(script.source, spoken(span)) if span is not None else None
    return place.command.span if place is not None else located(action.span)


def place_of(source: Source, span: Span) -> ShellPlace | None:
    """The simple command that stands at a place."""
    return next((one for one in shell_places(source) if one.command.span == span), None)


def untracked(script: Script) -> Iterator[Untracking]:
    """The rules that take packets out of tracking, in whichever way the script puts them in."""
    for action in running(script):
        match action:
            case XtablesCommand(line=x.Rule(command="-A" | "-I" | "-R") as rule) if untracks(rule):
                yield Untracking(command_span(script, action), rule)
            case RestoreText(ruleset=x.Ruleset() as ruleset):
                for _, rule in ruleset.rules():
                    if untracks(rule) and rule.span is not None:
                        yield Untracking(located(rule.span), rule)
            case NftText(ruleset=nft.Ruleset() as root):
                for one in _rules(root.commands):
                    if any(isinstance(part, nft.Notrack) for part in one.statements) and one.span is not None:
                        narrow = any(isinstance(part, nft.Match) for part in one.statements)
                        yield Untracking(located(one.span), None, narrow)


def _rules(items: Iterable[nft.Node]) -> Iterator[nft.Rule]:
    for item in items:
        match item:
            case nft.Rule():
                yield item
            case nft.Place(rule=rule):
                yield rule
            case nft.Table(items=inner) | nft.Chain(items=inner):
                yield from _rules(inner)
            case nft.Declare(item=nft.Table(items=inner)) | nft.Declare(item=nft.Chain(items=inner)):
                yield from _rules(inner)


def untracks(line: x.Rule | x.Command) -> bool:
    """Whether it is a rule that takes packets out of tracking."""
    target = line.target if isinstance(line, x.Rule) else None
    return target is not None and (target.name == "NOTRACK" or target.option("--notrack") is not None)
