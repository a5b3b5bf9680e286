"""A packet's way, as text for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from notrack.netfilter.answer import REVERSAL
from notrack.netfilter.effects import Unsure
from notrack.netfilter.journey import Journey
from notrack.netfilter.walk import ROUTING, Step, Trace
from notrack.netfilter.ways import Way
from notrack.packets.address import address_text
from notrack.packets.fields import Field, State
from notrack.ruleset.core import (
    CONNTRACK_PRIORITY,
    ChainType,
    Hook,
    Nat,
    Origin,
    SetField,
    Unknown,
    Verdict,
)

SCHEMA_VERSION = 1
_WAYS = {
    Way.LOCAL_IN: "for the host itself",
    Way.FORWARD: "forwarded",
    Way.LOCAL_OUT: "sent by the host",
    Way.LOOPBACK: "from the host to itself",
}
_ENDS = {"accept": "ACCEPTED", "drop": "DROPPED", "reject": "REJECTED", "stolen": "ANSWERED BY SYNPROXY"}
_ENDS_OF_PACKET = (Field.SOURCE, Field.SOURCE_PORT, Field.DESTINATION, Field.DESTINATION_PORT)
_TRACKED_AT = (Hook.PREROUTING, Hook.OUTPUT)


def as_json(journey: Journey, *, replied: bool = False) -> dict[str, object]:
    """The way as the command line promises it. With `replied` the answer's stands under `reply`, or null."""
    made = _journey_json(journey)
    if replied:
        made["reply"] = _journey_json(journey.reply) if journey.reply is not None else None
    return {"schema_version": SCHEMA_VERSION, **made}


def _journey_json(journey: Journey) -> dict[str, object]:
    trace = journey.trace
    ended = deciding(trace)
    return {
        "packet": journey.packet.to_json(),
        "verdict": trace.verdict,
        "tracking": trace.state.name.lower(),
        "way": trace.way.value,
        "hook": trace.hook.value if trace.hook else None,
        "steps": [_step_json(step) for step in _told(trace)],
        "decided_by": _step_json(ended) if ended is not None else None,
        "translated": _translated(journey),
        "assumed": [
            {"fact": one.fact, "holds": one.holds, "otherwise": one.otherwise} for one in journey.guesses
        ],
        "unknown": list(journey.unknown),
    }


def _step_json(step: Step) -> dict[str, object]:
    span = (step.rule.origin if step.rule else step.chain.origin).span
    return {
        "hook": step.hook.value,
        "table": step.table.name,
        "chain": step.chain.name,
        "file": span.source.name if span else None,
        "line": span.line if span else None,
        "rule": step.rule.origin.text if step.rule else None,
        "result": _result(step),
    }


def as_text(journey: Journey, *, replied: bool = False) -> str:
    """The way, hook by hook: each rule that matched, what it did, and why it ended."""
    text = _journey_text(journey)
    if not replied:
        return text
    if journey.reply is None:
        return f"{text}\nNo answer comes: the packet did not arrive, or it asks nothing\n"
    return f"{text}\nThe answer\n{_journey_text(journey.reply, _answer_words(journey, journey.reply))}"


def _answer_words(journey: Journey, reply: Journey) -> str:
    """The answer as it is written, but for an address or port that the kernel chose for the question."""
    words, packet = str(reply.packet), reply.packet
    unsure = {field for field, change in journey.trace.effects.fields if isinstance(change, Unsure)}
    if not unsure & {Field.SOURCE, Field.SOURCE_PORT}:
        return words
    address = "?" if Field.SOURCE in unsure else address_text(packet.destination, packet.family)
    port = "?" if Field.SOURCE_PORT in unsure else packet.destination_port
    known = address_text(packet.destination, packet.family)
    if not packet.has_ports:
        return words.replace(f"> {known}", f"> {address}", 1)
    if ":" in known:
        return words.replace(f"> [{known}]:{packet.destination_port}", f"> [{address}]:{port}", 1)
    return words.replace(f"> {known}:{packet.destination_port}", f"> {address}:{port}", 1)


