"""A script as rulesets: what the live tables look like after it ran on a machine without rules."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import field

from notrack.packets.address import Family
from notrack.ruleset import core
from notrack.ruleset.ipset.tree import Set
from notrack.ruleset.nft import tree as n
from notrack.ruleset.shell.actions import Script
from notrack.ruleset.shell.arguments import MARK, marked
from notrack.ruleset.shell.derived import spoken
from notrack.ruleset.shell.live import Chain, Entry, Table, When
from notrack.ruleset.shell.nft_marks import condition_text
from notrack.ruleset.shell.replay import Machine
from notrack.ruleset.xtables import tree as x
from notrack.ruleset.xtables.backend import Backend
from notrack.text.diagnostic import Diagnostic
from notrack.text.record import dataclass

_EMPTY = n.Ruleset()


@dataclass(frozen=True, slots=True)
class Rulesets:
    """What a script leaves. `xtables` holds one ruleset for each family and backend that it speaks of.

    A rule that may be there or not, or of which a part is not known, has a match `shell` (in nft a match of
    an unknown expression that begins with `shell:`): no packet decides it, and equal conditions are equal
    text. Spans lie in derived text: `located` finds them in the script. Print these with `write`; the text
    that `write_kept` would keep is that of the commands.
    """

    xtables: tuple[x.Ruleset, ...] = ()
    nft: n.Ruleset = _EMPTY
    diagnostics: tuple[Diagnostic, ...] = ()
    ipsets: Mapping[str, Set] = field(default_factory=dict)

    def of(self, family: Family) -> x.Ruleset:
        """The tables of a family (the first, should the script use both backends)."""
        found = (ruleset for ruleset in self.xtables if ruleset.family is family)
        return next(found, x.Ruleset(family))


def as_rulesets(script: Script) -> Rulesets:
    """The rulesets, and warnings where a command is refused or takes more away than it seems to."""
    machine = Machine(script)
    machine.run()
    made = tuple(
        x.Ruleset(
            family,
            tuple(_table(table) for table in tables.tables.values()),
            script.source,
            Backend(backend) if backend else None,
        )
        for (family, backend), tables in machine.tables.items()
    )
    ipsets = machine.ipsets.known()
    return Rulesets(made, n.Ruleset(machine.nft), tuple(machine.diagnostics), ipsets)


def lowered(
    script: Script, ipsets: Mapping[str, Set] | None = None
) -> tuple[core.Ruleset, tuple[Diagnostic, ...]]:
    """The core of what a script leaves, with the origins of all parts in the script itself. `ipsets` are
    known from elsewhere, and count for more than those that the script makes."""
    from notrack.ruleset.nft.lower import lowered as nft_lowered
    from notrack.ruleset.xtables.lower import lower as xtables_lower

    found = as_rulesets(script)
    sets = {**found.ipsets, **(ipsets or {})}
    whole = core.Ruleset()
    diagnostics = list(found.diagnostics)
    for ruleset in found.xtables:
        assert ruleset.family is not None
        made, told = xtables_lower(ruleset, ruleset.family, sets=sets)
        whole += made
        diagnostics.extend(told)
    if found.nft.commands:
        made, told = nft_lowered(found.nft)
        whole += made
        diagnostics.extend(one for one in told if not _about_the_shell(one))
    return core.Ruleset(tuple(_placed(table) for table in whole.tables)), tuple(diagnostics)


def is_certain(rule: x.Rule) -> bool:
    """Whether a rule is there for certain, and all of it known."""
    return rule.match(MARK) is None


def _table(table: Table) -> x.Table:
    chains = tuple(x.Chain(name, chain.policy, span=chain.span) for name, chain in table.chains.items())
    rules = tuple(rule for name, chain in table.chains.items() for rule in _rules(name, chain))
    return x.Table(table.name, chains + rules)


def _rules(name: str, chain: Chain) -> list[x.Rule | x.Broken]:
    made = [_rule(entry) for entry in chain.rules]
    for policy, when in reversed(chain.policies):  # the last one that was set is in force
        last = x.Rule(name, target=x.Target(policy), span=when[0].condition.span)
        made.append(_rule(Entry(last, when)))
    return made


def _rule(entry: Entry) -> x.Rule | x.Broken:
    if isinstance(entry.rule, x.Broken) or not entry.when:
        return entry.rule
    return marked(entry.rule, _conditions(entry.when))


def _conditions(when: When) -> tuple[x.Option, ...]:
    return tuple(x.Option("--if", (condition_text(guard),), guard.negated) for guard in when)


def _about_the_shell(diagnostic: Diagnostic) -> bool:
    """nft takes what only the script knows for a variable that nothing defines; the reader has told it."""
    return diagnostic.span is not None and diagnostic.span.text.startswith("$")


def _placed(table: core.Table) -> core.Table:
    chains = tuple(
        dataclasses.replace(
            chain,
            origin=_origin(chain.origin),
            rules=tuple(dataclasses.replace(rule, origin=_origin(rule.origin)) for rule in chain.rules),
        )
        for chain in table.chains
    )
    keepers = tuple(dataclasses.replace(one, origin=_origin(one.origin)) for one in table.keepers)
    return dataclasses.replace(table, chains=chains, keepers=keepers, origin=_origin(table.origin))


def _origin(origin: core.Origin) -> core.Origin:
    if origin.span is None:
        return origin
    return core.Origin(spoken(origin.span), origin.text or origin.span.text)
