"""Services that another one makes superfluous."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

from notrack.packets.intervals import IntervalSet
from notrack.site.faults import Faults
from notrack.site.model import Service
from notrack.text.diagnostic import Related
from notrack.text.record import dataclass


def report_shadows(services: Sequence[Service], faults: Faults) -> None:
    """An error for each service whose packets are all one other's, treated alike; of equals the later."""
    asked = _by_port(services)
    for index, service in enumerate(services):
        other = _shadow(index, services, asked)
        if other is not None:
            faults.error(
                service.origin.span,
                f"every packet of `{service.origin.name}` is already one of `{other.origin.name}`",
                "take this service out, or say how it differs",
                (Related(other.origin.span, f"`{other.origin.name}` is declared here"),),
            )


@dataclass(frozen=True, slots=True)
class _Asked:
    """Who asks for which ports of a protocol, by lowest port; `reach` is the highest port so far."""

    lows: list[int]
    highs: list[int]
    reach: list[int]
    indices: list[int]

    def at(self, port: int) -> Iterator[int]:
        """The services that ask for a port."""
        for i in range(bisect_right(self.lows, port) - 1, -1, -1):
            if self.reach[i] < port:
                return
            if self.highs[i] >= port:
                yield self.indices[i]


def _by_port(services: Sequence[Service]) -> dict[int, _Asked]:
    spans: dict[int, list[tuple[int, int, int]]] = {}
    for index, service in enumerate(services):
        for traffic in service.traffic:
            spans.setdefault(traffic.protocol, []).extend((low, high, index) for low, high in traffic.ports)
    found = {}
    for protocol, listed in spans.items():
        lows, highs, indices = zip(*sorted(listed), strict=True)
        found[protocol] = _Asked(list(lows), list(highs), list(accumulate(highs, max)), list(indices))
    return found


def _shadow(index: int, services: Sequence[Service], asked: dict[int, _Asked]) -> Service | None:
    service = services[index]
    first = service.traffic[0]
    found = [
        other
        for other in asked[first.protocol].at(first.ports.least())
        if other != index
        and covers(services[other], service)
        and (other < index or not covers(service, services[other]))
    ]
    return services[min(found)] if found else None


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
