"""Syntax trees to a site: every name looked up, every set made exact, every check of the language done."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from notrack.packets.address import AddressSet
from notrack.site.addresses import AddressBook
from notrack.site.declarations import declare
from notrack.site.expectations import expectation
from notrack.site.faults import Faults
from notrack.site.model import Declaration, Expectation, Interface, Service, Site
from notrack.site.portbook import PortBook
from notrack.site.scope import Scope
from notrack.site.settings import Settings
from notrack.site.shadows import report_shadows
from notrack.site.sides import Sides
from notrack.site.syntax import Atom, Broken, Statement
from notrack.text.diagnostic import Related

_SETTINGS = ("default", "log", "ephemeral", "tracking")


def resolve(
    statements: Iterable[Statement | Broken], name: str, folders: dict[int, Path], faults: Faults
) -> Site | None:
    """The site that declarations make, called `name` unless they say otherwise; None after an error.

    `folders` says for each source (by id) where the files that it names are looked for.
    """
    scope = Scope(faults)
    own = [s for s in statements if scope.declare(s) and isinstance(s, Statement)]
    mentions(scope, statements)
    book, ports = AddressBook(scope, faults, folders), PortBook(scope, faults)
    sides = Sides(scope, book, faults)
    interfaces = [found for s in own if s.keyword.text == "interface" and (found := sides.declare(s))]
    networks = _networks(own, book)
    _ports(own, scope, ports)
    settings = Settings(faults, ports)
    for statement in own:
        if statement.keyword.text in _SETTINGS:
            settings.take(statement)
    settings.check()
    declarations, expectations = _flows(own, book, ports, sides, faults)
    called = _called(own, name, faults)
    report_shadows([d for d in declarations if isinstance(d, Service)], faults)
    if faults.errors:
        return None
    _unused(scope, sides, faults)
    return Site(
        called,
        tuple(interfaces),
        networks,
        tuple(declarations),
        tuple(expectations),
        settings.ephemeral,
        settings.defaults(),
        settings.log,
        settings.tracking(),
    )


def mentions(scope: Scope, statements: Iterable[Statement | Broken]) -> None:
    """Names inside declarations that could not be read count as used."""
    for statement in statements:
        if isinstance(statement, Broken):
            scope.used.update(atom.text for atom in statement.tokens[2:])


def _networks(own: list[Statement], book: AddressBook) -> tuple[tuple[str, AddressSet], ...]:
    found = []
    for statement in own:
        if statement.keyword.text == "network" and statement.name is not None:
            members = book.network(book.scope.entries[statement.name.text], statement.name)
            if members is not None:
                found.append((statement.name.text, members))
    return tuple(found)


def _ports(own: list[Statement], scope: Scope, ports: PortBook) -> None:
    for statement in own:
        if statement.keyword.text == "ports" and statement.name is not None:
            ports.list(scope.entries[statement.name.text], statement.name)


def _flows(
    own: list[Statement], book: AddressBook, ports: PortBook, sides: Sides, faults: Faults
) -> tuple[list[Declaration], list[Expectation]]:
    declarations: list[Declaration] = []
    expectations: list[Expectation] = []
    for statement in own:
        keyword = statement.keyword.text
        if keyword == "expect":
            expected = expectation(statement, book, ports, sides, faults)
            if expected is not None:
                expectations.append(expected)
        elif keyword not in (*_SETTINGS, "site", "interface", "network", "ports"):
            declared = declare(statement, book, ports, sides, faults)
            if declared is not None:
                declarations.append(declared)
    return declarations, expectations


def _called(own: list[Statement], name: str, faults: Faults) -> str:
    first: Atom | None = None
    for statement in own:
        if statement.keyword.text == "site" and statement.name is not None:
            if first is not None:
                faults.error(
                    statement.head,
                    "a second `site` line",
                    "a site has one name: take one of them out",
                    (Related(first.span, "the first one"),),
                )
            first = first or statement.name
    return first.text if first is not None else name


def _unused(scope: Scope, sides: Sides, faults: Faults) -> None:
    for entry in scope.entries.values():
        name = entry.name.text
        if entry.kind not in ("network", "ports", "interface") or name in scope.used:
            continue
        interface: Interface | None = sides.interfaces.get(name)
        if interface is not None and interface.addresses:
            continue  # its addresses say which ones are the host's own
        message = f"{entry.kind} `{name}` is never used"
        faults.warn(entry.name.span, message, "take it out, or use it", code="NT904")
