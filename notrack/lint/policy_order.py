"""Scripts that drop before they accept, as faults."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from notrack.lint.finding import Fault, Fix
from notrack.lint.mending.lines import is_alone, line_after, line_deleted
from notrack.lint.script import Step, place_of, running, steps
from notrack.ruleset.formats import Document
from notrack.ruleset.nft import tree as nft
from notrack.ruleset.shell.actions import NftText, Script
from notrack.ruleset.shell.derived import located
from notrack.ruleset.xtables import tree as x
from notrack.text.diagnostic import Related, Severity
from notrack.text.source import Source, Span

_CHAINS = ("INPUT", "OUTPUT")
_STOPS = ("DROP", "REJECT", "LOG", "NFLOG", "")
_LOOPBACK = ("lo", "127.0.0.1", "127.0.0.0/8", "127.0.0.1/32", "::1", "::1/128")


def faults(document: Document) -> Iterator[Fault]:
    """Those of one script."""
    if isinstance(document.tree, Script):
        yield from _iptables(document.source, document.tree)
        yield from _nft(document.tree)


def _iptables(source: Source, script: Script) -> Iterator[Fault]:
    every = list(steps(script))
    for at, step in enumerate(every):
        line = step.line
        drops = isinstance(line, x.Command) and line.name == "-P" and line.arguments[1:2] == ("DROP",)
        if not drops or step.table != "filter" or step.chain not in _CHAINS:
            continue
        mine = [(n, one) for n, one in enumerate(every) if _same_tables(one, step)]
        if _accepts([one for n, one in mine if n < at], step.chain):
            continue
        later = [one for n, one in mine if n > at and one.adds and one.chain == step.chain]
        opening = [one for one in later if _opens(one)]
        if opening:
            sound = all(one.severity is not Severity.ERROR for one in script.diagnostics)
            fix = _fix(source, step, later[-1]) if sound else None
            yield _fault(step.span, f"`{step.chain}` drops everything", opening[0].span, fix)


def _same_tables(one: Step, other: Step) -> bool:
    return (one.family, one.backend, one.table) == (other.family, other.backend, other.table)


def _accepts(done: Sequence[Step], chain: str | None) -> bool:
    """Whether a chain holds a rule that lets other hosts in, after some commands."""
    there = False
    for step in done:
        if isinstance(step.line, x.Command) and step.line.name == "-F" and step.chain in (None, chain):
            there = False
        elif step.adds and step.chain == chain:
            there = there or _opens(step)
    return there


def _opens(step: Step) -> bool:
    """Whether a rule may let something through that is not the host's own loopback."""
    options = step.line.options if isinstance(step.line, x.Rule) else ()
    local = any(
        option.values[:1] and option.values[0] in _LOOPBACK and not option.negated for option in options
    )
    return step.adds and step.target not in _STOPS and not local


def _fault(place: Span, what: str, opening: Span, fix: Fix | None) -> Fault:
    return Fault(
        place,
        f"{what} from here on, and the first rule that lets packets through comes later: if the script stops"
        " in between, the host is cut off",
        "set the policy behind the rules, or load all of it at once with iptables-restore or nft -f",
        related=(Related(opening, "the first that lets packets through"),),
        fix=fix,
    )


def _fix(source: Source, step: Step, last: Step) -> Fix | None:
    """The command moved behind the last rule of its chain, where both run once, each on its own line."""
    places = [place_of(source, one.span) for one in (step, last)]
    if any(place is None or not place.top or not place.alone for place in places):
        return None
    if not is_alone(step.span, comment="") or not is_alone(last.span):
        return None
    edits = (line_deleted(step.span), line_after(last.span, step.span.text))
    return Fix("set the policy behind the rules of the chain", edits)


def _nft(script: Script) -> Iterator[Fault]:
    """Chains with a policy of drop that one command makes, and rules that later ones put in."""
    made: dict[tuple[str, str, str], Span] = {}
    for action in running(script):
        if not isinstance(action, NftText) or action.ruleset is None:
            continue
        for command in action.ruleset.commands:
            match command:
                case nft.Declare(item=nft.Chain(items=()) as chain) if _drops(chain):
                    key = (command.family or "ip", command.table or "", chain.name)
                    made.setdefault(key, located(action.span))
                case nft.Place():
                    place = made.pop((command.family or "ip", command.table, command.chain), None)
                    if place is not None and place != located(action.span):
                        what = f"the chain {command.chain} drops everything"
                        yield _fault(place, what, located(action.span), None)


def _drops(chain: nft.Chain) -> bool:
    hooked = chain.base is not None and chain.base.hook in ("input", "output")
    return hooked and isinstance(chain.policy, nft.Value) and chain.policy.text == "drop"
