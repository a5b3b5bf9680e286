"""`-m set --match-set NAME src,dst` with the contents of the set: exact, where its entries are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field as default
from typing import Final

from notrack.packets.address import Family
from notrack.packets.fields import ICMP_PROTOCOL, NO_INTERFACE, NO_MAC, Field
from notrack.packets.intervals import IntervalSet
from notrack.ruleset import core
from notrack.ruleset.ipset.entries import PORTED, PORTED_BITMAP, Entry, Reading, Unsayable, decided
from notrack.ruleset.ipset.tree import Set
from notrack.ruleset.xtables.literals import HEADED, LATER, NEVER, option_fact
from notrack.ruleset.xtables.tree import Match, Option, Rule, Ruleset
from notrack.text.diagnostic import Diagnostic, Severity
from notrack.text.record import dataclass
from notrack.text.source import Span

ALTERNATIVES_MAXIMUM: Final = 2000  # conjunctions of one match; a set that needs more is a fact
_COUNTED: Final = ("--packets-", "--bytes-", "--return-nomatch")
_TRANSPORT: Final = (Field.SOURCE_PORT, Field.DESTINATION_PORT)
_INTERFACES: Final = (Field.IN, Field.OUT, Field.BRIDGE_IN, Field.BRIDGE_OUT)
_BYTES: Final = IntervalSet(((0, 255),))


@dataclass(frozen=True, slots=True)
class Sets:
    """The sets of a host. `growing` and `shrinking`: those that rules put entries into, or take out of."""

    sets: Mapping[str, Set] = default(default_factory=dict)
    growing: frozenset[str] = frozenset()
    shrinking: frozenset[str] = frozenset()


def changed_by(rulesets: Iterable[Ruleset], sets: Mapping[str, Set]) -> Sets:
    """The sets, and which of them the SET target of some rule changes."""
    if not sets:
        return Sets()
    named: dict[str, set[str]] = {"--add-set": set(), "--del-set": set()}
    for ruleset in rulesets:
        for _, rule in ruleset.rules():
            for option in _changes(rule):
                named[option.name].add(option.values[0])
    return Sets(sets, frozenset(named["--add-set"]), frozenset(named["--del-set"]))


def missing(rulesets: Iterable[Ruleset], family: Family, sets: Mapping[str, Set]) -> Iterable[Diagnostic]:
    """A word about each set that rules ask and that is not among those given, if any are given at all."""
    said: set[str] = set()
    for ruleset in rulesets if sets else ():
        for table, rule in ruleset.rules():
            if {table.family, rule.family} <= {None, family}:
                for name, span in _asked(rule):
                    if name not in sets and name not in said:
                        said.add(name)
                        message = f"no set {name} is among those given"
                        help = "the kernel refuses a rule of such a set; this match is taken to hold or not"
                        yield Diagnostic(Severity.WARNING, message, span, help)


def _asked(rule: Rule) -> Iterable[tuple[str, Span | None]]:
    for match in rule.matches if any(match.name == "set" for match in rule.matches) else ():
        option = match.option("--match-set")
        if option is not None and option.values:
            yield option.values[0], rule.span_of(match)


def _changes(rule: Rule) -> Iterable[Option]:
    if rule.target is not None and rule.target.name == "SET":
        yield from (o for o in rule.target.options if o.name in ("--add-set", "--del-set") and o.values)


def set_literals(match: Match, family: Family, sets: Sets) -> core.Guard | None:
    """The literals that hold exactly when the match does; None where the set's contents do not tell."""
    option = match.option("--match-set")
    if option is None or len(option.values) < 2 or option.values[0] not in sets.sets:
        return None
    if any(other.name.startswith(_COUNTED) for other in match.options):
        return None
    plain = Option(option.name, option.values)
    fact = option_fact(match, plain)
    found = sets.sets[option.values[0]]
    try:
        guards = _alternatives(found, tuple(option.values[1].split(",")), family, sets, fact, ())
    except (Unsayable, ValueError, IndexError):
        return None
    if len(guards) > ALTERNATIVES_MAXIMUM:
        return None
    if option.negated:
        return _none_of(guards, family)
    if not guards:
        return NEVER
    return guards[0] if len(guards) == 1 else (core.OneOf(guards),)


