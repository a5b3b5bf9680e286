"""Which NOTRACK rules leave flows half tracked, and of which kind each case is: one cause, one case.

A rule of PREROUTING may be meant for the host (its answers leave by OUTPUT) or for what passes through (its
answers come through PREROUTING as well). It is fine where one of the two holds: whether a rule by port alone
also meets what it is not meant for is another question. What no rule would let in anyway, in no state, is
left out: NOTRACK in front of a drop is a habit, and nothing answers.
"""

from __future__ import annotations

import enum
from dataclasses import replace

from notrack.lint.flows import BACK, OF_ONE_PACKET, Flows, Leg, ports_key
from notrack.lint.shapes import Asks, asking, differences, repeats
from notrack.lint.view import View
from notrack.netfilter.ways import Way
from notrack.packets.fields import PORT_PROTOCOLS, Field, State
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Hook
from notrack.text.record import dataclass


class Kind(enum.Enum):
    """What is wrong with a rule that leaves flows half tracked."""

    ONE_WAY = "the other direction of the host's own traffic is tracked"
    FORWARDED = "the other direction of forwarded traffic is tracked"
    REPEATED = "OUTPUT repeats what PREROUTING matches"


@dataclass(frozen=True, slots=True)
class Half:
    """A NOTRACK rule, and packets that it untracks although the answers to them are tracked.

    `partner`: the rule that seems to be meant for the answers. `partly`: the answers to others of its packets
    are untracked.
    """

    kind: Kind
    view: View
    leg: Leg
    way: Way
    packets: PacketSet
    partner: Leg | None = None
    partly: bool = False


HASHED = IntervalSet.of(
    (port, port) for port in (2152, 3784, 3785, 4341, 4784, 4789, 4790, 6080, 6081, 6635, 6784, 8472)
)
"""UDP ports to which both ends send, from ports of their own: GTP-U, BFD, LISP, VXLAN, GUE, Geneve, MPLS."""
ONE_WAY_PORTS = IntervalSet.of((port, port) for port in (162, 514, 2055, 4739, 6343, 8125, 9995, 9996, 25826))
"""UDP ports that nothing answers from: traps, syslog, flow records, statistics."""
_HOST_KINDS = (Field.OUT, Field.SOURCE_TYPE, Field.DESTINATION_TYPE, *OF_ONE_PACKET)
_BUT_FLAGS = tuple(field for field in _HOST_KINDS if field is not Field.FLAGS)
CLIENT_PORTS = IntervalSet.of(
    (port, port) for port in (53, 67, 69, 88, 111, 123, 137, 161, 389, 443, 464, 514, 853, 1812, 1813, 5353)
)
"""UDP ports that clients ask from ports of their own, also clients on a server of the same."""
_STARTING = IntervalSet(((32768, 60999),))
_LIMITED = 1 << 16  # addresses: what names fewer speaks of certain hosts


def found(view: View) -> tuple[Half, ...]:
    """Every half-tracked flow's rule, each once (`View.halves`)."""
    if not view.untracks or not view.may_track:
        return ()
    flows = view.flows
    suspects = _suspects(flows)
    if not any(suspects.values()):
        return ()
    own = [leg for leg in flows.legs if not leg.is_generated]
    suspected = [leg for leg in own if any(leg.on(way) & suspects[way] for way in suspects)]
    each = [half for leg in suspected if (half := _half(flows, leg)) is not None]
    return tuple(_brought_together(flows, each))


def _suspects(flows: Flows) -> dict[Way, PacketSet]:
    """By way, all packets whose rules are worth a closer look: asked of all at once, it costs little."""
    found = {way: flows.suspect(way) for way in (Way.LOCAL_IN, Way.LOCAL_OUT)}
    if not _forwards(flows):
        return found
    passing = wanted(flows, Way.FORWARD, flows.suspect(Way.FORWARD))
    if passing:
        paired = flows.untracked(Way.LOCAL_IN) & flows.answered(Way.LOCAL_IN)
        ours = wanted(flows, Way.LOCAL_IN, ordinary(paired))
        known = flows.view.host.addresses(flows.view.family) is not None
        passing = passing - ours.exists((*_HOST_KINDS, *((Field.DESTINATION,) if known else ())))
    return found | {Way.FORWARD: passing}


def _half(flows: Flows, leg: Leg) -> Half | None:
    if leg.hook is Hook.OUTPUT:
        return _leaving(flows, leg)
    return _arriving(flows, leg) if leg.hook is Hook.PREROUTING else None


