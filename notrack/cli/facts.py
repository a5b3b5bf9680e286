"""`notrack facts`: what is known about this host beside its rules."""

from __future__ import annotations

import argparse

from notrack.cli.main import DONE

_EPILOG = """examples:
  notrack facts > host.json
  notrack trace rules.v4 --host host.json 'tcp 203.0.113.9:40000 > 198.51.100.1:80 in eth0'

The facts are those of the network namespace in which the command runs. What it cannot learn is null."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG


def run(args: argparse.Namespace) -> int:
    from notrack.cli.messages import note
    from notrack.host.facts import facts, unknown
    from notrack.host.system import LiveSystem
    from notrack.netfilter.host import host_json

    host = facts(LiveSystem())
    print(host_json(host), end="")
    missing = unknown(host)
    if missing:
        note(f"not known: {', '.join(missing)}")
    return DONE
