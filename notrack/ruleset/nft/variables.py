"""Puts the values of `define` in the place of `$name`, and included text in the place of `include`."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import field, replace
from typing import Any, TypeVar

from notrack.ruleset.nft import tree as t
from notrack.text.diagnostic import Diagnostic, Severity
from notrack.text.record import dataclass

Scope = dict[str, t.Expression]
_Kind = TypeVar("_Kind", bound=t.Node)
_Block = TypeVar("_Block", t.Table, t.Chain)


def expanded(ruleset: t.Ruleset) -> tuple[t.Ruleset, tuple[Diagnostic, ...]]:
    """The ruleset without variables, defines and includes; a variable that nothing defines is an error and
    stays. A define holds from its place to the end of its block, inner blocks included, as in nft."""
    expansion = _Expansion()
    commands = expansion.items(ruleset.commands, {})
    return replace(ruleset, commands=commands), tuple(expansion.diagnostics)


@dataclass(slots=True)
class _Expansion:
    diagnostics: list[Diagnostic] = field(default_factory=list)

    def items(self, items: tuple[t.Node, ...], scope: Scope) -> tuple[t.Node, ...]:
        made: list[t.Node] = []
        for item in items:
            match item:
                case t.Define(name=name, value=value):
                    scope[name] = self.node(value, scope)
                case t.Undefine(name=name):
                    scope.pop(name, None)
                case t.Include(items=inner):
                    made.extend(self.items(inner, scope))
                case t.Table():
                    made.append(self.block(item, scope))
                case t.Chain():
                    made.append(self.block(item, scope))
                case _:
                    made.append(self.node(item, scope))
        return tuple(made)

    def block(self, item: _Block, scope: Scope) -> _Block:
        inner = self.items(item.items, dict(scope))
        made: _Block = replace(self.node(replace(item, items=()), scope), items=inner)
        return made

    def node(self, node: _Kind, scope: Scope) -> Any:
        match node:
            case t.Variable(name=name):
                return self.value(node, name, scope)
            case t.Priority(variable=str(name)):
                return self.priority(node, name, scope)
            case t.Declare(item=t.Table() as table):
                return replace(node, item=self.block(table, scope))
            case t.Declare(item=t.Chain() as chain):
                return replace(node, item=self.block(chain, scope))
        changes: dict[str, Any] = {}
        for part in dataclasses.fields(node):
            before = getattr(node, part.name)
            if isinstance(before, t.Node):
                after: Any = self.node(before, scope)
            elif isinstance(before, tuple) and before and isinstance(before[0], t.Node):
                after = tuple(self.node(inner, scope) for inner in before)
                after = spliced(after) if part.name == "elements" else after
            else:
                continue
            if after is not before:
                changes[part.name] = after
        return replace(node, **changes) if changes else node

    def value(self, node: t.Variable, name: str, scope: Scope) -> t.Expression:
        if name in scope:
            return scope[name]
        close = difflib.get_close_matches(name, scope, 1)
        help = f"did you mean `${close[0]}`?" if close else f"write `define {name} = ...` above it"
        self.diagnostics.append(Diagnostic(Severity.ERROR, f"nothing defines `${name}`", node.span, help))
        return node

    def priority(self, node: t.Priority, name: str, scope: Scope) -> t.Priority:
        found = self.value(t.Variable(name, span=node.span), name, scope)
        if not isinstance(found, t.Value):
            return node
        text = found.text.removeprefix("-")
        if text.isdecimal():
            return t.Priority(int(found.text), span=node.span)
        return t.Priority(0, found.text, span=node.span)


def spliced(elements: tuple[t.Element, ...]) -> tuple[t.Element, ...]:
    """The elements with those of inner sets in their place."""
    made: list[t.Element] = []
    for element in elements:
        if isinstance(element.key, t.SetLiteral) and element.data is None:
            made.extend(spliced(element.key.elements))
        else:
            made.append(element)
    return tuple(made)
