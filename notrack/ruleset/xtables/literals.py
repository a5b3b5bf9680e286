"""Small literals of the core, made from what the values of options mean."""

from __future__ import annotations

from notrack.packets.address import Family
from notrack.packets.fields import Field, Fragment, State, bits_set, domain
from notrack.packets.intervals import IntervalSet
from notrack.ruleset import core
from notrack.ruleset.xtables.catalogue import match_named
from notrack.ruleset.xtables.tree import Match, Option
from notrack.ruleset.xtables.words import bare
from notrack.ruleset.xtables.writer import option_text

NEVER: core.Guard = (core.Never(),)
HEADED = core.Among(Field.FRAGMENT, IntervalSet(((Fragment.WHOLE, Fragment.FIRST),)))
LATER = core.Among(Field.FRAGMENT, IntervalSet.single(Fragment.LATER))
FRAGMENTED = core.Among(Field.FRAGMENT, IntervalSet(((Fragment.FIRST, Fragment.LATER),)))
TRACKED = core.Among(
    Field.STATE, IntervalSet.of((state, state) for state in (State.NEW, State.ESTABLISHED, State.RELATED))
)
"""The packet carries an entry (or, before connection tracking, a template)."""

# xtables matches that switch connection tracking on by being there, seen with `nf_conntrack_count`
TRACKING = frozenset(
    ("state", "conntrack", "connmark", "connlabel", "connbytes", "connlimit", "helper", "cluster")
)
REASSEMBLING = frozenset(("socket",))
# Matches that count, or draw lots, when they are asked: two equal ones may differ about one packet.
EVALUATED = frozenset(("limit", "hashlimit", "statistic", "quota", "recent", "connlimit", "nfacct"))
DECIDED_ONCE = frozenset(("shell",))  # what only a running script knows, which holds for all packets or none
_EVERYWHERE = frozenset(
    (Field.SOURCE, Field.DESTINATION, Field.IN, Field.OUT, Field.PROTOCOL, Field.LENGTH, Field.TTL, Field.TOS)
)


def among(field: Field, values: IntervalSet, negated: bool, family: Family) -> core.Guard:
    """The field has one of the values. A field that every packet has needs no literal for all its values."""
    if not values and not negated:
        return NEVER
    if field in _EVERYWHERE and domain(field, family).whole <= values:
        return NEVER if negated else ()
    return (core.Among(field, values, negated),)


def under_mask(field: Field, mask: int, value: int, negated: bool, family: Family) -> core.Guard:
    """The octet equals the value under the mask."""
    return among(field, bits_set(mask, value), negated, family)


def single(field: Field, value: int, negated: bool = False) -> core.Among:
    return core.Among(field, IntervalSet.single(value), negated)


def option_fact(match: Match, option: Option) -> core.Fact:
    """What one option asks for, as a free fact; its negation is the opposite of the same fact."""
    plain = Option(option.name, option.values)
    text = f"-m {bare(match.name)} {option_text(plain, match_named(match.name))}"
    return named_fact(match.name, text, option.negated)


def match_fact(match: Match) -> core.Fact:
    """A whole match as a free fact. Equal text means an equal fact."""
    if len(match.options) == 1:
        return option_fact(match, match.options[0])
    return named_fact(match.name, match_text(match), False)


def named_fact(match: str, text: str, negated: bool) -> core.Fact:
    own = match in EVALUATED or (match_named(match) is None and match not in DECIDED_ONCE)
    return core.Fact(text, negated, match in TRACKING, match in REASSEMBLING, own)


def match_text(match: Match) -> str:
    """A match with its options in the order of the alphabet, so that their order does not count."""
    extension = match_named(match.name)
    options = sorted(match.options, key=lambda option: option.name)
    return " ".join([f"-m {bare(match.name)}", *(option_text(option, extension) for option in options)])
