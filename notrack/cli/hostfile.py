"""`--host FILE`: facts about the host, from the command line."""

from __future__ import annotations

from notrack.cli.messages import tell
from notrack.cli.rulesfile import sources
from notrack.netfilter.host import UNKNOWN_HOST, Host, read_host
from notrack.packets.address import Family
from notrack.text.diagnostic import Rejected


def host(name: str | None, color: str) -> Host | None:
    """The host's facts, none of them known without a file; None after a faulty file was told."""
    if name is None:
        return UNKNOWN_HOST
    texts = sources([name])
    if texts is None:
        return None
    try:
        return read_host(texts[0].text, texts[0].name)
    except Rejected as rejected:
        tell(rejected.diagnostics, color)
        return None


def hosts(name: str | None, color: str, known: dict[Family, Host]) -> dict[Family, Host] | None:
    """The facts of a file for both families, else what is known; None after a faulty file was told."""
    if name is None:
        return known or dict.fromkeys(Family, UNKNOWN_HOST)
    found = host(name, color)
    return None if found is None else dict.fromkeys(Family, found)
