"""The model's side: what the reader, the lowering and the model say will become of each probe."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from notrack.netfilter.effects import Track, Unsure
from notrack.netfilter.guards import fields_of
from notrack.netfilter.host import Host
from notrack.netfilter.tracking import first_state, keepers, reassemblers
from notrack.netfilter.translation import LEAVES
from notrack.netfilter.walk import Step, Trace, Undetermined, walk
from notrack.netfilter.ways import Way, raw
from notrack.packets.address import Family
from notrack.packets.fields import AddressType, Field, Fragment, PacketType, State, interface_name
from notrack.packets.intervals import IntervalSet
from notrack.packets.packet import Packet
from notrack.ruleset import core
from notrack.ruleset.core import DEFRAGMENTATION_PRIORITY, ChainType, Hook, Nat, NatKind, Ruleset, SetField
from notrack.ruleset.nft import lower as nft_lowering
from notrack.ruleset.nft import reader as nft_reader
from notrack.ruleset.xtables import lower as xt_lowering
from notrack.ruleset.xtables import reader as xt_reader
from notrack.ruleset.xtables.backend import Backend
from notrack.text.diagnostic import Severity
from notrack.text.source import Source
from tests.kernel.differential import world
from tests.kernel.differential.bench import Connection, Observation
from tests.kernel.differential.flows import (
    Flow,
    Flows,
    Membership,
    Tuple,
    answer_of,
    first_stage,
    tuple_of,
)
from tests.kernel.differential.probes import Probe, octets
from tests.kernel.differential.shape import Loadable
from tests.kernel.packet import FLAGS

HOST = world.facts()
MAC = {"client": 0x020000000002, "server": 0x020000000102}
DEVICE = {"client": "eth0", "server": "eth1"}
FAMILY = {4: Family.IPV4, 6: Family.IPV6}
ENDS = ((Field.SOURCE, Field.SOURCE_PORT), (Field.DESTINATION, Field.DESTINATION_PORT))
FIRST_NAT, LAST_NAT = -100, 100
KINDS = dict.fromkeys(Hook, ChainType.FILTER) | {Hook.OUTPUT: ChainType.ROUTE}  # it is routed anew


class Unreadable(AssertionError):
    """The reader finds fault with what the kernel loads."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is said of one probe. `verdict` is arrive, drop, reject or unsure (with the reason in `why`).

    `later`: all the rest is about the first of several pieces; whether the others may arrive, and may not.
    """

    verdict: str
    why: str = ""
    where: str = ""
    header: Tuple | None = None
    mark: int | None = None
    ttl: int | None = None
    state: str = ""
    trace: Trace | None = None
    later: frozenset[bool] | None = None


def lowered(case: Loadable, backend: str) -> dict[int, Ruleset]:
    """The core of the texts of a case, a family each. Raises `Unreadable`."""
    texts = case.texts(backend)
    if backend == "nft":
        tree, faults = nft_reader.read(Source("rules.nft", texts["nft"]))
        made, more = nft_lowering.lowered(tree)
        _demand([*faults, *more])
        return dict.fromkeys((4, 6), made)
    found = {}
    for family in (4, 6):
        text = texts.get(f"v{family}", "")
        read, problems = xt_reader.read(Source(f"rules.v{family}", text), FAMILY[family])
        read = replace(read, backend=Backend(backend.removeprefix("iptables-")))
        core_rules, others = xt_lowering.lower(read, FAMILY[family])
        _demand([*problems, *others])
        found[family] = core_rules
    return found


def _demand(faults: Sequence[object]) -> None:
    wrong = [fault for fault in faults if getattr(fault, "severity", None) is Severity.ERROR]
    if wrong:
        raise Unreadable("; ".join(str(getattr(one, "message", one)) for one in wrong))


class Oracle:
    """Asks the model about one packet after the other, and keeps the flows that follow from its answers."""

    def __init__(
        self,
        rulesets: dict[int, Ruleset],
        connections: Iterable[Connection] = (),
        host: Host = HOST,
    ) -> None:
        self.rulesets = rulesets
        self.host = host
        self.kernel = {
            (one.family, one.proto, zone, tuple_): (one.original, one.reply)
            for one in connections
            for zone, tuple_ in zip(one.zones, (one.original, one.reply), strict=True)
        }
        self.flows = Flows()
        self.unsure: set[int] = set()  # numbers of probes whose flow is not judged
        devices = ("eth0", "eth1", "lo")
        self.known = {f"what {word} by another interface passes {name}" for name in devices
                      for word in ("comes in", "leaves")} | {LEAVES}  # fmt: skip

    def expect(self, seen: Observation) -> Expectation:
        """What the model says of a probe; `seen` settles only what the kernel was free to choose."""
        probe = seen.probe
        if not seen.sent:
            return Expectation("unsure", "not sent")
        if probe.after in self.unsure:
            self.unsure.add(probe.number)
            return Expectation("unsure", "follows what is unsure")
        try:
            if probe.fragments and not self._reassembles(probe):
                return self._pieces(probe)
            made = (self._raw(probe) if probe.fragments else None) or self._whole(probe, seen)
        except Undetermined as problem:
            made = Expectation("unsure", f"undetermined: {problem}")
        if made.verdict == "unsure":
            self.unsure.add(probe.number)
        return made

    # --- one packet -----------------------------------------------------------------------------

    def _whole(self, probe: Probe, seen: Observation) -> Expectation:
        rules = self.rulesets[probe.family]
        # What the rules do before connection tracking, as nothing behind it shows: a later NOTRACK or zone is
        # without effect on a packet that has an entry, and translations are not asked.
        early = self._walked(probe, rules, state=State.ESTABLISHED, guess=True)
        zone = early.effects.zones
        bare = early.state is State.UNTRACKED or early.effects.track is Track.TEMPLATE  # by a late zone
        if bare or _ended_early(early):
            member = self.flows.member(probe, zone)
            if early.verdict == "reject" and probe.proto == 6 and member is not None:
                member.flow.certain = False  # the kernel's reset, tracked, ends the flow
            return self._said(self._walked(probe, rules), probe)
        if probe.is_error:
            return self._error(probe, zone)
        member = self.flows.member(probe, zone)
        if member is not None:
            return self._later(probe, member)
        chosen = self._settled(self._walked(probe, rules), probe, seen)
        if isinstance(chosen, Expectation):
            return chosen
        if first_state(as_packet(probe).values(), FAMILY[probe.family], True) is State.NEW:
            return self._opens(chosen, probe, zone)
        return self._said(chosen, probe)

    def _opens(self, trace: Trace, probe: Probe, zone: tuple[int, int]) -> Expectation:
        final = header(trace, probe)
        original = tuple_of(probe)
        flow = Flow(probe.family, probe.proto, original, answer_of(final, probe), zone)
        flow.stage = first_stage(probe.flags) if probe.proto == 6 else ""
        if self._collides(flow):
            flow.certain = False
            self.flows.add(flow)
            return Expectation("unsure", "collides with another flow", trace=trace)
        if _confirmed(trace):
            self.flows.add(flow)
        return self._said(trace, probe)

    def _collides(self, flow: Flow) -> bool:
        """Whether another flow has one of its tuples: one that is known, or one of a packet not judged."""
        places = zip(flow.zones, (flow.original, flow.reply), strict=True)
        theirs = [self.kernel.get((flow.family, flow.proto, *place)) for place in places]
        strangers = [one for one in theirs if one not in (None, (flow.original, flow.reply))]
        return bool(strangers) or self.flows.collides(flow) or flow.original == flow.reply

    def _later(self, probe: Probe, member: Membership) -> Expectation:
        flow = member.flow
        known = member.state
        self.flows.passed(member, probe.flags)
        if known is None or not flow.certain:
            flow.certain = False
            return Expectation("unsure", "a flow that is not followed")
        if known is State.INVALID:
            return self._said(self._walked(probe, self.rulesets[probe.family], state=known), probe)
        rules = as_of_flow(self.rulesets[probe.family], flow, member.reply)
        host = replace(self.host, tracking_elsewhere=True)
        trace = self._walked(probe, rules, state=known, reply=member.reply, host=host)
        return self._said(trace, probe)

    def _error(self, probe: Probe, zone: tuple[int, int]) -> Expectation:
        about = _inner(probe)
        inner = replace(probe, proto=about[1], icmp=about[2], sport=about[0][2], dport=about[0][3])
        found = self.flows.find(inner, answer_of(about[0], inner), zone, about[1])
        if found is None:
            if any((probe.family, about[1], at, answer_of(about[0], inner)) in self.kernel for at in zone):
                return Expectation("unsure", "an error about a flow of a packet not judged")
            trace = self._walked(probe, self.rulesets[probe.family], state=State.INVALID)
            return self._said(trace, probe)
        flow, reply = found
        if flow.translated or not flow.certain:
            return Expectation("unsure", "an error about a translated flow")
        host = replace(self.host, tracking_elsewhere=True)
        rules = as_of_flow(self.rulesets[probe.family], flow, reply)
        return self._said(self._walked(probe, rules, state=State.RELATED, reply=reply, host=host), probe)

    # --- walking --------------------------------------------------------------------------------

    def _walked(
        self,
        probe: Probe,
        rules: Ruleset,
        *,
        state: State | None = None,
        reply: bool = False,
        host: Host | None = None,
        fragment: Fragment = Fragment.WHOLE,
        guess: bool = False,
        facts: Mapping[str, bool] | None = None,
    ) -> Trace:
        """The trace along the way that the packet really takes, translated or not; `guess`: the first."""
        problem: Undetermined | None = None
        for way, out in ways(probe):
            packet = replace(as_packet(probe), state=state, reply=reply, out_interface=out, fragment=fragment)
            try:
                trace = walk(rules, packet, host or self.host, way=way, facts=facts)
            except Undetermined as raised:
                problem = raised
                continue
            target = _text(trace.values[Field.DESTINATION], probe.family)
            ended = trace.ended_by_routing or trace.hook is Hook.OUTPUT
            if guess or ended or _fits(target, trace.way, out):
                return trace
        raise problem or Undetermined("no way fits")

    def _settled(self, trace: Trace, probe: Probe, seen: Observation) -> Trace | Expectation:
        """The trace with what the kernel chose of addresses and ports, or what is wrong with its choice."""
        free = [(field, change) for field, change in trace.effects.fields if isinstance(change, Unsure)]
        if not free:
            return trace
        if len(seen.arrivals) != 1:
            return Expectation("unsure", "a choice of the kernel that was not seen", trace=trace)
        arrived = _numbers(seen)
        for field, change in free:
            if field in arrived and change.among is not None and arrived[field] not in change.among:
                return Expectation(
                    "arrive", f"{field.value} is none of those allowed", header=None, trace=trace
                )
        rules = _chosen(self.rulesets[probe.family], trace, arrived)
        return self._walked(probe, rules)

    def _said(self, trace: Trace, probe: Probe) -> Expectation:
        state = trace.state.name.lower()
        guessed = [name for name, _ in trace.assumed if name not in self.known]
        if guessed:
            return Expectation("unsure", f"rests on {guessed[0]}", trace=trace)
        if trace.verdict in ("drop", "reject"):
            return Expectation(trace.verdict, state=state, trace=trace)
        target = _text(trace.values[Field.DESTINATION], probe.family)
        if target == world.LOOPBACK[6] and probe.sender != "host":
            return Expectation("unsure", "::1 behind a link, where nobody has it", trace=trace)
        local = trace.way in (Way.LOCAL_IN, Way.LOOPBACK)
        out = world.way_out(target)
        if trace.way is Way.LOCAL_OUT and interface_name(trace.values[Field.OUT]) != out:
            return Expectation("unsure", "an address that is not on the link", trace=trace)
        where = "host" if local else "server" if out == "eth1" else "client"
        mark, ttl = trace.values[Field.MARK], trace.values[Field.TTL]
        return Expectation("arrive", "", where, header(trace, probe), mark, ttl, state, trace)

    # --- fragments without reassembly -----------------------------------------------------------

    def _reassembles(self, probe: Probe) -> bool:
        rules, family = self.rulesets[probe.family], FAMILY[probe.family]
        return any(True for _ in keepers(rules, family)) or any(True for _ in reassemblers(rules, family))

    def _asks(self, family: int, fields: set[Field]) -> bool:
        """Whether a rule asks for one of the fields, or for something that is not known."""
        rules = [
            rule for table in self.rulesets[family].tables for chain in table.chains for rule in chain.rules
        ]
        return any(
            fields_of(rule.guard) & fields or any(isinstance(part, core.Fact) for part in rule.guard)
            for rule in rules
        )

    def _raw(self, probe: Probe) -> Expectation | None:
        """What comes of pieces before they are put together, where rules see them; None: they all go on."""
        rules = self.rulesets[probe.family]
        if not raw(rules, FAMILY[probe.family]):
            return None
        kinds = (Fragment.FIRST, Fragment.LATER)
        traces = [self._walked(probe, rules, fragment=kind, guess=True) for kind in kinds]
        said = [self._said(trace, probe) for trace in traces]
        if any(one.verdict == "unsure" for one in said):
            return Expectation("unsure", "pieces before they are put together")
        lost = [one for one, trace in zip(said, traces, strict=True) if _ended_raw(trace)]
        if lost:
            return replace(lost[0], verdict="drop", mark=None)
        before = [_raw_steps(trace) for trace in traces]
        same = [(step.rule, step.result) for step in before[0]] == [(s.rule, s.result) for s in before[1]]
        return None if same else Expectation("unsure", "pieces fare differently before they are put together")

    def _pieces(self, probe: Probe) -> Expectation:
        """Each piece goes its own way; delivered is what comes whole to the end.

        nft may take a later piece for anything: the kernel must do one of the things that follow from that.
        """
        if self._asks(probe.family, {Field.LENGTH}):
            return Expectation("unsure", "pieces of several lengths")
        first = self._said(self._walked(probe, self.rulesets[probe.family], fragment=Fragment.FIRST), probe)
        later = self._every(probe)
        if first.verdict == "unsure" or not later:
            return Expectation("unsure", "pieces of which too little is said")
        traces = [one.trace for one in (first, *later) if one.trace is not None]
        if all(trace.way is Way.FORWARD for trace in traces):
            return replace(first, mark=None, later=frozenset(one.verdict == "arrive" for one in later))
        same = {(one.verdict, one.mark, one.ttl) for one in (first, *later)}
        if len(same) > 1:
            return Expectation("unsure", "pieces fare differently")
        return replace(first, mark=None)

    def _every(self, probe: Probe) -> list[Expectation]:
        """All that may become of a later piece; nothing if that is too much, or rests on something else."""
        found: list[Expectation] = []
        todo: list[dict[str, bool]] = [{}]
        while todo and len(found) < 32:
            facts = todo.pop()
            rules = self.rulesets[probe.family]
            trace = self._walked(probe, rules, fragment=Fragment.LATER, facts=facts)
            asked = [name for name, _ in trace.assumed if name.startswith("a later fragment")]
            if asked:
                todo += [{**facts, asked[0]: holds} for holds in (False, True)]
                continue
            found.append(self._said(trace, probe))
        return [] if todo or any(one.verdict == "unsure" for one in found) else found


def ways(probe: Probe) -> Iterator[tuple[Way, str | None]]:
    """The ways that a packet may take, the likeliest first; what OUTPUT translates the model follows."""
    local = world.is_own(probe.dst) or is_group(probe.dst)
    outs = [world.way_out(probe.dst)]
    if probe.sender == "host":
        yield (Way.LOOPBACK, "lo") if local else (Way.LOCAL_OUT, outs[0])
        return
    outs += [name for name in ("eth0", "eth1") if name not in outs]
    away: list[tuple[Way, str | None]] = [(Way.FORWARD, out) for out in outs]
    yield from [(Way.LOCAL_IN, None), *away] if local else [*away, (Way.LOCAL_IN, None)]


def is_group(address: str) -> bool:
    """Multicast or broadcast."""
    return ipaddress.ip_address(address).is_multicast or address == world.BROADCAST


def _fits(target: str, way: Way, out: str | None) -> bool:
    multi = is_group(target)
    if way in (Way.LOCAL_IN, Way.LOOPBACK):
        return world.is_own(target) or multi
    if way is Way.LOCAL_OUT:
        return True
    own = world.is_own(target) and target != world.LOOPBACK[6]  # for which nothing from a link is delivered
    return not own and world.way_out(target) == out


def _text(number: int, family: int) -> str:
    return str(ipaddress.IPv4Address(number) if family == 4 else ipaddress.IPv6Address(number))


def _value(address: str) -> int:
    return int(ipaddress.ip_address(address))


def as_packet(probe: Probe) -> Packet:
    """The probe as the model's packet."""
    icmp = probe.icmp
    ported = probe.ported
    return Packet(
        family=FAMILY[probe.family],
        protocol=probe.proto,
        source=_value(probe.src),
        destination=_value(probe.dst),
        source_port=probe.sport if ported else None,
        destination_port=probe.dport if ported else None,
        flags=sum(FLAGS[letter] for letter in probe.flags) if probe.proto == 6 else 0,
        icmp_type=icmp[0] if icmp else None,
        icmp_code=icmp[1] if icmp else 0,
        in_interface=DEVICE.get(probe.sender),
        mac=MAC.get(probe.sender),
        length=_length(probe),
        ttl=probe.ttl,
        tos=probe.tos,
        packet_type=frame_of(probe),
    )


