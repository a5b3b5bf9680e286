"""NT905: a line of a site file that says something, and probably not what was meant."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.finding import Fault
from notrack.lint.rule import Example, Rule
from notrack.lint.sitefiles import remarks
from notrack.lint.subject import Subject
from notrack.text.diagnostic import Severity


def check(subject: Subject) -> Iterator[Fault]:
    yield from remarks(subject, "NT905")


RULE = Rule(
    code="NT905",
    name="doubtful-line",
    severity=Severity.WARNING,
    summary="a line that the language takes, and that is probably a slip",
    what="""
        Finds lines of a site file that mean something, but hardly what their author had in mind: `at` with an
        address that no interface declares, 0.0.0.0 where everybody is meant, several ports that all go to
        one, an `except` that takes nothing away, a file that is included twice.
    """,
    why="""
        Such a line compiles, and does nothing, or something else: a service at a mistyped address answers
        nobody.
    """,
    limits="What cannot be meant at all is an error of the language itself.",
    mending="There is no automatic fix: what was meant only the author knows.",
    check=check,
    bad=(
        Example(
            "an address of nobody, an exception from nothing, many ports to one",
            """
            site web
            interface wan = eth0 address 192.0.2.80/24
            network offices = 198.51.100.0/24 except 203.0.113.7  ### NT905
            service ssh tcp 22 from offices
            service web tcp 80 at 192.0.2.8  ### NT905
            publish shop tcp 8000-8010 on wan to 10.8.0.5 port 443  ### NT905
            """,
        ),
    ),
    good=(
        Example(
            "the host's own address",
            """
            site web
            interface wan = eth0 address 192.0.2.80/24
            service ssh tcp 22 from 198.51.100.0/24
            service web tcp 80 at 192.0.2.80
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "nothing tells which addresses are the host's; each port keeps its number; DHCP from 0.0.0.0",
            """
            site web
            interface wan = eth0
            service ssh tcp 22 from 198.51.100.0/24
            service web tcp 80 at 192.0.2.8
            service dhcp udp 67 from 0.0.0.0, 10.8.0.0/24
            publish shop tcp 8000-8010 on wan to 10.8.0.5
            """,
        ),
    ),
)