def _alternatives(
    found: Set, sides: tuple[str, ...], family: Family, sets: Sets, fact: core.Fact, inside: tuple[str, ...]
) -> tuple[core.Guard, ...]:
    """Conjunctions of which one holds if and only if the set matches. Raises `Unsayable`."""
    if found.name in inside:
        raise Unsayable(found.name)
    guards = _static(found, sides, family, sets, fact, (*inside, found.name))
    if found.name in sets.shrinking:
        here = core.Fact(f"{fact.name} ({found.name} still holds it)", own=True)
        guards = tuple((*guard, here) for guard in guards)
    if found.name in sets.growing:
        guards += ((core.Fact(f"{fact.name} (a rule put it into {found.name})", own=True),),)
    return guards


def _static(
    found: Set, sides: tuple[str, ...], family: Family, sets: Sets, fact: core.Fact, inside: tuple[str, ...]
) -> tuple[core.Guard, ...]:
    if found.type == "list:set":
        return tuple(
            guard
            for member in found.members
            for guard in _listed(member.key, sides, family, sets, fact, inside)
        )
    reading = Reading(found, sides, family)
    if len(sides) < len(reading.parts) or not _fits(found, family):
        return ()
    certain: list[Entry] = []
    timed: list[Entry] = []
    for entry in reading.entries():
        (timed if entry.timed else certain).append(entry)
    if timed and any(entry.negated for entry in (*certain, *timed)):
        raise Unsayable(found.name)
    there = core.Fact(f"{fact.name} (an entry of {found.name} that ends has not)")
    made = _grouped(certain, reading)
    return (*made, *((*guard, there) for guard in _grouped(timed, reading)))


def _listed(
    name: str, sides: tuple[str, ...], family: Family, sets: Sets, fact: core.Fact, inside: tuple[str, ...]
) -> tuple[core.Guard, ...]:
    if name not in sets.sets:
        raise Unsayable(name)
    return _alternatives(sets.sets[name], sides, family, sets, fact, inside)


def _fits(found: Set, family: Family) -> bool:
    """Whether packets of the family can be in the set: some types hold no addresses, and fit both."""
    if found.type in ("bitmap:port", "hash:mac"):
        return True
    wanted = "inet6" if family is Family.IPV6 else "inet"
    return (found.setting("family") or "inet") == wanted


def _grouped(entries: list[Entry], reading: Reading) -> tuple[core.Guard, ...]:
    """Entries brought together: those of one rest, or those of one address, whichever are fewer."""
    by_rest: dict[core.Guard, list[Entry]] = {}
    for entry in entries:
        by_rest.setdefault(entry.rest, []).append(entry)
    if any(entry.networks is None for entry in entries):
        return tuple(_merged(by_rest))
    negated = any(entry.negated for entry in entries)
    if negated and len(reading.parts) > 1 and reading.parts[1:] not in (("port",), ("iface",)):
        raise Unsayable("nomatch in a set of several networks")
    if negated and any(entry.rest != () and _wild(entry.rest) for entry in entries):
        raise Unsayable("nomatch beside a wildcard")
    by_networks: dict[IntervalSet, list[core.Guard]] = {}
    for rest, same in by_rest.items():
        by_networks.setdefault(decided(same, reading.family), []).append(rest)
    guards = [
        (core.Among(reading.first, networks), *rest)
        for networks, rests in by_networks.items()
        if networks
        for rest in _merged(rests)
    ]
    if len(guards) > 8 and not negated:
        other = _by_address(entries, reading)
        guards = other if len(other) < len(guards) else guards
    return tuple(guards)


def _wild(rest: core.Guard) -> bool:
    named = [literal for literal in rest if isinstance(literal, core.Among)]
    return any(one.field in _INTERFACES and one.values.size() > 1 for one in named)


