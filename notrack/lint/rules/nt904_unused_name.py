"""NT904: a name of a site file that nothing uses."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.finding import Fault
from notrack.lint.rule import Example, Rule
from notrack.lint.sitefiles import remarks
from notrack.lint.subject import Subject
from notrack.text.diagnostic import Severity


def check(subject: Subject) -> Iterator[Fault]:
    yield from remarks(subject, "NT904")


RULE = Rule(
    code="NT904",
    name="unused-name",
    severity=Severity.WARNING,
    summary="a network, a list of ports or an interface that nothing uses",
    what="""
        Finds names that a site file declares and no line of it uses: networks, lists of ports, and interfaces
        without addresses.
    """,
    why="""
        Often the line that should use the name was forgotten or names another one: a `from office` is
        missing, and a service is open to everybody.
    """,
    limits="An interface with addresses is always of use: they tell which addresses are the host's own.",
    mending="There is no automatic fix: whether the name or its use is too much only the author knows.",
    check=check,
    bad=(
        Example(
            "the office was to be named behind `from`",
            """
            site web
            interface lan = eth1  ### NT904
            network office = 198.51.100.0/24  ### NT904
            ports shop = 80, 443  ### NT904
            service ssh tcp 22
            """,
        ),
    ),
    good=(
        Example(
            "every name is used",
            """
            site web
            network office = 198.51.100.0/24
            service ssh tcp 22 from office
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "an interface that no line names, for the sake of its addresses; a network inside another",
            """
            site web
            interface wan = eth0 address 192.0.2.80/24
            network branch = 198.51.100.0/24
            network all-offices = branch, 203.0.113.0/24
            service ssh tcp 22 from all-offices
            """,
        ),
    ),
)
