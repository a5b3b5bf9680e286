"""`notrack untrack`: the smallest change that takes one service out of tracking, in rules that are there."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from notrack.cli.main import DONE, FINDINGS, NOT_UNDERSTOOD, REFUSED, USAGE

if TYPE_CHECKING:
    from notrack.draft.obstacles import Obstacle
    from notrack.draft.service import Asked
    from notrack.draft.untrack import Untracked
    from notrack.netfilter.host import Host
    from notrack.ruleset.formats import Reading
    from notrack.text.diagnostic import Diagnostic
    from notrack.text.source import Source

_EPILOG = """examples:
  notrack untrack 'udp 53' rules.v4 > new.v4            the same rules, and what takes DNS out of tracking
  notrack untrack 'udp 53' rules.v4 rules.v6 -o new/    both families
  notrack untrack 'tcp 80,443' rules.nft --diff         only what would change
  notrack untrack 'udp 53 from 10.0.0.0/8' rules.v4     for these peers alone
  notrack untrack 'udp 53' new.v4 --undo > rules.v4     the way back
  notrack untrack 'udp 53' --live --diff                in the rules in force on this host

Nothing is printed unless it is proven that no packet's verdict changes. The service is written as in a site
file. Test the result with `iptables-restore --test` or `nft -c -f`, and load it from a session that you can
afford to lose."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    add = parser.add_argument
    add("service", metavar="SERVICE", help="in one word of the shell: 'udp 53', 'tcp 80,443 from 10.0.0.0/8'")
    add("rules", nargs="*", metavar="RULES", help="files of one host; - reads standard input")
    add("--live", action="store_true", help="the rules in force on this host")
    add("--undo", action="store_true", help="take out again what an earlier run put in")
    add("-o", "--output", metavar="DIR", help="write the files into DIR instead")
    add("--diff", action="store_true", help="print only what changes")
    add("--host", metavar="FILE", help="facts about the host, as `notrack facts` writes them")
    add("--family", choices=("ipv4", "ipv6"), help="of restore files that do not tell their family")


def run(args: argparse.Namespace) -> int:
    from notrack.cli.messages import note, tell
    from notrack.draft.service import asked
    from notrack.text.diagnostic import Rejected

    if bool(args.rules) == args.live:
        note(
            "name files of rules, or use --live"
            if not args.rules
            else "name files of rules, or use --live: not both"
        )
        return USAGE
    try:
        service = asked(args.service)
    except Rejected as rejected:
        tell(rejected.diagnostics, args.color)
        return USAGE
    read = _read(args)
    if read is None:
        return REFUSED if args.live else NOT_UNDERSTOOD
    sources, host = read
    if args.undo:
        return _undo(sources, service, args)
    return _untrack(sources, service, host, args)


def _read(args: argparse.Namespace) -> tuple[list[Source], Host] | None:
    """The texts, and what is known about their host; None after it was told what is wrong with them."""
    from notrack.cli.hostfile import host
    from notrack.cli.liverules import live
    from notrack.cli.rulesfile import sources

    facts = host(args.host, args.color)
    if facts is None:
        return None
    if args.live:
        found = live()
        return found if found is None or args.host is None else (found[0], facts)
    texts = sources(args.rules)
    return None if texts is None else (texts, facts)


def _undo(sources: Sequence[Source], service: Asked, args: argparse.Namespace) -> int:
    from notrack.cli.messages import note
    from notrack.draft.undo import undone

    made = [undone(source, service) for source in sources]
    if all(one.text == source.text for one, source in zip(made, sources, strict=True)):
        note(f"nothing here was put in by `notrack untrack '{service.text}'`")
        return FINDINGS
    return _printed(sources, made, args)


def _untrack(sources: Sequence[Source], service: Asked, host: Host, args: argparse.Namespace) -> int:
    from notrack.cli.messages import tell
    from notrack.cli.rulesfile import including
    from notrack.draft.untrack import untrack
    from notrack.packets.address import Family
    from notrack.ruleset.formats import read_all
    from notrack.text.diagnostic import Severity

    family = Family(args.family) if args.family else None
    include = including(args.rules)

    def read(texts: Sequence[Source]) -> Reading:
        return read_all(texts, family, include)

    reading = read(sources)
    faults = [one for one in reading.diagnostics if one.severity is Severity.ERROR]
    if faults:
        tell(faults, args.color)
        return NOT_UNDERSTOOD
    found = untrack(sources, service, host, read)
    _advise(reading)
    if found.refusals:
        tell([_as_diagnostic(one) for one in found.refusals], args.color)
        return FINDINGS
    _explain(found)
    return _printed(sources, found.sources, args)


def _as_diagnostic(one: Obstacle) -> Diagnostic:
    from notrack.text.diagnostic import Diagnostic, Severity

    notes = (f"such a packet: {one.witness}",) if one.witness is not None else ()
    return Diagnostic(Severity.ERROR, f"not untracked: {one.message}", one.span, one.help, notes=notes)


def _advise(reading: Reading) -> None:
    """Who else writes these rules, and where lines of one's own belong then."""
    from notrack.cli.messages import note
    from notrack.draft.owners import owners

    for owner in owners(reading.ruleset):
        note(f"{owner.name} wrote some of these rules: {owner.advice}")


def _explain(found: Untracked) -> None:
    from notrack.cli.messages import note

    rules = sum(1 for line in found.added if "notrack untrack" in line and not line.startswith("#"))
    note(f"{rules} rules added; proven: no packet of a flow is treated otherwise than before")
    for words in found.assumed:
        note(f"assumed: {words}")
    told: dict[object, object] = {}
    for change in found.exposed:
        told.setdefault((change.role, change.way), change.witness())
    for witness in told.values():
        note(f"only tracking could tell this packet from one of a flow; it passes now: {witness}")


def _printed(before: Sequence[Source], after: Sequence[Source], args: argparse.Namespace) -> int:
    """Prints the texts, or what changes in them, or writes them."""
    from notrack.cli.messages import note

    if args.diff:
        from notrack.lint.fixes import Fixed, unified

        for old, new in zip(before, after, strict=True):
            sys.stdout.write(unified(Fixed(old, new.text)))
        return DONE
    if args.output is None:
        for one in after:
            if len(after) > 1:
                sys.stdout.write(f"# {one.name}\n")
            _write(one.text)
        return DONE
    folder = Path(args.output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for one in after:
            name = "rules" if one.name == "-" else Path(one.name).name
            (folder / name).write_bytes(one.text.encode("utf-8", "surrogateescape"))
    except OSError as error:
        note(f"{error.filename}: {error.strerror}")
        return REFUSED
    return DONE


def _write(text: str) -> None:
    """Octet by octet what was read."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
