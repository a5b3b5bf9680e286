"""`expect` lines: checked for form and resolved; what becomes of the packet is not asked here."""

from __future__ import annotations

from notrack.packets.address import ANY, AddressSet, Family
from notrack.site.addresses import AddressBook, families_of
from notrack.site.clauses import checked_clauses, places
from notrack.site.declarations import icmp_type, type_families
from notrack.site.faults import Faults
from notrack.site.model import BOTH, Expectation, IcmpType, Origin
from notrack.site.portbook import PortBook
from notrack.site.sides import Sides
from notrack.site.syntax import Clause, Statement
from notrack.site.tables.protocol_names import PORT_PROTOCOLS
from notrack.site.traffic import protocol
from notrack.text.nearest import nearest

_VERDICTS = ("accept", "drop", "reject")
_MEANT = {"allow": "accept", "permit": "accept", "pass": "accept", "deny": "drop", "block": "drop"}
FLAGS = ("syn", "ack", "fin", "rst", "psh", "urg")


def expectation(
    statement: Statement, book: AddressBook, ports: PortBook, sides: Sides, faults: Faults
) -> Expectation | None:
    """The resolved expectation, or None after an error."""
    before = faults.mark
    clauses = checked_clauses(statement, faults)
    verdict = statement.atoms[0]
    if verdict.text not in _VERDICTS:
        near = _MEANT.get(verdict.text) or nearest(verdict.text, _VERDICTS)
        help = f"did you mean `{near}`?" if near else "write `accept`, `drop` or `reject`"
        faults.error(verdict.span, f"unknown verdict `{verdict.text}`", help)
    number, kind = _protocol(statement, faults)
    ends = _Ends(statement, clauses, book, ports, faults)
    source, destination = ends.address("from"), ends.address("to")
    family = ends.check(source, destination, kind)
    ports_allowed = number in PORT_PROTOCOLS.values()
    found = Expectation(
        Origin("expect", "", statement.span, places(clauses)),
        verdict.text,
        statement.tracking.text if statement.tracking else None,
        58 if number == 1 and family is Family.IPV6 else number,
        source,
        ends.port("from", ports_allowed),
        destination,
        ends.port("to", ports_allowed),
        _device(clauses.get("on"), sides, faults, "on"),
        _device(clauses.get("out"), sides, faults, "out"),
        _flags(clauses.get("flags"), number, faults),
        kind,
    )
    return found if faults.mark == before else None


def _protocol(statement: Statement, faults: Faults) -> tuple[int, IcmpType | None]:
    part = statement.parts[0]
    if part.word.text == "icmp":
        return 1, icmp_type(part.items[0], faults) if part.items else None
    if part.word.text == "proto":
        return protocol(part.items[0], faults) or 0, None
    return PORT_PROTOCOLS[part.word.text], None


class _Ends:
    """The two ends of the packet."""

    def __init__(
        self,
        statement: Statement,
        clauses: dict[str, Clause],
        book: AddressBook,
        ports: PortBook,
        faults: Faults,
    ) -> None:
        self.statement, self.clauses, self.book, self.ports, self.faults = (
            statement,
            clauses,
            book,
            ports,
            faults,
        )

    def is_host(self, key: str) -> bool:
        clause = self.clauses.get(key)
        return bool(clause and clause.addresses and [a.type for a in clause.addresses.items] == ["HOST"])

    def address(self, key: str) -> AddressSet | None:
        """The addresses of an end; None for the host itself."""
        clause = self.clauses.get(key)
        if clause is None or clause.addresses is None:
            self.faults.error(
                self.statement.span, f"the packet has no `{key}`", f"write `{key} host` or `{key} 192.0.2.1`"
            )
            return None
        if self.is_host(key) and not clause.addresses.excepted:
            return None
        return self.book.resolve(clause.addresses)

    def port(self, key: str, allowed: bool) -> int | None:
        clause = self.clauses.get(key)
        if clause is None or clause.port is None:
            return None
        if not allowed:
            self.faults.error(clause.port.span, "a port on a packet without ports", "leave it out")
            return None
        if len(clause.ports) > 1:
            self.faults.error(
                clause.ports[1].span, "a packet has one port on each side", "write one `expect` a port"
            )
            return None
        return self.ports.single(clause.ports[0])

    def check(
        self, source: AddressSet | None, destination: AddressSet | None, kind: IcmpType | None
    ) -> Family | None:
        """The one family of the packet where it is known; ends and interfaces that cannot meet are errors."""
        for key, clause, reason in (
            ("from", "on", "a packet from the host itself comes in nowhere"),
            ("to", "out", "a packet to the host itself leaves nowhere"),
        ):
            if self.is_host(key) and clause in self.clauses:
                self.faults.error(self.clauses[clause].span, f"`{clause}`, but {reason}", "leave it out")
        left = BOTH
        for key, addresses in (("from", source), ("to", destination)):
            have = families_of(addresses if addresses is not None else ANY)
            if not left & have:
                clause_ = self.clauses[key]
                place = (clause_.addresses or clause_).span
                self.faults.error(place, "the two ends are of different families", "no packet has both")
                return None
            left &= have
        if kind is not None and not left & type_families(kind):
            place = self.statement.parts[0].items[0].span
            self.faults.error(place, f"`{kind.name}` does not exist in the family of these addresses")
            return None
        if kind is not None:
            left &= type_families(kind)
        return next(iter(left)) if len(left) == 1 else None


def _device(clause: Clause | None, sides: Sides, faults: Faults, key: str) -> str | None:
    """A packet passes one device: the first of the interface, and for a pattern the first that fits it."""
    if clause is None:
        return None
    if len(clause.atoms) > 1:
        faults.error(clause.atoms[1].span, f"a packet has one interface behind `{key}`", "write one of them")
        return None
    devices = sides.devices(clause)
    return devices[0] if devices else None


def _flags(clause: Clause | None, number: int, faults: Faults) -> frozenset[str]:
    if clause is None:
        return frozenset()
    if number != PORT_PROTOCOLS["tcp"]:
        faults.error(clause.span, "`flags` on a packet that is not tcp", "leave them out")
        return frozenset()
    for atom in clause.atoms:
        if atom.text not in FLAGS:
            near = nearest(atom.text, FLAGS)
            help = f"did you mean `{near}`?" if near else f"known: {', '.join(FLAGS)}"
            faults.error(atom.span, f"unknown flag `{atom.text}`", help)
    return frozenset(atom.text for atom in clause.atoms)
