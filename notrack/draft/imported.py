"""A draft of a site from rules that are there, and what of them the language cannot say."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field, replace

from notrack.draft.openings import Openings
from notrack.draft.pieces import Piece
from notrack.draft.wording import Group, groups, named, traffic_of, words
from notrack.netfilter.host import Host
from notrack.netfilter.ways import Way
from notrack.packets.address import ANY, Address, AddressSet, Family, Network, prefixes
from notrack.packets.intervals import IntervalSet
from notrack.ruleset.core import Nat, NatKind, Ruleset
from notrack.site import model
from notrack.site.tables.icmp_names import ICMP_TYPES
from notrack.text.record import dataclass
from notrack.text.source import Source

_NOWHERE = Source("draft", "").span(0, 0)


@dataclass(frozen=True, slots=True)
class Draft:
    """A site, and what could not be said in it."""

    site: model.Site
    unsaid: tuple[str, ...]


def imported(ruleset: Ruleset, host: Host, name: str = "imported") -> Draft:
    """The site that lets through, translates and untracks what the rules do, as near as the language comes.

    May raise `TooHard`.
    """
    there = {family for table in ruleset.tables for family in table.families}
    views = [Openings(ruleset, family, host) for family in Family if family in there]
    return _Drafting(views, host, name).draft()


@dataclass
class _Drafting:
    views: list[Openings]
    host: Host
    name: str
    unsaid: list[str] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    devices: dict[str, None] = field(default_factory=dict)

    def draft(self) -> Draft:
        defaults = self.defaults()
        parts: list[model.Declaration] = []
        parts += self.blocks(defaults)
        parts += self.services(defaults)
        parts += self.requests()
        parts += self.clients(defaults)
        parts += self.routes(defaults)
        parts += self.translations()
        self.assumptions()
        interfaces = self.interfaces(parts)
        site = model.Site(
            self.name, interfaces, (), tuple(parts), ephemeral=self.ephemeral(), defaults=defaults
        )
        return Draft(site, tuple(dict.fromkeys(self.unsaid)))

    # What is left when nothing was named.

    def defaults(self) -> model.Defaults:
        ways = {"input": Way.LOCAL_IN, "forward": Way.FORWARD, "output": Way.LOCAL_OUT}
        found: dict[str, model.Default] = {}
        for word, way in ways.items():
            each = {view.rest(way) for view in self.views}
            if len(each) > 1:
                strict = model.Default.DROP if model.Default.ACCEPT in each else model.Default.REJECT
                self.unsaid.append(
                    f"IPv4 and IPv6 differ in what becomes of the rest of {word}: {strict.value} here"
                )
                found[word] = strict
            else:
                found[word] = next(iter(each), model.Default.DROP)
        replies = all(view.answers_pass() for view in self.views if view.model.tracks)
        return model.Defaults(found["input"], found["forward"], found["output"], replies and bool(self.views))

    def blocks(self, defaults: model.Defaults) -> Iterator[model.Declaration]:
        """Sources from which nothing gets in although others do."""
        closed = {view.family: view.blocked for view in self.views}
        nobody = IntervalSet()
        peers = AddressSet(closed.get(Family.IPV4, nobody), closed.get(Family.IPV6, nobody))
        count = sum(1 for family in Family for _ in prefixes(peers.family(family), family))
        self.shut = AddressSet()
        if peers and count <= 4096:
            self.shut = peers
            yield model.Block(self.origin("block", "blocked"), peers=peers)
        if defaults.input is model.Default.ACCEPT:
            yield from self.gates()

    def gates(self) -> Iterator[model.Declaration]:
        """Where the rest gets in: what does not, as far as the language has words for it."""
        for view in self.views:
            made = view.stopped(Way.LOCAL_IN)
            for piece in made.found:
                peers = self.peers(piece, piece.sources)
                if piece.protocols is None and piece.ports is None and piece.destinations is None:
                    if not (peers - self.shut):
                        continue
                    yield model.Block(
                        self.origin("block", "closed"), peers=peers, devices=self.through(piece.devices)
                    )
                else:
                    self.unsaid.append(
                        f"{view.family.label}: {words(piece)} is stopped although the rest gets in:"
                        " say instead what gets in, with `default input drop`"
                    )
            self.left_out("to the host", view, made.left)

    # What is let through.

    def services(self, defaults: model.Defaults) -> Iterator[model.Declaration]:
        if defaults.input is model.Default.ACCEPT:
            return
        told: list[model.Declaration] = []
        for untracked in (True, False):
            found: list[Piece] = []
            for view in self.views:
                made = view.named(Way.LOCAL_IN, untracked=untracked)
                found += [self.opened(view, piece) for piece in made.found]
                self.left_out("to the host", view, made.left)
            tracked_here = any(view.model.tracks for view in self.views)
            for group in groups(found):
                told += self.service(group, untracked and tracked_here)
        yield from _renamed(_distinct(told))

    def opened(self, view: Openings, piece: Piece) -> Piece:
        """The piece without the holes that a block makes."""
        shut = self.shut.family(piece.family)
        if piece.sources is not None and view.sources <= piece.sources | shut:
            return replace(piece, sources=None)
        return piece

    def service(self, group: Group, untracked: bool) -> Iterator[model.Declaration]:
        first = group.pieces[0]
        tracking = model.Tracking.UNTRACKED if untracked else model.Tracking.AUTO
        if first.protocols is None and first.ports is None and first.source_ports is None:
            if first.destinations is None:
                peers, families = group.peers("sources"), group.families
                yield model.Trust(
                    self.origin("trust", "trusted"),
                    (),
                    families,
                    tracking,
                    peers=peers,
                    devices=self.through(first.devices),
                )
            else:
                self.unsaid.append(f"everything to some own addresses alone: {words(first)}")
            return
        if first.source_ports is not None:
            self.unsaid.append(f"told by the source port: {words(first)}")
            return
        for label, traffic in named(first, group.protocols):
            yield model.Service(
                self.origin("service", label),
                traffic,
                group.families,
                tracking,
                peers=group.peers("sources"),
                own=group.own(),
                devices=self.through(first.devices),
            )

    def requests(self) -> Iterator[model.Declaration]:
        """ICMP requests that are answered."""
        by_number = {(family, kind.number(family)): kind for kind in ICMP_TYPES.values() for family in Family}
        pieces: dict[tuple[object, ...], list[tuple[Piece, set[str]]]] = {}
        for view in self.views:
            made = view.requests(Way.LOCAL_IN)
            for piece in (self.opened(view, one) for one in made.found):
                kinds = piece.icmp_types
                names = {
                    kind.name
                    for (family, number), kind in by_number.items()
                    if family is piece.family and number is not None and (kinds is None or number in kinds)
                }
                if "echo-request" in names:
                    names = {"echo-request"}  # with it comes what nobody asks for any more
                if names:
                    key = (tuple(sorted(names)), piece.devices, piece.sources is None)
                    pieces.setdefault(key, []).append((piece, names))
            self.left_out("ICMP to the host", view, made.left)
        for several in pieces.values():
            group = Group([piece for piece, _ in several])
            types = tuple(ICMP_TYPES[name] for name in sorted(several[0][1]))
            yield model.Icmp(
                self.origin("icmp", "ping"),
                (),
                group.families,
                types=types,
                peers=group.peers("sources"),
                devices=self.through(group.pieces[0].devices),
            )

    def clients(self, defaults: model.Defaults) -> Iterator[model.Declaration]:
        if defaults.output is model.Default.ACCEPT:
            return
        found: list[Piece] = []
        for view in self.views:
            made = view.named(Way.LOCAL_OUT)
            found += made.found
            self.left_out("from the host", view, made.left)
        for group in groups(found, peer="destinations"):
            first = group.pieces[0]
            if first.sources is not None:
                self.unsaid.append(f"from some own addresses alone: {words(first)}")
            for label, traffic in named(first, group.protocols):
                yield model.Client(
                    self.origin("client", f"to-{label}"),
                    traffic,
                    group.families,
                    peers=group.peers("destinations"),
                    from_ports=first.source_ports,
                    out_devices=self.through(first.out_devices),
                )

    def routes(self, defaults: model.Defaults) -> Iterator[model.Declaration]:
        if defaults.forward is model.Default.ACCEPT:
            return
        found: list[Piece] = []
        for view in self.views:
            made = view.named(Way.FORWARD)
            found += made.found
            self.left_out("forwarded", view, made.left)
        for group in groups(found, peer=None):
            first = group.pieces[0]
            if first.source_ports is not None:
                self.unsaid.append(f"forwarded, told by the source port: {words(first)}")
                continue
            for label, traffic in named(first, group.protocols):
                yield model.Route(
                    self.origin("route", label),
                    traffic,
                    group.families,
                    sources=group.peers("sources"),
                    destinations=group.peers("destinations"),
                    devices=self.through(first.devices),
                    out_devices=self.through(first.out_devices),
                )

    # Translation.

    def translations(self) -> Iterator[model.Declaration]:
        for view in self.views:
            yield from self.outward(view)
            yield from self.inward(view)

    def outward(self, view: Openings) -> Iterator[model.Declaration]:
        """Sources that are translated on their way out."""
        told: set[model.Declaration] = set()
        for one in view.translated(Way.FORWARD, NatKind.MASQUERADE, NatKind.SNAT):
            nat = one.nat
            address = _single(nat, view.family)
            if nat.kind is NatKind.SNAT and address is None:
                self.unsaid.append(f"a source translated to several addresses: {nat.text}")
                continue
            for piece in one.found.found:
                if piece.protocols is not None:
                    self.unsaid.append(f"translated by protocol or port: {words(piece)} ({nat.text})")
                if not piece.out_devices:
                    self.unsaid.append(f"translated by whatever interface it leaves: {nat.text}")
                    continue
                made = model.SourceTranslation(
                    self.origin("masquerade", "hidden"),
                    families=frozenset((view.family,)),
                    sources=self.peers(piece, piece.sources),
                    destinations=self.peers(piece, piece.destinations),
                    out_devices=self.through(piece.out_devices),
                    address=None if nat.kind is NatKind.MASQUERADE else address,
                )
                if address is not None and nat.kind is NatKind.SNAT:
                    made = replace(made, origin=self.origin("snat", "hidden"))
                plain = replace(made, origin=self.nobody())
                if plain not in told:
                    told.add(plain)
                    yield made
            self.left_out("translated", view, one.found.left)

    def inward(self, view: Openings) -> Iterator[model.Declaration]:
        """Destinations that are translated on their way in."""
        for way, kind in ((Way.FORWARD, NatKind.DNAT), (Way.LOCAL_IN, NatKind.REDIRECT)):
            for one in view.translated(way, kind):
                nat = one.nat
                for piece in one.found.found:
                    traffic = traffic_of(piece)
                    if not traffic:
                        self.unsaid.append(f"translated whatever its port is: {nat.text}")
                        continue
                    yield from self.published(view, nat, piece, traffic)
                self.left_out("translated", view, one.found.left)

    def published(
        self, view: Openings, nat: Nat, piece: Piece, traffic: tuple[model.Traffic, ...]
    ) -> Iterator[model.Declaration]:
        port = next(iter(nat.ports))[0] if nat.ports is not None and nat.ports.size() == 1 else None
        families = frozenset((view.family,))
        common = {
            "traffic": traffic,
            "families": families,
            "peers": self.peers(piece, piece.sources),
            "own": None if piece.destinations is None else _of(view.family, piece.destinations),
            "devices": self.through(piece.devices),
        }
        if nat.kind is NatKind.REDIRECT:
            yield model.Redirect(self.origin("redirect", "here"), port=port or 0, **common)  # type: ignore[arg-type]
            return
        target = _single(nat, view.family)
        if target is None:
            self.unsaid.append(f"published to several addresses: {nat.text}")
            return
        yield model.Publish(self.origin("publish", "inside"), target=target, port=port, **common)  # type: ignore[arg-type]

    # Everything else.

    def assumptions(self) -> None:
        for view in self.views:
            for piece in view.to_groups().found:
                self.unsaid.append(
                    f"to a group or to broadcast, which a `peer ... at ...` says: {words(piece)}"
                )
            for name in view.rests_on:
                self.unsaid.append(f"a match that no packet decides (it was taken to hold): {name}")

    def left_out(self, what: str, view: Openings, left: Iterable[str]) -> None:
        self.unsaid += [f"{view.family.label}, {what}: packets are told apart by {words}" for words in left]

    def peers(self, piece: Piece, addresses: IntervalSet | None) -> AddressSet:
        return ANY if addresses is None else _of(piece.family, addresses)

    def through(self, devices: tuple[str, ...]) -> tuple[str, ...]:
        self.devices |= dict.fromkeys(devices)
        return devices

    def origin(self, keyword: str, name: str) -> model.Origin:
        """A declaration of a name that is not taken."""
        plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "flow"
        plain = plain if plain[0].isalpha() else f"p{plain}"
        number = self.names[plain] = self.names.get(plain, 0) + 1
        return model.Origin(keyword, plain if number == 1 else f"{plain}-{number}", _NOWHERE)

    def nobody(self) -> model.Origin:
        return model.Origin("", "", _NOWHERE)

    def ephemeral(self) -> IntervalSet:
        return self.host.ephemeral or model.DEFAULT_EPHEMERAL

    def interfaces(self, parts: Sequence[model.Declaration]) -> tuple[model.Interface, ...]:
        """An interface for every device that a declaration names, with its addresses where they are known."""
        own = {one.name: one for one in self.host.interfaces or ()}
        found: list[model.Interface] = []
        for device in self.devices:
            known = own.get(device)
            addresses = AddressSet.of(
                _network(at.ip) for at in (known.addresses if known else ()) if not at.ip.is_link_local
            )
            networks = AddressSet.of(
                at.network for at in (known.addresses if known else ()) if not at.ip.is_link_local
            )
            origin = self.origin("interface", device.rstrip("*"))
            found.append(model.Interface(origin, (device,), addresses, networks))
        return tuple(found)


def _distinct(declarations: Sequence[model.Declaration]) -> list[model.Declaration]:
    """Without services of which another one says everything."""
    services = [one for one in declarations if isinstance(one, model.Service)]

    def within(one: model.Service, other: model.Service) -> bool:
        devices = not other.devices or (bool(one.devices) and set(one.devices) <= set(other.devices))
        own = other.own is None or (one.own is not None and not (one.own - other.own))
        ports = {traffic.protocol: traffic.ports for traffic in other.traffic}
        traffic = all(t.protocol in ports and t.ports <= ports[t.protocol] for t in one.traffic)
        same = one.tracking is other.tracking and one.families <= other.families
        return devices and own and traffic and same and not (one.peers - other.peers)

    needless: set[int] = set()
    for i, one in enumerate(services):
        for j, other in enumerate(services):
            if i != j and j not in needless and within(one, other):
                needless.add(i)
                break
    gone = {id(services[i]) for i in needless}
    return [one for one in declarations if id(one) not in gone]


def _renamed(declarations: Sequence[model.Declaration]) -> Iterator[model.Declaration]:
    """With names numbered anew, where some were left out."""
    seen: dict[str, int] = {}
    for one in declarations:
        base = re.sub(r"(?<=[a-z])-\d$", "", one.origin.name)
        number = seen[base] = seen.get(base, 0) + 1
        name = base if number == 1 else f"{base}-{number}"
        yield replace(one, origin=replace(one.origin, name=name))


def _network(address: Address) -> Network:
    return ipaddress.ip_network(str(address))


def _of(family: Family, addresses: IntervalSet) -> AddressSet:
    return AddressSet(addresses) if family is Family.IPV4 else AddressSet(IntervalSet(), addresses)


def _single(nat: Nat, family: Family) -> AddressSet | None:
    """The one address of a translation."""
    if nat.addresses is None or nat.addresses.size() != 1:
        return None
    return _of(family, nat.addresses)
