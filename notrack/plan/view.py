"""A plan as a person reads it, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from notrack.packets.address import Family
from notrack.plan.flow import Decision
from notrack.plan.ground import label
from notrack.plan.planner import FamilyPlan, Plan
from notrack.plan.words import port_items

SCHEMA_VERSION = 1


def as_json(plan: Plan) -> dict[str, object]:
    """The plan as `notrack plan --format json` prints it (schema_version 1)."""
    flows = [_flow(decision) for family_plan in plan.families.values() for decision in family_plan.decisions]
    return {
        "schema_version": SCHEMA_VERSION,
        "site": plan.site.name,
        "beside_others": plan.beside_others,
        "tracking": {family.value: found.tracking for family, found in plan.families.items()},
        "translation_ports": {
            family.value: {label(p): list(ports) for p, ports in sorted(found.ranges.items())}
            for family, found in plan.families.items()
        },
        "flows": flows,
    }


def _flow(decision: Decision) -> dict[str, object]:
    flow = decision.flow
    span = flow.origin.span
    return {
        "name": flow.name,
        "kind": flow.kind,
        "family": flow.family.value,
        "protocol": _protocol(decision),
        "ports": _ports(decision),
        "tracked": decision.tracked,
        "reason": decision.reason,
        "notes": list(decision.notes),
        "exposes": decision.exposes,
        "file": span.source.name,
        "line": span.line,
    }


def _protocol(decision: Decision) -> str:
    flow = decision.flow
    if flow.kind == "icmp":
        return "icmp" if flow.family is Family.IPV4 else "icmpv6"
    return "any" if flow.traffic is None else label(flow.traffic.protocol)


def _ports(decision: Decision) -> list[str]:
    flow = decision.flow
    if flow.icmp:
        return [kind.name for kind in flow.icmp if kind.number(flow.family) is not None]
    return [] if flow.traffic is None or not flow.traffic.has_ports else port_items(flow.traffic.ports)


def as_text(plan: Plan) -> str:
    """The plan as `notrack plan` prints it: one line a flow, IPv4 and IPv6 together where they agree."""
    out = [f"site {plan.site.name}"]
    for family, found in plan.families.items():
        out.append(f"  {family.label}: {_extent(found)}")
    out += [f"  {line}" for line in _translation_ports(plan)]
    if plan.beside_others:
        out.append("  beside the rules of others: what they translate must not be among the untracked flows")
    rows = _rows(plan)
    for tracked, title in ((False, "untracked"), (True, "tracked")):
        chosen = [row for row in rows if row[0].tracked is tracked]
        if chosen:
            out += ["", title, *_table(chosen)]
    return "\n".join(out) + "\n"


def _extent(found: FamilyPlan) -> str:
    return {
        "none": "nothing is tracked; its rules name no state, no NOTRACK, no nat",
        "partial": "tracking is on; the flows listed as untracked never enter the table",
        "all": "everything is tracked",
    }[found.tracking]


def _translation_ports(plan: Plan) -> Iterator[str]:
    for family, found in plan.families.items():
        for protocol, (low, high) in sorted(found.ranges.items()):
            yield (
                f"{family.label}: translation uses {label(protocol)} ports {low}-{high},"
                " apart from what is untracked"
            )


Row = tuple[Decision, ...]  # one flow: its decision in one family, or in both where they agree


def _rows(plan: Plan) -> list[Row]:
    every = [d for found in plan.families.values() for d in found.decisions]
    order = {_place(d): n for n, d in reversed(list(enumerate(every)))}
    every.sort(key=lambda d: (order[_place(d)], d.flow.kind, _family_free(_protocol(d))))
    return [tuple(same) for _, same in groupby(every, key=_alike)]


def _place(d: Decision) -> tuple[object, ...]:
    """What tells declarations apart, the same in both families."""
    return d.flow.kind, d.flow.name, d.flow.origin.span.source.name, d.flow.origin.span.start


def _alike(d: Decision) -> tuple[object, ...]:
    reason = _family_free(d.reason)
    return (
        _place(d),
        _family_free(_protocol(d)),
        tuple(_ports(d)),
        d.tracked,
        reason,
        d.exposes is None,
        d.notes,
    )


def _family_free(text: str) -> str:
    """A text that reads the same for both families."""
    return text.replace("icmpv6", "icmp").replace(" in IPv4", "").replace(" in IPv6", "")


def _table(rows: list[Row]) -> Iterator[str]:
    cells = [(_name(row[0]), _what(row[0]), _families(row)) for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(3)]
    for row, cell in zip(rows, cells, strict=True):
        head = "  ".join(text.ljust(width) for text, width in zip(cell, widths, strict=True) if width)
        reason = row[0].reason if len(row) == 1 else _family_free(row[0].reason)
        yield f"  {head}  {reason}".rstrip()
        yield from (f"      {note}" for note in row[0].notes)
        yield from dict.fromkeys(f"      exposes: {d.exposes}" for d in row if d.exposes)


def _name(decision: Decision) -> str:
    flow = decision.flow
    return flow.kind if flow.kind == flow.name else f"{flow.kind} {flow.name}"


def _families(row: Row) -> str:
    return "" if len({decision.flow.family for decision in row}) == 2 else row[0].flow.family.label


def _what(decision: Decision) -> str:
    protocol = _family_free(_protocol(decision))
    ports = _ports(decision)
    listed = ", ".join(ports[:4]) + (f" and {len(ports) - 4} more" if len(ports) > 4 else "")
    return f"{protocol} {listed}".strip()
