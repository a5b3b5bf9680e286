"""For a packet that would be lost: the rule that lets it through today, once more for untracked packets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from notrack.draft.lines import Line, ports_wording, requests
from notrack.draft.raw import remark
from notrack.draft.service import Asked
from notrack.lint import mending
from notrack.lint.mending.nft_body import NftBody
from notrack.lint.mending.xtables_body import XtablesBody
from notrack.netfilter.host import Host
from notrack.netfilter.walk import Step, Trace, Undetermined, walk
from notrack.packets.fields import Field, State
from notrack.packets.packet import Packet
from notrack.packets.witness import Witness
from notrack.proof.difference import Change
from notrack.proof.difference_roles import Role
from notrack.ruleset.core import Among, Fact, Guard, Jump, OneOf, Rule, Ruleset
from notrack.ruleset.formats import Reading

_BEFORE = {
    Role.OPENING: State.NEW,
    Role.ANSWER: State.ESTABLISHED,
    Role.LATER: State.ESTABLISHED,
    Role.RELATED: State.RELATED,
    Role.ERROR: State.RELATED,
    Role.STRAY: State.INVALID,
}
_STATES = (mending.Wording("--ctstate", "ct state"), mending.Wording("--state", None))
_PORTS = tuple(mending.Wording(f"--{side}port{end}", None) for side in "sd" for end in ("s", ""))
_FLAGS = (mending.Wording("--tcp-flags", "tcp flags"), mending.Wording("--syn", None))
ERRORS = "notrack untrack: errors"
"""The comment of rules for ICMP errors: they are nobody's alone."""
_ERRORS = {  # about a flow: unreachable (a path's MTU among it), time exceeded, a bad header
    "ipv4": ("icmp", (3, 11, 12)),
    "ipv6": ("icmpv6", (1, 2, 3, 4)),
}


def twins(before: Reading, now: Reading, lost: Change, asked: Asked, host: Host) -> Iterator[mending.Edits]:
    """Edits of the texts of `now`, the most likely first."""
    witness = lost.witness()
    if witness is None:
        return
    old = _walked(before.ruleset, witness, lost, _BEFORE[lost.role], host)
    new = _walked(
        now.ruleset, witness, lost, State.INVALID if lost.role is Role.ERROR else _BEFORE[lost.role], host
    )
    if old is None or new is None:
        return
    told: set[mending.Edits] = set()
    for step in _letting_through(old, new):
        for edits in _beside(now, step, before.ruleset, new, lost, witness.packet, asked):
            if edits not in told:
                told.add(edits)
                yield edits


def _walked(ruleset: Ruleset, witness: Witness, lost: Change, state: State, host: Host) -> Trace | None:
    packet = replace(witness.packet, state=state, reply=lost.role is Role.ANSWER)
    try:
        return walk(ruleset, packet, host, way=lost.way, facts=dict(witness.facts))
    except Undetermined:
        return None


def _letting_through(old: Trace, new: Trace) -> list[Step]:
    """The rules at the hook where the packet is lost that led to its acceptance by the state of its flow."""
    found = []
    for step in old.steps:
        if step.hook is new.hook and step.rule is not None and _asks_state(step.rule.guard):
            found.append(step)
    return found


def _asks_state(guard: Guard) -> bool:
    for part in guard:
        if isinstance(part, Among) and part.field in (Field.STATE, Field.CT_DIRECTION):
            return True
        if isinstance(part, OneOf) and any(_asks_state(inner) for inner in part.guards):
            return True
        if isinstance(part, Fact) and part.tracking:
            return True
    return False


def _again(ruleset: Ruleset, step: Step, before: Ruleset) -> Rule | None:
    """The rule of a step in the rules as they are after some were added."""
    assert step.rule is not None

    def alike(rules: Ruleset) -> list[Rule]:
        return [
            rule
            for table in rules.tables
            if (table.name, table.families) == (step.table.name, step.table.families)
            for chain in table.chains
            if chain.name == step.chain.name
            for rule in chain.rules
            if step.rule is not None and rule.origin.text == step.rule.origin.text
        ]

    old, new = alike(before), alike(ruleset)
    return new[old.index(step.rule)] if len(old) == len(new) else None


def _beside(
    now: Reading,
    step: Step,
    before: Ruleset,
    trace: Trace,
    lost: Change,
    packet: Packet,
    asked: Asked,
) -> Iterator[mending.Edits]:
    """The twin of a rule behind it, or before the rule of its chain that stops the packet."""
    documents = now.documents
    rule = _again(now.ruleset, step, before)
    written = None if rule is None else mending.find(documents, rule)
    if written is None or rule is None:
        return
    jumps = any(isinstance(action, Jump) for action in rule.actions)
    stopped = _stopping(trace, step)
    there = mending.find(documents, stopped) if stopped is not None else None
    for body in _bodies(written.body, lost, packet, asked, jumps=jumps):
        if (edits := mending.after(written, body)) is not None:
            yield edits
        if there is not None and (edits := mending.before(there, body)) is not None:
            yield edits


