"""`notrack rules`: everything that the linter finds."""

from __future__ import annotations

import argparse

from notrack.cli.main import DONE

_EPILOG = """examples:
  notrack rules
  notrack rules --format json
  notrack rules --format markdown > docs/rules.md"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument(
        "--format", choices=("text", "markdown", "json"), default="text", help="default: text"
    )


def run(args: argparse.Namespace) -> int:
    from notrack.lint.collection import collected
    from notrack.report import manual

    rules = collected()
    if args.format == "json":
        import json

        print(json.dumps([manual.as_json(rule) for rule in rules], indent=2))
    elif args.format == "markdown":
        print(manual.book(rules), end="")
    else:
        print(manual.table(rules))
    return DONE
