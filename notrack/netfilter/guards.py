"""What a guard says: as a set of packets, and of one packet."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from notrack.packets.address import Family
from notrack.packets.diagram import EMPTY, FULL
from notrack.packets.fields import MIRROR, NO_DIRECTION, Field, State, domain, icmp_answer, presence
from notrack.packets.intervals import IntervalSet
from notrack.packets.space import Space
from notrack.ruleset.core import Among, Fact, Guard, Literal, Masked, Never, OneOf

Truth = Callable[[str], bool]
_WITH_ENTRY = IntervalSet(((State.NEW, State.RELATED),))
_DIRECTIONS = IntervalSet(((0, NO_DIRECTION - 1),))


def _needed(field: Field, family: Family) -> dict[Field, IntervalSet]:
    """What a packet must be for a match on the field to hold at all.

    A direction and a mark of the connection are those of an entry, which INVALID and UNTRACKED packets have
    not (and none has in `raw`), nor those that only look NEW.
    """
    if field in (Field.CT_DIRECTION, Field.CT_MARK):
        return {Field.STATE: _WITH_ENTRY, Field.CT_DIRECTION: _DIRECTIONS}
    return presence(field, family)


def fields_of(guard: Guard) -> set[Field]:
    """Every header field that a guard asks for."""
    found: set[Field] = set()
    for literal in guard:
        if isinstance(literal, Among | Masked):
            found.add(literal.field)
        elif isinstance(literal, OneOf):
            for inner in literal.guards:
                found |= fields_of(inner)
    return found


def answered(guard: Guard, family: Family) -> Guard:
    """The guard that holds for a packet where `guard` holds for its answer: the ends exchanged."""
    return tuple(_answered(literal, family) for literal in guard)


def _answered(literal: Literal, family: Family) -> Literal:
    if isinstance(literal, OneOf):
        return OneOf(tuple(answered(inner, family) for inner in literal.guards), literal.negated)
    if not isinstance(literal, Among):
        return literal
    if literal.field is Field.ICMP_TYPE:
        kinds = [icmp_answer(kind, family) for low, high in literal.values for kind in range(low, high + 1)]
        return Among(literal.field, IntervalSet.of((kind, kind) for kind in kinds), literal.negated)
    return Among(MIRROR.get(literal.field, literal.field), literal.values, literal.negated)


def guard_set(space: Space, guard: Guard) -> int:
    """The packets for which the guard holds. Free facts are free in the result. Remembered by the space."""
    known = space.guards.get(id(guard))
    if known is not None and known[0] is guard:
        return known[1]
    found = _guard_set(space, guard)
    space.guards[id(guard)] = guard, found
    return found


def _guard_set(space: Space, guard: Guard) -> int:
    """Literals on plain fields become one node each; only the rest needs `meet`."""
    cube: dict[Field, IntervalSet] = {}
    others: list[Literal] = []
    for literal in guard:
        if isinstance(literal, Among) and space.levels[literal.field]:
            _narrow(cube, _positive(literal, space.family), space.family)
        else:
            others.append(literal)
    result = space.cube(cube)
    for literal in others:
        if result == EMPTY:
            return EMPTY
        result = space.meet(_literal_set(space, literal), result)
    return result


def _positive(literal: Among, family: Family) -> dict[Field, IntervalSet]:
    """A literal as allowed values of fields, those that the field's presence asks for among them."""
    values = literal.values
    if literal.negated:
        values = domain(literal.field, family).whole - values
    needed = _needed(literal.field, family)
    inner = needed.get(literal.field)
    return needed | {literal.field: values & inner if inner is not None else values}


def _narrow(cube: dict[Field, IntervalSet], more: Mapping[Field, IntervalSet], family: Family) -> None:
    for field, values in more.items():
        before = cube.get(field)
        cube[field] = values & (before if before is not None else domain(field, family).whole)


def _literal_set(space: Space, literal: Literal) -> int:
    if isinstance(literal, Among):
        inside = space.among(literal.field, literal.values)
        return space.complement(inside) if literal.negated else inside
    if isinstance(literal, Masked):
        inside = space.masked(literal.field, literal.mask, literal.value)
        there = space.cube(_needed(literal.field, space.family))
        return space.meet(there, space.complement(inside) if literal.negated else inside)
    if isinstance(literal, Fact):
        inside = space.free(literal.name)
        return space.complement(inside) if literal.negated else inside
    if isinstance(literal, Never):
        return EMPTY
    union = space.first([guard_set(space, inner) for inner in literal.guards])
    if not literal.negated:
        return union
    return space.minus(_present(space, literal), union)


def _present(space: Space, literal: OneOf) -> int:
    result = FULL
    for field in sorted(set().union(*(fields_of(inner) for inner in literal.guards)), key=lambda f: f.value):
        result = space.meet(space.cube(_needed(field, space.family)), result)
    return result


def holds(guard: Guard, values: Mapping[Field, int], family: Family, truth: Truth) -> bool:
    """Whether the guard holds for one packet; `truth` says whether a named fact does."""
    return all(_holds(literal, values, family, truth) for literal in guard)


def _holds(literal: Literal, values: Mapping[Field, int], family: Family, truth: Truth) -> bool:
    if isinstance(literal, Among):
        return _there(literal.field, values, family) and (
            (values[literal.field] in literal.values) != literal.negated
        )
    if isinstance(literal, Masked):
        return _there(literal.field, values, family) and (
            (values[literal.field] & literal.mask == literal.value) != literal.negated
        )
    if isinstance(literal, Fact):
        return truth(literal.name) != literal.negated
    if isinstance(literal, Never):
        return False
    if any(holds(inner, values, family, truth) for inner in literal.guards):
        return not literal.negated
    asked = set().union(*(fields_of(inner) for inner in literal.guards))
    return literal.negated and all(_there(field, values, family) for field in asked)


def _there(field: Field, values: Mapping[Field, int], family: Family) -> bool:
    return all(values[other] in allowed for other, allowed in _needed(field, family).items())
