"""Declarations that translate addresses or ports: syntax to model."""

from __future__ import annotations

from notrack.packets.address import AddressSet, Family
from notrack.packets.intervals import IntervalSet
from notrack.site import model
from notrack.site.addresses import families_of, is_single
from notrack.site.flow import UNSPECIFIED, Flow
from notrack.site.sides import MULTICAST
from notrack.site.syntax import Clause


def source_translation(flow: Flow) -> model.SourceTranslation:
    common = flow.common()
    flow.no_traffic("source translation is for all that `from` and `to` name: leave the ports out")
    sources, destinations = flow.peers("from"), flow.peers("to")
    target = _target(flow, "as") if flow.keyword == "snat" else None
    flow.fit(("from", sources), ("to", destinations), ("as", target))
    families = flow.kept({"from": sources, "to": destinations, **({"as": target} if target else {})})
    if target is None:
        _say_family(flow, families, implied=flow.keyword == "masquerade")
    else:
        _say_family(flow, flow.kept({"from": sources, "to": destinations}), implied=False)
    return model.SourceTranslation(
        **common,
        families=families,
        sources=sources,
        destinations=destinations,
        out_devices=flow.devices("out"),
        address=target,
    )


def _say_family(flow: Flow, families: frozenset[Family], *, implied: bool) -> None:
    """Translation of IPv6 must be asked for in writing, be it that an address already says so."""
    if Family.IPV6 not in families or len(flow.families) == 1:
        return
    clause = next((flow.clauses[k] for k in ("from", "to") if k in flow.clauses and _wide(flow, k)), None)
    if clause is None and not implied:
        return
    span = clause.addresses.span if clause is not None and clause.addresses else flow.statement.head
    word = "`any` has" if clause is None or _is_any(clause) else "these addresses have"
    if families == {Family.IPV6}:
        message, help = "this would translate IPv6", "add `ipv6` to the line if that is meant"
    else:
        message = f"{word} IPv6 members, and IPv6 is not translated unasked"
        help = "add `ipv4` to the line, or `ipv6` if that is meant"
    flow.faults.error(span, message, help)


def _wide(flow: Flow, key: str) -> bool:
    """Whether addresses written behind that clause have IPv6 members; `any` counts for masquerade alone."""
    clause = flow.clauses[key]
    if _is_any(clause) and flow.keyword != "masquerade":
        return False
    return key in flow.sets and bool(flow.sets[key].v6)


def _is_any(clause: Clause) -> bool:
    return clause.addresses is not None and [atom.type for atom in clause.addresses.items] == ["ANY"]


def _target(flow: Flow, key: str) -> AddressSet | None:
    """The one address behind `as` or `to`; None after an error."""
    clause = flow.clauses.get(key)
    if clause is None and any(c.word.text == key for c in flow.statement.clauses):
        return None  # it is there, in a form that has been reported
    if clause is None or clause.addresses is None:
        example = "as 192.0.2.1" if key == "as" else "to 10.8.0.5"
        flow.faults.error(flow.statement.head, f"`{flow.keyword}` needs an address", f"write `{example}`")
        return None
    if key == "as" and clause.port is not None:
        flow.faults.error(
            clause.port.span, "`port` behind `as`", "the planner chooses the ports: leave it out"
        )
    found = flow.book.resolve(clause.addresses)
    if found is None:
        return None
    narrow = AddressSet(
        found.v4 if Family.IPV4 in flow.families else IntervalSet(),
        found.v6 if Family.IPV6 in flow.families else IntervalSet(),
    )
    if not narrow:
        flow.fit((key, found))
        return None
    if not is_single(narrow):
        help = "add `ipv4` or `ipv6`, or write the one address" if _pair(narrow) else "write the one address"
        flow.faults.error(clause.addresses.span, "one single address is wanted here", help)
        return None
    if narrow & MULTICAST or narrow & UNSPECIFIED:
        flow.faults.error(clause.addresses.span, "no host has this address", "write the address of one host")
        return None
    return narrow


def _pair(addresses: AddressSet) -> bool:
    return addresses.v4.size() == 1 and addresses.v6.size() == 1


def _target_port(flow: Flow) -> int | None:
    clause = flow.clauses.get("to") or flow.clauses.get("to port")
    if clause is None or not clause.ports:
        return None
    if len(clause.ports) > 1:
        flow.faults.error(
            clause.ports[1].span,
            "more than one port behind `port`",
            "one port for all, or leave `port` out to keep the port that was asked",
        )
        return None
    return flow.ports.single(clause.ports[0])


def publish(flow: Flow) -> model.Publish:
    flow.needs_traffic("tcp 443")
    if "to port" in flow.clauses:
        flow.clauses["to"] = flow.clauses["to port"]
    common = flow.common()
    target, port = _target(flow, "to"), _target_port(flow)
    peers, own = flow.peers("from"), flow.at()
    flow.fit(("to", target), ("at", own), ("from", peers))
    families = families_of(target) if target else flow.families
    if "from" in flow.clauses and target is not None and target.v4:
        _say_family(flow, flow.kept({"from": peers}), implied=False)
    _ported(flow, common["traffic"], port)
    return model.Publish(
        **common,
        families=families & flow.families,
        peers=peers,
        own=own,
        devices=flow.devices("on"),
        target=target or AddressSet(),
        port=port,
    )


def _ported(flow: Flow, asked: tuple[model.Traffic, ...], port: int | None) -> None:
    """`port N` against what is asked: a protocol without ports, or many ports to one."""
    clause = flow.clauses.get("to") or flow.clauses.get("to port")
    if port is None or clause is None or clause.port is None:
        return
    if any(not t.has_ports for t in asked):
        flow.faults.error(clause.port.span, "`port` on a protocol without ports", "leave it out")
    elif any(t.ports.size() > 1 for t in asked) and flow.keyword == "publish":
        flow.faults.warn(
            clause.port.span,
            f"several ports all go to port {port}",
            "leave `port` out to keep the port that was asked, or write a line for each",
        )


def redirect(flow: Flow) -> model.Redirect:
    flow.needs_traffic("tcp 80")
    common = flow.common()
    peers, own = flow.peers("from"), flow.at()
    flow.fit(("from", peers), ("at", own))
    if "to port" not in flow.clauses and not any(c.word.text == "to" for c in flow.statement.clauses):
        flow.faults.error(flow.statement.head, "`redirect` needs a port", "write `to port 8080`")
    port = _target_port(flow)
    if "from" in flow.clauses:
        _say_family(flow, flow.kept({"from": peers}), implied=False)
    if any(not t.has_ports for t in common["traffic"]):
        flow.faults.error(
            flow.statement.parts[0].span,
            "a protocol without ports cannot be redirected",
            "only tcp, udp and sctp",
        )
    return model.Redirect(
        **common, families=flow.families, peers=peers, own=own, devices=flow.devices("on"), port=port or 0
    )
