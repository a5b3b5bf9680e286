"""Scripts that flush more than they mean, as faults."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from notrack.lint.finding import Fault
from notrack.lint.script import Step, Untracking, running, steps, untracked
from notrack.ruleset.formats import Document
from notrack.ruleset.shell.actions import NftText, Other, RestoreText, Script
from notrack.ruleset.shell.derived import located
from notrack.ruleset.xtables import tree as x
from notrack.text.diagnostic import Related
from notrack.text.source import Span

_FLUSH = ("-F", "--flush")
_STOPS = ("DROP", "REJECT", "LOG", "NFLOG", "")
_EMPTIES = re.compile(r"\b(?:flush|clear|empt|clean|reset|purge|delet|drop|remov|wipe|kill)", re.IGNORECASE)
_ENTRIES = re.compile(
    r"\bconn(?:ection)?[ _-]?track(?:ing)?(?:[ _-](?:table|entries|cache|state)|\W*$)"
    r"|\b(?:tracked|all)\s+connections|\bconnection[ _-](?:table|entries|cache)",
    re.IGNORECASE,
)
_SPELLED = {"-s": "-s", "-d": "-d", "-p": "-p", "--sport": "--sport", "--dport": "--dport"}


def faults(document: Document) -> Iterator[Fault]:
    """Those of one script."""
    if isinstance(document.tree, Script):
        every = list(steps(document.tree))
        yield from _entries(document.tree)
        yield from _rules(document.tree, every)


# Entries of connection tracking.


def _entries(script: Script) -> Iterator[Fault]:
    """`conntrack -F` where only some flows are taken out of tracking."""
    untracking = list(untracked(script))
    narrow = [command for one in untracking if (command := _deleting(one)) is not None]
    if not narrow or len(narrow) < len(untracking):
        return
    for action in running(script):
        if isinstance(action, Other) and action.kind == "conntrack" and _flushes(action.words):
            yield Fault(
                located(action.span),
                "this deletes the entries of every connection, translated and accepted ones too, and not only"
                " those of the flows that are untracked here",
                f"delete what was untracked: `{narrow[0]}`",
                related=(Related(untracking[0].span, "this is untracked"),),
            )


def _flushes(words: Sequence[str]) -> bool:
    """Whether the table of connections is flushed, and not that of expectations."""
    return any(word in _FLUSH for word in words) and not any(word.startswith("exp") for word in words)


def _deleting(one: Untracking) -> str | None:
    """The command that deletes the entries of what a rule untracks; None if that is all there is."""
    line = one.rule
    if line is None:
        return "conntrack -D ..." if one.narrow else None
    parts = [
        option for match in line.matches if match.name in ("tcp", "udp", "sctp") for option in match.options
    ]
    wanted = [option for option in (*line.options, *parts) if option.name in _SPELLED and not option.negated]
    if all(option.name == "-p" for option in wanted):
        narrower = [match for match in line.matches if match.name not in ("comment", "tcp", "udp")]
        others = [option for option in line.options if option.name in ("-i", "-o")]
        return "conntrack -D ..." if narrower or others else None
    order = sorted(wanted, key=lambda option: option.name != "-p")
    return " ".join(["conntrack -D", *(f"{_SPELLED[option.name]} {option.values[0]}" for option in order)])


# Rules.


def _rules(script: Script, every: Sequence[Step]) -> Iterator[Fault]:
    loads = any(isinstance(action, NftText | RestoreText) for action in script.actions)
    for at, step in enumerate(every):
        if not isinstance(step.line, x.Command) or step.line.name != "-F":
            continue
        same = [(n, one) for n, one in enumerate(every) if _same_host(one, step)]
        fault = _misnamed(step) or _undoing(step, [one for n, one in same if n < at])
        if fault is None and not loads and step.chain is None:
            fault = _unasked(step, [one for _, one in same])
        if fault is not None:
            yield fault


def _same_host(one: Step, other: Step) -> bool:
    return (one.family, one.backend) == (other.family, other.backend)


def _misnamed(step: Step) -> Fault | None:
    """A comment says that entries are flushed; rules are."""
    if not any(_ENTRIES.search(said) and _EMPTIES.search(said) for said in _comments(step.span)):
        return None
    what = f"the chain {step.chain}" if step.chain else "every chain"
    return Fault(
        step.span,
        f"this takes the rules out of {what} of the table {step.table}; the entries of connections stay",
        "`conntrack -D` with what the entries have (`-p udp --dport 53`) deletes entries",
    )


def _comments(span: Span) -> list[str]:
    """The comment behind a command, and the one on the line above."""
    source = span.source
    behind = source.line(span.end_line)[span.end_column - 1 :].strip()
    above = source.line(span.line - 1).strip() if span.line > 1 else ""
    return [
        text.lstrip("# ") for text in (behind, above) if text.startswith("#") and not text.startswith("#!")
    ]


def _undoing(step: Step, before: Sequence[Step]) -> Fault | None:
    """Rules that the script itself has put in are gone again."""
    there: list[Step] = []
    for one in before:
        if one.table != step.table:
            continue
        if isinstance(one.line, x.Command) and one.line.name == "-F":
            there = [rule for rule in there if one.chain not in (None, rule.chain)]
        elif one.adds and one.target not in _STOPS:
            there.append(one)
    gone = [rule for rule in there if step.chain in (None, rule.chain)]
    if not gone:
        return None
    return Fault(
        step.span,
        "this takes out rules again that the script itself has put in above",
        "flush before the first rule is put in",
        related=(Related(gone[0].span, "this rule is gone"),),
    )


def _unasked(step: Step, every: Sequence[Step]) -> Fault | None:
    """A table is emptied that the script has nothing to say about: it is about the table raw alone."""
    if step.table not in ("filter", "nat"):
        return None
    tables = {one.table for one in every if one.adds}
    policies = any(isinstance(one.line, x.Command) and one.line.name == "-P" for one in every)
    if tables != {"raw"} or policies:
        return None
    return Fault(
        step.span,
        f"this takes every rule out of the table {step.table}, those of other programs too, and the script"
        " puts rules into the table raw alone",
        "flush what the script fills: `iptables -t raw -F PREROUTING`, or a chain of its own",
        related=(Related(next(one.span for one in every if one.adds), "the rules of this script"),),
    )