def frame_of(probe: Probe) -> PacketType | None:
    """The frame in which the probe is sent. What asks for none in particular goes to the host alone."""
    if probe.sender == "host" or (not probe.frame and ipaddress.ip_address(probe.dst).is_multicast):
        return None
    return PacketType[(probe.frame or "host").upper()]


def _length(probe: Probe) -> int:
    return len(octets(replace(probe, fragments=False))[0]) + (48 if probe.fragments else 0)


def header(trace: Trace, probe: Probe) -> Tuple:
    """The tuple of a packet at the end of its way."""
    src, dst = (_text(trace.values[field], probe.family) for field in (Field.SOURCE, Field.DESTINATION))
    if probe.icmp is not None:
        return src, dst, probe.sport, probe.icmp[0]
    if not probe.ported:
        return src, dst, 0, 0
    return src, dst, trace.values[Field.SOURCE_PORT], trace.values[Field.DESTINATION_PORT]


def _confirmed(trace: Trace) -> bool:
    """Whether the entry of a first packet stays: it came to the end of POSTROUTING or of INPUT."""
    if trace.verdict == "accept":
        return True
    if trace.hook is Hook.EGRESS:
        return True
    return trace.way is Way.LOOPBACK and trace.hook in (Hook.INGRESS, Hook.PREROUTING, Hook.INPUT)


