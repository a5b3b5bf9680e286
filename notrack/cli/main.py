"""`notrack`: finds the command and runs it. Only the module of the command that is asked for is imported."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from importlib import import_module
from typing import NoReturn

from notrack import __version__

COMMANDS = {
    "compile": "compile a site file to iptables-restore, ip6tables-restore or nft rules",
    "plan": "show every flow of a site, tracked or not, and why",
    "lint": "find what is wrong in rules that are there, with a packet that proves it",
    "explain": "print the manual page of a code of the linter",
    "rules": "list everything that the linter finds",
    "untrack": "take one service out of tracking in rules that are there, and change nothing else",
    "import": "draft a site from rules that are there, and say what it cannot say",
    "trace": "follow one packet through every hook, rule by rule",
    "diff": "show which packets change verdict, tracking or translation between two rulesets",
    "test": "hold a site's expectations to the model, and to the real kernel",
    "facts": "print this host's facts as JSON, for --host",
}

_EPILOG = """examples:
  notrack plan site.spec                      what will be tracked, and why
  notrack compile site.spec > rules.v4        the IPv4 restore file
  notrack compile site.spec --to nft          one nft file for both families
  notrack compile site.spec -o out/           every target into a directory
  notrack lint /etc/sysconfig/iptables        what is wrong in rules that are there
  notrack untrack 'udp 53' rules.v4           the same rules, with DNS out of tracking

exit status: 0 done or clean, 1 findings, 2 wrong usage, 3 a source that cannot be understood, 4 a file cannot
be written, or the kernel or a system tool refused"""

DONE, FINDINGS, USAGE, NOT_UNDERSTOOD, REFUSED, ROLLED_BACK, DIFFERENT = range(7)


def program() -> NoReturn:
    """The whole process. At its end the system takes the memory back at once: taking a model apart object by
    object is an eighth of the time of a small run. A debugger or profiler gets the usual end."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    status = main()
    if sys.gettrace() is not None or sys.getprofile() is not None:
        sys.exit(status)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def main(argv: list[str] | None = None) -> int:
    """Run one command; its exit status."""
    words = sys.argv[1:] if argv is None else argv
    parser = _parser(next((word for word in words if word in COMMANDS), None), words[:1])
    args = parser.parse_args(words)
    if args.command is None:
        parser.print_help(sys.stderr)
        return USAGE
    try:
        status: int = import_module(f"notrack.cli.{args.command}").run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output went away (`| head`): not our fault, and no news to anybody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        # Every command tells of the files it opens itself; what is left is our own output.
        print(f"notrack: the output cannot be written: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return REFUSED
    except KeyboardInterrupt:
        print("notrack: interrupted", file=sys.stderr)
        return 130
    return status


class _Help(argparse.RawDescriptionHelpFormatter):
    """As wide as the terminal, found without the modules for archives that argparse would bring along."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    try:
        return int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        pass
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns if sys.__stdout__ else 80
    except (OSError, ValueError):
        return 80


def _parser(chosen: str | None, first: list[str]) -> argparse.ArgumentParser:
    """The parser of everything; of the one command alone where the first word names it."""
    parser = argparse.ArgumentParser(
        prog="notrack",
        description="Take the busy flows of a Linux host out of connection tracking, provably.",
        epilog=_EPILOG,
        formatter_class=_Help,
    )
    parser.add_argument("--version", action="version", version=f"notrack {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, summary in COMMANDS.items():
        if [chosen] == first and name != chosen:
            continue
        command = commands.add_parser(name, help=summary, description=summary, formatter_class=_Help)
        command.add_argument(
            "--color",
            choices=("auto", "always", "never"),
            default="auto",
            help="colour messages (default: auto)",
        )
        if name == chosen:
            import_module(f"notrack.cli.{name}").configure(command)
    return parser
