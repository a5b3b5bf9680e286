"""A service in the words of the site language, on a command line: `udp 53`, `tcp 80 443 from 10.0.0.0/8`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from notrack.packets.address import ANY, AddressSet, Family
from notrack.site import load_text
from notrack.site.model import Service, Tracking, Traffic
from notrack.text.diagnostic import Diagnostic, Rejected, Severity
from notrack.text.record import dataclass
from notrack.text.source import Source, Span

_HEAD = "service asked "
_SITE = "site asked\n"
NAME = "SERVICE"


@dataclass(frozen=True, slots=True)
class Asked:
    """Traffic to the host itself. `peers` and `own` narrow it; `own` None: all own addresses."""

    text: str
    traffic: tuple[Traffic, ...]
    families: frozenset[Family]
    peers: AddressSet = ANY
    own: AddressSet | None = None
    devices: tuple[str, ...] = ()


def asked(text: str) -> Asked:
    """Reads the words. Raises `Rejected` with places in them."""
    words = " ".join(text.split())
    try:
        site, _ = load_text(f"{_SITE}{_HEAD}{words}\n", NAME, Path())
    except Rejected as rejected:
        raise Rejected(tuple(_moved(one, words) for one in rejected.diagnostics)) from None
    services = [one for one in site.declarations if isinstance(one, Service)]
    return _checked(services[0], words)


def _checked(service: Service, words: str) -> Asked:
    source = Source(NAME, words)
    whole = source.span(0, len(words))
    for wrong, message in (
        (service.rate or service.connections, "a limit counts connections, and so it needs tracking"),
        (service.helper, "a helper opens ports for a flow that it follows, and so it needs tracking"),
        (service.tracking is Tracking.TRACKED, "`tracked` and to be untracked: only one of them can be"),
        (not service.traffic, "name a protocol and ports"),
    ):
        if wrong:
            raise Rejected((Diagnostic(Severity.ERROR, message, whole, "as in: udp 53"),))
    if any(not one.has_ports for one in service.traffic):
        message = "only services with ports (tcp, udp, sctp) can be told from other traffic of the host"
        raise Rejected((Diagnostic(Severity.ERROR, message, whole, "as in: udp 53"),))
    return Asked(words, service.traffic, service.families, service.peers, service.own, service.devices)


def _moved(one: Diagnostic, words: str) -> Diagnostic:
    """The fault as a place in the words alone."""
    source, shift = Source(NAME, words), len(_SITE) + len(_HEAD)
    if one.span is None:
        return one

    def moved(span: Span) -> Span:
        start = min(max(span.start - shift, 0), len(words))
        return source.span(start, min(max(span.end - shift, start), len(words)))

    related = tuple(replace(other, span=moved(other.span)) for other in one.related)
    return replace(one, span=moved(one.span), related=related)
