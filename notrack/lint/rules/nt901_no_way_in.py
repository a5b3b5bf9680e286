"""NT901: a site that lets no operator in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from notrack.lint.finding import Fault
from notrack.lint.rule import Example, Rule
from notrack.lint.sitefiles import head
from notrack.lint.subject import Subject
from notrack.packets.intervals import IntervalSet
from notrack.text.diagnostic import Severity

if TYPE_CHECKING:
    from notrack.site.model import Declaration

_TCP = 6
# SSH and where people move it to, telnet, and the web consoles of hosts.
_PORTS = (22, 23, 222, 2022, 2200, 2222, 3389, 5900, 8006, 8022, 8291, 9090, 10000, 10022, 22022, 22222)
_WAYS = IntervalSet(tuple((port, port) for port in _PORTS))
_NAMES = re.compile(r"ssh|admin|manage|mgmt|console|shell|remote|rescue|operator|bastion|maintenance")


def check(subject: Subject) -> Iterator[Fault]:
    for site in subject.sites:
        from notrack.site.model import Default

        if site.defaults.input in (Default.ACCEPT, Default.LEAVE) or any(map(_lets_in, site.declarations)):
            continue
        place = head(subject, site)
        if place is not None:
            yield Fault(
                place,
                "nothing here lets an operator in: what no line names is dropped, new SSH connections too",
                "add `service ssh tcp 22 from OFFICE`, or `trust NAME from OFFICE`",
            )


def _lets_in(one: Declaration) -> bool:
    """Whether somebody could log in by this declaration."""
    from notrack.site.model import Peer, Redirect, Service, Trust

    match one:
        case Trust():
            return True
        case Service() | Peer() | Redirect():
            ports = [traffic.ports for traffic in one.traffic if traffic.protocol == _TCP]
            named = _NAMES.search(one.origin.name) is not None
            return not one.traffic or any(named or not each.isdisjoint(_WAYS) for each in ports)
    return False


RULE = Rule(
    code="NT901",
    name="no-way-in",
    severity=Severity.WARNING,
    summary="a site file that lets no operator in",
    what="""
        Finds site files whose input is dropped or rejected by default, and which declare neither a service
        (or a peer) that somebody could log in by, nor a `trust`.
    """,
    why="""
        Once the site is applied nobody can open a new SSH connection to the host. The one from which it was
        applied goes on for a while; the next one fails, often weeks later.
    """,
    limits="""
        It goes by ports (22, the usual others, those of web consoles) and by names (`ssh`, `admin`,
        `console` and the like). A host that is reached by a serial line alone needs no way in: suppress it.
    """,
    mending="There is no automatic fix: from where operators come only they know.",
    check=check,
    bad=(
        Example(
            "a web server, and no more",
            """
            site web  ### NT901
            interface wan = eth0 address 192.0.2.80/24
            service web tcp 80, 443 on wan
            """,
        ),
        Example(
            "reject is no way in either",
            """
            site dns  ### NT901
            default input reject
            service dns udp 53; tcp 53
            client updates tcp 443
            """,
        ),
    ),
    good=(
        Example(
            "SSH from the office",
            """
            site web
            service web tcp 80, 443
            service ssh tcp 22 from 198.51.100.0/24
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "another port by a name that tells; a trust",
            """
            site web
            service web tcp 80, 443
            service admin tcp 7443 from 198.51.100.0/24
            """,
        ),
        Example(
            "everything from the office",
            """
            site web
            service web tcp 80, 443
            trust office from 198.51.100.0/24
            """,
        ),
        Example(
            "other rules of the host decide about its input",
            """
            site nat
            interface wan = eth0
            default input leave
            masquerade lan from 10.8.0.0/24 out wan
            """,
        ),
    ),
)
