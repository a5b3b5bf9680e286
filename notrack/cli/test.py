"""`notrack test`: the expectations of a site, on the model and on the real kernel."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from notrack.cli.main import DONE, FINDINGS, NOT_UNDERSTOOD, REFUSED

if TYPE_CHECKING:
    from notrack.report.expectation import Outcome

_EPILOG = """examples:
  notrack test site.spec
  notrack test site.spec --kernel             real packets too; no root where user namespaces are allowed
  notrack test site.spec --host host.json     with this host's addresses, where the site says none

An expectation is a line of the site: `expect drop udp from 203.0.113.9 to host port 11211 on wan`.

exit status: 0 all hold, 1 some fail, 2 wrong usage, 3 a site that cannot be understood,
4 the kernel or a tool that --kernel needs is not there"""
_FORMS = ("iptables", "nft")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument("spec", metavar="SPEC", help="the site file; - reads standard input")
    parser.add_argument(
        "--kernel",
        action="store_true",
        help="send the packets through the real kernel too, in throw-away network namespaces",
    )
    parser.add_argument("--host", metavar="FILE", help="facts about the host, as `notrack facts` writes them")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    parser.add_argument("--verbose", action="store_true", help="name the expectations that hold as well")


def run(args: argparse.Namespace) -> int:
    from notrack.cli.hostfile import hosts
    from notrack.cli.ruleside import compiled
    from notrack.cli.sitefile import planned
    from notrack.proof.expectation import judged
    from notrack.proof.sitehost import site_hosts
    from notrack.report.expectation import Outcome

    plan = planned(args.spec, args.color)
    known = hosts(args.host, args.color, site_hosts(plan.site)) if plan is not None else None
    if plan is None or known is None:
        return NOT_UNDERSTOOD
    rulesets = {form: compiled(plan, form) for form in _FORMS}
    verdicts = judged(plan.site, rulesets, known)
    found = [Outcome(one) for one in verdicts]
    kernel = None
    if args.kernel and verdicts:
        from notrack.cli.kerneltest import kernel_name, tested
        from notrack.cli.messages import note
        from notrack.host.kernel import KernelRefused
        from notrack.host.system import LiveSystem

        try:
            found, kernel = tested(LiveSystem(), plan, known, verdicts, _FORMS), kernel_name()
        except KernelRefused as refused:
            _print(found, None, args)
            note(f"not tried on the kernel: {refused}")
            return REFUSED
    _print(found, kernel, args)
    return DONE if all(one.holds for one in found) else FINDINGS


def _print(tested: list[Outcome], kernel: str | None, args: argparse.Namespace) -> None:
    from notrack.report.expectation import as_json, as_text

    if args.format == "json":
        import json

        print(json.dumps(as_json(tested, _FORMS, kernel), indent=2))
    else:
        print(as_text(tested, _FORMS, kernel, every=args.verbose), end="")
