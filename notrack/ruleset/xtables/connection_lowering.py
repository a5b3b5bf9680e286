"""Matches that ask the packet's connection: state, conntrack, connmark and their kind."""

from __future__ import annotations

from notrack.packets.address import Family
from notrack.packets.fields import Field, State
from notrack.packets.intervals import IntervalSet
from notrack.ruleset import core
from notrack.ruleset.xtables import values
from notrack.ruleset.xtables.literals import TRACKED, match_fact, match_text, named_fact, option_fact, single
from notrack.ruleset.xtables.tree import Match, Option

_TRANSLATED = {"SNAT": Field.CT_SNAT, "DNAT": Field.CT_DNAT}
_ENTRYLESS = core.Among(Field.STATE, IntervalSet.of(((State.INVALID,) * 2, (State.UNTRACKED,) * 2)))
# These hold for no packet without an entry; connlabel, helper and connlimit may.
_ASK_THE_ENTRY = frozenset(("connbytes", "cluster"))


def needs_entry(match: str) -> core.Guard:
    """The literal that every packet meets for which such a match can hold."""
    return (TRACKED,) if match in _ASK_THE_ENTRY else ()


def state(match: Match, family: Family) -> core.Guard:
    """`-m state --state ...`."""
    option = match.option("--state")
    if option is None:
        return (match_fact(match),)
    return _states(match, option)


def conntrack(match: Match, family: Family) -> core.Guard:
    """`-m conntrack`: for a packet without an entry only the state counts, if one is asked for; every other
    option then holds, and without a state nothing does (`conntrack_mt`)."""
    asked = match.option("--ctstate")
    others = tuple(
        literal for option in match.options if option is not asked for literal in _entry(match, option)
    )
    if asked is None:
        return (TRACKED, *others)
    literals = _states(match, asked)
    if not others:
        return literals
    return (*literals, core.OneOf(((_ENTRYLESS,), (TRACKED, *others))))


def _entry(match: Match, option: Option) -> core.Guard:
    """What an option asks an entry for."""
    if option.name == "--ctdir" and option.values:
        reply = option.values[0].upper() == "REPLY"
        return (single(Field.CT_DIRECTION, int(reply), option.negated),)
    return (option_fact(match, option),)


def _states(match: Match, option: Option) -> core.Guard:
    try:
        names = values.states(option.values[0])
    except (ValueError, IndexError):
        return (option_fact(match, option),)
    plain = IntervalSet.of((State[name],) * 2 for name in names if name not in _TRANSLATED)
    translated = [(TRACKED, single(field, 1)) for name, field in sorted(_TRANSLATED.items()) if name in names]
    if not translated:
        return (core.Among(Field.STATE, plain, option.negated),)
    guards = [(core.Among(Field.STATE, plain),)] if plain else []
    return (core.OneOf((*guards, *translated), option.negated),)


def connmark(match: Match, family: Family) -> core.Guard:
    """The mark of the entry; a packet without one never matches, negated or not."""
    guard: core.Guard = (TRACKED,)
    for option in match.options:
        try:
            value, mask = values.mark(option.values[0])
        except (ValueError, IndexError):
            guard += (option_fact(match, option),)
            continue
        guard += (core.Masked(Field.CT_MARK, mask, value, option.negated),)
    return guard


def connlimit(match: Match, family: Family) -> core.Guard:
    """`--connlimit-above N` is the opposite of `--connlimit-upto N` with the same other options."""
    signs = {"--connlimit-above": True, "--connlimit-upto": False}
    above = False
    options: list[Option] = []
    for option in match.options:
        if option.name in signs:
            above = signs[option.name] != option.negated
            option = Option("--connlimit-upto", option.values)
        options.append(option)
    return (named_fact(match.name, match_text(Match(match.name, tuple(options))), above),)
