"""Conditions that the text alone decides: `[ "$X" = yes ]`, `[ -z "$Y" ]`."""

from __future__ import annotations

import re
from typing import Final

from notrack.ruleset.shell.derived import Field
from notrack.ruleset.shell.state import Status

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_COMPARED: Final = ("-eq", "-ne", "-gt", "-lt", "-ge", "-le")
_LAST_STATUS: Final = frozenset(("$?", "${?}"))


def bracket(fields: list[Field], last: Status, patterns: list[bool] | None = None) -> Status | None:
    """What `[ fields ]` says; None where only a running system knows. `last` is what `$?` stands for.

    `patterns` says of `[[ fields ]]` which of them are patterns.
    """
    if any(field.splits for field in fields) and not _asks_last(fields):
        return None
    if len(fields) > 64:
        return None
    return _expression(fields, last, patterns or [False] * len(fields))


def _asks_last(fields: list[Field]) -> bool:
    return bool(fields) and fields[0].known is False and _is_last(fields[0]) and len(fields) == 3


def _is_last(field: Field) -> bool:
    return len(field.pieces) == 1 and not field.pieces[0].known and field.pieces[0].text in _LAST_STATUS


def _expression(fields: list[Field], last: Status, patterns: list[bool]) -> Status | None:
    for sign, both in (("-o", False), ("||", False), ("-a", True), ("&&", True)):
        for at in range(len(fields) - 2, 0, -1):
            if fields[at].literal == sign and at not in (0, len(fields) - 1) and len(fields) > 3:
                left = _expression(fields[:at], last, patterns[:at])
                right = _expression(fields[at + 1 :], last, patterns[at + 1 :])
                return _both(left, right, both)
    if not fields:
        return False
    if fields[0].literal == "!" and len(fields) > 1:
        inner = _expression(fields[1:], last, patterns[1:])
        if inner is None or isinstance(inner, bool):
            return None if inner is None else not inner
        return inner.inverse
    if len(fields) == 1:
        return _nonempty(fields[0])
    if len(fields) == 2:
        return _unary(fields[0].literal, fields[1])
    if len(fields) == 3 and not patterns[2]:
        return _binary(fields[0], fields[1].literal, fields[2], last)
    return None


def _both(left: Status | None, right: Status | None, both: bool) -> Status | None:
    for one, other in ((left, right), (right, left)):
        if isinstance(one, bool):
            return other if one is both else one
    return None


def _nonempty(field: Field) -> bool | None:
    if any(piece.known and piece.text for piece in field.pieces):
        return True
    return None if not field.known else bool(field.text)


def _unary(operator: str | None, field: Field) -> bool | None:
    found = _nonempty(field)
    if operator == "-n":
        return found
    return None if operator != "-z" or found is None else not found


def _binary(left: Field, operator: str | None, right: Field, last: Status) -> Status | None:
    if _is_last(left):
        return _status_is(operator, right.literal, last)
    one, other = left.literal, right.literal
    if operator is None or one is None or other is None:
        return None
    if operator in ("=", "=="):
        return one == other
    if operator == "!=":
        return one != other
    if operator in _COMPARED and _NUMBER.fullmatch(one) and _NUMBER.fullmatch(other):
        low, high = int(one), int(other)
        return (low == high, low != high, low > high, low < high, low >= high, low <= high)[
            _COMPARED.index(operator)
        ]
    return None


def _status_is(operator: str | None, number: str | None, last: Status) -> Status | None:
    if number != "0":
        return None
    if operator in ("-eq", "=", "=="):
        return last
    if operator in ("-ne", "!=", "-gt"):
        return (not last) if isinstance(last, bool) else last.inverse
    return None
