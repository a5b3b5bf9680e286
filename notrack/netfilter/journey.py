"""A packet's way with what it rests on: the reasons for tracking, and what other guesses would change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from notrack.netfilter import tracking
from notrack.netfilter.answer import answer
from notrack.netfilter.host import UNKNOWN_HOST, Host
from notrack.netfilter.tracking import Keeper
from notrack.netfilter.walk import Trace, Undetermined, walk
from notrack.packets.packet import Packet
from notrack.ruleset.core import Origin, Ruleset
from notrack.text.record import dataclass

_GUESSES = 64  # facts of one way that are tried the other way round

Facts = dict[str, bool]


@dataclass(frozen=True, slots=True)
class Guess:
    """A fact that the way rests on, and the verdict if it were the other way round (None: no telling)."""

    fact: str
    holds: bool
    otherwise: str | None = None


@dataclass(frozen=True, slots=True)
class Journey:
    """A packet and its way. `keepers`: what keeps tracking on for its family; `unknown`: numbers, such as an
    address of a translation, of which nothing is known; `reply`: the answer's way, where asked for."""

    packet: Packet
    trace: Trace
    keepers: tuple[Keeper, ...] = ()
    guesses: tuple[Guess, ...] = ()
    unknown: tuple[str, ...] = ()
    reply: Journey | None = None


def journey(
    ruleset: Ruleset,
    packet: Packet,
    host: Host = UNKNOWN_HOST,
    *,
    holding: Sequence[str] = (),
    reply: bool = False,
) -> Journey:
    """The way of a packet, and with `reply` that of its answer. Facts whose names contain one of `holding`
    hold, the others are assumed not to. Raises `Undetermined` as `walk` does.
    """
    keepers = tuple(tracking.keepers(ruleset, packet.family))
    if not keepers and host.tracking_elsewhere:
        keepers = (Keeper("the host's settings", Origin()),)

    def one(facts: Facts) -> Trace:
        return walk(ruleset, packet, host, facts=facts)

    trace, facts = _settled(one, holding)
    made = Journey(packet, trace, keepers, _guesses(one, trace, facts), _unknown(trace))
    if not reply:
        return made
    found = answer(packet, trace, ruleset, host, facts=facts)
    if found is None:
        return made
    back = found[0]

    def other(facts: Facts) -> Trace:
        again = answer(packet, trace, ruleset, host, facts=facts)
        assert again is not None
        return again[1]

    returned, held = _settled(other, holding)
    guesses = _guesses(other, returned, held)
    return replace(made, reply=Journey(back, returned, keepers, guesses, _unknown(returned)))


def _settled(walked: Callable[[Facts], Trace], holding: Sequence[str]) -> tuple[Trace, Facts]:
    """The way on which every fact that should hold does; others may come into sight behind one that does."""
    facts: Facts = {}
    trace = walked(facts)
    while True:
        more = {name: True for name, _ in trace.assumed if any(word in name for word in holding)}
        if not more.keys() - facts.keys():
            return trace, facts
        facts |= more
        trace = walked(facts)


def _guesses(walked: Callable[[Facts], Trace], trace: Trace, facts: Facts) -> tuple[Guess, ...]:
    found: list[Guess] = []
    asked = dict(trace.assumed) | facts
    for name, held in [item for item in asked.items() if item[0] not in trace.numbers][:_GUESSES]:
        try:
            found.append(Guess(name, held, walked({**facts, name: not held}).verdict))
        except Undetermined:
            found.append(Guess(name, held))
    return tuple(found)


def _unknown(trace: Trace) -> tuple[str, ...]:
    """The numbers that nobody knows, a mark once and not bit by bit."""
    found: dict[str, None] = {}
    for name, _ in trace.assumed:
        if name in trace.numbers:
            word, _, rest = name.partition(" of ")
            found[rest if word.startswith("bit ") else name] = None
    return tuple(found)
