"""xtables rulesets as chains of the core: what the kernel holds once the text is loaded."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from notrack.packets.address import Family
from notrack.ruleset import core
from notrack.ruleset.collection import uncollected
from notrack.ruleset.xtables.backend import Backend
from notrack.ruleset.xtables.catalogue import VERDICTS, target_named
from notrack.ruleset.xtables.header_lowering import header_literals
from notrack.ruleset.xtables.loading import Entry, LoadedChain, LoadedTable, Loader
from notrack.ruleset.xtables.match_lowering import match_literals, without_refusal
from notrack.ruleset.xtables.target_lowering import Branch, target_branches, target_text
from notrack.ruleset.xtables.tree import Broken, Match, Option, Rule, Ruleset
from notrack.ruleset.xtables.writer import rule_text
from notrack.text.diagnostic import Diagnostic, Severity
from notrack.text.source import Span

if TYPE_CHECKING:
    from notrack.ruleset.ipset.lower import Sets
    from notrack.ruleset.ipset.tree import Set


def lower(
    rulesets: Ruleset | Sequence[Ruleset],
    family: Family,
    *,
    noflush: bool = False,
    sets: Mapping[str, Set] | None = None,
) -> tuple[core.Ruleset, tuple[Diagnostic, ...]]:
    """The core of what one text, or several one after another, put in force for a family.

    Texts behind the first are loaded as with `--noflush`: they add to what is there. A table without COMMIT
    is not loaded. Diagnostics are warnings: what the loader would refuse, and jumps that lead nowhere. A
    `Broken` line becomes an `Unknown` action of its chain.

    iptables over nft reads ports of later fragments from their data (`core.Table.misreads_fragments`). Unless
    every text was saved by the other iptables, its rules may be loaded by this one: they are taken to do so.
    With the contents of ipsets (`sets`) a match of a set is exact; of any other set it may hold.
    """
    texts = (rulesets,) if isinstance(rulesets, Ruleset) else tuple(rulesets)
    with uncollected():
        misreads = any(text.backend is not Backend.LEGACY for text in texts)
        guards = _Guards(family, misreads, _changed_by(texts, sets) if sets else None)
        loader = Loader(family, guards.likeness)
        for number, text in enumerate(texts):
            loader.run(text, noflush=noflush or number > 0)
        declared = {chain.name for text in texts for table in text.tables for chain in table.chains}
        tables = [_TableLowering(table, guards, declared) for table in loader.tables.values()]
        made = core.Ruleset(tuple(table.table() for table in tables))
    told = [*loader.diagnostics, *(one for table in tables for one in table.diagnostics)]
    told += (one for table in loader.tables.values() for one in _unreached(table))
    return made, (*told, *(_missing(texts, family, sets) if sets else ()))


def _missing(texts: Sequence[Ruleset], family: Family, sets: Mapping[str, Set]) -> tuple[Diagnostic, ...]:
    from notrack.ruleset.ipset.lower import missing

    return tuple(missing(texts, family, sets))


def _changed_by(texts: Sequence[Ruleset], sets: Mapping[str, Set]) -> Sets:
    from notrack.ruleset.ipset.lower import changed_by  # only where there are sets: start-up counts

    return changed_by(texts, sets)


class _Guards:
    """Guards of rules. Equal matches are lowered once: large rulesets repeat themselves."""

    def __init__(self, family: Family, misreads_fragments: bool, sets: Sets | None) -> None:
        self.family = family
        self.sets = sets
        self.misreads_fragments = misreads_fragments
        self._headers: dict[Option, core.Guard] = {}
        self._matches: dict[Match, core.Guard] = {}

    def of(self, rule: Rule) -> core.Guard:
        guard: core.Guard = ()
        for option in rule.options:
            guard += self._header(option)
        for match in rule.matches:
            if match.name != "comment":
                guard += self._match(match)
        return guard

    def _header(self, option: Option) -> core.Guard:
        found = self._headers.get(option)
        if found is None:
            found = self._headers[option] = header_literals(option, self.family)
        return found

    def _match(self, match: Match) -> core.Guard:
        found = self._matches.get(match)
        if found is None:
            found = None
            if match.name == "set" and self.sets is not None:
                from notrack.ruleset.ipset.lower import set_literals

                found = set_literals(match, self.family, self.sets)
            found = match_literals(match, self.family) if found is None else found
            if self.misreads_fragments:
                found = without_refusal(match, found)
            self._matches[match] = found
        return found

    def likeness(self, rule: Rule) -> Hashable:
        """What two rules have in common if `-D` takes one for the other."""
        return self.of(rule), rule.target and target_text(rule.target), rule.comment


class _TableLowering:
    """One table on its way into the core."""

    def __init__(self, loaded: LoadedTable, guards: _Guards, declared: set[str]) -> None:
        self.loaded = loaded
        self.guards = guards
        self.declared = declared
        self.diagnostics: list[Diagnostic] = []
        self.hooks = _hooks(loaded)

    def table(self) -> core.Table:
        loaded = self.loaded
        chains = tuple(self._chain(name, chain) for name, chain in loaded.chains.items())
        origin = core.Origin(loaded.span, f"table {loaded.name}")
        families, misreads = frozenset((self.guards.family,)), self.guards.misreads_fragments
        return core.Table(loaded.name, families, chains, origin=origin, misreads_fragments=misreads)

    def _chain(self, name: str, chain: LoadedChain) -> core.Chain:
        rules = tuple(made for rule in chain.rules for made in self._rules(name, rule))
        base = _base(self.loaded.name, name, chain.policy) if chain.policy is not None else None
        return core.Chain(name, rules, base, core.Origin(chain.span, f"chain {name}"))

    def _rules(self, chain: str, rule: Entry) -> Iterator[core.Rule]:
        if isinstance(rule, Broken):
            yield core.Rule((), (core.Unknown(rule.text),), core.Origin(rule.span, rule.text))
            return
        guard = self.guards.of(rule)
        origin = core.Origin(rule.span, rule.span.text if rule.span else rule_text(rule))
        for more, actions in self._branches(chain, rule):
            yield core.Rule(guard + more, actions, origin)

    def _branches(self, chain: str, rule: Rule) -> tuple[Branch, ...]:
        target = rule.target
        if target is None:
            return (((), ()),)
        if target.name in self.loaded.chains and target.name not in VERDICTS:
            if self.loaded.chains[target.name].policy is None:
                return (((), (core.Jump(target.name, target.goto),)),)
            self._say(f"{target.name} is a built-in chain, to which nothing jumps", rule.span_of(target))
            return (((), (core.Unknown(target_text(target)),)),)
        if target.goto or (target.name in self.declared and not target_named(target.name)):
            self._say(f"no chain {target.name} when this table is loaded", rule.span_of(target))
            return (((), (core.Unknown(target_text(target)),)),)
        return target_branches(target, self.guards.family, self.hooks.get(chain, frozenset()))

    def _say(self, message: str, span: Span | None) -> None:
        help = "iptables-restore refuses this rule; it is treated as one that may do anything"
        self.diagnostics.append(Diagnostic(Severity.WARNING, message, span, help))


def _base(table: str, chain: str, policy: str) -> core.Base | None:
    """Where a built-in chain hangs; None in a table that nobody knows."""
    hook = next((hook for hook in core.Hook if hook.name == chain), None)
    if hook is None or (table, hook) not in core.XTABLES_PRIORITY:
        return None
    kind = core.ChainType.NAT if table == "nat" else core.ChainType.FILTER
    if (table, hook) == ("mangle", core.Hook.OUTPUT):
        kind = core.ChainType.ROUTE  # routed again if the mark or an address changed
    verdict = core.Verdict.DROP if policy == "DROP" else core.Verdict.ACCEPT
    return core.Base(hook, core.XTABLES_PRIORITY[table, hook], kind, verdict)


def _hooks(loaded: LoadedTable) -> dict[str, frozenset[core.Hook]]:
    """The hooks from which each chain is reached."""
    found: dict[str, set[core.Hook]] = {}
    for hook in core.Hook:
        if hook.name not in loaded.chains:
            continue
        waiting = [hook.name]
        while waiting:
            name = waiting.pop()
            if hook not in found.setdefault(name, set()):
                found[name].add(hook)
                waiting.extend(_targets(loaded.chains[name].rules, loaded))
    return {name: frozenset(hooks) for name, hooks in found.items()}


def _unreached(loaded: LoadedTable) -> Iterator[Diagnostic]:
    """A table that is only a piece, as those of ufw: rules stand in chains to which something else jumps."""
    inner = [chain for chain in loaded.chains.values() if chain.policy is None and chain.rules]
    if inner and not any(chain.rules for chain in loaded.chains.values() if chain.policy is not None):
        message = f"no packet comes to these chains: no built-in chain of {loaded.name} holds a rule"
        help = "something else jumps to them on the host; `iptables-save` shows all of it"
        yield Diagnostic(Severity.WARNING, message, inner[0].rules[0].span, help)


def _targets(rules: Iterable[Entry], loaded: LoadedTable) -> Iterator[str]:
    for rule in rules:
        if isinstance(rule, Rule) and rule.target is not None and rule.target.name in loaded.chains:
            yield rule.target.name
