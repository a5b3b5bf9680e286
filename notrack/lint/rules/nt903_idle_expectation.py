"""NT903: an expectation about a packet that cannot come."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from ipaddress import ip_network
from typing import TYPE_CHECKING

from notrack.lint.finding import Fault
from notrack.lint.rule import Example, Rule
from notrack.lint.sitefiles import own_addresses, placed
from notrack.lint.subject import Subject
from notrack.packets.address import AddressSet
from notrack.text.diagnostic import Severity

if TYPE_CHECKING:
    from notrack.site.model import Expectation

_NOBODY = ("127.0.0.0/8", "224.0.0.0/3", "0.0.0.0/8", "::1/128", "::/128", "ff00::/8")


@cache
def _nobody() -> AddressSet:
    return AddressSet.of(ip_network(text) for text in _NOBODY)


def check(subject: Subject) -> Iterator[Fault]:
    for site in subject.sites:
        own = own_addresses(site)
        for one in site.expectations:
            why = _why(one, own)
            span = placed(subject, one.origin.span) if why else None
            if why and span is not None:
                yield Fault(span, f"{why}: this is never sent, and tests nothing", _HELP)


_HELP = "name an address that packets come from there, or `from host` without `on` for the host's own"


def _why(expectation: Expectation, own: AddressSet) -> str | None:
    """Why the kernel, or nobody, would send such a packet."""
    source = expectation.source
    if source is None or not source or expectation.device in (None, "lo"):
        return None
    if not source - own:
        return "a packet that comes in from outside never has the host's own address"
    if not source - _nobody():
        return "no packet comes in from outside with such a source"
    return None


RULE = Rule(
    code="NT903",
    name="idle-expectation",
    severity=Severity.WARNING,
    summary="an expectation about a packet that cannot come",
    what="""
        Finds `expect` lines of a site file whose packet comes in by an interface with a source that cannot
        be there: an address of the host itself, of its loopback, of a multicast group.
    """,
    why="""
        The kernel drops such packets before any rule sees them, whatever the rules say. The expectation
        holds or fails for the wrong reason, and what it was meant to test is not tested.
    """,
    limits="It knows the addresses that `interface` lines declare.",
    mending="There is no automatic fix: which packet was meant is for the author to say.",
    check=check,
    bad=(
        Example(
            "the host's own address as that of the other end",
            """
            site web
            interface wan = eth0 address 192.0.2.80/24
            service ssh tcp 22 from 198.51.100.0/24
            service web tcp 80 on wan
            expect accept tcp from 192.0.2.80 to host port 80 on wan  ### NT903
            expect accept tcp from 127.0.0.1 to host port 80 on wan  ### NT903
            """,
        ),
    ),
    good=(
        Example(
            "somebody else's",
            """
            site web
            interface wan = eth0 address 192.0.2.80/24
            service ssh tcp 22 from 198.51.100.0/24
            service web tcp 80 on wan
            expect accept tcp from 203.0.113.9 to host port 80 on wan
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "a neighbour in the host's own network; the host itself asks",
            """
            site web
            interface wan = eth0 address 192.0.2.80/24
            service ssh tcp 22 from 198.51.100.0/24
            service web tcp 80 on wan
            expect accept tcp from 192.0.2.81 to host port 80 on wan
            expect accept udp from host to 9.9.9.9 port 53 out wan
            """,
        ),
    ),
)
