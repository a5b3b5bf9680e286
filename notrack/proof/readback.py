"""Emitted text, read back by the reader that reads everybody's rules."""

from __future__ import annotations

from collections.abc import Iterable

from notrack.layout.output import FILES, Output
from notrack.packets.address import Family
from notrack.packets.budget import Budget
from notrack.plan.planner import Plan
from notrack.proof.asked import Dialect
from notrack.proof.validation import BUDGET, Emitted, Proof, prove
from notrack.ruleset.core import Ruleset
from notrack.text.diagnostic import Diagnostic, Severity
from notrack.text.source import Source

_FAMILIES = {
    "iptables": (Family.IPV4,),
    "ip6tables": (Family.IPV6,),
    "nft": (Family.IPV4, Family.IPV6),
}


def read_back(output: Output) -> Emitted | None:
    """A target's text as the kernel would hold it; None for a target that holds no rules."""
    families = _FAMILIES.get(output.target)
    if families is None:
        return None
    source = Source(FILES[output.target], output.text)
    ruleset, told = _nft(source) if output.target == "nft" else _restore(source, families[0])
    told = tuple(one for one in told if one.severity is not Severity.INFO)
    dialect = Dialect.NFT if output.target == "nft" else Dialect.XTABLES
    return Emitted(output.target, dialect, families, ruleset, told)


Read = tuple[Ruleset, tuple[Diagnostic, ...]]


def _restore(source: Source, family: Family) -> Read:
    from notrack.ruleset.xtables.lower import lower  # each format loads its own half alone: start-up counts
    from notrack.ruleset.xtables.reader import read

    tree, told = read(source, family)
    ruleset, more = lower(tree, family)
    return ruleset, told + more


def _nft(source: Source) -> Read:
    from notrack.ruleset.nft.lower import lowered
    from notrack.ruleset.nft.reader import read

    tree, told = read(source, None)
    ruleset, more = lowered(tree)
    return ruleset, told + more


def proven(plan: Plan, outputs: Iterable[Output], budget: Budget = BUDGET) -> Proof:
    """The proof that each text does what the plan asks for. Never raises."""
    return prove(plan, [text for output in outputs if (text := read_back(output)) is not None], budget)