def _stopping(trace: Trace, step: Step) -> Rule | None:
    """The last rule of the chain of a step that a lost packet meets: it drops it, or jumps to where it is."""
    met = [
        one.rule
        for one in trace.steps
        if one.hook is trace.hook
        and one.rule
        and one.chain.name == step.chain.name
        and one.table.name == step.table.name
    ]
    return met[-1] if met else None


def _bodies(
    body: mending.Body, lost: Change, packet: Packet, asked: Asked, *, jumps: bool
) -> Iterator[mending.Body]:
    """What the new rule may say: the old one's words for untracked packets of the service, or as little."""
    if lost.role is Role.ERROR:
        yield from _for_errors(body, packet)
        return
    line = _line(lost, packet, asked)
    if line is None:
        return
    for ports, flags in ((_PORTS, _FLAGS), ((), _FLAGS), ((), ())):
        made = _stateless(body, (*ports, *flags))
        if made is not None:
            known = _has_protocol(made)
            twin = (
                made if _same_ports(made, line) else made.narrowed(ports_wording(line, protocol_known=known))
            )
            twin = twin.narrowed(mending.UNTRACKED) if twin else None
            twin = _remarked(twin, asked) if twin else None
            if twin is not None:
                yield twin
    if not jumps:
        yield from _plain(body, line, asked)


def _line(lost: Change, packet: Packet, asked: Asked) -> Line | None:
    """The protocol and ports of the service of which a packet is one."""
    answers = lost.role is Role.ANSWER
    family = packet.family
    for line in requests(asked, family, local=False):
        port = packet.source_port if answers else packet.destination_port
        other = packet.destination_port if answers else packet.source_port
        if line.protocol != packet.protocol:
            continue
        if port is not None and port in line.ports:
            return Line(line.protocol, line.ports, answers)
        if other is not None and other in line.ports:
            return Line(line.protocol, line.ports, not answers)
    return None


def _stateless(body: mending.Body, others: tuple[mending.Wording, ...]) -> mending.Body | None:
    """The rule without its question for the state, and without those for other things."""
    made = next((found for wording in _STATES if (found := body.without(wording)) is not None), None)
    if made is None:
        return None
    for wording in others:
        made = made.without(wording) or made
    return made


def _has_protocol(body: mending.Body) -> bool:
    rule = body.rule if isinstance(body, XtablesBody) else None
    return rule is not None and rule.option("-p") is not None


def _same_ports(body: mending.Body, line: Line) -> bool:
    """Whether the rule asks for just these ports already."""
    wording = ports_wording(line, protocol_known=True)
    text = f" {' '.join(body.text.split())} "
    if isinstance(body, NftBody):
        return f" {wording.nft} " in text
    words = (wording.xtables or "").split()
    return f" -p {words[1]} " in text and f" {words[2]} {words[3]} " in text


def _plain(body: mending.Body, line: Line, asked: Asked) -> Iterator[mending.Body]:
    """A rule of its own words alone, for where the old one cannot be changed as text (a verdict map)."""
    wording = ports_wording(line, protocol_known=False)
    if isinstance(body, NftBody):
        yield NftBody(f'{wording.nft} ct state untracked accept comment "{remark(asked)}"')
    elif isinstance(body, XtablesBody) and body.rule is not None:
        words = f'-m conntrack --ctstate UNTRACKED -m comment --comment "{remark(asked)}" -j ACCEPT'
        yield replace(body, text=f"{body.rule.command} {body.rule.chain} {wording.xtables} {words}")


def _for_errors(body: mending.Body, packet: Packet) -> Iterator[mending.Body]:
    """ICMP errors about untracked flows belong to no flow that the kernel knows."""
    name, kinds = _ERRORS[packet.family.value]
    if isinstance(body, NftBody):
        listed = ", ".join(str(kind) for kind in kinds)
        yield NftBody(f'{name} type {{ {listed} }} accept comment "{ERRORS}"')
    elif isinstance(body, XtablesBody) and body.rule is not None and packet.icmp_type in kinds:
        match = "icmp --icmp-type" if name == "icmp" else "icmp6 --icmpv6-type"
        protocol = "icmp" if name == "icmp" else "ipv6-icmp"
        words = f'-p {protocol} -m {match} {packet.icmp_type} -m comment --comment "{ERRORS}"'
        yield replace(body, text=f"{body.rule.command} {body.rule.chain} {words} -j ACCEPT")


def _remarked(body: mending.Body, asked: Asked) -> mending.Body | None:
    """The rule with our comment, in the place of its own."""
    text = remark(asked)
    if isinstance(body, NftBody):
        plain = body.text.split(' comment "')[0].rstrip()
        return NftBody(f'{plain} comment "{text}"')
    bare = body.without(mending.Wording("--comment", None)) or body
    return bare.narrowed(mending.Wording(f'-m comment --comment "{text}"', None))
