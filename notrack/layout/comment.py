"""What a rule says about where it comes from."""

from __future__ import annotations

from notrack.site.model import Origin

LONGEST = 128  # characters; nft refuses longer comments, iptables takes 256


def comment(origins: tuple[Origin, ...]) -> str:
    """The declaration's name, or `3 of: dns, web, ntp` for merged ones, cut to what every target takes."""
    names = sorted(dict.fromkeys(origin.name for origin in origins))
    if len(names) == 1:
        return names[0][:LONGEST]
    text = f"{len(names)} of: {', '.join(names)}"
    if len(text) <= LONGEST:
        return text
    cut = text[: LONGEST - 5].rsplit(", ", 1)[0]
    return f"{cut}, ..."
