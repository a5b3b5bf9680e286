"""New rules in nft text, and old ones taken out."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.finding import Edit
from notrack.lint.mending.index import all_written
from notrack.lint.mending.lines import (
    indentation,
    is_alone,
    line_after,
    line_before,
    line_deleted,
    line_start,
    newline,
)
from notrack.lint.mending.written import Edits, NftRule, in_words
from notrack.ruleset import core
from notrack.ruleset.formats import Document
from notrack.ruleset.nft import tree as t
from notrack.ruleset.nft.catalogue import priority_number
from notrack.ruleset.shell.derived import Derived, located
from notrack.text.source import Span


def beside(rule: NftRule, text: str, behind: bool) -> Edits | None:
    """A rule behind or before another one of its chain, which must be one that was understood."""
    if rule.body.rule is None:
        return None
    if rule.place is not None:
        return _command_beside(rule, rule.place, text, behind)
    span = rule.span
    if is_alone(span, ";"):
        line = indentation(span.source, span.start) + text
        return (line_after(span, line) if behind else line_before(span, line),)
    at = span.end if behind else span.start
    return (Edit(span.source.span(at, at), f"; {text}" if behind else f"{text}; "),)


def _command_beside(rule: NftRule, place: t.Place, text: str, behind: bool) -> Edits | None:
    """A command beside a command: what `insert` puts in front is met in the other order."""
    if place.where is not None or place.span is None or place.verb not in ("add", "insert", "create"):
        return None
    head = place.span.source.text[place.span.start : rule.span.start]
    below = behind is not (place.verb == "insert")
    return _as_line(place.span, head + text, below)


def _as_line(span: Span, text: str, below: bool) -> Edits | None:
    if not is_alone(span, ";"):
        return None
    line = indentation(span.source, span.start) + text
    return (line_after(span, line) if below else line_before(span, line),)


def deleted(rule: NftRule) -> Edits | None:
    """A rule taken out, or the command that adds it, unless that is the command of a script."""
    first = rule.source.span(rule.span.start, rule.span.start + 1)
    if rule.body.rule is None:
        return None
    if isinstance(rule.source, Derived) and in_words(located(first)):
        return None
    span = rule.place.span if rule.place is not None and rule.place.span is not None else rule.span
    if is_alone(span, ";", comment=""):
        return (line_deleted(span),)
    source = span.source
    end = span.end
    while source.text[end : end + 1] in (" ", "\t", ";"):
        end += 1
    return (Edit(source.span(span.start, end), ""),)


def appended(documents: tuple[Document, ...], table: str, chain: core.Chain, text: str) -> Edits | None:
    """A rule at the end of a chain of the core."""
    place = chain.origin.span
    if place is None:
        return None
    for document in documents:
        for name, block in _blocks(document):
            if name == table and block.span == place:
                return _put(document, table, block, text)
    return None


def answered(documents: tuple[Document, ...], rule: NftRule, text: str, hook: core.Hook) -> Edits | None:
    """A rule in the base chain of a hook that has the priority of the rule's own chain."""
    chains = [block for document in documents for name, block in _blocks(document) if name == rule.table]
    own = next((one for one in chains if one.name == rule.chain and one.base is not None), None)
    if own is None or own.base is None:
        return None
    family = rule.table.split()[0]
    for other in chains:
        base = other.base
        if base is None or base.hook != hook.value or base.type != "filter":
            continue
        if _number(family, base) == _number(family, own.base):
            document = _document_of(documents, other)
            return None if document is None else _put(document, rule.table, other, text)
    return _new_chain(rule, own, own.base, {one.name for one in chains}, text, hook)


def _put(document: Document, table: str, block: t.Chain, text: str) -> Edits | None:
    if _is_block(document, block):
        return _at_end(block, text)
    return _by_command(document, table, block, text)


def _number(family: str, base: t.Base) -> object:
    if base.priority.variable is not None:
        return base.priority.variable
    return priority_number(family, base.priority.name, base.priority.offset)


