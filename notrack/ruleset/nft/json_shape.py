"""Whether a node made from JSON holds what its class says: text where text belongs, numbers likewise."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from notrack.ruleset.nft import tree as t


def well_formed(node: object) -> bool:
    """Whether every field of the node, and of the nodes in it, holds a value of its declared kind."""
    if not isinstance(node, t.Node):
        return False
    cls: type = type(node)
    return all(_fits(getattr(node, name), kinds) for name, kinds in _kinds(cls))


@functools.cache
def _kinds(cls: Any) -> tuple[tuple[str, frozenset[str]], ...]:
    """The fields of a class, each with the kinds of its annotation: `str`, `int`, `tuple[str, ...]`."""
    found = []
    for field in dataclasses.fields(cls):
        if field.name != "span":
            found.append((field.name, frozenset(part.strip() for part in str(field.type).split("|"))))
    return tuple(found)


def _fits(value: object, kinds: frozenset[str]) -> bool:
    match value:
        case None:
            return "None" in kinds
        case bool():
            return "bool" in kinds
        case int():
            return "int" in kinds
        case str():
            return "str" in kinds
        case tuple():
            words = "tuple[str, ...]" in kinds
            return all(isinstance(part, str) if words else well_formed(part) for part in value)
    return well_formed(value) and bool(kinds - {"None", "str", "int", "bool"})
