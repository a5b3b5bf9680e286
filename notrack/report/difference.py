"""A difference of two rulesets, as sentences for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from notrack.netfilter.host import Host
from notrack.netfilter.walk import Trace, Undetermined, walk
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.packets.fields import Field, State
from notrack.packets.packet import Packet
from notrack.packets.witness import Witness
from notrack.proof.difference import TRACKING, TRANSLATION, VERDICT, Change, Difference
from notrack.proof.difference_groups import Group, groups, said
from notrack.proof.difference_labels import Fate, Translation
from notrack.proof.difference_names import spelled
from notrack.proof.difference_roles import Role
from notrack.report.packets import box_words, ends_words
from notrack.report.trace import deciding, reason
from notrack.ruleset.core import Ruleset
from notrack.text.record import dataclass

SCHEMA_VERSION = 1
SHOWN = 20  # lines of one kind of change, unless all are asked for
_WAYS = {
    Way.LOCAL_IN: "to the host",
    Way.FORWARD: "forwarded",
    Way.LOCAL_OUT: "sent by the host",
    Way.LOOPBACK: "from the host to itself",
}
_ROLES = {
    Role.OPENING: "",
    Role.ANSWER: "answers: ",
    Role.LATER: "later packets of a connection: ",
    Role.RELATED: "what is related to a known flow: ",
    Role.STRAY: "stray packets, which fit no known flow: ",
    Role.ERROR: "errors about flows that are tracked no longer: ",
    Role.TRACKED_ERROR: "errors about flows that are tracked now: ",
}
_VERDICTS = {
    "accept": "accepted",
    "drop": "dropped",
    "reject": "rejected",
    "stolen": "answered by SYNPROXY",
}
_STATES = (None, State.ESTABLISHED, State.RELATED, State.INVALID)


@dataclass(frozen=True, slots=True)
class Compared:
    """What was compared: two rulesets on a host, of which each family knows, and the difference of each."""

    before: Ruleset
    after: Ruleset
    hosts: Mapping[Family, Host]
    found: tuple[Difference, ...]
    left_out: tuple[str, ...] = ()  # what was not compared, in words

    @property
    def equal(self) -> bool:
        return all(one.equal for one in self.found)


@dataclass(frozen=True, slots=True)
class Line:
    """Groups that read the same but for their ways and families."""

    words: str
    change: str
    groups: tuple[Group, ...]

    @property
    def text(self) -> str:
        ways = dict.fromkeys(_WAYS[group.way] for group in self.groups)
        both = ", both directions" if all(group.both for group in self.groups) else ""
        return f"{self.words}, {' and '.join(ways)}{both}: {self.change}"


def as_text(compared: Compared, *, every: bool = False, brief: bool = False) -> str:
    """The difference in sentences, each with a packet and the rules that decide about it before and after."""
    lines = _lines(compared)
    out: list[str] = []
    for kind in dict.fromkeys(line.change for line in lines):
        alike = [line for line in lines if line.change == kind]
        shown = alike if every else alike[:SHOWN]
        for line in shown:
            out.append(line.text)
            if not brief:
                out += _evidence(line, compared)
        if len(alike) > len(shown):
            out.append(f"... and {len(alike) - len(shown)} more: {kind} (--all shows them)")
    if out and not brief:
        out.append("")
    return "\n".join([*out, *_conclusion(compared, lines)]) + "\n"


def _lines(compared: Compared) -> list[Line]:
    found: dict[tuple[object, ...], list[Group]] = {}
    for one in compared.found:
        for group in groups(one):
            words = (
                _ROLES[group.change.role] + box_words(group.box, group.packets, group.way) + _depends(group)
            )
            key = (words, change_words(group.change), group.both, said(group.change))
            found.setdefault(key, []).append(group)
    return [Line(str(key[0]), str(key[1]), tuple(alike)) for key, alike in found.items()]


def _depends(group: Group) -> str:
    """The facts on which it rests whether a packet of the group changes."""
    facts = [f"`{name}`" for name in group.packets.facts()]
    if not facts:
        return ""
    return f" (depending on {facts[0]}{' and more' if len(facts) > 1 else ''})"


def change_words(change: Change) -> str:
    """What changed: `accepted, was dropped`."""
    before, after = change.before, change.after
    if change.kind == VERDICT:
        return f"{_verdict(after)}, was {_VERDICTS[before.verdict]}"
    if change.kind == TRACKING:
        return f"{_tracking(after)}, was {_tracking(before)}"
    return f"{_translation(after.translation)}, was {_translation(before.translation)}"


def _verdict(fate: Fate) -> str:
    return _VERDICTS[fate.verdict] + (" untracked" if fate.passes and not fate.tracked else "")


def _tracking(fate: Fate) -> str:
    return "tracked" if fate.tracked else "untracked"


def _translation(moved: Translation | None) -> str:
    if moved is None:
        return "not translated"
    return (
        " and ".join(
            f"its {end} becomes {words}"
            for end, words in (
                ("source", ends_words(moved.get(Field.SOURCE), moved.get(Field.SOURCE_PORT))),
                ("destination", ends_words(moved.get(Field.DESTINATION), moved.get(Field.DESTINATION_PORT))),
            )
            if words
        )
        or "translated to what the kernel chooses"
    )


def _evidence(line: Line, compared: Compared) -> Iterator[str]:
    group = line.groups[0]
    found = group.witness().witness()
    if found is None:
        return
    yield f"    {_as_asked(found, group.way)}"
    for name, ruleset, fate in (
        ("before", compared.before, group.change.before),
        ("after", compared.after, group.change.after),
    ):
        named = spelled(ruleset, found.packet.family)  # the facts of the witness have those names
        trace = _traced(
            named, found.packet, group.change, fate, compared.hosts[found.packet.family], dict(found.facts)
        )
        step = deciding(trace) if trace is not None else None
        if step is not None:
            yield f"    {name + ':':<8}{_VERDICTS[fate.verdict]}, by {reason(step)}"


def _as_asked(found: Witness, way: Way) -> Witness:
    """The packet as `notrack trace` asks for it."""
    return replace(found, packet=replace(found.packet, local=True)) if way is Way.LOCAL_IN else found


def _traced(
    ruleset: Ruleset, packet: Packet, change: Change, fate: Fate, host: Host, facts: dict[str, bool]
) -> Trace | None:
    """The packet's trace in the role that it plays; None where none ends as the comparison says."""
    states = _STATES if change.role in (Role.OPENING, Role.STRAY) else (*_STATES[1:], None)
    for state in states:
        asked = replace(packet, state=state, reply=change.role is Role.ANSWER)
        try:
            trace = walk(ruleset, asked, host, way=change.way, facts=facts)
        except Undetermined:
            continue
        if trace.verdict == fate.verdict and trace.hook is fate.hook:
            return trace
    return None