def _journey_text(journey: Journey, packet: str | None = None) -> str:
    trace = journey.trace
    lines = [packet or str(journey.packet), f"  {_WAYS[trace.way]}", ""]
    hook: Hook | None = None
    tracked = False
    stack: list[str] = []
    place = _widest(trace.steps)
    for step in _told(trace):
        if step.hook is not hook:
            if hook in _TRACKED_AT and not tracked:
                lines.append(_tracking_line(journey))
                tracked = True
            hook, stack = step.hook, []
            lines.append(hook.value)
        late = step.chain.base is not None and step.chain.base.priority >= CONNTRACK_PRIORITY
        if hook in _TRACKED_AT and late and not tracked:
            lines.append(_tracking_line(journey))
            tracked = True
        stack = _entered(stack, step)
        lines += _step_lines(step, len(stack) - 1, place)
    if not tracked and not _ended_early(trace):
        lines.append(_tracking_line(journey))
    return "".join(f"{_shown(line)}\n" for line in [*lines, "", *_conclusion(journey)])


def _shown(line: str) -> str:
    """A line without anything that a terminal would obey: rules may hold any octets."""
    plain = line.replace("\t", " ")
    return plain if plain.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in plain)


def _entered(stack: list[str], step: Step) -> list[str]:
    """The chains that wait for each other where a step is made, its own the last."""
    name = step.chain.name
    if step.chain.base is not None:
        return [name]
    return [*stack[: stack.index(name)], name] if name in stack else [*stack, name]


def _widest(steps: Sequence[Step]) -> int:
    return max((len(_place(step)) for step in steps), default=0)


def _place(step: Step) -> str:
    return _at(step.rule.origin if step.rule else step.chain.origin) or "-"


def _at(origin: Origin) -> str:
    return f"{origin.span.source.name}:{origin.span.line}" if origin.span else ""


def _name(step: Step) -> str:
    name = step.table.name
    return name if name in (REVERSAL, ROUTING) else f"{name} {step.chain.name}"


def _step_lines(step: Step, depth: int, place: int) -> Iterator[str]:
    indent = "  " + "  " * depth
    if step.rule is None:
        yield f"{indent}{_place(step):<{place}}  {_name(step)}: {step.result}"
        return
    if step.table.name == REVERSAL:
        yield f"{indent}{'':<{place}}  the kernel translates the answer back: {_back(step)}"
        return
    yield f"{indent}{_place(step):<{place}}  {_name(step)}: {step.rule.origin.text}"
    yield f"{indent}{'':<{place}}  -> {_result(step)}"


def _tracking_line(journey: Journey) -> str:
    if not journey.keepers:
        return "  connection tracking: off, for no rule needs it"
    return f"  connection tracking: {journey.trace.state.name}"


def _ended_early(trace: Trace) -> bool:
    """Whether the packet ended before connection tracking saw it."""
    if trace.hook is Hook.INGRESS and trace.way in (Way.LOCAL_IN, Way.FORWARD):
        return True
    last = next((step for step in reversed(trace.steps) if step.chain.base is not None), None)
    base = last.chain.base if last else None
    return base is not None and trace.hook in _TRACKED_AT and base.priority < CONNTRACK_PRIORITY


def _told(trace: Trace) -> tuple[Step, ...]:
    """The steps that say something: the kernel's own translation of answers has no policy."""
    return tuple(step for step in trace.steps if step.rule is not None or step.table.name != REVERSAL)


def _result(step: Step) -> str:
    return "translated back" if step.table.name == REVERSAL else step.result


