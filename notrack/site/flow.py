"""One declaration between syntax and model: what its clauses say, each checked by itself."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from notrack.packets.address import ANY, AddressSet, Family
from notrack.packets.intervals import IntervalSet
from notrack.site import model
from notrack.site.addresses import AddressBook, families_of
from notrack.site.clauses import places
from notrack.site.faults import Faults
from notrack.site.limits import connection_limit, per_source, rate
from notrack.site.portbook import PortBook
from notrack.site.sides import MULTICAST, Sides, place
from notrack.site.syntax import Clause, Statement
from notrack.site.traffic import contradiction, helper, traffic
from notrack.text.diagnostic import Related
from notrack.text.record import dataclass
from notrack.text.source import Span

UNSPECIFIED = AddressSet(IntervalSet.single(0), IntervalSet.single(0))


@dataclass(slots=True)
class Flow:
    """One declaration on its way from syntax to model: its clauses, and what they have in common."""

    statement: Statement
    book: AddressBook
    ports: PortBook
    sides: Sides
    faults: Faults
    clauses: dict[str, Clause]
    families: frozenset[Family] = model.BOTH
    asked: tuple[model.Traffic, ...] = ()  # set by `common`
    sets: dict[str, AddressSet] = field(default_factory=dict)  # what `peers` has resolved

    @property
    def keyword(self) -> str:
        return self.statement.keyword.text

    # What clauses say. Each reports its own errors; the caller looks at the count of errors in the end.

    def peers(self, key: str) -> AddressSet:
        """The addresses behind `from`, `to` or `with`; any without the clause or after an error."""
        clause = self.clauses.get(key)
        if clause is None or clause.addresses is None:
            return ANY
        if clause.port is not None and not (key == "to" and self.keyword == "publish"):
            self.faults.error(
                clause.port.span, f"`port` behind `{key}` of a `{self.keyword}`", _port_hint(self, key)
            )
        found = self.book.resolve(clause.addresses)
        if found is None:
            return ANY
        self.sets[key] = found
        self._no_sender(key, clause, found)
        return found

    def _no_sender(self, key: str, clause: Clause, found: AddressSet) -> None:
        """Addresses that no packet can come from."""
        assert clause.addresses is not None
        answers = self.keyword == "client" and key == "to"
        if found & MULTICAST == found and (key in ("from", "with") or answers):
            help = "a `peer` is reached at a group: write `peer NAME ... with ... at ...`"
            self.faults.error(clause.addresses.span, "no packet comes from a multicast group", help)
        elif found & UNSPECIFIED == found and self.keyword not in ("service", "peer", "block"):
            self.faults.error(
                clause.addresses.span,
                "this is one address, which nobody has",
                "for all addresses write `any`",
            )
        elif found & UNSPECIFIED == found and not any(67 in t.ports for t in self.asked):
            self.faults.warn(
                clause.addresses.span,
                "this is one address, which nobody has",
                "for all addresses write `any`",
            )

    def devices(self, key: str) -> tuple[str, ...]:
        return self.sides.devices(self.clauses.get(key)) or ()

    def at(self) -> AddressSet | None:
        """The own addresses behind `at`; None for all of them."""
        found = place(self.clauses.get("at"), self.sides, self.clauses.get("on"), self.keyword)
        return found.own if found else None

    def common(self) -> dict[str, Any]:
        """The fields of every `Declaration` but its families, which are known last. To be called first."""
        name = self.statement.name
        clauses = places(self.clauses)
        if self.statement.parts:
            first, last = self.statement.parts[0].span, self.statement.parts[-1].span
            clauses["traffic"] = Span(first.source, first.start, last.end)
        asked = traffic(self.statement, self.ports, self.faults)
        self.asked = asked or ()
        contradiction(self.clauses, self.faults)
        found = helper(self.clauses.get("helper"), asked, self.faults)
        limit, connections = self.clauses.get("limit"), self.clauses.get("limit connections")
        return {
            "origin": model.Origin(self.keyword, name.text if name else "", self.statement.head, clauses),
            "traffic": asked or (),
            "tracking": self._tracking(),
            "rate": rate(limit.atoms[0], self.faults, per_source(limit, self.faults)) if limit else None,
            "connections": connection_limit(connections, self.faults) if connections else None,
            "helper": found.name if found else None,
        }

    def _tracking(self) -> model.Tracking:
        if "tracked" in self.clauses:
            return model.Tracking.TRACKED
        return model.Tracking.UNTRACKED if "untracked" in self.clauses else model.Tracking.AUTO

    def needs_traffic(self, example: str) -> None:
        if not self.statement.parts:
            name = self.statement.name
            self.faults.error(
                self.statement.head,
                f"`{self.keyword} {name.text if name else ''}` does not say what it is about",
                f"write protocol and ports behind the name, as in `{self.keyword} NAME {example}`",
            )

    def no_traffic(self, instead: str) -> None:
        if self.statement.parts:
            self.faults.error(self.statement.parts[0].span, f"`{self.keyword}` takes no ports", instead)

    def fit(self, *sets: tuple[str, AddressSet | None]) -> None:
        """Report it when no family is left in which every set of addresses has members."""
        left = self.families
        spoken: Clause | None = next((self.clauses[w] for w in ("ipv4", "ipv6") if w in self.clauses), None)
        for key, addresses in sets:
            if addresses is None:
                continue
            fitting = left & families_of(addresses)
            clause = self.clauses.get(key)
            if not fitting and clause is not None:
                have = " and ".join(f.label for f in sorted(left, key=str))
                here = " and ".join(f.label for f in families_of(addresses))
                what = f"`{spoken.word.text}` is" if spoken else "this is"
                related = (Related(spoken.span, f"{what} {have}"),) if spoken else ()
                message = f"these addresses are {here}, the rest of the declaration is {have}"
                self.faults.error(
                    (clause.addresses or clause).span,
                    message,
                    "no packet has both: split it by family",
                    related,
                )
                return
            if fitting != left:
                spoken = clause if clause is not None else spoken
            left = fitting

    def kept(self, sets: dict[str, AddressSet]) -> frozenset[Family]:
        """The families in which every set has members."""
        return frozenset(f for f in self.families if all(s.family(f) for s in sets.values()))


def _port_hint(flow: Flow, key: str) -> str:
    if flow.keyword == "client" and key == "to":
        return "the ports that are asked go behind the name, as in `client NAME tcp 443 to ...`"
    return "ports go behind the name, as in `tcp 443`"
