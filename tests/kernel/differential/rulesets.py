"""Random rulesets: of the tables of xtables (which nft can say too), and of nft's own kind."""

from __future__ import annotations

import random
from dataclasses import replace

from tests.kernel.differential import actions, matches, nft_rules
from tests.kernel.differential.actions import ACCEPT, DROP, NOTHING, RETURN
from tests.kernel.differential.shape import Case, Chain, Hooked, Part, Rule, Table

FAMILY_WORDS = {4: "ip", 6: "ip6"}
PRIORITY = {"raw": -300, "mangle": -150, "filter": 0}
NAT_PRIORITY = {"prerouting": -100, "output": -100, "input": 100, "postrouting": 100}
HOOKS = {
    "raw": ("prerouting", "output"),
    "mangle": ("prerouting", "input", "forward", "output", "postrouting"),
    "nat": ("prerouting", "input", "output", "postrouting"),
    "filter": ("input", "forward", "output"),
}
PLAIN_PRIORITIES = (-450, -350, -300, -300, -250, -190, -150, -150, -90, -10, 0, 0, 10, 99, 150)
NFT_NAT_PRIORITIES = {"dst": (-100, -100, -110, 50), "src": (100, 100, 90, -20)}


def random_case(rng: random.Random) -> Case:
    """A ruleset of the xtables kind (all three backends load it) or of nft's own."""
    return xtables_case(rng) if rng.random() < 0.6 else nft_case(rng)


def xtables_case(rng: random.Random) -> Case:
    families = rng.choice(((4,), (6,), (4, 6), (4,)))
    tracking = rng.choice((0.0, 0.3, 1.0, 1.0))
    return Case(tuple(table for family in families for table in _xt_tables(rng, family, tracking)))


def _xt_tables(rng: random.Random, family: int, tracking: float) -> list[Table]:
    wanted = [
        name
        for name, share in (("raw", 0.7), ("mangle", 0.4), ("nat", 0.6 * (tracking > 0)), ("filter", 0.95))
        if rng.random() < share
    ]
    return [_Writer(rng, family, name, tracking).table() for name in wanted]


def nft_case(rng: random.Random) -> Case:
    """Tables of families ip, ip6 and inet with several base chains, sets and maps."""
    tracking = rng.choice((0.0, 0.3, 1.0, 1.0))
    tables = []
    for i in range(rng.choice((1, 1, 2, 2, 3))):
        word = rng.choice(("ip", "ip6", "inet", "inet"))
        writer = _Writer(rng, 6 if word == "ip6" else 4, f"t{i}", tracking, nft=word)
        tables.append(writer.nft_table())
    if rng.random() < 0.25:
        writer = _Writer(rng, 4, "dev", 0.0, nft="netdev")
        writer.rewrites = not tracking
        tables.append(writer.device_table())
    return Case(tuple(tables))


