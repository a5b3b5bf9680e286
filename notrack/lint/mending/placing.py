"""Rules put into texts, changed there and taken out. Every function gives edits, or None where what is asked
cannot be done for certain."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.finding import Edit
from notrack.lint.mending.arguments import Flavour
from notrack.lint.mending.body import Body
from notrack.lint.mending.index import all_written
from notrack.lint.mending.lines import line_after, line_before, line_deleted
from notrack.lint.mending.splice import difference
from notrack.lint.mending.wording import Wording
from notrack.lint.mending.written import Edits, NftRule, RestoreRule, ShellCommand, Written, in_file
from notrack.lint.mending.xtables_body import XtablesBody
from notrack.ruleset import core
from notrack.ruleset.formats import Document
from notrack.ruleset.xtables import tree as xtables
from notrack.text.source import Span

_HOOKS = frozenset(hook.name for hook in core.Hook)


def rewritten(rule: Written, body: Body) -> Edits | None:
    """The rule changed where it stands into a body that was made of its own. Only what differs is edited."""
    change = difference(rule.body.text, body.text)
    if change is None:
        return ()
    start, end, text = change
    return in_file((Edit(rule.source.span(rule.span.start + start, rule.span.start + end), text),))


def after(rule: Written, body: Body) -> Edits | None:
    """A new rule right behind another one of the same chain, in the order in which packets meet them.

    The body's chain (iptables) must be the rule's; of a rule that is inserted (-I) too.
    """
    return _beside(rule, body.fresh(), behind=True)


def before(rule: Written, body: Body) -> Edits | None:
    """A new rule right before another one of the same chain, in the order in which packets meet them."""
    return _beside(rule, body.fresh(), behind=False)


def deleted(rule: Written) -> Edits | None:
    """The rule taken out; with its line, where it has one of its own. Comments stay."""
    match rule:
        case RestoreRule():
            return in_file((line_deleted(rule.span),))
        case NftRule():
            from notrack.lint.mending import nft_placing

            made = nft_placing.deleted(rule)
        case ShellCommand():
            from notrack.lint.mending import shell_placing

            made = shell_placing.deleted(rule)
        case _:
            return None
    return None if made is None else in_file(made)


def answered(documents: tuple[Document, ...], rule: Written, body: Body, hook: core.Hook) -> Edits | None:
    """A new rule in the built-in chain of another hook in the same table: the mirror beside its rule.

    iptables: on the next line. nft: at the end of the base chain of that hook and of the priority of the
    rule's own chain; a new chain is made where there is none.
    """
    match rule:
        case RestoreRule():
            return in_file((line_after(rule.span, _line(rule, body)),))
        case ShellCommand():
            from notrack.lint.mending import shell_placing

            made = shell_placing.next_to(rule, body.text, behind=True)
        case NftRule():
            from notrack.lint.mending import nft_placing

            made = nft_placing.answered(documents, rule, body.fresh().text, hook)
        case _:
            return None
    return None if made is None else in_file(made)


def appended(
    documents: tuple[Document, ...], table: core.Table, chain: core.Chain, body: Body | Wording
) -> Edits | None:
    """A new rule at the end of a chain of the core, in whichever document has that chain.

    A body must be made of a rule of the same kind of text; table and chain are set in it here. A wording is a
    whole rule, matches and target, without its chain.
    """
    if isinstance(body, Wording):
        kinds = _worded(documents, table, chain, body)
        placed = (appended(documents, table, chain, made) for made in kinds)
        return next((edits for edits in placed if edits is not None), None)
    if not isinstance(body, XtablesBody):
        from notrack.lint.mending import nft_placing

        made = nft_placing.appended(documents, table.name, chain, body.fresh().text)
        return None if made is None else in_file(made)
    moved = body.moved(table.name, chain.name)
    if moved is None:
        return None
    rules = [
        rule
        for document in documents
        for rule in all_written(document)
        if rule.table == table.name and (rule.family is None or {rule.family} == table.families)
    ]
    same = [rule for rule in rules if _fits(rule, moved)]
    last = next((rule for rule in reversed(same) if rule.chain == chain.name), None)
    if isinstance(last, ShellCommand) and not last.always:
        return None  # in a loop, or where it may not run
    if last is not None and not _inserted(last):
        return after(last, moved)
    sections = [rule for rule in same if isinstance(rule, RestoreRule) and rule.section.footer is not None]
    if sections and isinstance(sections[-1], RestoreRule) and sections[-1].section.footer is not None:
        rule = sections[-1]
        return in_file((line_before(rule.section.footer or rule.span, _line(rule, moved)),))
    return None if last is not None else _in_empty_section(documents, table, moved)


def _worded(
    documents: tuple[Document, ...], table: core.Table, chain: core.Chain, rule: Wording
) -> Iterator[Body]:
    """A rule from scratch in every kind of text that the table may stand in."""
    if " " in table.name:  # as nft tables are called
        if rule.nft is not None:
            from notrack.lint.mending.nft_body import NftBody

            yield NftBody(rule.nft)
        return
    family = next(iter(table.families))
    if rule.xtables is not None:
        yield XtablesBody(f"-A {chain.name} {rule.xtables}", Flavour.RESTORE, family)
    for document in documents:
        for one in reversed(all_written(document)):
            if isinstance(one, ShellCommand) and one.family is family and not one.inserts:
                made = one.body.instead(rule)
                if made is not None:
                    yield made
                    break


def added_line(section: xtables.Table, text: str) -> Edits | None:
    """A line at the end of a table of a restore text, before its COMMIT."""
    return None if section.footer is None else in_file((line_before(section.footer, text),))


def characters(span: Span, text: str) -> Edits | None:
    """Some characters of a text replaced."""
    return in_file((Edit(span, text),))


def _beside(rule: Written, body: Body, behind: bool) -> Edits | None:
    match rule:
        case RestoreRule():
            if not _same_chain(rule, body):
                return None
            line = _line(rule, body)
            below = behind is not rule.inserts  # what is inserted later stands in front
            edit = line_after(rule.span, line) if below else line_before(rule.span, line)
            return in_file((edit,))
        case ShellCommand():
            if not _same_chain(rule, body):
                return None
            from notrack.lint.mending import shell_placing

            made = shell_placing.next_to(rule, body.text, behind is not rule.inserts)
        case NftRule():
            from notrack.lint.mending import nft_placing

            made = nft_placing.beside(rule, body.text, behind)
        case _:
            return None
    return None if made is None else in_file(made)


def _same_chain(rule: Written, body: Body) -> bool:
    made = body.rule if isinstance(body, XtablesBody) else None
    mine = rule.body.rule if isinstance(rule.body, XtablesBody) else None
    if made is None or mine is None or made.chain != mine.chain:
        return False
    return made.command == mine.command and made.number is None and mine.number is None


def _line(rule: RestoreRule, body: Body) -> str:
    """The line of a new rule, with counters where its neighbour has some."""
    return f"[0:0] {body.text}" if rule.counted else body.text


def _fits(rule: Written, body: XtablesBody) -> bool:
    return isinstance(rule.body, XtablesBody) and rule.body.flavour is body.flavour


def _inserted(rule: Written) -> bool:
    return isinstance(rule, RestoreRule | ShellCommand) and rule.inserts


def _in_empty_section(documents: tuple[Document, ...], table: core.Table, body: XtablesBody) -> Edits | None:
    """Before the COMMIT of a table that holds no rule yet."""
    for document in documents:
        if isinstance(document.tree, xtables.Ruleset) and set(document.families) == set(table.families):
            section = document.tree.table(table.name)
            if section is not None:
                return added_line(section, body.text)
    return None
