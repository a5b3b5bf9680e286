"""`notrack explain`: the manual page of a code."""

from __future__ import annotations

import argparse

from notrack.cli.main import DONE, USAGE

_EPILOG = """examples:
  notrack explain NT101
  notrack explain one-way-notrack --format markdown"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument("codes", nargs="+", metavar="CODE", help="a code such as NT101, or its name")
    parser.add_argument(
        "--format", choices=("text", "markdown", "json"), default="text", help="default: text"
    )


def run(args: argparse.Namespace) -> int:
    from notrack.cli.messages import note
    from notrack.lint.selection import UnknownCode, matching
    from notrack.report import manual

    try:
        rules = list(dict.fromkeys(rule for code in args.codes for rule in matching(code)))
    except UnknownCode as unknown:
        note(f"{unknown}\n`notrack rules` lists all of them")
        return USAGE
    if args.format == "json":
        import json

        print(json.dumps([manual.as_json(rule) for rule in rules], indent=2))
        return DONE
    page = manual.as_markdown if args.format == "markdown" else manual.as_text
    print("\n".join(page(rule) for rule in rules), end="")
    return DONE
