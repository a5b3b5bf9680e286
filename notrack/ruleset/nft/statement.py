"""The statements of nft: what a rule asks and does."""

from __future__ import annotations

from notrack.ruleset.nft.expression import Expression, Node, Verdict
from notrack.text.record import dataclass


@dataclass(frozen=True, slots=True)
class Statement(Node):
    """Anything that may stand in a rule, but for a bare `Verdict`, which is an expression as well."""


@dataclass(frozen=True, slots=True)
class Match(Statement):
    """`left op right`.

    `op` is the empty string when none is written. That is not always `==`: for bit masks (`ct state new`,
    `tcp flags syn`) it means *any of these bits*, and `==` means *exactly these bits*.
    """

    left: Expression
    right: Expression
    op: str = ""  # "", ==, !=, <, <=, >, >=, and ! (none of these bits, newer nft)


@dataclass(frozen=True, slots=True)
class Notrack(Statement):
    """`notrack`: works before connection tracking (priority -200) alone."""


@dataclass(frozen=True, slots=True)
class Vmap(Statement):
    """`KEY vmap { ... }` or `KEY vmap @name`: a verdict by key; no element, no verdict."""

    key: Expression
    table: Expression


@dataclass(frozen=True, slots=True)
class Counter(Statement):
    """`counter [packets N bytes N]`."""

    packets: int | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Last(Statement):
    """`last [used TIME]`, of nft after 1.0.6."""

    used: str | None = None


@dataclass(frozen=True, slots=True)
class Limit(Statement):
    """`limit rate [over] AMOUNT[ UNIT]/PER [burst N UNIT]`; unit is empty (packets) or bytes,
    kbytes, mbytes.
    """

    rate: int
    per: str = "second"
    over: bool = False
    unit: str = ""
    burst: int | None = None
    burst_unit: str = "packets"


@dataclass(frozen=True, slots=True)
class Quota(Statement):
    """`quota [over|until] AMOUNT UNIT [used AMOUNT UNIT]`, amounts with their unit as written."""

    amount: str
    mode: str = ""
    used: str | None = None


@dataclass(frozen=True, slots=True)
class ConnectionLimit(Statement):
    """`ct count [over] N`. Looks connections up, so it switches tracking on."""

    count: int
    over: bool = False


@dataclass(frozen=True, slots=True)
class ObjectReference(Statement):
    """`counter name "http"`, `quota name ...`, `limit name ...`, `synproxy name ...`."""

    kind: str
    name: Expression


@dataclass(frozen=True, slots=True)
class Log(Statement):
    """`log prefix "..." group N snaplen N queue-threshold N level NAME flags tcp sequence flags skuid`."""

    prefix: Expression | None = None
    group: int | None = None
    snaplen: int | None = None
    queue_threshold: int | None = None
    level: str | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reject(Statement):
    """`reject`, `reject with tcp reset`, `reject with icmp|icmpv6|icmpx CODE`."""

    protocol: str | None = None  # tcp (a reset), icmp, icmpv6, icmpx
    code: Expression | None = None


@dataclass(frozen=True, slots=True)
class Nat(Statement):
    """`snat`, `dnat`, `masquerade`, `redirect`, with what they translate to.

    `form` is `prefix`, `interval` or `addr . port` where such a word stands before `to`.
    """

    kind: str
    address: Expression | None = None
    port: Expression | None = None
    family: str | None = None
    flags: tuple[str, ...] = ()  # random, fully-random, persistent
    form: str | None = None


@dataclass(frozen=True, slots=True)
class Tproxy(Statement):
    """`tproxy [ip|ip6] to [ADDRESS][:PORT]`."""

    address: Expression | None = None
    port: Expression | None = None
    family: str | None = None


@dataclass(frozen=True, slots=True)
class Assign(Statement):
    """`TARGET set VALUE`: `meta mark set 1`, `ct zone set 5`, `ct helper set "ftp"`, `ip dscp set cs1`."""

    target: Expression
    value: Expression


@dataclass(frozen=True, slots=True)
class Update(Statement):
    """`add|update|delete @set { KEY [timeout T] [statements] [: DATA] }`, an element made by a packet."""

    verb: str
    set: str
    key: Expression
    data: Expression | None = None
    timeout: str | None = None
    statements: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Meter(Statement):
    """`meter NAME [size N] { KEY [timeout T] STATEMENTS }`, the older form of `Update`."""

    name: str
    key: Expression
    statements: tuple[Node, ...] = ()
    size: int | None = None
    timeout: str | None = None


@dataclass(frozen=True, slots=True)
class Offload(Statement):
    """`flow add @flowtable`."""

    flowtable: str


@dataclass(frozen=True, slots=True)
class Queue(Statement):
    """`queue [flags A,B] [to NUMBERS]`."""

    to: Expression | None = None
    flags: tuple[str, ...] = ()  # bypass, fanout


@dataclass(frozen=True, slots=True)
class Synproxy(Statement):
    """`synproxy [mss N] [wscale N] [timestamp] [sack-perm]`."""

    mss: int | None = None
    wscale: int | None = None
    timestamp: bool = False
    sack_perm: bool = False


@dataclass(frozen=True, slots=True)
class Duplicate(Statement):
    """`dup to ADDRESS [device DEVICE]`; in netdev `dup to DEVICE`."""

    to: Expression
    device: Expression | None = None


@dataclass(frozen=True, slots=True)
class Forward(Statement):
    """`fwd [ip|ip6] to [ADDRESS device] DEVICE`."""

    to: Expression
    device: Expression | None = None
    family: str | None = None


@dataclass(frozen=True, slots=True)
class Reset(Statement):
    """`reset tcp option NAME`: the option is taken out of the packet."""

    option: Expression


@dataclass(frozen=True, slots=True)
class Xt(Statement):
    """An xtables extension in a rule of iptables-nft, of which nft shows no more than the name.

    `kind` is target, match or watcher. Read such a table through its save format instead.
    """

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Unknown(Statement):
    """What was not understood, as text: the rest of its rule. It could match or not, and do anything."""

    text: str


RuleStatement = Statement | Verdict
