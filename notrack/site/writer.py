"""A site as text of the site language, which loads back to an equal site (places aside)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import singledispatch
from typing import Any, TypeVar

from notrack.packets.address import ANY, AddressSet, Family, prefix_text, prefixes
from notrack.packets.intervals import IntervalSet
from notrack.site import model
from notrack.site.prefixes import Prefix
from notrack.site.sides import no_host
from notrack.site.tables.helper_names import WORDS
from notrack.site.tables.protocol_names import PORT_PROTOCOLS, PROTOCOLS
from notrack.text.source import Source

_PORT_WORDS = {number: word for word, number in PORT_PROTOCOLS.items()}
_PROTOCOL_WORDS = {number: word for word, number in reversed(PROTOCOLS.items())}
_PLAIN = re.compile(
    r"(?!ipv[46]$)[a-z]+[0-9]+"
)  # devices that need no quotes; others may be words of the language
_NOWHERE = Source("", "").span(0, 0)
_Placed = TypeVar("_Placed")


def write(site: model.Site) -> str:
    """The text of a site: every name of a port or network resolved, one declaration a line.

    Raises ValueError for what the language cannot say: devices that no interface of the site has.
    """
    blocks = [
        [f"site {site.name}"],
        [_interface(interface) for interface in site.interfaces],
        [f"network {name} = {addresses_text(members)}" for name, members in site.networks],
        list(_settings(site)),
        [_declaration(declaration, site) for declaration in site.declarations],
        [_expectation(expectation, site) for expectation in site.expectations],
    ]
    return "\n\n".join("\n".join(lines) for lines in blocks if lines) + "\n"


def unplaced(value: _Placed) -> _Placed:
    """The same value with every place in a source forgotten, so that two sites can be compared."""
    if isinstance(value, model.Origin):
        return replace(value, span=_NOWHERE, clauses={})
    if isinstance(value, tuple):
        return tuple(unplaced(member) for member in value)  # type: ignore[return-value]
    if is_dataclass(value) and not isinstance(value, type):
        changes: dict[str, Any] = {f.name: unplaced(getattr(value, f.name)) for f in fields(value)}
        return replace(value, **changes)
    return value


def addresses_text(addresses: AddressSet) -> str:
    """Addresses as the language writes them: the shorter of the prefixes and `any except` the rest."""
    if addresses == ANY:
        return "any"
    inside, outside = list(_prefixes(addresses)), list(_prefixes(ANY - addresses))
    if not inside:
        raise ValueError("no addresses: the language has no word for nothing")
    return ", ".join(inside) if len(inside) <= len(outside) + 1 else f"any except {', '.join(outside)}"


def ports_text(ports: IntervalSet) -> str:
    """Ports as the language writes them."""
    if ports == model.ALL_PORTS:
        return "any"
    spans = [(max(low, 1), high) for low, high in ports if high > 0]
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)


def traffic_text(traffic: Sequence[model.Traffic]) -> str:
    """Protocols and ports as the language writes them."""
    return "; ".join(
        f"{_PORT_WORDS[t.protocol]} {ports_text(t.ports)}"
        if t.protocol in _PORT_WORDS
        else f"proto {_PROTOCOL_WORDS.get(t.protocol, t.protocol)}"
        for t in traffic
    )


def _prefixes(addresses: AddressSet) -> Iterator[str]:
    for family in Family:
        for value, length in prefixes(addresses.family(family), family):
            yield prefix_text(value, length, family)


def _interface(interface: model.Interface) -> str:
    devices = ", ".join(device if _PLAIN.fullmatch(device) else f'"{device}"' for device in interface.devices)
    line = f"interface {interface.origin.name} = {devices}"
    owns = [
        _own(low, family, interface) for family in Family for low in _singles(interface.addresses, family)
    ]
    return f"{line} address {', '.join(owns)}" if owns else line


def _singles(addresses: AddressSet, family: Family) -> Iterator[int]:
    for low, high in addresses.family(family):
        yield from range(low, high + 1)


def _own(value: int, family: Family, interface: model.Interface) -> str:
    """An address with the shortest prefix that lies within the networks of its interface."""
    networks = interface.networks.family(family)
    for length in range(family.bits):
        prefix = Prefix(family, value, length)
        if IntervalSet(((prefix.low, prefix.high),)) <= networks and no_host(prefix) is None:
            return f"{prefix.address()}/{length}"
    return f"{Prefix(family, value, family.bits).address()}/{family.bits}"


def _settings(site: model.Site) -> Iterator[str]:
    usual = model.Defaults()
    for hook in ("input", "forward", "output"):
        verdict: model.Default = getattr(site.defaults, hook)
        silent = hook == "output" and not site.defaults.output_replies
        if silent or verdict is not getattr(usual, hook) or hook in site.defaults.origins:
            yield f"default {hook} {verdict.value}" + (" without replies" if silent else "")
    if site.ephemeral != model.DEFAULT_EPHEMERAL:
        low, high = site.ephemeral.spans[0]
        yield f"ephemeral {low}-{high}"
    if site.log is not None:
        yield f"log dropped {site.log.count}/{site.log.unit}"
    if site.tracking.off is not None:
        yield "tracking off"
    if site.tracking.room is not None:
        yield f"tracking room {site.tracking.room} flows"
    for key, seconds in site.tracking.timeouts:
        protocol, _, state = key.partition("_")
        words = [protocol, state.replace("_", "-")] if state else [protocol]
        yield f"tracking timeout {' '.join(words)} {seconds}s"


def _names(devices: tuple[str, ...], site: model.Site) -> str:
    """The interfaces whose devices, put together, are exactly these in this order."""
    found = _cover(devices, (), site)
    if found is None:
        raise ValueError(f"no interfaces of the site have exactly the devices {', '.join(devices)}")
    return ", ".join(found)


def _cover(devices: tuple[str, ...], done: tuple[str, ...], site: model.Site) -> list[str] | None:
    if done == devices:
        return []
    for interface in site.interfaces:
        more = tuple(dict.fromkeys((*done, *interface.devices)))
        if more != done and devices[: len(more)] == more:
            rest = _cover(devices, more, site)
            if rest is not None:
                return [interface.origin.name, *rest]
    return None


def _declaration(declaration: model.Declaration, site: model.Site) -> str:
    words = [declaration.origin.keyword, declaration.origin.name]
    if isinstance(declaration, model.Icmp):
        words.append(", ".join(kind.name for kind in declaration.types))
    elif declaration.traffic:
        words.append(traffic_text(declaration.traffic))
    words.extend(_sides(declaration, site))
    words.extend(_common(declaration))
    return " ".join(words)


def _common(declaration: model.Declaration) -> Iterator[str]:
    if declaration.rate is not None:
        yield f"limit {declaration.rate.count}/{declaration.rate.unit}" + _each(declaration.rate.per_source)
    if declaration.connections is not None:
        limit = declaration.connections
        yield f"limit connections {limit.count}" + _each(limit.per_source)
    if declaration.helper is not None:
        yield f"helper {WORDS[declaration.helper]}"
    if declaration.tracking is not model.Tracking.AUTO:
        yield declaration.tracking.value
    if len(declaration.families) == 1:
        yield next(iter(declaration.families)).value


def _each(per_source: bool) -> str:
    return " per source" if per_source else ""


def _clause(word: str, addresses: AddressSet | None) -> Iterator[str]:
    if addresses is not None and addresses != ANY:
        yield f"{word} {addresses_text(addresses)}"


def _through(word: str, devices: tuple[str, ...], site: model.Site) -> Iterator[str]:
    if devices:
        yield f"{word} {_names(devices, site)}"


@singledispatch
def _sides(declaration: model.Declaration, site: model.Site) -> Iterator[str]:
    """The clauses about addresses and interfaces, which differ from keyword to keyword."""
    raise ValueError(f"the language has no word for {type(declaration).__name__}")


@_sides.register
def _service(declaration: model.Service, site: model.Site) -> Iterator[str]:
    yield from _clause("from", declaration.peers)
    yield from _clause("at", declaration.own)
    yield from _through("on", declaration.devices, site)


@_sides.register
def _client(declaration: model.Client, site: model.Site) -> Iterator[str]:
    yield from _clause("to", declaration.peers)
    if declaration.from_ports is not None:
        yield f"from port {ports_text(declaration.from_ports)}"
    yield from _through("out", declaration.out_devices, site)


@_sides.register
def _peer(declaration: model.Peer, site: model.Site) -> Iterator[str]:
    yield from _clause("with", declaration.peers)
    places = (declaration.own or AddressSet()) | declaration.groups
    said = (["broadcast"] if declaration.broadcast else []) + ([addresses_text(places)] if places else [])
    if said:
        yield f"at {', '.join(said)}"
    yield from _through("on", declaration.devices, site)


@_sides.register
def _route(declaration: model.Route, site: model.Site) -> Iterator[str]:
    yield from _clause("from", declaration.sources)
    yield from _clause("to", declaration.destinations)
    yield from _through("on", declaration.devices, site)
    yield from _through("out", declaration.out_devices, site)
    if declaration.clamp_mss:
        yield "mss pmtu"


@_sides.register
def _source_translation(declaration: model.SourceTranslation, site: model.Site) -> Iterator[str]:
    yield from _clause("from", declaration.sources)
    yield from _clause("to", declaration.destinations)
    yield from _through("out", declaration.out_devices, site)
    yield from _clause("as", declaration.address)


@_sides.register
def _publish(declaration: model.Publish, site: model.Site) -> Iterator[str]:
    yield from _clause("from", declaration.peers)
    yield from _clause("at", declaration.own)
    yield from _through("on", declaration.devices, site)
    port = f" port {declaration.port}" if declaration.port is not None else ""
    yield f"to {addresses_text(declaration.target)}{port}"


@_sides.register
def _redirect(declaration: model.Redirect, site: model.Site) -> Iterator[str]:
    yield from _clause("from", declaration.peers)
    yield from _clause("at", declaration.own)
    yield from _through("on", declaration.devices, site)
    yield f"to port {declaration.port}"


@_sides.register(model.Trust)
@_sides.register(model.Block)
def _gate(declaration: model.Trust | model.Block, site: model.Site) -> Iterator[str]:
    if declaration.peers != ANY or not declaration.devices:
        yield f"from {addresses_text(declaration.peers)}"
    yield from _through("on", declaration.devices, site)


@_sides.register
def _icmp(declaration: model.Icmp, site: model.Site) -> Iterator[str]:
    yield from _clause("from", declaration.peers)
    yield from _through("on", declaration.devices, site)


def _expectation(expectation: model.Expectation, site: model.Site) -> str:
    words = ["expect", *([expectation.tracking] if expectation.tracking else []), expectation.verdict]
    if expectation.protocol in (1, 58):
        words.append("icmp" + (f" {expectation.icmp_type.name}" if expectation.icmp_type else ""))
    elif expectation.protocol in _PORT_WORDS:
        words.append(_PORT_WORDS[expectation.protocol])
    else:
        words.append(traffic_text((model.Traffic(expectation.protocol),)))
    words.append(_end("from", expectation.source, expectation.source_port))
    words.append(_end("to", expectation.destination, expectation.destination_port))
    for word, device in (("on", expectation.device), ("out", expectation.out_device)):
        if device is not None:
            words.append(f"{word} {_first(device, site)}")
    if expectation.flags:
        words.append(f"flags {', '.join(sorted(expectation.flags))}")
    return " ".join(words)


def _end(word: str, addresses: AddressSet | None, port: int | None) -> str:
    text = f"{word} {'host' if addresses is None else addresses_text(addresses)}"
    return text if port is None else f"{text} port {port}"


def _first(device: str, site: model.Site) -> str:
    """The interface whose first device is this one."""
    for interface in site.interfaces:
        if interface.devices[0] == device:
            return interface.origin.name
    raise ValueError(f"no interface of the site begins with the device {device}")
