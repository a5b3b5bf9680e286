"""`notrack lint`: what is wrong in rules that are there."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from notrack.cli.main import DONE, FINDINGS, NOT_UNDERSTOOD, REFUSED, USAGE
from notrack.text.record import dataclass

if TYPE_CHECKING:
    from notrack.cli.progress import Progress
    from notrack.lint.configuration import Configuration
    from notrack.lint.engine import Result
    from notrack.lint.finding import Finding
    from notrack.lint.fixes import Fixed
    from notrack.lint.rule import Rule
    from notrack.lint.subject import Subject
    from notrack.netfilter.host import Host
    from notrack.text.diagnostic import Diagnostic
    from notrack.text.source import Source

_EPILOG = """examples:
  notrack lint /etc/sysconfig/iptables                what is wrong there, with packets that show it
  notrack lint rules.v4 rules.v6                      two files of one host
  notrack lint --host host.json rules.nft             with facts of the host (notrack facts > host.json)
  notrack lint --fix rules.v4                         mend what can be mended safely
  notrack lint --diff --unsafe-fixes rules.v4         show the changes, and write nothing
  notrack lint --separate --format sarif hosts/*.v4   for a code scanning service
  iptables-save | notrack lint -

`# notrack: ignore[NT201] reason` on a line, or the line above it, hides a finding there.
`notrack explain NT201` prints the manual page of a code."""
FORMATS = ("full", "concise", "json", "sarif", "github")
EXPLAINS_READING = ("NT803", "NT804")  # what these say of a line that cannot be read is all there is to say


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    add = parser.add_argument
    add("files", nargs="*", metavar="FILE", help="rules in any format, or directories; - is standard input")
    add("--live", action="store_true", help="the rules in force on this host")
    add("--format", choices=FORMATS, default="full", help="default: full")
    add("--output", metavar="FILE", help="write there instead of to standard output")
    add("--select", action="append", metavar="CODES", help="only these codes: NT101,NT3,one-way-notrack")
    add("--ignore", action="append", metavar="CODES", help="not these")
    add(
        "--fail-on",
        choices=("error", "warning", "info"),
        help="exit 1 from this severity on (default: error)",
    )
    add("--exit-zero", action="store_true", help="exit 0 whatever is found")
    add("--fix", action="store_true", help="mend what can be mended safely, and write the files")
    add("--unsafe-fixes", action="store_true", help="mend too where behaviour narrows")
    add("--diff", action="store_true", help="show what --fix would change, and write nothing")
    add("--separate", action="store_true", help="every file is a host of its own (default: all are one host)")
    add("--pairs", action="store_true", help="rules.v4 and rules.v6 of a directory are a host, others alone")
    add("--host", metavar="FILE", help="facts about the host, as `notrack facts` writes them")
    add("--family", choices=("ipv4", "ipv6"), help="of restore files that do not tell their family")
    add("--config", metavar="FILE", help="this file instead of notrack.toml or pyproject.toml")
    add("--show-all", action="store_true", help="show every finding in full, however many there are")
    add("--stdin-filename", metavar="NAME", default="-", help="what messages call standard input")


def run(args: argparse.Namespace) -> int:
    from notrack.cli.messages import note
    from notrack.cli.settings import configuration

    if bool(args.files) == args.live:
        note(
            "nothing to lint: name files, or - for standard input, or use --live" if not args.live else _BOTH
        )
        return USAGE
    settings = configuration(args.config, args.files[0] if args.files else ".", args.color)
    if settings is None:
        return USAGE
    rules = _rules(args, settings)
    host = _host(args, settings)
    if rules is None or host is None:
        return USAGE
    runs = _live(args, settings, rules, host) if args.live else _runs(args, settings, rules, host)
    if runs is None and args.live:
        return REFUSED
    return NOT_UNDERSTOOD if runs is None else _report(runs, rules, args, settings)


@dataclass(frozen=True, slots=True)
class Run:
    """One host that was linted. `faults` are errors of reading that no finding speaks of; `fixed`: what fixes
    made of its files (the rest is about them as they are then)."""

    subject: Subject
    result: Result
    faults: tuple[Diagnostic, ...]
    remarks: tuple[Diagnostic, ...]
    fixed: tuple[Fixed, ...] = ()


def _rules(args: argparse.Namespace, settings: Configuration) -> tuple[Rule, ...] | None:
    from notrack.cli.messages import note
    from notrack.lint.selection import UnknownCode, chosen

    try:
        select = _words(args.select) or settings.select
        return chosen(select, (*settings.ignore, *_words(args.ignore)))
    except UnknownCode as unknown:
        note(f"{unknown}\n`notrack rules` lists all of them")
        return None


def _words(several: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(word.strip() for one in several or () for word in one.split(",") if word.strip())


def _host(args: argparse.Namespace, settings: Configuration) -> Host | None:
    """The host's facts; None after a faulty file was told."""
    from notrack.cli.hostfile import host

    if args.host is None and settings.host is not None and settings.name is not None:
        return host(str(Path(settings.name).parent / settings.host), args.color)
    return host(args.host, args.color)


_BOTH = "--live lints this host alone: name no files beside it"


def _live(
    args: argparse.Namespace, settings: Configuration, rules: Sequence[Rule], host: Host
) -> list[Run] | None:
    """The rules of this host, with its own facts where no file gives others."""
    from notrack.cli.liverules import live
    from notrack.cli.messages import note
    from notrack.cli.progress import Progress

    if args.fix or args.unsafe_fixes:
        note("--live changes nothing: save the rules, mend the file, and load it")
        return None
    found = live()
    if found is None:
        return None
    sources, facts = found
    with Progress("checking") as progress:
        known = host if args.host is not None else facts
        return [_run(sources, [], args, settings, rules, known, progress)]


def _runs(
    args: argparse.Namespace, settings: Configuration, rules: Sequence[Rule], host: Host
) -> list[Run] | None:
    from notrack.cli.linted import files, hosts
    from notrack.cli.messages import note
    from notrack.cli.progress import Progress

    names = list(dict.fromkeys(files(args.files, settings)))
    if not names:
        note(f"no rules in {', '.join(args.files)}")
        return None
    runs: list[Run] = []
    with Progress("checking") as progress:
        for group in hosts(names, separate=args.separate, pairs=args.pairs):
            sources = _sources(group, args)
            if sources is None:
                return None
            runs.append(_run(sources, group, args, settings, rules, host, progress))
    return runs


def _sources(names: Sequence[str], args: argparse.Namespace) -> list[Source] | None:
    from notrack.cli.rulesfile import sources
    from notrack.text.source import Source

    found = sources(list(names))
    if found is None:
        return None
    return [Source(args.stdin_filename, one.text) if one.name == "-" else one for one in found]


def _run(
    sources: list[Source],
    names: Sequence[str],
    args: argparse.Namespace,
    settings: Configuration,
    rules: Sequence[Rule],
    host: Host,
    progress: Progress,
) -> Run:
    """Reads the files of one host and lints them."""
    from notrack.cli.linted import subject
    from notrack.cli.rulesfile import including
    from notrack.lint.engine import lint
    from notrack.packets.address import Family
    from notrack.text.source import Source

    family = Family(args.family) if args.family else None
    include = including(list(names))
    fixed: tuple[Fixed, ...] = ()
    if args.fix or args.unsafe_fixes or args.diff:
        from notrack.lint.fixes import fixed as mended

        def read(texts: Sequence[Source]) -> Subject:
            return subject(texts, host, family, include)[0]

        def wanted(finding: Finding) -> bool:
            return not _ignored(finding, settings)

        fixed = mended(sources, read, rules, unsafe=args.unsafe_fixes, wanted=wanted)
        if not args.diff:
            sources = [Source(one.source.name, one.text) for one in fixed]
    made, told = subject(sources, host, family, include)
    found = lint(made, rules, progress)
    result = replace(found, findings=tuple(one for one in found.findings if not _ignored(one, settings)))
    return Run(made, result, *_split(told, result.findings), fixed)


def _split(
    told: Sequence[Diagnostic], findings: Sequence[Finding]
) -> tuple[tuple[Diagnostic, ...], tuple[Diagnostic, ...]]:
    """Errors of reading that no finding explains, and everything else that the readers said."""
    from notrack.text.diagnostic import Severity

    explained = {(f.span.source.name, f.span.line) for f in findings if f.code in EXPLAINS_READING}
    left = [d for d in told if d.span is None or (d.span.source.name, d.span.line) not in explained]
    faults = tuple(d for d in left if d.severity is Severity.ERROR)
    return faults, tuple(d for d in left if d.severity is Severity.WARNING)


def _ignored(finding: Finding, settings: Configuration) -> bool:
    """Whether the configuration ignores a finding in its file."""
    from notrack.lint.selection import matching

    words = settings.ignored_in(finding.span.source.name) if settings.per_file_ignores else ()
    return any(finding.rule in matching(word) for word in words)


def _report(runs: list[Run], rules: Sequence[Rule], args: argparse.Namespace, settings: Configuration) -> int:
    from notrack.cli.messages import note, tell
    from notrack.report.findings import summary

    for one in runs:
        tell((*one.faults, *one.remarks), args.color)
    if args.diff:
        return _show_changes(runs)
    fixed = [file for one in runs for file in one.fixed]
    from_input = [file for file in fixed if file.source.name == args.stdin_filename and "-" in args.files]
    if fixed:
        from notrack.cli.mended import written

        if not written([file for file in fixed if file not in from_input]):
            return REFUSED
        note(_mended(fixed, "mended"))
    if from_input:
        print(from_input[0].text, end="")
        return DONE
    findings = [finding for one in runs for finding in one.result.findings]
    undecided = dict.fromkeys(rule.code for one in runs for rule in one.result.undecided)
    if not _written(_lines(runs, rules, args), args.output):
        return REFUSED
    if undecided:
        note(f"not decided within the bounds of time and memory: {', '.join(undecided)}")
    files = sum(len(one.subject.documents) for one in runs)
    note(summary(findings, files, sum(len(one.result.hidden) for one in runs)))
    if any(one.faults for one in runs):
        return NOT_UNDERSTOOD
    return _status(findings, args, settings)


def _show_changes(runs: list[Run]) -> int:
    """What the fixes would change; as with other tools, a change is a finding."""
    from notrack.cli.messages import note
    from notrack.lint.fixes import unified

    changed = [file for one in runs for file in one.fixed if file.changed]
    for file in changed:
        print(unified(file), end="")
    note(_mended(changed, "would mend"))
    return FINDINGS if changed else DONE


def _mended(fixed: Sequence[Fixed], verb: str) -> str:
    findings = sum(len(file.applied) for file in fixed)
    files = sum(1 for file in fixed if file.changed)
    plural = ("s" if findings != 1 else "", "s" if files != 1 else "")
    return f"{verb} {findings} finding{plural[0]} in {files} file{plural[1]}"


def _lines(runs: list[Run], rules: Sequence[Rule], args: argparse.Namespace) -> Iterator[str]:
    """The report, line by line (or several lines at once)."""
    import sys

    from notrack.cli.messages import wants_colour
    from notrack.report import findings as people

    found = [finding for one in runs for finding in one.result.findings]
    if args.format == "full":
        limit = len(found) if args.show_all else people.IN_FULL
        colour = wants_colour(args.color, sys.stdout) and args.output is None
        yield from people.full(found, colour=colour, in_full=limit)
    elif args.format == "concise":
        yield from people.concise(found)
    elif args.format == "github":
        from notrack.report.annotations import github

        yield from github(found)
    else:
        import json

        yield json.dumps(_whole(runs, rules, args.format), indent=2)


def _whole(runs: list[Run], rules: Sequence[Rule], form: str) -> dict[str, object]:
    """The results of all hosts as one document."""
    from notrack.report import findings_json, sarif

    if form == "sarif":
        return sarif.as_sarif([one.result for one in runs], rules)
    return findings_json.as_json([(one.result, one.subject.reading) for one in runs])


def _written(lines: Iterator[str], output: str | None) -> bool:
    """Prints the report, or writes it into a file; False after it was told that this cannot be done."""
    from notrack.cli.messages import note

    if output is None:
        for line in lines:
            print(line)
        return True
    try:
        Path(output).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    except OSError as error:
        note(f"{output}: {error.strerror}")
        return False
    return True


def _status(findings: Sequence[Finding], args: argparse.Namespace, settings: Configuration) -> int:
    from notrack.lint.configuration import FAIL_ON

    level = FAIL_ON.index(args.fail_on or settings.fail_on)
    failing = [one for one in findings if FAIL_ON.index(one.rule.severity.value) <= level]
    return FINDINGS if failing and not args.exit_zero and args.format != "sarif" else DONE
