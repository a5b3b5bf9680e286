"""Declarations that let something through or keep it out: syntax to model."""

from __future__ import annotations

from collections.abc import Callable

from notrack.packets.address import AddressSet, Family
from notrack.packets.intervals import IntervalSet
from notrack.site import model
from notrack.site.addresses import AddressBook, families_of
from notrack.site.clauses import checked_clauses
from notrack.site.faults import Faults
from notrack.site.flow import Flow
from notrack.site.portbook import PortBook
from notrack.site.sides import Sides, place
from notrack.site.syntax import Atom, Clause, Statement
from notrack.site.tables.icmp_names import ICMP_TYPES, MEANT, NEVER_DECLARED
from notrack.site.translations import publish, redirect, source_translation
from notrack.text.diagnostic import Related
from notrack.text.nearest import nearest


def declare(
    statement: Statement, book: AddressBook, ports: PortBook, sides: Sides, faults: Faults
) -> model.Declaration | None:
    """The resolved declaration, or None after an error."""
    before = faults.mark
    clauses = checked_clauses(statement, faults)
    flow = Flow(statement, book, ports, sides, faults, clauses, _families(clauses, faults))
    found = _BUILDERS[statement.keyword.text](flow)
    return found if faults.mark == before else None


def _families(clauses: dict[str, Clause], faults: Faults) -> frozenset[Family]:
    v4, v6 = clauses.get("ipv4"), clauses.get("ipv6")
    if v4 is not None and v6 is not None:
        later = max(v4, v6, key=lambda clause: clause.word.start)
        first = v4 if later is v6 else v6
        faults.error(
            later.span,
            "`ipv4` and `ipv6` together",
            "each restricts the line to its family: leave both out to have both, or write two lines",
            (Related(first.span, "the other one"),),
        )
        return model.BOTH
    if v4 is not None:
        return frozenset({Family.IPV4})
    return frozenset({Family.IPV6}) if v6 is not None else model.BOTH


def _service(flow: Flow) -> model.Service:
    flow.needs_traffic("tcp 80")
    common = flow.common()
    peers, own = flow.peers("from"), flow.at()
    flow.fit(("from", peers), ("at", own))
    return model.Service(**common, families=flow.families, peers=peers, own=own, devices=flow.devices("on"))


def _client(flow: Flow) -> model.Client:
    flow.needs_traffic("udp 53")
    common = flow.common()
    peers = flow.peers("to")
    clause = flow.clauses.get("from port")
    own_ports = flow.ports.resolve(clause.ports) if clause else None
    if clause and not any(t.has_ports for t in common["traffic"]) and flow.statement.parts:
        flow.faults.error(clause.span, "`from port` on a protocol without ports", "leave it out")
    flow.fit(("to", peers))
    return model.Client(
        **common, families=flow.families, peers=peers, from_ports=own_ports, out_devices=flow.devices("out")
    )


def _peer(flow: Flow) -> model.Peer:
    flow.needs_traffic("udp 4789")
    common = flow.common()
    peers = flow.peers("with")
    at = place(flow.clauses.get("at"), flow.sides, flow.clauses.get("on"), "peer")
    if at is not None and (at.groups or at.broadcast):
        stream = next((t for t in common["traffic"] if t.protocol in (6, 132)), None)
        if stream is not None:
            flow.faults.error(
                flow.clauses["at"].span,
                "a connection cannot be made to a group or to broadcast",
                "only `udp` and `proto` reach many at once",
            )
        everywhere = (at.own or AddressSet()) | at.groups
        if at.broadcast:
            everywhere = everywhere | AddressSet(IntervalSet.single(2**32 - 1))
        flow.fit(("with", peers), ("at", everywhere))
    elif at is not None:
        flow.fit(("with", peers), ("at", at.own))
    return model.Peer(
        **common,
        families=flow.families,
        peers=peers,
        own=at.own if at else None,
        groups=at.groups if at else AddressSet(),
        broadcast=at.broadcast if at else False,
        devices=flow.devices("on"),
    )


