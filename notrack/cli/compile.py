"""`notrack compile`: a site file to rules."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from notrack.cli.main import DONE, FINDINGS, NOT_UNDERSTOOD, REFUSED, USAGE

if TYPE_CHECKING:
    from notrack.layout.output import Output
    from notrack.plan.planner import Plan

_EPILOG = """examples:
  notrack compile site.spec > rules.v4                    the IPv4 restore file
  notrack compile site.spec --to ip6tables > rules.v6     the IPv6 restore file
  notrack compile site.spec --to nft | nft -c -f -        check with nft
  notrack compile site.spec -o out/                       every target into out/
  notrack compile site.spec --coexist | iptables-restore --noflush"""
_TARGETS = ("iptables", "ip6tables", "nft", "sysctl", "modprobe")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument("spec", metavar="SPEC", help="the site file; - reads standard input")
    parser.add_argument("--to", choices=_TARGETS, help="what to print (default: iptables)")
    parser.add_argument("-o", "--output", metavar="DIR", help="write every target into DIR instead")
    parser.add_argument(
        "--coexist", action="store_true", help="own chains only, for iptables-restore --noflush"
    )
    parser.add_argument(
        "--explain-proof",
        action="store_true",
        help="say on standard error what was proven, and what it rests on",
    )
    parser.add_argument("--map", metavar="FILE", help="write which rule comes from where, as JSON")


def run(args: argparse.Namespace) -> int:
    from notrack.ruleset.collection import uncollected

    with uncollected():
        return _compiled(args)


def _compiled(args: argparse.Namespace) -> int:
    from notrack.cli.messages import note
    from notrack.cli.sitefile import planned

    if args.to and args.output:
        note("--to prints one target, -o writes all of them: choose one")
        return USAGE
    found = planned(args.spec, args.color, coexist=args.coexist)
    if found is None:
        return NOT_UNDERSTOOD
    from notrack.layout.output import emit

    targets = _TARGETS if args.output else (args.to or "iptables",)
    outputs = [emit(found, target, coexist=args.coexist) for target in targets]
    if not _proven(found, outputs, args) or not _as_expected(found, args):
        return FINDINGS
    try:
        if args.map:
            _write_map(Path(args.map), outputs)
        if args.output:
            _write_all(Path(args.output), outputs)
            return DONE
    except OSError as error:
        note(f"{error.filename}: {error.strerror}")
        return REFUSED
    sys.stdout.write(outputs[0].text)
    if args.to is None:
        note("IPv6 is not in this output: --to ip6tables prints it, --to nft both, -o DIR writes all files")
    return DONE


def _proven(plan: Plan, outputs: list[Output], args: argparse.Namespace) -> bool:
    """Whether the texts, read back, do what the plan asks for; what is wrong is told on standard error."""
    from notrack.proof.readback import proven

    proof = proven(plan, outputs)
    if not proof.holds:
        from notrack.cli.messages import tell
        from notrack.report.proof import fault_diagnostics

        tell(fault_diagnostics(proof), args.color)
        return False
    if args.explain_proof:
        from notrack.report.proof import explained

        sys.stderr.write(explained(proof, agreed=bool(args.output)))
    return True


def _as_expected(plan: Plan, args: argparse.Namespace) -> bool:
    """Whether the site's expectations hold for its rules; those that do not are told on standard error, with
    the whole way of a packet. One whose packet goes nobody knows where is left to `notrack test`.
    """
    if not plan.site.expectations or args.to in ("sysctl", "modprobe"):
        return True
    from notrack.cli.ruleside import compiled
    from notrack.proof.expectation import judged
    from notrack.proof.sitehost import site_hosts
    from notrack.report.expectation import Outcome, as_text

    form = "nft" if args.to == "nft" else "iptables"
    rulesets = {form: compiled(plan, form, coexist=args.coexist)}
    failed = [one for one in judged(plan.site, rulesets, site_hosts(plan.site)) if one.fails]
    if failed:
        sys.stderr.write(as_text([Outcome(one) for one in failed], (form,), None))
    return not failed


def _write_all(directory: Path, outputs: list[Output]) -> None:
    from notrack.layout.output import FILES

    directory.mkdir(parents=True, exist_ok=True)
    for output in outputs:
        (directory / FILES[output.target]).write_text(output.text)


def _write_map(path: Path, outputs: list[Output]) -> None:
    import json

    from notrack.layout.output import as_json

    path.write_text(json.dumps(as_json(outputs), indent=2) + "\n")
