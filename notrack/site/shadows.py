"""Services that another one makes superfluous."""

from __future__ import annotations

from collections.abc import Sequence

from notrack.packets.intervals import IntervalSet
from notrack.site.faults import Faults
from notrack.site.model import Service
from notrack.text.diagnostic import Related


def report_shadows(services: Sequence[Service], faults: Faults) -> None:
    """An error for each service whose every packet is another one's, treated the same. Of equals the later one."""
    asked: dict[int, list[tuple[int, int, int]]] = {}  # protocol: (lowest port, highest port, index)
    for index, service in enumerate(services):
        for traffic in service.traffic:
            asked.setdefault(traffic.protocol, []).extend((low, high, index) for low, high in traffic.ports)
    for spans in asked.values():
        spans.sort()
    for index, service in enumerate(services):
        other = _shadow(index, services, asked)
        if other is not None:
            faults.error(
                service.origin.span,
                f"every packet of `{service.origin.name}` is already one of `{other.origin.name}`",
                "take this service out, or say how it differs",
                (Related(other.origin.span, f"`{other.origin.name}` is declared here"),),
            )


def _shadow(
    index: int, services: Sequence[Service], asked: dict[int, list[tuple[int, int, int]]]
) -> Service | None:
    service = services[index]
    first = service.traffic[0]
    port = first.ports.least()
    for low, high, other in asked[first.protocol]:
        if low > port:
            break
        if high >= port and other != index and covers(services[other], service):
            equal = covers(service, services[other])
            if not equal or other < index:
                return services[other]
    return None


def covers(wide: Service, narrow: Service) -> bool:
    """Whether every packet of `narrow` is one of `wide`, with the same tracking, limits and helper."""
    if (wide.tracking, wide.rate, wide.connections, wide.helper) != (
        narrow.tracking,
        narrow.rate,
        narrow.connections,
        narrow.helper,
    ):
        return False
    ports = {traffic.protocol: traffic.ports for traffic in wide.traffic}
    return (
        all(t.ports <= ports.get(t.protocol, IntervalSet()) for t in narrow.traffic)
        and _devices(wide.devices, narrow.devices)
        and _addresses(wide, narrow)
    )


def _devices(wide: tuple[str, ...], narrow: tuple[str, ...]) -> bool:
    if not wide:
        return True
    return bool(narrow) and all(any(_matches(pattern, device) for pattern in wide) for device in narrow)


def _matches(pattern: str, device: str) -> bool:
    return device == pattern or (pattern.endswith("*") and device.startswith(pattern[:-1]))


def _addresses(wide: Service, narrow: Service) -> bool:
    """Family by family; one in which `narrow` has no packet at all counts as covered."""
    for family in narrow.families:
        peers = narrow.peers.family(family)
        own = narrow.own.family(family) if narrow.own is not None else None
        if not peers or (own is not None and not own):
            continue
        if family not in wide.families or not peers <= wide.peers.family(family):
            return False
        if wide.own is not None and (own is None or not own <= wide.own.family(family)):
            return False
    return True