class _Writer:
    """Makes one table."""

    def __init__(
        self, rng: random.Random, family: int, name: str, tracking: float, *, nft: str | None = None
    ) -> None:
        self.rng = rng
        self._family = family
        self.name = name
        self.tracking = tracking
        self.nft = nft
        self.sets = nft_rules.Sets(rng, nft) if nft else None
        self.rewrites = nft is not None and not tracking  # of tracked packets the entry would tell more

    @property
    def family(self) -> int:
        """The family of the next rule: a table inet speaks of both, and one of devices."""
        return self.rng.choice((4, 6)) if self.nft in ("inet", "netdev") else self._family

    # --- tables ---------------------------------------------------------------------------------

    def table(self) -> Table:
        """One of the tables of xtables, all its built-in chains, and chains of its own."""
        rng, name = self.rng, self.name
        word = FAMILY_WORDS[self._family]
        if name == "nat":
            roles = {"dst": ("prerouting", "output"), "src": ("input", "postrouting")}
            made: list[Chain] = []
            for role, hooks in roles.items():
                own = self.chains(f"{role}c", 1 if rng.random() < 0.4 else 0, "", role)
                made += own
                for hook in hooks:
                    if rng.random() < 0.8:
                        base = Hooked(hook, NAT_PRIORITY[hook], "nat")
                        made.append(self.base(hook.upper(), base, own, role))
                    else:
                        made.append(Chain(hook.upper(), (), Hooked(hook, NAT_PRIORITY[hook], "nat")))
            return Table(word, name, tuple(made))
        own = self.chains("c", rng.choice((0, 1, 1, 2, 3)), "", name)
        bases = [
            self.base(hook.upper(), self.hooked(hook, PRIORITY[name]), own, name) for hook in HOOKS[name]
        ]
        return Table(word, name, (*own, *bases))

    def nft_table(self) -> Table:
        rng = self.rng
        assert self.nft is not None and self.sets is not None
        own = self.chains("c", rng.choice((0, 1, 2, 3)), "", "nft")
        bases = []
        for i in range(rng.choice((1, 2, 3, 4, 5))):
            hook = rng.choice(
                ("prerouting", "input", "forward", "output", "postrouting", "prerouting", "input")
            )
            base = self.hooked(hook, rng.choice(PLAIN_PRIORITIES))
            bases.append(self.base(f"b{i}", base, own, "nft"))
        if self.tracking and rng.random() < 0.5:
            bases += self.nft_nat()
        return Table(self.nft, self.name, (*own, *bases), self.sets.declarations())

    def device_table(self) -> Table:
        """A table of family netdev. It must let alone what is no IP: the lab has frames of its own."""
        rng = self.rng
        assert self.sets is not None
        own = self.chains("c", rng.choice((0, 1)), "", "netdev")
        bases = []
        for i in range(rng.choice((1, 2, 3))):
            hook = rng.choice(("ingress", "ingress", "egress"))
            device = rng.choice(("eth0", "eth0", "eth1", "lo"))
            base = Hooked(hook, rng.choice((-500, 0, 0, 10)), "filter", "accept", device)
            bases.append(self.base(f"b{i}", base, own if hook == "ingress" else [], "netdev"))
        return Table("netdev", self.name, (*own, *bases), self.sets.declarations())

    def nft_nat(self) -> list[Chain]:
        rng = self.rng
        made = []
        for i in range(rng.choice((1, 2, 3))):
            role = rng.choice(("dst", "src"))
            hook = rng.choice(
                {"dst": ("prerouting", "prerouting", "output"), "src": ("postrouting", "input")}[role]
            )
            base = Hooked(hook, rng.choice(NFT_NAT_PRIORITIES[role]), "nat")
            made.append(self.base(f"n{i}", base, [], role))
        return made

    def hooked(self, hook: str, priority: int) -> Hooked:
        drops = self.rng.random() < (0.2 if priority == 0 else 0.03)
        route = self.nft is not None and hook == "output" and self.rng.random() < 0.4
        return Hooked(hook, priority, "route" if route else "filter", "drop" if drops else "accept")

    # --- chains ---------------------------------------------------------------------------------

    def chains(self, stem: str, count: int, hook: str, role: str) -> list[Chain]:
        """Chains that only jumps lead to; each may jump to those made before it."""
        made: list[Chain] = []
        for i in range(count):
            rules = tuple(self.rule(hook, role, made) for _ in range(self.rng.randint(1, 4)))
            made.append(Chain(f"{stem}{i}", rules))
        return made

    def base(self, name: str, base: Hooked, own: list[Chain], role: str) -> Chain:
        most = 3 if role in ("raw", "mangle", "dst", "src") else 6
        rules = [self.rule(base.hook, role, own) for _ in range(self.rng.randint(0, most))]
        return Chain(name, tuple(rules), base)

    def rule(self, hook: str, role: str, own: list[Chain]) -> Rule:
        rng, family = self.rng, self.family
        proto: str | None = None
        parts: list[Part] = []
        if self.nft == "netdev":
            parts.append(Part(None, f"meta protocol {FAMILY_WORDS[family]}"))
        if rng.random() < 0.7:
            proto, part = matches.protocol(rng, family)
            parts.append(part)
            if proto in ("tcp", "udp") and rng.random() < 0.75:
                parts.append(matches.ports(rng, proto))
            if proto == "tcp" and rng.random() < 0.3:
                parts.append(matches.flags(rng))
            if proto == "icmp" and rng.random() < 0.7:
                parts.append(matches.icmp_type(rng, family))
        tracking = self.tracking if role not in ("raw", "dst", "src") else self.tracking * 0.1
        for _ in range(rng.choice((0, 0, 1, 1, 2)) or int(not parts)):
            part = self.extra(family, hook, tracking, proto)
            parts.append(part)
            if part.xt is None and proto is None:
                proto = next((word for word in ("tcp", "udp") if f"{word} " in (part.nft or "")), proto)
        action, calls = self.action(hook, role, own, family, proto)
        return Rule(tuple(_once(parts)), action, calls)

    def extra(self, family: int, hook: str, tracking: float, proto: str | None) -> Part:
        if self.sets is not None and self.rng.random() < 0.4:
            return self.sets.match(family, proto)
        return matches.extra(self.rng, family, hook, tracking)

    # --- what rules do --------------------------------------------------------------------------

    def action(
        self, hook: str, role: str, own: list[Chain], family: int, proto: str | None
    ) -> tuple[Part, tuple[str, ...]]:
        rng = self.rng
        if own and rng.random() < 0.25:
            if self.sets is not None and rng.random() < 0.3:
                return self.sets.verdicts(own, family, proto)
            chain = rng.choice(own)
            return actions.call(rng, chain.name), (chain.name,)
        if role == "dst":
            return rng.choice((actions.destination(rng, family, proto),) * 5 + (ACCEPT, RETURN)), ()
        if role == "src":
            kept = hook == "postrouting"
            return rng.choice(
                (actions.source(rng, family, proto, masquerade=kept),) * 5 + (ACCEPT, RETURN)
            ), ()
        if role == "raw":
            return rng.choice((actions.untrack(rng),) * 7 + (ACCEPT, RETURN, DROP, NOTHING)), ()
        if role == "mangle":
            return rng.choice(
                (actions.set_mark(rng),) * 5 + (actions.set_field(rng, family), ACCEPT, RETURN, DROP)
            ), ()
        plain: tuple[Part, ...] = (
            ACCEPT,
            ACCEPT,
            ACCEPT,
            ACCEPT,
            DROP,
            RETURN,
            NOTHING,
            actions.set_mark(rng),
        )
        if role == "netdev":
            plain = (*plain[:-1], actions.set_field(rng, family, nft=True))
            if hook == "ingress" and self.rewrites:
                plain += (actions.address(rng, family),)
            return rng.choice(plain + (actions.NOTRACK, actions.set_mark(rng)) * (hook != "egress")), ()
        routed = hook in ("prerouting", "output")
        if role == "nft" and routed and self.rewrites and rng.random() < 0.15:
            return actions.address(rng, family), ()
        if role == "nft" and rng.random() < 0.08:
            return actions.set_field(rng, family, nft=True), ()
        if role == "nft":
            plain += (actions.NOTRACK, actions.NOTRACK, *self.sets_actions(family, proto))
            if hook in ("prerouting", "input", "forward", "output"):
                plain += (actions.reject(rng, family, proto),)
        else:
            plain += (actions.reject(rng, family, proto),) * 2
        return rng.choice(plain), ()

    def sets_actions(self, family: int, proto: str | None) -> tuple[Part, ...]:
        assert self.sets is not None
        late = self.tracking and self.rng.random() < 0.2
        zone = (actions.zone(self.rng),) if late else ()
        mapped = self.sets.mark_map(proto)
        return (self.sets.verdicts([], family, proto)[0], *([mapped] if mapped else []), *zone)


def _once(parts: list[Part]) -> list[Part]:
    """The parts without those that xtables takes once only (a second `-p`, `-s`, `-i`, ...)."""
    seen: set[str] = set()
    kept = []
    for part in parts:
        words = (part.xt or part.nft or "").removeprefix("! ").split()
        key = words[1] if words[0] == "-m" else words[0]
        if part.xt is None or key not in seen:
            kept.append(part)
        seen.add(key)
    return kept


def only(case: Case, family: int) -> Case:
    """The part of a ruleset that one family sees."""
    return replace(case, tables=tuple(table for table in case.tables if family in table.families))
