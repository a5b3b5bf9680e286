"""NT902: a client that is untracked towards everybody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from notrack.lint.finding import Fault
from notrack.lint.rule import Example, Rule
from notrack.lint.sitefiles import placed
from notrack.lint.subject import Subject
from notrack.packets.address import Family
from notrack.text.diagnostic import Severity

if TYPE_CHECKING:
    from notrack.site.model import Client, Site

_UDP, _TCP = 17, 6


def check(subject: Subject) -> Iterator[Fault]:
    for site in subject.sites:
        from notrack.site.model import Client, Tracking

        for one in site.declarations:
            if isinstance(one, Client) and one.tracking is Tracking.UNTRACKED and _asks_all(one):
                span = placed(subject, one.origin.clauses.get("untracked", one.origin.span))
                if span is not None:
                    yield Fault(span, _message(one, site), _HELP)


_HELP = "name whom it asks (`to resolvers`), or leave `untracked` out: then only real replies come in"


def _asks_all(client: Client) -> bool:
    """Whether it asks anybody, from ports that other programs use as well."""
    if client.from_ports is not None:
        return False
    return any(
        client.peers.family(family).size() * 2 >= family.whole.size()
        for family in Family
        if family in client.families
    )


def _message(client: Client, site: Site) -> str:
    least, most = site.ephemeral.least(), max(high for _, high in site.ephemeral)
    asked = [f"{traffic.ports.least()}" for traffic in client.traffic if traffic.has_ports]
    from_port = f" from port {asked[0]}" if asked else ""
    return (
        f"`{client.origin.name}` is untracked and asks anybody: whoever sends{from_port} reaches every port"
        f" from {least} to {most} of this host"
    )


RULE = Rule(
    code="NT902",
    name="open-client",
    severity=Severity.WARNING,
    summary="an untracked client that asks anybody",
    what="""
        Finds clients of a site file that are declared `untracked`, name nobody behind `to`, and use the
        host's own ports.
    """,
    why="""
        Without tracking a reply is known by where it comes from and by its ports alone. Anybody can send
        from port 53. If everybody may have been asked, everybody's packets to the host's own ports come in,
        to whatever program listens there.
    """,
    limits="A client with `from port` is left alone: only the program that uses that port is reached.",
    mending="There is no automatic fix: whom the client asks is for the operator to say.",
    check=check,
    bad=(
        Example(
            "queries to any server",
            """
            site web
            service ssh tcp 22 from 198.51.100.0/24
            client resolve udp 53; tcp 53 untracked  ### NT902
            """,
        ),
    ),
    good=(
        Example(
            "queries to two resolvers",
            """
            site web
            service ssh tcp 22 from 198.51.100.0/24
            client resolve udp 53; tcp 53 to 9.9.9.9, 2620:fe::fe untracked
            """,
        ),
    ),
    looks_wrong=(
        Example(
            "tracked, since nothing else is said; from a port of its own",
            """
            site web
            service ssh tcp 22 from 198.51.100.0/24
            client updates tcp 80, 443
            client time udp 123 from port 123 untracked
            """,
        ),
    ),
)