def _arriving(flows: Flows, leg: Leg) -> Half | None:
    here, through = (_plain(flows, leg, way) for way in (Way.LOCAL_IN, Way.FORWARD))
    paired, passed = flows.paired(here, Way.LOCAL_IN), flows.paired(through, Way.FORWARD)
    rest = flows.unpaired(here, Way.LOCAL_IN, paired)
    passing = flows.unpaired(through, Way.FORWARD, passed) if _forwards(flows) else through - through
    pairs_itself, whole = _pairs_itself(leg), flows.view.is_whole
    if not whole and leg.written.is_full:
        return None  # untracked by default: which exceptions are meant, and for what, is not told
    passes = ordinary(passed) if passed else passed
    rest, passing = _usual(leg, rest), _usual(leg, passing)
    if passes and not (pairs_itself and whole):
        rest = rest - passed.exists((Field.DESTINATION, *_HOST_KINDS))
    rest, partly = wanted(flows, Way.LOCAL_IN, rest), ordinary(paired)
    if not rest and partly and wanted(flows, Way.LOCAL_IN, partly):
        return None
    passing = wanted(flows, Way.FORWARD, passing)
    meant = not rest or (not partly and ((passes and not pairs_itself) or _is_for_others(flows, leg)))
    if passing and meant:
        return Half(Kind.FORWARDED, flows.view, leg, Way.FORWARD, passing, partly=bool(passes))
    return Half(Kind.ONE_WAY, flows.view, leg, Way.LOCAL_IN, rest, partly=bool(partly)) if rest else None


def _pairs_itself(leg: Leg) -> bool:
    """Whether the answers to what a rule names are what it names, whichever interface they come by."""
    ends = leg.written.exists((Field.IN, Field.OUT))
    return leg.written == ends and ends.mirror() == ends


def _leaving(flows: Flows, leg: Leg) -> Half | None:
    packets = _plain(flows, leg, Way.LOCAL_OUT)
    paired = flows.paired(packets, Way.LOCAL_OUT)
    rest = _usual(leg, flows.unpaired(packets, Way.LOCAL_OUT, paired))
    rest = wanted(flows, Way.LOCAL_OUT, rest)
    if not rest or _inside(flows, leg) or _of_peers(flows, leg):
        return None
    partly = bool(ordinary(paired))
    return Half(Kind.ONE_WAY, flows.view, leg, Way.LOCAL_OUT, rest, partly=partly)


def _usual(leg: Leg, packets: PacketSet) -> PacketSet:
    """The packets between a service's port and one from which connections start, where a rule names one side
    alone: an exception for some odd pair of ports is none that anybody made for these."""
    asks, space = asking(leg.written) if packets else Asks.EITHER, packets.space
    side = {Asks.QUESTION: Field.SOURCE_PORT, Asks.ANSWER: Field.DESTINATION_PORT}.get(asks)
    if side is None or not _of_ports(leg):
        return ordinary(packets) if packets else packets
    named = leg.shape.source_port if side is Field.SOURCE_PORT else leg.shape.destination_port
    start = named & _STARTING or named
    return packets & PacketSet(space, space.among(side, start))


def _of_ports(leg: Leg) -> bool:
    return leg.shape.protocols <= PORT_PROTOCOLS


def _of_peers(flows: Flows, leg: Leg) -> bool:
    """Whether a rule is for what the host sends to a UDP port at which it listens itself, both ends being
    alike (tunnels, gossip), and not for questions of a client."""
    mine = leg.shape
    asked = IntervalSet.single(17)
    if mine.protocols != asked or mine.destination_port & CLIENT_PORTS or mine.destination_port.size() > 16:
        return False
    listens = any(
        one.hook is Hook.PREROUTING and one.shape.destination_port == mine.destination_port
        for one in flows.by_ports[ports_key(mine)]
    )
    answers = any(
        one.hook is Hook.OUTPUT and one.shape.source_port == mine.destination_port
        for one in flows.by_ports[ports_key(mine)]
    )
    return listens and answers


def _inside(flows: Flows, leg: Leg) -> bool:
    """Whether the rule is for the host's connections to itself, both directions of which OUTPUT sees."""
    if all(side.size() > _LIMITED for side in (leg.shape.source, leg.shape.destination)):
        return False
    over = leg.on(Way.LOOPBACK).may()
    return bool(over) and not flows.unpaired(over, Way.LOOPBACK)


def _plain(flows: Flows, leg: Leg, way: Way) -> PacketSet:
    """What a leg takes on a way, without what is answered in another manner, or never, or by SYNPROXY."""
    packets = leg.on(way)
    if not packets:
        return packets
    stolen = _stolen(flows, leg)
    packets = packets - stolen if stolen else packets
    space = flows.space
    udp = {Field.PROTOCOL: IntervalSet.single(17)}
    named = ((Field.SOURCE_PORT, leg.shape.source_port), (Field.DESTINATION_PORT, leg.shape.destination_port))
    for port, values in named:
        if values & (HASHED | ONE_WAY_PORTS) and 17 in leg.shape.protocols:
            packets = packets - PacketSet(space, space.cube(udp | {port: HASHED | ONE_WAY_PORTS}))
    return packets


