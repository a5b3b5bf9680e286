"""`notrack diff`: which packets change verdict, tracking or translation between two rulesets."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from notrack.cli.main import DIFFERENT, DONE, NOT_UNDERSTOOD, REFUSED, USAGE

if TYPE_CHECKING:
    from notrack.cli.ruleside import Side
    from notrack.netfilter.host import Host
    from notrack.packets.address import Family
    from notrack.report.difference import Compared

_EPILOG = """examples:
  notrack diff old.v4 new.v4
  notrack diff rules.v4,rules.v6 site.spec          both families against a site, compiled in memory
  notrack diff rules.v4 rules.nft --host host.json  across formats, on a host that is known
  notrack diff --live site.spec                     what would change here (as root)
  notrack diff before/ after/ --format json         folders of rules

exit status: 0 equal, 6 a difference or something undecided, 2 wrong usage, 3 rules that cannot be understood,
4 the rules of this host cannot be had"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument(
        "rules",
        nargs="+",
        metavar="RULES",
        help="before and after: a file, several with commas between them, a folder, or a site; - reads"
        " standard input",
    )
    parser.add_argument("--live", action="store_true", help="before: the rules in force on this host")
    parser.add_argument("--host", metavar="FILE", help="facts about the host, as `notrack facts` writes them")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    parser.add_argument("--brief", action="store_true", help="the changes alone, without packets and rules")
    parser.add_argument("--all", action="store_true", help="every change, however many read alike")
    parser.add_argument(
        "--family",
        choices=("ipv4", "ipv6"),
        help="compare this alone; of restore files that do not tell theirs",
    )


def run(args: argparse.Namespace) -> int:
    from notrack.cli import ruleside
    from notrack.cli.messages import note
    from notrack.packets.address import Family

    wanted = 1 if args.live else 2
    if len(args.rules) != wanted:
        what = "one ruleset beside --live" if args.live else "two rulesets, before and after"
        note(f"diff takes {what}; several files of one host go with commas between them")
        return USAGE
    before, after, refused = _sides(args)
    if before is None or after is None:
        return REFUSED if refused else NOT_UNDERSTOOD
    hosts = _hosts(args, before, after)
    if hosts is None:
        return NOT_UNDERSTOOD
    compared = ruleside.compared(before, after, hosts, Family(args.family) if args.family else None)
    if compared is None:
        note("the two rulesets are of different families: there is nothing to compare")
        return USAGE
    _print(compared, args)
    return DONE if compared.equal else DIFFERENT


def _sides(args: argparse.Namespace) -> tuple[Side | None, Side | None, bool]:
    """Both rulesets, and whether it was this host that refused. A site is compiled to what the other is."""
    from notrack.cli import ruleside
    from notrack.packets.address import Family
    from notrack.ruleset.recognition import Format

    family = Family(args.family) if args.family else None
    nft = {Format.NFT, Format.NFT_JSON}

    def read(name: str, other: Side | None) -> Side | None:
        backend = "nft" if other is not None and other.formats and other.formats <= nft else "iptables"
        return ruleside.side([name], args.color, family=family, backend=backend)

    if args.live:
        before = ruleside.live(args.color)
        return before, read(args.rules[0], before) if before is not None else None, before is None
    before = read(args.rules[0], None)
    if before is None:
        return None, None, False
    after = read(args.rules[1], before)
    if after is not None and Format.SITE in before.formats and after.formats <= nft:
        before = read(args.rules[0], after)
    return before, after, False


def _hosts(args: argparse.Namespace, before: Side, after: Side) -> dict[Family, Host] | None:
    """The facts of a file, else those of this host or of a site."""
    from notrack.cli.hostfile import hosts

    return hosts(args.host, args.color, before.hosts or after.hosts)


def _print(compared: Compared, args: argparse.Namespace) -> None:
    from notrack.report.difference import as_json, as_text

    if args.format == "json":
        import json

        print(json.dumps(as_json(compared), indent=2))
    else:
        print(as_text(compared, every=args.all, brief=args.brief), end="")
