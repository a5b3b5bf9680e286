"""The resolved site: what a host serves, asks, routes and translates, with every name looked up.

Everything here is checked: sets are not empty, names exist, families fit. Whatever a later room
wants to say about a declaration it says with `Origin`, which knows the place in the source.
"""

from __future__ import annotations

import enum
from dataclasses import field

from notrack.packets.address import ANY, AddressSet, Family
from notrack.packets.intervals import IntervalSet
from notrack.text.record import dataclass
from notrack.text.source import Span

ALL_PORTS = IntervalSet(((0, 65535),))
DEFAULT_EPHEMERAL = IntervalSet(((32768, 60999),))
NOBODY = AddressSet()
BOTH = frozenset({Family.IPV4, Family.IPV6})


@dataclass(frozen=True, slots=True)
class Origin:
    """The declaration that something comes from: its keyword, its name, its place.

    `clauses` holds the places of single clauses by their word (`from`, `at`, `untracked`, ...), so that
    an error can mark exactly that word; a missing key means that the clause was not written.
    """

    keyword: str
    name: str
    span: Span
    clauses: dict[str, Span] = field(default_factory=dict, compare=False, hash=False)


@dataclass(frozen=True, slots=True)
class Interface:
    """A named side of the host: one or more devices (`wg*` is a prefix pattern) and its own addresses."""

    origin: Origin
    devices: tuple[str, ...]
    addresses: AddressSet  # the host's own single addresses there; empty when not declared
    networks: AddressSet  # the on-link prefixes of those addresses


@dataclass(frozen=True, slots=True)
class Traffic:
    """A protocol and, for tcp (6), udp (17) and sctp (132), the ports of the side that is asked."""

    protocol: int
    ports: IntervalSet = ALL_PORTS

    @property
    def has_ports(self) -> bool:
        return self.protocol in (6, 17, 132)


class Tracking(enum.Enum):
    """What a declaration says about tracking; AUTO when it says nothing."""

    AUTO = "auto"
    TRACKED = "tracked"
    UNTRACKED = "untracked"


@dataclass(frozen=True, slots=True)
class Rate:
    """`limit N/unit [per source]`."""

    count: int
    unit: str  # "second", "minute", "hour", "day"
    per_source: bool = False


@dataclass(frozen=True, slots=True)
class ConnectionLimit:
    """`limit connections N [per source]`."""

    count: int
    per_source: bool = False


@dataclass(frozen=True, slots=True)
class Declaration:
    """What every declaration that lets something through has in common.

    `devices` and `out_devices` are patterns; empty means all interfaces. `families` is narrowed by an
    `ipv4` or `ipv6` clause only; a family in which an address set is empty has no flow either.
    """

    origin: Origin
    traffic: tuple[Traffic, ...] = ()  # empty: every protocol
    families: frozenset[Family] = BOTH
    tracking: Tracking = Tracking.AUTO
    rate: Rate | None = None
    connections: ConnectionLimit | None = None
    helper: str | None = None


@dataclass(frozen=True, slots=True)
class Service(Declaration):
    peers: AddressSet = ANY
    own: AddressSet | None = None  # None: all own addresses
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Client(Declaration):
    peers: AddressSet = ANY
    from_ports: IntervalSet | None = None  # None: the site's ephemeral range
    out_devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Peer(Declaration):
    """Either side starts. `groups` are multicast addresses from `at`, `broadcast` is `at broadcast`.

    `own` None with no group and no broadcast: all own addresses; None with one: the group alone.
    """

    peers: AddressSet = ANY
    own: AddressSet | None = None
    groups: AddressSet = NOBODY
    broadcast: bool = False
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Route(Declaration):
    sources: AddressSet = ANY
    destinations: AddressSet = ANY
    devices: tuple[str, ...] = ()
    out_devices: tuple[str, ...] = ()
    clamp_mss: bool = False


@dataclass(frozen=True, slots=True)
class SourceTranslation(Declaration):
    """`masquerade` (address None) and `snat .. as ADDR`; one address, hence one family, for snat.

    `families` holds exactly the families that are translated.
    """

    sources: AddressSet = ANY
    destinations: AddressSet = ANY  # from an optional `to` clause
    out_devices: tuple[str, ...] = ()
    address: AddressSet | None = None


@dataclass(frozen=True, slots=True)
class Publish(Declaration):
    """`publish PORTS at OWN on IF to ADDR port N`; `port` None keeps the port that was asked."""

    peers: AddressSet = ANY
    own: AddressSet | None = None
    devices: tuple[str, ...] = ()
    target: AddressSet = NOBODY  # one single address
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Redirect(Declaration):
    """`redirect PORTS on IF to port N`: to the host itself, whatever address was asked (`at` narrows)."""

    peers: AddressSet = ANY
    own: AddressSet | None = None
    devices: tuple[str, ...] = ()
    port: int = 0


@dataclass(frozen=True, slots=True)
class Trust(Declaration):
    peers: AddressSet = ANY
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Block(Declaration):
    peers: AddressSet = ANY
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IcmpType:
    """An ICMP request by name, with its number in each family that has it (None: it has not)."""

    name: str
    v4: int | None
    v6: int | None

    def number(self, family: Family) -> int | None:
        return self.v4 if family is Family.IPV4 else self.v6


@dataclass(frozen=True, slots=True)
class Icmp(Declaration):
    types: tuple[IcmpType, ...] = ()
    peers: AddressSet = ANY
    devices: tuple[str, ...] = ()


class Default(enum.Enum):
    DROP = "drop"
    REJECT = "reject"
    ACCEPT = "accept"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class Defaults:
    """What becomes of what no declaration names. `output_replies` False: `output accept without replies`."""

    input: Default = Default.DROP
    forward: Default = Default.DROP
    output: Default = Default.ACCEPT
    output_replies: bool = True
    origins: dict[str, Origin] = field(default_factory=dict, compare=False, hash=False)  # by hook


@dataclass(frozen=True, slots=True)
class TrackingSettings:
    """The `tracking` lines: `off`, `room N flows`, `timeout WORDS DURATION` (seconds)."""

    off: Origin | None = None
    room: int | None = None
    timeouts: tuple[
        tuple[str, int], ...
    ] = ()  # ("tcp_established", 10800), kernel spelling after nf_conntrack_ and timeout


@dataclass(frozen=True, slots=True)
class Expectation:
    """`expect [untracked|tracked] VERDICT PACKET`. A port, device or ICMP type of None was left open.

    A packet passes one device: the first of the interface that was named, be it a pattern.
    """

    origin: Origin
    verdict: str  # "accept", "drop" or "reject"
    tracking: str | None  # "untracked", "tracked" or None
    protocol: int
    source: AddressSet | None  # None: the host itself
    source_port: int | None
    destination: AddressSet | None  # None: the host itself
    destination_port: int | None
    device: str | None
    out_device: str | None
    flags: frozenset[str] = frozenset()
    icmp_type: IcmpType | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """A whole resolved site. Declarations are in the order of the text."""

    name: str
    interfaces: tuple[Interface, ...] = ()
    networks: tuple[tuple[str, AddressSet], ...] = ()
    declarations: tuple[Declaration, ...] = ()
    expectations: tuple[Expectation, ...] = ()
    ephemeral: IntervalSet = DEFAULT_EPHEMERAL
    defaults: Defaults = Defaults()
    log: Rate | None = None  # `log dropped N/unit`
    tracking: TrackingSettings = TrackingSettings()