def _ended_early(trace: Trace) -> bool:
    """Whether the packet was dropped before connection tracking."""
    first = Hook.OUTPUT if trace.way in (Way.LOOPBACK, Way.LOCAL_OUT) else Hook.PREROUTING
    if trace.hook is Hook.INGRESS and first is Hook.PREROUTING:
        return True
    if trace.verdict not in ("drop", "reject") or trace.hook is not first:
        return False
    bases = [step.chain.base for step in trace.steps if step.chain.base is not None]
    return bool(bases) and bases[-1].priority < core.CONNTRACK_PRIORITY


def _raw_steps(trace: Trace) -> list[Step]:
    """The steps of a packet that came in before fragments are put together."""
    found: list[Step] = []
    for step in trace.steps:
        base = step.chain.base
        early = step.hook is Hook.PREROUTING and (base is None or base.priority < DEFRAGMENTATION_PRIORITY)
        if not (step.hook is Hook.INGRESS or early):
            break
        found.append(step)
    return found


def _ended_raw(trace: Trace) -> bool:
    return trace.verdict in ("drop", "reject") and len(_raw_steps(trace)) == len(trace.steps)


def _numbers(seen: Observation) -> dict[Field, int]:
    arrived = seen.arrivals[0].packet
    found = {Field.SOURCE: _value(arrived.src), Field.DESTINATION: _value(arrived.dst)}
    if arrived.proto in (6, 17):
        found |= {Field.SOURCE_PORT: arrived.sport, Field.DESTINATION_PORT: arrived.dport}
    return found


