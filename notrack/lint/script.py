"""What a script does to the tables of iptables, in its order: commands that run for certain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from notrack.lint.mending.shell_places import ShellPlace, enclosing, shell_places
from notrack.packets.address import Family
from notrack.ruleset.shell.actions import Script, XtablesCommand
from notrack.ruleset.shell.derived import located, spoken
from notrack.ruleset.xtables import tree as x
from notrack.text.source import Source, Span

Host = tuple[Family, str | None]  # tables of a family and, where the command names one, of a backend


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


def steps(script: Script) -> Iterator[Step]:
    """The commands of iptables that run for certain, each with its place in the script."""
    for action in script.actions:
        if isinstance(action, XtablesCommand) and action.certain:
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


def untracks(line: x.Rule | x.Command) -> bool:
    """Whether it is a rule that takes packets out of tracking."""
    target = line.target if isinstance(line, x.Rule) else None
    return target is not None and (target.name == "NOTRACK" or target.option("--notrack") is not None)
