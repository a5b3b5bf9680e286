"""The rule of iptables that takes the answers to what another one takes."""

from __future__ import annotations

from notrack.lint.mending.arguments import Argument, Arguments
from notrack.lint.mending.mirror_words import (
    ANSWERS,
    ENDS,
    KEPT,
    SETS,
    STATES,
    SWAPPED,
    TYPES,
    mirrored_states,
)
from notrack.lint.mending.splice import Stretch
from notrack.ruleset.core import Hook
from notrack.ruleset.xtables import tree as x

_UNKNOWN_THERE = {
    "-i": (Hook.OUTPUT, Hook.POSTROUTING),
    "-o": (Hook.PREROUTING, Hook.INPUT),
}
_MATCHES = frozenset(
    ("tcp", "udp", "udplite", "sctp", "dccp", "icmp", "icmp6", "multiport", "addrtype", "iprange", "set")
) | frozenset(("comment", "state", "conntrack", "esp", "ah", "devgroup"))


def mirror_stretches(found: Arguments, hook: Hook) -> list[Stretch] | None:
    """What to replace in the text so that the rule stands for the answers; None where that is not certain.

    The chain is not among it.
    """
    rule = found.rule
    if rule.command not in ("-A", "-I") or not _ends(rule.target):
        return None
    if any(match.name not in _MATCHES for match in rule.matches):
        return None
    stretches: list[Stretch] = []
    for option in (*rule.options, *(option for match in rule.matches for option in match.options)):
        made = _option(found, option, hook)
        if made is None:
            return None
        stretches += made
    return stretches


def _ends(target: x.Target | None) -> bool:
    if target is None or target.goto:
        return False
    if target.name == "CT":
        return [option.name for option in target.options] == ["--notrack"]
    return target.name in ENDS


def _option(found: Arguments, option: x.Option, hook: Hook) -> list[Stretch] | None:
    if option.at is None:
        return None
    words = found.words[option.at[0] : option.at[1]]
    if option.name in SWAPPED:
        if hook in _UNKNOWN_THERE.get(SWAPPED[option.name], ()):
            return None
        return _swapped(words, option)
    if option.name in KEPT:
        return []
    if option.name in SETS:
        return _flipped(words[-1])
    if option.name in TYPES:
        return _replaced(words[-1], ANSWERS.get(option.values[0]))
    if option.name in STATES:
        return None if option.negated else _states(words[-1], option.values[0])
    return None


def _swapped(words: tuple[Argument, ...], option: x.Option) -> list[Stretch] | None:
    """Another option word before the same value, spelled as the old one was: short or long."""
    word = next((one for one in words if one.value != "!"), None)
    if word is None:
        return None
    name = word.value.partition("=")[0] if word.value.startswith("--") else word.value[:2]
    if not word.raw.startswith(name):
        return None
    return [(word.start, word.start + len(name), SWAPPED.get(name) or SWAPPED[option.name])]


def _flipped(word: Argument) -> list[Stretch] | None:
    """`src,dst` as `dst,src`."""
    flips = {"src": "dst", "dst": "src"}
    parts = word.value.split(",")
    if not word.plain or any(part not in flips for part in parts):
        return None
    return [(word.start, word.end, ",".join(flips[part] for part in parts))]


def _replaced(word: Argument, value: str | None) -> list[Stretch] | None:
    return [(word.start, word.end, value)] if word.plain and value is not None else None


def _states(word: Argument, value: str) -> list[Stretch] | None:
    if not word.plain:
        return None
    return _replaced(word, ",".join(mirrored_states(value.split(","))))
