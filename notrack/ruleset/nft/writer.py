"""A tree as text that nft 1.0.6 loads: one statement list a line, tabs, long element lists broken up."""

from __future__ import annotations

from collections.abc import Iterable

from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.expression_writer import WIDTH, element_text, expression_text, quoted
from notrack.ruleset.nft.statement_writer import rule_text, statement_text

NAMED = {t.Chain: "chain", t.Set: "set", t.Map: "map", t.Flowtable: "flowtable", t.CtHelper: "ct helper"}


def write(ruleset: t.Ruleset) -> str:
    """The whole ruleset as text, ending in a newline (empty for an empty ruleset)."""
    lines: list[str] = []
    for command in ruleset.commands:
        if isinstance(command, t.Table) and lines and lines[-1] == "}":
            lines.append("")
        lines.extend(_item(command, 0))
    return "".join(f"{line}\n" for line in lines)


def write_item(item: t.Node, depth: int = 0) -> str:
    """One command, table, chain, set or rule as text, without a newline at its end; depth in tabs."""
    return "\n".join(_item(item, depth))


def _item(item: t.Node, depth: int) -> list[str]:
    tab = "\t" * depth
    match item:
        case t.Rule():
            return [tab + rule_text(item, depth)]
        case t.Remark(text=text):
            return [f"{tab}# {text}".rstrip()]
        case t.UnknownItem(text=text):
            return [tab + text]
        case t.Table():
            return _table(item, depth)
        case t.Chain() | t.Set() | t.Object() | t.CtHelper() | t.Flowtable():
            return _block(_heading(item, item.name), _body(item, depth + 1), depth)
        case _:
            return [tab + _command(item, depth)]


def _block(head: str, body: list[str], depth: int) -> list[str]:
    tab = "\t" * depth
    return [f"{tab}{head} {{", *body, f"{tab}}}"]


def _table(table: t.Table, depth: int) -> list[str]:
    head = f"table {table.family} {table.name}"
    if table.brief and not table.items:
        return ["\t" * depth + head]
    tab = "\t" * (depth + 1)
    body = [f'{tab}comment "{quoted(table.comment)}"'] if table.comment is not None else []
    if table.flags:
        body.append(f"{tab}flags {','.join(table.flags)}")
    for number, item in enumerate(table.items):
        if number and isinstance(item, t.Chain | t.Set | t.Object | t.CtHelper | t.Flowtable):
            if not isinstance(table.items[number - 1], t.Remark):
                body.append("")
        elif number and isinstance(item, t.Remark) and not isinstance(table.items[number - 1], t.Remark):
            body.append("")
        body.extend(_item(item, depth + 1))
    return _block(head, body, depth)


def _heading(item: t.Node, name: str) -> str:
    kind = item.kind if isinstance(item, t.Object) else NAMED[type(item)]
    return f"{kind} {name}"


def _body(item: t.Node, depth: int) -> list[str]:
    tab = "\t" * depth
    match item:
        case t.Chain():
            return _chain(item, depth)
        case t.Set():
            return _set(item, depth)
        case t.Object(settings=settings, comment=comment):
            return [tab + line for line in settings] + _comment(comment, tab)
        case t.CtHelper():
            lines = [f'{tab}type "{item.type}" protocol {item.protocol}']
            lines += [f"{tab}l3proto {item.l3proto}"] if item.l3proto else []
            return [line + ";" for line in lines] + _comment(item.comment, tab)
        case t.Flowtable():
            return _flowtable(item, tab)
    raise TypeError(type(item))


def _comment(comment: str | None, tab: str) -> list[str]:
    return [] if comment is None else [f'{tab}comment "{quoted(comment)}"']


def _chain(chain: t.Chain, depth: int) -> list[str]:
    tab = "\t" * depth
    lines = _comment(chain.comment, tab)
    head = ""
    if chain.base:
        devices = f" {devices_text(chain.base.devices)}" if chain.base.devices else ""
        priority = priority_text(chain.base.priority)
        head = f"type {chain.base.type} hook {chain.base.hook}{devices} priority {priority};"
    if chain.policy is not None:
        head = f"{head} policy {expression_text(chain.policy)};".lstrip()
    lines += [tab + head] if head else []
    lines += [f"{tab}flags {','.join(chain.flags)};"] if chain.flags else []
    for item in chain.items:
        lines.extend(_item(item, depth))
    return lines