def _stolen(flows: Flows, leg: Leg) -> PacketSet:
    """The packets that SYNPROXY answers, on whichever way they come there."""
    ways = [way for way in (Way.LOCAL_IN, Way.FORWARD) if leg.on(way)]
    found = [flows.verdicts.stolen(way, leg.on(way).may()) for way in ways]
    return PacketSet(flows.space, flows.space.first([one.diagram for one in found])).exists(_BUT_FLAGS)


def wanted(flows: Flows, way: Way, packets: PacketSet) -> PacketSet:
    """The packets of flows that rules let begin, tracked or not: those that ask, or those they answer."""
    if not packets:
        return packets
    asks, verdicts = asking(packets), flows.verdicts
    begun = PacketSet.nothing(flows.space)
    plain = packets.exists(OF_ONE_PACKET)
    if asks is not Asks.ANSWER:
        begun = begun | verdicts.begun(way, plain)
    if asks is not Asks.QUESTION:
        answers = verdicts.through(way, plain, State.ESTABLISHED, State.UNTRACKED)
        asked = plain.mirror() & flows.ground(BACK[way]).exists(OF_ONE_PACKET)
        asked = verdicts.untranslated(BACK[way], asked, State.NEW)  # these are tracked
        begun = begun | (answers & asked.mirror())
    return packets & begun.exists(OF_ONE_PACKET)


def ordinary(packets: PacketSet) -> PacketSet:
    """The packets one end of which is a port that nobody serves from, and those without ports: a service's
    port at both ends is no evidence of what a rule is meant for.
    """
    space = packets.space
    high = IntervalSet(((32768, 65535),))
    sides = [space.among(side, high) for side in (Field.SOURCE_PORT, Field.DESTINATION_PORT)]
    without = space.complement(space.among(Field.PROTOCOL, PORT_PROTOCOLS))
    return packets & PacketSet(space, space.first([*sides, without]))


def _forwards(flows: Flows) -> bool:
    """Whether the host forwards: it is known, or rules tell apart what may pass."""
    if flows.verdicts.closed(Hook.FORWARD):
        return False
    known = flows.view.host.forwards(flows.view.family)
    return known if known is not None else flows.verdicts.filters(Hook.FORWARD)


def _is_for_others(flows: Flows, leg: Leg) -> bool:
    """Whether a rule that may be for the host is more likely for what passes: of certain addresses, with
    rules that tell apart what may pass, and none for what the host gets.
    """
    if flows.verdicts.filters(Hook.INPUT):
        return False
    written = leg.shape
    return any(side.size() <= _LIMITED for side in (written.source, written.destination))


def _brought_together(flows: Flows, found: list[Half]) -> list[Half]:
    """The cases, those made one in which one rule was meant to be the mirror of another and is not."""
    arriving = [one for one in found if one.leg.hook is Hook.PREROUTING and one.kind is Kind.ONE_WAY]
    leaving = [one for one in found if one.leg.hook is Hook.OUTPUT]
    passing = [one for one in found if one.kind is Kind.FORWARDED]
    left = {id(one): one for one in found}
    for half in leaving:
        if (asked := _repeated(flows, half.leg)) is not None:
            left[id(half)] = replace(half, kind=Kind.REPEATED, partner=asked)
            for one in arriving:
                if one.leg is asked:
                    left.pop(id(one), None)
    for half in leaving:
        if left[id(half)].partner is None:
            _joined(left, half, arriving)
    for i, half in enumerate(passing):
        _joined(left, half, passing[:i])
    for half in arriving:
        if id(half) in left and _joined(left, half, passing):
            packets = flows.unpaired(_plain(flows, half.leg, Way.FORWARD), Way.FORWARD)
            left[id(half)] = replace(left[id(half)], kind=Kind.FORWARDED, way=Way.FORWARD, packets=packets)
    return list(left.values())


def _repeated(flows: Flows, leg: Leg) -> Leg | None:
    """The rule of PREROUTING that a rule of OUTPUT repeats, if nothing else there is its mirror."""
    mine = leg.shape
    for asked in flows.by_ports.get(ports_key(mine), ()):
        theirs = asked.shape
        if asked.hook is Hook.PREROUTING and repeats(theirs, mine):
            others = (one.shape for one in flows.by_ports[ports_key(mine)] if one.hook is Hook.OUTPUT)
            if not any(differences(theirs, one) == 0 for one in others):
                return asked
    return None


def _joined(left: dict[int, Half], half: Half, others: list[Half]) -> bool:
    """Makes one case of a case and the first of some others that was meant to be its other direction."""
    partner = next((one for one in others if id(one) in left and _meant(one, half)), None)
    if partner is None:
        return False
    del left[id(partner)]
    left[id(half)] = replace(half, partner=partner.leg)
    return True


def _meant(asked: Half, answering: Half) -> bool:
    """Whether one rule was meant to mirror another: it differs from that in one thing alone."""
    if asked.partly or answering.partly:
        return False
    return differences(asked.leg.shape, answering.leg.shape) == 1
