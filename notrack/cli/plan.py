"""`notrack plan`: every flow of a site, tracked or not, and why."""

from __future__ import annotations

import argparse

from notrack.cli.main import DONE, NOT_UNDERSTOOD

_EPILOG = """examples:
  notrack plan site.spec
  notrack plan site.spec --format json | jq '.flows[] | select(.tracked) | .name'"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument("spec", metavar="SPEC", help="the site file; - reads standard input")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    parser.add_argument("--coexist", action="store_true", help="plan beside the rules of others")


def run(args: argparse.Namespace) -> int:
    from notrack.cli.sitefile import planned

    found = planned(args.spec, args.color, coexist=args.coexist)
    if found is None:
        return NOT_UNDERSTOOD
    from notrack.plan.view import as_json, as_text

    if args.format == "json":
        import json

        print(json.dumps(as_json(found), indent=2))
    else:
        print(as_text(found), end="")
    return DONE