def _at_end(block: t.Chain, text: str) -> Edits | None:
    """Before the brace that closes a chain."""
    span = block.span
    if span is None or not span.text.endswith("}"):
        return None
    source, brace = span.source, span.end - 1
    start = line_start(source, brace)
    if not source.text[start:brace].strip():
        last = next(
            (item for item in reversed(block.items) if item.span and item.span.source is source), None
        )
        inner = last or block.base
        own = source.text[start:brace]
        lead = indentation(source, inner.span.start) if inner and inner.span else f"{own}\t"
        return (line_before(source.span(brace, brace), lead + text),)
    filled = source.text[:brace].rstrip(" \t")
    separator = "" if filled.endswith(("{", ";")) else ";"
    return (Edit(source.span(len(filled), len(filled)), f"{separator} {text};"),)


def _by_command(document: Document, table: str, block: t.Chain, text: str) -> Edits | None:
    """Behind the last command that adds to a chain, else behind the one that makes it."""
    rules = [
        one
        for one in all_written(document)
        if isinstance(one, NftRule)
        and one.place is not None
        and (one.table, one.chain) == (table, block.name)
    ]
    added = [one for one in rules if one.place is not None and one.place.verb == "add"]
    if added:
        return beside(added[-1], text, behind=True)
    command = next((one for one in _declarations(document) if one.item is block), None)
    if rules or command is None or command.span is None:
        return None
    return _as_line(command.span, f"add rule {table} {block.name} {text}", True)


def _new_chain(
    rule: NftRule, own: t.Chain, base: t.Base, taken: set[str], text: str, hook: core.Hook
) -> Edits | None:
    """A base chain beside the rule's own, with nothing but the rule."""
    priority = base.priority.span
    names = (hook.value, f"{own.name}_{hook.value}", f"{hook.value}_answers")
    name = next((name for name in names if name not in taken), None)
    if name is None or own.span is None or priority is None:
        return None
    head = f"type filter hook {hook.value} priority {priority.text}; policy accept;"
    if rule.place is not None:
        made = (f"add chain {rule.table} {name} {{ {head} }}", f"add rule {rule.table} {name} {text}")
        return _as_line(rule.place.span or rule.span, newline(rule.source).join(made), True)
    if not own.span.text.endswith("}") or not is_alone(own.span):
        return None
    lead = indentation(own.span.source, own.span.start)
    inner = indentation(own.span.source, base.span.start) if base.span else ""
    unit = inner.removeprefix(lead) if inner.startswith(lead) and inner != lead else "\t"
    lines = (f"{lead}chain {name} {{", f"{lead}{unit}{head}", f"{lead}{unit}{text}", f"{lead}}}")
    return (line_after(own.span, newline(own.span.source).join(lines)),)


def _blocks(document: Document) -> Iterator[tuple[str, t.Chain]]:
    """Every chain of a document's native rules, with its table as the core names it."""
    for root in _roots(document):
        for item in t.flattened(root.commands):
            match item:
                case t.Table() | t.Declare(item=t.Table()):
                    table = item.item if isinstance(item, t.Declare) else item
                    assert isinstance(table, t.Table)
                    yield from ((f"{table.family} {table.name}", chain) for chain in table.chains)
                case t.Declare(item=t.Chain() as chain, family=family, table=name):
                    yield f"{family or 'ip'} {name}", chain


def _roots(document: Document) -> Iterator[t.Ruleset]:
    from notrack.ruleset.shell.actions import NftText, Script

    if isinstance(document.tree, t.Ruleset):
        yield document.tree
    elif isinstance(document.tree, Script):
        for action in document.tree.actions:
            if isinstance(action, NftText) and action.ruleset is not None:
                yield action.ruleset


def _declarations(document: Document) -> Iterator[t.Declare]:
    for root in _roots(document):
        yield from (item for item in t.flattened(root.commands) if isinstance(item, t.Declare))


def _is_block(document: Document, block: t.Chain) -> bool:
    return all(one.item is not block for one in _declarations(document))


def _document_of(documents: tuple[Document, ...], block: t.Chain) -> Document | None:
    return next((one for one in documents if any(found is block for _, found in _blocks(one))), None)
