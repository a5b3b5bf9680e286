"""nft commands that may run or not: their rules carry a condition that no packet decides."""

from __future__ import annotations

import dataclasses

from notrack.ruleset.nft import tree as t
from notrack.ruleset.shell.actions import Guard
from notrack.ruleset.shell.derived import located

When = tuple[Guard, ...]


def condition_text(guard: Guard) -> str:
    """A condition as one line that is the same only for the same condition."""
    place = located(guard.condition.span)
    return f"{guard.condition.text} (line {place.line}, {guard.condition.number})"


def conditional(commands: tuple[t.Node, ...], when: When) -> tuple[t.Node, ...]:
    """The commands, as they are where all of `when` holds: rules are marked, and nothing is taken away."""
    return tuple(
        _marked(command, when) for command in commands if not isinstance(command, t.Remove | t.Rename)
    )


def outdated(before: tuple[t.Node, ...], commands: tuple[t.Node, ...], unless: When) -> tuple[t.Node, ...]:
    """What is there, if commands that may run take something away."""
    takes = any(
        isinstance(command, t.Remove) and command.verb in ("delete", "destroy", "flush")
        for command in commands
    )
    return tuple(_marked(command, unless) for command in before) if takes else before


def _marked(node: t.Node, when: When) -> t.Node:
    match node:
        case t.Rule():
            return _rule(node, when)
        case t.Place():
            return dataclasses.replace(node, rule=_rule(node.rule, when))
        case t.Table() | t.Chain() | t.Include():
            return dataclasses.replace(node, items=tuple(_marked(item, when) for item in node.items))
        case t.Declare(item=t.Table() | t.Chain() as item):
            inner = dataclasses.replace(item, items=tuple(_marked(one, when) for one in item.items))
            return dataclasses.replace(node, item=inner)
    return node


def _rule(rule: t.Rule, when: When) -> t.Rule:
    marks = tuple(
        t.Match(
            t.UnknownExpression(f"shell: {condition_text(guard)}"),
            t.Value("true"),
            "!=" if guard.negated else "",
        )
        for guard in when
    )
    return dataclasses.replace(rule, statements=marks + rule.statements)
