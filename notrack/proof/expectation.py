"""`expect` lines held to the model: what the compiled rules do with the packets that they mean."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from notrack.netfilter.host import Host
from notrack.netfilter.journey import Journey, journey
from notrack.netfilter.walk import Trace, Undetermined
from notrack.packets.address import Family
from notrack.packets.fields import State
from notrack.packets.packet import Packet
from notrack.proof.expectation_cases import Case, cases
from notrack.ruleset.core import CONNTRACK_PRIORITY, Fact, Guard, Hook, OneOf, Ruleset
from notrack.site.model import Expectation, Site
from notrack.text.record import dataclass

_ABOVE = re.compile(r"-above\b|\bover\b")
_COUNTS = re.compile(r"-m (?:hash|conn)?limit\b|\blimit rate\b|\bct count\b")


@dataclass(frozen=True, slots=True)
class Check:
    """One packet of an expectation under some rules. `faults`: what is not as expected, in words.

    `journey` None: its way could not be told; the fault says why.
    """

    case: Case
    packet: Packet
    journey: Journey | None
    faults: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not self.faults


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an expectation: its packets under each of several forms of the rules, by their names."""

    expectation: Expectation
    checks: tuple[tuple[str, Check], ...]

    @property
    def holds(self) -> bool:
        return all(check.holds for _, check in self.checks)

    @property
    def fails(self) -> bool:
        """Whether some packet's way is known, and is not as expected."""
        return any(check.journey is not None and not check.holds for _, check in self.checks)


def judged(site: Site, rulesets: dict[str, Ruleset], hosts: Mapping[Family, Host]) -> list[Verdict]:
    """Every expectation of a site under each form of its rules.

    No rate and no cap is reached; nothing else holds that the packet alone does not decide.
    """
    held = {name: within_limits(ruleset) for name, ruleset in rulesets.items()}
    return [
        Verdict(
            one,
            tuple(
                (name, check(case, ruleset, hosts[case.packet.family], held[name]))
                for case in cases(site, one)
                for name, ruleset in rulesets.items()
            ),
        )
        for one in site.expectations
    ]


def check(case: Case, ruleset: Ruleset, host: Host, holding: tuple[str, ...]) -> Check:
    """One packet under some rules; if they send it on elsewhere, by the devices by which it may leave."""
    reason = ""
    for packet in _attempts(case):
        try:
            found = journey(ruleset, packet, host, holding=holding)
        except Undetermined as why:
            reason = reason or str(why)
            continue
        return Check(case, packet, found, tuple(faults(case.expectation, found.trace)))
    return Check(case, case.packet, None, (f"its way is not known: {reason}",))


def _attempts(case: Case) -> Iterator[Packet]:
    yield case.packet
    for out in case.outs:
        yield replace(case.packet, local=None, out_interface=out)


def faults(expected: Expectation, trace: Trace) -> Iterator[str]:
    """In which regards a packet's way is not as expected."""
    if trace.verdict != expected.verdict:
        yield f"{_DONE.get(trace.verdict, trace.verdict)}, but `{expected.verdict}` is expected"
    untracked = trace.state is State.UNTRACKED or _ended_early(trace)
    if expected.tracking == "untracked" and not untracked:
        yield "tracked, but `untracked` is expected"
    if expected.tracking == "tracked" and untracked:
        yield "untracked, but `tracked` is expected"
    if expected.tracking == "tracked" and trace.state is State.INVALID:
        yield "no part of a connection (INVALID), but `tracked` is expected"


_DONE = {"accept": "accepted", "drop": "dropped", "reject": "rejected", "stolen": "answered by SYNPROXY"}


def _ended_early(trace: Trace) -> bool:
    """Whether it ended before connection tracking."""
    last = next((step for step in reversed(trace.steps) if step.chain.base is not None), None)
    base = last.chain.base if last is not None else None
    early = base is not None and base.priority < CONNTRACK_PRIORITY
    return early and trace.hook in (Hook.PREROUTING, Hook.OUTPUT)


def within_limits(ruleset: Ruleset) -> tuple[str, ...]:
    """The facts that hold as long as no rate and no cap is reached."""
    names = dict.fromkeys(name for name in _names(ruleset) if _COUNTS.search(name))
    return tuple(name for name in names if not _ABOVE.search(name))


def _names(ruleset: Ruleset) -> Iterator[str]:
    for table in ruleset.tables:
        for chain in table.chains:
            for rule in chain.rules:
                yield from _asked(rule.guard)


def _asked(guard: Guard) -> Iterator[str]:
    for literal in guard:
        if isinstance(literal, Fact):
            yield literal.name
        elif isinstance(literal, OneOf):
            for inner in literal.guards:
                yield from _asked(inner)