def _back(step: Step) -> str:
    """Which end an answer gets back, and what it is."""
    values = (
        {one.field: one.value for one in step.rule.actions if isinstance(one, SetField)} if step.rule else {}
    )
    family = next(iter(step.table.families))
    side = "source" if Field.SOURCE in values else "destination"
    address, port = (
        (Field.SOURCE, Field.SOURCE_PORT) if side == "source" else (Field.DESTINATION, Field.DESTINATION_PORT)
    )
    text = address_text(values.get(address) or 0, family)
    if port in values:
        text = f"[{text}]:{values[port]}" if ":" in text else f"{text}:{values[port]}"
    return f"its {side} is {text} again"


def deciding(trace: Trace) -> Step | None:
    """The step that ended the packet's way, or else the last that accepted it. A nat chain is asked only
    whether no other says anything."""
    found: Step | None = None
    translating = False
    for step in trace.steps:
        if step.chain.base is not None:
            translating = step.chain.base.kind is ChainType.NAT or step.table.name == REVERSAL
        if _is_verdict(step) and (found is None or not translating or trace.hook is not None):
            found = step
    return found


def _is_verdict(step: Step) -> bool:
    return step.rule is None or (
        not step.result.startswith(("jump ", "goto "))
        and any(isinstance(action, Verdict | Unknown | Nat) for action in step.rule.actions)
    )


def _conclusion(journey: Journey) -> Iterator[str]:
    trace = journey.trace
    verdict = _ENDS.get(trace.verdict, trace.verdict.upper())
    ended = deciding(trace)
    where = f" in {trace.hook.value}" if trace.hook is not None else ""
    yield f"{verdict}{where}, by {reason(ended)}" if ended else f"{verdict}: no rule is on its way"
    yield _tracking_reason(journey)
    changed = _translated(journey)
    if changed is not None:
        yield f"Translated: it goes on as {changed['source']} > {changed['destination']}"
    for one in journey.guesses:
        other = _ENDS.get(one.otherwise or "", one.otherwise)
        change = f"; otherwise: {other}" if one.otherwise != trace.verdict and other else ""
        yield f"Assumed: `{one.fact}` {'holds' if one.holds else 'does not hold'}{change}"
    for name in journey.unknown:
        yield f"Not known: {name}"


def reason(step: Step) -> str:
    """The step in words: its chain, its place, its text."""
    at = _place(step)
    where = f" ({at})" if at != "-" else ""
    if step.rule is None:
        return f"the policy of {_name(step)}{where}"
    return f"{_name(step)}{where}: {step.rule.origin.text}"


def _tracking_reason(journey: Journey) -> str:
    trace = journey.trace
    if not journey.keepers:
        return "Not tracked: no rule of its family needs connection tracking, so it is off"
    first = journey.keepers[0]
    place = _at(first.origin)
    because = f"tracking is on because of {first.what}" + (f" ({place})" if place else "")
    if trace.state is State.UNTRACKED:
        by = next((step for step in trace.steps if "untracked" in step.result.split(", ")), None)
        return f"Not tracked: {reason(by)}" if by else "Not tracked: the kernel never tracks such packets"
    if _ended_early(trace):
        return f"It did not come as far as connection tracking ({because})"
    if trace.state is State.INVALID:
        return f"Tracked, but it fits no connection: INVALID ({because})"
    return f"Tracked as {trace.state.name} ({because})"


def _translated(journey: Journey) -> dict[str, str] | None:
    """The two ends after all translation, `?` for what the kernel chooses; None if nothing was translated."""
    packet, values = journey.packet, journey.trace.values
    effects = journey.trace.effects
    if not any(field in _ENDS_OF_PACKET for field, _ in effects.fields):
        return None
    unsure = {field for field, change in effects.fields if isinstance(change, Unsure)}
    ends = {}
    for name, address, port in (
        ("source", Field.SOURCE, Field.SOURCE_PORT),
        ("destination", Field.DESTINATION, Field.DESTINATION_PORT),
    ):
        text = "?" if address in unsure else address_text(values[address], packet.family)
        if packet.has_ports:
            number = "?" if port in unsure else values[port]
            text = f"[{text}]:{number}" if ":" in text else f"{text}:{number}"
        ends[name] = text
    return ends
