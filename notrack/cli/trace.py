"""`notrack trace`: one packet through every hook, rule by rule."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from notrack.cli.main import DONE, NOT_UNDERSTOOD, REFUSED, USAGE

if TYPE_CHECKING:
    from notrack.cli.ruleside import Side
    from notrack.netfilter.journey import Journey

_EPILOG = """examples:
  notrack trace rules.v4 'tcp 203.0.113.9:40000 > 198.51.100.1:80 in eth0 to host'
  notrack trace rules.v4 --host host.json 'udp 10.8.0.5:5353 > 9.9.9.9:53 in eth1'
  notrack trace rules.nft --reply 'tcp 198.51.100.1:40000 > 192.0.2.5:443 out eth0'
  notrack trace site.spec --reply 'udp 203.0.113.9:4000 > 192.0.2.80:53 in eth0'
  notrack trace --live 'tcp 203.0.113.9:40000 > 192.0.2.80:443 in eth0'
  notrack trace rules.v4 --state established 'tcp 203.0.113.9:4000 > 192.0.2.1:22 in eth0 to host flags ack'

`to host` or `out IF` says where a packet goes if no host facts are given (notrack facts > host.json)."""
_STATES = ("new", "established", "related", "invalid")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    rules = parser.add_argument(
        "rules",
        nargs="+",
        metavar="RULES",
        help="files of one host, a folder of them, or a site; - reads standard input",
    )
    packet = parser.add_argument("packet", metavar="PACKET", help="the packet, in one word of the shell")
    parser.add_argument("--reply", action="store_true", help="trace the answer to the packet as well")

    class Live(argparse.Action):
        """With --live no rules are named: the one word that is left is the packet."""

        def __call__(self, parser: object, namespace: argparse.Namespace, *_: object) -> None:
            namespace.live = True
            rules.nargs = "*"
            rules.required = packet.required = False

    parser.add_argument(
        "--live", action=Live, nargs=0, default=False, help="the rules and facts of this host (as root)"
    )
    parser.add_argument(
        "--backend", choices=("iptables", "nft"), help="what a site is compiled to (default: iptables)"
    )
    parser.add_argument("--host", metavar="FILE", help="facts about the host, as `notrack facts` writes them")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    parser.add_argument("--state", choices=_STATES, help="of its flow (default: its first packet)")
    parser.add_argument(
        "--holds",
        action="append",
        default=[],
        metavar="TEXT",
        help="matches that no packet decides hold if their text contains TEXT (default: none holds)",
    )
    parser.add_argument(
        "--family", choices=("ipv4", "ipv6"), help="of restore files that do not tell their family"
    )


def run(args: argparse.Namespace) -> int:
    from notrack.cli.hostfile import hosts
    from notrack.cli.messages import note, tell
    from notrack.netfilter.journey import journey
    from notrack.netfilter.walk import Undetermined
    from notrack.packets.fields import State
    from notrack.packets.packet_text import parse_packet
    from notrack.text.diagnostic import Rejected

    if args.live and args.packet is None and len(args.rules) == 1:
        args.rules, args.packet = [], args.rules[0]
    if bool(args.rules) == args.live or args.packet is None:
        note("--live reads the rules of this host: say the packet alone")
        return USAGE
    try:
        packet = parse_packet(args.packet)
    except Rejected as rejected:
        tell(rejected.diagnostics, args.color)
        return USAGE
    side = _side(args)
    known = hosts(args.host, args.color, side.hosts) if side is not None else None
    if side is None or known is None:
        return REFUSED if args.live and side is None else NOT_UNDERSTOOD
    host = known[packet.family]
    own = side.own.family(packet.family)
    if packet.in_interface is not None and packet.local is None and packet.destination in own:
        packet = replace(packet, local=True)
    if args.state:
        packet = replace(packet, state=State[args.state.upper()])
    try:
        found = journey(side.ruleset, packet, host, holding=args.holds, reply=args.reply)
    except Undetermined as reason:
        note(f"{reason}")
        if host.interfaces is None:
            note("or give the host's facts: `notrack facts > host.json` there, and --host host.json here")
        return USAGE
    _print(found, args)
    return DONE


def _side(args: argparse.Namespace) -> Side | None:
    """The rules, and what they say of their host; None after it was told why there are none."""
    from notrack.cli import ruleside
    from notrack.packets.address import Family

    if args.live:
        return ruleside.live(args.color)
    family = Family(args.family) if args.family else None
    return ruleside.side(args.rules, args.color, family=family, backend=args.backend)


def _print(found: Journey, args: argparse.Namespace) -> None:
    from notrack.report.trace import as_json, as_text

    if args.format == "json":
        import json

        print(json.dumps(as_json(found, replied=args.reply), indent=2))
    else:
        print(as_text(found, replied=args.reply), end="")
