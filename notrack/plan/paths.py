"""From a declaration to the boxes of its flows: the table of legs of the site language."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.packets.address import AddressSet, Family
from notrack.packets.intervals import EMPTY, IntervalSet
from notrack.plan.box import (
    PROTOCOLS,
    REACH_ANY,
    REACH_BROADCAST,
    REACH_LOCAL,
    REACH_NOT_LOCAL,
    TCP,
    UDP,
    Box,
    Flags,
    Reach,
    icmp_protocol,
)
from notrack.plan.flow import Flow, Paths
from notrack.plan.ground import Ground, groups
from notrack.site.model import (
    Client,
    Declaration,
    Default,
    Icmp,
    Origin,
    Peer,
    Route,
    Service,
    Traffic,
    Trust,
)
from notrack.text.source import Source

# Which ICMP request is answered by which type (RFC 792, 950, 4443, 4620).
_ANSWERS = {
    Family.IPV4: {8: 0, 13: 14, 15: 16, 17: 18},
    Family.IPV6: {128: 129, 139: 140},
}
_NOT_TCP = PROTOCOLS - IntervalSet.single(TCP)


def flows(ground: Ground) -> list[Flow]:
    """Every flow of a family: the declared ones in the order of the text, then what no declaration names."""
    found = [flow for declaration in ground.declarations for flow in _declared(declaration, ground)]
    return found + list(_undeclared(ground))


def _declared(declaration: Declaration, ground: Ground) -> Iterator[Flow]:
    if isinstance(declaration, Icmp):
        paths = _icmp(declaration, ground.family)
        if paths.arriving:
            yield _flow(declaration, ground, None, paths)
        return
    for traffic in declaration.traffic or (None,):
        found = _paths(declaration, traffic, ground)
        if found is not None:
            yield _flow(declaration, ground, traffic, found)


def _flow(declaration: Declaration, ground: Ground, traffic: Traffic | None, paths: Paths) -> Flow:
    origin = declaration.origin
    types = declaration.types if isinstance(declaration, Icmp) else ()
    return Flow(origin.keyword, origin.name, ground.family, origin, declaration, traffic, paths, types)


def _paths(declaration: Declaration, traffic: Traffic | None, ground: Ground) -> Paths | None:
    match declaration:
        case Service():
            return _service(declaration, traffic, ground.family)
        case Client():
            return _client(declaration, traffic, ground)
        case Peer():
            return _peer(declaration, traffic, ground)
        case Route():
            return _route(declaration, traffic, ground.family)
        case Trust():
            return _trust(declaration, ground.family)
    return None


def narrowed(addresses: AddressSet | None, family: Family) -> IntervalSet | None:
    """A family's part of an address set; None stands for every address, so that no rule names it."""
    if addresses is None:
        return None
    part = addresses.family(family)
    return None if part == family.whole else part


def to_own(own: AddressSet | None, family: Family) -> Box:
    """Packets to the host's own addresses: the ones named, or all that the kernel calls local."""
    return Box(family, destination=narrowed(own, family), reach=REACH_LOCAL)


def of_traffic(traffic: Traffic | None, box: Box) -> Box:
    """`box` narrowed to a protocol and the ports that are asked (destination ports)."""
    if traffic is None:
        return box
    ports = traffic.ports if traffic.has_ports else box.destination_ports
    return box.but(protocol=IntervalSet.single(traffic.protocol), destination_ports=ports)


def mirrored(box: Box, *, flags: Flags = Flags.ANY) -> Box:
    """The answers to `box`: ends swapped, no interface (an answer may leave by another one)."""
    return box.but(
        source=box.destination,
        destination=box.source,
        source_ports=box.destination_ports,
        destination_ports=box.source_ports,
        reach=REACH_ANY,
        flags=flags,
        devices=(),
        out_devices=(),
    )


def _no_bare_syn(traffic: Traffic | None) -> Flags:
    return Flags.NO_BARE_SYN if traffic is not None and traffic.protocol == TCP else Flags.ANY


