"""A proof in words: what was proven and on what it rests, or the packet and the rule that break it."""

from __future__ import annotations

from collections.abc import Iterator

from notrack.packets.address import prefix_text, prefixes
from notrack.packets.fields import AddressType
from notrack.packets.witness import Witness
from notrack.proof.fault import Fault, Side
from notrack.proof.validation import Proof, Shown
from notrack.text.diagnostic import Diagnostic, Related, Severity

_HELP = "this is a mistake of notrack, not of the site: no rules were printed. Please report it with the site"
_KINDS = {
    AddressType.LOCAL: "an own address",
    AddressType.BROADCAST: "a broadcast address",
    AddressType.MULTICAST: "a group",
}
_PROPERTIES = (
    "nothing that is untracked should be translated",
    "nothing translated comes back looking untracked",
    "no flow is half tracked: to this host, through it, or on loopback",
    "what passes untracked is what the plan's untracked flows let through, and no more",
)


def fault_diagnostics(proof: Proof) -> tuple[Diagnostic, ...]:
    """Every broken promise as an error at the rule at fault, beside the declaration that asks for it."""
    found = tuple(_diagnostic(fault) for fault in proof.faults)
    if proof.undecided is not None:
        message = f"undecided whether the rules do what the site asks for: {proof.undecided}"
        found += (Diagnostic(Severity.ERROR, message, None, "no rules were printed"),)
    return found


def _diagnostic(fault: Fault) -> Diagnostic:
    rule = fault.does.origin.span if fault.does is not None and fault.does.origin is not None else None
    asked = fault.wants.origin.span if fault.wants is not None and fault.wants.origin is not None else None
    related = () if asked is None or fault.wants is None or fault.wants.origin is None else (
        Related(asked, f"{fault.wants.origin.text} asks for it"),
    )  # fmt: skip
    message = f"{fault.target}: {fault.what} ({fault.family.label})"
    return Diagnostic(Severity.ERROR, message, rule, _HELP, related, tuple(_notes(fault)))


def _notes(fault: Fault) -> Iterator[str]:
    if fault.packet is not None:
        yield f"packet: {fault.packet}{_seen(fault.packet)}"
    if fault.place:
        yield f"at: {fault.place}"
    if fault.wants is not None:
        yield f"the plan asks for: {_side(fault.wants)}"
    if fault.does is not None:
        yield f"the rules: {_side(fault.does)}"


def _side(side: Side) -> str:
    return side.does if side.origin is None or not side.origin.text else f"{side.does} ({side.origin.text})"


def _seen(witness: Witness) -> str:
    """What the packet's text does not say: its state, and to what kind of address it goes."""
    packet = witness.packet
    kind = _KINDS.get(packet.destination_type)
    words = [f"to {kind}"] if kind else []
    if packet.state is not None:
        words.append(f"state {packet.state.name}")
    return f" ({', '.join(words)})" if words else ""


def explained(proof: Proof, *, agreed: bool) -> str:
    """What was proven for each target and family, and what it takes for granted, for a person."""
    lines: list[str] = []
    if not proof.shown:
        return "There is nothing to prove: this target holds no rules.\n"
    for shown in proof.shown:
        lines += _proven(shown)
    if agreed:
        lines.append(
            "The formats agree with each other: for every packet the same verdict, tracking, translation."
        )
    lines += _premises(proof)
    return "".join(f"{line}\n" for line in lines)


def _proven(shown: Shown) -> Iterator[str]:
    how = "on all four ways through the host" if shown.composed else "place by place, so on all four ways"
    yield f"{shown.target}, {shown.family.label}: proven"
    what = f"{shown.legs} legs of the plan ask for"
    yield f"  {shown.rules} rules, read back, do for every packet what {what}, {how}"
    if shown.places:
        yield f"  places with rules: {'; '.join(shown.places)}"
    yield f"  tracking: {shown.tracked}"
    yield from (f"  {text}" for text in _PROPERTIES)


def _premises(proof: Proof) -> Iterator[str]:
    yield "It rests on this:"
    for shown in {shown.family: shown for shown in proof.shown}.values():
        own = [prefix_text(v, n, shown.family) for v, n in prefixes(shown.own, shown.family)]
        if own:
            yield f"  the host has the addresses {', '.join(own)}, as the site says"
    facts = dict.fromkeys(fact for shown in proof.shown for fact in shown.facts)
    for fact in facts:
        yield f"  whatever the answer is, both sides ask the same: {fact}"
    yield "  the host itself asks from its ephemeral ports, and from none that it translates"
    yield "  who is on link at one interface of the site is not reached through another that translates"
    yield "  nothing else on the host judges, marks or translates packets"