def priority_text(priority: t.Priority) -> str:
    """`-300`, `raw`, `raw - 5`, `$prio`."""
    if priority.variable is not None:
        return f"${priority.variable}"
    if priority.name is None:
        return str(priority.offset)
    if not priority.offset:
        return priority.name
    return f"{priority.name} {'-' if priority.offset < 0 else '+'} {abs(priority.offset)}"


def devices_text(devices: t.Expression) -> str:
    """`device "eth0"` for one device, `devices = { ... }` for a list or a variable."""
    if isinstance(devices, t.Value):
        return f'device "{devices.text}"'
    return f"devices = {expression_text(devices)}"


def _flowtable(table: t.Flowtable, tab: str) -> list[str]:
    lines = []
    if table.priority is not None:
        lines.append(f"{tab}hook {table.hook} priority {priority_text(table.priority)};")
    if table.devices is not None:
        lines.append(f"{tab}devices = {expression_text(table.devices)};")
    lines += [f"{tab}flags {','.join(table.flags)};"] if table.flags else []
    return lines + ([f"{tab}counter"] if table.counter else [])


def _type(node: t.Type | t.Typeof) -> str:
    text = " . ".join(node.names) if isinstance(node, t.Type) else expression_text(node.expression)
    return f"interval {text}" if node.interval else text


def _key(table: t.Set) -> str | None:
    if table.key is None:
        return None
    word = "type" if isinstance(table.key, t.Type) else "typeof"
    text = f"{word} {_type(table.key)}"
    if isinstance(table, t.Map) and (table.data or table.objects):
        text += f" : {_type(table.data) if table.data else table.objects}"
    return text


def _set(table: t.Set, depth: int) -> list[str]:
    tab = "\t" * depth
    settings = [
        _key(table),
        f"policy {table.policy}" if table.policy else None,
        f"size {table.size}" if table.size is not None else None,
        f"flags {','.join(table.flags)}" if table.flags else None,
        " ".join(statement_text(statement) for statement in table.statements) or None,
        f"timeout {table.timeout}" if table.timeout else None,
        f"gc-interval {table.gc_interval}" if table.gc_interval else None,
        "auto-merge" if table.auto_merge else None,
    ]
    lines = [tab + line for line in settings if line] + _comment(table.comment, tab)
    for node in table.extra:
        lines.extend(_item(node, depth))
    return lines + (elements_lines(table.elements, depth) if table.elements else [])


def elements_lines(elements: Iterable[t.Element], depth: int) -> list[str]:
    """`elements = { ... }`: on one line where it fits, otherwise one element a line."""
    tab = "\t" * depth
    texts = [element_text(element) for element in elements]
    line = f"{tab}elements = {{ {', '.join(texts)} }}"
    if len(line.expandtabs(8)) <= WIDTH:
        return [line]
    inner = [f"{tab}\t{text}," for text in texts]
    inner[-1] = inner[-1].removesuffix(",")
    return [f"{tab}elements = {{", *inner, f"{tab}}}"]


def _command(item: t.Node, depth: int) -> str:
    match item:
        case t.Define(name=name, value=value, verb=verb):
            return f"{verb} {name} = {expression_text(value, depth)}"
        case t.Undefine(name=name):
            return f"undefine {name}"
        case t.Include(pattern=pattern):
            return f'include "{pattern}"'
        case t.Declare():
            return _declare(item)
        case t.Place():
            where = f" {item.where} {item.number}" if item.where else ""
            place = f"{_where(item.family, item.table)} {item.chain}"
            return f"{item.verb} rule{place}{where} {rule_text(item.rule, depth)}"
        case t.Elements():
            place = f"{_where(item.family, item.table)} {item.set}"
            return f"{item.verb} element{place} {expression_text(item.elements, depth)}"
        case t.Remove():
            words = [item.verb, item.kind, item.family, item.table, item.name]
            words += ["handle", str(item.handle)] if item.handle is not None else []
            return " ".join(word for word in words if word)
        case t.Rename():
            return f"rename chain{_where(item.family, item.table)} {item.old} {item.new}"
    raise TypeError(type(item))


def _where(family: str | None, table: str | None) -> str:
    return "".join(f" {word}" for word in (family, table) if word)


def _declare(command: t.Declare) -> str:
    item = command.item
    if isinstance(item, t.Table):
        return f"{command.verb} " + "\n".join(_table(item, 0))
    name = f"{_where(command.family, command.table)} {item.name}".lstrip()
    head = f"{command.verb} {_heading(item, name)}"
    body = _body(item, 1)
    return "\n".join(_block(head, body, 0)) if body else head
