"""Connection tracking: what keeps it on, what a first packet's state is, what is never tracked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from notrack.packets.address import Family
from notrack.packets.diagram import EMPTY
from notrack.packets.fields import ICMP_PROTOCOL, Field, Fragment, State, family_number
from notrack.packets.intervals import IntervalSet
from notrack.packets.space import Space
from notrack.ruleset.core import (
    Action,
    Among,
    ConnectionSet,
    Fact,
    Guard,
    Masked,
    Nat,
    NatKind,
    OneOf,
    Origin,
    Rule,
    Ruleset,
    SetMark,
    Template,
    Unknown,
    Verdict,
)
from notrack.text.record import dataclass

_CONNECTION = {Field.STATE, Field.CT_DIRECTION, Field.CT_SNAT, Field.CT_DNAT, Field.CT_MARK}


@dataclass(frozen=True, slots=True)
class Keeper:
    """One reason for which tracking is on."""

    what: str
    origin: Origin


def keepers(ruleset: Ruleset, family: Family) -> Iterator[Keeper]:
    """Everything that keeps tracking on for a family, in the order of the ruleset.

    A rule counts wherever it stands, in a chain that nothing reaches too, and for every family of its table.
    """
    for table in ruleset.tables:
        if family not in table.families:
            continue
        for held in table.keepers:
            yield Keeper(held.what, held.origin)
        for chain in table.chains:
            for rule in chain.rules:
                reason = keeps(rule)
                if reason is not None and not _translates_another(rule, family):
                    yield Keeper(reason, rule.origin)


def keeps(rule: Rule) -> str | None:
    """Why a rule needs connection tracking, or None."""
    return _guard_reason(rule.guard) or next((r for a in rule.actions if (r := _action_reason(a))), None)


def _translates_another(rule: Rule, family: Family) -> bool:
    """Whether all that needs tracking is a translation to an address of the other family.

    In a table of both, `dnat ip to` tracks IPv4 alone (the kernel's nft_nat_init asks for the family of the
    address); a masquerade and a redirect track both, whatever stands before them.
    """
    kinds = (NatKind.SNAT, NatKind.DNAT)
    named = [part for part in rule.guard if isinstance(part, Among) and part.field is Field.FAMILY]
    others = any(family_number(family) not in part.values for part in named if not part.negated)
    nat = [action for action in rule.actions if isinstance(action, Nat)]
    if not others or not nat or any(action.kind not in kinds for action in nat):
        return False
    rest = [action for action in rule.actions if not isinstance(action, Nat)]
    return _guard_reason(rule.guard) is None and not any(_action_reason(action) for action in rest)


def _guard_reason(guard: Guard) -> str | None:
    for literal in guard:
        if isinstance(literal, Among | Masked) and literal.field in _CONNECTION:
            return f"a match of the {'state' if literal.field is Field.STATE else literal.field.value}"
        if isinstance(literal, Fact) and literal.tracking:
            return literal.name
        if isinstance(literal, OneOf):
            reason = next((r for inner in literal.guards if (r := _guard_reason(inner))), None)
            if reason is not None:
                return reason
    return None


def _action_reason(action: Action) -> str | None:
    if isinstance(action, Nat):
        return action.text or action.kind.value
    if isinstance(action, Template | ConnectionSet):
        return action.what
    if isinstance(action, SetMark) and (action.field is Field.CT_MARK or action.tracking):
        return action.what or "a mark of the connection"
    if isinstance(action, Unknown) and action.tracking:
        return action.text
    return "SYNPROXY" if action is Verdict.STOLEN else None


def reassemblers(ruleset: Ruleset, family: Family) -> Iterator[Keeper]:
    """The rules that make the kernel put fragments together before all others without tracking."""
    for table in ruleset.tables:
        for chain in table.chains if family in table.families else ():
            for rule in chain.rules:
                for part in (*rule.guard, *rule.actions):
                    if isinstance(part, Fact | Unknown) and part.reassembles:
                        name = part.name if isinstance(part, Fact) else part.text
                        yield Keeper(name, rule.origin)


# ICMPv6 that the kernel never tracks: MLD (130-132, 143), router and neighbour discovery (133-136)
_UNTRACKED_V6 = IntervalSet(((130, 136), (143, 143)))
_QUESTIONS = {
    Family.IPV4: IntervalSet.of(((8, 8), (13, 13), (15, 15), (17, 17))),
    Family.IPV6: IntervalSet.of(((128, 128), (139, 139))),
}
_ERRORS = {
    Family.IPV4: IntervalSet.of(((3, 5), (11, 12))),
    Family.IPV6: IntervalSet(((0, 127),)),
}
_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16
# combinations of FIN, SYN, RST, ACK and URG that the kernel takes for a TCP packet (tcp_valid_flags)
_VALID_FLAGS = frozenset((0x02, 0x22, 0x12, 0x04, 0x14, 0x11, 0x31, 0x10, 0x30))


def opening_flags(tcp_loose: bool) -> IntervalSet:
    """The TCP flags with which the first packet that is seen of a flow is NEW; it is INVALID with others.

    A SYN opens; an ACK or data does while `nf_conntrack_tcp_loose` is 1; SYN/ACK, FIN and RST never do.
    """
    spans = []
    for flags in range(256):
        plain = flags & 0x37
        syn = plain & (_SYN | _ACK | _RST) == _SYN
        ack = plain & (_SYN | _ACK | _RST | _FIN) == _ACK
        if plain in _VALID_FLAGS and (syn or (ack and tcp_loose)):
            spans.append((flags, flags))
    return IntervalSet.of(spans)


def first_state(values: Mapping[Field, int], family: Family, tcp_loose: bool) -> State:
    """The state of a packet of which no flow is known, from its own fields."""
    protocol = values[Field.PROTOCOL]
    if protocol == ICMP_PROTOCOL[family]:
        kind = values[Field.ICMP_TYPE]
        if family is Family.IPV6 and kind in _UNTRACKED_V6:
            return State.UNTRACKED
        return State.NEW if kind in _QUESTIONS[family] else State.INVALID
    if protocol == 6 and values[Field.FLAGS] not in opening_flags(tcp_loose):
        return State.INVALID
    return State.NEW


def never_tracked(space: Space) -> int:
    """The packets that are UNTRACKED without any rule."""
    if space.family is Family.IPV4:
        return EMPTY
    return space.cube({Field.PROTOCOL: IntervalSet.single(58), Field.ICMP_TYPE: _UNTRACKED_V6})


def first_packets(space: Space, tcp_loose: bool) -> int:
    """The packets with the state that they have when no flow is known: `first_state` as a set."""
    icmp = IntervalSet.single(ICMP_PROTOCOL[space.family])
    others = IntervalSet(((0, 255),)) - icmp - IntervalSet.single(6)
    opening = space.first(
        [
            space.cube({Field.PROTOCOL: others}),
            space.cube({Field.PROTOCOL: icmp, Field.ICMP_TYPE: _QUESTIONS[space.family]}),
            space.cube({Field.PROTOCOL: IntervalSet.single(6), Field.FLAGS: opening_flags(tcp_loose)}),
        ]
    )
    never = never_tracked(space)
    rest = space.minus(space.complement(opening), never)
    by_state = {State.NEW: opening, State.INVALID: rest, State.UNTRACKED: never}
    return space.first(
        [space.meet(space.among(Field.STATE, state), where) for state, where in by_state.items()]
    )


def possible_states(space: Space) -> int:
    """The packets with every state that connection tracking may give them, whatever was before.

    Errors are RELATED or INVALID; what never opens a flow is not NEW; only a few are UNTRACKED by themselves.
    """
    icmp = IntervalSet.single(ICMP_PROTOCOL[space.family])
    errors = space.cube({Field.PROTOCOL: icmp, Field.ICMP_TYPE: _ERRORS[space.family]})
    never = never_tracked(space)
    new = space.meet(space.among(Field.STATE, State.NEW), first_packets(space, tcp_loose=True))
    live = space.minus(space.among(Field.STATE, IntervalSet.single(State.ESTABLISHED)), errors)
    related = space.among(Field.STATE, State.RELATED)
    invalid = space.among(Field.STATE, State.INVALID)
    tracked = space.minus(space.first([new, live, related, invalid]), never)
    return space.join(tracked, space.meet(never, space.among(Field.STATE, State.UNTRACKED)))


def whole_packets(space: Space) -> int:
    return space.among(Field.FRAGMENT, Fragment.WHOLE)
