"""Tables in a listing of nft that iptables-nft made, and that its own save format tells better."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from notrack.packets.address import Family
from notrack.ruleset.nft import tree as t
from notrack.ruleset.xtables.reader import BUILTIN
from notrack.text.diagnostic import Diagnostic, Severity

_FAMILIES = {"ip": Family.IPV4, "ip6": Family.IPV6}
Key = tuple[str, str]


def without_repeated(
    commands: tuple[t.Node, ...], saved: Collection[tuple[Family, str]]
) -> tuple[tuple[t.Node, ...], tuple[Diagnostic, ...]]:
    """The commands without the tables of iptables-nft that are among those saved, and a word about each."""
    repeated = [
        (key, chain)
        for key, chain in _bases(commands)
        if (_FAMILIES.get(key[0]), key[1]) in saved and chain.name in BUILTIN.get(key[1], ())
    ]
    keys = {key for key, _ in repeated}
    if not keys:
        return commands, ()
    kept = tuple(command for command in commands if _table(command) not in keys)
    told = dict(reversed(repeated))
    message = "the table {} {} is that of iptables, which is read from its saved rules"
    return kept, tuple(
        Diagnostic(Severity.INFO, message.format(*key), chain.span) for key, chain in sorted(told.items())
    )


def _bases(commands: tuple[t.Node, ...]) -> Iterator[tuple[Key, t.Chain]]:
    """The base chains of a listing, each with its table."""
    for command in commands:
        key = _table(command)
        items = command.items if isinstance(command, t.Table) else ()
        if isinstance(command, t.Declare):
            items = (command.item,)
        for item in items:
            if isinstance(item, t.Chain) and item.base is not None and key is not None:
                yield key, item


def _table(command: t.Node) -> Key | None:
    """The table that a command is about; None of one about all of them, or about none."""
    match command:
        case t.Table(family=family, name=name) | t.Declare(item=t.Table(family=family, name=name)):
            return family, name
        case t.Declare() | t.Place() | t.Elements() | t.Rename():
            return command.family or "ip", command.table or ""
        case t.Remove(table=str(table)):
            return command.family or "ip", table
    return None