def _service(service: Service, traffic: Traffic | None, family: Family) -> Paths:
    asked = of_traffic(traffic, to_own(service.own, family).but(source=narrowed(service.peers, family)))
    answer = mirrored(asked)
    return Paths(
        arriving=(asked.but(devices=service.devices),),
        leaving=(answer.but(flags=_no_bare_syn(traffic)),),
        raw_in=(asked,),
        raw_out=(answer,),
    )


def _client(client: Client, traffic: Traffic | None, ground: Ground) -> Paths:
    family = ground.family
    question = of_traffic(traffic, Box(family, destination=narrowed(client.peers, family)))
    wanted = question.but(out_devices=client.out_devices)
    if client.from_ports is not None:
        wanted = wanted.but(source_ports=client.from_ports)
    if traffic is not None and traffic.has_ports:
        question = question.but(source_ports=ground.own_ports(traffic.protocol, client.from_ports))
    answer = mirrored(question).but(reach=REACH_LOCAL, source=_who_answers(question, family))
    # Whose answers pass, may be asked untracked: else the answers to other questions would be so by halves.
    asked = question.but(destination=answer.source)
    return Paths(
        asking=(wanted,),
        asking_narrow=(question.but(out_devices=client.out_devices),),
        answering=(answer.but(flags=Flags.ANSWER if traffic and traffic.protocol == TCP else Flags.ANY),),
        raw_in=(answer,),
        raw_out=(asked,),
    )


def _who_answers(question: Box, family: Family) -> IntervalSet | None:
    """Who may answer: who was asked, or anybody when the question went to a group.

    `any except ...` names no group, though it holds them all.
    """
    asked = question.destinations() & groups(family)
    return None if asked and asked != groups(family) else question.destination


def _peer(peer: Peer, traffic: Traffic | None, ground: Ground) -> Paths:
    family = ground.family
    ends = _peer_ends(peer, family)
    if traffic is not None and traffic.has_ports and traffic.protocol != UDP:
        return _both_sides(peer, traffic, ground)
    asked = tuple(of_traffic(traffic, end.but(source=narrowed(peer.peers, family))) for end in ends)
    there = tuple(of_traffic(traffic, _far_end(end, peer, family)) for end in ends)
    leaving = list(there)
    if traffic is not None and traffic.has_ports:
        leaving += [
            box.but(source_ports=box.destination_ports, destination_ports=box.source_ports) for box in there
        ]
    return Paths(
        arriving=tuple(box.but(devices=peer.devices) for box in asked),
        leaving=tuple(leaving),
        raw_in=asked,
        raw_out=tuple(leaving),
    )


def _peer_ends(peer: Peer, family: Family) -> list[Box]:
    """The near ends at which a peer is heard: own addresses, groups, broadcast; own if none is named."""
    found = narrowed(peer.groups, family) if peer.groups.family(family) else None
    ends: list[Box] = []
    if peer.own is not None and peer.own.family(family):
        ends.append(to_own(peer.own, family))
    if found is not None:
        ends.append(Box(family, destination=found, reach=frozenset({Reach.MULTICAST})))
    if peer.broadcast and family is Family.IPV4:
        ends.append(Box(family, reach=REACH_BROADCAST))
    return ends or [to_own(None, family)]


def _far_end(end: Box, peer: Peer, family: Family) -> Box:
    """Where the host sends from `end`: to the peers, or to the same group."""
    if end.reach == REACH_LOCAL:
        return Box(family, source=end.destination, destination=narrowed(peer.peers, family))
    if end.reach == REACH_BROADCAST:
        return Box(family, reach=REACH_BROADCAST)
    return Box(family, destination=end.destination)


def _both_sides(peer: Peer, traffic: Traffic, ground: Ground) -> Paths:
    """A peer over TCP or SCTP: a service and a client at once."""
    service = Service(peer.origin, (traffic,), peers=peer.peers, own=peer.own, devices=peer.devices)
    client = Client(peer.origin, (traffic,), peers=peer.peers)
    a, b = _service(service, traffic, ground.family), _client(client, traffic, ground)
    return Paths(
        a.arriving,
        a.leaving,
        b.asking,
        b.asking_narrow,
        b.answering,
        raw_in=a.raw_in + b.raw_in,
        raw_out=a.raw_out + b.raw_out,
    )


