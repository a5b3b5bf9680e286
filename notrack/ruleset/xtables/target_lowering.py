"""Targets as actions of the core. A target that does different things to different packets becomes several
branches: each a guard of its own with what happens then."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from notrack.packets.address import Family
from notrack.packets.fields import TCP_FLAGS, Field, bits_set
from notrack.ruleset import core
from notrack.ruleset.xtables import values
from notrack.ruleset.xtables.catalogue import target_named
from notrack.ruleset.xtables.literals import TRACKED
from notrack.ruleset.xtables.mark_lowering import connection_mark, hash_mark, set_mark
from notrack.ruleset.xtables.translation_lowering import masquerade, netmap, redirect, translated
from notrack.ruleset.xtables.tree import Target
from notrack.ruleset.xtables.words import bare
from notrack.ruleset.xtables.writer import option_text

Branch = tuple[core.Guard, tuple[core.Action, ...]]
Lowering = Callable[[Target, str, Family], tuple[Branch, ...]]

_HANDSHAKE = TCP_FLAGS["fin"] | TCP_FLAGS["syn"] | TCP_FLAGS["rst"] | TCP_FLAGS["ack"]
_VERDICTS = {
    "ACCEPT": core.Verdict.ACCEPT,
    "DROP": core.Verdict.DROP,
    "RETURN": core.Verdict.RETURN,
    "REJECT": core.Verdict.REJECT,
}
_TRACKING = frozenset(
    ("SNAT", "DNAT", "MASQUERADE", "REDIRECT", "NETMAP", "CLUSTERIP", "SYNPROXY", "CONNMARK", "CONNSECMARK")
)
_QUEUES = frozenset(("QUEUE", "NFQUEUE"))
# Without effect on what later rules see, nor on the packet's fate. TCPMSS, TCPOPTSTRIP and ECN change the
# header, but nothing that a rule of this model asks for.
_NOTED = frozenset(
    ("LOG", "NFLOG", "ULOG", "AUDIT", "TRACE", "TEE", "LED", "RATEEST", "IDLETIMER", "SECMARK", "CLASSIFY",
     "CHECKSUM", "ECN", "TCPMSS", "TCPOPTSTRIP")
)  # fmt: skip


def target_branches(target: Target, family: Family, hooks: frozenset[core.Hook]) -> tuple[Branch, ...]:
    """What a verdict or an extension does in a chain that these hooks reach. Unknown ones may do anything.

    Jumps are the caller's.
    """
    text = target_text(target)
    verdict = _VERDICTS.get(target.name)
    if verdict is not None:
        return (((), (verdict,)),)
    if target.name in _NOTED:
        return (((), (core.Log(text),)),)
    lowering = _TARGETS.get(target.name)
    try:
        if target.name == "NETMAP":
            return _plain(netmap(target, text, family, hooks))
        if lowering is not None:
            return lowering(target, text, family)
    except (ValueError, IndexError):
        pass
    return (((), (core.Unknown(text, tracking=target.name in _TRACKING),)),)


def target_text(target: Target) -> str:
    """A target with its options, as iptables-save spells it."""
    extension = target_named(target.name)
    words = [option_text(option, extension) for option in target.options]
    return " ".join(["-g" if target.goto else "-j", bare(target.name), *words])


def _plain(action: core.Action) -> tuple[Branch, ...]:
    return (((), (action,)),)


def _tracking(target: Target, text: str, family: Family) -> tuple[Branch, ...]:
    """CT: without `--notrack` it gives the packet a template, which keeps tracking on."""
    if target.option("--notrack"):
        return _plain(core.Notrack())
    return _plain(core.Template(text, zones=_zones(target)))


def _zones(target: Target) -> tuple[int, int] | None:
    """The zones of both directions; None where a mark says them."""
    zones = [0, 0]
    for name, sides in (("--zone", (0, 1)), ("--zone-orig", (0,)), ("--zone-reply", (1,))):
        option = target.option(name)
        if option is None:
            continue
        if option.values[0] == "mark":
            return None
        for side in sides:
            zones[side] = values.number(option.values[0], 65535)
    return zones[0], zones[1]


def _syn_proxy(target: Target, text: str, family: Family) -> tuple[Branch, ...]:
    """SYNPROXY answers a SYN itself, takes the ACK of a good cookie and drops a bad one (`synproxy_tg4`)."""
    syn = core.Among(Field.FLAGS, bits_set(_HANDSHAKE, TCP_FLAGS["syn"]))
    ack = core.Among(Field.FLAGS, bits_set(_HANDSHAKE, TCP_FLAGS["ack"]))
    cookie = core.Fact("the ACK carries a cookie of SYNPROXY", tracking=True)
    return (
        ((syn,), (core.Verdict.STOLEN,)),
        ((ack, cookie), (core.Verdict.STOLEN,)),
        ((ack,), (core.Verdict.DROP,)),
    )


def _transparent(target: Target, text: str, family: Family) -> tuple[Branch, ...]:
    """TPROXY accepts and marks what a socket takes, and drops the rest."""
    option = target.option("--tproxy-mark")
    value, mask = values.mark(option.values[0]) if option else (0, 0)
    taken = core.Fact(f"a socket takes what {text} gives it", reassembles=True)
    return (
        ((taken,), (core.SetMark(Field.MARK, mask, value), core.Verdict.ACCEPT)),
        ((), (core.Verdict.DROP,)),
    )


def _hops(target: Target, text: str, family: Family) -> tuple[Branch, ...]:
    option = target.options[0]
    value = values.number(option.values[0], 255)
    if option.name.endswith("-set"):
        return _plain(core.SetField(Field.TTL, value))
    return _plain(core.ShiftField(Field.TTL, value if option.name.endswith("-inc") else -value))


def _octet(mask: int, value: int, text: str) -> tuple[Branch, ...]:
    """The TOS octet becomes `(tos & ~mask) ^ value`: one branch for each value of the bits that are kept."""
    kept = [0]
    for bit in (1 << i for i in range(8) if not mask >> i & 1):
        kept += [one | bit for one in kept]
    if len(kept) > 4:
        return _plain(core.SetField(Field.TOS, None, text))
    free = 255 & ~mask
    if not free:
        return _plain(core.SetField(Field.TOS, value))
    # Branches run one after another: the kept bits must not change, or a packet would take two of them.
    if value & free:
        return _plain(core.SetField(Field.TOS, None, text))
    return tuple(
        ((core.Among(Field.TOS, bits_set(free, one)),), (core.SetField(Field.TOS, one ^ value),))
        for one in kept
    )


def _dscp(target: Target, text: str, family: Family) -> tuple[Branch, ...]:
    return _octet(0xFC, 4 * values.dscp(target.options[0].values[0]), text)


def _tos(target: Target, text: str, family: Family) -> tuple[Branch, ...]:
    option = target.options[0]
    if option.name == "--set-tos":
        value, mask = values.tos(option.values[0])
        return _octet(mask, value, text)
    value = values.number(option.values[0], 255)
    mask, flip = {"--and-tos": (255 & ~value, 0), "--or-tos": (value, value), "--xor-tos": (0, value)}[
        option.name
    ]
    return _octet(mask, flip, text)


def _prefix(field: Field, kind: Field) -> Lowering:
    """SNPT and DNPT rewrite a prefix without any connection."""
    kinds = f"whether {kind.value.split()[0]} is local after"

    def lowering(target: Target, text: str, family: Family) -> tuple[Branch, ...]:
        return (((), (core.SetField(field, None, text), core.SetField(kind, None, f"{kinds} {text}"))),)

    return lowering


def _set(target: Target, text: str, family: Family) -> tuple[Branch, ...]:
    if target.option("--map-mark"):
        return _plain(core.SetMark(Field.MARK, 0xFFFFFFFF, None, text))
    return _plain(core.Log(text))


_TARGETS: Mapping[str, Lowering] = {
    **{name: lambda target, text, family: _plain(core.Unknown(text)) for name in _QUEUES},
    "CT": _tracking,
    "NOTRACK": lambda target, text, family: _plain(core.Notrack()),
    "SYNPROXY": _syn_proxy,
    "TPROXY": _transparent,
    "CONNSECMARK": lambda target, text, family: (((TRACKED,), (core.ConnectionSet(text),)),),
    "SNAT": lambda target, text, family: _plain(translated(core.NatKind.SNAT, target, text, family)),
    "DNAT": lambda target, text, family: _plain(translated(core.NatKind.DNAT, target, text, family)),
    "MASQUERADE": lambda target, text, family: _plain(masquerade(target, text)),
    "REDIRECT": lambda target, text, family: _plain(redirect(target, text)),
    "MARK": lambda target, text, family: _plain(set_mark(target)),
    "CONNMARK": lambda target, text, family: (((TRACKED,), (connection_mark(target, text),)),),
    "HMARK": lambda target, text, family: _plain(hash_mark(text)),
    "TTL": _hops,
    "HL": _hops,
    "DSCP": _dscp,
    "TOS": _tos,
    "SNPT": _prefix(Field.SOURCE, Field.SOURCE_TYPE),
    "DNPT": _prefix(Field.DESTINATION, Field.DESTINATION_TYPE),
    "SET": _set,
}
