"""Tables for the site language's parser, made from its grammar by lark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PUNCTUATION = {",": "COMMA", ";": "SEMICOLON", "=": "EQUAL"}


def tables(text: str) -> dict[str, Any]:
    """What the automaton and the lexer need of a grammar, as plain data. Takes a fifth of a second."""
    from lark import Lark
    from lark.lexer import PatternStr
    from lark.parsers.lalr_analysis import Shift

    parser = Lark(text, parser="lalr", lexer="basic", maybe_placeholders=True)
    keywords = dict(_PUNCTUATION)
    patterns = []
    for terminal in parser.terminals:
        if isinstance(terminal.pattern, PatternStr):
            keywords.setdefault(terminal.pattern.value, terminal.name)
        elif not terminal.name.startswith("__"):
            patterns.append(f"(?P<{terminal.name}>{terminal.pattern.to_regexp()})")
    table = parser.parser.parser._parse_table
    actions = [action for row in table.states.values() for action in row.values()]
    shapes = {rule: repr(_rule(rule)) for action, rule in actions if action is not Shift}
    rules = {shapes[rule]: _rule(rule) for rule in sorted(shapes, key=shapes.__getitem__)}
    place = {shape: at for at, shape in enumerate(rules)}
    order = _from(table.start_states["start"], table.states)
    states = [
        {
            str(name): order[arg] if action is Shift else -1 - place[shapes[arg]]
            for name, (action, arg) in sorted(table.states[state].items(), key=lambda item: str(item[0]))
        }
        for state in order
    ]
    return {
        "keywords": dict(sorted(keywords.items())),
        "pattern": "|".join(patterns),
        "states": states,
        "rules": list(rules.values()),
        "first": order[table.start_states["start"]],
        "last": order[table.end_states["start"]],
    }


def _from(first: int, states: Mapping[int, Mapping[Any, tuple[Any, Any]]]) -> dict[int, int]:
    """The states by number, in an order that is the same whenever the grammar is."""
    found = {first: 0}
    for state in (waiting := [first]):
        for _, (action, arg) in sorted(states[state].items(), key=lambda item: str(item[0])):
            if str(action) == "Shift" and arg not in found:
                found[arg] = len(found)
                waiting.append(arg)
    return found


def _rule(rule: Any) -> list[Any]:
    """A rule as the fields of `automaton.Rule`: which symbols its node keeps, and where None stands for what
    is not there (the same choice as lark's tree builder makes)."""
    options = rule.options
    nones = _nones(options.empty_indices, len(rule.expansion))
    kept: list[list[Any]] = []
    waiting = 0
    for at, symbol in enumerate(rule.expansion):
        waiting += nones[at]
        if options.keep_all_tokens or not (symbol.is_term and symbol.filter_out):
            kept.append([at, not symbol.is_term and str(symbol.name).startswith("_"), waiting])
            waiting = 0
    origin = str(rule.origin.name)
    name = str(rule.alias or options.template_source or origin)
    alone = bool(options.expand1) and not rule.alias
    return [
        origin, name, len(rule.expansion), kept, waiting + nones[-1], alone, origin.startswith("_"),
    ]  # fmt: skip


def _nones(empty: tuple[bool, ...], size: int) -> list[int]:
    """How many None stand before each symbol, and at the end."""
    if not empty:
        return [0] * (size + 1)
    return [len(run) for run in "".join(str(int(one)) for one in empty).split("0")]