def _route(route: Route, traffic: Traffic | None, family: Family) -> Paths:
    there = of_traffic(
        traffic,
        Box(
            family,
            source=narrowed(route.sources, family),
            destination=narrowed(route.destinations, family),
            reach=REACH_NOT_LOCAL,
        ),
    )
    back = mirrored(there).but(reach=REACH_NOT_LOCAL)
    passing = there.but(reach=REACH_ANY, devices=route.devices, out_devices=route.out_devices)
    return Paths(
        passing=(passing,),
        returning=tuple(_without_bare_syn(back.but(reach=REACH_ANY))),
        raw_in=(there, back) if there != back else (there,),
    )


def _without_bare_syn(box: Box) -> Iterator[Box]:
    """`box`, its TCP part without bare SYN; two boxes where it holds other protocols too."""
    if TCP in box.protocol:
        yield box.but(protocol=IntervalSet.single(TCP), flags=Flags.NO_BARE_SYN)
    rest = box.protocol & _NOT_TCP
    if rest:
        yield box.but(protocol=rest)


def _trust(trust: Trust, family: Family) -> Paths:
    source = narrowed(trust.peers, family)
    asked = Box(family, source=source, reach=REACH_LOCAL)
    answer = Box(family, destination=source)
    return Paths(
        arriving=(Box(family, source=source, devices=trust.devices),),
        leaving=tuple(_without_bare_syn(answer)),
        raw_in=(asked,),
        raw_out=(answer,),
    )


def _icmp(icmp: Icmp, family: Family) -> Paths:
    numbers = [number for kind in icmp.types if (number := kind.number(family)) is not None]
    if not numbers:
        return Paths()
    answers = [_ANSWERS[family][number] for number in numbers if number in _ANSWERS[family]]
    source = narrowed(icmp.peers, family)
    base = Box(family, protocol=IntervalSet.single(icmp_protocol(family)))
    asked = base.but(source=source, icmp=_values(numbers), reach=REACH_LOCAL)
    answer = base.but(destination=source, icmp=_values(answers))
    return Paths(
        arriving=(asked.but(reach=REACH_ANY, devices=icmp.devices),),
        leaving=(answer,) if answers else (),
        raw_in=(asked,),
        raw_out=(answer,) if answers else (),
    )


def _values(numbers: list[int]) -> IntervalSet:
    return IntervalSet.of((n, n) for n in numbers) if numbers else EMPTY


def _undeclared(ground: Ground) -> Iterator[Flow]:
    defaults, family = ground.site.defaults, ground.family
    whole, to_host = Box(family), Box(family, reach=REACH_LOCAL)
    both_ways = {"raw_in": (to_host,), "raw_out": (whole,)}
    if defaults.input is Default.ACCEPT:
        yield _default_flow("input", ground, Paths(arriving=(whole,), leaving=(whole,), **both_ways))
    if defaults.output in (Default.ACCEPT, Default.LEAVE):
        # Where the rules of others decide what comes in, they decide about these answers too.
        answered = defaults.output_replies and defaults.input is not Default.LEAVE
        answering = (whole,) if answered else ()
        yield _default_flow("output", ground, Paths(asking=(whole,), answering=answering, **both_ways))
    if defaults.forward is Default.ACCEPT:
        passed = Box(family, reach=REACH_NOT_LOCAL)
        yield _default_flow("forward", ground, Paths(passing=(whole,), returning=(whole,), raw_in=(passed,)))


def _default_flow(hook: str, ground: Ground, paths: Paths) -> Flow:
    origin = ground.site.defaults.origins.get(hook) or site_origin(ground, hook)
    return Flow(hook, hook, ground.family, origin, None, None, paths)


def site_origin(ground: Ground, keyword: str) -> Origin:
    """An origin for what is said nowhere: the beginning of the site."""
    for declaration in ground.site.declarations:
        source = declaration.origin.span.source
        return Origin("default", keyword, source.span(0, 0))
    for interface in ground.site.interfaces:
        return Origin("default", keyword, interface.origin.span.source.span(0, 0))
    return Origin("default", keyword, Source("site", "").span(0, 0))