def _chosen(rules: Ruleset, trace: Trace, arrived: dict[Field, int]) -> Ruleset:
    """The rules with each translation that happened narrowed down to what was seen."""
    narrowed: dict[Nat, Nat] = {}
    for nat, (address, port) in (
        (trace.effects.source_nat, ENDS[0]),
        (trace.effects.destination_nat, ENDS[1]),
    ):
        if nat is not None:
            ports = IntervalSet.single(arrived[port]) if nat.ports is not None and port in arrived else None
            given = nat.addresses is not None or nat.kind in (NatKind.MASQUERADE, NatKind.REDIRECT)
            addresses = IntervalSet.single(arrived[address]) if given else None
            narrowed[nat] = replace(nat, addresses=addresses, ports=ports)

    def changed(action: core.Action) -> core.Action:
        return narrowed.get(action, action) if isinstance(action, Nat) else action

    return core.Ruleset(
        tuple(
            replace(
                table,
                chains=tuple(
                    replace(
                        chain,
                        rules=tuple(
                            replace(rule, actions=tuple(changed(action) for action in rule.actions))
                            for rule in chain.rules
                        ),
                    )
                    for chain in table.chains
                ),
            )
            for table in rules.tables
        )
    )


def as_of_flow(rules: Ruleset, flow: Flow, reply: bool) -> Ruleset:
    """The rules as a later packet of a flow meets them: the flow is translated as its first packet was.

    The chains of type nat are not asked again; what the entry says stands in their place.
    """
    tables = tuple(
        replace(
            table,
            chains=tuple(
                chain for chain in table.chains if chain.base is None or chain.base.kind is not ChainType.NAT
            ),
        )
        for table in rules.tables
    )
    before, after = (flow.reply, flow.original) if reply else (flow.original, flow.reply)
    now = (after[1], after[0], after[3], after[2])
    first = _changes(before, now, 1)
    last = _changes(before, now, 0)
    status = _status(flow)
    chains = [
        core.Chain(f"entry {hook.value}", (core.Rule((), actions),), core.Base(hook, priority, KINDS[hook]))
        for hook, priority, actions in (
            (Hook.PREROUTING, FIRST_NAT, first),
            (Hook.OUTPUT, FIRST_NAT, first),
            (Hook.INPUT, LAST_NAT, last),
            (Hook.POSTROUTING, LAST_NAT, last),
            (Hook.PREROUTING, -199, status),
            (Hook.OUTPUT, -199, status),
        )
        if actions
    ]
    own = core.Table("flow", frozenset((FAMILY[flow.family],)), tuple(chains))
    return core.Ruleset((own, *tables))