def _conclusion(compared: Compared, lines: Sequence[Line]) -> Iterator[str]:
    families = " and ".join(one.family.label for one in compared.found)
    undecided = [f"{one.family.label}: {reason}" for one in compared.found for reason in one.undecided]
    if compared.equal:
        yield f"Equal in {families}: no packet changes its verdict, its tracking or its translation"
    elif lines:
        counted = {kind: sum(said(line.groups[0].change)[0] == kind for line in lines) for kind in _KINDS}
        kinds = ", ".join(f"{count} of {_KINDS[kind]}" for kind, count in counted.items() if count)
        yield f"{len(lines)} {'change' if len(lines) == 1 else 'changes'} in {families}: {kinds}"
    for reason_ in undecided:
        yield f"Undecided: {reason_}"
    yield from compared.left_out
    yield from _rests_on(compared)


_KINDS = {VERDICT: "verdict", TRACKING: "tracking", TRANSLATION: "translation"}


def _rests_on(compared: Compared) -> Iterator[str]:
    facts = list(dict.fromkeys(name for one in compared.found for name in one.facts))
    if facts:
        shown = "; ".join(f"`{name}`" for name in facts[:6])
        more = f" and {len(facts) - 6} more" if len(facts) > 6 else ""
        yield f"Taken to be the same on both sides where the words are the same: {shown}{more}"
    open_ = [one.family.label for one in compared.found if compared.hosts[one.family].interfaces is None]
    if open_:
        which = f"{open_[0]} addresses" if len(open_) < len(compared.found) else "addresses"
        yield f"The host's {which} are not known (--host): any address may be its own"


def as_json(compared: Compared) -> dict[str, object]:
    """The difference as the command line promises it."""
    return {
        "schema_version": SCHEMA_VERSION,
        "equal": compared.equal,
        "families": [one.family.value for one in compared.found],
        "changes": [_json(line, group) for line in _lines(compared) for group in line.groups],
        "undecided": [
            {"family": one.family.value, "reason": reason}
            for one in compared.found
            for reason in one.undecided
        ],
        "rests_on": sorted({name for one in compared.found for name in one.facts}),
        "left_out": list(compared.left_out),
    }


def _json(line: Line, group: Group) -> dict[str, object]:
    change = group.witness()
    found = change.witness()
    ends = [_end(change, fate) for fate in (change.before, change.after)]
    return {
        "kind": change.kind,
        "hook": change.hook.value,
        "from": ends[0],
        "to": ends[1],
        "witness": found.packet.to_json() if found else None,
        "holding": [{"fact": name, "holds": holds} for name, holds in found.facts] if found else [],
        "count": change.count(),
        "family": change.packets.space.family.value,
        "way": change.way.value,
        "role": change.role.value,
        "both_directions": group.both,
        "packets": line.words,
    }


def _end(change: Change, fate: Fate) -> str:
    if change.kind == VERDICT:
        return fate.verdict
    return _tracking(fate) if change.kind == TRACKING else _translation(fate.translation)


def families(before: Iterable[Family], after: Iterable[Family]) -> tuple[list[Family], list[str]]:
    """The families that both sides speak of, and words about those of which one side alone does."""
    one, other = set(before), set(after)
    words = []
    for family in Family:
        if (family in one) != (family in other):
            side = "first" if family in other else "second"
            words.append(f"{family.label} is not compared: the {side} ruleset says nothing about it")
    return [family for family in Family if family in one and family in other], words
