"""The targets of the compiler: what `notrack compile --to` can print, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import field

from notrack.packets.address import Family
from notrack.plan.planner import Plan, leaves_to_others
from notrack.site.model import Origin, Site
from notrack.text.record import dataclass

TARGETS = ("iptables", "ip6tables", "nft", "sysctl", "modprobe")
FILES = {
    "iptables": "rules.v4",
    "ip6tables": "rules.v6",
    "nft": "rules.nft",
    "sysctl": "sysctl.conf",
    "modprobe": "modprobe.conf",
}

_CHANGE = "Compiled by notrack: change the site, not this file."


@dataclass(frozen=True, slots=True)
class Rule:
    """One emitted rule for `--map`: where it stands, its text, and the declarations it comes from."""

    target: str
    table: str
    chain: str
    text: str
    origins: tuple[Origin, ...]


def _none() -> Iterator[Rule]:
    return iter(())


@dataclass(frozen=True, slots=True)
class Output:
    """The text of one target, ready to load. The map of its rules is made when it is asked for."""

    target: str
    text: str
    mapped: Callable[[], Iterator[Rule]] = field(default=_none, compare=False, repr=False)

    @property
    def rules(self) -> tuple[Rule, ...]:
        return tuple(self.mapped())


def as_json(outputs: Iterable[Output]) -> dict[str, object]:
    """The map of `--map`: every rule with the declarations that it comes from (schema_version 1)."""
    rules = [
        {
            "target": rule.target,
            "table": rule.table,
            "chain": rule.chain,
            "rule": rule.text,
            "declarations": [
                {"keyword": o.keyword, "name": o.name, "file": o.span.source.name, "line": o.span.line}
                for o in rule.origins
            ],
        }
        for output in outputs
        for rule in output.rules
    ]
    return {"schema_version": 1, "rules": rules}


def emit(plan: Plan, target: str, *, coexist: bool = False) -> Output:
    """One target of a plan. `coexist`: own chains only, for `iptables-restore --noflush`; nft always is so.

    A site that leaves anything to other rules gets own chains by itself, since a restore file that
    replaces whole tables would throw those other rules away.
    """
    if target == "nft":
        return _nft(plan)
    if target in ("sysctl", "modprobe"):
        from notrack.layout import settings

        return Output(target, (settings.sysctl if target == "sysctl" else settings.modprobe)(plan.site))
    family = Family.IPV4 if target == "iptables" else Family.IPV6
    return _xtables(plan, family, target, coexist or leaves_to_others(plan.site))


def _networks(site: Site, family: Family) -> dict[tuple[tuple[int, int], ...], str]:
    """What the site calls an address list, so that chains and sets can be called the same."""
    found: dict[tuple[tuple[int, int], ...], str] = {}
    for name, addresses in site.networks:
        found.setdefault(addresses.family(family).spans, name)
    return found


def _xtables(plan: Plan, family: Family, target: str, coexist: bool) -> Output:
    from notrack.layout import xtables  # each target loads its own half alone: start-up counts
    from notrack.ruleset.xtables.writer import rule_text, write

    own = plan.families[family].own
    restore = xtables.Restore(family, plan.site.defaults, coexist, _networks(plan.site, family), own)
    ruleset, mapped = xtables.layout(plan.families[family], restore)
    header = "\n".join(_restore_header(plan.site, family, target, coexist))

    def rules() -> Iterator[Rule]:
        for m in mapped:
            yield Rule(target, m.table, m.rule.chain, rule_text(m.rule), m.origins)

    return Output(target, f"{header}\n{write(ruleset)}", rules)


def _restore_header(site: Site, family: Family, target: str, coexist: bool) -> Iterator[str]:
    yield f"# {family.label} rules of site {site.name}. {_CHANGE}"
    if not coexist:
        yield f"# Load with: {target}-restore < {FILES[target]}"
        return
    yield "# These are chains of our own beside the rules of others; load with:"
    yield f"#   {target}-restore --noflush < {FILES[target]}"
    yield "# Loading again puts a second jump before the first, which changes nothing. To take old jumps out:"
    yield f"#   {target}-save | grep -v -- '--comment notrack ' | {target}-restore"


def _nft(plan: Plan) -> Output:
    from notrack.layout import nft
    from notrack.ruleset.nft.builder import replacement
    from notrack.ruleset.nft.statement_writer import rule_text
    from notrack.ruleset.nft.tree import Node, Ruleset
    from notrack.ruleset.nft.writer import write

    commands: list[Node] = []
    every: list[tuple[str, nft.MappedRule]] = []
    for family, found in plan.families.items():
        table, mapped = nft.layout(found, plan.site.defaults, _networks(plan.site, family))
        commands += replacement(table)
        every += [(f"{table.family} {table.name}", one) for one in mapped]
    header = (
        "#!/usr/sbin/nft -f\n"
        f"# Rules of site {plan.site.name}. {_CHANGE}\n"
        "# Only tables of our own are replaced, all in one transaction. Load with: nft -f rules.nft\n\n"
    )

    def rules() -> Iterator[Rule]:
        for where, m in every:
            yield Rule("nft", where, m.chain, rule_text(m.rule), m.origins)

    return Output("nft", header + write(Ruleset(tuple(commands))), rules)