def _changes(before: Tuple, now: Tuple, end: int) -> tuple[core.Action, ...]:
    address, port = ENDS[end]
    target, number = (now[1], now[3]) if end else (now[0], now[2])
    old, old_number = (before[1], before[3]) if end else (before[0], before[2])
    made: list[core.Action] = []
    if old != target:
        made.append(SetField(address, _value(target)))
        kind = Field.DESTINATION_TYPE if end else Field.SOURCE_TYPE
        made.append(SetField(kind, AddressType.LOCAL if world.is_own(target) else AddressType.UNICAST))
    if old_number != number:
        made.append(SetField(port, number))
    return tuple(made)


def _status(flow: Flow) -> tuple[core.Action, ...]:
    original, reply = flow.original, flow.reply
    made: list[core.Action] = []
    if original[0] != reply[1] or (flow.proto in (6, 17) and original[2] != reply[3]):
        made.append(SetField(Field.CT_SNAT, 1))
    if original[1] != reply[0] or (flow.proto in (6, 17) and original[3] != reply[2]):
        made.append(SetField(Field.CT_DNAT, 1))
    return tuple(made)


def _inner(probe: Probe) -> tuple[Tuple, int, tuple[int, int] | None]:
    """The tuple, protocol and ICMP type of the packet that an ICMP error quotes."""
    from tests.kernel.differential.probes import quoted
    from tests.kernel.packet import parse

    data = quoted(probe)
    seen = parse(data)
    if seen.icmp is not None:
        ident = int.from_bytes(seen.payload[:2], "big")
        return (seen.src, seen.dst, ident, seen.icmp[0]), seen.proto, seen.icmp
    return (seen.src, seen.dst, seen.sport, seen.dport), seen.proto, None
