"""`notrack import`: a draft of a site from rules that are there."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from notrack.cli.main import DONE, NOT_UNDERSTOOD, REFUSED, USAGE

if TYPE_CHECKING:
    from notrack.cli.ruleside import Side
    from notrack.draft.imported import Draft
    from notrack.netfilter.host import Host

_EPILOG = """examples:
  notrack import rules.v4 rules.v6 > site.spec           a draft; what it cannot say stands above it
  notrack import rules.v4 --host host.json > site.spec   with the host's interfaces and addresses
  notrack import --live > site.spec                      of the rules in force on this host (as root)

Then read it, edit it, and see what would be untracked and what would change:
  notrack plan site.spec
  notrack diff rules.v4,rules.v6 site.spec"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    add = parser.add_argument
    add("rules", nargs="*", metavar="RULES", help="files of one host, or a folder; - reads standard input")
    add("--live", action="store_true", help="the rules in force on this host")
    add("--host", metavar="FILE", help="facts about the host, as `notrack facts` writes them")
    add("--name", default="imported", help="of the site (default: imported)")
    add("--no-diff", action="store_true", help="do not compare the compiled draft with the rules")
    add("--family", choices=("ipv4", "ipv6"), help="of restore files that do not tell theirs")


def run(args: argparse.Namespace) -> int:
    from notrack.cli.messages import note
    from notrack.draft.imported import imported
    from notrack.packets.budget import TooHard

    if bool(args.rules) == args.live:
        note("name files of rules, or use --live: one of them")
        return USAGE
    read = _read(args)
    if read is None:
        return REFUSED if args.live else NOT_UNDERSTOOD
    rules, host = read
    try:
        draft = imported(rules.ruleset, host, args.name)
    except TooHard as reason:
        note(f"these rules are too hard to say exactly what they do ({reason})")
        return REFUSED
    text = _text(draft, args)
    sys.stdout.write(text)
    sys.stdout.flush()
    if draft.unsaid:
        note(f"{len(draft.unsaid)} things could not be said: they stand above the draft")
    if not args.no_diff:
        _compare(rules, text, host, args)
    return DONE


def _read(args: argparse.Namespace) -> tuple[Side, Host] | None:
    from notrack.cli import ruleside
    from notrack.cli.hostfile import host
    from notrack.packets.address import Family

    if args.live:
        found = ruleside.live(args.color)
    else:
        found = ruleside.side(args.rules, args.color, family=Family(args.family) if args.family else None)
    if found is None:
        return None
    facts = host(args.host, args.color) if args.host else found.host
    return None if facts is None else (found, facts)


def _text(draft: Draft, args: argparse.Namespace) -> str:
    from notrack.site.writer import write

    names = "the rules of this host" if args.live else ", ".join(args.rules)
    head = [f"# A draft from {names}. Read it and edit it before it is used."]
    if draft.unsaid:
        head += ["#", "# What it cannot say:", *(f"# - {words}" for words in draft.unsaid)]
    return "\n".join(head) + "\n" + write(draft.site)


def _compare(rules: Side, text: str, host: Host, args: argparse.Namespace) -> None:
    """How the compiled draft differs from the rules, on standard error."""
    from notrack.cli import ruleside
    from notrack.cli.messages import note
    from notrack.cli.sitefile import planned_text
    from notrack.packets.address import Family
    from notrack.report.difference import as_text
    from notrack.text.source import Source

    plan = planned_text(Source("the draft", text), args.color)
    if plan is None:
        note("the draft does not compile as it is: mend what is marked")
        return
    made = ruleside.Side(ruleside.compiled(plan, "iptables"), tuple(Family))
    compared = ruleside.compared(rules, made, dict.fromkeys(Family, host))
    if compared is not None:
        sys.stderr.write("\nThe compiled draft beside the rules:\n" + as_text(compared, brief=True))
