"""The legs of translation: nat, what filter lets through for it, and the MSS of routes."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.packets.intervals import Interval, IntervalSet
from notrack.plan.box import REACH_LOCAL, TCP, Box, Flags
from notrack.plan.frame import Frame
from notrack.plan.leg import ACCEPT, DROP, Action, Hook, Leg, Stage, State, Verb
from notrack.plan.paths import mirrored, narrowed, of_traffic, to_own
from notrack.plan.translation import from_host, is_own, redirected, translated_traffic
from notrack.site.model import Default, Publish, Redirect, Route, SourceTranslation, Traffic

_DNAT = frozenset({State.DNAT})


def nat_legs(frame: Frame, ranges: dict[int, Interval]) -> Iterator[Leg]:
    """All legs of the translation lines of a family; `ranges`: the ports they may use, by protocol."""
    for declaration in frame.ground.declarations:
        match declaration:
            case SourceTranslation():
                yield from _source(declaration, frame, ranges)
            case Publish():
                yield from _publish(declaration, frame)
            case Redirect():
                yield from _redirect(declaration, frame)
            case Route(clamp_mss=True):
                yield from _clamp(declaration, frame)


def _source(line: SourceTranslation, frame: Frame, ranges: dict[int, Interval]) -> Iterator[Leg]:
    family = frame.family
    box = Box(
        family,
        source=narrowed(line.sources, family),
        destination=narrowed(line.destinations, family),
        out_devices=line.out_devices,
    )
    address = None if line.address is None else line.address.family(family).least()
    verb = Verb.MASQUERADE if address is None else Verb.SNAT
    origin = (line.origin,)
    for protocol, ports in sorted(ranges.items()):
        narrow = box.but(protocol=IntervalSet.single(protocol))
        yield Leg(Hook.NAT_POST, Stage.TRANSLATE, narrow, Action(verb, address, ports), origin)
    yield Leg(Hook.NAT_POST, Stage.TRANSLATE, box, Action(verb, address), origin)
    # What tracking cannot place is never translated: it would leave with its private address.
    yield Leg(Hook.FORWARD, Stage.INVALID, box, DROP, origin, frozenset({State.INVALID}))


def _publish(line: Publish, frame: Frame) -> Iterator[Leg]:
    family, origin = frame.family, (line.origin,)
    own = to_own(line.own, family)
    peers = narrowed(line.peers, family)
    target = line.target.family(family).least()
    hook = Hook.INPUT if is_own(line.target, frame.ground) else Hook.FORWARD
    for traffic in line.traffic:
        asked = of_traffic(traffic, own.but(source=peers, devices=line.devices))
        inside = translated_traffic(traffic, line.port)
        action = Action(Verb.DNAT, target, None if line.port is None else (line.port, line.port))
        inner = of_traffic(inside, Box(family, destination=narrowed(line.target, family)))
        wanted = inner.but(source=peers, devices=line.devices)
        yield Leg(Hook.NAT_IN, Stage.TRANSLATE, asked, action, origin, rate=line.rate)
        yield Leg(Hook.NAT_OUT, Stage.TRANSLATE, from_host(asked, line, frame.ground), action, origin)
        if line.helper:
            yield Leg(Hook.HELPER_IN, Stage.HELPER, asked, Action(Verb.HELPER, helper=line.helper), origin)
        if line.connections:
            new = frozenset({State.NEW})
            yield Leg(hook, Stage.CAP, wanted, DROP, origin, new, connections=line.connections)
        if line.rate:
            yield Leg(Hook.INPUT, Stage.CAP, asked, DROP, origin)  # not translated, so above the rate
        yield from _accepted(frame, hook, wanted, line)
        yield from _accepted(frame, Hook.OUTPUT, inner, line)


def _accepted(frame: Frame, hook: Hook, box: Box, line: Publish | Redirect) -> Iterator[Leg]:
    """What translation has changed passes filter; what came to the inner port by itself does not."""
    defaults = frame.ground.site.defaults
    default = {Hook.INPUT: defaults.input, Hook.FORWARD: defaults.forward, Hook.OUTPUT: defaults.output}[hook]
    if default is not Default.ACCEPT:
        yield Leg(hook, Stage.ACCEPT, box, ACCEPT, (line.origin,), _DNAT)


def _redirect(line: Redirect, frame: Frame) -> Iterator[Leg]:
    family, origin = frame.family, (line.origin,)
    action = Action(Verb.REDIRECT, ports=(line.port, line.port))
    for traffic in line.traffic:
        asked = of_traffic(traffic, redirected(line, family))
        inside = Traffic(traffic.protocol, IntervalSet.single(line.port))
        inner = of_traffic(inside, Box(family, source=narrowed(line.peers, family), devices=line.devices))
        yield Leg(Hook.NAT_IN, Stage.TRANSLATE, asked, action, origin, rate=line.rate)
        yield Leg(
            Hook.NAT_OUT,
            Stage.TRANSLATE,
            from_host(of_traffic(traffic, to_own(line.own, family)), line, frame.ground),
            action,
            origin,
        )
        if line.connections:
            new = frozenset({State.NEW})
            yield Leg(Hook.INPUT, Stage.CAP, inner, DROP, origin, new, connections=line.connections)
        if line.rate:
            yield Leg(Hook.FORWARD, Stage.CAP, asked, DROP, origin)
        if line.rate and line.port not in traffic.ports:
            yield Leg(Hook.INPUT, Stage.CAP, asked.but(reach=REACH_LOCAL), DROP, origin)
        yield from _accepted(frame, Hook.INPUT, inner, line)


def _clamp(route: Route, frame: Frame) -> Iterator[Leg]:
    family = frame.family
    tcp = Traffic(TCP)
    for traffic in route.traffic or (tcp,):
        if traffic.protocol != TCP:
            continue
        there = of_traffic(
            traffic,
            Box(
                family,
                source=narrowed(route.sources, family),
                destination=narrowed(route.destinations, family),
                flags=Flags.SYN,
                devices=route.devices,
                out_devices=route.out_devices,
            ),
        )
        for box in (there, mirrored(there, flags=Flags.SYN)):
            yield Leg(Hook.MANGLE_FORWARD, Stage.ACCEPT, box, Action(Verb.CLAMP), (route.origin,))
