"""Whether a way is left to open an SSH connection to the host."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.lint.admission import EPHEMERAL, TCP
from notrack.lint.bounds import bound
from notrack.lint.flows import Leg
from notrack.lint.subject import Subject
from notrack.lint.verdicts import called
from notrack.lint.view import View
from notrack.netfilter.ways import Way
from notrack.packets.fields import TCP_FLAGS, Field, State, interface_value
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.core import Hook, Rule, Verdict
from notrack.text.record import dataclass
from notrack.text.source import Span

PORT = IntervalSet.single(22)
_FEW = 64


@dataclass(frozen=True, slots=True)
class Cut:
    """A place at which SSH is cut off: a rule that should let it in, or a NOTRACK rule for which there is
    none. `untracked`: it would be let in if it were tracked."""

    view: View
    span: Span
    packets: PacketSet
    rule: Rule | None = None
    leg: Leg | None = None
    untracked: bool = False


def cut(subject: Subject) -> tuple[Cut, ...]:
    """Where SSH is cut off; nothing where rules of any family let it in, or do not judge what comes in."""
    found: list[Cut] = []
    for view in subject.views:
        if not view.is_whole or not view.flows.verdicts.filters(Hook.INPUT):
            return ()
        if _open(view, _syn(view, PORT)):
            return ()
        found += _cut(view)
    return tuple({one.span: one for one in found}.values())


def _syn(view: View, ports: IntervalSet | None = None) -> PacketSet:
    """The first packets of TCP connections to the host from elsewhere."""
    cube = {
        Field.PROTOCOL: TCP,
        Field.FLAGS: IntervalSet.single(TCP_FLAGS["syn"]),
        Field.SOURCE_PORT: EPHEMERAL,
    }
    if ports is not None:
        cube[Field.DESTINATION_PORT] = ports
    flows, space = view.flows, view.model.space
    way = Way.LOCAL_IN
    return flows.ground(way) & flows.returning(way) & PacketSet(space, space.cube(cube))


def _open(view: View, packets: PacketSet) -> bool:
    """Whether one of the packets may be let in as it is, tracked or not."""
    flows, verdicts, way = view.flows, view.flows.verdicts, Way.LOCAL_IN
    if verdicts.stolen(way, packets):
        return True  # SYNPROXY answers for the host
    untracked = flows.untracked(way) if view.untracks else PacketSet.nothing(packets.space)
    if not view.model.tracks:
        return bool(verdicts.accepted(way, packets, State.UNTRACKED))
    tracked = packets - untracked.must()
    return bool(
        verdicts.accepted(way, packets & untracked.may(), State.UNTRACKED)
        or verdicts.accepted(way, tracked, State.NEW)
    )


def _cut(view: View) -> Iterator[Cut]:
    way, flows = Way.LOCAL_IN, view.flows
    ssh = _syn(view, PORT)
    if view.untracks:
        for meant in (ssh, _syn(view)):
            taken = meant & flows.untracked(way)
            lost = flows.verdicts.accepted(way, taken, State.NEW)
            if lost and (meant is ssh or not _open(view, meant)):  # else whatever port the daemon listens on
                yield from _by_rule(view, taken & lost)
                return
        yield from _by_leg(view, ssh)
    yield from _out_of_reach(view, ssh)


def _by_rule(view: View, lost: PacketSet) -> Iterator[Cut]:
    rule = view.admission.judge(Way.LOCAL_IN, lost, State.NEW)
    legs = view.admission.legs(Way.LOCAL_IN, lost)
    leg = legs[0] if legs else None
    span = rule.origin.span if rule is not None else leg.span if leg is not None else None
    if span is not None:
        yield Cut(view, span, lost, rule, leg, untracked=True)


def _by_leg(view: View, ssh: PacketSet) -> Iterator[Cut]:
    """A NOTRACK rule that names the port, so that SSH is meant, and no rule that lets it in."""
    for leg in view.flows.at(Hook.PREROUTING):
        named = leg.shape.destination_port
        if named.size() <= _FEW and named >= PORT and leg.span is not None:
            packets = leg.on(Way.LOCAL_IN) & ssh & view.flows.answered(Way.LOCAL_IN)
            if packets:
                yield Cut(view, leg.span, packets, None, leg)
                return


def _out_of_reach(view: View, ssh: PacketSet) -> Iterator[Cut]:
    """A rule that would let SSH in, if anything came to it."""
    lo = IntervalSet.single(interface_value("lo"))
    for table in view.ruleset.tables:
        for base in table.chains if view.family in table.families else ():
            if base.base is None or base.base.hook is not Hook.INPUT:
                continue
            for chain in called(base, table.chains):
                for rule in chain.rules:
                    accepts = bool(rule.actions) and rule.actions[-1] is Verdict.ACCEPT
                    ports = bound(rule.guard, Field.DESTINATION_PORT, view.family)
                    tcp = bound(rule.guard, Field.PROTOCOL, view.family) == TCP
                    inside = bound(rule.guard, Field.IN, view.family) == lo
                    if accepts and tcp and not inside and ports >= PORT and ports.size() <= _FEW:
                        if rule.origin.span is not None:
                            yield Cut(view, rule.origin.span, ssh, rule)
                        return