def _by_address(entries: list[Entry], reading: Reading) -> list[core.Guard]:
    rests: dict[tuple[tuple[int, int], ...], list[core.Guard]] = {}
    for entry in entries:
        rests.setdefault(entry.networks or (), []).append(entry.rest)
    networks: dict[tuple[core.Guard, ...], list[tuple[int, int]]] = {}
    for spans, found in rests.items():
        networks.setdefault(tuple(_merged(found)), []).extend(spans)
    return [
        (core.Among(reading.first, IntervalSet.of(spans)), *rest)
        for merged, spans in networks.items()
        for rest in merged
    ]


def _merged(rests: Iterable[core.Guard]) -> Iterable[core.Guard]:
    """Conjunctions that differ in the values of their last literal alone, as one."""
    groups: dict[tuple[core.Guard, Field], list[core.Among]] = {}
    others: list[core.Guard] = []
    for rest in rests:
        last = rest[-1] if rest else None
        if isinstance(last, core.Among) and not last.negated:
            groups.setdefault((rest[:-1], last.field), []).append(last)
        else:
            others.append(rest)
    for (before, field), found in groups.items():
        spans = (span for literal in found for span in literal.values.spans)
        yield (*before, core.Among(field, IntervalSet.of(spans)))
    yield from others


# The opposite. A packet that has not what an entry asks for is in no set, and so it meets the negated match.


def _none_of(guards: tuple[core.Guard, ...], family: Family) -> core.Guard | None:
    if not guards:
        return ()
    asked = set().union(*(_fields(guard) for guard in guards))
    transport = asked & {*_TRANSPORT, Field.ICMP_TYPE}
    if Field.MAC in asked:
        alone = not transport and all(Field.MAC in _fields(guard) for guard in guards)
        return (core.OneOf(tuple(_without_mac(guards))),) if alone else None
    if not transport:
        return (core.OneOf(guards, negated=True),)
    return (core.OneOf(tuple(_cells(guards, family))),)


def _without_mac(guards: tuple[core.Guard, ...]) -> Iterable[core.Guard]:
    none = IntervalSet.single(NO_INTERFACE)
    yield (core.Among(Field.MAC, IntervalSet(((0, NO_MAC - 1),))), core.OneOf(guards, negated=True))
    yield (core.Among(Field.IN, none),)
    yield (core.Among(Field.IN, none, negated=True), core.Fact("it came without a link-layer address"))


def _cells(guards: tuple[core.Guard, ...], family: Family) -> Iterable[core.Guard]:
    """The packets that have ports, those that have ICMP types, and the others, each with what they may meet.
    """
    icmp = IntervalSet.single(ICMP_PROTOCOL[family])
    ported = _union(literal for guard in guards for literal in guard if _names_ported(literal))
    ported = PORTED if not ported <= PORTED_BITMAP else ported
    have = ported | icmp
    for protocols, wanted in ((ported, _has_ports), (icmp, _has_types)):
        yield (core.Among(Field.PROTOCOL, protocols), HEADED, *_neither(guards, wanted))
    yield (core.Among(Field.PROTOCOL, have), LATER, *_neither(guards, _has_neither))
    yield (core.Among(Field.PROTOCOL, _BYTES - have), *_neither(guards, _has_neither))


def _names_ported(literal: core.Literal) -> bool:
    return (
        isinstance(literal, core.Among) and literal.field is Field.PROTOCOL and literal.values <= PORTED
    )


def _union(literals: Iterable[core.Literal]) -> IntervalSet:
    named = (one for one in literals if isinstance(one, core.Among))
    return IntervalSet.of(span for one in named for span in one.values.spans)


def _neither(guards: tuple[core.Guard, ...], wanted: object) -> core.Guard:
    assert callable(wanted)
    kept = tuple(guard for guard in guards if wanted(guard))
    return (core.OneOf(kept, negated=True),) if kept else ()


def _fields(guard: core.Guard) -> set[Field]:
    return {literal.field for literal in guard if isinstance(literal, core.Among)}


def _has_ports(guard: core.Guard) -> bool:
    return Field.ICMP_TYPE not in _fields(guard)


def _has_types(guard: core.Guard) -> bool:
    return not _fields(guard) & set(_TRANSPORT)


def _has_neither(guard: core.Guard) -> bool:
    return not _fields(guard) & {*_TRANSPORT, Field.ICMP_TYPE}