def _route(flow: Flow) -> model.Route:
    common = flow.common()
    sources, destinations = flow.peers("from"), flow.peers("to")
    flow.fit(("from", sources), ("to", destinations))
    mss = flow.clauses.get("mss")
    if mss is not None and mss.atoms[0].text != "pmtu":
        flow.faults.error(
            mss.atoms[0].span, f"unknown word `{mss.atoms[0].text}` behind `mss`", "write `mss pmtu`"
        )
    elif mss is not None and common["traffic"] and all(t.protocol != 6 for t in common["traffic"]):
        flow.faults.error(
            mss.span, "`mss` on a route without tcp", "only TCP has a segment size: leave it out"
        )
    return model.Route(
        **common,
        families=flow.families,
        sources=sources,
        destinations=destinations,
        devices=flow.devices("on"),
        out_devices=flow.devices("out"),
        clamp_mss=mss is not None,
    )


def _gate(kind: Callable[..., model.Declaration], instead: str) -> Callable[[Flow], model.Declaration]:
    def build(flow: Flow) -> model.Declaration:
        flow.no_traffic(instead)
        common = flow.common()
        peers = flow.peers("from")
        flow.fit(("from", peers))
        if "from" not in flow.clauses and "on" not in flow.clauses:
            flow.faults.error(
                flow.statement.head,
                f"`{flow.keyword}` names nobody",
                "write whom it means: `from ADDRESSES`, `on INTERFACE`, or `from any`",
            )
        return kind(**common, families=flow.families, peers=peers, devices=flow.devices("on"))

    return build


def _icmp(flow: Flow) -> model.Icmp:
    common = flow.common()
    types = [icmp_type(atom, flow.faults) for atom in flow.statement.atoms]
    kinds = tuple(dict.fromkeys(kind for kind in types if kind is not None))
    peers = flow.peers("from")
    flow.fit(("from", peers))
    left = flow.families & families_of(peers)
    for atom, kind in zip(flow.statement.atoms, types, strict=True):
        if kind is not None and not left & type_families(kind):
            only = next(iter(type_families(kind))).label
            flow.faults.error(
                atom.span, f"`{atom.text}` is of {only} only", f"no {only} address is meant here"
            )
    return model.Icmp(**common, families=flow.families, types=kinds, peers=peers, devices=flow.devices("on"))


def type_families(kind: model.IcmpType) -> frozenset[Family]:
    """The families that have an ICMP type."""
    pairs = ((Family.IPV4, kind.v4), (Family.IPV6, kind.v6))
    return frozenset(family for family, number in pairs if number is not None)


def icmp_type(atom: Atom, faults: Faults) -> model.IcmpType | None:
    """An ICMP request by its name; None after an error."""
    found = ICMP_TYPES.get(atom.text)
    if found is not None:
        return found
    reason = NEVER_DECLARED.get(atom.text)
    if reason is not None:
        faults.error(atom.span, f"`{atom.text}` is not a request", reason)
        return None
    near = MEANT.get(atom.text) or nearest(atom.text, ICMP_TYPES)
    help = f"did you mean `{near}`?" if near else f"known: {', '.join(ICMP_TYPES)}"
    faults.error(atom.span, f"unknown ICMP type `{atom.text}`", help)
    return None


_BUILDERS: dict[str, Callable[[Flow], model.Declaration]] = {
    "service": _service,
    "client": _client,
    "peer": _peer,
    "route": _route,
    "masquerade": source_translation,
    "snat": source_translation,
    "publish": publish,
    "redirect": redirect,
    "trust": _gate(
        model.Trust, "a trust is for everything; for some ports write `service NAME ... from ...`"
    ),
    "block": _gate(model.Block, "a block is for everything; what no declaration names is not let in anyway"),
    "icmp": _icmp,
}
