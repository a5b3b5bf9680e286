"""What is in force once the commands of a ruleset have run, in their order, on a host without rules."""

from __future__ import annotations

from dataclasses import field, replace

from notrack.ruleset.nft import tree as t
from notrack.text.record import dataclass

Key = tuple[str, str]


@dataclass(slots=True)
class TableState:
    """A table in the making: mutable, and gone once the tables are lowered."""

    family: str
    name: str
    chains: dict[str, t.Chain] = field(default_factory=dict)
    rules: dict[str, list[t.Rule]] = field(default_factory=dict)
    sets: dict[str, t.Set] = field(default_factory=dict)
    objects: list[t.Node] = field(default_factory=list)
    unknown: list[t.UnknownItem] = field(default_factory=list)
    table: t.Table | None = None


def in_force(ruleset: t.Ruleset) -> list[TableState]:
    """The tables after all commands, in the order in which they were made. Takes no variables."""
    tables: dict[Key, TableState] = {}
    for command in ruleset.commands:
        _run(tables, command)
    return list(tables.values())


def _run(tables: dict[Key, TableState], command: t.Node) -> None:
    match command:
        case t.Table():
            _fill(tables, command)
        case t.Declare(item=t.Table() as table):
            _fill(tables, table)
        case t.Declare(item=item, family=family, table=name):
            _add(_table(tables, family, name or ""), item)
        case t.Place():
            _place(_table(tables, command.family, command.table), command)
        case t.Elements():
            _elements(_table(tables, command.family, command.table), command)
        case t.Remove(verb="delete" | "destroy" | "flush"):
            _remove(tables, command)
        case t.Rename():
            _rename(_table(tables, command.family, command.table), command)


def _table(tables: dict[Key, TableState], family: str | None, name: str) -> TableState:
    key = (family or "ip", name)
    return tables.setdefault(key, TableState(*key))


def _fill(tables: dict[Key, TableState], table: t.Table) -> None:
    state = _table(tables, table.family, table.name)
    state.table = table
    for item in table.items:
        _add(state, item)


def _add(state: TableState, item: t.Node) -> None:
    match item:
        case t.Chain():
            before = state.chains.get(item.name)
            base = item.base or (before.base if before else None)
            policy = item.policy or (before.policy if before else None)
            state.chains[item.name] = replace(item, base=base, policy=policy)
            state.rules.setdefault(item.name, []).extend(rules_of(item))
        case t.Set():
            known = state.sets.get(item.name)
            elements = (known.elements if known else ()) + item.elements
            state.sets[item.name] = replace(item, elements=elements)
        case t.UnknownItem():
            state.unknown.append(item)
        case t.Object() | t.CtHelper() | t.Flowtable():
            state.objects.append(item)


def rules_of(chain: t.Chain) -> list[t.Rule]:
    """The rules of a chain; a line that was not understood may be one, and is one of an unknown statement."""
    rules: list[t.Rule] = []
    for item in t.flattened(chain.items):
        if isinstance(item, t.Rule):
            rules.append(item)
        elif isinstance(item, t.UnknownItem):
            rules.append(t.Rule((t.Unknown(item.text, span=item.span),), span=item.span))
    return rules


def _place(state: TableState, command: t.Place) -> None:
    rules = state.rules.setdefault(command.chain, [])
    position = len(rules)
    handles = [rule.handle for rule in rules]
    if command.where in ("handle", "position") and command.number in handles:
        position = handles.index(command.number) + (command.verb == "add")
        if command.verb == "replace":
            rules.pop(position)
    elif command.where == "index" and command.number is not None:
        position = command.number + (command.verb == "add")
    elif command.verb == "insert":
        position = 0
    rules.insert(position, command.rule)


def _elements(state: TableState, command: t.Elements) -> None:
    named = state.sets.get(command.set)
    if named is None or not isinstance(command.elements, t.SetLiteral):
        return
    given = command.elements.elements
    if command.verb in ("delete", "destroy"):
        gone = {element.key for element in given}
        kept = tuple(element for element in named.elements if element.key not in gone)
        state.sets[command.set] = replace(named, elements=kept)
    elif command.verb in ("add", "create"):
        state.sets[command.set] = replace(named, elements=named.elements + given)


def _remove(tables: dict[Key, TableState], command: t.Remove) -> None:
    if command.kind == "ruleset":
        for key in [key for key in tables if command.family in (None, key[0])]:
            del tables[key]
        return
    key = (command.family or "ip", command.table or "")
    state = tables.get(key)
    if state is None:
        return
    if command.kind == "table" and command.verb != "flush":
        del tables[key]
    elif command.kind == "table":
        for rules in state.rules.values():
            rules.clear()
    else:
        _remove_part(state, command)


def _remove_part(state: TableState, command: t.Remove) -> None:
    name = command.name or ""
    match command.kind, command.verb:
        case "chain", "flush":
            state.rules.get(name, []).clear()
        case "chain", _:
            state.chains.pop(name, None)
            state.rules.pop(name, None)
        case "rule", _:
            rules = state.rules.get(name, [])
            rules[:] = [rule for rule in rules if command.handle is None or rule.handle != command.handle]
        case (("set" | "map"), "flush"):
            if name in state.sets:
                state.sets[name] = replace(state.sets[name], elements=())
        case (("set" | "map"), _):
            state.sets.pop(name, None)
        case _:
            state.objects = [thing for thing in state.objects if getattr(thing, "name", None) != name]


def _rename(state: TableState, command: t.Rename) -> None:
    if command.old in state.chains:
        chain = replace(state.chains.pop(command.old), name=command.new)
        state.chains[command.new] = chain
        state.rules[command.new] = state.rules.pop(command.old, [])
