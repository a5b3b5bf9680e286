"""`notrack trace`: one packet through every hook, rule by rule."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from notrack.cli.main import DONE, NOT_UNDERSTOOD, USAGE

if TYPE_CHECKING:
    from notrack.netfilter.host import Host
    from notrack.netfilter.journey import Journey
    from notrack.ruleset.core import Ruleset
    from notrack.text.diagnostic import Diagnostic

_EPILOG = """examples:
  notrack trace rules.v4 'tcp 203.0.113.9:40000 > 198.51.100.1:80 in eth0 to host'
  notrack trace rules.v4 --host host.json 'udp 10.8.0.5:5353 > 9.9.9.9:53 in eth1'
  notrack trace rules.nft --reply 'tcp 198.51.100.1:40000 > 192.0.2.5:443 out eth0'
  notrack trace rules.v4 --state established 'tcp 203.0.113.9:4000 > 192.0.2.1:22 in eth0 to host flags ack'

`to host` or `out IF` says where a packet goes if no host facts are given (notrack facts > host.json)."""
_STATES = ("new", "established", "related", "invalid")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument("rules", nargs="+", metavar="RULES", help="files of one host; - reads standard input")
    parser.add_argument("packet", metavar="PACKET", help="the packet, in one word of the shell")
    parser.add_argument("--reply", action="store_true", help="trace the answer to the packet as well")
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
    from notrack.cli.messages import note, tell
    from notrack.netfilter.journey import journey
    from notrack.netfilter.walk import Undetermined
    from notrack.packets.fields import State
    from notrack.packets.packet_text import parse_packet
    from notrack.text.diagnostic import Rejected

    try:
        packet = parse_packet(args.packet)
    except Rejected as rejected:
        tell(rejected.diagnostics, args.color)
        return USAGE
    read = _read(args)
    host = _host(args)
    if read is None or host is None:
        return NOT_UNDERSTOOD
    ruleset, diagnostics = read
    tell(diagnostics, args.color)
    if args.state:
        packet = replace(packet, state=State[args.state.upper()])
    try:
        found = journey(ruleset, packet, host, holding=args.holds, reply=args.reply)
    except Undetermined as reason:
        note(f"{reason}")
        if args.host is None:
            note("or give the host's facts: `notrack facts > host.json` there, and --host host.json here")
        return USAGE
    _print(found, args)
    return DONE


def _read(args: argparse.Namespace) -> tuple[Ruleset, tuple[Diagnostic, ...]] | None:
    """The rules, and what is worth saying about them; None after they were found to be no rules."""
    from notrack.cli.messages import tell
    from notrack.cli.rulesfile import including, sources
    from notrack.packets.address import Family
    from notrack.ruleset.formats import read_all
    from notrack.text.diagnostic import Severity

    texts = sources(args.rules)
    if texts is None:
        return None
    family = Family(args.family) if args.family else None
    reading = read_all(texts, family, including(args.rules))
    if any(one.severity is Severity.ERROR for one in reading.diagnostics):
        tell(reading.diagnostics, args.color)
        return None
    return reading.ruleset, reading.diagnostics


def _host(args: argparse.Namespace) -> Host | None:
    """The host's facts, none of them known without a file; None after a faulty file was told."""
    from notrack.cli.messages import tell
    from notrack.cli.rulesfile import sources
    from notrack.netfilter.host import UNKNOWN_HOST, read_host
    from notrack.text.diagnostic import Rejected

    if args.host is None:
        return UNKNOWN_HOST
    texts = sources([args.host])
    if texts is None:
        return None
    try:
        return read_host(texts[0].text, texts[0].name)
    except Rejected as rejected:
        tell(rejected.diagnostics, args.color)
        return None


def _print(found: Journey, args: argparse.Namespace) -> None:
    from notrack.report.trace import as_json, as_text

    if args.format == "json":
        import json

        print(json.dumps(as_json(found, replied=args.reply), indent=2))
    else:
        print(as_text(found, replied=args.reply), end="")
