"""Finds the rules: every module of `notrack.lint.rules` whose name begins with a code."""

from __future__ import annotations

import pkgutil
import re
from functools import cache
from importlib import import_module

from notrack.lint import rules
from notrack.lint.rule import Rule

_MODULE = re.compile(r"nt\d{3}_(\w+)")


class BadRule(Exception):
    """A rule that may not be collected: a page or a case is missing, or its names disagree."""


@cache
def collected() -> tuple[Rule, ...]:
    """All rules in the order of their codes. Raises `BadRule`."""
    names = sorted(
        found.name for found in pkgutil.iter_modules(rules.__path__) if _MODULE.fullmatch(found.name)
    )
    return tuple(_rule(name) for name in names)


def _rule(module: str) -> Rule:
    rule = import_module(f"{rules.__name__}.{module}").RULE
    assert isinstance(rule, Rule)
    if (fault := _fault(rule, module)) is not None:
        raise BadRule(f"{module}: {fault}")
    return rule


def _fault(rule: Rule, module: str) -> str | None:
    if module != f"{rule.code}_{rule.name}".lower().replace("-", "_"):
        return f"the file of {rule.code} {rule.name} is named otherwise"
    pages = ("summary", "what", "why", "limits", "mending")
    empty = next((page for page in pages if not getattr(rule, page).strip()), None)
    if empty is not None:
        return f"its manual page has no {empty!r}"
    if not rule.bad or not rule.good:
        return "it has no bad or no good example"
    if not rule.looks_wrong:
        return "it has no example that looks wrong and is right"
    return None


def named(code: str) -> Rule | None:
    """The rule of a code or a name, in any case; None where there is none."""
    return next((rule for rule in collected() if code.lower() in (rule.code.lower(), rule.name)), None)
