"""Legs as an iptables-restore file of one family.

`filter` stands before `raw`, so that at no moment something is untracked and not yet let through: the file
takes effect table by table, in its order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field, replace
from itertools import product

from notrack.layout.chains import Chains, Line
from notrack.layout.comment import comment
from notrack.layout.listing import Prefixes
from notrack.layout.merging import Group, Part, groups
from notrack.layout.phrase import Match, Phrase, phrase
from notrack.layout.shares import Shares
from notrack.layout.target import TRANSLATES, carried, counting, states, target
from notrack.packets.address import Family
from notrack.packets.intervals import IntervalSet
from notrack.plan.box import ICMP_TYPES
from notrack.plan.leg import Hook, Stage, Verb
from notrack.plan.planner import FamilyPlan
from notrack.ruleset.xtables import build
from notrack.ruleset.xtables.tree import Chain, Rule, Ruleset, Table
from notrack.site.model import Default, Defaults, Origin
from notrack.text.record import dataclass

_TYPES = 4  # up to so many ICMP types stand in the chain itself
_INLINE = 8  # up to so many rules an address list is written out; beyond, it becomes a chain

Hooks = tuple[tuple[str, tuple[Hook, ...], str], ...]  # the built-in chain, what acts there, our chain
_TABLES: tuple[tuple[str, Hooks], ...] = (
    (
        "filter",
        (
            ("INPUT", (Hook.INPUT,), "IN"),
            ("FORWARD", (Hook.FORWARD,), "FWD"),
            ("OUTPUT", (Hook.OUTPUT,), "OUT"),
        ),
    ),
    ("mangle", (("FORWARD", (Hook.MANGLE_FORWARD,), "MSS"),)),
    (
        "nat",
        (
            ("PREROUTING", (Hook.NAT_IN,), "DNAT"),
            ("OUTPUT", (Hook.NAT_OUT,), "DNAT-OUT"),
            ("POSTROUTING", (Hook.NAT_POST,), "SNAT"),
        ),
    ),
    (
        "raw",
        (
            ("PREROUTING", (Hook.RAW_IN, Hook.HELPER_IN), "PRE"),
            ("OUTPUT", (Hook.RAW_OUT, Hook.HELPER_OUT), "RAW-OUT"),
        ),
    ),
)
_BUILTIN = {
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "raw": ("PREROUTING", "OUTPUT"),
}


@dataclass(frozen=True, slots=True)
class Mapped:
    """One emitted rule and the declarations it comes from, for `--map`."""

    table: str
    rule: Rule
    origins: tuple[Origin, ...]


@dataclass
class Restore:
    """A restore file in the making."""

    family: Family
    defaults: Defaults
    coexist: bool
    networks: dict[tuple[tuple[int, int], ...], str] = field(default_factory=dict)
    own: IntervalSet = field(default_factory=IntervalSet)


def layout(plan: FamilyPlan, restore: Restore) -> tuple[Ruleset, list[Mapped]]:
    """The whole file, and its map."""
    tables: list[Table] = []
    mapped: list[Mapped] = []
    for table, hooks in _TABLES:
        chains = Chains(prefix="NOTRACK-" if restore.coexist else "")
        heads: list[tuple[str, str]] = []
        for builtin, leg_hooks, short in hooks:
            chain = f"NOTRACK-{short}" if restore.coexist else builtin
            if _hook(plan, restore, chains, chain, leg_hooks, builtin if table == "filter" else None):
                heads.append((builtin, chain))
        if not heads and not _emptied(table, plan, restore):
            continue
        made = [(line.rule(), line.origins) for line in chains.lines()]
        mapped += [Mapped(table, rule, origins) for rule, origins in made]
        jumps = [_jump(builtin, chain) for builtin, chain in heads] if restore.coexist else []
        tables.append(
            build.table(table, tuple(_chains(table, hooks, chains, restore)), (*(r for r, _ in made), *jumps))
        )
    return Ruleset(restore.family, tuple(tables)), mapped


def _emptied(table: str, plan: FamilyPlan, restore: Restore) -> bool:
    """Whether a table without rules is named all the same, so that rules of an earlier site leave it.

    NOTRACK rules that stay behind would cut what is tracked from now on.
    """
    if table == "filter":
        return True
    return table == "raw" and (plan.tracking != "none" or restore.coexist)


def _hook(
    plan: FamilyPlan,
    restore: Restore,
    chains: Chains,
    chain: str,
    hooks: tuple[Hook, ...],
    default: str | None,
) -> bool:
    """The rules of one hook; whether there are any."""
    found = sorted((g for hook in hooks for g in groups(plan.legs, hook)), key=lambda group: group.stage)
    chains.open(chain)
    for group in found:
        _group(group, restore, chains, chain)
    if restore.coexist and default and _default(restore.defaults, default) in (Default.DROP, Default.REJECT):
        origins = (restore.defaults.origins.get(default.lower()),)
        chains.add(Line(chain, "", "-j DROP", tuple(o for o in origins if o is not None), "default"))
        return True
    return bool(found)


def _default(defaults: Defaults, builtin: str) -> Default:
    return {"INPUT": defaults.input, "FORWARD": defaults.forward, "OUTPUT": defaults.output}[builtin]


def _chains(table: str, hooks: Hooks, chains: Chains, restore: Restore) -> Iterator[Chain]:
    heads: list[str] = []
    if restore.coexist:
        heads = [f"NOTRACK-{short}" for _, _, short in hooks]
    else:
        yield from (build.chain(name, _policy(table, name, restore.defaults)) for name in _BUILTIN[table])
    yield from (build.chain(name) for name in chains.own(_BUILTIN[table], heads))


def _jump(builtin: str, chain: str) -> Rule:
    return build.rule(builtin, f"-j {chain}", "notrack", command="-I")


def _policy(table: str, builtin: str, defaults: Defaults) -> str:
    if table != "filter":
        return "ACCEPT"
    return "DROP" if _default(defaults, builtin) in (Default.DROP, Default.REJECT) else "ACCEPT"


def _group(group: Group, restore: Restore, chains: Chains, chain: str) -> None:
    if group.stage is Stage.FRAGMENT and restore.family is Family.IPV6:
        chain = _fragments(chains, chain, group)
    action = target(group, restore.family, restore.coexist)
    condition = _joined(states(group), f"-m helper --helper {group.helper}" if group.helper else "")
    count = counting(group, restore.family)
    # RETURN leaves our chain to the rules of others; from a chain inside it, it would only come back to it.
    whole = restore.coexist and group.action.verb is Verb.KEEP
    phrases = [(part, phrase(part.box, restore.own, in_one_rule=whole)) for part in group.parts]
    many = sum(_size(p) for _, p in phrases) > 1 or group.action.verb in TRANSLATES
    if count and group.action.verb is not Verb.LOG and many:
        inner = chains.named(f"limit-{group.origins[0].name}", ("limit", count, action, group.origins))
        if group.action.verb in TRANSLATES:
            _gate(group, chains, inner, count)
            for part, words in phrases:
                _part(part, words, group, restore, chains, chain, condition, f"-j {inner}")
        else:
            chains.add_once(Line(inner, count, action, group.origins))
            action = f"-j {inner}"
        count = ""
    for part, words in phrases:
        _part(part, words, group, restore, chains, chain, _joined(condition, count), action)


def _gate(group: Group, chains: Chains, inner: str, count: str) -> None:
    """A chain that lets a packet go on to its translation up to the rate, and above it leaves it as it is:
    another translation behind this one has no part in its packets."""
    chains.add_once(Line(inner, count, "-j RETURN", group.origins))
    chains.add(Line(inner, "", "-j ACCEPT", group.origins))


def _size(words: Phrase) -> int:
    return words.others() * _listed(words.sources) * _listed(words.destinations)


def _listed(prefixes: Prefixes | None) -> int:
    return 1 if prefixes is None else len(prefixes.listed)


def _fragments(chains: Chains, chain: str, group: Group) -> str:
    """The chain of later IPv6 fragments: entered by every fragment, left again by the first of each."""
    inner = chains.named("later-fragments", ("fragments", chain))
    origins = group.origins
    chains.add(
        Line(chain, "-m ipv6header --header ipv6-frag --soft", f"-j {inner}", origins, comment(origins))
    )
    chains.add_once(Line(inner, "-m frag --fragfirst", "-j RETURN", origins, comment(origins)))
    return inner


def _part(
    part: Part,
    words: Phrase,
    group: Group,
    restore: Restore,
    chains: Chains,
    chain: str,
    extra: str,
    action: str,
) -> None:
    sources, destinations = words.sources, words.destinations
    inline_only = restore.coexist and group.action.verb is Verb.KEEP
    if len(words.matches) > _TYPES and part.box.icmp != ICMP_TYPES and not inline_only:
        action = _types_chain(words, part, chains, action)
        words = replace(words, matches=(Match(""),))
    for option in ("-d", "-s"):
        prefixes = sources if option == "-s" else destinations
        if prefixes is None or (len(prefixes.listed) == 1):
            continue
        too_many = words.others() * _listed(sources) * _listed(destinations) > _INLINE
        if prefixes.negated or (too_many and not inline_only):
            kept = carried(group.action, words.protocols[0])
            action = _address_chain(option, prefixes, part, restore, chains, kept, action)
            sources, destinations = (None, destinations) if option == "-s" else (sources, None)
    share = Shares(part)
    for source, destination, devices, protocol, match in product(
        _addresses("-s", sources),
        _addresses("-d", destinations),
        words.devices,
        words.protocols,
        words.matches,
    ):
        text = _joined(source[0], destination[0], devices, protocol, words.fragment, match.text, extra)
        origins = share.of(source=source[1], destination=destination[1], match=match)
        chains.add(Line(chain, text, action, origins))


def _types_chain(words: Phrase, part: Part, chains: Chains, action: str) -> str:
    """A chain for many ICMP types, so that other packets pass them in one step."""
    name = chains.named("icmp-types", (words.matches, words.protocols, action))
    share = Shares(part)
    chains.serve(
        Line(name, _joined(words.protocols[0], match.text), action, share.of(match=match))
        for match in words.matches
    )
    return f"-j {name}"


def _addresses(option: str, prefixes: Prefixes | None) -> Iterator[tuple[str, IntervalSet | None]]:
    """Each prefix as a condition, with its addresses; negated ones say nothing of a single prefix."""
    if prefixes is None:
        yield "", None
        return
    for text, span in zip(prefixes.listed, prefixes.spans, strict=True):
        yield (f"! {option} {text}", None) if prefixes.negated else (f"{option} {text}", IntervalSet((span,)))


def _address_chain(
    option: str, prefixes: Prefixes, part: Part, restore: Restore, chains: Chains, carried: str, action: str
) -> str:
    """A chain that goes on with `action` for one list of addresses; shared by all that need the same."""
    addresses = part.box.source if option == "-s" else part.box.destination
    assert addresses is not None
    known = restore.networks.get(addresses.spans, "list")
    name = chains.named(f"{'from' if option == '-s' else 'to'}-{known}", (option, prefixes, carried, action))
    if prefixes.negated:
        spared = [Line(name, f"{option} {prefix}", "-j RETURN", part.origins) for prefix in prefixes.listed]
        chains.serve([*spared, Line(name, carried, action, part.origins)])
        return f"-j {name}"
    share = Shares(part)
    lines: list[Line] = []
    for text, span in zip(prefixes.listed, prefixes.spans, strict=True):
        there = IntervalSet((span,))
        origins = share.of(source=there) if option == "-s" else share.of(destination=there)
        lines.append(Line(name, _joined(f"{option} {text}", carried), action, origins))
    chains.serve(lines)
    return f"-j {name}"


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)
